//! Every cursor gets what the table says, over segments, restarts and retention; a consumer is closed
//! for taking nothing, never for being behind.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use relay::firehose::{FirehoseOptions, Pacing};
use relay_simnet::{Account, Consumer, Item, Net, Received, Start};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    recorded::{after, closed_with, follow, head, rest, same, segments, seq, up_to},
    support::Relay,
};

/// A few events, so that a short log has many edges.
const SEGMENT_BYTES: u64 = 8_000;

/// A relay with small segments and an account at a host.
async fn relay(seed: u64) -> Result<(Net, Relay, Account)> {
    let net = Net::seeded(seed).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_with(&net, |config, _| config.segment_bytes = SEGMENT_BYTES).await?;
    Ok((net, relay, alice))
}

async fn post(account: &Account, count: u32) -> Result<()> {
    for number in 0..count {
        account.post(&format!("post {number}")).await?;
    }
    Ok(())
}

/// Connects, takes what should come at once, and gives the consumer back.
async fn takes(relay: &Relay, query: &str, expected: &[Received]) -> Result<Consumer> {
    let connected = Consumer::connect_query(&relay.url(), query).await?;
    let mut consumer = connected.map_err(|refused| anyhow::anyhow!("{query}: {refused:?}"))?;
    let got = consumer.take(expected.len()).await?;
    same(query, &got, expected)?;
    Ok(consumer)
}

/// Fails unless this one event comes next to all of them: nothing was left out, nothing came twice.
async fn continue_live(consumers: Vec<(String, Consumer)>, live: &Received) -> Result<()> {
    for (query, mut consumer) in consumers {
        let next = consumer.next().await?;
        ensure!(next.frame == live.frame, "{query}: {next:?} instead of {live:?}");
    }
    Ok(())
}

/// T4, CUR-1…4: none, empty, 0, mid and head of a log that has lost nothing, then live.
#[tokio::test]
async fn a_cursor_in_the_window_gets_exactly_the_rest_and_then_live() -> Result<()> {
    let (net, relay, alice) = relay(41).await?;
    post(&alice, 40).await?;
    relay.settled(&net).await?;
    let all = after(&relay, 0).await?;
    let newest = head(&relay);
    ensure!(newest > 40, "{newest}");

    let mut consumers = Vec::new();
    for query in [String::new(), "cursor=".to_owned()] {
        consumers.push((query.clone(), takes(&relay, &query, &[]).await?));
    }
    for cursor in [0, 1, 2, newest / 2, newest - 1, newest] {
        let query = format!("cursor={cursor}");
        let consumer = takes(&relay, &query, rest(&all, cursor)).await?;
        ensure!(consumer.infos().is_empty(), "{query}: {:?}", consumer.infos());
        consumers.push((query, consumer));
    }
    let sent = alice.post("live").await?;

    relay.settled(&net).await?;
    let live = after(&relay, newest).await?;
    ensure!(live.len() == 1 && live[0].rev.as_deref() == Some(&sent.rev), "{live:?}");
    continue_live(consumers, &live[0]).await
}

/// T4, CUR-5, CUR-7: head + 1 gets `FutureCursor`; what is no cursor is refused before the upgrade.
/// The controls: the head itself, and the largest cursor that is one.
#[tokio::test]
async fn a_cursor_ahead_or_none_at_all_is_refused() -> Result<()> {
    let (net, relay, alice) = relay(42).await?;
    post(&alice, 3).await?;
    relay.settled(&net).await?;
    let newest = head(&relay);

    for cursor in [newest + 1, (1 << 53) - 1] {
        let mut ahead = relay.consume(Start::After(cursor)).await?;
        closed_with(&mut ahead, "FutureCursor").await?;
    }
    for value in ["-1", "abc", "1.5", "9007199254740992", "99999999999999999999", "%2B1"] {
        let refused = Consumer::connect_query(&relay.url(), &format!("cursor={value}")).await?;
        let Err(refused) = refused else { anyhow::bail!("cursor={value} was taken") };
        let body: serde_json::Value = serde_json::from_str(&refused.body)?;
        ensure!(refused.status == 400 && body["error"] == "InvalidRequest", "{refused:?}");
        ensure!(body["message"].as_str().is_some_and(|text| text.contains("cursor")), "{body}");
        ensure!(refused.server.contains("(atproto-relay)"), "WS-11: {refused:?}");
    }

    let at_head = takes(&relay, &format!("cursor={newest}"), &[]).await?;
    alice.post("live").await?;
    relay.settled(&net).await?;
    let live = after(&relay, newest).await?;
    continue_live(vec![("head".to_owned(), at_head)], &live[0]).await
}

