//! `relay import`: whose place is taken.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use crate::config::Secret;

/// What `relay import` was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// Database of the other relay; may hold a password.
    pub from: Secret,
    /// The newest seq that it gave out.
    pub head: Option<u64>,
    /// Where its event log lies.
    pub log_dir: Option<PathBuf>,
    /// Only say what would be taken.
    pub dry_run: bool,
    /// The answer is one JSON object.
    pub json: bool,
}

pub(super) fn parse(matches: &ArgMatches) -> Option<ImportOptions> {
    Some(ImportOptions {
        from: Secret::new(matches.get_one::<String>("from-indigo")?.clone()),
        head: matches.get_one::<u64>("head").copied(),
        log_dir: matches.get_one::<PathBuf>("log-dir").cloned(),
        dry_run: matches.get_flag("dry-run"),
        json: matches.get_flag("json"),
    })
}

/// `relay import`.
pub(super) fn model() -> clap::Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    clap::Command::new("import")
        .about("Takes the place of a reference relay: its hosts with their cursors and limits, bans, takedowns, accounts with their last commits; numbers go on above its own")
        .after_help(
            "Both relays are stopped. The other database is only read. What is known here already stays, \
             so that a second run adds what is new. Exit codes: 0 done; 1 failed, or something is not \
             understood, and then nothing was taken; 2 wrong usage.",
        )
        .arg(
            Arg::new("from-indigo")
                .long("from-indigo")
                .value_name("DATABASE_URL")
                .required(true)
                .help("Its database, SQLite or Postgres, as its own DATABASE_URL names it"),
        )
        .arg(
            Arg::new("log-dir")
                .long("log-dir")
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Directory of its event log (RELAY_PERSIST_DIR there), which tells the newest seq exactly"),
        )
        .arg(
            Arg::new("head")
                .long("head")
                .value_name("SEQ")
                .value_parser(clap::value_parser!(u64))
                .help("The newest seq that it gave out. Without this and --log-dir: a million above the first seq of its newest file"),
        )
        .arg(switch("dry-run", "Only says what would be taken"))
        .arg(switch("json", "Answers with one JSON object"))
}
