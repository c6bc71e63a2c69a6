//! A disk that refuses one operation of the event log, under the whole relay: it waits for room, goes
//! on, or stops before it shows what it is not sure of; the next start has everything that was visible.

use std::sync::Arc;

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use relay::eventlog::LogHealth;
use relay_simnet::{Account, Net, Received};
use rustix::io::Errno;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    faulty::{Fault, FaultyFiles, Op},
    recorded::{after, follow, head, same},
    support::Relay,
};

/// Files of a few posts each.
const SEGMENT_BYTES: u64 = 8_000;
/// Posts in which every planned failure must have come.
const POSTS_MAX: u32 = 60;
/// Failures of the random test.
const ROUNDS: u32 = 24;

/// What a relay does when an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Tries again, and goes on.
    Waits,
    /// Ends with a sentence.
    Stops,
}

/// What fails, and what the relay does then: a full disk may have room again; whatever else happens,
/// nothing is known of what should be on the disk (DESIGN 10.9).
const FAULTS: [(Op, Errno, Then); 11] = [
    (Op::Write, Errno::NOSPC, Then::Waits),
    (Op::Write, Errno::DQUOT, Then::Waits),
    (Op::Create, Errno::NOSPC, Then::Waits),
    (Op::Write, Errno::IO, Then::Stops),
    (Op::Create, Errno::IO, Then::Stops),
    (Op::Rename, Errno::IO, Then::Stops),
    (Op::Sync, Errno::IO, Then::Stops),
    (Op::Sync, Errno::NOSPC, Then::Stops),
    (Op::Sync, Errno::INTR, Then::Stops),
    (Op::SyncNames, Errno::IO, Then::Stops),
    (Op::Rename, Errno::ROFS, Then::Stops),
];

/// * `compression` – of the log, see the settings
async fn relay(net: &Net, files: &FaultyFiles, compression: i32) -> Result<Relay> {
    let files = files.clone();
    Relay::join_with(net, move |config, extras| {
        config.segment_bytes = SEGMENT_BYTES;
        config.log_compression = compression;
        extras.log_files = Some(Arc::new(files.clone()));
    })
    .await
}

/// Posts one at a time until something has failed.
async fn post_until_struck(relay: &Relay, account: &Account, files: &FaultyFiles) -> Result<()> {
    let before = files.struck();
    for number in 0..POSTS_MAX {
        let newest = head(relay);
        account.post(&format!("post {number}")).await?;
        relay
            .until("it is in the log, or something fails", || {
                head(relay) > newest || files.struck() > before
            })
            .await?;
        if files.struck() > before {
            return Ok(());
        }
    }
    anyhow::bail!("nothing has failed in {POSTS_MAX} posts")
}

fn is_well(relay: &Relay) -> bool {
    *relay.running.log.health().borrow() == LogHealth::Writing
}

/// Everything that was visible before is visible now, as it was.
async fn kept(relay: &Relay, before: &[Received]) -> Result<()> {
    let now = after(relay, 0).await?;
    ensure!(now.len() >= before.len(), "{} events of {}", now.len(), before.len());
    same("what was visible", &now[..before.len()], before)
}

/// I1, I4, OUT-5, DESIGN 10.9: each kind of failure at each of the first places where it can come. After
/// a sync that failed the relay stops, the next start recovers, and nothing that was visible is lost.
#[tokio::test]
async fn after_an_operation_that_fails_nothing_visible_is_lost() -> Result<()> {
    let net = Net::seeded(81).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let files = FaultyFiles::default();
    let mut relay = relay(&net, &files, 0).await?;
    for (op, errno, then) in FAULTS {
        for after_so_many in 0..2 {
            relay.settled(&net).await?;
            let before = after(&relay, 0).await?;
            files.fail(Fault { op, errno, after: after_so_many });
            post_until_struck(&relay, &alice, &files).await?;
            if then == Then::Stops {
                let (why, again) = relay.restart_after_failure(async |_| Ok(())).await?;
                ensure!(why.contains("the event log cannot"), "{op:?} {errno}: {why}");
                relay = again;
            }
            alice.post("afterwards").await?;
            relay.settled(&net).await?;
            relay.until("it is well", || is_well(&relay)).await?;
            kept(&relay, &before).await?;
        }
    }
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}

