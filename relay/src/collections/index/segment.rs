//! A file of rows in both orders that never changes.
//!
//! ```text
//! offset  size     meaning
//! 0       8        "RLYPAIR1"
//! 8       …        blocks by collection, then blocks by account
//! …       16 each  of every block, in the same order: key of its first row, offset
//! …       56       footer: blocks by collection, blocks by account, offset of that list, rows by
//!                  collection, rows that hide one, CRC-32 of the list, CRC-32 of the footer before it,
//!                  "RLYPAIRE"
//! ```
//!
//! The list of blocks is kept in memory: 16 bytes for some thousands of rows. Numbers are
//! little-endian.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{IndexError, block::Builder, disk, key::NONE, key::Order};
use crate::eventlog::{File, Files};

mod cursor;

pub(super) use cursor::PartCursor;

const MAGIC: &[u8; 8] = b"RLYPAIR1";
const END_MAGIC: &[u8; 8] = b"RLYPAIRE";
const FOOTER_BYTES: usize = 56;
const ENTRY_BYTES: usize = 16;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// The blocks of one order.
#[derive(Debug, Default)]
struct Part {
    first_keys: Vec<u64>,
    offsets: Vec<u64>,
    /// Where the last block ends.
    end: u64,
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: Arc<dyn File>,
    by_collection: Part,
    by_account: Part,
    pub(super) bytes: u64,
    /// Rows by collection, those included that hide one.
    pub(super) rows: u64,
    /// Rows that hide one.
    pub(super) hiding: u64,
}

/// Name of the file with this number.
pub(super) fn name(number: u64) -> String {
    format!("segment-{number:012}")
}

impl Segment {
    /// Opens a segment and reads the list of its blocks.
    pub(super) fn open(files: &dyn Files, dir: &Path, number: u64) -> Result<Self, IndexError> {
        let path = dir.join(name(number));
        let damaged = |what: &str| disk::damaged(&path, what);
        let io = |error| disk::unreadable(&path, &error);
        let listed = files.list(dir).map_err(io)?;
        let bytes = listed.into_iter().find(|(found, _)| *found == name(number));
        let (_, bytes) = bytes.ok_or_else(|| damaged("it is missing"))?;
        let file = files.open(&path, false).map_err(io)?;
        let footer_at = bytes.checked_sub(disk::length(FOOTER_BYTES));
        let footer_at = footer_at.ok_or_else(|| damaged("it is too short"))?;
        let footer = disk::read(&*file, footer_at, FOOTER_BYTES).map_err(io)?;
        let footer = Footer::decode(&footer).ok_or_else(|| damaged("its footer is damaged"))?;
        let list_bytes =
            footer_at.checked_sub(footer.list_at).and_then(|n| usize::try_from(n).ok());
        let list_bytes = list_bytes.filter(|found| footer.list_bytes() == Some(*found));
        let list_bytes = list_bytes.ok_or_else(|| damaged("its footer is damaged"))?;
        let list = disk::read(&*file, footer.list_at, list_bytes).map_err(io)?;
        if crc32fast::hash(&list) != footer.list_crc {
            return Err(damaged("its list of blocks is damaged"));
        }
        let (by_collection, by_account) = footer.parts(&list);
        let (rows, hiding) = (footer.rows, footer.hiding);
        Ok(Self { path, file, by_collection, by_account, bytes, rows, hiding })
    }

