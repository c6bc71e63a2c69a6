//! Sealed segments in blocks read as the plain ones did: every cursor, every reader, also while they
//! are being replaced.

use std::{path::Path, sync::Arc};

use super::support::{Log, assert_events, options, read_to_head, segments, tuning};
use crate::domain::Seq;
use crate::eventlog::{
    LogHealth, LogOptions, ReadError, Reader,
    compression::{Failed, choose, compress},
    files::sim::Disk,
    segment::{HEADER, Header, TRAILER, file_name},
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn compressing() -> LogOptions {
    LogOptions { compression: 1, ..options() }
}

fn codec(disk: &Disk, path: &Path) -> u8 {
    Header::decode(&disk.content(path)).unwrap().codec
}

/// Whether all that may be compressed is.
fn is_done(disk: &Disk) -> bool {
    let paths = segments(disk);
    paths.iter().take(paths.len() - 2).all(|path| codec(disk, path) == 1)
        && disk.paths().iter().all(|path| path.extension().is_none_or(|end| end != "tmp"))
}

/// A log of these events with all compressed that may be.
async fn compressed(events: u64) -> Result<(Disk, Log)> {
    let disk = Disk::new();
    let log = Log::open(&disk, compressing())?;
    log.append(0..events).await?;
    log.until("all is compressed", |_| is_done(&disk)).await;
    Ok((disk, log))
}

/// CUR-3, CUR-11, DESIGN 10.11: every cursor replays exactly the rest out of blocks, with every size
/// of reading, before and after a restart; the newest two segments are as they were written.
#[tokio::test]
async fn every_cursor_replays_exactly_the_rest_out_of_blocks() -> Result {
    let (disk, mut log) = compressed(90).await?;
    let codecs: Vec<u8> = segments(&disk).iter().map(|path| codec(&disk, path)).collect();
    let (old, new) = codecs.split_at(codecs.len() - 2);
    assert!(old.len() >= 4 && old.iter().all(|codec| *codec == 1), "{codecs:?}");
    assert_eq!(new, [0, 0]);
    for _ in 0..2 {
        for cursor in 0..=90 {
            for bytes_max in [1, 700, 100_000] {
                let events = read_to_head(&mut log.reader.after(Seq(cursor)), bytes_max).await?;
                assert_events(&events, cursor + 1, 90);
            }
        }
        log.appender.close().await;
        log = Log::open(&disk, options())?;
    }
    assert_eq!(*log.reader.health().borrow(), LogHealth::Writing);
    Ok(())
}

/// CUR-11: a time is found in a block as in a plain segment.
#[tokio::test]
async fn a_time_is_found_in_a_block() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, compressing())?;
    let mut times = Vec::new();
    for number in 0..60 {
        log.append(number..number + 1).await?;
        times.push(log.clock.now_us());
        log.clock.advance_us(3_000);
    }
    log.until("all is compressed", |_| is_done(&disk)).await;
    for (seq, time) in (1..).zip(&times) {
        assert_eq!(log.reader.seq_at(*time), Seq(seq));
        assert_eq!(log.reader.seq_at(time + 1), Seq(seq + 1));
    }
    Ok(())
}

/// OUT-2: what the log counts as its bytes is what the files have.
#[tokio::test]
async fn the_bytes_of_the_log_are_those_of_its_files() -> Result {
    let (disk, log) = compressed(90).await?;
    let bytes =
        || -> u64 { segments(&disk).iter().map(|path| disk.content(path).len() as u64).sum() };
    log.until("the bytes are counted", |reader| reader.disk_bytes() == bytes()).await;
    let plain = Disk::new();
    let other = Log::open(&plain, options())?;
    other.append(0..90).await?;
    assert!(log.reader.disk_bytes() < other.reader.disk_bytes() * 2 / 3);
    Ok(())
}

/// DESIGN 10.11: who reads a plain file that is replaced meanwhile reads on in it.
#[tokio::test]
async fn a_reader_in_a_plain_file_reads_on_when_it_is_replaced() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..90).await?;
    let shared = Arc::clone(&log.reader.shared);
    let mut positions: Vec<_> = (0..60).map(|cursor| log.reader.after(Seq(cursor))).collect();
    let mut begun = Vec::new();
    for position in &mut positions {
        begun.push(position.read(1).await?);
    }
    while let Some(segment) = choose(&shared, &[], 0) {
        let finished = compress(&shared, &segment, 1, &mut || true).unwrap();
        *shared.finished.lock() = Some(finished);
        log.until("replaced", |_| shared.finished.lock().is_none()).await;
    }
    assert!(is_done(&disk));
    for (cursor, (mut position, mut events)) in (0..).zip(positions.into_iter().zip(begun)) {
        events.extend(read_to_head(&mut position, 500).await?);
        assert_events(&events, cursor + 1, 90);
    }
    Ok(())
}

/// Reads everything from the start, in pieces.
async fn replay(reader: Reader) -> std::result::Result<usize, ReadError> {
    read_to_head(&mut reader.after(Seq(0)), 300).await.map(|events| events.len())
}

