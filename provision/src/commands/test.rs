//! `provision test`: the project's whole proof in one command, with the seconds of every stage.
//!
//! Downloads (npm, PyPI) run beside compiling. A stage that fails does not hide the ones after it,
//! unless they need its result. Under `CI=true` nothing may be skipped.

mod browser;
mod containers;
mod deploy;
mod nix;
mod peers;
mod readme;
mod stages;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::Args;
use provision::{cache::Cache, peers::Folders};

use crate::{out, tools};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run only these stages (names as `--list` prints them).
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    only: Vec<String>,
    /// Print the stages and end.
    #[arg(long)]
    list: bool,
    /// Where downloads and build results are kept.
    #[arg(long, env = "PROVISION_CACHE_DIR", value_name = "DIR")]
    cache: PathBuf,
    /// Nothing may be missing or skipped.
    #[arg(long, env = "CI", value_parser = clap::builder::FalseyValueParser::new(), num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    strict: bool,
}

/// What the stages share.
#[derive(Debug)]
pub(crate) struct Workplace {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target directory for these lock files.
    pub(crate) target: PathBuf,
    /// Downloads and build results of all runs.
    pub(crate) cache: PathBuf,
    /// Folders of the downloaded peers.
    pub(crate) peers: Folders,
    /// Nothing may be missing or skipped.
    pub(crate) strict: bool,
    /// Names of tools that could not be had.
    pub(crate) missing: Vec<&'static str>,
}

impl Workplace {
    /// How something ends for which a tool or a download is not there: on a person's machine it is
    /// named and skipped.
    pub(crate) fn without(&self) -> Outcome {
        if self.strict { Outcome::Failed } else { Outcome::Skipped }
    }
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Runs the stages; `true` when none failed.
pub(crate) fn run(args: &TestArgs) -> Result<bool> {
    if args.list {
        for stage in stages::STAGES {
            out::line(&format!("{:<11} {}", stage.name, stage.about));
        }
        return Ok(true);
    }
    stages::check_names(&args.only)?;
    let started = now();
    let root = std::env::current_dir().context("find the checkout")?;
    out::line("== tools");
    let missing = tools::provide(&root, args.strict)?;
    let cache = Cache::open(&args.cache)?;
    let work = Workplace {
        target: cache.target(&root)?,
        cache: args.cache.canonicalize().context("find the cache")?,
        peers: Folders::open(&root, &cache)?,
        strict: args.strict,
        missing: missing.iter().map(|tool| tool.name).collect(),
        root,
    };
    let mut report = vec![("tools", Outcome::Passed, seconds(started))];

    let wants_peers =
        stages::STAGES.iter().any(|stage| stage.needs_peers && stages::wanted(stage, &args.only));
    let deploys = stages::STAGES
        .iter()
        .any(|stage| stage.name == "deploy" && stages::wanted(stage, &args.only));
    std::thread::scope(|scope| -> Result<()> {
        let mut downloads = wants_peers.then(|| scope.spawn(|| peers::download(&work, deploys)));
        for stage in stages::STAGES.iter().filter(|stage| stages::wanted(stage, &args.only)) {
            if stage.needs_peers
                && let Some(thread) = downloads.take()
            {
                report.push(peers::joined(&work, thread)?);
            }
            out::line(&format!("== {}: {}", stage.name, stage.about));
            let began = now();
            let outcome = (stage.run)(&work).unwrap_or_else(|error| {
                out::line(&format!("{error:#}"));
                Outcome::Failed
            });
            out::line(&format!("== {}: {} in {} s", stage.name, word(outcome), seconds(began)));
            report.push((stage.name, outcome, seconds(began)));
        }
        Ok(())
    })?;
    Ok(summarise(&report, seconds(started)))
}

fn summarise(report: &[(&'static str, Outcome, u64)], total: u64) -> bool {
    out::line("");
    for (name, outcome, took) in report {
        out::line(&format!("{:<11} {:<8} {took:>5} s", name, word(*outcome)));
    }
    let count = |wanted| report.iter().filter(|(_, outcome, _)| *outcome == wanted).count();
    let failed = count(Outcome::Failed);
    out::line(&format!("{} stages in {total} s ({} min)", report.len(), total.div_ceil(60)));
    out::line(&format!(
        "stages: {} passed, {failed} failed, {} skipped",
        count(Outcome::Passed),
        count(Outcome::Skipped)
    ));
    failed == 0
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rule is for the relay; this measures a person's time"
)]
fn now() -> Instant {
    Instant::now()
}

fn seconds(since: Instant) -> u64 {
    now().duration_since(since).as_secs()
}
