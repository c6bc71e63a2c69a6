//! `provision deployment upgrade` and `rollback`, and what runs of Ansible have in common.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use provision::deployment::{
    Deployment,
    playbook::{self, Played},
    replace::{self, Replaced, Runs},
};
use serde_json::json;

use super::deploy::until_stopped;
use crate::{commands::wait::Screen, out};

const EXAMPLES: &str = "\
Examples:
  provision deployment upgrade ash                     builds the relay of this checkout, and installs it
  provision deployment upgrade ash --relay ./relay     installs this one
  provision deployment rollback ash                    the one that ran before

Settings and tables are looked at first, and a backup is made. Consumers come back with their cursors and miss
nothing. A relay that is not well by its public name is taken back.
Exit codes: 0 done, 1 it failed and the relay of before runs, 2 wrong usage.";

/// Which one, and by what.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpgradeArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// A relay of this machine. Otherwise that of the inventory, or of this checkout, which is built.
    #[arg(long, value_name = "FILE")]
    relay: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RollbackArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Installs another relay; `false` when it was taken back.
pub(crate) fn upgrade(deployment: &Deployment, args: &UpgradeArgs) -> Result<bool> {
    let (mut screen, relay) = (Screen::new(), args.relay.clone());
    let replaced = until_stopped(async |stop| {
        replace::upgrade(deployment, relay, stop, &mut |told| screen.tell(told)).await
    });
    screen.clear();
    show(deployment, &replaced?, args.json)
}

/// Goes back to the relay before; `false` when that failed.
pub(crate) fn rollback(deployment: &Deployment, args: &RollbackArgs) -> Result<bool> {
    let mut screen = Screen::new();
    let replaced = until_stopped(async |stop| {
        replace::rollback(deployment, stop, &mut |told| screen.tell(told)).await
    });
    screen.clear();
    show(deployment, &replaced?, args.json)
}

fn show(deployment: &Deployment, replaced: &Replaced, json: bool) -> Result<bool> {
    let Replaced { before, after, played, took } = replaced;
    if json {
        out::json(&json!({
            "name": deployment.name(),
            "before": before,
            "after": after,
            "seconds": took.as_secs_f64(),
            "changed": played.changed,
            "failure": played.failure,
            "log": played.log,
        }))?;
        return Ok(played.is_good);
    }
    let named = |runs: &Runs| format!("{} ({})", runs.program, runs.version);
    if before == after {
        out::line(&format!("{} runs, as before", named(after)));
    } else {
        out::line(&format!("{} -> {}", named(before), named(after)));
    }
    out::note(&format!("it took {} s", took.as_secs()));
    Ok(told(deployment, played))
}

/// Says how a run of Ansible ended; `false` when it failed.
pub(super) fn told(deployment: &Deployment, played: &Played) -> bool {
    out::note(&playbook::account(played));
    if let Some(failure) = played.failure.as_ref().filter(|_| !played.is_good) {
        out::note(&format!("{} is not done: {failure}", deployment.name()));
        out::note(&format!("all that was said is in {}", played.log.display()));
    }
    played.is_good
}
