//! I1–I4: the relay's process is killed at random moments and at named points under load; nothing is
//! lost, doubled or renumbered.
//!
//! The load comes from a simulated network in this process, the relay is the built program, and a
//! consumer follows it with its cursor. `TORTURE_KILLS` sets how often it is killed at random (20),
//! `SEED` repeats the kills of a run.
#![expect(clippy::print_stdout, reason = "the report is for a person too")]

mod collections;
mod consumers;
mod mix;
mod points;
mod replay;
mod rig;
mod seen;
mod small_disk;
mod torn;

#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod postgres_cluster;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "shared with the bench")]
mod process;

use std::{env, ops::Range, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay_simnet::{Consumer, Kind, Load, LoadOptions, Net, Report, Start};
use tokio::time::Instant;

use process::{RelayProcess, Setup};
use rig::{Pace, Sending, TURN, situation};
use seen::Seen;

/// The issue of a busy minute of the network, and half as much again.
const RATE: u32 = 1_500;
/// Below this the run proves nothing.
const RATE_MIN: f64 = 1_000.0;
/// Unless `SEED` says otherwise.
const SEED: u64 = 20_261_123;
/// Kills unless `TORTURE_KILLS` says otherwise; those during a start come on top.
const KILLS: u32 = 20;
/// Events that the consumer takes between two kills: mostly few, so that a kill meets a relay that
/// has not saved any cursor yet, …
const SHORT: Range<usize> = 100..2_000;
/// … and one time in four so many that cursors were saved meanwhile (UP-9: after 4 s).
const LONG: Range<usize> = 6_500..8_500;
/// When a start is killed, ms after it.
const START_KILL_MS: Range<u64> = 1..600;
/// Longest pause of the stream.
const PATIENCE: Duration = Duration::from_mins(1);

/// A network with all four kinds of events, a few faults and impostors.
const LOAD: fn() -> LoadOptions = || LoadOptions {
    hosts: 8,
    accounts: 2_000,
    records: 10,
    announcements_per_mille: 60,
    faults_per_mille: 5,
    impostors_per_mille: 2,
    // After a crash a host may be asked for everything again.
    retained_events: 1_000_000,
    retained_bytes: 1 << 30,
    ..LoadOptions::default()
};

/// I1, I2, I3, I4, T6: 20 kills at random moments under at least 1,000 events per second.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_the_relay_loses_and_repeats_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let seed = number("SEED")?.unwrap_or(SEED);
    let kills = u32::try_from(number("TORTURE_KILLS")?.unwrap_or(u64::from(KILLS)))?;
    println!("SEED={seed} TORTURE_KILLS={kills}");
    let net = Net::seeded(seed).await?;
    let load = Load::prepare(&net, LOAD()).await?;
    let relay = RelayProcess::start(&net, Setup::default()).await?;
    relay.crawl(&net).await?;
    let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let mut sending = Sending::start(load, RATE);
    let mut torture = Torture {
        random: StdRng::seed_from_u64(seed),
        consumer: consumer.reconnecting().patient(PATIENCE),
        seen: Seen::new(net.oracle().checker()),
        pace: Pace::default(),
        relay,
        net,
    };
    torture.run(kills).await?;
    let sent = sending.stop().await?;
    let report = torture.settle().await?;
    let again = torture.net.oracle().redelivered();
    println!("{report}\n{again} events were sent again after a crash");
    ensure!(again > 0, "no host was ever asked again for what it had sent");
    compared(&report.clean()?)?;
    sent.check("the hosts sent", RATE_MIN)?;
    torture.pace.check("the relay took while it was up", RATE_MIN)?;
    let Torture { mut relay, mut seen, .. } = torture;
    replay::over_sockets(&relay, &seen).await?;
    relay.kill()?;
    replay::in_the_log(&relay.data(), &mut seen).await
}

/// The relay under torture and who watches it.
struct Torture {
    random: StdRng,
    net: Net,
    relay: RelayProcess,
    consumer: Consumer,
    seen: Seen,
    pace: Pace,
}

impl Torture {
    async fn run(&mut self, kills: u32) -> Result<()> {
        for kill in 1..=kills {
            let is_long = kill % 4 == 0;
            let events = self.random.random_range(if is_long { LONG } else { SHORT });
            self.follow(events).await?;
            let megabytes = self.relay.resident_bytes()? / 1_000_000;
            // In the middle a clean stop, which writes a checkpoint: later kills replay from there.
            if kill == kills / 2 {
                self.relay.stop().await?;
            } else {
                self.relay.kill()?;
            }
            if kill % 3 == 0 {
                let after = Duration::from_millis(self.random.random_range(START_KILL_MS));
                self.relay.restart_in_vain(after).await?;
            }
            let begin = Instant::now();
            self.relay.restart().await?;
            println!(
                "kill {kill} of {kills} after {events} events at seq {}, {megabytes} MB; up again in {:?}",
                self.consumer.last_seq(),
                begin.elapsed()
            );
        }
        Ok(())
    }

    /// Takes events while the relay runs, and counts what it was given.
    async fn follow(&mut self, events: usize) -> Result<()> {
        let (begin, before) = (Instant::now(), self.net.oracle().delivered());
        for _ in 0..events {
            let event = match self.consumer.next().await {
                Ok(event) => event,
                Err(error) => {
                    return Err(error.context(situation(&self.net, &self.relay).await));
                }
            };
            self.seen.take(&event)?;
        }
        self.pace.events += self.net.oracle().delivered() - before;
        self.pace.time += begin.elapsed();
        Ok(())
    }

    /// Reads on until everything that must come has come.
    async fn settle(&mut self) -> Result<Report> {
        self.relay.reach(&self.net).await?;
        while self.seen.checker.outstanding() > 0 {
            // All that is outstanding lies between here and there, with what may be dropped.
            let at_least = usize::try_from(self.seen.checker.outstanding())?;
            for _ in 0..at_least {
                let event = self.consumer.next().await.context("events are missing at the end")?;
                self.seen.take(&event)?;
            }
        }
        Ok(self.seen.checker.report())
    }
}

/// All four kinds must have been compared, or the run proves nothing of them.
fn compared(report: &Report) -> Result<()> {
    for kind in [Kind::Commit, Kind::Sync, Kind::Identity, Kind::Account] {
        let counts = report.kinds.get(&kind).with_context(|| format!("no {} sent", kind.name()))?;
        ensure!(counts.received > 0, "no {} came out: {counts}", kind.name());
        ensure!(counts.lost + counts.duplicated == 0, "{}: {counts}", kind.name());
    }
    Ok(())
}

/// A number of the environment; an empty one is none.
fn number(name: &str) -> Result<Option<u64>> {
    let Some(text) = env::var_os(name) else { return Ok(None) };
    let text = text.to_string_lossy();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).with_context(|| format!("{name}={text} is not a number"))
}
