//! What a validated event costs: CPU time of the whole relay, from the sockets of its hosts to the
//! socket of one consumer, every event checked, logged and synced, as a multiple of one secp256k1
//! verification (V) measured in the same run.
//!
//! The relay is the built program in a process of its own, so that its CPU time is its own. Frames
//! are made before the clock starts. With two cores or more the relay has one of them and the
//! simulated network another. `--smoke` takes seconds, `--long` gives a
//! profiler time, `--unpinned` lets both run anywhere.
//!
//! Nothing absolute is a failure, because machines differ; a lost or doubled event is one.

#![expect(clippy::print_stdout, reason = "the figures are for a person")]

mod figures;
#[path = "../../tests/support/process.rs"]
#[expect(dead_code, reason = "shared with the torture test")]
mod process;

use std::{env, process::Command, time::Duration};

use anyhow::{Result, ensure};
use relay_simnet::{Checker, Consumer, Item, Load, LoadOptions, Net, Pregenerated, Start};
use tokio::time::{Instant, timeout};

use figures::{Counters, Figures, Verification};
use process::{RelayProcess, Setup};

/// Silence after which it is worth to ask whether everything has come.
const LULL: Duration = Duration::from_millis(5);
/// Longest silence while events are missing.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Scale {
    hosts: usize,
    accounts: usize,
    /// Median records of a repository; with 200 a frame has almost 4 kB.
    records: usize,
    /// Events that come before the measured ones.
    warm_up: u64,
    /// Runs as fast as the relay takes them, and the events of each.
    bursts: (u32, u64),
    /// Runs at a rate per second, and the seconds of each.
    paced: &'static [(u32, u64)],
}

const FULL: Scale = Scale {
    hosts: 60,
    accounts: 6_000,
    records: 200,
    warm_up: 10_000,
    bursts: (5, 20_000),
    paced: &[(500, 10), (2_000, 10), (2_000, 10), (2_000, 10)],
};

/// For a profiler, which wants long runs: first in bursts, then half a minute at a rate.
const LONG: Scale = Scale {
    hosts: 60,
    accounts: 2_000,
    records: 50,
    warm_up: 5_000,
    bursts: (1, 120_000),
    paced: &[(1_000, 30)],
};

const SMOKE: Scale = Scale {
    hosts: 50,
    accounts: 500,
    records: 20,
    warm_up: 1_000,
    bursts: (3, 4_000),
    paced: &[(1_000, 3)],
};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let known = ["--smoke", "--long", "--unpinned"];
    let unknown = words.iter().find(|word| !known.contains(&word.as_str()));
    ensure!(unknown.is_none(), "{unknown:?} is not known; there are {}", known.join(", "));
    let has = |word: &str| words.iter().any(|other| other == word);
    let scale = match (has("--smoke"), has("--long")) {
        (true, _) => SMOKE,
        (false, true) => LONG,
        (false, false) => FULL,
    };
    let apart = !has("--unpinned") && std::thread::available_parallelism()?.get() > 1;
    if apart {
        pin_this_process()?;
    }
    let under: &[&str] = if apart { &["taskset", "-c", "1"] } else { &[] };
    println!(
        "{} hosts, {} accounts; {}",
        scale.hosts,
        scale.accounts,
        if apart { "the relay on one core, the network on another" } else { "not pinned" }
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(scale, under))
}

