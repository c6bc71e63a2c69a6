//! Full disks, failing disks, and what retention removes or must keep.

use std::{path::Path, sync::Arc, time::Duration};

use super::support::{DAY, DIR, Log, assert_events, entry, options, segments, tuning};
use crate::domain::Seq;
use crate::eventlog::{
    LogError, LogHealth, LogOptions, Reserve, Tuning,
    files::{
        Files as _,
        sim::{Disk, Fault},
    },
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn is_full(reader: &crate::eventlog::Reader) -> bool {
    *reader.health().borrow() == LogHealth::DiskFull
}

fn is_held(reader: &crate::eventlog::Reader) -> bool {
    *reader.health().borrow() == LogHealth::AwaitingCheckpoint
}

fn is_writing(reader: &crate::eventlog::Reader) -> bool {
    *reader.health().borrow() == LogHealth::Writing
}

/// OUT-5: a full disk stops writing, not reading; with room it goes on by itself, and every event
/// is there once.
#[tokio::test]
async fn a_full_disk_stops_writing_until_there_is_room() -> Result {
    for room in [0, 1, 500, 1_300, 2_600] {
        let disk = Disk::new();
        let log = Log::open(&disk, options())?;
        log.append(0..10).await?;
        disk.set_free(room);

        log.appender.append((10..30).map(entry).collect()).await?;
        log.until("disk full", is_full).await;
        let head = log.reader.window().head.0;
        assert!(head < 30);
        assert_events(&log.all_after(0).await?, 1, head);

        disk.set_free(1 << 20);
        assert_eq!(log.appender.barrier().await?, Seq(30));
        log.append(30..33).await?;
        log.until("writing", is_writing).await;
        assert_events(&log.all_after(0).await?, 1, 33);
        log.appender.close().await;
        assert_events(&Log::open(&disk, options())?.all_after(0).await?, 1, 33);
    }
    Ok(())
}

/// Too many open files, when a new segment is due: the log waits for one to be closed, as it waits
/// for room, instead of stopping.
#[tokio::test]
async fn a_new_segment_waits_for_a_file_descriptor() -> Result {
    for fault in [Fault::NoDescriptorOnCreate, Fault::NoDescriptorOnSyncNames] {
        let disk = Disk::new();
        let log = Log::open(&disk, options())?;
        log.append(0..1).await?;
        disk.fail_at(disk.ops(), fault);

        log.append(1..40).await?;

        assert!(disk.has_struck(), "{fault:?}");
        log.until("writing", is_writing).await;
        assert_events(&log.all_after(0).await?, 1, 40);
        log.appender.close().await;
        disk.restart();
        assert_events(&Log::open(&disk, options())?.all_after(0).await?, 1, 40);
    }
    Ok(())
}

/// OUT-5, I2: while the disk is full, `append` waits; closing does not wait for the disk, and what
/// was not durable was not acknowledged.
#[tokio::test]
async fn closing_with_a_full_disk_keeps_what_was_durable() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..10).await?;
    disk.set_free(0);
    log.appender.append(vec![entry(10)]).await?;
    log.until("disk full", is_full).await;
    let waiting = log.appender.append(vec![entry(11)]);
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());

    log.appender.close().await;

    assert!(matches!(log.appender.barrier().await, Err(LogError::Closed)));
    disk.set_free(1 << 20);
    let log = Log::open(&disk, options())?;
    assert_eq!(log.reader.window().head, Seq(10));
    assert_events(&log.all_after(0).await?, 1, 10);
    Ok(())
}

/// OUT-5: below the reserve nothing more is taken, what was taken is written, and it opens again.
#[tokio::test]
async fn a_nearly_full_disk_takes_no_more_and_writes_what_it_has() -> Result {
    let disk = Disk::new();
    let reserve = Some(Reserve { shrink: 0, stop: 100_000 });
    let log = Log::open_with(Arc::new(disk.clone()), options(), Tuning { reserve, ..tuning() })?;
    log.append(0..3).await?;
    disk.set_free(99_000);
    log.until("disk full", is_full).await;

    {
        let mut waiting = std::pin::pin!(log.appender.append(vec![entry(3)]));
        let stuck = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(stuck.is_err(), "taken in without room");
        disk.set_free(110_000);
        let stuck = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(stuck.is_err(), "opened just above the mark");
        disk.set_free(200_000);
        waiting.await?;
    }

    assert_eq!(log.appender.barrier().await?, Seq(4));
    log.until("writing", is_writing).await;
    Ok(())
}

