//! What a crash can leave at the end of the log, done to it while the relay is down.

use std::{
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, RngExt as _, rngs::StdRng};

/// Length of a segment's header and of a record's head, `docs/event-log.md`.
const HEADER: usize = 128;
const RECORD: usize = 56;
/// Where a record says its length, seq and lead.
const LENGTH: Range<usize> = 4..8;
const SEQ: Range<usize> = 8..16;
const LEAD: Range<usize> = 48..52;
/// A sealed segment ends with a trailer of this length, which begins with these bytes.
const TRAILER: usize = 64;
const END_MAGIC: &[u8] = b"RELAYEND";
/// Most that is appended.
const RUBBISH_MAX: usize = 64 << 10;
const SECTOR: usize = 512;

/// Where a record lies, and what had been synced when it was written.
struct Record {
    at: Range<usize>,
    seq: u64,
    synced: u64,
}

/// Spoils the end of the newest segment; says how. `None` when it is sealed.
///
/// * `is_unsynced` – the relay died between the write and the sync of its last batch, so that
///   nobody saw it; otherwise only what lies behind the last record is open
pub(crate) fn tear(dir: &Path, random: &mut StdRng, is_unsynced: bool) -> Result<Option<String>> {
    let path = newest(dir)?;
    let bytes = fs::read(&path)?;
    let trailer = bytes.len().checked_sub(TRAILER).and_then(|at| bytes.get(at..));
    if trailer.is_some_and(|end| end.starts_with(END_MAGIC)) {
        return Ok(None);
    }
    let records = records(&bytes);
    let end = records.last().map_or(HEADER, |last| last.at.end);
    let unsynced = records.last().map_or(HEADER, |last| {
        let first = records.iter().find(|record| record.seq > last.synced);
        first.map_or(end, |first| first.at.start)
    });
    let mut file = OpenOptions::new().write(true).open(&path)?;
    let said = match random.random_range(0..if is_unsynced { 6 } else { 3 }) {
        0 => {
            let zeros = random.random_range(1..RUBBISH_MAX);
            append(&mut file, &vec![0; zeros])?;
            format!("{zeros} zeros behind its end")
        }
        1 => {
            let mut rubbish = vec![0; random.random_range(1..RUBBISH_MAX)];
            random.fill_bytes(&mut rubbish);
            append(&mut file, &rubbish)?;
            format!("{} bytes of rubbish behind its end", rubbish.len())
        }
        2 => {
            let last = records.last().and_then(|last| bytes.get(last.at.clone()));
            let last = last.unwrap_or_default();
            let part = random.random_range(0..=last.len().saturating_sub(1));
            append(&mut file, last.get(..part).unwrap_or_default())?;
            format!("{part} bytes of a record behind its end")
        }
        3 | 4 => {
            let length = random.random_range(unsynced..=end);
            file.set_len(u64::try_from(length)?)?;
            format!("cut at {length}, in what was not synced ({unsynced} to {end})")
        }
        _ => {
            let count = spoil_sectors(&mut file, random, unsynced..end)?;
            format!("{count} sectors of what was not synced ({unsynced} to {end}) are zeros")
        }
    };
    ensure!(unsynced >= HEADER && unsynced <= end, "{unsynced} to {end}");
    Ok(Some(format!("{}: {said}", path.file_name().unwrap_or_default().display())))
}

fn newest(dir: &Path) -> Result<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths.pop().context("the log has no segment")
}

fn records(bytes: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut at = HEADER;
    while let Some(head) = bytes.get(at..at + RECORD) {
        let (length, seq, lead) = (number(head, LENGTH), number(head, SEQ), number(head, LEAD));
        let end = at + usize::try_from(length).unwrap_or(usize::MAX - at);
        if end > bytes.len() || length < RECORD as u64 || lead == 0 {
            break;
        }
        found.push(Record { at: at..end, seq, synced: seq.saturating_sub(lead) });
        at = end;
    }
    found
}

fn number(bytes: &[u8], place: Range<usize>) -> u64 {
    let digits = bytes.get(place).unwrap_or_default();
    digits.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn append(file: &mut fs::File, bytes: &[u8]) -> Result<()> {
    file.seek(SeekFrom::End(0))?;
    Ok(file.write_all(bytes)?)
}

/// Zeros in place of some sectors; gives how many.
fn spoil_sectors(file: &mut fs::File, random: &mut StdRng, range: Range<usize>) -> Result<u32> {
    let (mut at, mut count) = (range.start, 0);
    while at < range.end {
        let end = ((at / SECTOR + 1) * SECTOR).min(range.end);
        if random.random_bool(0.5) {
            file.seek(SeekFrom::Start(u64::try_from(at)?))?;
            file.write_all(&vec![0; end - at])?;
            count += 1;
        }
        at = end;
    }
    Ok(count)
}
