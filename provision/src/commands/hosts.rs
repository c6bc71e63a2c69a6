//! `provision hosts`: the hosts that others know, for your relay.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use provision::{
    env_file::EnvFile,
    roster::{self, Added, Found, Password, Source, Target},
    told::Told,
};
use serde::Serialize;

use super::wait::{self, Screen};
use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision hosts                                      what bsky.network knows and your relay does not
  provision hosts bsky.network atproto.africa ./mine.txt --add
  provision hosts --add --json                         for a timer: adds what is new, removes nothing
  provision hosts --ssh root@relay.example.com --password-file admin-password --add
                                                       from your own machine, with its keys

A source is a relay, a page (URL with a path) or a file: one name a line, # begins a comment.
Interrupted, it goes on where it was: what was added is known.
Exit codes: 0 done; 1 a source or the relay failed; 2 wrong usage.";

/// From where, and to which relay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HostsArgs {
    /// Relays, pages and files.
    #[arg(value_name = "SOURCE", default_value = "bsky.network")]
    sources: Vec<String>,
    /// Hand the new ones to the relay, which reads each from then on.
    #[arg(long)]
    add: bool,
    /// Environment of the relay, as `init` wrote it; secrets/relay.env beside it is read too.
    #[arg(long, value_name = "FILE", default_value = "/etc/relay/env")]
    env: PathBuf,
    /// Admin API of the relay. Otherwise that of the environment file.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// File with the admin password. Otherwise `RELAY_ADMIN_PASSWORD`, that of the environment file, or
    /// of the data directory.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The admin password, from the environment.
    #[arg(long, env = "RELAY_ADMIN_PASSWORD", hide_env_values = true, hide = true)]
    admin_password: Option<String>,
    /// Machine on which the relay runs: `USER@HOST`. `ssh` must get in without a question; --admin is the
    /// address as that machine sees it.
    #[arg(long, value_name = "DESTINATION")]
    ssh: Option<String>,
    /// Configuration of ssh instead of your own.
    #[arg(long, value_name = "FILE", requires = "ssh")]
    ssh_config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Answer {
    found: Found,
    added: Option<Added>,
}

/// Collects, shows and adds; `false` when a source failed.
pub(crate) fn run(args: &HostsArgs) -> Result<bool> {
    let sources: Result<Vec<Source>> =
        args.sources.iter().map(|text| Source::parse(text)).collect();
    let sources = sources.map_err(|error| Usage(format!("{error:#}")))?;
    let mut target = target(args)?;
    let mut screen = Screen::new();
    let answer = wait::on(async {
        let mut tell = |told| screen.tell(told);
        if let Some(to) = &args.ssh {
            target = target.through(to, args.ssh_config.as_deref()).await?;
        }
        let found = roster::collect(&sources, &target, &mut tell).await?;
        let added = if args.add { Some(target.add(&found, &mut tell).await?) } else { None };
        Ok(Answer { found, added })
    })?;
    screen.clear();
    let good = answer.found.sources.iter().all(|(_, count)| count.is_some());
    if args.json {
        out::json(&answer)?;
        return Ok(good);
    }
    for name in &answer.found.new {
        wait::tell(Told::Result(name.clone()));
    }
    let Found { sources, wrong, known, new, .. } = &answer.found;
    for (name, count) in sources {
        let count = count.map_or("failed".to_owned(), |count| format!("{count} names"));
        out::note(&format!("{name}: {count}"));
    }
    out::note(&format!("{} new, {known} known, {} no names of hosts", new.len(), wrong.len()));
    match answer.added {
        None if !new.is_empty() => out::note("Nothing was added. `--add` adds them."),
        None => {}
        Some(added) => {
            for (name, why) in &added.refused {
                out::note(&format!("refused {name}: {why}"));
            }
            out::note(&format!("{} added, {} refused", added.added.len(), added.refused.len()));
        }
    }
    Ok(good)
}

fn target(args: &HostsArgs) -> Result<Target> {
    let (env, _) = EnvFile::of_deployment(&args.env)?;
    let config = env.config(args.env.parent().unwrap_or(&args.env))?;
    let file = args.password_file.as_deref().map(Password::File);
    let password = file.or(args.admin_password.as_deref().map(Password::Text));
    Target::of(&config, args.admin.as_deref(), password)
}
