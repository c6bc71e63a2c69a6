//! A simulated network, the relay, and one consumer that compares every event.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use relay_simnet::{
    Consumer, Start,
    scale::{Checker, Fleet, FleetOptions, Plan, Source},
};
use tempfile::NamedTempFile;
use tokio::time::Instant;

use crate::{
    compare::{again, compare},
    meter::{self, Look, float},
    process::{RelayProcess, Setup},
    run::{Cores, Play, Run},
};

/// Settings of every relay here: no host has too many accounts, and a disk is not filled by a long
/// run.
pub(crate) const SETTINGS: [(&str, &str); 3] = [
    ("RELAY_DEFAULT_ACCOUNT_LIMIT", "1000000"),
    ("RELAY_LOG_LEVEL", "warn"),
    ("RELAY_REPLAY_MAX_BYTES", "6GiB"),
];

/// Hosts that are added with one request.
const HOSTS_AT_ONCE: usize = 100;
/// Events that are made before they are sent at most, some 250 MB.
const READY_MAX: usize = 60_000;
/// Events that a plan has at least: as many as any row needs. They are made when they are sent.
const EVENTS: u64 = 50_000_000;

/// How many of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) hosts: u32,
    pub(crate) accounts: u32,
    /// Median records of a repository; with 20 a frame has 2.7 kB, with 80 almost 4.
    pub(crate) records: u32,
    /// Of 1,000 events, how many are commits with each fault.
    pub(crate) each_fault_per_mille: u32,
    /// Whether hosts are read over TLS.
    pub(crate) tls: bool,
}

/// What is looked at while events are played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Resident bytes of the relay, and of this process.
    pub(crate) relay: u64,
    pub(crate) ours: u64,
    /// Events that hosts hold for the relay.
    pub(crate) backlog: u64,
}

/// The fleet, the relay, and who watches it.
pub(crate) struct Ground {
    pub(crate) fleet: Fleet,
    source: Source,
    pub(crate) relay: RelayProcess,
    consumer: Consumer,
    checker: Checker,
    /// Seq of the last event that the consumer has got.
    last_seq: u64,
    /// What the relay trusts; it must be there at a restart.
    _roots: NamedTempFile,
}

impl Ground {
    /// Starts hosts and relay; returns once every host is read. Nothing is sent yet.
    pub(crate) async fn make(
        extent: Extent,
        (binary, cores): (PathBuf, Cores),
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        cores.take_ours()?;
        let plan = Plan {
            hosts: extent.hosts,
            accounts: extent.accounts,
            records: extent.records,
            each_fault_per_mille: extent.each_fault_per_mille,
            events: EVENTS,
            ..Plan::default()
        };
        let fleet_options = FleetOptions { tls: extent.tls, ..FleetOptions::default() };
        let fleet = Fleet::start(&plan, fleet_options).await?;
        let source = Source::live(&plan)?;
        let roots = NamedTempFile::new()?;
        let roots_path = roots.path().to_string_lossy();
        let mut settings = [&SETTINGS[..], settings].concat();
        if let Some(authority) = fleet.authority() {
            authority.write(roots.path())?;
            settings.push(("SSL_CERT_FILE", &*roots_path));
        }
        let (under, binary) = (cores.words(), Some(binary));
        let setup = Setup { settings: &settings, under, binary, ..Setup::default() };
        let relay = RelayProcess::start_beside(fleet.plc_url(), setup).await?;
        for names in fleet.addresses().chunks(HOSTS_AT_ONCE) {
            relay.add_hosts(names).await?;
        }
        fleet.connected().await?;
        let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
        let checker = fleet.ledger().checker();
        Ok(Self { fleet, source, relay, consumer, checker, last_seq: 0, _roots: roots })
    }

    /// One event of every account, and so many more.
    pub(crate) async fn introduce(&mut self, more: u64) -> Result<()> {
        let accounts = u64::from(self.fleet.population().len());
        self.receive(Play::Fast(accounts + more)).await
    }

    /// Hands events over and compares what comes until nothing is missing.
    pub(crate) async fn receive(&mut self, play: Play) -> Result<()> {
        self.compare(play, false).await?;
        Ok(())
    }

    /// The same; gives when each event came if that is wanted.
    async fn compare(&mut self, play: Play, timed: bool) -> Result<Vec<(u128, Instant)>> {
        let Self { fleet, source, relay, consumer, checker, .. } = self;
        let playing = fleet.play(source, play.events(), play.pace());
        let arrived = compare(consumer, checker, playing, timed).await;
        arrived.with_context(|| format!("its log:\n{}", relay.log()))
    }

    /// The same while memory and backlog are looked at every so often.
    pub(crate) async fn watch(&mut self, play: Play, every: Duration) -> Result<Vec<Sample>> {
        let Self { fleet, source, relay, consumer, checker, .. } = self;
        let mut samples = Vec::new();
        let looking = async {
            loop {
                tokio::time::sleep(every).await;
                samples.push(Sample {
                    relay: relay.resident_bytes()?,
                    ours: meter::resident_bytes(std::process::id())?,
                    backlog: fleet.ledger().undelivered(),
                });
            }
        };
        let playing = fleet.play(source, play.events(), play.pace());
        let arrived = tokio::select! {
            arrived = compare(consumer, checker, playing, false) => arrived,
            looked = looking => looked,
        };
        arrived.with_context(|| format!("its log:\n{}", relay.log()))?;
        Ok(samples)
    }

    /// Measures what the relay spends on these events until the consumer has got every one. They
    /// are made before the clock starts.
    pub(crate) async fn run(&mut self, play: Play) -> Result<Run> {
        let events = usize::try_from(play.events())?.min(READY_MAX);
        self.source.prefetch(events).await?;
        let v = meter::verification_us()?;
        self.fleet.stamp();
        let before = Look::before(&self.relay).await?;
        let arrived = self.compare(play, true).await?;
        let after = Look::after(&self.relay).await?;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let v_us = f64::midpoint(v, meter::verification_us()?);
        let sent = self.fleet.take_stamps();
        let delay = |(digest, at): &(u128, Instant)| {
            let sent = sent.get(&u64::try_from(digest >> 64).ok()?)?;
            Some(at.saturating_duration_since(*sent).as_secs_f64() * 1e3)
        };
        let delays = arrived.iter().filter_map(delay).collect();
        Ok(Run { before, after, events: float(play.events()), seconds, v_us, delays })
    }

    /// Waits until no event is made ahead any more: that would count as work of this process.
    pub(crate) async fn quiet(&mut self) -> Result<()> {
        self.source.prefetch(0).await
    }

    /// Seq of the newest event.
    pub(crate) async fn head(&self) -> Result<u64> {
        Look::before(&self.relay).await?.head()
    }

    /// Starts the relay anew on these cores, with these settings besides those it has.
    pub(crate) async fn restart(&mut self, more: &[(&str, &str)], cores: Cores) -> Result<()> {
        cores.take_ours()?;
        self.relay.reborn(more, cores.words()).await?;
        self.fleet.connected().await?;
        self.reconnect().await
    }

    /// Connects the consumer again.
    pub(crate) async fn reconnect(&mut self) -> Result<()> {
        again(&mut self.consumer, &self.relay.url(), &mut self.last_seq).await
    }

    /// Stops the relay; an error if any event was lost or came twice.
    pub(crate) async fn end(mut self) -> Result<()> {
        let report = self.checker.report();
        println!("{report}");
        report.clean()?;
        self.relay.stop().await
    }
}
