//! `provision deployment`: relays on machines of their own. One file per verb that needs more than a
//! few lines.

mod deploy;
mod destroy;
mod init;

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use provision::{deployment::Deployment, ssh::NO_SSH};
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