/// T4, CUR-2, CUR-6, OUT-2: a log that was cut by its limit of bytes says so first to every cursor
/// before its window, gives the whole window, and goes on live.
#[tokio::test]
async fn a_cursor_before_the_window_is_told_and_gets_the_whole_window() -> Result<()> {
    let net = Net::seeded(43).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_with(&net, |config, _| {
        config.segment_bytes = SEGMENT_BYTES;
        config.replay_max_bytes = Some(5 * SEGMENT_BYTES);
    })
    .await?;
    let mut early = relay.consume(Start::After(0)).await?;
    for _ in 0..20 {
        post(&alice, 5).await?;
        // A segment ends between two batches.
        relay.settled(&net).await?;
    }
    let newest = head(&relay);
    let all = up_to(&mut early, 0, newest).await?;
    relay.running.checkpoint().await?;
    relay
        .until("the log is below its limit", || relay.running.log.disk_bytes() <= 5 * SEGMENT_BYTES)
        .await?;
    let oldest = relay.running.log.window().oldest.0;
    ensure!(oldest > 10 && oldest < newest, "{oldest} of {newest}");

    let mut consumers = vec![("early".to_owned(), early)];
    for (cursor, is_outdated) in
        [(0, true), (1, true), (oldest - 2, true), (oldest - 1, false), (oldest, false)]
    {
        let query = format!("cursor={cursor}");
        let mut consumer = relay.consume(Start::After(cursor)).await?;
        if is_outdated {
            let first = consumer.next_item().await?;
            let is_info = matches!(&first, Item::Info { name, .. } if name == "OutdatedCursor");
            ensure!(is_info, "{query}: {first:?}");
        }
        let expected = rest(&all, cursor.max(oldest - 1));
        same(&query, &consumer.take(expected.len()).await?, expected)?;
        ensure!(consumer.infos().len() == usize::from(is_outdated), "{query}: once or never");
        consumers.push((query, consumer));
    }
    alice.post("live").await?;
    relay.settled(&net).await?;
    let live = after(&relay, newest).await?;
    continue_live(consumers, &live[0]).await
}

/// T5, CUR-11, OUT-3: consumers join at the edge of every segment, and one beside it on both sides,
/// while events go on; each gets what an early consumer got from there on. The same edges again
/// after a restart inside a segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_joiners_at_every_segment_edge_get_the_rest_while_events_go_on() -> Result<()> {
    let (net, relay, alice) = relay(44).await?;
    let bob = net.pds("alpha").await?.account("bob").await?;
    let dir = log_dir(&relay);
    let (say_end, end) = watch::channel(0);
    let mut early = JoinSet::new();
    early.spawn(follow(relay.consume(Start::After(0)).await?, 0, end.clone()));
    let mut joiners = JoinSet::new();
    let mut joined = std::collections::BTreeSet::new();

    for round in 0..30 {
        tokio::try_join!(post(&alice, 3), post(&bob, 3))?;
        relay
            .until("something of the round is there", || head(&relay) > 6 * (round + 1) - 3)
            .await?;
        let newest = head(&relay);
        for cursor in edges(&dir)?.into_iter().filter(|cursor| *cursor <= newest) {
            if joined.insert(cursor) {
                let consumer = relay.consume(Start::After(cursor)).await?;
                joiners.spawn(join_at(cursor, consumer, end.clone()));
            }
        }
    }
    relay.settled(&net).await?;
    say_end.send(head(&relay))?;

    let all = early.join_next().await.context("the early consumer")???;
    ensure!(joined.len() > 30, "the log needs edges: {joined:?}");
    while let Some(joiner) = joiners.join_next().await {
        let (cursor, got) = joiner?;
        same(&format!("joined after {cursor}"), &got?, rest(&all, cursor))?;
    }
    net.oracle().check(&all).clean()?;

    let relay = relay.restart().await?;
    for cursor in joined {
        same(&format!("restarted, {cursor}"), &after(&relay, cursor).await?, rest(&all, cursor))?;
    }
    Ok(())
}

