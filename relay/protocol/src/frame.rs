//! Event stream frames: header, envelope, error and info frames (WS-4, UP-3, section 2.5).
use crate::Invalid;

/// What a frame is, read from its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// `#commit`
    Commit,
    /// `#sync`
    Sync,
    /// `#identity`
    Identity,
    /// `#account`
    Account,
    /// `#info`
    Info,
    /// `op` -1
    Error,
    /// Unknown `op` or `t`: to be ignored (UP-3), also `#handle`, `#migrate`, `#tombstone`.
    Unknown,
}
/// The least that routing needs; borrows the frame, allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Kind.
    pub kind: FrameKind,
    /// `repo` or `did`; `None` if absent, not text, or another kind.
    pub did: Option<&'a str>,
    /// `seq` if present and an integer in 0..2^53.
    pub host_seq: Option<u64>,
}
impl<'a> Envelope<'a> {
    /// Reads header and the two payload fields. An error means wrong framing or CBOR: the
    /// connection is to be dropped (UP-3, ENC-9).
    pub fn peek(frame: &'a [u8]) -> Result<Self, Invalid> {
        todo!()
    }
}
/// `{op:-1} {error, message?}`
pub fn error_frame(name: &str, message: Option<&str>) -> Vec<u8> {
    todo!()
}
/// `{t:"#info", op:1} {name, message?}`
pub fn info_frame(name: &str, message: Option<&str>) -> Vec<u8> {
    todo!()
}
