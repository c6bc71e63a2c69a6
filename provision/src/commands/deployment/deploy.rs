//! `provision deployment deploy`.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;
use provision::{
    deployment::{
        Deployment,
        deploy::{self, Order},
        stop::Stop,
    },
    watch,
};

use crate::{
    commands::wait::{self, Screen},
    out,
};

const EXAMPLES: &str = "\
Examples:
  provision deployment deploy hil
  provision deployment deploy hil --relay target/release/relay
  provision deployment deploy ash --erase ash     NixOS in the place of another system
  provision deployment deploy rbx --reinstall ns1.ip-192-0-2.eu/first   erases and installs a rented server

Tokens of providers come from the environment. The steps: have the relay's program, have the host, reach it, look
at its disks, find it by the public name, set up everything (measure and tune, XFS, firewall, Postgres, relay,
Caddy, backups, monitoring), tell the relay which hosts there are, read verified events from outside.
Ctrl-C, a lost network and a closed laptop lose nothing: run it again, and it goes on where it was.
Exit codes: 0 a consumer has read verified events, 1 a step failed or was interrupted, 2 wrong usage.";

/// How to deploy.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeployArgs {
    /// The deployment.
    pub(super) name: Option<String>,
    /// The relay's program, instead of one that is built here.
    #[arg(long, value_name = "FILE")]
    relay: Option<PathBuf>,
    /// Do not ask before a provider makes or changes something.
    #[arg(long)]
    yes: bool,
    /// The server's own name, a slash and a new word: erases and installs a server that is rented.
    #[arg(long, value_name = "SERVER/WORD")]
    reinstall: Option<String>,
    /// The name of the deployment: a host that shall run NixOS and does not gets it, which erases its disks.
    #[arg(long, value_name = "NAME")]
    erase: Option<String>,
    /// Begin with the first step, also where a run was interrupted.
    #[arg(long)]
    again: bool,
    /// How long to wait until the public name leads to the host.
    #[arg(long, value_name = "TIME", value_parser = watch::span, default_value = "10m")]
    wait_names: Duration,
    /// How long to wait until verified events come.
    #[arg(long, value_name = "TIME", value_parser = watch::span, default_value = "10m")]
    wait_live: Duration,
    /// The summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Deploys.
pub(super) fn run(deployment: &Deployment, args: &DeployArgs) -> Result<bool> {
    let order = Order {
        yes: args.yes,
        reinstall: args.reinstall.clone(),
        erase: args.erase.clone(),
        relay: args.relay.clone(),
        again: args.again,
        names_max: args.wait_names,
        live_max: args.wait_live,
    };
    let mut screen = Screen::new();
    let summary = until_stopped(async |stop| {
        deploy::run(deployment, &order, stop, &mut |told| screen.tell(told)).await
    });
    screen.clear();
    let summary = summary?;
    if args.json {
        out::json(&summary)?;
    } else {
        out::line(&format!("\n{summary}"));
    }
    Ok(true)
}

/// Runs work that is told when somebody wants it to end, and then ends by itself.
pub(super) fn until_stopped<T>(work: impl AsyncFnOnce(&Stop) -> Result<T>) -> Result<T> {
    let stop = Stop::default();
    wait::on(async {
        let work = work(&stop);
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = wait::asked_to_end() => {}
        }
        out::note("ending; what runs now comes to its end first");
        stop.tell();
        work.await
    })
}
