//! `provision doctor`: why it does not work, and what to do.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use provision::{
    doctor::{self, CHECKS, Line, Patient, Stage, State},
    env_file::EnvFile,
    feed::Address,
    moment,
};
use relay::units;
use serde::Serialize;

use super::wait;
use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision doctor --before relay.example.com --address 192.0.2.7
  provision doctor                                     after; the name is that of `init`
  provision doctor --only tls,live --listen 1m
  provision doctor --json | jq '.lines[] | select(.state != \"ok\")'

Exit codes: 0 nothing failed (there may be warnings); 1 something failed; 2 wrong usage.
Nothing is changed.";

/// Whom to look at.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct DoctorArgs {
    /// Public name of the relay. Otherwise that of the environment file.
    host: Option<String>,
    /// Look at the machine before the relay is there.
    #[arg(long, conflicts_with = "after")]
    before: bool,
    /// Look at all that is running (this is what happens without either).
    #[arg(long)]
    after: bool,
    /// Only these checks (names as --list prints them).
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    only: Vec<String>,
    /// Print the checks and end.
    #[arg(long)]
    list: bool,
    /// Environment of the relay, as `init` wrote it; secrets/relay.env beside it is read too.
    #[arg(long, value_name = "FILE", default_value = "/etc/relay/env")]
    env: PathBuf,
    /// Where proc/, sys/ and etc/ lie.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Address that the name should have; may be repeated.
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,
    /// Name server to ask. Otherwise the first of this machine.
    #[arg(long, value_name = "IP:PORT")]
    name_server: Option<SocketAddr>,
    /// Port of plain HTTP.
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    http_port: u16,
    /// Server whose time the clock is compared with.
    #[arg(long, value_name = "URL", default_value = "https://plc.directory/_health")]
    time_from: String,
    /// Directory of backups, or `s3://BUCKET/PREFIX`. Otherwise `PROVISION_BACKUPS` of the environment file.
    #[arg(long, value_name = "DIR")]
    backups: Option<PathBuf>,
    /// How old the newest backup may be.
    #[arg(long, value_name = "TIME", default_value = "48h")]
    backup_age: String,
    /// How long to listen for events.
    #[arg(long, value_name = "TIME", default_value = "15s")]
    listen: String,
    /// Speed of the link in Mbit/s, where the machine does not tell.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    link_mbit: Option<u64>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Answer {
    host: String,
    worst: State,
    lines: Vec<Line>,
}

/// Looks at everything; `false` when something failed.
pub(crate) fn run(args: &DoctorArgs) -> Result<bool> {
    if args.list {
        for (name, about, [before, after]) in CHECKS {
            let when = match (before, after) {
                (true, true) => "before, after",
                _ => "after",
            };
            out::line(&format!("{name:<10} {when:<14} {about}"));
        }
        return Ok(true);
    }
    let patient = patient(args)?;
    let checks = doctor::chosen(patient.stage, &args.only).map_err(Usage)?;
    let lines = wait::on(async {
        let mut lines = Vec::new();
        for check in checks {
            let found = doctor::examine(&patient, check).await;
            if !args.json {
                found.iter().for_each(show);
            }
            lines.extend(found);
        }
        Ok(lines)
    })?;
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let (warned, failed) = (count(State::Warn), count(State::Fail));
    if args.json {
        let worst = lines.iter().map(|line| line.state).max().unwrap_or(State::Ok);
        out::json(&Answer { host: patient.address.name().to_owned(), worst, lines })?;
    } else {
        out::line("");
        out::line(&format!("{} ok, {warned} to look at, {failed} failed", count(State::Ok)));
    }
    Ok(failed == 0)
}

fn show(line: &Line) {
    let state = match line.state {
        State::Ok => "ok  ",
        State::Warn => "warn",
        State::Fail => "FAIL",
    };
    out::line(&format!("{state} {:<10} {}", line.check, line.what));
    for (sign, text) in [("why:", &line.cause), ("do: ", &line.fix)] {
        if !text.is_empty() {
            out::line(&format!("                {sign} {text}"));
        }
    }
}

fn patient(args: &DoctorArgs) -> Result<Patient> {
    let (env, files) = EnvFile::of_deployment(&args.env)?;
    let value = |name: &str| env.value(name).map(|entry| entry.value);
    let host = args.host.clone().or_else(|| value("PROVISION_HOST")).ok_or_else(|| {
        let file = args.env.display();
        Usage(format!("no name was given, and {file} has no PROVISION_HOST; say which, or --env"))
    })?;
    let length = |flag: &str, text: &str| {
        units::parse_duration(text).filter(|length| !length.is_zero()).ok_or_else(|| {
            Usage(format!("{flag} is {text:?}: allowed is a duration such as `30s` or `48h`"))
        })
    };
    Ok(Patient {
        address: Address::parse(&host).map_err(|error| Usage(format!("{error:#}")))?,
        stage: if args.before { Stage::Before } else { Stage::After },
        root: args.root.clone(),
        files,
        name_server: args.name_server,
        addresses: args.address.clone(),
        http_port: args.http_port,
        time_from: args.time_from.clone(),
        backups: args.backups.clone().or_else(|| value("PROVISION_BACKUPS").map(PathBuf::from)),
        backup_age_max: length("--backup-age", &args.backup_age)?,
        listen: length("--listen", &args.listen)?.min(Duration::from_hours(1)),
        link_mbit: args.link_mbit,
        now_ms: moment::now_ms(),
        env,
    })
}
