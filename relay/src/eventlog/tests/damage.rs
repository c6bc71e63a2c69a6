//! Torn ends are cut, lost data is refused, damaged old segments are left behind.

use std::path::{Path, PathBuf};

use super::support::{DIR, Log, assert_events, entry, options, read_to_head, segments};
use crate::domain::Seq;
use crate::eventlog::{
    LogError, LogHealth, LogOptions, ReadError,
    files::sim::Disk,
    segment::{HEADER, Header, Parsed, TRAILER, encode_record, file_name, parse_record},
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One segment for all, so that the end of the log is easy to find.
fn one_segment() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, ..options() }
}

/// The only segment of a log with these events, left as a killed process leaves it.
async fn unsealed(events: u64) -> Result<(PathBuf, Vec<u8>)> {
    let disk = Disk::new();
    let log = Log::open(&disk, one_segment())?;
    log.append(0..events).await?;
    let path = segments(&disk).pop().unwrap();
    let bytes = disk.content(&path);
    disk.restart();
    Ok((path, bytes))
}

fn disk_with(path: &Path, bytes: Vec<u8>) -> Disk {
    let disk = Disk::new();
    disk.put(path, bytes);
    disk
}

/// Where each record begins, and where the last one ends.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let salt = Header::decode(bytes).unwrap().salt;
    let mut offsets = vec![HEADER];
    while let Parsed::Whole(record) = parse_record(&bytes[*offsets.last().unwrap()..], salt) {
        offsets.push(offsets.last().unwrap() + record.length);
    }
    offsets
}

/// OUT-4: whatever length of the end is missing, the whole records before it stay, and the next
/// event follows them.
#[tokio::test]
async fn a_tail_torn_at_any_length_is_cut_at_the_last_whole_record() -> Result {
    let (path, bytes) = unsealed(7).await?;
    let offsets = offsets(&bytes);
    assert_eq!(offsets.len(), 8);
    for length in HEADER..=bytes.len() {
        let whole = offsets.iter().filter(|offset| **offset <= length).count() as u64 - 1;
        let disk = disk_with(&path, bytes[..length].to_vec());

        let log = Log::open(&disk, one_segment())?;

        assert_events(&log.all_after(0).await?, 1, whole);
        log.append(whole..whole + 1).await?;
        assert_events(&log.all_after(0).await?, 1, whole + 1);
    }
    Ok(())
}

/// OUT-4: a torn end may also be full of zeros or of rubbish.
#[tokio::test]
async fn rubbish_behind_the_last_whole_record_is_cut() -> Result {
    let (path, bytes) = unsealed(7).await?;
    for rubbish in [vec![0; 5_000], vec![0xFF; 5_000], bytes[HEADER..HEADER + 300].to_vec()] {
        let disk = disk_with(&path, [bytes.clone(), rubbish].concat());
        let log = Log::open(&disk, one_segment())?;
        log.append(7..8).await?;
        assert_events(&log.all_after(0).await?, 1, 8);
    }
    Ok(())
}

/// DESIGN 10.10: when a later record proves that a damaged one was synced, the log does not open
/// and says where; in the last batch, which nothing proves, the damage is a torn end.
#[tokio::test]
async fn damage_to_synced_events_of_the_unsealed_end_is_fatal() -> Result {
    // Batches of three: 1-3, 4-6, 7-9.
    let (path, bytes) = unsealed(9).await?;
    let offsets = offsets(&bytes);
    for (damaged, offset) in offsets[..9].iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[offset + 60] ^= 1;
        let opened = Log::open(&disk_with(&path, bytes), one_segment());
        if damaged < 6 {
            let why = opened.unwrap_err().to_string();
            assert!(
                why.contains(&format!("{} is damaged at byte {offset}", path.display())),
                "{why}"
            );
        } else {
            assert_events(&opened?.all_after(0).await?, 1, damaged as u64);
        }
    }
    Ok(())
}

