//! The batches since the newest segment, each durable before it is visible.
//!
//! ```text
//! offset  size  meaning
//! 0       8     "RLYPJRN1"
//! 8       8     number of the journal
//! 16      …     records:
//!   0     4     "PAIR"
//!   4     4     length of the content
//!   8     4     CRC-32 of the content
//!   12    …     content
//! ```
//!
//! Numbers are little-endian, those within the content varints. A record whose bytes are not whole is
//! the end of what was synced, if nothing whole follows it; else the file is damaged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    IndexError,
    block::{put, take},
    disk,
    key::TAGS,
    resolve::Row,
};
use crate::{
    domain::Seq,
    eventlog::{File, Files},
};

const MAGIC: &[u8; 8] = b"RLYPJRN1";
const RECORD_MAGIC: &[u8; 4] = b"PAIR";
const HEADER_BYTES: usize = 16;
const RECORD_HEADER_BYTES: usize = 12;

/// A note, or that there is none any more.
pub(super) type Note = (Vec<u8>, Option<Vec<u8>>);

/// What a batch came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) position: Option<Seq>,
    /// New NSIDs, the first with this place among all.
    pub(super) names: (usize, Vec<Arc<str>>),
    pub(super) progress: Vec<Note>,
    pub(super) rows: Vec<Row>,
}

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.position.map_or(0, |position| position.0.saturating_add(1)));
        put(out, disk::length(self.names.0));
        put(out, disk::length(self.names.1.len()));
        for name in &self.names.1 {
            put_bytes(out, name.as_bytes());
        }
        put(out, disk::length(self.progress.len()));
        for (key, value) in &self.progress {
            put_bytes(out, key);
            out.push(u8::from(value.is_some()));
            put_bytes(out, value.as_deref().unwrap_or_default());
        }
        put(out, disk::length(self.rows.len()));
        let (mut last, mut tags) = (0, 0);
        for row in &self.rows {
            let now = row.old * TAGS + row.new;
            put(out, ((row.key - last) << 1) | u64::from(now != tags));
            if now != tags {
                out.push(now);
            }
            (last, tags) = (row.key, now);
        }
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let all = &mut bytes;
        let position = take(all)?.checked_sub(1).map(Seq);
        let first = usize::try_from(take(all)?).ok()?;
        let mut names = Vec::new();
        for _ in 0..take(all)? {
            names.push(std::str::from_utf8(take_bytes(all)?).ok()?.into());
        }
        let mut progress = Vec::new();
        for _ in 0..take(all)? {
            let key = take_bytes(all)?.to_vec();
            let (is_there, rest) = all.split_first()?;
            *all = rest;
            let value = take_bytes(all)?.to_vec();
            progress.push((key, (*is_there == 1).then_some(value)));
        }
        let mut rows = Vec::new();
        let (mut key, mut tags) = (0_u64, 0);
        for _ in 0..take(all)? {
            let number = take(all)?;
            if number & 1 == 1 {
                let (now, rest) = all.split_first()?;
                (tags, *all) = (*now, rest);
            }
            key = key.checked_add(number >> 1)?;
            rows.push(Row { key, old: tags / TAGS, new: tags % TAGS });
        }
        bytes.is_empty().then_some(Self { position, names: (first, names), progress, rows })
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, disk::length(bytes.len()));
    out.extend_from_slice(bytes);
}

pub(super) fn take_bytes<'a>(all: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take(all)?).ok()?;
    let (bytes, rest) = all.split_at_checked(length)?;
    *all = rest;
    Some(bytes)
}

/// Name of the file with this number.
pub(super) fn name(number: u64) -> String {
    format!("journal-{number:012}")
}

/// The journal that is being written.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) number: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Where the next record goes.
    pub(super) end: u64,
}

