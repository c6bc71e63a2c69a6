//! A small network, the relay, and one consumer that compares every event: what most rows use.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Checker, Consumer, Fault, Load, LoadOptions, Net, Pregenerated, Start};
use tokio::time::Instant;

use crate::{
    compare::{again, compare},
    meter::{self, Look, float, percentile},
    process::{RelayProcess, Setup},
};

/// Settings of every relay here: no host has too many accounts.
pub(crate) const SETTINGS: [(&str, &str); 2] =
    [("RELAY_DEFAULT_ACCOUNT_LIMIT", "1000000"), ("RELAY_LOG_LEVEL", "warn")];

/// On which cores the relay and the rest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The relay on the second, everything else on the first.
    Apart,
    /// Both on both.
    Shared,
    /// Wherever the system puts them.
    Any,
}

impl Cores {
    /// What the relay runs under.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Apart => &["taskset", "-c", "1"],
            Self::Shared => &["taskset", "-c", "0,1"],
            Self::Any => &[],
        }
    }

    /// Puts this process on its core, or cores.
    pub(crate) fn take_ours(self) -> Result<()> {
        let cores = match self {
            Self::Apart => "0",
            Self::Shared => "0,1",
            Self::Any => return Ok(()),
        };
        let pid = std::process::id().to_string();
        let done = Command::new("taskset").args(["-a", "-c", "-p", cores, &pid]).output()?;
        ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}

/// The network before anything runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) hosts: usize,
    pub(crate) accounts: usize,
    /// Median records of a repository; with 200 a frame has almost 4 kB.
    pub(crate) records: usize,
    /// Whether a few accounts are much more active than the rest.
    pub(crate) skewed: bool,
}

/// How events are handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Play {
    /// As fast as the relay takes them.
    Fast(u64),
    /// So many in all, at a rate per second.
    At(u32, u64),
}

impl Play {
    pub(crate) fn events(self) -> u64 {
        match self {
            Self::Fast(events) | Self::At(_, events) => events,
        }
    }
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) before: Look,
    pub(crate) after: Look,
    pub(crate) events: f64,
    pub(crate) seconds: f64,
    /// One verification, in microseconds: the mean of before and after.
    pub(crate) v_us: f64,
    /// Milliseconds from the hand-over of each event to its receipt.
    pub(crate) delays: Vec<f64>,
}

impl Run {
    /// CPU time of the relay per event, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.after.spent_since(&self.before) * 1e6 / self.events
    }

    /// The same in V.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu_us() / self.v_us
    }

    /// Events per second.
    pub(crate) fn rate(&self) -> f64 {
        self.events / self.seconds
    }

    /// The delay that so many of a hundred events do not exceed.
    pub(crate) fn delay(&self, percent: usize) -> f64 {
        percentile(self.delays.clone(), percent)
    }

    /// Raw figures of a run that measures the cost of an event.
    pub(crate) fn raw(&self) -> Result<String> {
        let kernel = (self.after.cpu.kernel - self.before.cpu.kernel) * 1e6 / self.events;
        let logged = self.after.grown(&self.before, "relay_eventlog_appended_events_total")?;
        let syncs = self.after.grown(&self.before, "relay_eventlog_batch_events_count")?;
        Ok(format!(
            "{:.1} us (kernel {kernel:.1}), V {:.1} us, {:.0} events/s, {:.0} events per sync",
            self.cpu_us(),
            self.v_us,
            self.rate(),
            logged / syncs.max(1.0)
        ))
    }
}

/// The network, the relay, and who watches it.
pub(crate) struct Ground {
    pub(crate) net: Net,
    pub(crate) load: Load,
    pub(crate) prepared: Pregenerated,
    pub(crate) relay: RelayProcess,
    consumer: Consumer,
    checker: Checker,
    /// Whether the delays are wanted.
    pub(crate) timed: bool,
}

