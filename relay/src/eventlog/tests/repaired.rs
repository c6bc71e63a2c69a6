//! Every kind of damage: what `verify` says of it, what `repair` makes of it, and what consumers with
//! old cursors then get: the rest, or the word that something is missing; never a silent gap.

use std::path::{Path, PathBuf};

use super::support::{DIR, Log, assert_events, options, segments};
use crate::clock::Clock;
use crate::domain::Seq;
use crate::eventlog::{
    FaultKind, LogOptions, LogReport, ReadError,
    files::sim::Disk,
    repair,
    segment::{HEADER, Header, TRAILER, Trailer, file_name},
    verify,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const EVENTS: u64 = 90;

/// A way to damage a file.
type Harm<'a> = &'a dyn Fn(&Disk, &Path);

/// A closed log, plain or with compressed segments.
async fn closed(level: i32) -> Result<(Disk, Vec<PathBuf>)> {
    let disk = Disk::new();
    let log = Log::open(&disk, LogOptions { compression: level, ..options() })?;
    log.append(0..EVENTS).await?;
    if level != 0 {
        let done =
            |_: &_| segments(&disk).iter().rev().skip(2).all(|path| disk.content(path)[10] == 1);
        log.until("compressed", done).await;
    }
    log.appender.close().await;
    let segments = segments(&disk);
    assert!(segments.len() >= 6, "{segments:?}");
    Ok((disk, segments))
}

fn base(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn look(disk: &Disk) -> LogReport {
    verify(disk, Path::new(DIR)).unwrap()
}

fn kinds(report: &LogReport) -> Vec<FaultKind> {
    report.files.iter().flat_map(|file| &file.faults).map(|fault| fault.kind).collect()
}

/// Repairs, opens, and compares: the window is what the plan said, its events are those that were
/// written, cursors before it are told, and the next event follows the last.
async fn repaired(disk: &Disk) -> Result<(u64, u64)> {
    let report = look(disk);
    let before = disk.paths();
    repair(disk, Path::new(DIR), &report, &Clock::manual(7))?;
    assert!(look(disk).sound || report.steps.is_empty(), "{:?}", look(disk));
    // Nothing is gone: a damaged file has another name at most.
    assert!(disk.paths().len() >= before.len());

    let log = Log::open(disk, options())?;
    let window = log.reader.window();
    let (oldest, head) = report.window;
    assert_eq!((window.oldest.0, window.head.0), (oldest, head), "{report:?}");
    if head >= oldest {
        assert_events(&log.all_after(oldest - 1).await?, oldest, head);
    }
    for cursor in 0..oldest - 1 {
        if cursor > EVENTS {
            break;
        }
        let read = log.reader.after(Seq(cursor)).read(1_000).await;
        assert!(matches!(read, Err(ReadError::Overtaken)), "cursor {cursor}: {read:?}");
    }
    if head == EVENTS {
        log.append(EVENTS..EVENTS + 3).await?;
        assert_events(&log.all_after(oldest - 1).await?, oldest, EVENTS + 3);
    }
    Ok((oldest, head))
}

/// A sound log has no findings, running or closed, and nothing is done to it.
#[tokio::test]
async fn a_sound_log_has_no_findings() -> Result {
    for level in [0, 1] {
        let (disk, _) = closed(level).await?;
        let report = look(&disk);
        assert!(report.sound && report.steps.is_empty() && report.losses.is_empty(), "{report:?}");
        assert_eq!((report.window, report.events), ((1, EVENTS), EVENTS));
        assert_eq!(repaired(&disk).await?, (1, EVENTS));
    }
    let disk = Disk::new();
    let log = Log::open(&disk, options())?;
    log.append(0..20).await?;
    assert!(look(&disk).sound, "while it is written");
    let newest = segments(&disk).pop().unwrap();
    disk.tamper(&newest, |bytes| bytes.extend([7; 300]));
    let report = look(&disk);
    assert!(report.sound, "a torn end is the work of a crash: {report:?}");
    assert_eq!(report.files.last().unwrap().torn_bytes, 300);
    Ok(())
}

/// DESIGN 10.10: a bit in a record or a block: the window begins behind it, the rest of its file stays.
#[tokio::test]
async fn a_flipped_bit_costs_what_lies_before_it() -> Result {
    for (level, kind) in [(0, FaultKind::BadRecord), (1, FaultKind::BadBlock)] {
        let (disk, segments) = closed(level).await?;
        disk.tamper(&segments[2], |bytes| bytes[HEADER + 300] ^= 4);
        let report = look(&disk);
        assert_eq!(kinds(&report), [kind], "{report:?}");
        let lost: u64 = report.losses.iter().map(|loss| loss.last.unwrap() - loss.first + 1).sum();
        let (oldest, head) = repaired(&disk).await?;
        assert_eq!((lost, head), (oldest - 1, EVENTS), "{:?}", report.losses);
        // A plain file keeps what follows the record; here a block is a whole file.
        let next = base(&segments[3]);
        assert!(if level == 0 { oldest < next } else { oldest == next }, "{oldest} {next}");
        assert!(disk.paths().contains(&segments[2].with_extension("damaged")));
    }
    Ok(())
}

/// DESIGN 10.10: damage before synced events of the newest file, which stops a start, costs what lies
/// before it; seq goes on behind the last one.
#[tokio::test]
async fn damage_in_the_newest_file_costs_what_lies_before_it() -> Result {
    let disk = Disk::new();
    let whole = LogOptions { segment_bytes: 1 << 20, ..options() };
    let log = Log::open(&disk, whole.clone())?;
    log.append(0..EVENTS).await?;
    let path = segments(&disk).pop().unwrap();
    disk.restart();
    disk.tamper(&path, |bytes| bytes[HEADER + 2_000] ^= 1);
    assert!(Log::open(&disk, whole).is_err(), "control: it does not start");
    let (oldest, head) = repaired(&disk).await?;
    assert!(oldest > 5 && head == EVENTS, "{oldest} {head}");
    Ok(())
}

/// Every way to lose a file between others: what follows it stays.
#[tokio::test]
async fn a_file_that_is_missing_empty_or_without_a_header_ends_the_window() -> Result {
    let ways: [(Harm<'_>, FaultKind); 4] = [
        (&|disk, path| disk.forget(path), FaultKind::Gap),
        (&|disk, path| disk.tamper(path, Vec::clear), FaultKind::Empty),
        (&|disk, path| disk.tamper(path, |bytes| bytes[20] ^= 1), FaultKind::BadHeader),
        (&|disk, path| disk.make_unreadable(path), FaultKind::Unreadable),
    ];
    for (harm, kind) in ways {
        let (disk, segments) = closed(0).await?;
        harm(&disk, &segments[2]);
        let report = look(&disk);
        assert_eq!(kinds(&report), [kind], "{report:?}");
        let gap = (base(&segments[2]), Some(base(&segments[3]) - 1));
        let unreadable = report.losses.iter().find(|loss| !loss.readable).unwrap();
        assert_eq!((unreadable.first, unreadable.last), gap, "{kind:?}");
        assert_eq!(repaired(&disk).await?, (base(&segments[3]), EVENTS), "{kind:?}");
    }
    Ok(())
}

/// I4: when the end is lost, seq jumps far above it, and every old cursor is told.
#[tokio::test]
async fn a_lost_end_makes_seq_jump() -> Result {
    let ways: [fn(&Disk, &Path); 3] = [
        |disk, path| disk.tamper(path, |bytes| bytes[20] ^= 1),
        |disk, path| disk.tamper(path, Vec::clear),
        |disk, path| {
            disk.tamper(path, |bytes| {
                let salt = Header::decode(bytes).unwrap().salt;
                let trailer = Trailer::decode(&bytes[bytes.len() - TRAILER..], salt).unwrap();
                let end = usize::try_from(trailer.records_end).unwrap();
                bytes[end - 20..end].fill(9);
            });
        },
    ];
    for harm in ways {
        let (disk, segments) = closed(0).await?;
        harm(&disk, segments.last().unwrap());
        let (oldest, head) = repaired(&disk).await?;
        assert!(oldest > 1_000_000_000 && head == oldest - 1, "{oldest} {head}");
        let log = Log::open(&disk, options())?;
        log.append(0..1).await?;
        assert_eq!(log.reader.window().head.0, oldest);
    }
    Ok(())
}

/// What costs nothing but time: a footer, an index, a wrong name, a second copy, a stranger's file.
#[tokio::test]
async fn what_can_be_made_again_costs_nothing() -> Result {
    let foreign = |disk: &Disk, path: &Path| {
        let header = Header::decode(&disk.content(path)).unwrap();
        let other = Header { instance_id: "elsewhere".to_owned(), base: 500, ..header };
        disk.put(&Path::new(DIR).join(file_name(500)), other.encode());
    };
    let ways: [(Harm<'_>, FaultKind); 5] = [
        (
            &|disk, path| disk.tamper(path, |bytes| *bytes.last_mut().unwrap() ^= 1),
            FaultKind::BadFooter,
        ),
        (
            &|disk, path| {
                disk.tamper(path, |bytes| {
                    let at = bytes.len() - TRAILER - 5;
                    bytes[at] ^= 1;
                });
            },
            FaultKind::BadIndex,
        ),
        (
            &|disk, path| {
                let bytes = disk.content(path);
                disk.forget(path);
                disk.put(&path.with_file_name("00000000000000077777.log"), bytes);
            },
            FaultKind::Renamed,
        ),
        (
            &|disk, path| disk.put(&path.with_file_name("copy of it.log"), disk.content(path)),
            FaultKind::Duplicate,
        ),
        (&foreign, FaultKind::ForeignInstance),
    ];
    for level in [0, 1] {
        for (harm, kind) in ways {
            let (disk, segments) = closed(level).await?;
            harm(&disk, &segments[1]);
            let report = look(&disk);
            assert!(kinds(&report).contains(&kind), "{kind:?}: {report:?}");
            assert!(report.losses.is_empty(), "{kind:?}: {:?}", report.losses);
            assert_eq!(repaired(&disk).await?, (1, EVENTS), "{kind:?}");
        }
    }
    Ok(())
}

/// DESIGN 10.1: files of a later version are left alone.
#[tokio::test]
async fn files_of_a_later_version_are_left_alone() -> Result {
    let (disk, segments) = closed(0).await?;
    disk.tamper(&segments[1], |bytes| {
        bytes[10] = 9;
        let sum = crc32fast::hash(&bytes[..124]).to_le_bytes();
        bytes[124..128].copy_from_slice(&sum);
    });
    let report = look(&disk);
    assert_eq!(kinds(&report), [FaultKind::UnknownFormat]);
    assert!(report.hopeless.contains("later version") && report.steps.is_empty(), "{report:?}");
    Ok(())
}

/// A crash between any two operations of a repair: the next repair makes a log of the same window.
#[tokio::test]
async fn a_repair_that_is_cut_off_is_done_again() -> Result {
    let harmed = || async {
        let (disk, segments) = closed(0).await?;
        disk.tamper(&segments[2], |bytes| bytes[HEADER + 300] ^= 4);
        disk.tamper(&segments[4], |bytes| {
            let at = bytes.len() - TRAILER - 5;
            bytes[at] ^= 1;
        });
        Ok::<_, Box<dyn std::error::Error>>(disk)
    };
    let disk = harmed().await?;
    let from = disk.ops();
    let expected = repaired(&disk).await?;
    let mut dice = crate::eventlog::files::sim::Dice::new(1);
    for cut in 0..40 {
        let disk = harmed().await?;
        let now = disk.ops();
        assert!(now <= from + 500);
        disk.crash_at(now + cut);
        let report = look(&disk);
        let done = repair(&disk, Path::new(DIR), &report, &Clock::manual(7));
        if !disk.is_down() {
            done?;
            assert!(cut > 10, "the cuts must reach it");
            break;
        }
        disk.crash(&mut dice);
        assert_eq!(repaired(&disk).await?, expected, "cut at {cut}");
    }
    Ok(())
}
