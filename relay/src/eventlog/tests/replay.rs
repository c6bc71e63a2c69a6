//! Every cursor replays exactly the rest, whatever lies between.

use std::{sync::Arc, time::Duration};

use super::support::{Log, assert_events, entry, options, read_to_head, segments, tuning};
use crate::domain::Seq;
use crate::eventlog::{
    LogError, LogOptions, ReadError, ReplayWindow, Tuning,
    files::{Machine, sim::Disk},
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn window(oldest: u64, head: u64) -> ReplayWindow {
    ReplayWindow { oldest: Seq(oldest), head: Seq(head) }
}

/// CUR-9: an empty log stands before its first seq.
#[tokio::test]
async fn an_empty_log_has_its_head_before_the_first_seq() -> Result {
    for initial in [0, 1, 1_000] {
        let disk = Disk::new();
        let with_initial = || LogOptions { initial_seq: Seq(initial), ..options() };
        let log = Log::open(&disk, with_initial())?;

        assert_eq!(log.reader.window(), window(initial.max(1), initial.max(1) - 1));
        assert_eq!(log.all_after(0).await?.len(), 0);

        log.appender.close().await;
        let log = Log::open(&disk, with_initial())?;
        assert_eq!(log.reader.window(), window(initial.max(1), initial.max(1) - 1));
        log.append(0..1).await?;
        assert_eq!(log.reader.window(), window(initial.max(1), initial.max(1)));
    }
    Ok(())
}

/// I1, OUT-1: what was appended is read byte for byte, and `on_durable` was told the same.
#[tokio::test]
async fn appended_events_are_read_back_in_order() -> Result {
    let log = Log::open(&Disk::new(), options())?;

    log.append(0..100).await?;

    assert_events(&log.all_after(0).await?, 1, 100);
    let durable = log.durable.lock().clone();
    assert_eq!(
        durable.iter().map(|event| event.seq.0).collect::<Vec<_>>(),
        (1..=100).collect::<Vec<_>>()
    );
    for told in durable {
        let entry = entry(told.seq.0 - 1);
        assert_eq!((told.kind, told.account, told.host), (entry.kind, entry.account, entry.host));
        assert_eq!((told.epoch, told.host_seq), (entry.epoch, entry.host_seq));
        let frame_bytes = u32::try_from(entry.frame.with_seq(told.seq.0).len())?;
        assert_eq!(told.frame_bytes, frame_bytes);
    }
    Ok(())
}

/// CUR-3, CUR-11: every cursor, so also each edge of a segment and one beside it, replays exactly
/// the rest: before a restart, after it (inside a segment), and with every size of reading.
#[tokio::test]
async fn every_cursor_replays_exactly_the_rest_also_after_restarts() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..60).await?;
    assert!(segments(&disk).len() > 3, "the test needs edges");
    for cursor in 0..=60 {
        assert_events(&log.all_after(cursor).await?, cursor + 1, 60);
    }
    log.appender.close().await;

    let log = Log::open(&disk, options())?;
    assert_eq!(log.reader.window(), window(1, 60));
    log.append(60..75).await?;
    for bytes_max in [1, 700, 1 << 20] {
        for cursor in 0..=75 {
            let mut position = log.reader.after(Seq(cursor));
            assert_events(&read_to_head(&mut position, bytes_max).await?, cursor + 1, 75);
            assert_eq!(position.seq(), Seq(75));
        }
    }
    Ok(())
}

/// CUR-11, I4: the same when the process just ended, without closing.
#[tokio::test]
async fn every_cursor_replays_after_the_process_was_killed() -> Result {
    let disk = Disk::new();
    for life in 0..4 {
        let log = Log::open(&disk, options())?;
        assert_eq!(log.reader.window(), window(1, life * 25));
        log.append(life * 25..(life + 1) * 25).await?;
        for cursor in 0..=log.reader.window().head.0 {
            assert_events(&log.all_after(cursor).await?, cursor + 1, (life + 1) * 25);
        }
        // Its files do nothing from here on, so that it cannot tidy up behind itself.
        disk.restart();
    }
    Ok(())
}

/// CUR-4: at the head there is nothing, and `ready` returns with the next event.
#[tokio::test]
async fn a_reader_at_the_head_waits_for_the_next_event() -> Result {
    let log = Log::open(&Disk::new(), options())?;
    log.append(0..5).await?;
    let mut position = log.reader.after(Seq(5));
    assert!(position.read(1_000).await?.is_empty());
    let waiting = tokio::time::timeout(Duration::from_millis(20), position.ready()).await;
    assert!(waiting.is_err(), "nothing was there");

    log.append(5..6).await?;

    position.ready().await;
    assert_events(&position.read(1_000).await?, 6, 6);
    Ok(())
}

