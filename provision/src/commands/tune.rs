//! `provision tune`: measures the machine and derives what it should be told.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use provision::{
    env_file::{Conflict, EnvFile},
    facts::{self, Facts, Place},
    files, moment,
    sizing::{self, Cost, Database, Plan, Wishes},
    told::Told,
    tuned::{self, Applied, Targets},
};
use relay::units::{self, Day};
use serde::Serialize;

use super::wait::Screen;
use crate::out::{self, Usage};

const EXAMPLES: &str = "\
Examples:
  provision tune                                       measures this machine, writes nothing
  provision tune --window 24h --monthly-traffic 20TB
  provision tune --env ./env --root . --write          writes below this directory
  provision tune --write                               writes for this machine
  provision tune --print-facts > machine.json          then, anywhere:
  provision tune --facts machine.json --json

Exit codes: 0 fine; 1 the disk cannot hold the window, or a file cannot be written; 2 wrong usage.
What stands outside of its block in the environment file wins and is named.";

/// What to measure, and where to write.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct TuneArgs {
    /// The relay's data directory. Otherwise that of the environment file, or data/relay.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Environment of the relay, as `init` wrote it. Otherwise etc/relay/env below the root.
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Where etc/ lies.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// File for Postgres. Otherwise conf.d/50-relay.conf of the one cluster below the root.
    #[arg(long, value_name = "FILE")]
    postgres_conf: Option<PathBuf>,
    /// Age of the oldest event that a consumer can ask for. Otherwise that of the environment file,
    /// or what fits, up to 72h.
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    /// sqlite, postgres (here) or elsewhere. Otherwise that of the environment file, or sqlite.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Hosts that will be connected.
    #[arg(long, value_name = "N", default_value_t = sizing::HOSTS,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    hosts: u64,
    /// By how many percent the network is assumed to grow each month.
    #[arg(long, value_name = "PERCENT", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(0..=100))]
    growth: u64,
    /// Speed of the link in Mbit/s, where the machine does not tell.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    link_mbit: Option<u64>,
    /// Traffic that is paid for each month, such as 20TB.
    #[arg(long, value_name = "SIZE")]
    monthly_traffic: Option<String>,
    /// Day from which to project, such as 2027-01-31. Otherwise today.
    #[arg(long, value_name = "DAY")]
    now: Option<String>,
    /// Take the facts from a file instead of measuring.
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Print what was measured, and derive nothing.
    #[arg(long)]
    print_facts: bool,
    /// Do not write to the disk in order to see how fast it is.
    #[arg(long)]
    no_probe: bool,
    /// Write the files.
    #[arg(long)]
    write: bool,
    /// With --write: say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    facts: &'a Facts,
    wishes: &'a Wishes,
    plan: &'a Plan,
    written: Option<&'a Applied>,
    costs: &'static [Cost],
}

/// Tunes; `false` when the plan is refused.
pub(crate) fn run(args: &TuneArgs) -> Result<bool> {
    let targets = Targets::below(&args.root, args.env.as_deref(), args.postgres_conf.as_deref())?;
    let env = EnvFile::new(files::read(&targets.env)?.unwrap_or_default());
    // First, because a wrong word should not cost the time of measuring.
    let wishes = wishes(args, &env)?;
    let facts = known(args, &env)?;
    if args.print_facts {
        out::json(&facts)?;
        return Ok(true);
    }
    let plan = sizing::plan(&facts, &wishes);
    let refused = plan.refusals().next().is_some();
    let applied = (args.write && !refused)
        .then(|| tuned::apply(&plan, &targets, args.dry_run))
        .transpose()?;
    if args.json {
        let (written, costs) = (applied.as_ref(), sizing::guide());
        out::json(&Answer { facts: &facts, wishes: &wishes, plan: &plan, written, costs })?;
    } else {
        out::text(&sizing::screen(&facts, &wishes, &plan, &targets.shown()));
        conclude(args, &plan, applied.as_ref());
    }
    Ok(!refused)
}

