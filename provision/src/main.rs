//! The operator's program. Today it has one verb: `provision test` installs what the project's tests
//! need on a Debian or Ubuntu machine, runs all of them and tells what it did.
//!
//! `provision/test` in the checkout is the way to call it: it builds this program first.

mod cache;
mod commands;
mod out;
mod run;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "provision", version, about = "Prepares machines for the relay and checks them")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Installs what the tests need and runs format, lints, all tests, the demo and the real peers.
    Test(commands::test::TestArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Test(args) => commands::test::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            out::line(&format!("provision: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
