//! One sync for all that came meanwhile (OUT-1, DESIGN 10.9).

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::support::{Log, assert_events, entry, options, tuning};
use crate::eventlog::{LogOptions, files::sim::Disk};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Syncs of files; those of the directory are not among them.
fn syncs(disk: &Disk, from: usize) -> usize {
    let story = disk.story(from);
    story.lines().filter(|line| line.starts_with("sync /log/")).count()
}

/// OUT-1, DESIGN 10.9: syncs start at least the interval apart, whatever arrives; what arrives in
/// between shares one and none of it is lost.
#[tokio::test]
async fn events_that_arrive_between_two_syncs_share_one() -> Result {
    const INTERVAL: Duration = Duration::from_millis(40);
    let disk = Disk::new();
    let spaced = LogOptions { sync_interval: INTERVAL, segment_bytes: 1 << 30, ..options() };
    let log = Log::open_with(Arc::new(disk.clone()), spaced, tuning())?;
    let (from, started) = (disk.ops(), Instant::now());
    let mut number = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while started.elapsed() < 10 * INTERVAL || syncs(&disk, from) < 4 {
        assert!(started.elapsed() < Duration::from_mins(1), "nothing is synced");
        log.appender.append(vec![entry(number)]).await?;
        number += 1;
        ticks.tick().await;
    }
    let head = log.appender.barrier().await?;

    let most = started.elapsed().as_millis() / INTERVAL.as_millis() + 1;
    let synced = syncs(&disk, from);
    assert!(synced as u128 <= most, "{synced} syncs in {:?}", started.elapsed());
    assert_eq!(head.0, number);
    assert_events(&log.all_after(0).await?, 1, number);
    Ok(())
}

/// DESIGN 10.9: on an idle log an event waits for no one: with an interval of a day the first sync
/// comes at once.
#[tokio::test]
async fn the_first_event_of_an_idle_log_is_synced_at_once() -> Result {
    let disk = Disk::new();
    let spaced = LogOptions { sync_interval: Duration::from_hours(24), ..options() };
    let log = Log::open(&disk, spaced)?;

    log.appender.append(vec![entry(0)]).await?;

    let synced = tokio::time::timeout(Duration::from_mins(1), log.appender.barrier()).await;
    assert_eq!(synced??.0, 1);
    Ok(())
}

/// OUT-1: a large amount is synced in portions, so that a slow disk moves the head all the same.
#[tokio::test]
async fn a_flood_is_synced_in_portions() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, LogOptions { segment_bytes: 1 << 30, ..options() })?;
    let from = disk.ops();
    // About 900 KB; one portion is 64 KiB at most.
    log.appender.append((0..2_000).map(entry).collect()).await?;
    assert_eq!(log.appender.barrier().await?.0, 2_000);
    let bytes = log.reader.disk_bytes();
    let synced = syncs(&disk, from) as u64;
    assert!(synced >= bytes / (64 << 10) && synced < 200, "{synced} syncs for {bytes} bytes");
    assert_events(&log.all_after(1_990).await?, 1_991, 2_000);
    Ok(())
}