/// I1, I4: failures at random operations, also of compression, of recovery and of a clean stop, one
/// after the other on one log. `SEED=n` repeats a run.
#[tokio::test]
async fn random_failures_of_the_disk_lose_and_repeat_nothing() -> Result<()> {
    const OPS: [Op; 6] = [Op::Create, Op::Write, Op::Sync, Op::Rename, Op::Remove, Op::SyncNames];
    let seed = std::env::var_os("SEED").and_then(|seed| seed.to_str()?.parse().ok()).unwrap_or(82);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let net = Net::seeded(seed).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let files = FaultyFiles::default();
    let mut relay = relay(&net, &files, 1).await?;
    let mut stopped = 0;
    for round in 0..ROUNDS {
        relay.settled(&net).await?;
        let before = after(&relay, 0).await?;
        let fault = Fault {
            op: OPS[random.random_range(0..OPS.len())],
            errno: [Errno::IO, Errno::NOSPC][random.random_range(0..2)],
            after: random.random_range(0..4),
        };
        files.fail(fault);
        let failed = || matches!(*relay.running.log.health().borrow(), LogHealth::Failed(_));
        for number in 0..12 {
            let newest = head(&relay);
            alice.post(&format!("round {round}, post {number}")).await?;
            relay.until("in the log, or failed", || head(&relay) > newest || failed()).await?;
            if failed() {
                break;
            }
        }
        stopped += u32::from(failed());
        // Otherwise it may still come in the last act of a stop, or at the start.
        relay = relay.restart_until_it_runs().await?;
        kept(&relay, &before).await?;
    }
    relay.settled(&net).await?;
    println!("{} failures, {stopped} of them stopped the relay", files.struck());
    ensure!(files.struck() > u64::from(ROUNDS) / 2, "only {} failures came", files.struck());
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}

/// OUT-6: an old file that cannot be removed stays, so do the newer ones, and retention tries again: no
/// hole, no damage.
#[tokio::test]
async fn an_old_file_that_cannot_be_removed_is_removed_later() -> Result<()> {
    const LOG_BYTES_MAX: u64 = 60_000;
    let net = Net::seeded(83).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let files = FaultyFiles::default();
    let on_disk = files.clone();
    let relay = Relay::join_with(&net, move |config, extras| {
        config.segment_bytes = SEGMENT_BYTES;
        config.log_compression = 0;
        config.replay_max_bytes = Some(LOG_BYTES_MAX);
        extras.log_files = Some(Arc::new(on_disk.clone()));
    })
    .await?;
    let (say_end, end) = watch::channel(0);
    let mut reading = JoinSet::new();
    reading.spawn(follow(relay.consume(relay_simnet::Start::After(0)).await?, 0, end));
    files.fail(Fault { op: Op::Remove, errno: Errno::IO, after: 1 });

    let mut number = 0;
    while files.struck() == 0 {
        ensure!(number < 3_000, "retention never came so far");
        for _ in 0..10 {
            number += 1;
            alice.post(&format!("post {number}")).await?;
        }
        relay.settled(&net).await?;
    }

    relay
        .until("the log is within its limit", || relay.running.log.disk_bytes() <= LOG_BYTES_MAX)
        .await?;
    say_end.send(head(&relay))?;
    let all = reading.join_next().await.unwrap()??;
    net.oracle().check(&all).clean()?;
    let relay = relay.restart().await?;
    ensure!(is_well(&relay), "{:?}", *relay.running.log.health().borrow());
    Ok(())
}

/// I1: a system that does reads and writes in parts and interrupts them changes nothing, neither while
/// writing nor at a start nor in a replay.
#[tokio::test]
async fn short_and_interrupted_reads_and_writes_change_nothing() -> Result<()> {
    let net = Net::seeded(84).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let files = FaultyFiles::default();
    files.chop();
    let relay = relay(&net, &files, 1).await?;
    // Many events share one write on a busy machine.
    let mut number = 0;
    while number < 150 || files.chopped() <= 60 {
        ensure!(number < 10_000, "only {} reads and writes were chopped", files.chopped());
        alice.post(&format!("post {number}")).await?;
        number += 1;
    }
    relay.settled(&net).await?;
    let before = after(&relay, 0).await?;
    let relay = relay.restart().await?;
    alice.post("afterwards").await?;
    relay.settled(&net).await?;
    kept(&relay, &before).await?;
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}