    fn part(&self, order: Order) -> &Part {
        match order {
            Order::Collection => &self.by_collection,
            Order::Account => &self.by_account,
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        (self.by_collection.offsets.len() + self.by_account.offsets.len()) * ENTRY_BYTES
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

struct Footer {
    by_collection: u64,
    by_account: u64,
    list_at: u64,
    rows: u64,
    hiding: u64,
    list_crc: u32,
}

impl Footer {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        let numbers = [self.by_collection, self.by_account, self.list_at, self.rows, self.hiding];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.list_crc.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.extend_from_slice(END_MAGIC);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, end) = bytes.split_at_checked(FOOTER_BYTES - 12)?;
        let (checksum, magic) = end.split_first_chunk::<4>()?;
        if magic != END_MAGIC || crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let number = |place: usize| {
            let bytes = content.get(place * 8..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        Some(Self {
            by_collection: number(0)?,
            by_account: number(1)?,
            list_at: number(2)?,
            rows: number(3)?,
            hiding: number(4)?,
            list_crc: u32::from_le_bytes(*content.get(40..)?.first_chunk::<4>()?),
        })
    }

    fn list_bytes(&self) -> Option<usize> {
        let blocks = self.by_collection.checked_add(self.by_account)?;
        usize::try_from(blocks.checked_mul(disk::length(ENTRY_BYTES))?).ok()
    }

    /// The blocks in both orders.
    fn parts(&self, list: &[u8]) -> (Part, Part) {
        let mut parts = (Part::default(), Part::default());
        let (entries, _) = list.as_chunks::<ENTRY_BYTES>();
        for (place, entry) in entries.iter().enumerate() {
            let (key, offset) = entry.split_at(8);
            let number = |bytes: &[u8]| bytes.first_chunk::<8>().copied().unwrap_or_default();
            let first = disk::length(place) < self.by_collection;
            let part = if first { &mut parts.0 } else { &mut parts.1 };
            part.first_keys.push(u64::from_le_bytes(number(key)));
            part.offsets.push(u64::from_le_bytes(number(offset)));
        }
        parts.0.end = parts.1.offsets.first().copied().unwrap_or(self.list_at);
        parts.1.end = self.list_at;
        parts
    }
}

/// Writes a segment from front to back: rows by collection, then rows by account.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    number: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    builder: Builder,
    list: Vec<u8>,
    by_collection: u64,
    rows: u64,
    hiding: u64,
}

impl SegmentWriter {
    pub(super) fn create(files: &dyn Files, dir: &Path, number: u64) -> Result<Self, IndexError> {
        let path = dir.join(name(number));
        let file = files.create(&path).map_err(|error| disk::unwritable(&path, &error))?;
        Ok(Self {
            number,
            path,
            file,
            buffer: MAGIC.to_vec(),
            written: 0,
            builder: Builder::default(),
            list: Vec::new(),
            by_collection: 0,
            rows: 0,
            hiding: 0,
        })
    }

    /// Adds a row of the order that is being written; keys ascend.
    pub(super) fn add(&mut self, key: u64, tag: u8) -> Result<(), IndexError> {
        if !self.builder.add(key, tag) {
            self.end_block()?;
            self.builder.add(key, tag);
        }
        self.rows += 1;
        self.hiding += u64::from(tag == NONE);
        Ok(())
    }

    /// From here on rows come by account. Returns the rows that came before.
    pub(super) fn turn(&mut self) -> Result<(u64, u64), IndexError> {
        self.end_block()?;
        self.by_collection = disk::length(self.list.len() / ENTRY_BYTES);
        Ok((self.rows, self.hiding))
    }

    fn end_block(&mut self) -> Result<(), IndexError> {
        let offset = self.written + disk::length(self.buffer.len());
        if let Some(first) = self.builder.finish(&mut self.buffer) {
            self.list.extend_from_slice(&first.to_le_bytes());
            self.list.extend_from_slice(&offset.to_le_bytes());
        }
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), IndexError> {
        let written = self.file.write_all_at(&self.buffer, self.written);
        written.map_err(|error| disk::unwritable(&self.path, &error))?;
        self.written += disk::length(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file durable, but not its name.
    ///
    /// * `rows` – as [`Self::turn`] gave them
    pub(super) fn finish(mut self, (rows, hiding): (u64, u64)) -> Result<u64, IndexError> {
        self.end_block()?;
        let blocks = disk::length(self.list.len() / ENTRY_BYTES);
        let footer = Footer {
            by_collection: self.by_collection,
            by_account: blocks - self.by_collection,
            list_at: self.written + disk::length(self.buffer.len()),
            rows,
            hiding,
            list_crc: crc32fast::hash(&self.list),
        };
        self.buffer.append(&mut self.list);
        self.buffer.extend_from_slice(&footer.encode());
        self.write()?;
        self.file.sync().map_err(|error| disk::unsynced(&self.path, &error))?;
        Ok(self.number)
    }
}