async fn join_at(
    cursor: u64,
    consumer: Consumer,
    end: watch::Receiver<u64>,
) -> (u64, Result<Vec<Received>>) {
    (cursor, follow(consumer, cursor, end).await)
}

/// The last seq before each segment, and one beside it on both sides.
fn edges(dir: &Path) -> Result<Vec<u64>> {
    let bases = segments(dir)?.into_iter().map(|(base, _)| base);
    Ok(bases.flat_map(|base| [base.saturating_sub(2), base - 1, base]).collect())
}

/// The directory of the log, as the tests' settings have it.
fn log_dir(relay: &Relay) -> PathBuf {
    relay.data_dir().join("persist")
}

/// Longest that a consumer may take nothing in these tests, instead of a minute.
const STALL: Duration = Duration::from_secs(3);

/// One megabyte in one event: a few of them are more than all buffers between relay and consumer hold.
async fn post_large(account: &Account) -> Result<()> {
    account.post(&"x".repeat(900_000)).await?;
    Ok(())
}

async fn impatient_relay(net: &Net) -> Result<Relay> {
    Relay::join_with(net, |config, extras| {
        config.segment_bytes = 4 << 20;
        let farewell_max = Duration::from_mins(1);
        let pacing = Pacing { stall_within: STALL, farewell_max, ..Pacing::default() };
        extras.firehose = FirehoseOptions { pacing, ..FirehoseOptions::default() };
    })
    .await
}

/// T7, WS-8, DESIGN 10.12: a consumer that stays far behind for many times the limit is not dropped
/// while it takes bytes, and gets everything in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_far_behind_is_kept_while_it_takes_bytes() -> Result<()> {
    let net = Net::seeded(45).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = impatient_relay(&net).await?;
    let mut behind = relay.consume(Start::After(0)).await?;
    // More than 16 MB behind: more than sockets hold.
    for _ in 0..20 {
        post_large(&alice).await?;
    }
    relay.settled(&net).await?;

    let mut got = Vec::new();
    let started = Instant::now();
    while started.elapsed() < 3 * STALL {
        // As fast as new ones come, so that it never catches up.
        let newest = head(&relay);
        post_large(&alice).await?;
        relay.until("it is in the log", || head(&relay) > newest).await?;
        got.push(behind.next().await?);
        let lag = head(&relay) - got.last().map_or(0, seq);
        ensure!(lag > 10, "it caught up");
    }
    relay.settled(&net).await?;
    let from = got.last().map_or(0, seq);
    got.extend(up_to(&mut behind, from, head(&relay)).await?);

    same("the one behind", &got, &after(&relay, 0).await?)?;
    Ok(())
}

/// T7, WS-5, WS-8, DESIGN 10.12: a consumer that takes nothing while data waits is told
/// `ConsumerTooSlow` after what it had been sent, without a gap, and closed with 1008. One beside it
/// that reads is served on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_takes_nothing_is_told_that_it_is_too_slow() -> Result<()> {
    let net = Net::seeded(46).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = impatient_relay(&net).await?;
    let (say_end, end) = watch::channel(0);
    let mut reading = JoinSet::new();
    reading.spawn(follow(relay.consume(Start::After(0)).await?, 0, end));
    let mut stalled = relay.consume(Start::After(0)).await?;

    for _ in 0..20 {
        post_large(&alice).await?;
    }
    // It takes nothing for so long: what the test is about, not a wait for something.
    tokio::time::sleep(4 * STALL).await;

    let mut got = Vec::new();
    let told = loop {
        match stalled.next_item().await? {
            Item::Event(event) => got.push(event),
            other => break other,
        }
    };
    ensure!(matches!(&told, Item::Error { error, .. } if error == "ConsumerTooSlow"), "{told:?}");
    let end = stalled.next_item().await?;
    ensure!(matches!(&end, Item::Closed { code: Some(1008), .. }), "{end:?}");
    relay.settled(&net).await?;
    say_end.send(head(&relay))?;
    let all = reading.join_next().await.context("the reading consumer")???;
    same("before it was closed", &got, &all[..got.len()])?;
    ensure!(got.len() < all.len(), "it was to be behind");
    Ok(())
}
