//! CIDs (ENC-11…13): CIDv1, sha2-256, as 32-byte digests.
use std::fmt;

use crate::Invalid;

/// Codec of a CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 0x71
    DagCbor,
    /// 0x55
    Raw,
}
/// A CIDv1 with sha2-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cid {
    /// Codec.
    pub codec: Codec,
    /// Digest of the block.
    pub digest: [u8; 32],
}
impl Cid {
    /// Reads the 36 binary bytes, nothing before or after.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        todo!()
    }
    /// Reads `b…` (59 characters).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        todo!()
    }
    /// The 36 binary bytes.
    pub fn to_bytes(self) -> [u8; 36] {
        todo!()
    }
    /// dag-cbor CID of a block.
    pub fn of(block: &[u8]) -> Self {
        todo!()
    }
}
impl fmt::Display for Cid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
/// CID of the root of a repo's tree (dag-cbor), as its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataCid(pub [u8; 32]);
/// CID of a signed commit block (dag-cbor), as its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitCid(pub [u8; 32]);
impl fmt::Display for DataCid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl fmt::Display for CommitCid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
