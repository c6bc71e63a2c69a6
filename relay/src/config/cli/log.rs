//! `relay log …`: what a person can do with the files of the event log.

use clap::{Arg, ArgAction, ArgMatches};

/// What to do with the files of the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogCommand {
    /// Read and check everything.
    Verify {
        /// The answer is one JSON object.
        json: bool,
    },
    /// Make a log of it that a relay can start on.
    Repair {
        /// Only say what would be done.
        dry_run: bool,
        /// Do it.
        yes: bool,
    },
}

/// Reads `relay log …`; the settings stand in the deepest part.
pub(super) fn parse(matches: &ArgMatches) -> (LogCommand, &ArgMatches) {
    match matches.subcommand() {
        Some(("repair", inner)) => {
            let (dry_run, yes) = (inner.get_flag("dry-run"), inner.get_flag("yes"));
            (LogCommand::Repair { dry_run, yes }, inner)
        }
        Some((_, inner)) => (LogCommand::Verify { json: inner.get_flag("json") }, inner),
        None => (LogCommand::Verify { json: false }, matches),
    }
}

/// `relay log`.
pub(super) fn model() -> clap::Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    clap::Command::new("log")
        .about("Checks and repairs the files of the event log")
        .subcommand_required(true)
        .subcommand(
            clap::Command::new("verify")
                .about("Reads every event and says what is damaged; changes nothing, also while the relay runs. Exit code 3 when something is")
                .arg(switch("json", "Answers with one JSON object")),
        )
        .subcommand(
            clap::Command::new("repair")
                .about("Says what is lost, then makes a log that the relay starts on; damaged files are kept under another name. The relay must be stopped")
                .arg(switch("dry-run", "Only says what would be done"))
                .arg(switch("yes", "Does it").conflicts_with("dry-run")),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cli::{Command, Stop, parse};

    fn command(line: &str) -> Command {
        parse(line.split(' ')).unwrap().0
    }

    /// Verifying and repairing have switches of their own, beside the settings.
    #[test]
    fn the_log_is_verified_or_repaired() {
        let log = |line: &str| match command(line) {
            Command::Log(what) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(log("relay log verify"), LogCommand::Verify { json: false });
        assert_eq!(log("relay log verify --json"), LogCommand::Verify { json: true });
        let repair = |dry_run, yes| LogCommand::Repair { dry_run, yes };
        assert_eq!(log("relay log repair"), repair(false, false));
        assert_eq!(log("relay log repair --dry-run"), repair(true, false));
        assert_eq!(log("relay --data-dir /d log repair --yes"), repair(false, true));
        for line in ["relay log", "relay log mend", "relay log repair --yes --dry-run"] {
            assert!(matches!(parse(line.split(' ')), Err(Stop::Usage(_))), "{line}");
        }
    }
}
