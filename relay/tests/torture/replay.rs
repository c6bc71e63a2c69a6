//! CUR-3, OUT-3, T5: after the last kill every cursor gives exactly the rest, byte for byte.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use relay::{
    clock::Clock,
    domain::Seq,
    eventlog::{self, LogOptions, Reader},
    store::Store,
};
use relay_simnet::{Consumer, Received, Start};
use tokio::time::Instant;

use crate::{process::RelayProcess, seen::Seen};

/// Cursors that are tried over sockets, evenly spread.
const SOCKETS: usize = 300;
/// Events that each of them reads.
const FIRST: usize = 50;
/// One in so many reads to the end.
const WHOLE_EVERY: usize = 50;
/// Bytes that each cursor reads of the log; about eight events.
const FIRST_BYTES: usize = 32 << 10;
/// Cursors that read the log to the end.
const WHOLE: u64 = 10;

/// As consumers: some hundred cursors, one connection after the other.
pub(crate) async fn over_sockets(relay: &RelayProcess, seen: &Seen) -> Result<()> {
    let begin = Instant::now();
    let head = seen.head();
    let step = usize::try_from(head)? / SOCKETS + 1;
    let mut tried = 0;
    for cursor in (0..head).step_by(step).chain([head - 1]) {
        let mut late = Consumer::connect(&relay.url(), Start::After(cursor)).await?;
        let is_whole = tried % WHOLE_EVERY == 0;
        let mut rest = seen.after(cursor);
        let mut left = if is_whole { usize::MAX } else { FIRST };
        while left > 0 && !rest.is_over() {
            let event = late.next().await.with_context(|| format!("cursor {cursor}"))?;
            rest.check(u64::try_from(event.seq)?, &event.frame)?;
            left -= 1;
        }
        tried += 1;
    }
    println!("{tried} cursors replayed over sockets in {:?}", begin.elapsed());
    Ok(())
}

/// As a consumer with the oldest cursor there is, through all that a small log still holds.
pub(crate) async fn window(relay: &RelayProcess, seen: &Mutex<Seen>) -> Result<()> {
    let begin = Instant::now();
    let mut late = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let first = late.next().await?;
    let (oldest, head) = (u64::try_from(first.seq)?, seen.lock().head());
    let mut event = first;
    loop {
        let seq = u64::try_from(event.seq)?;
        seen.lock().after(seq - 1).check(seq, &event.frame)?;
        if seq == head {
            break;
        }
        event = late.next().await.with_context(|| format!("after {seq} of {head}"))?;
    }
    println!("{oldest} to {head} replayed in {:?}", begin.elapsed());
    Ok(())
}

/// In the log that the killed relay left: every cursor there is. What came after all that had to come, such as
/// an announcement that waited for the directory, is compared with what was sent like everything before.
pub(crate) async fn in_the_log(data: &Path, seen: &mut Seen) -> Result<()> {
    let begin = Instant::now();
    let url = format!("sqlite://{}", data.join("relay.sqlite").display());
    let store = Store::open(&url, 1).await?;
    let options = LogOptions {
        dir: data.join("persist"),
        instance_id: store.instance_id().await?,
        replay_window: Duration::from_hours(72),
        bytes_max: None,
        initial_seq: Seq(1),
        known_seq: Seq(0),
        segment_bytes: 256 << 20,
        sync_interval: Duration::from_millis(4),
        recent_bytes: 1 << 20,
        compression: 1,
    };
    let (appender, reader) = eventlog::open(options, Clock::system(), Box::new(|_durable| ()))?;
    let head = reader.window().head.0;
    let before = seen.head();
    ensure!(head >= before, "the log ends at {head}, the consumer saw {before}");
    let mut rest = reader.after(Seq(before));
    while seen.head() < head {
        for event in rest.read(FIRST_BYTES).await? {
            seen.take(&Received::in_frame(event.frame.clone())?)?;
        }
    }
    seen.checker.report().clean()?;
    for cursor in 0..head {
        let is_whole = cursor % (head / WHOLE + 1) == 0;
        replay(&reader, seen, cursor, is_whole).await?;
    }
    println!("{head} cursors replayed from the log in {:?}", begin.elapsed());
    appender.close().await;
    Ok(())
}

async fn replay(reader: &Reader, seen: &Seen, cursor: u64, is_whole: bool) -> Result<()> {
    let mut position = reader.after(Seq(cursor));
    let mut rest = seen.after(cursor);
    loop {
        let events = position.read(FIRST_BYTES).await?;
        ensure!(!events.is_empty(), "cursor {cursor}: nothing follows");
        for event in events {
            rest.check(event.seq.0, &event.frame)?;
        }
        if rest.is_over() || !is_whole {
            return Ok(());
        }
    }
}
