//! Rows as differences: the unit that is read from a file and checked.
//!
//! ```text
//! offset  size  meaning
//! 0       4     CRC-32 of what follows
//! 4       8     key of the first row
//! 12      1     its tag
//! 13      …     a row each: difference to the key before, shifted left by one, as a varint; the lowest
//!               bit says that the tag is another than before and follows as one byte
//! ```
//!
//! Accounts of a popular collection are neighbours: a row takes one byte.

/// Bytes of a block, before the row that fills it.
pub(super) const BLOCK_BYTES: usize = 4_096;
/// Longest varint of a shifted difference, and a tag.
const ROW_BYTES_MAX: usize = 11;
/// Bytes before the second row.
const HEAD_BYTES: usize = 13;

/// Appends a varint of seven bits a byte, lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while let (low, 1..) = (number.to_le_bytes()[0], number >> 7) {
        out.push(low | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Takes a varint from the front; `None` when it does not end or is too long.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        *bytes = rest;
        return Some(u64::from(*first));
    }
    let mut number = u64::from(first & 0x7f);
    let mut shift = 7;
    for (place, byte) in rest.iter().enumerate() {
        let low = u64::from(byte & 0x7f);
        if shift > 63 || (shift == 63 && low > 1) {
            return None;
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            *bytes = rest.get(place + 1..)?;
            return Some(number);
        }
        shift += 7;
    }
    None
}

/// Puts rows together.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    first: u64,
    last: u64,
    tag: u8,
}

impl Builder {
    /// Adds a row; keys must ascend.
    ///
    /// Returns false, and takes nothing, when the block is full.
    pub(super) fn add(&mut self, key: u64, tag: u8) -> bool {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; 4]);
            self.bytes.extend_from_slice(&key.to_le_bytes());
            self.bytes.push(tag);
            self.first = key;
        } else {
            if self.bytes.len() + ROW_BYTES_MAX > BLOCK_BYTES {
                return false;
            }
            let difference = key.saturating_sub(self.last);
            let other = tag != self.tag;
            put(&mut self.bytes, (difference << 1) | u64::from(other));
            if other {
                self.bytes.push(tag);
            }
        }
        (self.last, self.tag) = (key, tag);
        true
    }

    /// The block with the key of its first row; the builder is empty then.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Option<u64> {
        let checksum = crc32fast::hash(self.bytes.get(4..)?);
        self.bytes.get_mut(..4)?.copy_from_slice(&checksum.to_le_bytes());
        out.append(&mut self.bytes);
        Some(self.first)
    }
}

/// Goes through the rows of a block that was checked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Walk {
    /// Bytes already read.
    at: usize,
    key: u64,
    tag: u8,
}

impl Walk {
    /// Begins at the first row.
    ///
    /// Returns `None` when the checksum is wrong.
    pub(super) fn begin(block: &[u8]) -> Option<Self> {
        let (checksum, content) = block.split_first_chunk::<4>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (key, rest) = content.split_first_chunk::<8>()?;
        Some(Self { at: HEAD_BYTES, key: u64::from_le_bytes(*key), tag: *rest.first()? })
    }

    pub(super) fn row(&self) -> (u64, u8) {
        (self.key, self.tag)
    }

    /// Goes on to the next row; `Some(false)` at the end of the block, `None` when the bytes are no row.
    #[inline]
    pub(super) fn next(&mut self, block: &[u8]) -> Option<bool> {
        let all = block.get(self.at..)?;
        if all.is_empty() {
            return Some(false);
        }
        let mut rest = all;
        let number = take(&mut rest)?;
        if number & 1 == 1 {
            let (tag, after) = rest.split_first()?;
            self.tag = *tag;
            rest = after;
        }
        self.key = self.key.checked_add(number >> 1)?;
        self.at += all.len() - rest.len();
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(block: &[u8]) -> Option<Vec<(u64, u8)>> {
        let mut walk = Walk::begin(block)?;
        let mut rows = vec![walk.row()];
        while walk.next(block)? {
            rows.push(walk.row());
        }
        Some(rows)
    }

    proptest! {
        /// Every row comes back; a block with a flipped bit or a cut is never read.
        #[test]
        fn a_block_gives_back_its_rows_or_nothing(
            steps in prop::collection::vec((1_u64..1 << 45, 0_u8..16), 1..600),
            flip in any::<prop::sample::Index>(),
        ) {
            let mut builder = Builder::default();
            let mut taken = Vec::new();
            let mut key = 0;
            for (step, tag) in steps {
                key += step;
                if !builder.add(key, tag) {
                    break;
                }
                taken.push((key, tag));
            }
            let mut block = Vec::new();
            prop_assert_eq!(builder.finish(&mut block), Some(taken[0].0));
            prop_assert!(block.len() <= BLOCK_BYTES);
            prop_assert_eq!(rows(&block), Some(taken));

            let place = flip.index(block.len() * 8);
            block[place / 8] ^= 1 << (place % 8);
            prop_assert_eq!(rows(&block), None);
            block.truncate(place / 8);
            prop_assert_eq!(rows(&block), None);
        }

        /// Numbers of any size come back, rubbish gives nothing.
        #[test]
        fn varints_come_back(number in any::<u64>(), rubbish in prop::collection::vec(128_u8.., 0..12)) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(take(&mut &rubbish[..]), None);
        }
    }
}
