//! An event as a consumer got it.

use super::{Item, texts};
use crate::{
    block::{Cid36, cid_text, from_link, read_car},
    wire::{self, Fields, Kind},
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ipld_core::ipld::Ipld;

/// An event of a stream.
#[derive(Clone, PartialEq)]
pub struct Received {
    /// Its number.
    pub seq: i64,
    /// Its kind.
    pub kind: Kind,
    /// `repo` or `did`.
    pub did: String,
    /// `rev`, if it has one.
    pub rev: Option<String>,
    /// The whole frame as it came.
    pub frame: Bytes,
    /// Where the payload starts.
    payload_at: usize,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Received")
            .field("seq", &self.seq)
            .field("kind", &self.kind)
            .field("did", &self.did)
            .field("rev", &self.rev)
            .finish_non_exhaustive()
    }
}

/// One entry of `ops`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// `create`, `update` or `delete`.
    pub action: String,
    /// `collection/key`.
    pub path: String,
    /// The new value.
    pub cid: Option<String>,
    /// The value before.
    pub prev: Option<String>,
}

/// Decodes a frame.
pub(super) fn decode(frame: Bytes) -> Result<Item> {
    let header_len = wire::item_len(&frame).context("the frame has no header")?;
    let (header, payload) = frame.split_at(header_len);
    let header = wire::fields(header).context("the frame header is not a map")?;
    let field = |name: &str| header.iter().find(|field| field.name == name);
    let op = field("op").and_then(|op| wire::integer(op.value));
    let kind = field("t").and_then(|kind| wire::text(kind.value)).unwrap_or_default();
    ensure!(
        wire::item_len(payload) == Some(payload.len()),
        "the payload of a {kind} frame is not one whole item"
    );
    match (op, Kind::from_name(kind)) {
        (Some(-1), _) => {
            let [error, message] = texts(payload, ["error", "message"])?;
            Ok(Item::Error { error, message })
        }
        (Some(1), Some(kind)) => event(kind, &frame, header_len).map(Item::Event),
        (Some(1), None) if kind == "#info" => {
            let [name, message] = texts(payload, ["name", "message"])?;
            Ok(Item::Info { name, message })
        }
        _ => Ok(Item::Other(frame)),
    }
}

fn event(kind: Kind, frame: &Bytes, payload_at: usize) -> Result<Received> {
    let payload = frame.get(payload_at..).unwrap_or_default();
    let fields = wire::fields(payload).context("the payload is not a map")?;
    let value = |name: &str| fields.iter().find(|field| field.name == name).map(|f| f.value);
    let seq = value("seq").and_then(wire::integer).context("the event has no seq")?;
    let name = if kind == Kind::Commit { "repo" } else { "did" };
    let did = value(name).and_then(wire::text).context("the event has no DID")?.to_owned();
    let rev = value("rev").and_then(wire::text).map(str::to_owned);
    Ok(Received { seq, kind, did, rev, frame: frame.clone(), payload_at })
}

impl Received {
    /// The event in a frame, as where one is read from a relay's log.
    ///
    /// # Errors
    /// When the bytes are no frame, or one that is not an event.
    pub fn in_frame(frame: Bytes) -> Result<Self> {
        match decode(frame)? {
            Item::Event(event) => Ok(event),
            other => anyhow::bail!("not an event: {other:?}"),
        }
    }

    /// The payload as it came.
    pub fn payload_bytes(&self) -> &[u8] {
        self.frame.get(self.payload_at..).unwrap_or_default()
    }

    /// The decoded payload.
    pub fn payload(&self) -> Result<Fields> {
        match serde_ipld_dagcbor::from_slice(self.payload_bytes())? {
            Ipld::Map(fields) => Ok(fields),
            other => anyhow::bail!("the payload is no map: {other:?}"),
        }
    }

    /// What must be equal in two payloads that may differ in `seq`.
    pub fn digest(&self) -> u128 {
        wire::digest(self.payload_bytes()).unwrap_or_default()
    }

    /// The same, also without `time` and `handle`.
    pub fn loose_digest(&self) -> u128 {
        wire::loose_digest(self.payload_bytes()).unwrap_or_default()
    }

    /// A top-level text field; empty when there is none.
    pub fn text_field(&self, name: &str) -> String {
        let fields = wire::fields(self.payload_bytes()).unwrap_or_default();
        let field = fields.iter().find(|field| field.name == name);
        field.and_then(|field| wire::text(field.value)).unwrap_or_default().to_owned()
    }

    /// `handle` of an `#identity`; empty when there is none.
    pub fn handle(&self) -> String {
        self.text_field("handle")
    }

    /// `status` of an `#account`; empty when there is none.
    pub fn status(&self) -> String {
        self.text_field("status")
    }

    /// `active` of an `#account`; `false` when there is none.
    pub fn active(&self) -> bool {
        let fields = wire::fields(self.payload_bytes()).unwrap_or_default();
        fields.iter().any(|field| field.name == "active" && field.value == [0xf5])
    }

    /// `ops` of a `#commit`.
    pub fn ops(&self) -> Result<Vec<Op>> {
        let payload = self.payload()?;
        let Some(Ipld::List(ops)) = payload.get("ops") else { return Ok(Vec::new()) };
        Ok(ops.iter().map(op).collect())
    }

    /// `blocks`.
    pub fn blocks(&self) -> Result<Vec<(Cid36, Vec<u8>)>> {
        match self.payload()?.get("blocks") {
            Some(Ipld::Bytes(car)) => Ok(read_car(car)?.blocks),
            _ => Ok(Vec::new()),
        }
    }

    /// The record that an operation wrote.
    pub fn record(&self, path: &str) -> Result<Ipld> {
        let ops = self.ops()?;
        let op = ops.iter().find(|op| op.path == path).context("no operation has this path")?;
        let cid = op.cid.clone().context("the operation wrote nothing")?;
        let blocks = self.blocks()?;
        let block = blocks.iter().find(|(other, _)| cid_text(other) == cid);
        let (_, block) = block.context("the record is not among the blocks")?;
        Ok(serde_ipld_dagcbor::from_slice(block)?)
    }

    /// The text of the first post that the commit wrote; empty when there is none.
    pub fn text(&self) -> String {
        let text = || -> Result<String> {
            let ops = self.ops()?;
            let post = ops.iter().find(|op| op.cid.is_some()).context("no record was written")?;
            match self.record(&post.path)? {
                Ipld::Map(fields) => match fields.get("text") {
                    Some(Ipld::String(text)) => Ok(text.clone()),
                    _ => Ok(String::new()),
                },
                _ => Ok(String::new()),
            }
        };
        text().unwrap_or_default()
    }
}

fn op(op: &Ipld) -> Op {
    let field = |name: &str| match op {
        Ipld::Map(fields) => fields.get(name),
        _ => None,
    };
    let text = |name: &str| match field(name) {
        Some(Ipld::String(text)) => text.clone(),
        _ => String::new(),
    };
    let link = |name: &str| match field(name) {
        Some(Ipld::Link(cid)) => from_link(cid).map(|cid| cid_text(&cid)),
        _ => None,
    };
    Op { action: text("action"), path: text("path"), cid: link("cid"), prev: link("prev") }
}
