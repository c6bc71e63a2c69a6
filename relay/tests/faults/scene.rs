//! A relay under traffic, and the proof with which every test ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Checker, Consumer, Load, LoadOptions, Net, Report, Start};
use tokio::{sync::watch, task::JoinSet};

use crate::process::{RelayProcess, Setup};

/// Events per second while the fault lasts; what the slowest machine takes beside other tests.
const RATE: u32 = 200;
/// The load looks this often whether it is to stop.
const LOAD_SPAN: Duration = Duration::from_millis(100);
/// Longest pause of the stream, and longest wait for a condition.
const PATIENCE: Duration = Duration::from_mins(1);
/// What the process may hold more at the end than after its first events: buffers, caches of what the
/// traffic brought, and memory that the allocator keeps. A queue without a limit would pass it.
const GROWTH_BYTES_MAX: u64 = 150 << 20;
/// Events before memory is looked at for the first time.
const WARM: u64 = 300;

/// A network with all four kinds of events, a few faults and impostors.
pub(crate) fn traffic() -> LoadOptions {
    LoadOptions {
        hosts: 6,
        accounts: 120,
        records: 10,
        announcements_per_mille: 60,
        faults_per_mille: 10,
        impostors_per_mille: 5,
        // After a fault a host may be asked for everything again.
        retained_events: 1_000_000,
        retained_bytes: 1 << 30,
        ..LoadOptions::default()
    }
}

/// The relay, those who send to it, and the one who watches.
pub(crate) struct Scene {
    pub(crate) net: Net,
    pub(crate) relay: RelayProcess,
    sending: Sending,
    watching: Watching,
    warm_bytes: u64,
}

/// What is left when the traffic is over and everything was judged.
pub(crate) struct Ended {
    pub(crate) net: Net,
    pub(crate) relay: RelayProcess,
    pub(crate) report: Report,
}

impl Scene {
    /// Starts a relay with these settings and the traffic to it; returns when both are warm.
    pub(crate) async fn start(seed: u64, options: LoadOptions, setup: Setup<'_>) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        let load = Load::prepare(&net, options).await?;
        let relay = RelayProcess::start(&net, setup).await?;
        relay.crawl(&net).await?;
        Self::join(net, relay, load).await
    }

    /// The same with a relay that knows its hosts already.
    pub(crate) async fn join(net: Net, relay: RelayProcess, load: Load) -> Result<Self> {
        let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
        let watching = Watching::start(consumer, net.oracle().checker());
        let sending = Sending::start(load);
        let mut scene = Self { net, relay, sending, watching, warm_bytes: 0 };
        scene.flows(WARM).await?;
        scene.warm_bytes = scene.relay.resident_bytes()?;
        Ok(scene)
    }

    /// Waits until so many more events have come out.
    pub(crate) async fn flows(&mut self, events: u64) -> Result<()> {
        let until = *self.watching.seen.borrow() + events;
        let came =
            tokio::time::timeout(PATIENCE, self.watching.seen.wait_for(|seen| *seen >= until));
        if !matches!(came.await, Ok(Ok(_))) {
            let situation = self.relay.situation().await;
            self.watching.failure().await?;
            anyhow::bail!("{events} events do not come out within {PATIENCE:?}; {situation}");
        }
        Ok(())
    }

