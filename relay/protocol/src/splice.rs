//! Patching frames without rewriting them (DESIGN 10.2, ENC-10, MSG-3).
use bytes::Bytes;

use crate::Invalid;

/// A change of one top-level field of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Sets or inserts a text field.
    Text(&'a str, &'a str),
    /// Sets or inserts a bool field.
    Bool(&'a str, bool),
    /// Sets or inserts `[]`.
    EmptyArray(&'a str),
    /// Removes a field if it is there.
    Remove(&'a str),
}
/// An output frame without its seq: the frame is `before ‖ cbor(seq) ‖ after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsequenced {
    /// Bytes before the number.
    pub before: Bytes,
    /// Bytes after the number.
    pub after: Bytes,
}
impl Unsequenced {
    /// Length with this seq.
    pub fn len_with(&self, seq: u64) -> usize {
        todo!()
    }
    /// Appends the whole frame with this seq to `out`.
    pub fn write_with(&self, seq: u64, out: &mut Vec<u8>) {
        todo!()
    }
    /// The whole frame.
    pub fn with_seq(&self, seq: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_with(seq, &mut out);
        out
    }
}
/// Cuts `seq` out of a frame's payload and applies `edits`, keeping all other bytes and the
/// canonical order. With no edits this shares `frame` and copies nothing.
pub fn unsequence(frame: &Bytes, edits: &[Edit<'_>]) -> Result<Unsequenced, Invalid> {
    todo!()
}
/// An `#account` frame of our own making.
pub fn account_frame(did: &str, time: &str, active: bool, status: Option<&str>) -> Unsequenced {
    todo!()
}
/// An `#identity` frame of our own making.
pub fn identity_frame(did: &str, time: &str, handle: Option<&str>) -> Unsequenced {
    todo!()
}
