//! Decoded messages (section 5); borrow the frame.

mod commit;

use crate::{
    Cid, CommitCid, DataCid, FrameKind, Invalid, Reader, Rev,
    frame::{SEQ_END, read_header, read_payload_head},
};

/// Bytes of `blocks` of a `#commit` (MSG-1).
pub const COMMIT_BLOCKS_BYTES_MAX: usize = 2_000_000;
/// Bytes of `blocks` of a `#sync` (MSG-1, from the lexicon; real ones have about 285).
pub const SYNC_BLOCKS_BYTES_MAX: usize = 10_000;
/// Operations of a `#commit` (MSG-1).
pub const OPS_MAX: usize = 200;

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the wire's own words")]
pub enum OpAction {
    Create,
    Update,
    Delete,
}

/// One entry of `ops`.
///
/// Which of `cid` and `prev` an action needs is not checked here: that tells apart commits that are
/// wrong and commits of the time before `prev` (LEG-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// What was done.
    pub action: OpAction,
    /// `<nsid>/<rkey>`, checked (SYN-8).
    pub path: &'a str,
    /// New record, a dag-cbor CID (ENC-12); `None` for delete.
    pub cid: Option<Cid>,
    /// Old record, a dag-cbor CID; `None` when null or absent.
    pub prev: Option<Cid>,
}

/// `#commit` (5.1). Sizes of MSG-1 are checked; blocks are not yet read.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the wire's own words")]
#[expect(clippy::struct_excessive_bools, reason = "what the patcher has to mend, each by itself")]
pub struct CommitMessage<'a> {
    pub host_seq: u64,
    /// Not checked to be a DID.
    pub repo: &'a str,
    pub commit: CommitCid,
    pub rev: Rev,
    pub since: Option<Rev>,
    pub blocks: &'a [u8],
    pub ops: Vec<Op<'a>>,
    /// `None` when null or absent.
    pub prev_data: Option<DataCid>,
    /// Not checked to be a datetime: a bad one is replaced (SYN-9).
    pub time: &'a str,
    /// `rebase` was absent or not a boolean, for the patcher (A3, DESIGN 10.2).
    pub missing_rebase: bool,
    /// `tooBig` was absent or not a boolean. Its value is ignored (LEG-3).
    pub missing_too_big: bool,
    /// `blobs` was absent or not an array.
    pub missing_blobs: bool,
    /// An operation has a `prev` that is null, which 5.1 does not permit on the way out.
    pub has_null_prev: bool,
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
    /// An unknown `op` or `t` (UP-3, LEG-4).
    Ignored,
}

impl<'a> Message<'a> {
    /// Decodes a frame that [`crate::Envelope::peek`] accepted. An error drops the message (MSG-4).
    /// [`Invalid::what`] starts with `too large: ` when a size of MSG-1 is exceeded.
    ///
    /// Unknown fields are ignored (UP-3). Cost: one pass without copies; allocates the operations.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Invalid> {
        let (kind, mut reader) = read_header(frame)?;
        let reader = &mut reader;
        let message = match kind {
            FrameKind::Commit => Self::Commit(CommitMessage::read(reader)?),
            FrameKind::Sync => Self::Sync(Sync::read(reader)?),
            FrameKind::Identity => Self::Identity(Identity::read(reader)?),
            FrameKind::Account => Self::Account(Account::read(reader)?),
            FrameKind::Info => {
                let (name, message) = name_and_message(reader, b"name")?;
                Self::Info(name, message)
            }
            FrameKind::Error => {
                let (name, message) = name_and_message(reader, b"error")?;
                Self::Error(name, message)
            }
            FrameKind::Unknown => {
                reader.skip_value()?;
                Self::Ignored
            }
        };
        reader.expect_end()?;
        Ok(message)
    }
}

