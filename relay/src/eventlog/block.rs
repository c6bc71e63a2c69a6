//! A compressed block: whole records of a sealed segment. Pure.
//!
//! ```text
//! block      offset size
//!                 0    4  CRC-32 of bytes 4..length, begun with the salt
//!                 4    4  length of the block, this header included
//!                 8    4  length of its records when decompressed
//!                12    4  number of records
//!                16    8  seq of the first record
//!                24       zstd frame, to the end of the block
//! ```
//!
//! The checksum is of what lies on the disk, so that damage is found before it is decompressed. The
//! records inside are those of the plain segment, byte for byte.

use std::io;

use super::segment::{Fields, RECORD_BYTES_MAX, checksum};

/// Length of a block without its frame.
pub(super) const BLOCK: usize = 24;
/// Bytes of records that share a block; a record that is longer has one for itself. What a cursor in
/// the middle costs at most. Chosen by measurement, see `docs/decisions`.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
/// Longest block that is believed, so that a damaged length cannot ask for gigabytes.
pub(super) const BLOCK_LENGTH_MAX: usize = RECORD_BYTES_MAX + (1 << 20);

/// The fixed part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHead {
    sum: u32,
    /// Of the whole block.
    pub(super) length: usize,
    /// Of its records.
    pub(super) plain: usize,
    pub(super) records: u32,
    /// Seq of its first record.
    pub(super) first: u64,
}

impl BlockHead {
    /// Reads the first [`BLOCK`] bytes; `None` when they cannot be those of a block.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..BLOCK)?);
        let sum = fields.u32();
        let [length, plain] = [fields.u32(), fields.u32()].map(usize::try_from);
        let (length, plain) = (length.ok()?, plain.ok()?);
        let (records, first) = (fields.u32(), fields.u64());
        let sound = (BLOCK..=BLOCK_LENGTH_MAX).contains(&length) && plain <= BLOCK_LENGTH_MAX;
        (sound && records > 0).then_some(Self { sum, length, plain, records, first })
    }

    /// Seq of its last record.
    pub(super) fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.records)) - 1
    }

    /// The records of the whole block; an error says what is wrong with it.
    pub(super) fn decompress(&self, block: &[u8], salt: u32) -> Result<Vec<u8>, &'static str> {
        let Some(block) = block.get(..self.length) else { return Err("the block is cut short") };
        if checksum(salt, block.get(4..).unwrap_or_default()) != self.sum {
            return Err("wrong checksum of a block");
        }
        let frame = block.get(BLOCK..).unwrap_or_default();
        match zstd::bulk::decompress(frame, self.plain) {
            Ok(records) if records.len() == self.plain => Ok(records),
            Ok(_) | Err(_) => Err("a block that cannot be decompressed"),
        }
    }
}

/// Makes blocks; keeps the memory of the compressor between them.
pub(super) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    /// * `level` – of zstd
    pub(super) fn new(level: i32) -> io::Result<Self> {
        Ok(Self(zstd::bulk::Compressor::new(level)?))
    }

    /// A block of these records.
    pub(super) fn block(
        &mut self,
        records: &[u8],
        (first, count): (u64, u32),
        salt: u32,
    ) -> io::Result<Vec<u8>> {
        let frame = self.0.compress(records)?;
        let number = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
        let mut block = Vec::with_capacity(BLOCK + frame.len());
        block.extend_from_slice(&[0; 4]);
        for field in [number(BLOCK + frame.len())?, number(records.len())?, count] {
            block.extend_from_slice(&field.to_le_bytes());
        }
        block.extend_from_slice(&first.to_le_bytes());
        block.extend_from_slice(&frame);
        let sum = checksum(salt, block.get(4..).unwrap_or_default());
        if let Some(place) = block.get_mut(..4) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(records: &[u8]) -> Vec<u8> {
        Compressor::new(1).unwrap().block(records, (7, 3), 99).unwrap()
    }

    /// DESIGN 10.11: what is compressed comes back byte for byte, the incompressible too.
    #[test]
    fn records_come_back_from_their_block() {
        let noise: Vec<u8> = (0..50_000_u32)
            .map(|i| i.wrapping_mul(i).wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        for records in [vec![b'a'; 100_000], noise, b"short".to_vec()] {
            let block = block(&records);
            let head = BlockHead::decode(&block).unwrap();
            assert_eq!((head.length, head.plain), (block.len(), records.len()));
            assert_eq!((head.first, head.last()), (7, 9));
            assert_eq!(head.decompress(&block, 99).unwrap(), records);
        }
    }

    /// DESIGN 10.10: any changed byte of a block is noticed, and so is one that is cut short.
    #[test]
    fn damage_anywhere_in_a_block_is_noticed() {
        let records = vec![b'a'; 3_000];
        let whole = block(&records);
        for at in 0..whole.len() {
            let mut block = whole.clone();
            block[at] ^= 0x10;
            let read = BlockHead::decode(&block).map(|head| head.decompress(&block, 99));
            assert!(!matches!(read, Some(Ok(_))), "byte {at}");
        }
        let head = BlockHead::decode(&whole).unwrap();
        assert!(head.decompress(&whole[..whole.len() - 1], 99).is_err());
        assert!(head.decompress(&whole, 98).is_err(), "another salt");
        assert_eq!(BlockHead::decode(&whole[..BLOCK - 1]), None);
    }
}
