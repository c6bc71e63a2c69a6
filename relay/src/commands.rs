//! What a person types: `relay [serve]`, `relay config`, `relay dev`, `relay health`.
//!
//! Answers go to stdout through [`print`], failures are one sentence on stderr and exit code 1.

mod dev;
mod health;
mod print;
mod serve;

use std::{process::ExitCode, time::Duration};

use crate::config::{Command, Invocation};

/// After the drain nothing may hold the process for longer than this: systemd and Docker kill after
/// ten seconds.
const SHUTDOWN_MAX: Duration = Duration::from_secs(9);

/// Parses the command line and the settings, runs the command, gives the exit code.
pub fn main() -> ExitCode {
    let invocation = match Invocation::from_process() {
        Ok(invocation) => invocation,
        Err(stop) => return print::stopped(&stop),
    };
    for warning in invocation.config.warnings() {
        print::error(&format!("warning: {warning}"));
    }
    match invocation.command.clone() {
        Command::Config => {
            for setting in invocation.config.effective() {
                print::line(&format!("{} = {}  ({})", setting.key, setting.value, setting.origin));
            }
            ExitCode::SUCCESS
        }
        command => run(command, invocation),
    }
}

fn run(command: Command, invocation: Invocation) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print::failed(&format!("the runtime could not start: {error}")),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve => serve::run(invocation.config).await,
            Command::Dev(options) => dev::run(invocation.config, options).await,
            Command::Health => health::run(&invocation.config).await,
            Command::Config => Ok(()),
        }
    });
    // A lookup of a name may still block a thread of the runtime; it must not hold the exit.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => print::failed(&why),
    }
}