impl<'a> Sync<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (mut host_seq, mut did, mut blocks, mut rev, mut time) = (None, None, None, None, None);
        let mut entries = read_payload_head(reader)?;
        while let Some(key) = entries.next_key_bytes(reader)? {
            match key {
                b"did" => did = Some(text(reader, "did is not text")?),
                b"rev" => rev = Some(tid(reader, "rev is not a TID")?),
                b"seq" => host_seq = Some(seq(reader)?),
                b"time" => time = Some(text(reader, "time is not text")?),
                b"blocks" => blocks = Some(car(reader)?),
                _ => reader.skip_value()?,
            }
        }
        let blocks = present(blocks, "blocks is missing")?;
        if blocks.len() > SYNC_BLOCKS_BYTES_MAX {
            return Err(Invalid::new("too large: blocks of a #sync exceed 10,000 bytes"));
        }
        Ok(Self {
            host_seq: present(host_seq, "seq is missing")?,
            did: present(did, "did is missing")?,
            blocks,
            rev: present(rev, "rev is missing")?,
            time: present(time, "time is missing")?,
        })
    }
}

impl<'a> Identity<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (mut host_seq, mut did, mut time, mut handle) = (None, None, None, None);
        let mut entries = read_payload_head(reader)?;
        while let Some(key) = entries.next_key_bytes(reader)? {
            match key {
                b"did" => did = Some(text(reader, "did is not text")?),
                b"seq" => host_seq = Some(seq(reader)?),
                b"time" => time = Some(text(reader, "time is not text")?),
                b"handle" => handle = optional_text(reader, "handle is not text")?,
                _ => reader.skip_value()?,
            }
        }
        Ok(Self {
            host_seq: present(host_seq, "seq is missing")?,
            did: present(did, "did is missing")?,
            time: present(time, "time is missing")?,
            handle,
        })
    }
}

impl<'a> Account<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let (mut host_seq, mut did, mut time) = (None, None, None);
        let (mut active, mut status) = (None, None);
        let mut entries = read_payload_head(reader)?;
        while let Some(key) = entries.next_key_bytes(reader)? {
            match key {
                b"did" => did = Some(text(reader, "did is not text")?),
                b"seq" => host_seq = Some(seq(reader)?),
                b"time" => time = Some(text(reader, "time is not text")?),
                b"active" => {
                    active = Some(reader.bool().or(Err(Invalid::new("active is not a boolean")))?);
                }
                b"status" => status = optional_text(reader, "status is not text")?,
                _ => reader.skip_value()?,
            }
        }
        Ok(Self {
            host_seq: present(host_seq, "seq is missing")?,
            did: present(did, "did is missing")?,
            time: present(time, "time is missing")?,
            active: present(active, "active is missing")?,
            status,
        })
    }
}

/// Reads the payload of an error or `#info` frame.
fn name_and_message<'a>(
    reader: &mut Reader<'a>,
    name_key: &[u8],
) -> Result<(&'a str, Option<&'a str>), Invalid> {
    let (mut name, mut message) = (None, None);
    let mut entries = read_payload_head(reader)?;
    while let Some(key) = entries.next_key_bytes(reader)? {
        match key {
            b"message" => message = optional_text(reader, "message is not text")?,
            _ if key == name_key => name = Some(text(reader, "the name is not text")?),
            _ => reader.skip_value()?,
        }
    }
    Ok((present(name, "the name is missing")?, message))
}

fn present<T>(field: Option<T>, what: &'static str) -> Result<T, Invalid> {
    field.ok_or(Invalid::new(what))
}

fn text<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a str, Invalid> {
    reader.text().or(Err(Invalid::new(what)))
}

fn optional_text<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<Option<&'a str>, Invalid> {
    if reader.take_null() { Ok(None) } else { text(reader, what).map(Some) }
}

fn tid(reader: &mut Reader<'_>, what: &'static str) -> Result<Rev, Invalid> {
    reader.text_bytes().and_then(Rev::parse_bytes).or(Err(Invalid::new(what)))
}

fn seq(reader: &mut Reader<'_>) -> Result<u64, Invalid> {
    reader
        .uint()
        .ok()
        .filter(|seq| *seq < SEQ_END)
        .ok_or(Invalid::new("seq is not an integer in 0..2^53"))
}

fn car<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Invalid> {
    reader.bytes().or(Err(Invalid::new("blocks is not a byte string")))
}