/// OUT-5: the log shrinks before it stops, as far as the last checkpoint.
#[tokio::test]
async fn the_log_shrinks_before_the_disk_is_full() -> Result {
    let disk = Disk::new();
    let reserve = Some(Reserve { shrink: 50_000, stop: 10_000 });
    let log = Log::open_with(Arc::new(disk.clone()), options(), Tuning { reserve, ..tuning() })?;
    log.append(0..100).await?;
    log.appender.set_checkpoint(Seq(100));
    log.append(100..101).await?;
    assert_eq!(log.reader.window().oldest, Seq(1));

    disk.set_free(40_000);

    log.until("shrunk", |reader| reader.window().oldest > Seq(1)).await;
    let free = || disk.free_bytes(Path::new(DIR)).unwrap_or(0);
    log.until("enough room", |_| free() >= 50_000).await;
    let oldest = log.reader.window().oldest.0;
    assert!(oldest < 90, "no more than needed goes: {oldest}");
    assert_events(&log.all_after(oldest - 1).await?, oldest, 101);
    assert_eq!(*log.reader.health().borrow(), LogHealth::Writing);
    Ok(())
}

/// DESIGN 10.5: retention never passes the checkpoint; held up too far, hosts are to wait, while
/// what was read of them is still written: a checkpoint waits for it.
#[tokio::test]
async fn the_checkpoint_holds_retention_and_health_says_so() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, LogOptions { bytes_max: Some(8_000), ..options() })?;
    log.append(0..100).await?;
    log.until("held", is_held).await;
    let ready = tokio::time::timeout(Duration::from_millis(20), log.appender.ready()).await;
    assert!(ready.is_err(), "hosts would be read");
    assert_eq!(log.reader.window().oldest, Seq(1));
    assert!(log.reader.disk_bytes() > 8_000);
    // A checkpoint waits for what is on its way, so that must still be written.
    log.append(100..102).await?;

    log.appender.set_checkpoint(Seq(50));
    log.until("as far as the checkpoint", |reader| reader.window().oldest > Seq(30)).await;
    assert!(log.reader.window().oldest <= Seq(51));
    assert!(is_held(&log.reader));

    log.appender.set_checkpoint(Seq(102));
    log.until("writing", is_writing).await;
    log.appender.ready().await;
    log.until("below the limit", |reader| reader.disk_bytes() <= 8_000).await;
    let oldest = log.reader.window().oldest.0;
    assert_events(&log.all_after(oldest - 1).await?, oldest, 102);
    Ok(())
}

/// DESIGN 10.5, OUT-5: a disk that others fill while the checkpoint is old: hosts wait before the
/// disk is so full that nothing could be written, or no checkpoint could ever come.
#[tokio::test]
async fn a_filling_disk_asks_for_a_checkpoint_before_writing_stops() -> Result {
    let disk = Disk::new();
    let reserve = Some(Reserve { shrink: 50_000, stop: 10_000 });
    let log = Log::open_with(Arc::new(disk.clone()), options(), Tuning { reserve, ..tuning() })?;
    log.append(0..100).await?;
    disk.set_free(31_000);
    log.append(100..101).await?;
    assert!(is_writing(&log.reader), "not yet");

    disk.set_free(29_000);

    log.until("held", is_held).await;
    assert_eq!(log.reader.window().oldest, Seq(1));
    log.append(101..102).await?;
    log.appender.set_checkpoint(Seq(102));
    log.until("writing", is_writing).await;
    let oldest = log.reader.window().oldest.0;
    assert!(oldest > 1, "the log has shrunk");
    assert_events(&log.all_after(oldest - 1).await?, oldest, 102);
    Ok(())
}

