//! Walking over the records of a file, block by block.

use std::io;

use bytes::Bytes;

use super::{
    files::{File, length, read_up_to},
    segment::{Parsed, RECORD, RECORD_BYTES_MAX, Record, parse_record},
};

/// Whole records that were read in one go.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) bytes: Bytes,
    at: usize,
    /// Where the last record began.
    before: usize,
    salt: u32,
}

/// What comes next in a block.
#[derive(Debug)]
pub(super) enum Step {
    /// A whole record that begins at this place of the block.
    Record(usize, Record),
    /// The block is used up; go on behind its last record.
    End,
    /// Here is no record.
    Bad(&'static str),
}

impl Block {
    /// Reads about `bytes_max` bytes from `offset`, at least one whole record, nothing at or
    /// behind `end`.
    pub(super) fn read(
        file: &dyn File,
        salt: u32,
        (offset, end): (u64, u64),
        bytes_max: usize,
    ) -> io::Result<Self> {
        let available = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = read_up_to(file, offset, available.min(bytes_max.max(RECORD)))?;
        if let Parsed::Short(needed) = parse_record(&bytes, salt)
            && needed <= available.min(RECORD_BYTES_MAX)
        {
            bytes = read_up_to(file, offset, needed)?;
        }
        Ok(Self { bytes: Bytes::from(bytes), at: 0, before: 0, salt })
    }

    /// The next record, its checksum verified.
    pub(super) fn step(&mut self) -> Step {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Step::End;
        }
        match parse_record(rest, self.salt) {
            Parsed::Whole(record) => {
                let at = self.at;
                self.before = at;
                self.at += record.length;
                Step::Record(at, record)
            }
            // `read` made sure that the first record is whole if its file has it all.
            Parsed::Short(_) if self.at == 0 => Step::Bad("the file ends inside a record"),
            Parsed::Short(_) => Step::End,
            Parsed::Bad(why) => Step::Bad(why),
        }
    }

    /// Goes back before the last record.
    pub(super) fn unstep(&mut self) {
        self.at = self.before;
    }

    /// The records stepped over.
    pub(super) fn whole(&self) -> Bytes {
        self.bytes.slice(..self.at.min(self.bytes.len()))
    }

    /// Bytes taken by the records stepped over.
    pub(super) fn used(&self) -> u64 {
        length(self.at)
    }
}
