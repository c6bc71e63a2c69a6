//! The signed commit object, version 3 (COM-1…5).
use crate::{DataCid, Invalid, Rev, VerifyingKey};

/// A decoded commit block; borrows its bytes.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// DID as written.
    pub did: &'a str,
    /// Revision.
    pub rev: Rev,
    /// Root of the tree.
    pub data: DataCid,
    /// 64 bytes r‖s when valid; any length here.
    pub sig: &'a [u8],
    block: &'a [u8],
    sig_span: (usize, usize),
}
impl<'a> Commit<'a> {
    /// Decodes a block whose CID was checked; must be canonical (ENC-9), version 3 (COM-1); unknown
    /// fields are kept for the signature (COM-2).
    pub fn decode(block: &'a [u8]) -> Result<Self, Invalid> {
        todo!()
    }
    /// The bytes that were signed: the same map without `sig` (COM-3).
    pub fn unsigned(&self) -> Vec<u8> {
        todo!()
    }
    /// KEY-1, KEY-2.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), Invalid> {
        key.verify(&self.unsigned(), self.sig)
    }
}
