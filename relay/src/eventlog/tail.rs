//! Reading a segment that has no trailer: which records are whole, which of them are surely synced.

use std::{collections::VecDeque, io};

use super::{
    cache::Unsound,
    files::{File, length, read_up_to},
    index::{Index, Mark},
    loading::load_block,
    scan::{Block, Step},
    segment::{HEADER, Header, Parsed, RECORD, RECORD_BYTES_MAX, parse_record, parse_trusted},
};

/// Bytes read at once; records are read whole whatever their length.
const READ_BYTES: usize = 1 << 20;

/// What the records of a file say, up to the first that is none.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) first_us: u64,
    /// Last whole record; `base - 1` when there is none.
    pub(super) last: u64,
    pub(super) last_us: u64,
    /// Behind the last whole record.
    pub(super) end: u64,
    /// Last record known to be synced.
    pub(super) synced: u64,
    pub(super) synced_us: u64,
    /// Behind that record.
    pub(super) synced_end: u64,
    /// The records behind it: at most one batch.
    pub(super) unsynced: VecDeque<Mark>,
    pub(super) index: Index,
}

impl Scan {
    fn new(header: &Header) -> Self {
        let start = length(HEADER);
        Self {
            first_us: header.created_us,
            last: header.base - 1,
            last_us: header.created_us,
            end: start,
            synced: header.base - 1,
            synced_us: header.created_us,
            synced_end: start,
            unsynced: VecDeque::new(),
            index: Index::default(),
        }
    }

    /// The same with all records taken for synced.
    pub(super) fn all_synced(mut self) -> Self {
        (self.synced, self.synced_us, self.synced_end) = (self.last, self.last_us, self.end);
        self.unsynced.clear();
        self
    }

    fn add(&mut self, mark: Mark, synced: u64, distance: u64) {
        if self.last < mark.seq && self.index.len() == 0 {
            self.first_us = mark.time_us;
        }
        self.index.note(mark, distance);
        self.unsynced.push_back(mark);
        while let Some(oldest) = self.unsynced.front().filter(|oldest| oldest.seq <= synced) {
            (self.synced, self.synced_us) = (oldest.seq, oldest.time_us);
            self.unsynced.pop_front();
            self.synced_end = self.unsynced.front().map_or(mark.offset, |next| next.offset);
        }
        (self.last, self.last_us) = (mark.seq, mark.time_us);
    }
}

/// Reads records up to the one with seq `until`, the first that is none, or the end.
pub(super) fn scan(
    file: &dyn File,
    header: &Header,
    bytes: u64,
    until: u64,
    distance: u64,
) -> io::Result<Scan> {
    let mut scan = Scan::new(header);
    while scan.end < bytes && scan.last < until {
        let from = scan.end;
        let mut block = Block::read(file, header.salt, (from, bytes), READ_BYTES)?;
        while let Step::Record(at, record) = block.step() {
            if record.seq != scan.last + 1 || scan.last >= until {
                return Ok(scan);
            }
            let offset = from + length(at);
            let mark = Mark { seq: record.seq, time_us: record.time_us, offset };
            scan.add(mark, record.synced, distance);
            scan.end = offset + length(record.length);
        }
        if scan.end == from {
            break;
        }
    }
    Ok(scan)
}

/// The same of a segment with compressed blocks; ends at a block too, never inside.
pub(super) fn scan_blocks(
    file: &dyn File,
    header: &Header,
    bytes: u64,
    until: u64,
) -> io::Result<Scan> {
    let mut scan = Scan::new(header);
    while scan.end < bytes && scan.last < until {
        let block = match load_block(file, header.salt, (scan.end, bytes)) {
            Ok(block) if block.first == scan.last + 1 => block,
            Ok(_) | Err(Unsound::Damaged(_)) => break,
            Err(Unsound::Io(error)) => return Err(error),
        };
        let mut rest: &[u8] = &block.bytes;
        while let Parsed::Whole(record) = parse_record(rest, header.salt) {
            if record.seq != scan.last + 1 {
                break;
            }
            if record.seq == block.first {
                let offset = scan.end;
                scan.index.note(Mark { seq: record.seq, time_us: record.time_us, offset }, 0);
            }
            if record.seq == header.base {
                scan.first_us = record.time_us;
            }
            (scan.last, scan.last_us) = (record.seq, record.time_us);
            rest = rest.get(record.length..).unwrap_or_default();
        }
        if !rest.is_empty() || scan.last != block.last {
            break;
        }
        scan.end = block.after;
    }
    Ok(scan)
}

/// Seq of a whole record behind the first bad one which says that what cannot be read was synced:
/// then the end is not torn, the disk has lost data (DESIGN 10.10).
pub(super) fn proof_of_loss(
    file: &dyn File,
    header: &Header,
    bytes: u64,
    scan: &Scan,
) -> io::Result<Option<u64>> {
    let missing = scan.last + 1;
    let mut from = scan.end + 1;
    while from < bytes {
        let window = read_up_to(file, from, READ_BYTES + RECORD)?;
        for at in 0..window.len().saturating_sub(RECORD - 1).min(READ_BYTES) {
            let rest = window.get(at..).unwrap_or_default();
            if !could_follow(rest, missing) {
                continue;
            }
            let parsed = read_one(file, header.salt, from + length(at), rest)?;
            if let Parsed::Whole(record) = parsed
                && record.synced >= missing
            {
                return Ok(Some(record.seq));
            }
        }
        from += length(READ_BYTES);
    }
    Ok(None)
}

/// Cheap look at bytes that might be a record behind the missing one.
fn could_follow(bytes: &[u8], missing: u64) -> bool {
    let seq = bytes.get(8..).and_then(<[u8]>::first_chunk::<8>).map(|seq| u64::from_le_bytes(*seq));
    seq.is_some_and(|seq| seq > missing && seq - missing < u64::from(u32::MAX))
        && !matches!(parse_trusted(bytes), Parsed::Bad(_))
}

fn read_one(file: &dyn File, salt: u32, offset: u64, seen: &[u8]) -> io::Result<Parsed> {
    match parse_record(seen, salt) {
        Parsed::Short(needed) if needed <= RECORD_BYTES_MAX => {
            Ok(parse_record(&read_up_to(file, offset, needed)?, salt))
        }
        parsed => Ok(parsed),
    }
}
