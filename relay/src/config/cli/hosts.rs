//! `relay hosts …` and `relay pull-hosts`: what an operator says about hosts.

use clap::{Arg, ArgAction, ArgMatches};

/// The relay that is asked when none is named, as the reference relay has it.
const USUAL_SOURCE: &str = "https://bsky.network";

/// Names in the environment that `relay pull-hosts` alone reads: the relay to ask, and two that older
/// scripts set and that change nothing here.
pub(in crate::config) const PULL_HOSTS: [&str; 3] =
    ["RELAY_HOST", "RELAY_PULL_HOSTS_BATCH_SIZE", "RELAY_SKIP_HOST_CHECKS"];

/// How to reach the running relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Its admin API (`--admin`); otherwise the address of the settings.
    pub admin: Option<String>,
    /// A file with the admin password; otherwise the settings, or the file in the data directory.
    pub password_file: Option<String>,
    /// Answers are JSON.
    pub json: bool,
}

/// What to do with hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsCommand {
    /// Subscribe to the hosts in a file, `-` for standard input.
    Add {
        /// Name of the file.
        file: String,
    },
    /// All hosts.
    List {
        /// Only those with this status.
        status: Option<String>,
    },
    /// One host, and why its events were dropped.
    Show {
        /// Its name.
        host: String,
    },
    /// Read the lists of other relays.
    Pull {
        /// Their names; empty when the environment has to say (`RELAY_HOST`).
        from: Vec<String>,
        /// Wait for the end.
        wait: bool,
    },
    /// Read the operations of the PLC directory.
    FromPlc {
        /// Pages a second at most.
        rate: u32,
        /// Admit what is found.
        add: bool,
        /// Wait for the end.
        wait: bool,
    },
    /// Hosts that DID documents name and that were not known.
    Candidates,
    /// What strict validation would drop of whom.
    Readiness,
    /// Read the lists of accounts of hosts now.
    Resync {
        /// Their names.
        hosts: Vec<String>,
    },
    /// How far that is.
    ResyncStatus {
        /// Only of these; all when empty.
        hosts: Vec<String>,
    },
}

impl HostsCommand {
    /// What the environment adds: the relay that `relay pull-hosts` asks.
    pub(super) fn complete(&mut self, env: &[(String, String)]) {
        let Self::Pull { from, .. } = self else { return };
        if from.is_empty() {
            let named = env.iter().find(|(name, value)| name == "RELAY_HOST" && !value.is_empty());
            from.push(named.map_or(USUAL_SOURCE, |(_, value)| value.as_str()).to_owned());
        }
    }
}

/// Reads `relay hosts …`; the settings stand in the deepest part.
pub(super) fn parse(matches: &ArgMatches) -> Option<(HostsCommand, Reach, &ArgMatches)> {
    let (verb, inner) = matches.subcommand()?;
    let one = |name: &str| inner.get_one::<String>(name).cloned();
    let many = |name: &str| inner.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let command = match verb {
        "add" => HostsCommand::Add { file: one("file")? },
        "list" => HostsCommand::List { status: one("status") },
        "show" => HostsCommand::Show { host: one("host")? },
        "from-plc" => HostsCommand::FromPlc {
            rate: inner.get_one::<u32>("rate").copied().unwrap_or(1),
            add: inner.get_flag("add"),
            wait: !inner.get_flag("no-wait"),
        },
        "candidates" => HostsCommand::Candidates,
        "readiness" => HostsCommand::Readiness,
        "resync" => HostsCommand::Resync { hosts: many("host") },
        "resync-status" => HostsCommand::ResyncStatus { hosts: many("host") },
        _ => HostsCommand::Pull { from: many("from"), wait: !inner.get_flag("no-wait") },
    };
    let reach = Reach {
        admin: one("admin"),
        password_file: one("password-file"),
        json: inner.get_flag("json"),
    };
    Some((command, reach, inner))
}

/// Reads `relay pull-hosts`, the form of the reference relay.
pub(super) fn parse_like_reference(matches: &ArgMatches) -> (HostsCommand, Reach) {
    let from = matches.get_one::<String>("relay-host").into_iter().cloned().collect();
    (HostsCommand::Pull { from, wait: true }, Reach::default())
}

