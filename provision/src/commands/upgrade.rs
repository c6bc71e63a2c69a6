//! `provision upgrade --check`: what a new version changes.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use provision::{
    env_file::EnvFile,
    upgrade::{self, Plan},
};

use super::wait;
use crate::out;

const EXAMPLES: &str = "\
Examples:
  provision upgrade --check --to ./relay --env /etc/relay/env
  provision upgrade --check --from /usr/local/bin/relay --to target/release/relay --json

Both programs are asked for their settings, for what is in effect, and for what a start would do to the
database; nothing is changed, and the relay may run meanwhile.
Exit codes: 0 nothing has to be done before, 1 something has to, or it could not be found out, 2 wrong
usage.";

/// What to look at.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpgradeArgs {
    /// Only look. Installing is what your deployment does.
    #[arg(long, required = true)]
    check: bool,
    /// The relay that is installed.
    #[arg(long, value_name = "PROGRAM", default_value = "relay")]
    from: PathBuf,
    /// The relay that is to be installed.
    #[arg(long, value_name = "PROGRAM")]
    to: PathBuf,
    /// The file with the environment of the relay.
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// The directory in which the relay runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Looks; `false` when something has to be done before.
pub(crate) fn run(args: &UpgradeArgs) -> Result<bool> {
    let mut env = Vec::new();
    if let Some(path) = &args.env {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read the settings {}", path.display()))?;
        let entries = EnvFile::new(text).all();
        env.extend(entries.into_iter().map(|entry| (entry.name, entry.value)));
    }
    let plan =
        Plan { old: program(&args.from)?, new: program(&args.to)?, env, dir: args.dir.clone() };
    let report = wait::on(upgrade::check(&plan))?;
    if args.json {
        out::json(&report)?;
    } else {
        out::text(&report.text());
    }
    Ok(!report.has_trouble())
}

/// A path means the same in the directory of the relay as here; a bare name is looked for by the system.
fn program(path: &std::path::Path) -> Result<PathBuf> {
    if path.components().count() < 2 && !path.is_file() {
        return Ok(path.to_owned());
    }
    path.canonicalize().with_context(|| format!("find the program {}", path.display()))
}