/// WS-8: many readers follow a writer at their own pace and each gets everything once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_follow_the_writer() -> Result {
    let log = Log::open(&Disk::new(), options())?;
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let mut position = log.reader.after(Seq(0));
        readers.spawn(async move {
            let mut all = Vec::new();
            while all.len() < 150 {
                position.ready().await;
                all.extend(position.read(200 + number * 50).await.unwrap());
            }
            all
        });
    }

    log.append(0..150).await?;

    for events in readers.join_all().await {
        assert_events(&events, 1, 150);
    }
    Ok(())
}

/// CUR-9, DESIGN 10.18: the floor moves the seq up, never down, and no reader stops at the jump.
#[tokio::test]
async fn the_floor_raises_the_next_seq_and_readers_pass_the_jump() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..10).await?;
    let before: Vec<_> = log.all_after(0).await?;
    log.appender.close().await;

    for _ in 0..2 {
        let log = Log::open(&disk, LogOptions { initial_seq: Seq(5_000), ..options() })?;
        assert_eq!(log.reader.window(), window(1, 4_999));
        let mut position = log.reader.after(Seq(0));
        let old = read_to_head(&mut position, 1_500).await?;
        assert_eq!((old.len(), position.seq()), (before.len(), Seq(4_999)));
        log.appender.close().await;
    }
    let log = Log::open(&disk, LogOptions { initial_seq: Seq(3), ..options() })?;
    assert_eq!(log.reader.window(), window(1, 4_999));
    log.append(0..2).await?;

    for (cursor, expected) in [(0, 12), (9, 3), (10, 2), (300, 2), (4_999, 2), (5_000, 1)] {
        let events = log.all_after(cursor).await?;
        assert_eq!(events.len(), expected, "after {cursor}");
        assert_eq!(events.last().unwrap().seq, Seq(5_001));
    }
    Ok(())
}

/// CUR-9, I4: a log that is gone, or ends before what the database remembers, never gives a seq
/// again; who asks for what is lost is told (CUR-6).
#[tokio::test]
async fn a_log_that_lost_its_end_jumps_above_all_that_was_seen() -> Result {
    let knowing = |known| LogOptions { known_seq: Seq(known), ..options() };
    for is_gone in [true, false] {
        let disk = Disk::new();
        if !is_gone {
            let log = Log::open(&disk, knowing(0))?;
            log.append(0..40).await?;
            log.appender.close().await;
        }

        let log = Log::open(&disk, knowing(500))?;

        let next = 1_000_000_500;
        assert_eq!(log.reader.window(), window(next, next - 1));
        assert!(log.reader.has_lost());
        for cursor in [1, 39, 40, 41, 499] {
            let read = log.all_after(cursor).await;
            assert!(read.is_err() || read?.is_empty(), "after {cursor}");
        }
        log.append(0..3).await?;
        assert!(matches!(log.all_after(41).await, Err(ReadError::Overtaken)));
        assert_eq!(log.all_after(next - 1).await?.len(), 3);
        log.appender.close().await;

        // Later starts know a seq of the log itself: nothing jumps, and the loss stays known.
        let log = Log::open(&disk, knowing(next + 1))?;
        assert_eq!(log.reader.window(), window(next, next + 2));
        assert!(matches!(log.all_after(41).await, Err(ReadError::Overtaken)));
        assert_eq!(log.all_after(next - 1).await?.len(), 3);
    }
    let disk = Disk::new();
    let log = Log::open(&disk, knowing(0))?;
    log.append(0..40).await?;
    log.appender.close().await;
    let log = Log::open(&disk, knowing(40))?;
    assert_eq!(log.reader.window(), window(1, 40), "control: what is there is no loss");
    Ok(())
}

/// CUR-9: the seq stays below 2^53; the log stops instead of passing it.
#[tokio::test]
async fn the_last_seq_is_the_largest_a_consumer_can_hold() -> Result {
    let disk = Disk::new();
    let almost = LogOptions { initial_seq: Seq(Seq::MAX.0 - 1), ..options() };
    let log = Log::open(&disk, almost.clone())?;
    log.append(0..2).await?;
    assert_eq!(log.reader.window().head, Seq::MAX);

    let refused = log.append(2..3).await;

    assert!(matches!(refused, Err(LogError::Fatal(why)) if why.contains("9007199254740991")));
    assert_eq!(log.reader.window().head, Seq::MAX);
    let beyond = Log::open(&disk, LogOptions { initial_seq: Seq(Seq::MAX.0 + 1), ..options() });
    assert!(beyond.is_err());
    Ok(())
}

/// OUT-2: a time finds the first event at or after it, in memory or files, across segments.
#[tokio::test]
async fn a_time_finds_the_first_event_at_or_after_it() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    let start = log.clock.now_us();
    assert_eq!(log.reader.seq_at(0), Seq(1));
    for number in 0..50 {
        log.append(number..number + 1).await?;
        log.clock.advance_us(10);
    }

    for number in 0..50 {
        assert_eq!(log.reader.seq_at(start + number * 10), Seq(number + 1));
        assert_eq!(log.reader.seq_at(start + number * 10 + 1), Seq(number + 2));
    }
    assert_eq!(log.reader.seq_at(0), Seq(1));
    assert_eq!(log.reader.seq_at(u64::MAX), Seq(51));
    log.appender.close().await;
    let log = Log::open(&disk, options())?;
    assert_eq!(log.reader.seq_at(start + 333), Seq(35));
    Ok(())
}

