//! Every cursor while events come, segments are sealed, and old ones go (CUR-11).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::support::{Log, assert_events, entry, is_same, options, segments};
use crate::domain::Seq;
use crate::eventlog::{Event, LogOptions, ReadError, Reader, files::sim::Disk};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Events that are written in all.
const EVENTS: u64 = 900;

/// About six segments, so that most of what was written is gone at the end.
fn small() -> LogOptions {
    LogOptions { bytes_max: Some(24_000), ..options() }
}

/// What one reader got.
struct Replay {
    events: Vec<Event>,
    overtaken: bool,
}

async fn replay(reader: &Reader, cursor: u64) -> Result<Replay> {
    let mut position = reader.after(Seq(cursor));
    let mut events = Vec::new();
    loop {
        match position.read(1_500).await {
            Ok(some) if some.is_empty() => return Ok(Replay { events, overtaken: false }),
            Ok(some) => events.extend(some),
            Err(ReadError::Overtaken) => return Ok(Replay { events, overtaken: true }),
            Err(error) => return Err(error.into()),
        }
        // Others get their turn, so that retention overtakes some.
        tokio::task::yield_now().await;
    }
}

/// Waits until retention, which runs between two batches, has done its work.
async fn pruned(reader: &Reader) {
    let pruning = async {
        while reader.disk_bytes() > reader.bytes_max() {
            tokio::task::yield_now().await;
        }
    };
    let pruned = tokio::time::timeout(Duration::from_secs(20), pruning).await;
    assert!(pruned.is_ok(), "retention does not come");
}

/// Asserts that the events follow the cursor without a gap and are the right ones.
fn assert_follows(cursor: u64, events: &[Event]) {
    for (seq, event) in (cursor + 1..).zip(events) {
        assert_eq!(event.seq, Seq(seq), "a gap after cursor {cursor}");
        assert!(is_same(event, &entry(seq - 1)), "{event:?}");
    }
}

/// CUR-3, CUR-6, CUR-11, OUT-6: whatever is appended, sealed or removed meanwhile, each cursor gets
/// the rest without a gap, or is told that what it asks for is gone, and then it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cursor_gets_the_rest_or_is_told_while_retention_runs() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, small())?;
    let is_done = Arc::new(AtomicBool::new(false));
    let (appender, reader) = (log.appender.clone(), log.reader.clone());
    let done = Arc::clone(&is_done);
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move {
        for number in (0..EVENTS).step_by(3) {
            let entries = (number..number + 3).map(entry).collect();
            appender.append(entries).await.unwrap();
            let head = appender.barrier().await.unwrap();
            appender.set_checkpoint(head);
            if number % 30 == 0 {
                pruned(&reader).await;
            }
        }
        done.store(true, Ordering::Release);
    });

    let (mut whole, mut told, mut cut_short) = (0, 0, 0);
    while !is_done.load(Ordering::Acquire) {
        let before = log.reader.window();
        // All that is there, two that are gone, and one ahead.
        for cursor in before.oldest.0.saturating_sub(3)..=before.head.0 {
            let got = replay(&log.reader, cursor).await?;
            assert_follows(cursor, &got.events);
            let next = cursor + 1 + got.events.len() as u64;
            if got.overtaken {
                assert!(log.reader.window().oldest.0 > next, "told, but {next} is there");
                told += 1;
                cut_short += u32::from(!got.events.is_empty());
            } else {
                assert!(next > before.head.0, "cursor {cursor} stopped at {next}");
                whole += 1;
            }
        }
    }
    writing.join_all().await;
    println!("{whole} replays were whole, {told} were told, {cut_short} of them on the way");
    assert!(whole > 100 && told > 10, "the test needs both: {whole}, {told}");
    Ok(())
}

/// CUR-11: the same after a restart, over all cursors from 0 to the head: exactly the rest for each
/// in the window, and the truth for each before it.
#[tokio::test]
async fn every_cursor_from_0_to_the_head_is_right_after_a_restart_with_retention() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, small())?;
    for number in (0..EVENTS).step_by(3) {
        log.append(number..number + 3).await?;
        log.appender.set_checkpoint(Seq(number + 3));
    }
    log.until("below the limit", |reader| reader.disk_bytes() <= 24_000).await;
    disk.restart();

    let log = Log::open(&disk, small())?;

    let window = log.reader.window();
    assert_eq!(window.head, Seq(EVENTS));
    assert!(window.oldest.0 > EVENTS / 2 && segments(&disk).len() > 3, "{window:?}");
    for cursor in 0..=EVENTS {
        let got = replay(&log.reader, cursor).await?;
        if cursor + 1 < window.oldest.0 {
            assert!(got.overtaken && got.events.is_empty(), "cursor {cursor}");
        } else {
            assert!(!got.overtaken);
            assert_events(&got.events, cursor + 1, EVENTS);
        }
    }
    Ok(())
}
