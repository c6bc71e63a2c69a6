//! The sparse index of a segment: seq → offset and time → offset. Pure.

use super::segment::{Fields, checksum};

/// Bytes of records between two marks. Chosen so that finding a place reads at most this much, and
/// that a segment of 1 GiB has marks of about 200 KB.
pub(super) const DISTANCE: u64 = 128 << 10;

/// Length of one mark on disk.
pub(super) const MARK: usize = 24;

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) seq: u64,
    pub(super) time_us: u64,
    pub(super) offset: u64,
}

/// Marks in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    marks: Vec<Mark>,
}

impl Index {
    /// Takes note of the record at this place when it is far enough from the mark before.
    pub(super) fn note(&mut self, mark: Mark, distance: u64) {
        if self.marks.last().is_none_or(|last| mark.offset >= last.offset + distance) {
            self.marks.push(mark);
        }
    }

    /// Forgets what lies behind `last`.
    pub(super) fn cut(&mut self, last: u64) {
        self.marks.truncate(self.marks.partition_point(|mark| mark.seq <= last));
    }

    /// Number of marks.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// The last mark at or before this seq.
    pub(super) fn at_seq(&self, seq: u64) -> Option<Mark> {
        let after = self.marks.partition_point(|mark| mark.seq <= seq);
        self.marks.get(after.checked_sub(1)?).copied()
    }

    /// The last mark before this time: the first record at or after it lies behind this mark.
    pub(super) fn before_time(&self, time_us: u64) -> Option<Mark> {
        let after = self.marks.partition_point(|mark| mark.time_us < time_us);
        self.marks.get(after.checked_sub(1)?).copied()
    }

    /// The first offset behind this one.
    pub(super) fn after_offset(&self, offset: u64) -> Option<u64> {
        self.marks.iter().map(|mark| mark.offset).find(|marked| *marked > offset)
    }

    /// The marks as the footer holds them.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.marks.len() * MARK);
        for mark in &self.marks {
            for number in [mark.seq, mark.time_us, mark.offset] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    /// Reads marks of a footer; `None` when the checksum is not `sum`.
    pub(super) fn decode(bytes: &[u8], salt: u32, sum: u32) -> Option<Self> {
        if checksum(salt, bytes) != sum {
            return None;
        }
        let marks = bytes
            .chunks_exact(MARK)
            .map(|chunk| {
                let mut fields = Fields(chunk);
                Mark { seq: fields.u64(), time_us: fields.u64(), offset: fields.u64() }
            })
            .collect();
        Some(Self { marks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (seq, time_us, offset) in
            [(10, 100, 128), (11, 100, 200), (20, 110, 1200), (30, 110, 2300), (40, 150, 3400)]
        {
            index.note(Mark { seq, time_us, offset }, 1000);
        }
        index
    }

    /// CUR-11: the mark found is never behind the seq looked for.
    #[test]
    fn the_mark_at_or_before_a_seq_is_found() {
        let seq_at = |seq| index().at_seq(seq).map(|mark| mark.seq);
        assert_eq!(index().len(), 4);
        assert_eq!(seq_at(9), None);
        assert_eq!(seq_at(10), Some(10));
        assert_eq!(seq_at(19), Some(10));
        assert_eq!(seq_at(20), Some(20));
        assert_eq!(seq_at(1000), Some(40));
    }

    /// A time that several marks share is looked for behind the last mark before it.
    #[test]
    fn the_mark_before_a_time_is_found() {
        let seq_at = |time| index().before_time(time).map(|mark| mark.seq);
        assert_eq!(seq_at(100), None);
        assert_eq!(seq_at(101), Some(10));
        assert_eq!(seq_at(110), Some(10));
        assert_eq!(seq_at(111), Some(30));
        assert_eq!(seq_at(1000), Some(40));
    }

    /// DESIGN 10.1: marks survive the footer, and a damaged footer is noticed.
    #[test]
    fn marks_come_back_from_their_bytes_and_damage_is_noticed() {
        let mut bytes = index().encode();
        let sum = checksum(7, &bytes);
        assert_eq!(Index::decode(&bytes, 7, sum), Some(index()));
        bytes[5] ^= 1;
        assert_eq!(Index::decode(&bytes, 7, sum), None);
    }

    /// Recovery keeps marks of the part that stays only.
    #[test]
    fn cutting_forgets_marks_behind_the_cut() {
        let mut index = index();
        index.cut(29);
        assert_eq!(index.at_seq(1000).map(|mark| mark.seq), Some(20));
    }
}
