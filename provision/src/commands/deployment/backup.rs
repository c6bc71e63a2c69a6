//! `provision deployment backup` and `restore`.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::Result;
use clap::Args;
use provision::{
    backup::Manifest,
    deployment::{
        Deployment, Remote, backups,
        job::{How, Job, Outcome},
        journal::Entry,
        replace,
    },
    words,
};
use serde_json::json;

use super::{deploy::until_stopped, destroy::confirmed};
use crate::{
    commands::wait::{self, Screen},
    out,
};

const EXAMPLES: &str = "\
Examples:
  provision deployment backup ash
  provision deployment backup ash --verify             and restore it on trial, on the host
  provision deployment backup ash --fetch              and bring it to deployments/ash/backups
  provision deployment backup ash --fetch-only         the newest that is there

It is made on the host. Ctrl-C, or a lost connection, ends only the looking on: the same command finds it
again while it is made, and tells how it ended. A copy that was cut off goes on where it was.
Exit codes: 0 done, 1 it failed or was not awaited, 2 wrong usage.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  provision deployment restore ash relay-001795727113043       asks for the name
  provision deployment restore ash /media/usb/relay-001795727113043.tar.age --age-identity key.txt --confirm ash

The backup is one of deployments/NAME/backups, or a path of this machine. What the relay had until then is put
aside on the host, and comes back when the restored relay is not well.
Exit codes: 0 done, 1 it failed, 2 wrong usage.";

/// Of which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct BackupArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// Restore it on trial, on the host, when it is made.
    #[arg(long)]
    verify: bool,
    /// Bring it to this side, and see that it is whole.
    #[arg(long)]
    fetch: bool,
    /// Make none; only bring the newest that is there.
    #[arg(long, conflicts_with_all = ["verify", "fetch"])]
    fetch_only: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What is restored, and where.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The deployment.
    pub(crate) name: String,
    /// The backup.
    from: String,
    /// Its name again.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// A file with the key of an encrypted backup.
    #[arg(long, value_name = "FILE")]
    age_identity: Option<PathBuf>,
}

/// Makes a backup and brings it; `false` when it failed.
pub(crate) fn run(deployment: &Deployment, args: &BackupArgs) -> Result<bool> {
    let remote = deployment.remote()?;
    let mut screen = Screen::new();
    let outcome = if args.fetch_only {
        None
    } else {
        let Some((how, outcome)) = job(&remote, &backups::job(args.verify), args.json)? else {
            out::note(&format!(
                "the backup is still made; `provision deployment backup {}` looks on again",
                deployment.name()
            ));
            return Ok(false);
        };
        if !outcome.is_good() {
            out::note(&format!("the backup failed ({}); see above", outcome.result));
            return Ok(false);
        }
        Some((how, outcome))
    };
    let (there, fetched) = wait::on(async {
        let mut tell = |told| screen.tell(told);
        let there = backups::newest(deployment, &remote).await?;
        if !args.fetch && !args.fetch_only {
            return Ok((there, None));
        }
        let fetched = backups::fetch(deployment, &remote, &there, &mut tell).await?;
        Ok((there, Some(fetched)))
    })?;
    screen.clear();
    if args.json {
        out::json(&json!({
            "name": there.name,
            "manifest": there.manifest,
            "job": outcome.as_ref().map(|(_, outcome)| outcome),
            "found": outcome.as_ref().map(|(how, _)| how),
            "path": fetched.as_ref().map(|fetched| &fetched.path),
            "unverified": fetched.as_ref().and_then(|fetched| fetched.unverified.as_ref()),
        }))?;
        return Ok(true);
    }
    out::line(&said(&there.name, &there.manifest, outcome.as_ref()));
    if let Some(fetched) = fetched {
        out::line(&format!("here: {}", fetched.path.display()));
        match fetched.unverified {
            None => out::note("it was restored on trial here: whole"),
            Some(why) => {
                out::note(&format!("its digests are right; it was not restored on trial: {why}"));
            }
        }
    }
    Ok(true)
}

/// Begins a job on the host, or finds it, and shows what it says until its end; `None` when nobody wants to
/// look on any more.
fn job(remote: &Remote, job: &Job<'_>, is_quiet: bool) -> Result<Option<(How, Outcome)>> {
    let mut screen = Screen::new();
    let ended = wait::on(async {
        let mut show = |entry: &Entry| {
            if !is_quiet {
                out::note(&entry.shown());
            }
        };
        let begun = job.begin(remote).await?;
        match begun.how {
            How::Begun => {}
            How::Running => out::note("it was begun before, and goes on"),
            How::Ended => {
                out::note("it was begun before, and has ended; the next time another one begins");
            }
        }
        let mut tell = |told| screen.tell(told);
        tokio::select! {
            outcome = job.follow(remote, &begun, &mut show, &mut tell) => {
                Ok(Some((begun.how, outcome?)))
            }
            () = wait::asked_to_end() => Ok(None),
        }
    });
    screen.clear();
    ended
}

fn said(name: &str, manifest: &Manifest, outcome: Option<&(How, Outcome)>) -> String {
    let counts = manifest.counts;
    let number = |number: i64| words::count(u64::try_from(number).unwrap_or(0));
    let mut said = format!(
        "{name}: {} hosts, {} accounts, {} decisions, up to seq {}",
        number(counts.hosts),
        number(counts.accounts),
        number(counts.decisions),
        words::count(manifest.position)
    );
    if let Some((_, outcome)) = outcome {
        // Writing to a string does not fail.
        if write!(said, "; it took {} s", outcome.seconds).is_err() {}
    }
    said
}

/// Restores one; `false` when it failed.
pub(crate) fn restore(deployment: &Deployment, args: &RestoreArgs) -> Result<bool> {
    let from = backups::restorable(deployment, &args.from)?;
    confirmed(deployment, args.confirm.as_deref(), "what the relay has is put aside")?;
    let (mut screen, identity) = (Screen::new(), args.age_identity.as_deref());
    let played = until_stopped(async |stop| {
        let mut tell = |told| screen.tell(told);
        replace::restore(deployment, &from, identity, stop, &mut tell).await
    });
    screen.clear();
    Ok(super::replace::told(deployment, &played?))
}
