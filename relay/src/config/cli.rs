//! The command line: `relay [serve]`, `relay config`, `relay dev`, `relay health`, `relay hosts`, `relay
//! collections`, `relay import`, `relay log`, `relay tables`, `relay completions`, `relay man`. Parses only; the last two are answers.
//!
//! Every setting is a flag, made from the table; it may stand before or after the command.

pub(super) mod collections;
pub(super) mod hosts;
pub(super) mod import;
pub(super) mod log;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, builder::PossibleValue, parser::ValueSource};
use clap_complete::Shell;

use self::{
    collections::CollectionsCommand,
    hosts::{HostsCommand, Reach},
    import::ImportOptions,
    log::LogCommand,
};
use super::{
    Config, ConfigError,
    schema::{NOT_YET, SETTINGS, Setting},
    value::Kind,
};

/// What `relay dev` listens to unless `--pds` says otherwise: the port of a PDS in development.
const DEV_PDS: &str = "localhost:2583";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run the relay; also without a command.
    Serve,
    /// Print the settings in effect and where each came from.
    Config,
    /// Run for authors of PDS software.
    Dev(DevOptions),
    /// Ask the running relay.
    Health,
    /// Look at the files of the event log, or repair them.
    Log(LogCommand),
    /// Say what a policy file would change in the running relay; another one than that of the settings.
    PolicyDiff(Option<PathBuf>),
    /// Say what a start would do to the database.
    Tables,
    /// Add, list, show hosts; read lists of others.
    Hosts(HostsCommand, Reach),
    /// Fill, list, check the index of collections.
    Collections(CollectionsCommand, Reach),
    /// Take the place of a reference relay.
    Import(ImportOptions),
}

/// What `relay dev` was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevOptions {
    /// Hosts to subscribe to (`--pds`), at least one.
    pub hosts: Vec<String>,
    /// PLC directory (`--plc`); the setting when not given.
    pub plc: Option<String>,
}

/// Settings given as flags: key, flag without `--`, values; then flags without effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(
    pub(super) Vec<(&'static str, &'static str, Vec<String>)>,
    pub(super) Vec<&'static str>,
);

/// A command with the settings in effect.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// With what.
    pub config: Config,
}

/// Why the program ends before it began.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// `--help` or `--version`: the text belongs on stdout, and nothing is wrong.
    #[error("{0}")]
    Answer(String),
    /// A command line that means nothing; the text says what is allowed.
    #[error("{0}")]
    Usage(String),
    /// A wrong setting.
    #[error(transparent)]
    Setting(#[from] ConfigError),
}

impl Invocation {
    /// Of this process: its arguments, environment and working directory.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn from_process() -> Result<Self, Stop> {
        // A name or value that is not UTF-8 belongs to somebody else.
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::new(std::env::args_os(), &env, Path::new("."))
    }

    /// Of a given command line (the first argument is the program), environment and directory.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn new(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        env: &[(String, String)],
        cwd: &Path,
    ) -> Result<Self, Stop> {
        let (mut command, mut flags) = parse(arguments)?;
        if let Command::Hosts(hosts, _) = &mut command {
            hosts.complete(env);
        }
        if matches!(command, Command::Dev(_)) && !flags.0.iter().any(|(key, ..)| *key == "dev") {
            flags.0.push(("dev", "dev", vec!["true".to_owned()]));
        }
        Ok(Self { command, config: Config::load(&flags, env, cwd)? })
    }
}