impl Ground {
    /// Makes the network and `events` to be played after one of every account, `spoiled` of them at
    /// the end with one of `faults` in every so many of a thousand; starts the relay; plays the
    /// events of every account and `warm_up` more.
    pub(crate) async fn make(
        network: Network,
        (warm_up, events): (u64, u64),
        (spoiled, per_mille, faults): (u64, u32, &'static [Fault]),
        (binary, cores): (Option<PathBuf>, Cores),
    ) -> Result<Self> {
        cores.take_ours()?;
        let net = Net::seeded(4).await?;
        let options = LoadOptions {
            hosts: network.hosts,
            accounts: network.accounts,
            records: network.records,
            skewed: network.skewed,
            retained_events: 4_000,
            retained_bytes: 16 << 20,
            backlog_max: 1_000,
            ..LoadOptions::default()
        };
        let mut load = Load::prepare(&net, options).await?;
        // Before the relay runs: while frames are made nobody answers its pings. The first ones are
        // of every account, so that all identities are known when the clock starts.
        let mut prepared = load.pregenerate_introduced(warm_up + events).await?;
        load.set_faults(per_mille, faults);
        load.pregenerate_onto(&mut prepared, spoiled).await?;
        let all = prepared.len() as u64;
        println!(
            "{all} frames of {} bytes are ready, of {} accounts on {} hosts",
            prepared.bytes() / all.max(1),
            network.accounts,
            network.hosts
        );
        let setup = Setup { settings: &SETTINGS, under: cores.words(), binary, ..Setup::default() };
        let relay = RelayProcess::start(&net, setup).await?;
        relay.crawl(&net).await?;
        let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
        let checker = net.oracle().checker();
        let mut ground = Self { net, load, prepared, relay, consumer, checker, timed: false };
        ground.receive(Play::Fast(all - events - spoiled)).await?;
        Ok(ground)
    }

    /// Starts the relay anew, on other cores or with other settings, and warms it up.
    pub(crate) async fn restart(
        &mut self,
        settings: &[(&str, &str)],
        cores: Cores,
        warm_up: u64,
    ) -> Result<()> {
        cores.take_ours()?;
        self.relay.reborn(settings, cores.words()).await?;
        for host in self.load.hosts() {
            host.connected().await?;
        }
        self.reconnect().await?;
        self.receive(Play::Fast(warm_up)).await?;
        Ok(())
    }

    /// Connects the consumer again: one that is not read for long is closed.
    pub(crate) async fn reconnect(&mut self) -> Result<()> {
        again(&mut self.consumer, &self.relay.url()).await
    }

    /// Measures what the relay spends on these events until the consumer has got every one.
    pub(crate) async fn run(&mut self, play: Play) -> Result<Run> {
        let v = meter::verification_us()?;
        let before = Look::before(&self.relay).await?;
        let delays = self.receive(play).await?;
        let after = Look::after(&self.relay).await?;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let v_us = f64::midpoint(v, meter::verification_us()?);
        let events = float(play.events());
        Ok(Run { before, after, events, seconds, v_us, delays })
    }

    /// Hands events over and compares what comes until nothing is missing; gives the delays in
    /// milliseconds if they are wanted.
    pub(crate) async fn receive(&mut self, play: Play) -> Result<Vec<f64>> {
        let Self { net, consumer, checker, prepared, relay, timed, .. } = self;
        ensure!(prepared.len() as u64 >= play.events(), "too few events were prepared");
        if *timed {
            prepared.stamp();
        }
        let playing = async {
            Ok(match play {
                Play::Fast(events) => prepared.play(events).await,
                Play::At(rate, events) => prepared.play_at(rate, events).await,
            })
        };
        let arrived = compare(consumer, checker, playing, *timed).await;
        let arrived = arrived.with_context(|| {
            format!("{} not taken from hosts; its log:\n{}", net.undelivered(), relay.log())
        })?;
        let sent = prepared.take_stamps();
        let delay = |(digest, at): &(u128, Instant)| {
            Some(at.saturating_duration_since(*sent.get(digest)?).as_secs_f64() * 1e3)
        };
        Ok(arrived.iter().filter_map(delay).collect())
    }

    /// Seq of the newest event.
    pub(crate) async fn head(&self) -> Result<u64> {
        Look::before(&self.relay).await?.head()
    }

    /// Stops the relay; an error if any event was lost or came twice.
    pub(crate) async fn end(mut self) -> Result<()> {
        let report = self.checker.report();
        println!("{report}");
        report.clean()?;
        self.relay.stop().await
    }
}