/// SEC: a frame that carries bytes in the form of a record cannot make a torn end look like lost
/// data, as it cannot know the salt. With the salt it could: the positive control.
#[tokio::test]
async fn a_record_hidden_in_a_frame_does_not_fool_recovery() -> Result {
    for knows_salt in [false, true] {
        let disk = Disk::new();
        let log = Log::open(&disk, one_segment())?;
        log.append(0..3).await?;
        let path = segments(&disk).pop().unwrap();
        let salt = Header::decode(&disk.content(&path)).unwrap().salt;
        let mut hidden = Vec::new();
        let salt = if knows_salt { salt } else { salt ^ 1 };
        encode_record(&entry(0), (50, 49), 1, salt, &mut hidden);
        let mut carrier = entry(3);
        carrier.frame.after = hidden.into();
        log.appender.append(vec![carrier]).await?;
        log.appender.barrier().await?;
        disk.restart();
        let record = offsets(&disk.content(&path))[3];
        disk.tamper(&path, |bytes| bytes[record + 60] ^= 1);

        let opened = Log::open(&disk, one_segment());

        assert_eq!(opened.is_err(), knows_salt);
        if let Ok(log) = opened {
            assert_events(&log.all_after(0).await?, 1, 3);
        }
    }
    Ok(())
}

/// A log of 60 events in several segments, closed.
async fn closed() -> Result<(Disk, Vec<PathBuf>)> {
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..60).await?;
    log.appender.close().await;
    let segments = segments(&disk);
    assert!(segments.len() >= 4, "{segments:?}");
    Ok((disk, segments))
}

fn base(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// DESIGN 10.10, OUT-6: a damaged record in a sealed segment is found by its first reader; the
/// window moves past it, health says so, writing goes on; the next start knows it too.
#[tokio::test]
async fn a_damaged_sealed_segment_is_left_behind() -> Result {
    for unreadable in [false, true] {
        let (disk, segments) = closed().await?;
        let after = base(&segments[3]);
        let log = Log::open(&disk, options())?;
        if unreadable {
            disk.make_unreadable(&segments[2]);
        } else {
            disk.tamper(&segments[2], |bytes| bytes[HEADER + 700] ^= 4);
        }
        let mut health = log.reader.health();
        assert_eq!(*health.borrow_and_update(), LogHealth::Writing);

        let mut position = log.reader.after(Seq(0));
        let read = read_to_head(&mut position, 100).await;

        assert!(matches!(read, Err(ReadError::Overtaken)));
        assert!(position.seq().0 >= base(&segments[2]) - 1);
        assert_eq!(log.reader.window().oldest, Seq(after));
        health.changed().await?;
        let LogHealth::Damaged(why) = health.borrow_and_update().clone() else { panic!() };
        assert!(why.contains(&*segments[2].to_string_lossy()), "{why}");
        log.append(60..63).await?;
        assert_events(&log.all_after(after - 1).await?, after, 63);
        let aside = segments[2].with_extension("damaged");
        log.until("set aside", |_| disk.paths().contains(&aside)).await;

        log.appender.close().await;
        let log = Log::open(&disk, options())?;
        assert_eq!(log.reader.window().oldest, Seq(after));
        assert!(matches!(&*log.reader.health().borrow(), LogHealth::Damaged(_)));
        assert_events(&log.all_after(after - 1).await?, after, 63);
    }
    Ok(())
}

/// DESIGN 10.1: without its trailer, or with a damaged one, a segment is read and sealed again.
#[tokio::test]
async fn a_missing_or_damaged_trailer_is_made_again() -> Result {
    let changes: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() - TRAILER),
        |bytes| bytes.truncate(bytes.len() - TRAILER / 2),
        |bytes| *bytes.last_mut().unwrap() ^= 1,
    ];
    for change in changes {
        let (disk, segments) = closed().await?;
        let whole = disk.content(&segments[1]);
        disk.tamper(&segments[1], change);

        let log = Log::open(&disk, options())?;

        assert_eq!(*log.reader.health().borrow(), LogHealth::Writing);
        for cursor in 0..60 {
            assert_events(&log.all_after(cursor).await?, cursor + 1, 60);
        }
        assert_eq!(disk.content(&segments[1]), whole);
    }
    Ok(())
}

/// DESIGN 10.1: the index is a help, not the truth.
#[tokio::test]
async fn a_damaged_index_costs_time_only() -> Result {
    let (disk, segments) = closed().await?;
    for path in &segments[..3] {
        disk.tamper(path, |bytes| {
            let at = bytes.len() - TRAILER - 5;
            bytes[at] ^= 1;
        });
    }
    let log = Log::open(&disk, options())?;
    for cursor in 0..60 {
        assert_events(&log.all_after(cursor).await?, cursor + 1, 60);
    }
    assert_eq!(*log.reader.health().borrow(), LogHealth::Writing);
    Ok(())
}

