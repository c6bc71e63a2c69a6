//! `provision deployment logs`.

use anyhow::Result;
use clap::Args;
use provision::deployment::{
    Deployment,
    journal::{self, Question},
};
use relay::units;

use crate::{
    commands::wait::{self, Screen},
    out::{self, Usage},
};

const EXAMPLES: &str = "\
Examples:
  provision deployment logs ash                        the last 100 lines of all parts
  provision deployment logs ash -f --unit relay        and what comes, also after a lost connection
  provision deployment logs ash --since 2h --unit caddy,postgres
  provision deployment logs ash --since '2027-01-31 12:00' --unit ssh

Parts are relay, caddy, postgres, backup, jobs, prometheus; any other word is a unit of systemd.
Exit codes: 0 all was shown, 1 the host cannot be asked, 2 wrong usage.";
/// What is shown when nothing is named.
const USUAL: [&str; 5] = ["relay", "caddy", "postgres", "backup", "jobs"];

/// Of which one, and what.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// Wait for more.
    #[arg(short, long)]
    follow: bool,
    /// How long ago to begin, such as `2h`, or a time of the host.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// How many of the last lines; --since shows all.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    lines: u32,
    /// Parts, or units of systemd; may be repeated.
    #[arg(short, long, value_name = "PART", value_delimiter = ',')]
    unit: Vec<String>,
    /// A line of JSON for each entry.
    #[arg(long)]
    json: bool,
}

/// Shows them.
pub(crate) fn run(deployment: &Deployment, args: &LogsArgs) -> Result<bool> {
    let named: Vec<&str> = args.unit.iter().map(String::as_str).collect();
    let parts = if named.is_empty() { &USUAL[..] } else { &named };
    let question = Question {
        units: parts.iter().flat_map(|part| units_of(part)).collect(),
        since: args.since.as_deref().map(since),
        last: args.lines,
        follow: args.follow,
    };
    question.check().map_err(|error| Usage(format!("{error:#}")))?;
    let remote = deployment.remote()?;
    let mut screen = Screen::new();
    let mut show = |entry: &journal::Entry| {
        if args.json {
            return serde_json::to_string(entry).is_ok_and(|text| out::result(&text));
        }
        out::result(&entry.shown())
    };
    wait::on(async {
        let mut tell = |told| screen.tell(told);
        tokio::select! {
            read = journal::read(&remote, &question, &mut show, &mut tell) => read,
            () = wait::asked_to_end() => Ok(()),
        }
    })?;
    Ok(true)
}

/// The units of a part.
fn units_of(part: &str) -> Vec<String> {
    let units: &[&str] = match part {
        "postgres" => &["postgresql@*"],
        "backup" => &["relay-backup", "relay-backup-verify"],
        "jobs" => &["relay-job-*", "relay-selfcheck"],
        unit => &[unit],
    };
    units.iter().map(|unit| (*unit).to_owned()).collect()
}

/// As `journalctl` takes it.
fn since(text: &str) -> String {
    match units::parse_duration(text) {
        Some(ago) => format!("-{}s", ago.as_secs()),
        None => text.to_owned(),
    }
}