/// `relay hosts`.
pub(super) fn model() -> clap::Command {
    let verb = |name: &'static str, about: &'static str| {
        clap::Command::new(name).about(about).args(reach_arguments())
    };
    let host = |help: &'static str| Arg::new("host").value_name("HOST").help(help);
    clap::Command::new("hosts")
        .about("Hosts of the running relay: adds, lists, shows them; reads lists of other relays")
        .after_help(
            "Talks to the admin API of the relay that runs with these settings. Exit codes: 0 done; \
             1 failed, or refused for some of the hosts; 2 wrong usage.",
        )
        .subcommand_required(true)
        .subcommand(
            verb("add", "Subscribes to the hosts in a file: one name a line, `#` begins a comment")
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .required(true)
                        .help("The file, or `-` for standard input"),
                ),
        )
        .subcommand(
            verb("list", "Prints all hosts: name, status, accounts, cursor, what it does now").arg(
                Arg::new("status")
                    .long("status")
                    .value_name("STATUS")
                    .help("Only hosts with this status, such as `offline`"),
            ),
        )
        .subcommand(
            verb("show", "Prints all that is known of one host, and why its events were dropped")
                .arg(host("Its name").required(true)),
        )
        .subcommand(pull(verb(
            "pull",
            "Reads the lists of hosts of other relays and subscribes to those that are new. \
             Interrupted, it goes on where it was. Works without a running relay too",
        )))
        .subcommand(from_plc(verb(
            "from-plc",
            "Reads the operations of the PLC directory for hosts that nobody has told us of. \
             Interrupted, it goes on where it was when it is typed again",
        )))
        .subcommand(verb(
            "candidates",
            "Prints the hosts that DID documents name and that were not known",
        ))
        .subcommand(verb(
            "readiness",
            "Prints the hosts that are not strict for good, and what strict validation would drop of them",
        ))
        .subcommand(
            verb("resync", "Compares the accounts that hosts list with those that are known, now")
                .arg(host("Their names").required(true).num_args(1..)),
        )
        .subcommand(
            verb("resync-status", "Says how far that is")
                .arg(host("Only of these hosts").num_args(0..)),
        )
}

pub(super) fn reach_arguments() -> [Arg; 3] {
    [
        Arg::new("admin")
            .long("admin")
            .value_name("URL")
            .help("Admin API of the relay; otherwise the address of the settings"),
        Arg::new("password-file").long("password-file").value_name("FILE").help(
            "File with the admin password; otherwise that of the settings or of the data directory",
        ),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Answers in JSON"),
    ]
}

fn pull(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("RELAY")
                .action(ArgAction::Append)
                .help(format!("The relay to ask; may be repeated [default {USUAL_SOURCE}]")),
        )
        .arg(
            Arg::new("no-wait")
                .long("no-wait")
                .action(ArgAction::SetTrue)
                .help("Does not wait for the end; `GET /admin/v1/pull` says how far it is"),
        )
}

fn from_plc(command: clap::Command) -> clap::Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    command
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .value_parser(clap::value_parser!(u32))
                .help("Pages of a thousand operations a second at most [default 1]"),
        )
        .arg(switch("add", "Admits the hosts as if they had asked; otherwise they are listed"))
        .arg(switch("no-wait", "Does not wait for the end"))
}

/// `relay pull-hosts`, with the flags of the reference relay.
pub(super) fn model_like_reference() -> clap::Command {
    clap::Command::new("pull-hosts")
        .about("`relay hosts pull` as the reference relay writes it")
        .arg(
            Arg::new("relay-host")
                .long("relay-host")
                .value_name("URL")
                .help(format!("The relay to ask [RELAY_HOST; default {USUAL_SOURCE}]")),
        )
        .arg(
            Arg::new("batch-size")
                .long("batch-size")
                .value_name("N")
                .value_parser(clap::value_parser!(u32))
                .help("Taken from older scripts; batches are as large as the method allows"),
        )
        .arg(
            Arg::new("skip-host-checks")
                .long("skip-host-checks")
                .num_args(0..=1)
                .require_equals(true)
                .help(
                    "Taken from older scripts; hosts that do not answer are tried ever more slowly",
                ),
        )
}