/// Splits a command line into the command and the settings among its flags.
///
/// # Errors
/// [`Stop::Answer`], [`Stop::Usage`].
pub fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<(Command, Flags), Stop> {
    let matches = model().try_get_matches_from(arguments).map_err(|error| {
        let text = error.to_string();
        if error.use_stderr() { Stop::Usage(text) } else { Stop::Answer(text) }
    })?;
    let (command, deepest) = match matches.subcommand() {
        Some(("completions", inner)) => return Err(completions(inner)),
        Some(("man", _)) => return Err(manual()),
        Some(("config", inner)) => (Command::Config, inner),
        Some(("health", inner)) => (Command::Health, inner),
        Some(("log", inner)) => {
            let (command, deepest) = log::parse(inner);
            (Command::Log(command), deepest)
        }
        Some(("policy", inner)) => match inner.subcommand() {
            Some((_, deeper)) => {
                (Command::PolicyDiff(deeper.get_one::<PathBuf>("file").cloned()), deeper)
            }
            None => (Command::PolicyDiff(None), inner),
        },
        Some(("tables", inner)) => (Command::Tables, inner),
        Some(("hosts", inner)) => match hosts::parse(inner) {
            Some((command, reach, deepest)) => (Command::Hosts(command, reach), deepest),
            None => (Command::Serve, inner),
        },
        Some(("collections", inner)) => match collections::parse(inner) {
            Some((command, reach, deepest)) => (Command::Collections(command, reach), deepest),
            None => (Command::Serve, inner),
        },
        Some(("import", inner)) => match import::parse(inner) {
            Some(options) => (Command::Import(options), inner),
            None => (Command::Serve, inner),
        },
        Some(("pull-hosts", inner)) => {
            let (command, reach) = hosts::parse_like_reference(inner);
            (Command::Hosts(command, reach), inner)
        }
        Some(("dev", inner)) => {
            let hosts = inner.get_many::<String>("pds").into_iter().flatten().cloned().collect();
            (
                Command::Dev(DevOptions { hosts, plc: inner.get_one::<String>("plc").cloned() }),
                inner,
            )
        }
        Some((_, inner)) => (Command::Serve, inner),
        None => (Command::Serve, &matches),
    };
    let given = SETTINGS.iter().filter_map(|setting| {
        Some((setting.key, *setting.flags.first()?, typed(deepest, setting.key)?))
    });
    let ignored = NOT_YET.iter().map(|(flag, _)| *flag);
    let ignored = ignored.filter(|flag| typed(deepest, flag).is_some());
    Ok((command, Flags(given.collect(), ignored.collect())))
}

/// What a shell reads in order to complete a command line.
fn completions(matches: &ArgMatches) -> Stop {
    let mut text = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut model(), "relay", &mut text);
    }
    Stop::Answer(String::from_utf8_lossy(&text).into_owned())
}

/// `relay(1)`.
fn manual() -> Stop {
    let mut text = Vec::new();
    match clap_mangen::Man::new(model()).render(&mut text) {
        Ok(()) => Stop::Answer(String::from_utf8_lossy(&text).into_owned()),
        Err(error) => Stop::Usage(format!("the manual page could not be made: {error}")),
    }
}

fn typed(matches: &ArgMatches, id: &str) -> Option<Vec<String>> {
    (matches.value_source(id) == Some(ValueSource::CommandLine))
        .then(|| matches.get_many::<String>(id).into_iter().flatten().cloned().collect())
}

fn model() -> clap::Command {
    let flags = SETTINGS.iter().map(flag);
    let ignored = NOT_YET.iter().map(|(flag, _)| {
        Arg::new(*flag)
            .long(*flag)
            .hide(true)
            .global(true)
            .num_args(0..=1)
            .action(ArgAction::Append)
    });
    clap::Command::new("relay")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An atproto relay: subscribes to every host, verifies each commit, serves one ordered firehose.")
        .after_help(
            "Without a command, `relay` is `relay serve`. Every setting also has a name in the \
             environment (in brackets), in a `.env` file here, and in the file of --config; flags \
             override the environment, which overrides files.",
        )
        .args(flags.chain(ignored))
        .subcommand(clap::Command::new("serve").about("Runs the relay"))
        .subcommand(
            clap::Command::new("config")
                .about("Prints the settings in effect and where each came from, secrets redacted"),
        )
        .subcommand(clap::Command::new("health").about("Asks the running relay whether all is well"))
        .subcommand(dev())
        .subcommand(log::model())
        .subcommand(policy())
        .subcommand(hosts::model())
        .subcommand(collections::model())
        .subcommand(import::model())
        .subcommand(hosts::model_like_reference())
        .subcommand(clap::Command::new("tables").about(
            "Says what a start of this program would do to the tables of the database; changes nothing",
        ))
        .subcommand(
            clap::Command::new("completions")
                .about("Prints what a shell reads in order to complete command lines of the relay")
                .arg(
                    Arg::new("shell")
                        .value_name("SHELL")
                        .required(true)
                        .value_parser(clap::value_parser!(Shell))
                        .help("The shell"),
                ),
        )
        .subcommand(clap::Command::new("man").about("Prints the manual page, for `man -l -`"))
}

