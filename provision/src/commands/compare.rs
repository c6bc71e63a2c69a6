//! `provision compare`: several relays side by side.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use provision::{
    compare::{
        self, Options,
        explain::{Explained, Witness},
        lists, page,
        report::{self, Report, Verdict},
    },
    feed::Address,
    known,
    told::Told,
    watch,
};

use super::wait::{self, Screen};
use crate::out;

const EXAMPLES: &str = "\
Examples:
  provision compare relay.example.com bsky.network --for 2m
  provision compare relay.example.com --known --for 10m --json
  provision compare 127.0.0.1:2470 bsky.network --admin http://127.0.0.1:2472
  provision compare relay.example.com bsky.network --html report.html --history history.jsonl \\
      --prometheus /var/lib/prometheus/node-exporter/relay_coverage.prom
  provision compare repos relay.example.com bsky.network
  provision compare collections --nsids nsids.txt relay.example.com relay1.us-east.bsky.network

The first relay is the one that is judged: good from 90 % of what all of them gave together, critical
below 70 %. With --admin it says itself why it dropped what is missing; the password is taken from
RELAY_ADMIN_PASSWORD. Every relay sends its whole stream: some 30 Mbit/s for the whole network.
Exit codes: 0 good, 1 not good or it could not be measured, 2 wrong usage.";

/// What to compare.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct CompareArgs {
    #[command(subcommand)]
    lists: Option<Lists>,
    /// Relays: `bsky.network`, `localhost:2470`. The first one is judged.
    #[arg(value_name = "RELAY", value_parser = Address::parse)]
    relays: Vec<Address>,
    /// With all relays that many people know.
    #[arg(long)]
    known: bool,
    /// With the relays of a file, one per line.
    #[arg(long, value_name = "FILE")]
    relays_from: Option<PathBuf>,
    /// How long is measured, such as `2m`.
    #[arg(long = "for", value_name = "TIME", value_parser = watch::span, default_value = "2m")]
    time: Duration,
    /// How far a relay may be behind the first one.
    #[arg(long, value_name = "TIME", value_parser = watch::span, default_value = "15s")]
    settle: Duration,
    /// Admin API of the first relay, which says why it dropped events.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Opens the admin API.
    #[arg(long, env = "RELAY_ADMIN_PASSWORD", hide_env_values = true, hide = true)]
    admin_password: Option<String>,
    /// The PLC directory, which names hosts when there is no --admin.
    #[arg(long, value_name = "URL", default_value = "https://plc.directory")]
    plc: String,
    /// Accounts that are looked up at most; 0 asks nobody.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    lookups: usize,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
    /// Write it for the textfile collector of Prometheus.
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Add a line of JSON to a history.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Write a page with pictures, also of the history.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Lists {
    /// Compares which accounts two services list.
    Repos {
        /// The service that is judged.
        #[arg(value_parser = Address::parse)]
        first: Address,
        /// Another one.
        #[arg(value_parser = Address::parse)]
        second: Address,
        /// The differences as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compares which accounts of collections two services list.
    Collections {
        /// Collections, one per line.
        #[arg(long, value_name = "FILE")]
        nsids: PathBuf,
        /// The service that is judged.
        #[arg(value_parser = Address::parse)]
        first: Address,
        /// Another one.
        #[arg(value_parser = Address::parse)]
        second: Address,
        /// One object of JSON per collection.
        #[arg(long)]
        json: bool,
    },
}

/// Compares; `false` when the first one is not good.
pub(crate) fn run(args: &CompareArgs) -> Result<bool> {
    match &args.lists {
        Some(Lists::Repos { first, second, json }) => repos(first, second, *json),
        Some(Lists::Collections { nsids, first, second, json }) => {
            collections(&known::lines(nsids)?, first, second, *json)
        }
        None => streams(args),
    }
}

fn streams(args: &CompareArgs) -> Result<bool> {
    let mut relays = args.relays.clone();
    if args.known {
        relays.extend(known::all()?);
    }
    if let Some(path) = &args.relays_from {
        for name in known::lines(path)? {
            relays.push(Address::parse(&name)?);
        }
    }
    // Whoever names a relay and all known ones may have named it twice.
    let mut seen = Vec::new();
    relays.retain(|relay| {
        let is_new = !seen.contains(relay);
        seen.push(relay.clone());
        is_new
    });
    if relays.len() < 2 {
        return Err(out::Usage(
            "name at least two different relays to compare, or --known".to_owned(),
        )
        .into());
    }
    let witness = witness(args)?;
    let options = Options { relays, span: args.time, settle: args.settle };
    let mut screen = Screen::new();
    let report = wait::on(async {
        let since = moment();
        let mut tell = |told| screen.tell(told);
        let found = compare::run(&options, &mut tell, wait::asked_to_end()).await?;
        tell(Told::Doing("asking why events are missing".to_owned()));
        let explained = Explained::ask(&found, &witness, args.lookups, since).await?;
        Ok(Report::new(&found, &explained, moment()))
    })?;
    screen.clear();
    if let Some(path) = &args.history {
        report::remember(path, &report.past())?;
    }
    if let Some(path) = &args.prometheus {
        report::replace(path, &report.prometheus(unix_seconds()))?;
    }
    if let Some(path) = &args.html {
        let past = args.history.as_deref().map(page::past).transpose()?.unwrap_or_default();
        report::replace(path, &page::html(&report, &past))?;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("write the report as JSON")?
    } else {
        report.text()
    };
    out::result(&text);
    Ok(report.verdict() == Verdict::Good)
}

fn witness(args: &CompareArgs) -> Result<Witness> {
    let Some(url) = args.admin.clone() else { return Ok(Witness::Directory(args.plc.clone())) };
    let Some(password) = args.admin_password.clone() else {
        bail!("--admin needs the password of the relay in RELAY_ADMIN_PASSWORD")
    };
    Ok(Witness::Admin { url, password })
}

fn repos(first: &Address, second: &Address, json: bool) -> Result<bool> {
    let found = wait::on(lists::repos(first, second))?;
    show(&found, json)?;
    Ok(found.verdict() == Verdict::Good)
}

fn collections(nsids: &[String], first: &Address, second: &Address, json: bool) -> Result<bool> {
    let mut is_good = true;
    for nsid in nsids {
        let found = wait::on(lists::collection(first, second, nsid))?;
        is_good &= matches!(found.verdict(), Verdict::Good | Verdict::Unknown);
        if json {
            let line = serde_json::json!({ "collection": nsid, "difference": found });
            out::result(&line.to_string());
        } else {
            out::result(&format!("{nsid}\n{}\n", found.text()));
        }
    }
    Ok(is_good)
}

fn show(found: &lists::Difference, json: bool) -> Result<()> {
    let text = if json {
        serde_json::to_string_pretty(found).context("write the differences as JSON")?
    } else {
        found.text()
    };
    out::result(&text);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the rule is for the relay; a report has a date")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn moment() -> String {
    humantime::format_rfc3339_millis(now()).to_string()
}

fn unix_seconds() -> u64 {
    now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
