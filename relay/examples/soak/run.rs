//! One run: starts network, relay and consumers, samples until the end, makes peace, sums up.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use relay_simnet::{Adversary, LoadOptions, Mix, MixOptions, Net, Report};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    consumers::{Follower, Recent, join_late},
    options::Options,
    out,
    process::{RelayProcess, Setup},
    samples::{Sample, by_label},
    summary::{Facts, Summary},
};

/// Time between two looks at the process.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// The load looks this often whether it is to stop.
const LOAD_SPAN: Duration = Duration::from_millis(250);
/// How often the second consumer cuts its connection.
const COMES_BACK: Duration = Duration::from_secs(20);
/// Records from which on a repository shrinks again, so that the simulation needs no more memory.
const RECORDS_MAX: usize = 60;
/// What each host keeps for replays: events and bytes.
const RETAINED: (usize, usize) = (2_000, 8 << 20);
/// Time between two tricks on one connection: longer than the relay bears the longest of them, and
/// then a minute of health, after which it forgets the failures (UP-2, UP-10).
const PAUSE: Duration = Duration::from_secs(150);
/// The log of an hour would need 6 GB; so it is trimmed all the while, which is part of the test.
const SETTINGS: &[(&str, &str)] =
    &[("RELAY_REPLAY_MAX_BYTES", "512MiB"), ("RELAY_SEGMENT_BYTES", "32MiB")];
/// Drops by reason.
const DROPS: &str = "relay_ingest_dropped_total";

/// Runs the soak; gives what is wrong.
pub(crate) async fn run(options: &Options) -> Result<Vec<String>> {
    let net = Net::seeded(options.seed).await?;
    let mut mix = Mix::prepare(&net, mix_options(options)).await?;
    let binary = Some(beside()?);
    let setup = Setup { settings: SETTINGS, binary, ..Setup::default() };
    let mut relay = RelayProcess::start(&net, setup).await?;
    mix.knock_at(&relay.url());
    out::line(&format!(
        "soak: {} hosts, {} adversaries, {} steps/s of which {} in 1,000 are theirs, seed {}",
        net.hosts().len(),
        mix.strikes().len(),
        options.rate,
        options.per_mille,
        options.seed
    ));
    let driven = drive(options, &net, mix, &relay).await;
    let (mix, samples, reports, late) = match driven {
        Ok(driven) => driven,
        Err(why) => return Err(why.context(relay.situation().await)),
    };
    let metrics = relay.metrics().await?;
    let facts = Facts {
        samples,
        names: net
            .accounts()
            .iter()
            .map(|one| (one.did().to_owned(), one.name().to_owned()))
            .collect(),
        reports,
        late,
        differences: net.oracle().compare_drops(by_label(&metrics, DROPS)),
        unfired: mix.unfired().into_iter().chain(net.unfired_faults()).collect(),
        misled: mix.misled(),
        strikes: mix.strikes().values().sum(),
        shares: shares(&net),
        log: relay.log(),
        panics: metrics.lines().any(|line| {
            line.strip_prefix("relay_ingest_panics_total ").is_some_and(|count| count != "0")
        }),
    };
    relay.stop().await?;
    let summary = Summary::of(&facts);
    for line in &summary.lines {
        out::line(line);
    }
    for problem in &summary.problems {
        out::error(&format!("soak: {problem}"));
    }
    Ok(summary.problems)
}

/// The relay that was built into the same place as this program.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().map(|dir| dir.join("relay")).find(|path| path.is_file());
    found.with_context(|| format!("no relay beside {}: build it", own.display()))
}

/// What a run leaves for the summary.
type Driven = (Mix, Vec<Sample>, Vec<(Report, u64)>, u64);

/// From the first host to peace.
async fn drive(options: &Options, net: &Net, mix: Mix, relay: &RelayProcess) -> Result<Driven> {
    let watching = Watching::start(net, &relay.url(), options.span()).await?;
    relay.crawl(net).await?;
    let sending = Sending::start(mix, options.rate);
    let samples = sample(options, relay, net, (&sending, &watching)).await?;
    let mut mix = sending.stop().await?;
    mix.make_peace().await?;
    // Wakes the hosts that the relay has given up for a while.
    relay.crawl(net).await?;
    relay.reach(net).await?;
    let (reports, late) = watching.stop().await?;
    Ok((mix, samples, reports, late))
}

