//! `provision deployment`: relays on machines of their own. One file per verb that needs more than a
//! few lines.

mod backup;
mod dash;
mod deploy;
mod destroy;
mod doctor;
mod init;
mod logs;
mod replace;
mod selfcheck;
mod status;

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use provision::{deployment::Deployment, doctor::State, ssh::NO_SSH};
use relay::units;
use serde::Serialize;

use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision deployment init relay.example.com --ssh admin@192.0.2.7
  provision deployment init hil.example.com --provider hetzner-cloud
  provision deployment deploy hil
  provision deployment list
  provision deployment ssh ash
  provision deployment ssh ash -- sudo journalctl -u relay -n 50
  provision deployment ip ash

Everything of a deployment is in deployments/NAME of the checkout; git does not see it. Where there is one
deployment, its name may be left out.
Exit codes: 0 done, 1 something failed or is not well, 2 wrong usage.";

/// What to do with which.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DeploymentArgs {
    #[command(subcommand)]
    verb: Verb,
    /// The checkout, which has `ansible`, `terraform` and `deployments`.
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    checkout: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Begins a deployment: settings, secrets, and which host it is to be.
    Init(init::InitArgs),
    /// Makes a relay of it that a consumer reads by its public name; interrupted, run it again.
    Deploy(deploy::DeployArgs),
    /// Takes it down again.
    Destroy(destroy::DestroyArgs),
    /// Shows what runs, how well, since when, and what is to be done.
    Status(status::StatusArgs),
    /// Shows what the parts of a relay say.
    Logs(logs::LogsArgs),
    /// Looks from here and on the host: what is wrong, why, and what to do.
    Doctor(doctor::DoctorArgs),
    /// Puts another relay in place of the one that runs; what is not well is taken back.
    Upgrade(replace::UpgradeArgs),
    /// Puts the relay that ran before in place of the one that runs.
    Rollback(replace::RollbackArgs),
    /// Makes a backup on the host, and brings it here.
    Backup(backup::BackupArgs),
    /// Puts a backup in place of what the relay has.
    Restore(backup::RestoreArgs),
    /// Looks at the relay as a consumer does; later, on the host, beside another relay.
    Selfcheck(selfcheck::SelfcheckArgs),
    /// Opens the admin API and Prometheus of the host on this machine.
    Dash(dash::DashArgs),
    /// Shows all deployments of this checkout.
    List {
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Logs in to a host, or runs a command there.
    Ssh {
        /// The deployment.
        name: Option<String>,
        /// A command, instead of a login.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Prints the addresses of a host, one a line.
    Ip {
        /// The deployment.
        name: Option<String>,
    },
}

/// Does it; `false` when something is not well.
pub(crate) fn run(args: &DeploymentArgs) -> Result<bool> {
    match &args.verb {
        Verb::Init(more) => init::run(&args.checkout, more),
        Verb::Deploy(more) => deploy::run(&opened(args, more.name.as_deref())?, more),
        Verb::Destroy(more) => destroy::run(&opened(args, Some(&more.name))?, more),
        Verb::Status(verb) => status::run(&opened(args, verb.name.as_deref())?, verb),
        Verb::Logs(verb) => logs::run(&opened(args, verb.name.as_deref())?, verb),
        Verb::Doctor(verb) => doctor::run(&opened(args, verb.name.as_deref())?, verb),
        Verb::Upgrade(verb) => replace::upgrade(&opened(args, verb.name.as_deref())?, verb),
        Verb::Rollback(verb) => replace::rollback(&opened(args, verb.name.as_deref())?, verb),
        Verb::Backup(verb) => backup::run(&opened(args, verb.name.as_deref())?, verb),
        Verb::Restore(verb) => backup::restore(&opened(args, Some(&verb.name))?, verb),
        Verb::Selfcheck(verb) => selfcheck::run(&opened(args, verb.name.as_deref())?, verb),
        Verb::Dash(verb) => dash::run(&opened(args, verb.name.as_deref())?, verb),
        Verb::List { json } => list(args, *json),
        Verb::Ssh { name, command } => login(&opened(args, name.as_deref())?, command),
        Verb::Ip { name } => {
            let host = opened(args, name.as_deref())?.host()?;
            for address in [&host.ipv4, &host.ipv6].into_iter().flatten() {
                out::line(address);
            }
            Ok(true)
        }
    }
}

/// The deployment that is meant.
fn opened(args: &DeploymentArgs, name: Option<&str>) -> Result<Deployment> {
    Deployment::open(&args.checkout, name).map_err(|error| Usage(format!("{error:#}")).into())
}

/// How good something is, in a word of the same width.
fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok  ",
        State::Warn => "warn",
        State::Fail => "FAIL",
    }
}

/// A length of time that a person gave.
fn span(flag: &str, text: &str) -> Result<Duration, String> {
    let length = units::parse_duration(text).filter(|length| !length.is_zero());
    length
        .ok_or_else(|| format!("{flag} is {text:?}: allowed is a duration such as `30s` or `24h`"))
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    hostname: Option<String>,
    provider: Option<String>,
    address: Option<String>,
    /// When the last run of `deploy` reached its end.
    deployed: Option<String>,
}

fn list(args: &DeploymentArgs, json: bool) -> Result<bool> {
    let all = Deployment::all(&args.checkout).map_err(|error| Usage(format!("{error:#}")))?;
    let listed = |deployment: &Deployment| {
        // One that is only begun has no host yet.
        let host = deployment.host().ok();
        Listed {
            name: deployment.name().to_owned(),
            hostname: host.as_ref().map(|host| host.hostname.clone()),
            provider: host.as_ref().map(|host| host.provider.clone()),
            address: host.map(|host| host.address),
            deployed: provision::deployment::deploy::finished(deployment).unwrap_or_default(),
        }
    };
    let all: Vec<_> = all.iter().map(listed).collect();
    if json {
        out::json(&all)?;
        return Ok(true);
    }
    if all.is_empty() {
        out::note("There is no deployment yet; begin one with `just init relay.example.com`.");
    }
    for one in &all {
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        out::line(&format!(
            "{:<12} {:<32} {:<15} {:<16} {}",
            one.name,
            shown(&one.hostname),
            shown(&one.provider),
            shown(&one.address),
            one.deployed.as_deref().unwrap_or("not deployed")
        ));
    }
    Ok(true)
}

/// Becomes `ssh`, so that the terminal is its own.
fn login(deployment: &Deployment, words: &[String]) -> Result<bool> {
    let remote = deployment.remote()?;
    let ssh = remote.ssh(true);
    let mut command = Command::new("ssh");
    command.args(ssh.get(1..).unwrap_or_default()).arg("--").arg(remote.destination()).args(words);
    Err(command.exec()).context(NO_SSH)
}