/// DESIGN 10.18: a log of another database is refused in a sentence that names both.
#[tokio::test]
async fn a_log_of_another_instance_is_refused() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..3).await?;
    log.appender.close().await;

    let foreign = Log::open(&disk, LogOptions { instance_id: "there".to_owned(), ..options() });

    let why = foreign.unwrap_err().to_string();
    assert!(why.contains("instance here") && why.contains("instance there"), "{why}");
    assert_events(&Log::open(&disk, options())?.all_after(0).await?, 1, 3);
    Ok(())
}

/// I5: no more than the queue's bytes are on their way, and a call larger than that gets through.
#[tokio::test]
async fn a_call_larger_than_the_queue_gets_through() -> Result {
    let small = Tuning { queue_bytes: 8_000, ..tuning() };
    let log = Log::open_with(Arc::new(Disk::new()), options(), small)?;

    log.appender.append((0..200).map(entry).collect()).await?;

    assert_eq!(log.appender.barrier().await?, Seq(200));
    assert_events(&log.all_after(0).await?, 1, 200);
    Ok(())
}

/// I6: an event that no record can hold is refused; the log goes on.
#[tokio::test]
async fn an_event_that_does_not_fit_a_record_is_refused() -> Result {
    let log = Log::open(&Disk::new(), options())?;
    let mut long_note = entry(0);
    long_note.note = vec![0; 256].into();
    assert!(log.appender.append(vec![entry(1), long_note]).await.is_err());
    let mut longest = entry(0);
    longest.note = vec![7; 255].into();

    log.appender.append(vec![longest]).await?;

    assert_eq!(log.appender.barrier().await?, Seq(1));
    assert_eq!(log.all_after(0).await?[0].note, vec![7; 255]);
    Ok(())
}

/// OUT-7: closing writes everything on its way; afterwards nothing is taken.
#[tokio::test]
async fn closing_writes_what_is_on_its_way() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.appender.append((0..20).map(entry).collect()).await?;

    log.appender.close().await;

    assert_eq!(log.reader.window().head, Seq(20));
    assert!(matches!(log.append(20..21).await, Err(LogError::Closed)));
    assert_eq!(log.appender.barrier().await?, Seq(20));
    assert_events(&log.all_after(0).await?, 1, 20);
    Ok(())
}

/// The same log on the machine's own files.
#[tokio::test]
async fn the_log_works_on_real_files() -> Result {
    let temporary = tempfile::tempdir()?;
    let dir = temporary.path().join("a/b");
    let on_disk = || LogOptions { dir: dir.clone(), bytes_max: None, ..options() };
    let log = Log::open_with(Arc::new(Machine), on_disk(), tuning())?;
    log.append(0..60).await?;
    assert_events(&log.all_after(0).await?, 1, 60);
    let found: u64 =
        std::fs::read_dir(&dir)?.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    log.until("bytes on disk", |reader| reader.disk_bytes() == found).await;
    assert!(log.reader.bytes_max() > found);
    log.appender.close().await;

    let log = Log::open_with(Arc::new(Machine), on_disk(), tuning())?;
    log.append(60..61).await?;
    for cursor in 0..=61 {
        assert_events(&log.all_after(cursor).await?, cursor + 1, 61);
    }
    Ok(())
}

/// A directory that cannot be used is one clear sentence.
#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() -> Result {
    let temporary = tempfile::tempdir()?;
    let file = temporary.path().join("file");
    std::fs::write(&file, "not a directory")?;
    for dir in [file.clone(), file.join("below")] {
        let refused = Log::open_with(Arc::new(Machine), LogOptions { dir, ..options() }, tuning());
        let why = refused.unwrap_err().to_string();
        assert!(why.contains("cannot") && why.contains(&*file.to_string_lossy()), "{why}");
    }
    Ok(())
}

/// OUT-6, CUR-11: retention under a reader says so; it never skips events silently.
#[tokio::test]
async fn a_reader_that_retention_overtakes_is_told() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, LogOptions { bytes_max: Some(9_000), ..options() })?;
    log.append(0..30).await?;
    let mut behind = log.reader.after(Seq(0));
    let first = behind.read(1).await?;
    assert_events(&first, 1, 1);

    log.append(30..100).await?;
    log.appender.set_checkpoint(Seq(100));

    log.until("retention", |reader| reader.window().oldest > Seq(1)).await;
    let rest = read_to_head(&mut behind, 500).await;
    assert!(matches!(rest, Err(ReadError::Overtaken)), "{rest:?}");
    assert!(matches!(behind.read(500).await, Err(ReadError::Overtaken)));
    let oldest = log.reader.window().oldest.0;
    assert_events(&log.all_after(oldest - 1).await?, oldest, 100);
    assert!(matches!(log.all_after(oldest - 2).await, Err(ReadError::Overtaken)));
    Ok(())
}
