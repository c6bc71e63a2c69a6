//! From a directory with answers to a relay that a consumer reads by its public name.
//!
//! The steps stand in one order, each says what it does and how long it took, and each can be done
//! again. A run that was interrupted is gone on with.

mod steps;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    Deployment,
    progress::{Progress, digest},
    stop::Stop,
    summary::Summary,
};
use crate::{
    moment,
    told::{Tell, Told},
};

pub(super) use steps::{START_MAX, programs, programs_for};

/// What a person may say.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Whether nobody is asked before a provider makes or changes something.
    pub yes: bool,
    /// `SERVER/WORD`: erases and installs a rented server.
    pub reinstall: Option<String>,
    /// Name of the deployment: a host with another system gets NixOS, and loses what is on its disks.
    pub erase: Option<String>,
    /// The relay's program, instead of one that is built here.
    pub relay: Option<PathBuf>,
    /// Begin with the first step, also where an interrupted run could be gone on with.
    pub again: bool,
    /// How long to wait until the public name leads to the host.
    pub names_max: Duration,
    /// How long to wait until a consumer has received verified events.
    pub live_max: Duration,
}

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Programs,
    Host,
    Ssh,
    Disks,
    Names,
    Machine,
    Hosts,
    Live,
}

const STEPS: [Step; 8] = [
    Step::Programs,
    Step::Host,
    Step::Ssh,
    Step::Disks,
    Step::Names,
    Step::Machine,
    Step::Hosts,
    Step::Live,
];

impl Step {
    /// Its name, and what it does.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Programs => ("programs", "have the relay's program"),
            Self::Host => ("host", "have the host"),
            Self::Ssh => ("ssh", "reach it, and be root there"),
            Self::Disks => ("disks", "look at the data disks; nothing is touched"),
            Self::Names => ("names", "find the host by the public name"),
            Self::Machine => ("machine", "set up everything on the host"),
            Self::Hosts => ("hosts", "tell the relay which hosts there are"),
            Self::Live => ("live", "read verified events by the public name, over TLS"),
        }
    }
}

/// Files that decide what the steps up to the machine do, and all that the machine is made of. `tune`
/// writes to `env` while the machine is set up.
const BEFORE: [&str; 4] =
    ["terraform.tfvars", "terraform.tfvars.json", "group_vars/relay.yml", "caddy.env"];
const AFTER: [&str; 8] = [
    "nixos/configuration.nix",
    "nixos/flake.nix",
    "terraform.tfvars",
    "terraform.tfvars.json",
    "group_vars/relay.yml",
    "caddy.env",
    "env",
    "secrets/relay.env",
];

/// Deploys.
///
/// # Errors
/// The step that failed, why, and what to do. What was done is kept.
pub async fn run(
    deployment: &Deployment,
    order: &Order,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Summary> {
    begun(deployment)?;
    let inputs = |step: &str| inputs(deployment, order, step);
    let mut progress = Progress::read(deployment)?;
    if order.again || order.reinstall.is_some() {
        progress.forget();
    }
    progress.begin(inputs)?;
    let began = moment::timer();
    let mut times = Vec::new();
    for step in STEPS {
        let (name, what) = step.words();
        if let Some(done) = progress.of(name).filter(|_| step != Step::Ssh) {
            let seconds = done.seconds;
            tell(Told::Note(format!("{name:<9} done before, in {seconds} s")));
            times.push((name, seconds));
            continue;
        }
        tell(Told::Doing(format!("{name}: {what}")));
        let start = moment::timer();
        let outcome = steps::take(step, (deployment, order), stop, tell).await;
        let again = || format!("type `just deploy {}` again", deployment.name());
        if stop.is_told() {
            outcome.with_context(|| {
                format!("interrupted at the step `{name}`; what was done is kept: {}, and it goes on there", again())
            })?;
            anyhow::bail!("interrupted after the step `{name}`; {}, and it goes on there", again());
        }
        let said = outcome.with_context(|| {
            format!("the step `{name}` ({what}) failed; when the cause is gone, {}, and it goes on there", again())
        })?;
        let seconds = start.elapsed().as_secs();
        tell(Told::Note(format!("{name:<9} {seconds:>4} s  {said}")));
        progress.add(name, seconds, inputs(name)?)?;
        times.push((name, seconds));
    }
    progress.finish(moment::day_and_time(moment::now_ms()))?;
    Summary::new(deployment, began.elapsed(), times)
}

/// When the last run reached its end, in UTC; `None` when none did, or one was begun since.
///
/// # Errors
/// When a file cannot be read.
pub fn finished(deployment: &Deployment) -> Result<Option<String>> {
    Ok(Progress::read(deployment)?.finished)
}

/// What `init` writes must be there.
fn begun(deployment: &Deployment) -> Result<()> {
    for file in ["env", "caddy.env", "secrets/relay.env"] {
        ensure!(
            deployment.file(file).is_file(),
            "{} lacks {file}; begin it with `just init relay.example.com --name {}`",
            deployment.directory().display(),
            deployment.name()
        );
    }
    Ok(())
}

fn inputs(deployment: &Deployment, order: &Order, step: &str) -> Result<String> {
    let is_late = ["machine", "hosts", "live"].contains(&step);
    let files: &[&str] = if is_late { &AFTER } else { &BEFORE };
    let mut words = Vec::new();
    if let Some(relay) = &order.relay {
        let found = std::fs::metadata(relay)
            .with_context(|| format!("look at --relay {}", relay.display()))?;
        let changed = found.modified().context("when it was changed")?;
        words.push(format!("{} {} {changed:?}", relay.display(), found.len()));
    }
    digest(deployment, files, &words)
}