/// DESIGN 10.11: consumers at the head never touch a block, however many segments are sealed and
/// compressed behind them; eight replays at once decompress each block once.
#[tokio::test]
async fn blocks_are_decompressed_once_and_for_replays_only() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, compressing())?;
    let mut live = log.reader.after(Seq(0));
    let mut seen = 0;
    for number in 0..90 {
        log.append(number..number + 1).await?;
        seen += read_to_head(&mut live, 1_000).await?.len();
        // One that has just lost its connection and comes back.
        read_to_head(&mut log.reader.after(Seq(number.saturating_sub(3))), 1_000).await?;
    }
    assert_eq!(seen, 90);
    log.until("all is compressed", |_| is_done(&disk)).await;
    assert_eq!(log.reader.shared.cache.decompressed(), 0);

    let replays = (0..8).map(|_| replay(log.reader.clone()));
    for replayed in futures_util::future::join_all(replays).await {
        assert_eq!(replayed?, 90);
    }
    // Segments here are smaller than a block.
    let blocks = segments(&disk).len() as u64 - 2;
    assert!(blocks >= 4);
    assert_eq!(log.reader.shared.cache.decompressed(), blocks);
    Ok(())
}

/// DESIGN 10.10, OUT-6: a damaged block ends the window behind its segment, as a damaged record does.
#[tokio::test]
async fn a_damaged_block_is_left_behind() -> Result {
    let (disk, log) = compressed(90).await?;
    log.appender.close().await;
    let paths = segments(&disk);
    disk.tamper(&paths[2], |bytes| bytes[HEADER + 100] ^= 4);
    let after = paths[3].file_stem().unwrap().to_str().unwrap().parse::<u64>()?;

    let log = Log::open(&disk, options())?;
    let read = log.all_after(0).await;

    assert!(matches!(read, Err(ReadError::Overtaken)));
    assert!(matches!(&*log.reader.health().borrow(), LogHealth::Damaged(_)));
    assert_eq!(log.reader.window().oldest, Seq(after));
    assert_events(&log.all_after(after - 1).await?, after, 90);
    Ok(())
}

/// DESIGN 10.1: trailer and marks of a compressed segment are a help too.
#[tokio::test]
async fn a_compressed_segment_without_a_trailer_is_sealed_again() -> Result {
    let (disk, log) = compressed(90).await?;
    log.appender.close().await;
    let path = segments(&disk)[1].clone();
    let whole = disk.content(&path);
    let changes: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() - TRAILER),
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| {
            let at = bytes.len() - TRAILER - 5;
            bytes[at] ^= 1;
        },
    ];
    for (i, change) in changes.into_iter().enumerate() {
        disk.put(&path, whole.clone());
        disk.tamper(&path, change);
        let log = Log::open(&disk, options())?;
        for cursor in [0, 7, 30, 89] {
            assert_events(&log.all_after(cursor).await?, cursor + 1, 90);
        }
        assert_eq!(*log.reader.health().borrow(), LogHealth::Writing);
        assert_eq!(disk.content(&path) == whole, i < 2, "marks alone are not made again");
        log.appender.close().await;
    }
    Ok(())
}

/// DESIGN 10.10: what is damaged is not given a checksum that says it is sound.
#[tokio::test]
async fn a_damaged_record_is_found_instead_of_compressed() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..60).await?;
    let path = segments(&disk)[1].clone();
    disk.tamper(&path, |bytes| bytes[HEADER + 700] ^= 4);
    let shared = Arc::clone(&log.reader.shared);
    let segment = Arc::clone(&shared.segments()[1]);
    let failed = compress(&shared, &segment, 1, &mut || true);
    assert!(matches!(failed, Err(Failed::Damaged { .. })), "{failed:?}");
    assert_eq!(codec(&disk, &path), 0);
    assert!(!disk.paths().contains(&path.with_extension("tmp")));
    Ok(())
}

/// OUT-5: nothing is copied when the copy could fill the disk.
#[tokio::test]
async fn nothing_is_compressed_without_room_for_a_copy() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..60).await?;
    let shared = &log.reader.shared;
    let bytes = choose(shared, &[], 0).unwrap().extent().bytes;
    disk.set_free(bytes + 100);
    assert!(choose(shared, &[], 100).is_none());
    assert!(choose(shared, &[], 99).is_some());
    Ok(())
}

/// A segment that retention removes while it is compressed does not come back.
#[tokio::test]
async fn a_segment_that_is_gone_meanwhile_stays_gone() -> Result {
    let disk = Disk::new();
    let log = Log::open_with(
        Arc::new(disk.clone()),
        LogOptions { bytes_max: Some(20_000), segment_bytes: 3_000, ..options() },
        tuning(),
    )?;
    log.append(0..30).await?;
    let shared = Arc::clone(&log.reader.shared);
    let segment = Arc::clone(&shared.segments()[0]);
    let finished = compress(&shared, &segment, 1, &mut || true).unwrap();
    log.append(30..120).await?;
    log.appender.set_checkpoint(Seq(120));
    log.until("retention", |reader| reader.window().oldest > Seq(segment.extent().last)).await;
    let path = segment.path.clone();
    log.until("removed", |_| !disk.paths().contains(&path)).await;

    *shared.finished.lock() = Some(finished);
    log.until("taken", |_| shared.finished.lock().is_none()).await;
    log.until("thrown away", |_| !disk.paths().contains(&path.with_extension("tmp"))).await;

    assert!(!disk.paths().contains(&path));
    assert_eq!(path.file_name().unwrap().to_str().unwrap(), file_name(1));
    Ok(())
}
