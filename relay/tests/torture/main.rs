//! I1–I4: the relay's process is killed at random moments under load; nothing is lost, doubled or
//! renumbered.
//!
//! `TORTURE_KILLS` sets how often (20), `SEED` repeats a run. The load comes from a simulated network
//! in this process, the relay is the built program, and a consumer follows it with its cursor.

mod process;

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use process::RelayProcess;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use relay_simnet::{Checker, Consumer, Load, LoadOptions, Net, Received, Start};

/// Hosts of the simulated network.
const HOSTS: usize = 8;
/// Accounts in all.
const ACCOUNTS: usize = 320;
/// Events per second in all; the issue of a busy minute of the network.
const RATE: u32 = 1_500;
/// The load looks this often whether it is to stop.
const LOAD_SPAN: Duration = Duration::from_millis(250);
/// Kills unless `TORTURE_KILLS` says otherwise.
const KILLS: u32 = 20;
/// Events that the consumer takes between two kills, at least and at most.
const BETWEEN_KILLS: std::ops::Range<u64> = 100..1_200;
/// Longest pause of the stream; a restart takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute or more; `just torture` runs it"]
async fn killed_at_random_moments_the_relay_loses_and_repeats_nothing() -> Result<()> {
    let seed = number("SEED").unwrap_or(20_261_123);
    let kills = u32::try_from(number("TORTURE_KILLS").unwrap_or(u64::from(KILLS)))?;
    println!("SEED={seed} TORTURE_KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    let net = Net::seeded(seed).await?;
    let mut load = Load::prepare(
        &net,
        LoadOptions { hosts: HOSTS, accounts: ACCOUNTS, ..LoadOptions::default() },
    )
    .await?;
    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    let sending = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            load.run(RATE, LOAD_SPAN).await?;
        }
        Ok::<u64, anyhow::Error>(load.sent())
    });
    let mut relay = RelayProcess::start(&net).await?;
    relay.crawl(&net).await?;
    let mut consumer =
        Consumer::connect(&relay.url(), Start::After(0)).await?.reconnecting().patient(PATIENCE);
    let mut seen = Seen { checker: net.oracle().checker(), digests: BTreeMap::new() };

    for kill in 1..=kills {
        for _ in 0..random.random_range(BETWEEN_KILLS) {
            seen.take(&consumer.next().await?);
        }
        relay.kill()?;
        relay.restart().await?;
        println!("kill {kill} of {kills} at seq {}", consumer.last_seq());
    }
    stopping.store(true, Ordering::Relaxed);
    let sent = sending.await??;
    ensure!(sent > 0, "the load sent nothing");
    relay.reach(&net).await?;
    let report = drain(&mut consumer, &mut seen).await?;
    println!("{report}");

    report.clean()?;
    replay_everything(&relay, &seen).await?;
    relay.stop().await
}

/// What the consumer saw: compared with what the hosts sent, and kept by seq.
struct Seen {
    checker: Checker,
    digests: BTreeMap<i64, u128>,
}

impl Seen {
    fn take(&mut self, event: &Received) {
        self.checker.observe(event);
        let before = self.digests.insert(event.seq, event.digest());
        assert!(before.is_none(), "seq {} came twice", event.seq);
    }
}

/// Reads on until everything that must come has come.
async fn drain(consumer: &mut Consumer, seen: &mut Seen) -> Result<relay_simnet::Report> {
    while seen.checker.outstanding() > 0 {
        let event = consumer.next().await.context("events are missing at the end")?;
        seen.take(&event);
    }
    Ok(seen.checker.report())
}

/// CUR-3, OUT-3: after the last restart every cursor gives the rest, byte for byte. All cursors are
/// tried at the log's own tests; here every hundredth and the edges, through the socket.
async fn replay_everything(relay: &RelayProcess, seen: &Seen) -> Result<()> {
    let head = seen.digests.keys().next_back().copied().unwrap_or(0);
    let cursors = (0..head).step_by(usize::try_from(head / 100)?.max(1));
    for cursor in cursors.chain([head - 1]) {
        let mut late =
            Consumer::connect(&relay.url(), Start::After(u64::try_from(cursor)?)).await?;
        // The whole rest from a few places, the beginning of it from all.
        let wanted = if cursor == 0 { usize::MAX } else { 50 };
        for (seq, expected) in seen.digests.range(cursor + 1..).take(wanted) {
            let event = late.next().await?;
            ensure!(event.seq == *seq, "cursor {cursor}: {} instead of {seq}", event.seq);
            ensure!(event.digest() == *expected, "cursor {cursor}: seq {seq} has other bytes");
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
