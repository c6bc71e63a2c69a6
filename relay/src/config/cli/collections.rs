//! `relay collections …`: what a person can ask of the index of collections.

use clap::{Arg, ArgAction, ArgMatches};

use super::hosts::{Reach, reach_arguments};

/// What to do with the index of collections of the running relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionsCommand {
    /// Fill it.
    Backfill {
        /// A file with accounts, one DID a line; `-` is standard input.
        dids: Option<String>,
        /// These collections alone.
        collections: Vec<String>,
        /// A file or URL with names of collections.
        nsids: Option<String>,
        /// Relays or directories of collections to read lists from.
        from: Vec<String>,
        /// Wait for the end.
        wait: bool,
    },
    /// Say how far it is.
    Status,
    /// Print collections and their rows.
    List {
        /// Only those that begin with this.
        prefix: Option<String>,
        /// Only those without rows.
        empty: bool,
    },
    /// Print the collections of an account.
    Show {
        /// Whose.
        did: String,
    },
    /// Compare with the hosts.
    Verify {
        /// So many accounts.
        sample: u64,
    },
    /// Write a dump.
    Export {
        /// The file; `-` is standard output.
        file: String,
    },
    /// Read a dump.
    Import {
        /// The file; `-` is standard input.
        file: String,
    },
}

/// Reads `relay collections …`; the settings stand in the deepest part.
pub(super) fn parse(matches: &ArgMatches) -> Option<(CollectionsCommand, Reach, &ArgMatches)> {
    let (verb, inner) = matches.subcommand()?;
    let one = |name: &str| inner.get_one::<String>(name).cloned();
    let many = |name: &str| inner.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let command = match verb {
        "status" => CollectionsCommand::Status,
        "list" => {
            CollectionsCommand::List { prefix: one("prefix"), empty: inner.get_flag("empty") }
        }
        "show" => CollectionsCommand::Show { did: one("did")? },
        "verify" => CollectionsCommand::Verify {
            sample: inner.get_one::<u64>("sample").copied().unwrap_or(SAMPLE_USUAL),
        },
        "export" => CollectionsCommand::Export { file: one("file")? },
        "import" => CollectionsCommand::Import { file: one("file")? },
        _ => CollectionsCommand::Backfill {
            dids: one("dids"),
            collections: many("collection"),
            nsids: one("nsids"),
            from: many("from"),
            wait: inner.get_flag("wait"),
        },
    };
    let reach = Reach {
        admin: one("admin"),
        password_file: one("password-file"),
        json: inner.get_flag("json"),
    };
    Some((command, reach, inner))
}

/// Accounts that `verify` looks at unless told otherwise.
const SAMPLE_USUAL: u64 = 100;

/// `relay collections`.
pub(super) fn model() -> clap::Command {
    let verb = |name: &'static str, about: &'static str| {
        clap::Command::new(name).about(about).args(reach_arguments())
    };
    let file = |help: &'static str| Arg::new("file").value_name("FILE").required(true).help(help);
    clap::Command::new("collections")
        .about("Which accounts have records of a kind: fills, lists, checks the index of the running relay")
        .after_help(
            "Examples:\n  relay collections backfill\n  relay collections backfill --from relay.example.com\n  \
             relay collections backfill --from relay.example.com --collection app.bsky.feed.post\n  \
             relay collections export collections.zst\n\nTalks to the admin API of the relay that runs \
             with these settings. Exit codes: 0 done; 1 failed, or something is wrong; 2 wrong usage.",
        )
        .subcommand_required(true)
        .subcommand(backfill(verb(
            "backfill",
            "Asks the hosts of uncertain accounts now, or reads the lists of other relays, in the \
             background. Interrupted, it goes on where it was",
        )))
        .subcommand(verb("status", "Says how certain the index is, and how far its filling is"))
        .subcommand(
            verb("list", "Prints the collections: name, accounts, growth in a day and in a week")
                .arg(
                    Arg::new("prefix")
                        .value_name("PREFIX")
                        .help("Only those that begin with this, such as `app.bsky.`"),
                )
                .arg(
                    Arg::new("empty")
                        .long("empty")
                        .action(ArgAction::SetTrue)
                        .help("Only known ones that no account has"),
                ),
        )
        .subcommand(
            verb("show", "Prints the collections of an account, and how that is known")
                .arg(Arg::new("did").value_name("DID").required(true).help("The account")),
        )
        .subcommand(
            verb("verify", "Compares accounts with what their hosts say, and prints the share of wrong entries")
                .arg(
                    Arg::new("sample")
                        .long("sample")
                        .value_name("N")
                        .value_parser(clap::value_parser!(u64))
                        .help(format!("So many accounts [default {SAMPLE_USUAL}]")),
                ),
        )
        .subcommand(
            verb("export", "Writes a dump of the whole index, compressed with zstd")
                .arg(file("The file, or `-` for standard output")),
        )
        .subcommand(
            verb("import", "Reads a dump of another relay. Interrupted, it goes on where it was")
                .arg(file("The file, or `-` for standard input")),
        )
}

fn backfill(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("dids").long("dids").value_name("FILE").help(
                "Asks the hosts of these accounts first: one DID a line, `-` for standard input",
            ),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("RELAY")
                .action(ArgAction::Append)
                .help("Reads the lists of this relay or directory of collections; may be repeated"),
        )
        .arg(
            Arg::new("collection")
                .long("collection")
                .value_name("NSID")
                .action(ArgAction::Append)
                .help(
                    "Of these lists only this one; may be repeated. Without --from: from all relays whose \
                     lists were read before",
                ),
        )
        .arg(
            Arg::new("nsids")
                .long("nsids")
                .value_name("FILE|URL")
                .help("The same for all that this file names: one a line"),
        )
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Waits until the lists are read, or the named accounts are asked about"),
        )
}