/// Puts this process on the first core; the relay gets the second.
fn pin_this_process() -> Result<()> {
    let pid = std::process::id().to_string();
    let done = Command::new("taskset").args(["-a", "-c", "-p", "0", &pid]).output()?;
    ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

async fn measure(scale: Scale, under: &[&str]) -> Result<()> {
    let net = Net::seeded(4).await?;
    let options = LoadOptions {
        hosts: scale.hosts,
        accounts: scale.accounts,
        records: scale.records,
        retained_events: 4_000,
        retained_bytes: 16 << 20,
        backlog_max: 1_000,
        ..LoadOptions::default()
    };
    let mut load = Load::prepare(&net, options).await?;
    let paced: u64 = scale.paced.iter().map(|(rate, seconds)| u64::from(*rate) * seconds).sum();
    let (runs, events) = scale.bursts;
    let measured = scale.warm_up + u64::from(runs) * events + paced;
    // Before the relay runs: while frames are made nobody answers its pings. The first ones are of
    // every account, so that all identities are known when the clock starts.
    let mut prepared = load.pregenerate_introduced(measured).await?;
    let all = prepared.len() as u64;
    println!("{all} frames of {} bytes are ready", prepared.bytes() / all);

    let relay = RelayProcess::start(&net, Setup { under, ..Setup::default() }).await?;
    relay.crawl(&net).await?;
    let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let mut bench = Bench { checker: net.oracle().checker(), consumer, relay, net };
    bench.receive(prepared.play(all - measured + scale.warm_up)).await?;

    println!("{}", Figures::HEAD);
    let mut bursts = Vec::new();
    for _ in 0..runs {
        let figures = bench.run("as fast as it can", events, prepared.play(events)).await?;
        bursts.push(figures);
    }
    Figures::show_median("median of these", &bursts);
    for (rate, seconds) in scale.paced {
        let events = u64::from(*rate) * seconds;
        let playing = play_at(&mut prepared, *rate, events);
        bench.run(&format!("{rate} per second"), events, playing).await?;
    }
    let report = bench.checker.report();
    println!("{report}");
    report.clean()?;
    bench.relay.stop().await
}

/// Hands over so many events at a rate.
async fn play_at(prepared: &mut Pregenerated, rate: u32, events: u64) -> u64 {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let (begin, mut played) = (Instant::now(), 0);
    while played < events {
        ticks.tick().await;
        let due = begin.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        let missing = u64::try_from(due).unwrap_or(u64::MAX).min(events).saturating_sub(played);
        played += prepared.play(missing).await;
    }
    played
}

/// The relay, and who watches it.
struct Bench {
    net: Net,
    relay: RelayProcess,
    consumer: Consumer,
    checker: Checker,
}

impl Bench {
    /// Measures what the relay spends while `playing` sends and the consumer gets everything.
    async fn run<T>(
        &mut self,
        name: &str,
        events: u64,
        playing: impl Future<Output = T>,
    ) -> Result<Figures> {
        let verification = Verification::measure()?;
        let before = Counters::read(&self.relay).await?;
        let begin = Instant::now();
        self.receive(playing).await?;
        let time = begin.elapsed();
        let after = Counters::read(&self.relay).await?;
        let verifications = [verification, Verification::measure()?];
        let figures = Figures::new(&before, &after, (events, time), &verifications)?;
        figures.show(name, self.relay.resident_bytes()?);
        Ok(figures)
    }

    /// Compares what comes until `playing` is done and nothing is missing.
    async fn receive<T>(&mut self, playing: impl Future<Output = T>) -> Result<()> {
        let Self { net, consumer, checker, .. } = self;
        let mut playing = std::pin::pin!(playing);
        let mut all_sent = false;
        let mut heard = Instant::now();
        loop {
            let item = tokio::select! {
                _ = &mut playing, if !all_sent => {
                    all_sent = true;
                    continue;
                }
                item = timeout(LULL, consumer.next_item()) => item,
            };
            match item {
                Ok(item) => {
                    heard = Instant::now();
                    match item? {
                        Item::Event(event) => checker.observe(&event),
                        other => anyhow::bail!("not an event: {other:?}"),
                    }
                }
                Err(_lull) if all_sent && checker.outstanding() == 0 => return Ok(()),
                Err(_lull) => ensure!(
                    heard.elapsed() < PATIENCE,
                    "events are missing; {} not taken from hosts\n{}\n{}",
                    net.undelivered(),
                    checker.report(),
                    self.relay.log()
                ),
            }
        }
    }
}
