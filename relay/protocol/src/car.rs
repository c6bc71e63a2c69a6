//! CAR v1 slices (ENC-14…16).
use crate::{CommitCid, Invalid};

/// The blocks of one message: an index over borrowed bytes; digests are checked on use (ENC-13).
#[derive(Debug)]
pub struct Blocks<'a> {
    root: CommitCid,
    list: Vec<(&'a [u8; 32], &'a [u8])>,
}
impl<'a> Blocks<'a> {
    /// Reads header and sections; at most 10,000 blocks.
    pub fn read(car: &'a [u8]) -> Result<Self, Invalid> {
        todo!()
    }
    /// `roots[0]`, the commit (ENC-15).
    pub fn root(&self) -> CommitCid {
        self.root
    }
    /// The block with this digest, `None` when absent; an error when a block is stored under this
    /// CID but its bytes do not hash to it.
    pub fn get(&self, digest: &[u8; 32]) -> Result<Option<&'a [u8]>, Invalid> {
        todo!()
    }
    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