    /// Waits until health gives this reason first.
    pub(crate) async fn suffers(&self, reason: &str) -> Result<()> {
        let told = async {
            while self.relay.health(503).await?["reasons"][0] != reason {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.with_context(|| format!("health never says {reason:?}"))?
    }

    /// Ends the traffic; everything that was sent must have been judged and be out once.
    pub(crate) async fn end(self) -> Result<Ended> {
        self.end_from(true).await
    }

    /// The same when the window does not hold all events any more.
    pub(crate) async fn end_of_a_short_window(self) -> Result<Ended> {
        self.end_from(false).await
    }

    async fn end_from(self, is_whole: bool) -> Result<Ended> {
        let Self { net, relay, sending, watching, warm_bytes } = self;
        sending.stop().await?;
        let ended = async {
            relay.reach(&net).await?;
            let (mut consumer, mut checker) = watching.stop().await?;
            let report = consumer.settle(&mut checker).await?.clean()?;
            relay.health(200).await?;
            if is_whole {
                whole(&relay, consumer.last_seq()).await?;
            }
            let grown = relay.resident_bytes()?.saturating_sub(warm_bytes);
            println!("{} events; {} MB more than warm", report.seen, grown / 1_000_000);
            ensure!(grown <= GROWTH_BYTES_MAX, "it grew by {grown} bytes");
            ensure!(!relay.log().contains("panicked"), "a panic");
            let unfired = net.unfired_faults();
            ensure!(unfired.is_empty(), "faults that never struck: {unfired:?}");
            Ok(report)
        };
        match ended.await {
            Ok(report) => Ok(Ended { net, relay, report }),
            Err(error) => Err(anyhow::Error::context(error, relay.situation().await)),
        }
    }
}

impl Ended {
    /// The proof for a relay that ran through: what it dropped is what was to be dropped.
    pub(crate) async fn counted(&self) -> Result<()> {
        let counted = dropped(&self.relay.metrics().await?)?;
        let differences = self.net.oracle().compare_drops(counted);
        ensure!(differences.is_empty(), "the drops differ: {differences:#?}");
        Ok(())
    }
}

/// A replay of the whole window gives every number once: nothing was reused and nothing is missing.
async fn whole(relay: &RelayProcess, head: i64) -> Result<()> {
    let mut late = Consumer::connect(&relay.url(), Start::After(0)).await?.patient(PATIENCE);
    for seq in 1..=head {
        let event = late.next().await?;
        ensure!(event.seq == seq, "the log holds seq {} where {seq} belongs", event.seq);
    }
    Ok(())
}

/// Counters of dropped events by reason.
fn dropped(metrics: &str) -> Result<BTreeMap<String, u64>> {
    let mut counted = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("relay_ingest_dropped_total{") else { continue };
        let (labels, count) = rest.rsplit_once("} ").context("a counter without labels")?;
        let reason = labels.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
        let reason = reason.context("a drop without a reason")?;
        *counted.entry(reason.to_owned()).or_default() += count.trim().parse::<u64>()?;
    }
    Ok(counted)
}

/// The value of a gauge or counter without labels.
pub(crate) fn value(metrics: &str, name: &str) -> Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{name} is not among the metrics"))?.trim().parse()?)
}

/// The load in a task of its own.
struct Sending {
    stopping: Arc<AtomicBool>,
    task: JoinSet<Result<()>>,
}

impl Sending {
    fn start(mut load: Load) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                load.run(RATE, LOAD_SPAN).await?;
            }
            Ok(())
        });
        Self { stopping, task }
    }

    async fn stop(mut self) -> Result<()> {
        self.stopping.store(true, Ordering::Relaxed);
        self.task.join_next().await.context("the load")??
    }
}

/// A consumer in a task of its own that comes back whenever it is cut off.
struct Watching {
    seen: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    task: JoinSet<Result<(Consumer, Checker)>>,
}

impl Watching {
    fn start(consumer: Consumer, mut checker: Checker) -> Self {
        let (count, seen) = watch::channel(0);
        let (stop, mut stopping) = watch::channel(false);
        // The oracle decides how long silence may last, not the consumer.
        let mut consumer = consumer.reconnecting().patient(Duration::from_hours(1));
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                tokio::select! {
                    event = consumer.next() => checker.observe(&event?),
                    _ = stopping.wait_for(|stop| *stop) => break,
                }
                count.send_modify(|seen| *seen += 1);
            }
            Ok((consumer.patient(PATIENCE), checker))
        });
        Self { seen, stop, task }
    }

    /// Why the consumer gave up, if it did.
    async fn failure(&mut self) -> Result<()> {
        if self.seen.has_changed().is_err() {
            self.task.join_next().await.context("the consumer")???;
        }
        Ok(())
    }

    async fn stop(mut self) -> Result<(Consumer, Checker)> {
        self.stop.send_replace(true);
        self.task.join_next().await.context("the consumer")??
    }
}
