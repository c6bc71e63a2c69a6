//! Makes frames of a large network ahead of time, serves them, and says what that costs.

#![expect(clippy::print_stdout, reason = "the figures are for a person")]

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};
use relay_simnet::{
    Consumer, Report, Start,
    scale::{Checker, Fleet, FleetOptions, Generator, Pace, Plan, Source, file},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fs, path::PathBuf, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// Longest silence of a relay while events are missing.
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the events of a plan to a file.
    Generate {
        /// The new file.
        file: PathBuf,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Serve the hosts and the directory, print where they are, and let the hosts send.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// A file of events; without one they are made while they are sent.
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArgs,
    /// Events per second; as fast as a relay takes them unless given.
    #[arg(long)]
    rate: Option<u32>,
    /// How much of each second's events comes in one burst.
    #[arg(long, default_value_t = 0)]
    burst_percent: u32,
    /// Where to write the addresses of directory and hosts, one a line.
    #[arg(long)]
    addresses: Option<PathBuf>,
    /// Serve with TLS, and write the certificate of the authority to this file.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Wait until a relay reads every host before anything is sent.
    #[arg(long)]
    wait: bool,
    /// Subscribe to every host, as a relay does, and throw away what comes.
    #[arg(long)]
    sink: bool,
    /// Compare what consumers of this relay get, such as `ws://127.0.0.1:2470`.
    #[arg(long)]
    relay: Option<String>,
    /// How many consumers.
    #[arg(long, default_value_t = 1)]
    consumers: usize,
}

#[derive(Debug, Args)]
struct PlanArgs {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 3_000)]
    hosts: u32,
    #[arg(long, default_value_t = 500_000)]
    accounts: u32,
    /// Median records of a repository.
    #[arg(long, default_value_t = 20)]
    records: u32,
    /// Events after the introduction of every account.
    #[arg(long, default_value_t = 600_000)]
    events: u64,
    /// Leave out the introductions.
    #[arg(long)]
    known: bool,
    /// Of 1,000 events, how many are commits with each fault.
    #[arg(long, default_value_t = 0)]
    each_fault: u32,
    /// Of 1,000 events, how many another host sends.
    #[arg(long, default_value_t = 0)]
    foreign: u32,
}

impl PlanArgs {
    fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            hosts: self.hosts,
            accounts: self.accounts,
            records: self.records,
            events: self.events,
            introduce: !self.known,
            each_fault_per_mille: self.each_fault,
            foreign_per_mille: self.foreign,
            ..Plan::default()
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Generate { file, plan } => generate(&file, &plan.plan()),
        Verb::Serve(args) => serve(args).await,
    }
}

fn generate(path: &std::path::Path, plan: &Plan) -> Result<()> {
    let begin = Instant::now();
    let mut last = begin;
    let written = file::write(plan, Generator::new(plan)?, path, |written| {
        if written.events.is_multiple_of(100_000) {
            let rate = 100_000.0 / last.elapsed().as_secs_f64();
            last = Instant::now();
            println!("{} events, {rate:.0} a second; {}", written.events, memory_words());
        }
    })?;
    println!(
        "{} events in {:.1} s, {} bytes a frame, {} MB; {}",
        written.events,
        begin.elapsed().as_secs_f64(),
        written.frame_bytes / written.events.max(1),
        written.file_bytes / 1_000_000,
        memory()?
    );
    Ok(())
}

async fn serve(args: ServeArgs) -> Result<()> {
    raise_descriptor_limit()?;
    let mut source = match &args.file {
        Some(file) => Source::open(file)?,
        None => Source::live(&args.plan.plan())?,
    };
    let options = FleetOptions { tls: args.tls.is_some(), ..FleetOptions::default() };
    let fleet = Fleet::start(source.plan(), options).await?;
    println!("{} hosts listen; {}", fleet.hostnames().len(), memory()?);
    if let (Some(authority), Some(file)) = (fleet.authority(), &args.tls) {
        authority.write(file)?;
    }
    if let Some(addresses) = &args.addresses {
        let lines = [vec![fleet.plc_url()], fleet.addresses()].concat();
        fs::write(addresses, lines.join("\n"))?;
    }
    if args.sink {
        drain(&fleet).await?;
    }
    if args.wait {
        fleet.connected().await?;
        println!("all hosts are read; {}", memory()?);
    }
    let (end, ended) = watch::channel(false);
    let mut watching = JoinSet::new();
    for _ in 0..args.relay.as_ref().map_or(0, |_| args.consumers) {
        let relay = args.relay.clone().unwrap_or_default();
        let consumer = Consumer::connect(&relay, Start::After(0)).await?.patient(PATIENCE);
        watching.spawn(compare(consumer, fleet.ledger().checker(), ended.clone()));
    }
    let events = args.rate;
    let burst_percent = args.burst_percent;
    let pace = events.map_or(Pace::Fast, |events| Pace::PerSecond { events, burst_percent });
    play(&fleet, &mut source, pace).await?;
    end.send_replace(true);
    while let Some(report) = watching.join_next().await {
        println!("{}; {}", report??.clean()?, memory()?);
    }
    let unfired = fleet.ledger().unfired_faults();
    ensure!(unfired.is_empty(), "faults that never struck: {unfired:?}");
    Ok(())
}

async fn play(fleet: &Fleet, source: &mut Source, pace: Pace) -> Result<()> {
    let begin = Instant::now();
    let mut played = 0;
    loop {
        let (step, now) = (50_000, Instant::now());
        let sent = fleet.play(source, step, pace).await?;
        played += sent;
        let rate = u32::try_from(sent).map(f64::from)? / now.elapsed().as_secs_f64();
        println!("{played} events sent, {rate:.0} a second; {}", memory()?);
        if sent < step {
            break;
        }
    }
    println!("{played} events in {:.1} s; {}", begin.elapsed().as_secs_f64(), memory()?);
    Ok(())
}

/// Compares until everything was sent and has come.
async fn compare(
    mut consumer: Consumer,
    mut checker: Checker,
    mut ended: watch::Receiver<bool>,
) -> Result<Report> {
    loop {
        let all_sent = async { ended.wait_for(|ended| *ended).await.map(drop) };
        tokio::select! {
            told = all_sent => {
                told?;
                return checker.settle(&mut consumer).await;
            }
            event = consumer.next() => checker.observe(&event?),
        }
    }
}

/// Reads every host until the end of the program.
async fn drain(fleet: &Fleet) -> Result<()> {
    for hostname in fleet.hostnames() {
        let base = format!("ws://{}", hostname.replace("localhost", "127.0.0.1"));
        let mut consumer = Consumer::connect_as_relay(&base, Start::After(0)).await?;
        #[expect(clippy::disallowed_methods, reason = "ends with the program")]
        tokio::spawn(async move { while consumer.skip().await {} });
    }
    Ok(())
}

/// Thousands of listeners need more than the usual 1,024 descriptors.
fn raise_descriptor_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}

fn memory_words() -> String {
    memory().unwrap_or_else(|error| error.to_string())
}

fn memory() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(format!("{} MB resident", kib.parse::<u64>()? * 1024 / 1_000_000))
}