fn mix_options(options: &Options) -> MixOptions {
    let load = LoadOptions {
        hosts: options.hosts,
        accounts: options.accounts,
        records_max: RECORDS_MAX,
        retained_events: RETAINED.0,
        retained_bytes: RETAINED.1,
        backlog_max: 500,
        ..LoadOptions::default()
    };
    let mut mix = MixOptions { pause: PAUSE, ..MixOptions::all(load, options.per_mille) };
    let wanted = |one: &Adversary| {
        options.only.is_empty() || options.only.iter().any(|word| one.to_string().contains(word))
    };
    mix.adversaries.retain(|(one, _)| wanted(one));
    mix
}

/// Hosts times workers.
fn shares(net: &Net) -> f64 {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = net.hosts().len().saturating_mul(workers);
    f64::from(u32::try_from(shares).unwrap_or(u32::MAX))
}

/// The mix in a task of its own.
struct Sending {
    stopping: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    task: JoinSet<Result<Mix>>,
}

impl Sending {
    fn start(mut mix: Mix, rate: u32) -> Self {
        let (stopping, steps) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stop, made) = (Arc::clone(&stopping), Arc::clone(&steps));
        let mut task = JoinSet::new();
        task.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                made.fetch_add(mix.run(rate, LOAD_SPAN).await?, Ordering::Relaxed);
            }
            Ok(mix)
        });
        Self { stopping, steps, task }
    }

    fn has_ended(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    async fn stop(mut self) -> Result<Mix> {
        self.stopping.store(true, Ordering::Relaxed);
        self.task.join_next().await.context("the load")??
    }
}

/// All consumers in tasks of their own.
struct Watching {
    stop: CancellationToken,
    followers: JoinSet<Result<(Report, u64)>>,
    late: JoinSet<Result<u64>>,
    recent: Recent,
}

impl Watching {
    async fn start(net: &Net, url: &str, span: Duration) -> Result<Self> {
        let (stop, recent) = (CancellationToken::new(), Recent::default());
        let (mut followers, mut late) = (JoinSet::new(), JoinSet::new());
        for comes_back in [None, Some(COMES_BACK.min(span / 4))] {
            // Before the first host is read, so that both see everything.
            let checker = net.oracle().checker();
            let follower = Follower::join(url, checker, recent.clone(), comes_back).await?;
            followers.spawn(follower.run(stop.clone()));
        }
        let pause = Duration::from_mins(1).min(span / 6);
        late.spawn(join_late(url.to_owned(), recent.clone(), pause, stop.clone()));
        Ok(Self { stop, followers, late, recent })
    }

    async fn stop(mut self) -> Result<(Vec<(Report, u64)>, u64)> {
        self.stop.cancel();
        let mut reports = Vec::new();
        while let Some(report) = self.followers.join_next().await {
            reports.push(report??);
        }
        let late = self.late.join_next().await.context("the late consumers")??;
        Ok((reports, late?))
    }
}

/// Looks at the process until the time is over.
async fn sample(
    options: &Options,
    relay: &RelayProcess,
    net: &Net,
    (sending, watching): (&Sending, &Watching),
) -> Result<Vec<Sample>> {
    let (begin, span) = (Instant::now(), options.span());
    let mut ticks = interval(SAMPLE_EVERY.min(span / 8));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples: Vec<Sample> = Vec::new();
    let mut minute = 0;
    while begin.elapsed() < span && !sending.has_ended() {
        ticks.tick().await;
        let hours = begin.elapsed().as_secs_f64() / 3_600.0;
        let one = Sample::take(hours, relay.pid(), &relay.metrics().await?)?;
        if begin.elapsed().as_secs() / 60 >= minute {
            minute += 1;
            let steps = sending.steps.load(Ordering::Relaxed);
            let head = watching.recent.head();
            out::line(&format!(
                "{}, {steps} steps, seq {head}, {} owed",
                one.line(),
                net.undelivered()
            ));
        }
        samples.push(one);
    }
    Ok(samples)
}
