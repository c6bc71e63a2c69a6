//! Decoded messages (section 5); borrow the frame.
use crate::{Cid, CommitCid, DataCid, Invalid, Rev};

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the wire's own words")]
pub enum OpAction {
    Create,
    Update,
    Delete,
}
/// One entry of `ops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// What was done.
    pub action: OpAction,
    /// `<nsid>/<rkey>`, checked (SYN-8).
    pub path: &'a str,
    /// New record; `None` for delete.
    pub cid: Option<Cid>,
    /// Old record.
    pub prev: Option<Cid>,
}
/// `#commit` (5.1). Sizes of MSG-1 are checked; blocks are not yet read.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the wire's own words")]
pub struct CommitMessage<'a> {
    pub host_seq: u64,
    pub repo: &'a str,
    pub commit: CommitCid,
    pub rev: Rev,
    pub since: Option<Rev>,
    pub blocks: &'a [u8],
    pub ops: Vec<Op<'a>>,
    pub prev_data: Option<DataCid>,
    pub time: &'a str,
    /// `rebase`, `tooBig`, `blobs` that were absent, for the patcher (A3, DESIGN 10.2).
    pub missing_rebase: bool,
    pub missing_too_big: bool,
    pub missing_blobs: bool,
}
/// `#sync`
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the wire's own words")]
pub struct Sync<'a> {
    pub host_seq: u64,
    pub did: &'a str,
    pub blocks: &'a [u8],
    pub rev: Rev,
    pub time: &'a str,
}
/// `#identity`
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the wire's own words")]
pub struct Identity<'a> {
    pub host_seq: u64,
    pub did: &'a str,
    pub time: &'a str,
    pub handle: Option<&'a str>,
}
/// `#account`
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the wire's own words")]
pub struct Account<'a> {
    pub host_seq: u64,
    pub did: &'a str,
    pub time: &'a str,
    pub active: bool,
    pub status: Option<&'a str>,
}
/// Any frame, decoded.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// `#commit`
    Commit(CommitMessage<'a>),
    /// `#sync`
    Sync(Sync<'a>),
    /// `#identity`
    Identity(Identity<'a>),
    /// `#account`
    Account(Account<'a>),
    /// `#info`: name and message.
    Info(&'a str, Option<&'a str>),
    /// Error frame: name and message.
    Error(&'a str, Option<&'a str>),
    /// UP-3.
    Ignored,
}
impl<'a> Message<'a> {
    /// Decodes a frame that [`crate::Envelope::peek`] accepted. An error drops the message (MSG-4).
    /// [`Invalid::what`] starts with `too large: ` when a size of MSG-1 is exceeded.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Invalid> {
        todo!()
    }
}
