//! CAR v1 slices (ENC-14…16).

mod sections;

use std::cell::Cell;

pub(crate) use sections::Sections;

use crate::{CommitCid, Invalid, Reader, sha256::sha256};

/// Blocks in one message (ENC-16).
pub(crate) const BLOCKS_MAX: usize = 10_000;
/// Up to here a search from the front is as fast as a sorted index. Chosen because a commit of one
/// operation carries about 9 blocks.
const LINEAR_MAX: usize = 32;
/// A length of up to 63 bits (ENC-14).
const UVARINT_BYTES_MAX: usize = 9;

pub(crate) const TRUNCATED: Invalid = Invalid::new("the CAR ends inside a section");

/// One dag-cbor block as the CAR has it.
#[derive(Debug)]
struct Block<'a> {
    /// First bytes of the digest: a look for a block compares these alone with nearly all others. A
    /// node names some ten subtrees that are not in the message, and each is looked for.
    prefix: u64,
    digest: &'a [u8; 32],
    data: &'a [u8],
    /// Set once the bytes were found to hash to `digest`.
    verified: Cell<bool>,
}

/// The blocks of one message: an index over borrowed bytes; digests are checked on use (ENC-13),
/// each at most once.
#[derive(Debug)]
pub struct Blocks<'a> {
    root: CommitCid,
    /// In file order up to [`LINEAR_MAX`], else sorted by digest; of equal digests the first in the
    /// file stays first.
    list: Vec<Block<'a>>,
}

impl<'a> Blocks<'a> {
    /// Reads header and sections; at most 10,000 blocks.
    ///
    /// `roots[0]` must be a dag-cbor CID and its block must be there (ENC-15). Raw blocks are
    /// counted and left out: nothing that a relay checks is raw.
    pub fn read(car: &'a [u8]) -> Result<Self, Invalid> {
        let (header, mut rest) = section(car)?;
        let root = read_header(header)?;
        let mut list = Vec::with_capacity(LINEAR_MAX / 2);
        let mut count = 0_usize;
        while !rest.is_empty() {
            count = count.saturating_add(1);
            if count > BLOCKS_MAX {
                return Err(Invalid::new("too large: the CAR has more than 10,000 blocks"));
            }
            let (block, after) = section(rest)?;
            rest = after;
            let (cid, data) = block
                .split_first_chunk()
                .ok_or(Invalid::new("a CAR section is shorter than a CID"))?;
            if let (crate::Codec::DagCbor, digest) = crate::Cid::split(cid)? {
                let (prefix, verified) = (prefix(digest), Cell::new(false));
                list.push(Block { prefix, digest, data, verified });
            }
        }
        if list.len() > LINEAR_MAX {
            list.sort_by(|left, right| left.digest.cmp(right.digest));
        }
        let blocks = Self { root, list };
        if blocks.find(&root.0).is_none() {
            return Err(Invalid::new("the CAR does not hold the block of its root"));
        }
        Ok(blocks)
    }

    /// `roots[0]`, the commit (ENC-15).
    pub const fn root(&self) -> CommitCid {
        self.root
    }

    /// The block with this digest, `None` when absent; an error when a block is stored under this
    /// CID but its bytes do not hash to it. Of several blocks with one CID the first counts.
    pub fn get(&self, digest: &[u8; 32]) -> Result<Option<&'a [u8]>, Invalid> {
        let Some(block) = self.find(digest) else { return Ok(None) };
        if !block.verified.get() {
            if sha256(block.data) != *block.digest {
                return Err(Invalid::new("a block does not hash to its CID"));
            }
            block.verified.set(true);
        }
        Ok(Some(block.data))
    }

    /// Number of dag-cbor blocks, the commit and duplicates included.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none; never so after [`Self::read`].
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn find(&self, digest: &[u8; 32]) -> Option<&Block<'a>> {
        if self.list.len() <= LINEAR_MAX {
            let wanted = prefix(digest);
            return self.list.iter().find(|block| block.prefix == wanted && block.digest == digest);
        }
        let at = self.list.partition_point(|block| block.digest < digest);
        self.list.get(at).filter(|block| block.digest == digest)
    }
}

fn prefix(digest: &[u8; 32]) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// Reads `{roots: [CID…], version: 1}` and gives `roots[0]`. Further roots are ignored (ENC-15).
pub(crate) fn read_header(header: &[u8]) -> Result<CommitCid, Invalid> {
    let mut reader = Reader::new(header);
    let mut entries = reader.map()?;
    let (mut root, mut version) = (None, None);
    while let Some(key) = entries.next_key(&mut reader)? {
        match key {
            "roots" => {
                let count = reader.array_len()?;
                if count == 0 {
                    return Err(Invalid::new("the CAR has no root"));
                }
                root = Some(CommitCid(*reader.block_link()?));
                for _ in 1..count {
                    reader.skip_value()?;
                }
            }
            "version" => version = Some(reader.uint()?),
            _ => reader.skip_value()?,
        }
    }
    reader.expect_end()?;
    if version != Some(1) {
        return Err(Invalid::new("the CAR is not of version 1"));
    }
    root.ok_or(Invalid::new("the CAR has no root"))
}

/// Splits off `uvarint(length) ‖ length bytes`.
fn section(bytes: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let (length, rest) = uvarint(bytes)?.ok_or(TRUNCATED)?;
    let length = usize::try_from(length).or(Err(TRUNCATED))?;
    rest.split_at_checked(length).ok_or(TRUNCATED)
}

/// Reads an unsigned LEB128 of at most 9 bytes in its shortest form; `None` when the bytes end in it.
fn uvarint(bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Invalid> {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    let mut rest = bytes;
    for _ in 0..UVARINT_BYTES_MAX {
        let Some((&byte, after)) = rest.split_first() else { return Ok(None) };
        rest = after;
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift = shift.wrapping_add(7);
        if byte & 0x80 == 0 {
            return if byte == 0 && shift > 7 {
                Err(Invalid::new("a CAR length is not in its shortest form"))
            } else {
                Ok(Some((value, rest)))
            };
        }
    }
    Err(Invalid::new("a CAR length has more than 9 bytes"))
}
