//! The frame of one commit: an honest one by the short way, a spoilt one through the same drafts
//! that spoil the commits of single accounts.

use super::{
    encode::{self, Cbor},
    leaves::Sha,
    tree::{Shown, cid},
};
use crate::{
    Fault,
    adversary::spoil::{self, Surroundings},
    block::{Cid36, cid_of, encode, link},
    clock::{datetime, tid, tid_text},
    keys::{Curve, SigningKey},
    repo::{Draft, Op, Signing},
    wire::{self, Fields, Kind},
};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use ipld_core::ipld::Ipld;
use secp256k1::{Message, SecretKey, ecdsa};
use sha2::{Digest, Sha256};

/// Long after any run, so that a frame made ahead of time is still from the future (VAL-8):
/// 2100-01-01.
const FUTURE_MICROS: u64 = 4_102_444_800_000_000;

/// `{"op": 1, "t": "#commit"}`.
const COMMIT_HEADER: &[u8] = b"\xa2\x61t\x67#commit\x62op\x01";

/// What a commit does, before it is signed.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) did: String,
    pub(super) secret: SecretKey,
    pub(super) micros: u64,
    pub(super) rev: u64,
    pub(super) since: u64,
    /// Root before the operations.
    pub(super) prev_data: Sha,
    /// Root after them.
    pub(super) data: Sha,
    pub(super) ops: Vec<Op>,
    /// Nodes and records.
    pub(super) blocks: Shown,
    /// Number on the host's stream.
    pub(super) seq: u64,
}

/// A frame, and what is to be compared with what a relay makes of it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) frame: Bytes,
    /// Of the payload that a relay has to send, if it sends it.
    pub(super) digest: u64,
    pub(super) rev: u64,
    pub(super) commit: Sha,
}

/// The digest that checkers compare: everything but the fields named.
pub(super) fn digest(payload: &[u8], without: &[&str]) -> Option<u64> {
    let digest = wire::digest_without(payload, without)?;
    u64::try_from(digest >> 64).ok()
}

fn sha_of(block: &[u8]) -> Sha {
    Sha256::digest(block).into()
}

fn sign(message: &[u8], secret: &SecretKey) -> [u8; 64] {
    ecdsa::sign(Message::from_digest(sha_of(message)), secret).serialize_compact()
}

/// The frame of an honest commit.
pub(super) fn honest(content: Content) -> Result<Made> {
    let rev = tid_text(content.rev);
    let unsigned = encode::commit(&content.did, &rev, &content.data, None);
    let signature = sign(&unsigned, &content.secret);
    let block = encode::commit(&content.did, &rev, &content.data, Some(&signature));
    let commit = sha_of(&block);
    let mut blocks = Vec::with_capacity(content.blocks.len() + 1);
    blocks.push((cid(&commit), block));
    blocks.extend(content.blocks);
    let car = encode::car(&cid(&commit), &blocks);

    let mut out = Cbor(Vec::with_capacity(car.len() + 768));
    out.0.extend_from_slice(COMMIT_HEADER);
    out.map(12).text("ops").list(content.ops.len());
    for op in &content.ops {
        out.map(3 + u64::from(op.prev.is_some())).text("cid");
        match &op.cid {
            Some(cid) => out.cid(cid),
            None => out.link(None),
        };
        out.text("path").text(&op.path);
        if let Some(prev) = &op.prev {
            out.text("prev").cid(prev);
        }
        out.text("action").text(op.action);
    }
    out.text("rev").text(&rev).text("seq").uint(content.seq).text("repo").text(&content.did);
    out.text("time").text(&datetime(content.micros)).text("blobs").list(0);
    out.text("since").text(&tid_text(content.since)).text("blocks").bytes(&car);
    out.text("commit").link(Some(&commit)).text("rebase").no().text("tooBig").no();
    out.text("prevData").link(Some(&content.prev_data));
    let payload = out.0.get(COMMIT_HEADER.len()..).unwrap_or_default();
    let digest = digest(payload, &["seq"]).context("digest of a commit")?;
    Ok(Made { digest, frame: Bytes::from(out.0), rev: content.rev, commit })
}

