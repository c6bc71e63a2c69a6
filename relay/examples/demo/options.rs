//! What may be typed behind `cargo run --release --example demo --`.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

/// Runs the real relay beside a simulated network and compares every frame that comes out.
#[derive(Debug, Clone, Parser)]
#[command(name = "demo")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// End by itself after this time, such as `30s` or `10m`.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) span: Option<Duration>,
    /// Events per second over all hosts, about.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    pub(crate) rate: u32,
    /// Hosts; one of each kind that misbehaves is among 25.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(6..=500))]
    pub(crate) hosts: u32,
    /// Accounts, records and revisions follow from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Directory for the relay's data, which must be empty or not there; it is kept. Without it the
    /// data lie in a temporary one.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// What else the demo can do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Prints the firehose of a relay, one line per event.
    Watch(Watch),
}

/// What to watch.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Watch {
    /// Such as `ws://127.0.0.1:2470`.
    pub(crate) url: String,
    /// Start behind this seq instead of with the next event; 0 is the oldest.
    #[arg(long, value_name = "SEQ")]
    pub(crate) cursor: Option<u64>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    pub(crate) take: Option<u64>,
}

impl Options {
    /// Of this process; a wrong command line ends it with an explanation.
    pub(crate) fn of_process() -> Self {
        Self::parse()
    }

    /// Events per second of the hosts that misbehave: few, but each fault must get its turn.
    pub(crate) fn mischief_rate(&self) -> u32 {
        (self.rate / 20).max(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    /// Issue 3, section 5: `-- --for 30s`, and the defaults of the issue.
    #[test]
    fn the_command_line_of_the_readme_is_understood() {
        let options = parse("demo --for 30s").unwrap();
        assert_eq!(options.span, Some(Duration::from_secs(30)));
        assert_eq!((options.hosts, options.rate), (25, 300));
        assert!(parse("demo").unwrap().span.is_none());
        let watch = parse("demo watch ws://127.0.0.1:2470 --take 3").unwrap();
        assert!(matches!(watch.command, Some(Command::Watch(Watch { take: Some(3), .. }))));
    }

    /// The five kinds that misbehave need a host each, and honest ones beside them.
    #[test]
    fn too_few_hosts_and_no_time_are_refused() {
        for wrong in ["demo --hosts 5", "demo --for soon", "demo --rate 0", "demo --port 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
