//! From a directory with answers to a relay that a consumer reads by its public name.
//!
//! The steps stand in one order, each says what it does and how long it took, and each can be done
//! again. A run that was interrupted is gone on with.

mod steps;

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

pub use super::order::Order;
use steps::{STEPS, Step};
pub(super) use steps::{programs, programs_for};

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
