//! A clock that somebody sets while the relay runs, or while it does not.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use relay::{clock::Clock, domain::DropReason};
use relay_simnet::{AccountOptions, Answer, Fault, Load, LoadOptions, Net, clock::START_MICROS};

use crate::{recorded::head, support::Relay, watch::advance};

const HOUR_US: i64 = 3_600_000_000;

/// A clock that agrees with those of the simulated hosts, which begin there.
fn right_clock() -> Clock {
    Clock::manual(START_MICROS + 60_000_000)
}

fn load() -> LoadOptions {
    LoadOptions {
        hosts: 3,
        accounts: 40,
        records: 5,
        announcements_per_mille: 20,
        faults_per_mille: 30,
        // Some come from the year of the machine, which is the future here.
        faults: &[Fault::FutureRev, Fault::HighS, Fault::StaleRev],
        ..LoadOptions::default()
    }
}

/// The log by number: times never fall, numbers follow each other.
async fn ordered(relay: &Relay) -> Result<()> {
    let mut place = relay.running.log.after(relay::domain::Seq(0));
    let (mut seq, mut time_us) = (0, 0);
    while seq < head(relay) {
        for event in place.read(1 << 20).await? {
            ensure!(event.seq.0 == seq + 1, "seq {} after {seq}", event.seq);
            ensure!(event.time_us >= time_us, "seq {seq} is older than the one before it");
            (seq, time_us) = (event.seq.0, event.time_us);
        }
    }
    Ok(())
}

/// VAL-8, RES-6, I4: an hour back and an hour forward, again and again, under traffic: what is right is
/// not taken for the future, what is from the future still is, no limit and no wait lasts longer or
/// shorter, and the log stays in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_and_forward_loses_nothing_and_delays_nothing() -> Result<()> {
    let (net, clock) = (Net::seeded(421).await?, right_clock());
    let mut load = Load::prepare(&net, load()).await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    load.send(150).await?;
    relay.settled(&net).await?;

    for by_us in [-HOUR_US, HOUR_US, HOUR_US, -HOUR_US, -HOUR_US] {
        // One account waits for its identity across the jump.
        let name = format!("waits-{}", head(&relay));
        net.plc().answer_all(Some(Answer::Status(503)));
        let alpha = &load.hosts()[0];
        let silent = AccountOptions { announced: false, ..AccountOptions::default() };
        let waiting = alpha.account_with(&name, silent).await?;
        waiting.post("before the jump").await?;
        relay.until("it waits", || relay.running.ingest.depth() > 0).await?;
        clock.jump_us(by_us);
        load.send(150).await?;
        waiting.post("after the jump").await?;
        net.plc().answer_all(None);
        relay.settled_in_time(&net, &clock).await?;
        ensure!(relay.drops(&waiting).is_empty(), "{:?}", relay.drops(&waiting));
    }

    let report = relay.proved(&net, &mut watch).await?;
    ensure!(report.matched > 700, "{report}");
    ensure!(relay.dropped_total(DropReason::FutureRev) > 0, "control: the future is still dropped");
    ordered(&relay).await
}

/// OUT-1: an hour forward takes nothing of a window of three; what is older than the window goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_forward_does_not_wipe_a_longer_window() -> Result<()> {
    let (net, clock) = (Net::seeded(422).await?, right_clock());
    let mut load = Load::prepare(&net, load()).await?;
    let handle = clock.clone();
    let relay = Relay::join_with(&net, move |config, extras| {
        extras.clock = handle.clone();
        config.segment_bytes = 64 << 10;
        config.replay_window = Duration::from_hours(3);
    })
    .await?;
    let mut watch = relay.watch().await?;
    load.send(300).await?;
    relay.settled(&net).await?;

    clock.jump_us(HOUR_US);
    load.send(100).await?;
    relay.settled(&net).await?;
    relay.running.checkpoint().await?;
    // The files are looked at about once a second; old ones are sealed and begun anew then.
    relay.proved(&net, &mut watch).await?;
    let before = head(&relay);
    advance(&clock, 1_800);
    load.send(100).await?;
    relay.settled(&net).await?;
    ensure!(relay.running.log.window().oldest.0 == 1, "{:?}", relay.running.log.window());

    clock.jump_us(3 * HOUR_US);
    load.send(100).await?;
    relay.settled(&net).await?;
    relay.running.checkpoint().await?;
    let moved = || relay.running.log.window().oldest.0 >= before;
    relay.until("control: what is too old goes", moved).await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// VAL-8, I4: a clock that was set back while the relay was down, as before the first answer of a time
/// server: the log holds later times than the clock. Nothing right is taken for the future, seq and
/// times go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_across_a_restart_loses_nothing() -> Result<()> {
    let net = Net::seeded(423).await?;
    let mut load = Load::prepare(&net, load()).await?;
    let early = Clock::manual(START_MICROS + 60_000_000 - 3_600_000_000);
    let clocks = Arc::new(Mutex::new(VecDeque::from([right_clock(), early])));
    let relay = Relay::join_with(&net, move |_, extras| {
        extras.clock = clocks.lock().pop_front().unwrap();
    })
    .await?;
    load.send(200).await?;
    relay.settled(&net).await?;
    let before = head(&relay);

    let relay = relay.restart().await?;
    for host in net.hosts() {
        host.connected().await?;
    }
    load.send(200).await?;
    relay.settled(&net).await.with_context(|| format!("{:?}", relay.running.drops.totals()))?;

    let mut watch = relay.watch().await?;
    watch.take(usize::try_from(head(&relay))?).await?;
    let report = net.oracle().check(&watch.seen).clean()?;
    ensure!(report.matched > 300 && head(&relay) > before, "{report}");
    ordered(&relay).await
}
