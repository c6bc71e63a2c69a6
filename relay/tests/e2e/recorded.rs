//! What a relay has in its log, taken through the front door, and consumers that are compared with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use relay_simnet::{Consumer, Item, Received, Start};
use tokio::sync::watch;

use crate::support::Relay;

/// The head of the log.
pub(crate) fn head(relay: &Relay) -> u64 {
    relay.running.log.window().head.0
}

/// The seq of an event.
pub(crate) fn seq(event: &Received) -> u64 {
    u64::try_from(event.seq).unwrap()
}

/// Everything after the cursor up to the present head, from a consumer of its own.
pub(crate) async fn after(relay: &Relay, cursor: u64) -> Result<Vec<Received>> {
    let mut consumer = relay.consume(Start::After(cursor)).await?;
    up_to(&mut consumer, cursor, head(relay)).await
}

/// Reads up to the event with this seq.
pub(crate) async fn up_to(consumer: &mut Consumer, from: u64, end: u64) -> Result<Vec<Received>> {
    let mut events = Vec::new();
    while events.last().map_or(from, seq) < end {
        events.push(consumer.next().await?);
    }
    Ok(events)
}

/// Reads until the seq that `end` names has come; 0 = not known yet.
///
/// * `from` – the consumer's cursor, which may be the end already
pub(crate) async fn follow(
    mut consumer: Consumer,
    from: u64,
    mut end: watch::Receiver<u64>,
) -> Result<Vec<Received>> {
    let mut events: Vec<Received> = Vec::new();
    loop {
        let end_now = *end.borrow_and_update();
        if end_now > 0 && events.last().map_or(from, seq) >= end_now {
            return Ok(events);
        }
        tokio::select! {
            event = consumer.next() => events.push(event?),
            changed = end.changed() => changed.context("nobody says where the end is")?,
        }
    }
}

/// The part of a record behind a cursor.
pub(crate) fn rest(recorded: &[Received], cursor: u64) -> &[Received] {
    &recorded[recorded.partition_point(|event| seq(event) <= cursor)..]
}

/// Fails when two streams differ in a seq or a byte.
pub(crate) fn same(what: &str, got: &[Received], expected: &[Received]) -> Result<()> {
    let seqs = |events: &[Received]| events.iter().map(seq).collect::<Vec<_>>();
    ensure!(seqs(got) == seqs(expected), "{what}: {:?} not {:?}", seqs(got), seqs(expected));
    for (got, expected) in got.iter().zip(expected) {
        ensure!(got.frame == expected.frame, "{what}: other bytes at seq {}", expected.seq);
    }
    Ok(())
}

/// The error frame and the close frame that must come next.
pub(crate) async fn closed_with(consumer: &mut Consumer, name: &str) -> Result<()> {
    let item = consumer.next_item().await?;
    ensure!(matches!(&item, Item::Error { error, .. } if error == name), "{item:?}");
    let item = consumer.next_item().await?;
    let is_policy = matches!(&item, Item::Closed { code: Some(1008), reason } if reason == name);
    ensure!(is_policy, "{item:?}");
    Ok(())
}

/// Segments of a log, oldest first, with the seq of their first record.
pub(crate) fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
            found.push((stem.parse()?, path));
        }
    }
    found.sort();
    Ok(found)
}