/// DESIGN 10.10, OUT-6: a segment that is gone, or has no header, ends the window; no silent gap.
#[tokio::test]
async fn a_missing_segment_ends_the_window() -> Result {
    for remove in [true, false] {
        let (disk, segments) = closed().await?;
        if remove {
            disk.forget(&segments[1]);
        } else {
            disk.tamper(&segments[1], |bytes| bytes[20] ^= 1);
        }
        let oldest = base(&segments[2]);

        let log = Log::open(&disk, options())?;

        assert_eq!(log.reader.window().oldest, Seq(oldest));
        assert!(matches!(&*log.reader.health().borrow(), LogHealth::Damaged(_)));
        assert!(matches!(log.all_after(0).await, Err(ReadError::Overtaken)));
        assert_events(&log.all_after(oldest - 1).await?, oldest, 60);
    }
    Ok(())
}

/// A segment that vanishes while the log is open is damage too.
#[tokio::test]
async fn a_segment_that_vanishes_under_the_log_is_damage() -> Result {
    let (disk, segments) = closed().await?;
    let log = Log::open(&disk, options())?;
    disk.forget(&segments[1]);
    let read = log.all_after(0).await;
    assert!(matches!(read, Err(ReadError::Overtaken)), "{read:?}");
    assert_eq!(log.reader.window().oldest, Seq(base(&segments[2])));
    Ok(())
}

/// DESIGN 10.10: damage to the segment that is being written moves the window past all of it; new
/// events go to a sound file.
#[tokio::test]
async fn damage_to_the_segment_that_is_written_does_not_stop_writing() -> Result {
    let disk = Disk::new();
    let log = Log::open(&disk, one_segment())?;
    log.append(0..40).await?;
    let path = segments(&disk).pop().unwrap();
    disk.tamper(&path, |bytes| bytes[HEADER + 100] ^= 1);

    assert!(matches!(log.all_after(0).await, Err(ReadError::Overtaken)));

    log.until("a new segment", |_| segments(&disk) != [path.clone()]).await;
    log.append(40..50).await?;
    assert_eq!(log.reader.window().oldest, Seq(41));
    assert_events(&log.all_after(40).await?, 41, 50);
    log.appender.close().await;
    let log = Log::open(&disk, one_segment())?;
    assert_eq!(log.reader.window().oldest, Seq(41));
    assert_events(&log.all_after(40).await?, 41, 50);
    Ok(())
}

/// DESIGN 10.10, 10.1: what cannot be the work of a crash, or of this version, is not opened.
#[tokio::test]
async fn a_newest_segment_without_a_header_or_of_another_format_is_refused() -> Result {
    let (path, bytes) = unsealed(3).await?;
    let refusal = |change: fn(&mut Vec<u8>)| -> String {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        let LogError::Fatal(why) = Log::open(&disk_with(&path, bytes), one_segment()).unwrap_err()
        else {
            panic!()
        };
        assert!(why.contains(&*path.to_string_lossy()), "{why}");
        why
    };
    assert!(refusal(|bytes| bytes[0] ^= 1).contains("damaged at byte 0"));
    assert!(refusal(|bytes| bytes.truncate(50)).contains("damaged at byte 0"));
    let other = refusal(|bytes| {
        bytes[8] = 9;
        let sum = crc32fast::hash(&bytes[..124]).to_le_bytes();
        bytes[124..128].copy_from_slice(&sum);
    });
    assert!(other.contains("format 9"), "{other}");
    // What would lie before the segment ends behind its beginning; found by fuzzing.
    let behind = refusal(|bytes| {
        bytes[24..32].copy_from_slice(&7_u64.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..124]).to_le_bytes();
        bytes[124..128].copy_from_slice(&sum);
    });
    assert!(behind.contains("damaged at byte 0"), "{behind}");
    assert!(Log::open(&disk_with(&path, bytes.clone()), one_segment()).is_ok());
    Ok(())
}

/// Files that are not the log's stay; those of an interrupted creation go.
#[tokio::test]
async fn other_files_in_the_directory_are_left_alone() -> Result {
    let (path, bytes) = unsealed(3).await?;
    let disk = disk_with(&path, bytes);
    let (note, begun) = (Path::new(DIR).join("README"), Path::new(DIR).join(file_name(9)));
    let begun = begun.with_extension("tmp");
    disk.put(&note, b"hands off".to_vec());
    disk.put(&begun, vec![0; 40]);

    let log = Log::open(&disk, one_segment())?;

    assert_events(&log.all_after(0).await?, 1, 3);
    assert_eq!(disk.content(&note), b"hands off");
    assert!(!disk.paths().contains(&begun));
    Ok(())
}
