//! The operator's program. Some verbs are those of the project's own proof: `provision test` installs
//! what the tests need on a Debian or Ubuntu machine, runs all of them and tells what it did; `provision
//! fuzz` searches for bytes that break a decoder; `provision mutants` makes the product wrong on purpose
//! and sees whether a test notices. The others are for those who run a relay; they are thin fronts of
//! the library.
//!
//! `provision/test` and the verbs of the `justfile` call it: they build this program first.

mod commands;
mod out;
mod tools;

use std::process::ExitCode;

#[cfg(feature = "operate")]
use clap::CommandFactory as _;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "provision", version, about = "Prepares machines for the relay and checks them")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes the settings and secrets of a new relay.
    #[cfg(feature = "operate")]
    Init(commands::init::InitArgs),
    /// Measures this machine and derives settings for the relay, Postgres, the kernel and the unit.
    #[cfg(feature = "operate")]
    Tune(commands::tune::TuneArgs),
    /// Looks at a machine and its relay: what is wrong, why, and what to do.
    #[cfg(feature = "operate")]
    Doctor(commands::doctor::DoctorArgs),
    /// Shows the hosts that others know and your relay does not, and adds them.
    #[cfg(feature = "operate")]
    Hosts(commands::hosts::HostsArgs),
    /// Collects what one looks at when a relay is slow, in one file; or compares two such files.
    #[cfg(feature = "operate")]
    Snapshot(commands::snapshot::SnapshotArgs),
    /// Installs what the tests need and runs format, lints, all tests, the demo and the real peers.
    Test(commands::test::TestArgs),
    /// Searches for bytes that break a decoder.
    Fuzz(commands::fuzz::FuzzArgs),
    /// Makes the product wrong on purpose and sees whether a test notices.
    Mutants(commands::mutants::MutantsArgs),
    /// Copies what a relay cannot have again, or looks whether a copy is whole.
    #[cfg(feature = "operate")]
    Backup(commands::backup::BackupArgs),
    /// Restores a backup on an empty machine.
    #[cfg(feature = "operate")]
    Restore(commands::backup::RestoreArgs),
    /// Compares what several relays give, or what they list.
    #[cfg(feature = "operate")]
    Compare(commands::compare::CompareArgs),
    /// Judges whether a relay keeps what it promises, beside another one.
    #[cfg(feature = "operate")]
    Selfcheck(commands::selfcheck::SelfcheckArgs),
    /// Says what a new version of the relay changes, before it is installed.
    #[cfg(feature = "operate")]
    Upgrade(commands::upgrade::UpgradeArgs),
    /// Shows any firehose as it comes.
    #[cfg(feature = "operate")]
    Watch(commands::watch::WatchArgs),
    /// Makes container images of what is on this machine; no registry is needed.
    #[cfg(feature = "operate")]
    Image(commands::image::ImageArgs),
    /// Relays on machines of their own: begins, deploys and looks after them from this checkout.
    #[cfg(feature = "operate")]
    Deployment(commands::deployment::DeploymentArgs),
    /// Makes, changes and destroys the host of a deployment, with Terraform.
    #[cfg(feature = "operate")]
    Infra(commands::infra::InfraArgs),
    /// Rented servers of Hetzner's: lists, installs, restarts them, sets their names and firewall.
    #[cfg(feature = "operate")]
    Robot(commands::robot::RobotArgs),
    /// The whole stack in containers: relay, PDS, PLC directory, Caddy with TLS, Postgres, Prometheus.
    #[cfg(feature = "operate")]
    Stack(commands::stack::StackArgs),
    /// Prints what a shell reads in order to complete command lines of this program.
    #[cfg(feature = "operate")]
    Completions(commands::shell::CompletionsArgs),
    /// Writes the manual pages of this program, one for each verb.
    #[cfg(feature = "operate")]
    Man(commands::shell::ManArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        #[cfg(feature = "operate")]
        Verb::Init(args) => commands::init::run(&args),
        #[cfg(feature = "operate")]
        Verb::Tune(args) => commands::tune::run(&args),
        #[cfg(feature = "operate")]
        Verb::Doctor(args) => commands::doctor::run(&args),
        #[cfg(feature = "operate")]
        Verb::Hosts(args) => commands::hosts::run(&args),
        #[cfg(feature = "operate")]
        Verb::Snapshot(args) => commands::snapshot::run(&args),
        Verb::Test(args) => commands::test::run(&args),
        Verb::Fuzz(args) => commands::fuzz::run(&args),
        Verb::Mutants(args) => commands::mutants::run(&args),
        #[cfg(feature = "operate")]
        Verb::Backup(args) => commands::backup::run(&args),
        #[cfg(feature = "operate")]
        Verb::Restore(args) => commands::backup::restore(&args),
        #[cfg(feature = "operate")]
        Verb::Compare(args) => commands::compare::run(&args),
        #[cfg(feature = "operate")]
        Verb::Selfcheck(args) => commands::selfcheck::run(&args),
        #[cfg(feature = "operate")]
        Verb::Upgrade(args) => commands::upgrade::run(&args),
        #[cfg(feature = "operate")]
        Verb::Watch(args) => commands::watch::run(args),
        #[cfg(feature = "operate")]
        Verb::Image(args) => commands::image::run(&args),
        #[cfg(feature = "operate")]
        Verb::Deployment(args) => commands::deployment::run(&args),
        #[cfg(feature = "operate")]
        Verb::Infra(args) => commands::infra::run(&args),
        #[cfg(feature = "operate")]
        Verb::Robot(args) => commands::robot::run(&args),
        #[cfg(feature = "operate")]
        Verb::Stack(args) => commands::stack::run(&args),
        #[cfg(feature = "operate")]
        Verb::Completions(args) => commands::shell::completions(&args, Cli::command()),
        #[cfg(feature = "operate")]
        Verb::Man(args) => commands::shell::man(&args, Cli::command()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            out::note(&format!("provision: {error:#}"));
            exit_code(&error)
        }
    }
}

/// 2 for wrong usage, as clap has it; 1 for everything else.
#[cfg(feature = "operate")]
fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<out::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "operate"))]
fn exit_code(_: &anyhow::Error) -> ExitCode {
    ExitCode::FAILURE
}
