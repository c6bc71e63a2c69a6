//! `provision selfcheck`: does a relay keep what it promises?

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;
use provision::{
    compare::report,
    env_file::EnvFile,
    feed::Address,
    roster::{Password, Target},
    selfcheck::{self, Asked, Judged, Promise},
    watch,
};
use serde_json::json;

use super::wait::{self, Screen};
use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision selfcheck                                  this machine's relay beside bsky.network, for 10 minutes
  provision selfcheck relay.example.com --for 1h --json
  provision selfcheck --hosts 2900 --tolerance 2 --missing 1

It counts the hosts that are connected, and what is missing of the other relay's events. For both it tells
the reasons, which the relay gives by its admin API.
Exit codes: 0 all is kept, 1 something is not or could not be judged, 2 wrong usage.";

/// Which relay, beside which, and what is promised.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SelfcheckArgs {
    /// The relay that is judged. Otherwise the name of the environment file.
    #[arg(value_parser = Address::parse)]
    relay: Option<Address>,
    /// Another one, which reads the same network.
    #[arg(long, value_name = "RELAY", value_parser = Address::parse, default_value = "bsky.network")]
    against: Address,
    /// How long both are listened to.
    #[arg(long = "for", value_name = "TIME", value_parser = watch::span, default_value = "10m")]
    time: Duration,
    /// How far the relay may be behind the other one.
    #[arg(long, value_name = "TIME", value_parser = watch::span, default_value = "15s")]
    settle: Duration,
    /// How many hosts are promised to be connected.
    #[arg(long, value_name = "COUNT", default_value_t = Promise::NETWORK.hosts)]
    hosts: u64,
    /// How many percent fewer are enough.
    #[arg(long, value_name = "PERCENT", default_value_t = Promise::NETWORK.tolerance_percent)]
    tolerance: f64,
    /// How many percent of the other relay's events may be missing.
    #[arg(long, value_name = "PERCENT", default_value_t = Promise::NETWORK.missing_percent)]
    missing: f64,
    /// Environment of the relay, as `init` wrote it; secrets/relay.env beside it is read too.
    #[arg(long, value_name = "FILE", default_value = "/etc/relay/env")]
    env: PathBuf,
    /// Admin API of the relay. Otherwise that of the environment file.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// File with the admin password. Otherwise that of the environment file, or of the data directory.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Keep the result there as JSON, whatever it is.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Judges; `false` when a promise is not kept.
pub(crate) fn run(args: &SelfcheckArgs) -> Result<bool> {
    let asked = asked(args)?;
    let mut screen = Screen::new();
    let judged = wait::on(async {
        let mut tell = |told| screen.tell(told);
        selfcheck::run(&asked, &mut tell, wait::asked_to_end()).await
    });
    screen.clear();
    if let Some(path) = &args.out {
        let kept = match &judged {
            Ok(judged) => serde_json::to_string(judged)?,
            Err(error) => json!({ "error": format!("{error:#}") }).to_string(),
        };
        report::replace(path, &format!("{kept}\n"))?;
    }
    let judged = judged?;
    if args.json {
        out::json(&judged)?;
    } else {
        show(&judged);
    }
    Ok(judged.is_kept())
}

/// For a person.
pub(super) fn show(judged: &Judged) {
    out::text(&judged.text());
}

fn asked(args: &SelfcheckArgs) -> Result<Asked> {
    let (env, _) = EnvFile::of_deployment(&args.env)?;
    let name = env.value("PROVISION_HOST").map(|entry| entry.value);
    let ours = match (&args.relay, name) {
        (Some(relay), _) => relay.clone(),
        (None, Some(name)) => Address::parse(&name)?,
        (None, None) => {
            let file = args.env.display();
            let what = format!(
                "no relay was named, and {file} has no PROVISION_HOST; say which, or --env"
            );
            return Err(Usage(what).into());
        }
    };
    for (flag, percent) in [("--tolerance", args.tolerance), ("--missing", args.missing)] {
        if !(0.0..=100.0).contains(&percent) {
            return Err(Usage(format!("{flag} is {percent}: allowed is 0 to 100")).into());
        }
    }
    let config = env.config(args.env.parent().unwrap_or(&args.env))?;
    let password = args.password_file.as_deref().map(Password::File);
    Ok(Asked {
        ours,
        theirs: args.against.clone(),
        target: Target::of(&config, args.admin.as_deref(), password)?,
        span: args.time,
        settle: args.settle,
        promise: Promise {
            hosts: args.hosts,
            tolerance_percent: args.tolerance,
            missing_percent: args.missing,
        },
    })
}
