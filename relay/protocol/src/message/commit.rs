//! Decoding `#commit`.

use super::{
    COMMIT_BLOCKS_BYTES_MAX, CommitMessage, OPS_MAX, Op, OpAction, car, present, seq, text, tid,
};
use crate::{
    Cid, Codec, CommitCid, DataCid, Invalid, Kind, Reader, Rev, frame::read_payload_head,
    syntax::repo_path,
};

/// The fields as far as they were seen.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "which fields were seen")]
struct Fields<'a> {
    host_seq: Option<u64>,
    repo: Option<&'a str>,
    commit: Option<CommitCid>,
    rev: Option<Rev>,
    since: Option<Rev>,
    has_since: bool,
    blocks: Option<&'a [u8]>,
    ops: Option<Vec<Op<'a>>>,
    prev_data: Option<DataCid>,
    time: Option<&'a str>,
    has_rebase: bool,
    has_too_big: bool,
    has_blobs: bool,
    has_null_prev: bool,
}

impl<'a> Fields<'a> {
    fn read_field(&mut self, key: &[u8], reader: &mut Reader<'a>) -> Result<(), Invalid> {
        match key {
            b"ops" => self.ops = Some(read_ops(reader, &mut self.has_null_prev)?),
            b"rev" => self.rev = Some(tid(reader, "rev is not a TID")?),
            b"seq" => self.host_seq = Some(seq(reader)?),
            b"repo" => self.repo = Some(text(reader, "repo is not text")?),
            b"time" => self.time = Some(text(reader, "time is not text")?),
            b"since" => {
                self.has_since = true;
                if !reader.take_null() {
                    self.since = Some(tid(reader, "since is not a TID or null")?);
                }
            }
            b"blocks" => self.blocks = Some(car(reader)?),
            b"commit" => {
                let digest = reader
                    .block_link()
                    .or(Err(Invalid::new("commit is not a link to a dag-cbor block")))?;
                self.commit = Some(CommitCid(*digest));
            }
            b"prevData" if !reader.take_null() => {
                let digest = reader
                    .block_link()
                    .or(Err(Invalid::new("prevData is not a link to a dag-cbor block")))?;
                self.prev_data = Some(DataCid(*digest));
            }
            b"prevData" => {}
            _ => {
                let kind = reader.kind();
                match key {
                    b"blobs" => self.has_blobs = kind == Some(Kind::Array),
                    b"rebase" => self.has_rebase = kind == Some(Kind::Bool),
                    b"tooBig" => self.has_too_big = kind == Some(Kind::Bool),
                    _ => {}
                }
                reader.skip_value()?;
            }
        }
        Ok(())
    }
}

impl<'a> CommitMessage<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Invalid> {
        let mut fields = Fields::default();
        let mut entries = read_payload_head(reader)?;
        while let Some(key) = entries.next_key_bytes(reader)? {
            fields.read_field(key, reader)?;
        }
        if !fields.has_since {
            return Err(Invalid::new("since is missing"));
        }
        let blocks = present(fields.blocks, "blocks is missing")?;
        if blocks.len() > COMMIT_BLOCKS_BYTES_MAX {
            return Err(Invalid::new("too large: blocks of a #commit exceed 2,000,000 bytes"));
        }
        Ok(Self {
            host_seq: present(fields.host_seq, "seq is missing")?,
            repo: present(fields.repo, "repo is missing")?,
            commit: present(fields.commit, "commit is missing")?,
            rev: present(fields.rev, "rev is missing")?,
            since: fields.since,
            blocks,
            ops: present(fields.ops, "ops is missing")?,
            prev_data: fields.prev_data,
            time: present(fields.time, "time is missing")?,
            missing_rebase: !fields.has_rebase,
            missing_too_big: !fields.has_too_big,
            missing_blobs: !fields.has_blobs,
            has_null_prev: fields.has_null_prev,
        })
    }
}

fn read_ops<'a>(reader: &mut Reader<'a>, has_null_prev: &mut bool) -> Result<Vec<Op<'a>>, Invalid> {
    let count = reader.array_len().or(Err(Invalid::new("ops is not an array")))?;
    if count > OPS_MAX {
        return Err(Invalid::new("too large: a #commit has more than 200 operations"));
    }
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        ops.push(read_op(reader, has_null_prev)?);
    }
    Ok(ops)
}

fn read_op<'a>(reader: &mut Reader<'a>, has_null_prev: &mut bool) -> Result<Op<'a>, Invalid> {
    let (mut action, mut path, mut cid, mut prev) = (None, None, None, None);
    let mut entries = reader.map().or(Err(Invalid::new("an operation is not a map")))?;
    while let Some(key) = entries.next_key_bytes(reader)? {
        match key {
            b"cid" => {
                cid = Some(record_link(reader, "cid of an operation is not a dag-cbor link")?);
            }
            b"path" => {
                let text = text(reader, "path of an operation is not text")?;
                repo_path(text)?;
                path = Some(text);
            }
            b"prev" => {
                *has_null_prev |= reader.is_null();
                prev = record_link(reader, "prev of an operation is not a dag-cbor link")?;
            }
            b"action" => action = Some(read_action(reader)?),
            _ => reader.skip_value()?,
        }
    }
    Ok(Op {
        action: present(action, "action of an operation is missing")?,
        path: present(path, "path of an operation is missing")?,
        cid: present(cid, "cid of an operation is missing")?,
        prev,
    })
}

fn read_action(reader: &mut Reader<'_>) -> Result<OpAction, Invalid> {
    match reader.text_bytes() {
        Ok(b"create") => Ok(OpAction::Create),
        Ok(b"update") => Ok(OpAction::Update),
        Ok(b"delete") => Ok(OpAction::Delete),
        _ => Err(Invalid::new("action of an operation is not create, update or delete")),
    }
}

/// Reads a link to a record, or null. Records are dag-cbor (ENC-12).
fn record_link(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<Cid>, Invalid> {
    if reader.take_null() {
        return Ok(None);
    }
    reader
        .cid_link()
        .ok()
        .filter(|cid| cid.codec == Codec::DagCbor)
        .map(Some)
        .ok_or(Invalid::new(what))
}
