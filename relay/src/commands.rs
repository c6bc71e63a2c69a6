//! What a person types: `relay [serve]`, `relay config`, `relay dev`, `relay health`, `relay hosts`, `relay
//! collections`, `relay log`, `relay tables`.
//!
//! Answers go to stdout through [`print`], failures are one sentence on stderr and exit code 1.

mod admin;
mod collections;
mod dev;
mod health;
mod hosts;
mod import;
mod log;
mod policy;
mod print;
mod serve;
mod service;
mod tables;

use std::{process::ExitCode, time::Duration};

use self::print::Ended;
use crate::config::{Command, Config, Invocation};

/// After the drain nothing may hold the process for longer than this: systemd and Docker kill after
/// ten seconds.
const SHUTDOWN_MAX: Duration = Duration::from_secs(9);

/// Parses the command line and the settings, runs the command, gives the exit code.
pub fn main() -> ExitCode {
    let Invocation { command, config } = match Invocation::from_process() {
        Ok(invocation) => invocation,
        Err(stop) => return print::stopped(&stop),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print::failed(&format!("the runtime could not start: {error}")),
    };
    let code = runtime.block_on(async {
        match command {
            Command::Serve => Box::pin(serve::run(config)).await,
            Command::Dev(options) => print::ended(Box::pin(dev::run(config, options)).await),
            Command::Health => {
                print::warnings(&config);
                print::ended(health::run(&config).await)
            }
            Command::Log(what) => {
                print::warnings(&config);
                log::run(&config, what)
            }
            Command::PolicyDiff(file) => {
                print::warnings(&config);
                policy::diff(&config, file).await
            }
            Command::Tables => {
                print::warnings(&config);
                print::ended(tables::run(&config).await)
            }
            Command::Hosts(what, reach) => {
                print::warnings(&config);
                Box::pin(hosts::run(&config, what, &reach)).await
            }
            Command::Collections(what, reach) => {
                print::warnings(&config);
                Box::pin(collections::run(&config, what, &reach)).await
            }
            Command::Import(what) => {
                print::warnings(&config);
                print::ended(Box::pin(import::run(&config, &what)).await)
            }
            Command::Config => {
                print::warnings(&config);
                print::ended(settings(&config))
            }
        }
    });
    // A lookup of a name may still block a thread of the runtime; it must not hold the exit.
    runtime.shutdown_timeout(Duration::from_millis(500));
    code
}

/// `relay config`: every setting in effect and where it came from, secrets redacted (I8).
fn settings(config: &Config) -> Result<(), Ended> {
    config.report().lines().try_for_each(print::line)
}