/// From a file, or measured; with what only a person knows.
fn known(args: &TuneArgs, env: &EnvFile) -> Result<Facts> {
    let mut facts =
        args.facts.as_ref().map_or_else(|| measured(args, env), |path| read_facts(path))?;
    if args.link_mbit.is_some() {
        facts.network.link_mbit = args.link_mbit;
    }
    if let Some(text) = &args.monthly_traffic {
        let bytes = units::parse_bytes(text).filter(|bytes| *bytes > 0).ok_or_else(|| {
            Usage(format!("--monthly-traffic is {text:?}: allowed is a size such as `20TB`"))
        })?;
        facts.network.monthly_bytes = Some(bytes);
    }
    Ok(facts)
}

fn measured(args: &TuneArgs, env: &EnvFile) -> Result<Facts> {
    let place = Place { root: "/".into(), data: data(args, env), probe: !args.no_probe };
    let mut screen = Screen::new();
    if place.probe {
        screen.tell(Told::Doing(format!(
            "measuring the disk of {}: three seconds, a file of 256 MiB at most",
            place.data.display()
        )));
    }
    let measured = facts::measure(&place);
    screen.clear();
    Ok(measured?)
}

fn read_facts(path: &Path) -> Result<Facts> {
    let shown = path.display();
    let text = files::read(path)?.with_context(|| format!("there is no file {shown}"))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{shown} holds no facts of a machine; `provision tune --print-facts` writes such a file"
        )
    })
}

fn data(args: &TuneArgs, env: &EnvFile) -> PathBuf {
    let of_env = || env.value("RELAY_PERSIST_DIR").or_else(|| env.value("RELAY_DATA_DIR"));
    let found = args.path.clone().or_else(|| of_env().map(|entry| entry.value.into()));
    found.unwrap_or_else(|| PathBuf::from("data/relay"))
}

fn wishes(args: &TuneArgs, env: &EnvFile) -> Result<Wishes> {
    // What the block says is an answer of an earlier run, not a wish.
    let by_hand = env.value_by_hand("RELAY_REPLAY_WINDOW");
    let given = args.window.as_deref().filter(|text| *text != "auto");
    if let (Some(given), Some(entry)) = (given, &by_hand)
        && units::parse_duration(given) != units::parse_duration(&entry.value)
    {
        return Err(Usage(format!(
            "--window is {given}, and {} is {} in line {} of the environment file: change that line, \
             or leave --window out",
            entry.name, entry.value, entry.line
        ))
        .into());
    }
    let window = given.or(by_hand.as_ref().map(|entry| entry.value.as_str()));
    let database = args.database.clone().or_else(|| Some(env.value("PROVISION_DATABASE")?.value));
    let database = match database.as_deref().unwrap_or("sqlite") {
        "sqlite" => Database::Sqlite,
        "postgres" => Database::Postgres,
        "elsewhere" => Database::Elsewhere,
        other => {
            let allowed = "allowed are `sqlite`, `postgres` and `elsewhere`";
            return Err(Usage(format!("the database is {other:?}: {allowed}")).into());
        }
    };
    Ok(Wishes {
        window: window.map(window_length).transpose()?,
        database,
        hosts: args.hosts,
        growth_percent: args.growth,
        now_ms: match &args.now {
            None => moment::now_ms(),
            Some(text) => Day::parse(text).map(Day::begin_ms).ok_or_else(|| {
                Usage(format!("--now is {text:?}: allowed is a day such as `2027-01-31`"))
            })?,
        },
    })
}

fn window_length(text: &str) -> Result<Duration> {
    let checked = provision::init::answers::window(text).map_err(Usage)?;
    let length = checked.as_deref().and_then(units::parse_duration);
    length.ok_or_else(|| Usage(format!("the window is {text:?}: allowed is such as `72h`")).into())
}

fn conclude(args: &TuneArgs, plan: &Plan, applied: Option<&Applied>) {
    out::line("");
    for refusal in plan.refusals() {
        out::line(&format!("Refused: {}; {}.", refusal.what, refusal.action));
    }
    let Some(applied) = applied else {
        if plan.refusals().next().is_none() {
            out::line("Nothing was written. `provision tune --write` writes it.");
        }
        return;
    };
    for file in &applied.files {
        let did = out::did(file.change, args.dry_run);
        out::line(&format!(
            "{did:<14} {}  (takes effect with `{}`)",
            file.path.display(),
            file.then
        ));
    }
    for Conflict { name, line, kept, planned } in &applied.conflicts {
        out::line(&format!(
            "kept           {name} = {kept} in line {line}, where the plan is {planned}: remove the \
             line to follow the plan"
        ));
    }
}