/// OUT-2: only whole segments go, so that a log with a small limit has small ones.
#[tokio::test]
async fn a_small_limit_holds_although_segments_are_configured_larger() -> Result {
    let disk = Disk::new();
    let limits = LogOptions { bytes_max: Some(600_000), segment_bytes: 1 << 30, ..options() };
    let log = Log::open(&disk, limits)?;
    for hundred in 0..60 {
        let entries = (hundred * 100..(hundred + 1) * 100).map(entry).collect();
        log.appender.append(entries).await?;
        let head = log.appender.barrier().await?;
        log.appender.set_checkpoint(head);
    }
    log.until("below the limit", |reader| reader.disk_bytes() <= 600_000).await;
    let window = log.reader.window();
    assert!(window.oldest > Seq(1) && window.oldest < Seq(5_000), "{window:?}");
    assert_events(&log.all_after(window.oldest.0 - 1).await?, window.oldest.0, 6_000);
    Ok(())
}

/// OUT-2, I4: age empties the log, and its head stays across a restart.
#[tokio::test]
async fn a_log_emptied_by_age_never_gives_a_seq_again() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..40).await?;
    log.appender.set_checkpoint(Seq(40));
    let day_us = u64::try_from(DAY.as_micros())?;
    log.clock.advance_us(day_us / 2);
    log.append(40..41).await?;
    log.clock.advance_us(day_us / 2 + 1_000);
    log.until("half a day gone", |reader| reader.window().oldest > Seq(1)).await;
    assert_eq!(log.reader.window().oldest, Seq(41));

    log.clock.advance_us(2 * day_us);
    log.appender.set_checkpoint(Seq(41));
    log.until("empty", |reader| reader.window().oldest == Seq(42)).await;
    assert_eq!(log.all_after(41).await?.len(), 0);
    assert_eq!(segments(&disk).len(), 1);
    disk.restart();

    let log = Log::open(&disk, options())?;
    assert_eq!(log.reader.window().head, Seq(41));
    assert_eq!(log.reader.window().oldest, Seq(42));
    log.append(41..42).await?;
    assert_events(&log.all_after(41).await?, 42, 42);
    Ok(())
}

/// DESIGN 10.9: a failed sync stops the log with the head where it was; nobody waits for ever.
#[tokio::test]
async fn a_failed_sync_stops_the_log_before_the_head_moves() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..5).await?;
    disk.fail_sync_at(disk.ops());

    let failed = log.append(5..6).await;

    assert!(matches!(failed, Err(LogError::Fatal(why)) if why.contains("cannot sync")));
    assert_eq!(log.reader.window().head, Seq(5));
    assert_eq!(log.durable.lock().len(), 5);
    let health = log.reader.health().borrow().clone();
    assert!(matches!(health, LogHealth::Failed(why) if why.contains("/log/")));
    assert!(log.append(6..7).await.is_err());
    log.appender.close().await;
    assert_events(&log.all_after(0).await?, 1, 5);
    Ok(())
}

/// OUT-2: without a setting, 60 % of the room is kept, the log's own bytes counted as room.
#[tokio::test]
async fn the_default_limit_is_a_share_of_the_room() -> Result {
    let disk = Disk::new();
    let by_itself = || LogOptions { bytes_max: None, ..options() };
    disk.set_free(1_000_000);
    let log = Log::open(&disk, by_itself())?;
    let first = log.reader.bytes_max();
    assert!((599_000..=600_000).contains(&first), "{first}");
    log.append(0..500).await?;
    log.appender.close().await;

    let second = Log::open(&disk, by_itself())?.reader.bytes_max();

    assert!(second.abs_diff(first) < 1_000, "{first} {second}");
    Ok(())
}

/// OUT-2: the limit of bytes holds to a segment and a tenth however fast events come, not only when
/// the chores are due.
#[tokio::test]
async fn the_limit_holds_while_events_come_faster_than_the_chores() -> Result {
    let disk = Disk::new();
    let rare = Tuning { chores_interval: Duration::from_hours(24), ..tuning() };
    let limit = LogOptions { bytes_max: Some(30_000), ..options() };
    let log = Log::open_with(Arc::new(disk.clone()), limit, rare)?;
    for number in (0..900).step_by(3) {
        log.append(number..number + 3).await?;
        log.appender.set_checkpoint(Seq(number + 3));
        let bytes = log.reader.disk_bytes();
        assert!(bytes < 30_000 + 2 * 4_000 + 3_000, "{bytes} bytes at {number}");
    }
    assert!(log.reader.window().oldest > Seq(700));
    Ok(())
}