fn policy() -> clap::Command {
    clap::Command::new("policy")
        .about("Works with the policy file of --policy-file")
        .subcommand_required(true)
        .subcommand(
            clap::Command::new("diff")
                .about("Says what the file would change in the running relay; changes nothing. Exit code 3 when something would change")
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .value_parser(clap::value_parser!(PathBuf))
                        .help("Another file than that of the settings"),
                ),
        )
}

fn dev() -> clap::Command {
    clap::Command::new("dev")
        .about("For authors of PDS software: a strict relay in a temporary directory that says of every event what was checked and why it was dropped")
        .arg(
            Arg::new("pds")
                .long("pds")
                .value_name("HOST:PORT")
                .action(ArgAction::Append)
                .default_value(DEV_PDS)
                .help("PDS to subscribe to; may be repeated"),
        )
        .arg(
            Arg::new("plc")
                .long("plc")
                .value_name("URL")
                .value_parser(plc_url)
                .help("PLC directory that knows the accounts of the PDS"),
        )
}

fn plc_url(text: &str) -> Result<String, String> {
    match Kind::Url.parse(&[text.to_owned()]) {
        Some(value) => Ok(value.shown()),
        None => Err("allowed is an http or https URL without path".to_owned()),
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let (name, aliases) = setting.flags.split_first().unwrap_or((&setting.key, &[]));
    let default = match setting.default {
        "" => String::new(),
        default => format!("; default {default}"),
    };
    let arg = Arg::new(setting.key)
        .long(*name)
        .visible_aliases(aliases.iter().copied())
        .help(format!("{} [{}{default}]", setting.doc, setting.env.join(", ")))
        .help_heading(setting.section)
        .global(true)
        .action(if setting.kind.is_list() { ArgAction::Append } else { ArgAction::Set });
    match setting.kind {
        Kind::Switch => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true),
        Kind::Choice(choices) => {
            let names = choices.iter().map(|(name, _)| PossibleValue::new(*name));
            let shown: Vec<String> = names.map(|name| name.get_name().to_owned()).collect();
            arg.value_name(shown.join("|"))
        }
        Kind::Path | Kind::OptionalPath => arg.value_name("PATH"),
        Kind::Text => arg.value_name("TEXT"),
        Kind::Number(..) | Kind::AutoNumber(..) => arg.value_name("N"),
        Kind::Size(..) | Kind::AutoSize(..) => arg.value_name("SIZE"),
        Kind::Duration(..) => arg.value_name("DURATION"),
        Kind::Address | Kind::NameServers => arg.value_name("ADDRESS:PORT"),
        Kind::Networks => arg.value_name("NETWORK"),
        Kind::Database | Kind::Url | Kind::Endpoint | Kind::HiddenEndpoint => arg.value_name("URL"),
        Kind::Token => arg.value_name("SECRET"),
        Kind::Share => arg.value_name("SHARE"),
        Kind::Hosts => arg.value_name("HOST"),
        Kind::Siblings => arg.value_name("RELAY"),
        Kind::DatedHosts => arg.value_name("HOST=DAY"),
        Kind::Day => arg.value_name("DAY"),
        Kind::Passwords => arg.value_name("PASSWORD"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> (Command, Flags) {
        parse(line.split(' ')).unwrap()
    }

    /// clap finds names that collide, and more.
    #[test]
    fn the_model_is_consistent() {
        model().debug_assert();
    }

    /// Issue 3, section 5: `relay` is `relay serve`, and a flag may stand on either side.
    #[test]
    fn a_flag_may_stand_before_or_after_the_command() {
        let flags = Flags(vec![("api_bind", "bind", vec![":1".to_owned()])], Vec::new());
        for line in ["relay --bind :1", "relay serve --bind :1", "relay --bind=:1 serve"] {
            assert_eq!(command(line), (Command::Serve, flags.clone()), "{line}");
        }
        assert_eq!(command("relay config --api-listen :1"), (Command::Config, flags));
        assert_eq!(command("relay health"), (Command::Health, Flags::default()));
        assert_eq!(command("relay tables"), (Command::Tables, Flags::default()));
    }

    /// Packages install what the program says of itself: each flag can be completed and is in the manual.
    #[test]
    fn completions_and_the_manual_have_every_flag() {
        let answer = |line: &str| match parse(line.split(' ')) {
            Err(Stop::Answer(text)) => text,
            other => panic!("{line}: {other:?}"),
        };
        for shell in ["bash", "zsh", "fish"] {
            let text = answer(&format!("relay completions {shell}"));
            for setting in SETTINGS {
                assert!(text.contains(setting.flags[0]), "{shell}: {}", setting.flags[0]);
            }
        }
        let page = answer("relay man").replace('\\', "");
        for setting in SETTINGS {
            assert!(page.contains(&format!("--{}", setting.flags[0])), "{}", setting.flags[0]);
        }
        assert!(matches!(parse(["relay", "completions", "cmd"]), Err(Stop::Usage(_))));
    }

    /// Issue 3, section 5: `relay dev --pds localhost:2583 --plc URL`.
    #[test]
    fn dev_takes_hosts_and_a_directory() {
        let dev = |hosts: &[&str], plc: Option<&str>| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            Command::Dev(DevOptions { hosts, plc: plc.map(ToOwned::to_owned) })
        };
        assert_eq!(command("relay dev").0, dev(&["localhost:2583"], None));
        assert_eq!(
            command("relay dev --pds a:1 --pds b:2 --plc http://localhost:3/").0,
            dev(&["a:1", "b:2"], Some("http://localhost:3"))
        );
        assert!(matches!(parse(["relay", "dev", "--plc", "nowhere"]), Err(Stop::Usage(_))));
    }

    /// A switch needs no value, a list may be repeated, what does nothing is remembered.
    #[test]
    fn switches_lists_and_flags_without_effect() {
        let (_, flags) = command(
            "relay --dev --crawl a --crawl b,c --lenient-sync-validation=false --enable-db-tracing x",
        );
        let texts =
            |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            flags.0,
            [
                ("crawl", "crawl", texts(&["a", "b,c"])),
                ("dev", "dev", texts(&["true"])),
                ("lenient", "lenient-sync-validation", texts(&["false"])),
            ]
        );
        assert_eq!(flags.1, ["enable-db-tracing"]);
    }

    /// An unknown command or flag is a usage error with a hint; help and version are answers.
    #[test]
    fn what_means_nothing_is_a_usage_error() {
        for line in ["relay serv", "relay --bnid :1", "relay --bind", "relay --bind :1 --bind :2"] {
            assert!(matches!(parse(line.split(' ')), Err(Stop::Usage(_))), "{line}");
        }
        let Err(Stop::Answer(help)) = parse(["relay", "--help"]) else { panic!("no help") };
        for setting in SETTINGS {
            let flag = setting.flags.first().unwrap();
            assert!(help.contains(&format!("--{flag}")), "{flag}");
        }
        assert!(matches!(parse(["relay", "--version"]), Err(Stop::Answer(_))));
        assert!(!help.contains("enable-db-tracing"));
    }
}