impl Journal {
    /// Creates an empty one, durable with its name.
    pub(super) fn create(files: &dyn Files, dir: &Path, number: u64) -> Result<Self, IndexError> {
        let path = dir.join(name(number));
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&number.to_le_bytes());
        let file = files.create(&path).map_err(|error| disk::unwritable(&path, &error))?;
        let written = file.write_all_at(&header, 0);
        if let Err(error) = written {
            // Named by nobody; the next attempt writes over it.
            return Err(disk::unwritable(&path, &error));
        }
        file.sync().map_err(|error| disk::unsynced(&path, &error))?;
        files.sync_dir(dir).map_err(|error| disk::unsynced(dir, &error))?;
        Ok(Self { number, path, file, end: disk::length(HEADER_BYTES) })
    }

    /// Appends a record and makes it durable.
    ///
    /// # Errors
    /// [`IndexError::Full`] when there is no room: the journal is as before. [`IndexError::Failed`]:
    /// nothing is known of what is on the disk.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), IndexError> {
        let mut bytes = RECORD_MAGIC.to_vec();
        bytes.resize(RECORD_HEADER_BYTES, 0);
        record.encode(&mut bytes);
        let content = bytes.get(RECORD_HEADER_BYTES..).unwrap_or_default();
        let length = u32::try_from(content.len()).map_err(|_overflow| {
            IndexError::Limit("a batch for the index of collections is too large".to_owned())
        })?;
        let checksum = crc32fast::hash(content);
        let (header, _) = bytes.split_at_mut(RECORD_HEADER_BYTES);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..].copy_from_slice(&checksum.to_le_bytes());
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            let error = disk::unwritable(&self.path, &error);
            if matches!(error, IndexError::Full(_)) {
                self.cut()?;
            }
            return Err(error);
        }
        self.file.sync().map_err(|error| disk::unsynced(&self.path, &error))?;
        self.end += disk::length(bytes.len());
        Ok(())
    }

    /// Takes away what is behind the last record.
    fn cut(&self) -> Result<(), IndexError> {
        let cut = self.file.set_len(self.end).and_then(|()| self.file.sync());
        cut.map_err(|error| disk::unsynced(&self.path, &error))
    }
}

/// Gives all whole records of a journal to `each`.
///
/// * `is_last` – it may end in the middle of a record, or of its header
///
/// # Errors
/// [`IndexError::Damaged`].
pub(super) fn replay(
    files: &dyn Files,
    (dir, number, bytes): (&Path, u64, u64),
    is_last: bool,
    mut each: impl FnMut(Record) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let path = dir.join(name(number));
    let io = |error| disk::unreadable(&path, &error);
    let file = files.open(&path, false).map_err(io)?;
    let size = usize::try_from(bytes).map_err(|_large| disk::damaged(&path, "it is too large"))?;
    let content = disk::read(&*file, 0, size).map_err(io)?;
    let header = content.split_at_checked(HEADER_BYTES);
    let header = header
        .filter(|(header, _)| header.strip_prefix(MAGIC) == Some(number.to_le_bytes().as_slice()));
    let mut rest = header.map_or(content.as_slice(), |(_, records)| records);
    if header.is_some() {
        while let Some((record, behind)) = whole(rest) {
            let record = Record::decode(record);
            each(record.ok_or_else(|| disk::damaged(&path, "it holds a record of another kind"))?)?;
            rest = behind;
        }
    }
    let is_torn = !rest.is_empty() || header.is_none();
    if is_torn && (!is_last || has_whole(rest)) {
        let at = disk::length(size - rest.len());
        return Err(disk::damaged(&path, &format!("its record at byte {at} is damaged")));
    }
    Ok(())
}

/// The content of the record at the front, and what follows it.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()?;
    let [magic @ .., l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).ok()?;
    let (content, behind) = rest.split_at_checked(length)?;
    let checksum = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
    let is_whole = magic == RECORD_MAGIC && crc32fast::hash(content) == checksum;
    is_whole.then_some((content, behind))
}

/// Whether a whole record begins anywhere.
fn has_whole(bytes: &[u8]) -> bool {
    let places = bytes.windows(RECORD_MAGIC.len()).enumerate();
    places
        .filter(|(_, window)| window == RECORD_MAGIC)
        .any(|(place, _)| bytes.get(place..).and_then(whole).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let note = (prop::collection::vec(any::<u8>(), 0..9), any::<Option<Vec<u8>>>());
        let names = prop::collection::vec("[a-z.]{0,20}", 0..4);
        let rows = prop::collection::vec((1_u64..1 << 40, 0_u8..16, 0_u8..16), 0..50);
        let position = prop::option::of(0..1_u64 << 53);
        (position, names, prop::collection::vec(note, 0..3), rows).prop_map(
            |(position, names, progress, rows)| {
                let mut key = 0;
                let rows = rows.into_iter().map(|(step, old, new)| {
                    key += step;
                    Row { key, old, new }
                });
                let rows = rows.collect();
                let names = (names.len(), names.into_iter().map(Into::into).collect());
                Record { position: position.map(Seq), names, progress, rows }
            },
        )
    }

    proptest! {
        /// What was written is read; bytes that are cut or follow make it unreadable, never a panic.
        #[test]
        fn a_record_comes_back_whole_or_not_at_all(record in records(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            let less = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(Record::decode(less), None);
            bytes.push(0);
            prop_assert_eq!(Record::decode(&bytes), None);
        }

        #[test]
        fn rubbish_is_no_record(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let mut again = Vec::new();
            if let Some(record) = Record::decode(&bytes) {
                record.encode(&mut again);
                prop_assert_eq!(Record::decode(&again), Some(record));
            }
        }
    }
}
