//! `provision backup`, `provision backup verify`, and `provision restore`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use provision::backup;
use serde_json::json;

use super::wait;
use crate::out;

const EXAMPLES: &str = "\
Examples:
  provision backup --env /etc/relay/env --to /var/backups/relay --keep 14
  provision backup verify /var/backups/relay/relay-001795727113043
  provision backup verify BACKUP --scratch postgres://relay:PASSWORD@localhost/scratch

The relay may run meanwhile. The event log is not part of a backup: hosts send again what they keep.
Exit codes: 0 done, 1 it failed or the backup is damaged, 2 wrong usage.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  provision restore /var/backups/relay/relay-001795727113043 --env /etc/relay/env

The relay must be stopped, and its database and event log must be empty places. The settings are given the
seq from which the relay goes on, above everything that a consumer can have seen; consumers that come back
with an older cursor are told so (OutdatedCursor).
Exit codes: 0 done, 1 it failed and nothing was changed, 2 wrong usage.";

/// What to back up.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// The file with the environment of the relay.
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// The directory in which the relay runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The directory of the backups.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// How many are kept there; the oldest are removed.
    #[arg(long, value_name = "COUNT", default_value_t = 14)]
    keep: usize,
    /// Keep the secrets of the settings too, so that a restore needs nothing else.
    #[arg(long)]
    with_secrets: bool,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Restores a backup into a scratch database and counts what is there.
    Verify {
        /// The directory of one backup.
        backup: PathBuf,
        /// An empty database, for a backup of Postgres.
        #[arg(long, value_name = "URL", env = "SCRATCH_DATABASE_URL", hide_env_values = true)]
        scratch: Option<String>,
        /// The result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What to restore.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The directory of one backup.
    backup: PathBuf,
    /// The file with the environment of the relay.
    #[arg(long, value_name = "FILE")]
    env: PathBuf,
    /// The directory in which the relay runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// Makes a backup, or verifies one.
pub(crate) fn run(args: &BackupArgs) -> Result<bool> {
    if let Some(What::Verify { backup, scratch, json }) = &args.what {
        let manifest = wait::on(backup::verify(backup, scratch.as_deref()))?;
        if *json {
            out::json(&manifest)?;
        } else {
            let counts = manifest.counts;
            out::line(&format!(
                "whole: {} hosts, {} accounts, {} decisions, up to seq {}",
                counts.hosts, counts.accounts, counts.decisions, manifest.position
            ));
        }
        return Ok(true);
    }
    let (Some(env), Some(to)) = (&args.env, &args.to) else {
        bail!(out::Usage(
            "a backup needs --env FILE and --to DIR; see `provision backup --help`".to_owned()
        ))
    };
    let options = (args.keep, args.with_secrets);
    let (path, manifest) = wait::on(backup::make(env, &args.dir, to, options))?;
    let path = path.to_str().context("the path of the backup is no text")?;
    if args.json {
        out::json(&json!({ "path": path, "manifest": manifest }))?;
    } else {
        let counts = manifest.counts;
        out::line(&format!(
            "{path}: {} hosts, {} accounts, up to seq {}",
            counts.hosts, counts.accounts, manifest.position
        ));
        out::note(&format!("next: provision backup verify {path}"));
    }
    Ok(true)
}

/// Restores a backup.
pub(crate) fn restore(args: &RestoreArgs) -> Result<bool> {
    let restored = wait::on(backup::restore(&args.backup, &args.env, &args.dir))?;
    let (counts, floor) = (restored.counts, restored.floor);
    if args.json {
        let position = restored.position;
        out::json(&json!({ "counts": counts, "position": position, "floor": floor }))?;
        return Ok(true);
    }
    out::line(&format!("restored {} hosts and {} accounts", counts.hosts, counts.accounts));
    out::line(&format!(
        "the relay goes on with seq {floor}: {} was the last that the backup knew of, and nobody can have \
         seen one above; consumers with older cursors are told OutdatedCursor",
        restored.position
    ));
    out::note("next: start the relay, then ask it with `relay health`");
    Ok(true)
}