/// The same commit as a draft that can be spoilt.
pub(super) fn draft(content: &Content, secret: &[u8; 32]) -> Result<Draft> {
    let text = |text: &str| Ipld::String(text.to_owned());
    let object = Fields::from([
        ("did".to_owned(), text(&content.did)),
        ("version".to_owned(), Ipld::Integer(3)),
        ("data".to_owned(), Ipld::Link(link(&cid(&content.data)))),
        ("rev".to_owned(), text(&tid_text(content.rev))),
        ("prev".to_owned(), Ipld::Null),
    ]);
    Ok(Draft {
        did: content.did.clone(),
        rev: content.rev,
        since: content.since,
        time: datetime(content.micros),
        ops: content.ops.clone(),
        prev_data: Some(cid(&content.prev_data)),
        object,
        key: SigningKey::from_bytes(Curve::K256, secret).context("a key")?,
        signing: Signing::LowS,
        blocks: content.blocks.clone(),
        extra_roots: Vec::new(),
        without_commit_block: false,
        truncated_car: false,
        claimed_commit: None,
        ready_commit: None,
    })
}

/// The frame of an honest commit by way of a draft.
#[cfg(test)]
pub(super) fn drafted(content: &Content, secret: &[u8; 32]) -> Result<Made> {
    let sealed = draft(content, secret)?.into_commit();
    let expected = sealed.payload.clone();
    let rev = (content.rev, &sealed.commit);
    finish(Kind::Commit, (sealed.payload, &expected), content.seq, rev, &["seq"])
}

/// The frame of a commit with one fault.
///
/// # Errors
/// When this commit has nothing that the fault could strike.
pub(super) fn spoilt(content: &Content, secret: &[u8; 32], fault: Fault) -> Result<Made> {
    let mut draft = draft(content, secret)?;
    let wrong_key = SigningKey::derive(Curve::K256, content.seq, &content.did);
    let around = Surroundings {
        retired_key: &wrong_key,
        wrong_key: &wrong_key,
        last_commit: None,
        number: content.rev,
    };
    let mut struck = spoil::draft(fault, &mut draft, Kind::Commit, &around);
    if fault == Fault::FutureRev {
        spoil::set_rev(&mut draft, tid(FUTURE_MICROS, content.rev & 0x3ff));
    }
    let rev = draft.rev;
    let sealed = draft.into_commit();
    let mut payload = sealed.payload;
    let mut expected = payload.clone();
    struck |= !struck && spoil::payload(fault, &mut payload, &mut expected);
    if !struck {
        bail!("{fault:?} cannot strike {:?}", content.ops);
    }
    finish(Kind::Commit, (payload, &expected), content.seq, (rev, &sealed.commit), &["seq"])
}

/// A `#sync` over the present tree.
pub(super) fn sync(content: &Content, secret: &[u8; 32]) -> Result<Made> {
    let sealed = draft(content, secret)?.into_sync();
    let expected = sealed.payload.clone();
    finish(
        Kind::Sync,
        (sealed.payload, &expected),
        content.seq,
        (content.rev, &sealed.commit),
        &["seq"],
    )
}

/// An `#identity` with a handle.
pub(super) fn identity(did: &str, handle: String, micros: u64, seq: u64) -> Result<Made> {
    let payload = Fields::from([
        ("did".to_owned(), Ipld::String(did.to_owned())),
        ("time".to_owned(), Ipld::String(datetime(micros))),
        ("handle".to_owned(), Ipld::String(handle)),
    ]);
    let expected = payload.clone();
    // A relay leaves the handle out if it cannot look it up just now (IDE-3).
    let without = ["seq", "handle"];
    finish(Kind::Identity, (payload, &expected), seq, (0, &cid(&[0; 32])), &without)
}

/// An `#account` that says that the account is active but throttled.
pub(super) fn throttled(did: &str, micros: u64, seq: u64) -> Result<Made> {
    let payload = Fields::from([
        ("did".to_owned(), Ipld::String(did.to_owned())),
        ("time".to_owned(), Ipld::String(datetime(micros))),
        ("active".to_owned(), Ipld::Bool(true)),
        ("status".to_owned(), Ipld::String("throttled".to_owned())),
    ]);
    let expected = payload.clone();
    finish(Kind::Account, (payload, &expected), seq, (0, &cid(&[0; 32])), &["seq"])
}

fn finish(
    kind: Kind,
    (mut payload, expected): (Fields, &Fields),
    seq: u64,
    (rev, commit): (u64, &Cid36),
    without: &[&str],
) -> Result<Made> {
    payload.insert("seq".to_owned(), Ipld::Integer(i128::from(seq)));
    let frame = Bytes::from(wire::frame(kind.name(), &Ipld::Map(payload)));
    let expected = encode(expected);
    let digest = digest(&expected, without).context("digest of an event")?;
    let mut sha = [0; 32];
    sha.copy_from_slice(&commit[4..]);
    Ok(Made { frame, digest, rev, commit: sha })
}

/// The block of a record and its CID.
pub(super) fn record(record: &Ipld) -> (Cid36, Vec<u8>) {
    let block = encode(record);
    (cid_of(&block), block)
}
