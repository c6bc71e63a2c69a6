//! Everything readable of a segment's file, whatever is damaged between.

use std::io;

use bytes::Bytes;

use crate::eventlog::{
    block::{BLOCK, BlockHead},
    cache::Unsound,
    files::{File, length, read_up_to},
    index::Index,
    loading::load_block,
    scan::{Block, Step},
    segment::{CODEC_BLOCKS, HEADER, Header, Parsed, RECORD, Record, parse_record, parse_trusted},
};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// How far above the expected seq a record behind damage may be: more than a segment can hold.
const SEQS_AHEAD_MAX: u64 = 1 << 32;

/// What comes next in a file.
pub(in crate::eventlog) enum Item {
    /// Whole records and where each begins in `bytes`.
    Sound { bytes: Bytes, records: Vec<(usize, Record)> },
    /// Here is none; the walk goes on behind it.
    Fault { offset: u64, in_block: bool, why: String, suspect: Option<Record> },
}

/// Walks over one file.
pub(in crate::eventlog) struct Walk<'a> {
    file: &'a dyn File,
    header: &'a Header,
    from: u64,
    end: u64,
    marks: Index,
    last: u64,
}

impl<'a> Walk<'a> {
    /// * `end` – where the records end
    /// * `marks` – of the footer, if it is sound
    pub(in crate::eventlog) fn new(
        file: &'a dyn File,
        header: &'a Header,
        end: u64,
        marks: Index,
    ) -> Self {
        Self { file, header, from: length(HEADER), end, marks, last: header.base.saturating_sub(1) }
    }

    /// The next item; `None` at the end.
    pub(in crate::eventlog) fn next(&mut self) -> Option<Item> {
        if self.from >= self.end {
            return None;
        }
        let at = self.from;
        let read = if self.header.codec == CODEC_BLOCKS { self.block() } else { self.records() };
        Some(read.unwrap_or_else(|error| {
            self.from = self.end;
            let why = format!("it cannot be read: {error}");
            Item::Fault { offset: at, in_block: false, why, suspect: None }
        }))
    }

    fn records(&mut self) -> io::Result<Item> {
        let mut block =
            Block::read(self.file, self.header.salt, (self.from, self.end), READ_BYTES)?;
        let mut records = Vec::new();
        let why = loop {
            match block.step() {
                Step::Record(at, record) if record.seq > self.last => {
                    self.last = record.seq;
                    records.push((at, record));
                }
                Step::Record(..) => {
                    block.unstep();
                    break "wrong seq";
                }
                Step::Bad(why) => break why,
                Step::End => break "the file ends inside a record",
            }
        };
        if !records.is_empty() {
            self.from += block.used();
            return Ok(Item::Sound { bytes: block.whole(), records });
        }
        let suspect = match parse_trusted(&block.bytes) {
            Parsed::Whole(record) if record.seq == self.last + 1 => Some(record),
            _ => None,
        };
        let offset = self.from;
        self.from = self.next_record(offset + 1)?;
        Ok(Item::Fault { offset, in_block: false, why: why.to_owned(), suspect })
    }

    /// Where the next whole record begins, or the end.
    fn next_record(&self, mut from: u64) -> io::Result<u64> {
        while from < self.end {
            let window = read_up_to(self.file, from, READ_BYTES + RECORD)?;
            for at in 0..window.len().saturating_sub(RECORD - 1).min(READ_BYTES) {
                let rest = window.get(at..).unwrap_or_default();
                let offset = from + length(at);
                if self.could_be_next(rest) && self.is_record(offset, rest)? {
                    return Ok(offset);
                }
            }
            from += length(READ_BYTES);
        }
        Ok(self.end)
    }

    fn could_be_next(&self, bytes: &[u8]) -> bool {
        let seq = bytes.get(8..).and_then(<[u8]>::first_chunk::<8>);
        let seq = seq.map(|seq| u64::from_le_bytes(*seq));
        seq.is_some_and(|seq| seq > self.last && seq - self.last < SEQS_AHEAD_MAX)
            && !matches!(parse_trusted(bytes), Parsed::Bad(_))
    }

    fn is_record(&self, offset: u64, seen: &[u8]) -> io::Result<bool> {
        let parsed = match parse_record(seen, self.header.salt) {
            Parsed::Short(needed) => {
                parse_record(&read_up_to(self.file, offset, needed)?, self.header.salt)
            }
            parsed => parsed,
        };
        Ok(matches!(parsed, Parsed::Whole(record) if offset + length(record.length) <= self.end))
    }

    fn block(&mut self) -> io::Result<Item> {
        let offset = self.from;
        let why = match load_block(self.file, self.header.salt, (offset, self.end)) {
            Ok(block) if block.first > self.last => match self.sound(&block.bytes, block.first) {
                Some(records) => {
                    (self.last, self.from) = (block.last, block.after);
                    return Ok(Item::Sound { bytes: block.bytes, records });
                }
                None => "a block with a damaged record",
            },
            Ok(_) => "wrong seq of a block",
            Err(Unsound::Damaged(why)) => why,
            Err(Unsound::Io(error)) => return Err(error),
        };
        self.from = self.next_block(offset)?;
        Ok(Item::Fault { offset, in_block: true, why: why.to_owned(), suspect: None })
    }

    /// All records of a block, if each is as it was written.
    fn sound(&self, bytes: &Bytes, first: u64) -> Option<Vec<(usize, Record)>> {
        let (mut at, mut records) = (0, Vec::new());
        for seq in first.. {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let Parsed::Whole(record) = parse_record(rest, self.header.salt) else { return None };
            if record.seq != seq {
                return None;
            }
            records.push((at, record));
            at += record.length;
            if at == bytes.len() {
                break;
            }
        }
        Some(records)
    }

    /// Where the next sound block begins, by the length of this one, the marks, or a search.
    fn next_block(&self, offset: u64) -> io::Result<u64> {
        let is_sound = |at: u64| -> io::Result<bool> {
            match load_block(self.file, self.header.salt, (at, self.end)) {
                Ok(block) => Ok(block.first > self.last),
                Err(Unsound::Damaged(_)) => Ok(false),
                Err(Unsound::Io(error)) => Err(error),
            }
        };
        let head = read_up_to(self.file, offset, BLOCK)?;
        if let Some(head) = BlockHead::decode(&head) {
            let after = offset + length(head.length);
            if after == self.end || is_sound(after)? {
                return Ok(after);
            }
        }
        if let Some(marked) = self.marks.after_offset(offset) {
            return Ok(marked);
        }
        let mut from = offset + 1;
        while from < self.end {
            let window = read_up_to(self.file, from, READ_BYTES + BLOCK)?;
            for at in 0..window.len().saturating_sub(BLOCK - 1).min(READ_BYTES) {
                let head = window.get(at..).and_then(BlockHead::decode);
                let near = head.is_some_and(|head| {
                    head.first > self.last && head.first - self.last < SEQS_AHEAD_MAX
                });
                if near && is_sound(from + length(at))? {
                    return Ok(from + length(at));
                }
            }
            from += length(READ_BYTES);
        }
        Ok(self.end)
    }
}
