//! How each fault changes a draft or a payload.

use super::{Fault, deep};
use crate::{
    block::{Cid36, cid_of, cid_of_nothing, encode, from_link, link},
    clock::{tid, tid_text, wall_micros},
    keys::SigningKey,
    mst::{CachedTree, encode_node},
    repo::{Draft, Op, Signing, Write},
    wire::{Fields, Kind},
};
use ipld_core::ipld::Ipld;

/// Far above the five minutes of VAL-8, so that it is still the future when a relay is behind.
const AHEAD_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// Just above the limit for `blocks` of a commit (MSG-1).
const TOO_LARGE_BLOCKS: usize = 2_000_001;

/// Just above the limit for one record (MSG-1).
const TOO_LARGE_RECORD: usize = 1_000_001;

/// Just above the limit for `blocks` of a `#sync` (MSG-1).
const TOO_LARGE_SYNC: usize = 10_001;

/// Just above the limit for `ops` (MSG-1).
const TOO_MANY_OPS: usize = 201;

/// Nodes without entries above the root of a hollow tower; more layers than SHA-256 has room for.
const HOLLOW_NODES: usize = 300;

/// What a fault may need to know besides the draft.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The key before the last rotation, or one that was never announced.
    pub(crate) retired_key: &'a SigningKey,
    /// A key that no document ever holds.
    pub(crate) wrong_key: &'a SigningKey,
    /// The signed block of the commit before, if there is one.
    pub(crate) last_commit: Option<&'a (Cid36, Vec<u8>)>,
    /// Another number for every event, for CIDs that name nothing.
    pub(crate) number: u64,
}

/// Spoils a draft; `false` when this draft has nothing that the fault could strike.
pub(crate) fn draft(
    fault: Fault,
    draft: &mut Draft,
    kind: Kind,
    around: &Surroundings<'_>,
) -> bool {
    object(fault, draft, kind, around)
        || proof(fault, draft, around)
        || operations(fault, draft, around)
        || carrier(fault, draft, kind, around)
}

/// Faults of the signature, the commit object and the rev.
fn object(fault: Fault, draft: &mut Draft, kind: Kind, around: &Surroundings<'_>) -> bool {
    let text = |text: &str| Ipld::String(text.to_owned());
    let mut set = |name: &str, value| draft.object.insert(name.to_owned(), value).is_some();
    match fault {
        Fault::WrongKey => draft.key = around.wrong_key.clone(),
        Fault::RetiredKey => draft.key = around.retired_key.clone(),
        Fault::HighS => draft.signing = Signing::HighS,
        Fault::DerSignature => draft.signing = Signing::Der,
        Fault::FlippedSignature => draft.signing = Signing::Flipped,
        Fault::WrongVersion => return set("version", Ipld::Integer(2)),
        Fault::NoPrevKey => return draft.object.remove("prev").is_some(),
        Fault::UnknownCommitField => return !set("futureField", text("kept by the signature")),
        Fault::DidMismatch => return set("did", text("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")),
        Fault::RevMismatch => return set("rev", text(&tid_text(draft.rev + 1))),
        Fault::EqualRev if draft.since != 0 => set_rev(draft, draft.since),
        Fault::StaleRev if draft.since != 0 => set_rev(draft, draft.since - (1 << 20)),
        Fault::FutureRev => set_rev(draft, tid(wall_micros() + AHEAD_MICROS, 0)),
        Fault::SyncFlood => {}
        Fault::SyncRollback if draft.since != 0 => {
            set_rev(draft, draft.since - (1 << 20));
            let (empty, _) = CachedTree::new().root_and_proof(&[]);
            draft.object.insert("data".to_owned(), Ipld::Link(link(&empty)));
        }
        Fault::Fork if kind == Kind::Sync && around.last_commit.is_some() => {
            set_rev(draft, draft.since);
            let other = cid_of_nothing(around.number);
            draft.object.insert("data".to_owned(), Ipld::Link(link(&other)));
        }
        _ => return false,
    }
    true
}

pub(crate) fn set_rev(draft: &mut Draft, rev: u64) {
    draft.rev = rev;
    draft.object.insert("rev".to_owned(), Ipld::String(tid_text(rev)));
}

/// Faults of `prevData` and of the nodes.
fn proof(fault: Fault, draft: &mut Draft, around: &Surroundings<'_>) -> bool {
    let is_node = |block: &[u8]| block.starts_with(&[0xa2, 0x61, b'e']);
    let is_root = |cid: &Cid36| draft.object.get("data") == Some(&Ipld::Link(link(cid)));
    // The node that holds the key of an operation, or else the root.
    let struck = || {
        let nodes = draft.blocks.iter().enumerate().filter(|(_, (_, block))| is_node(block));
        let below_root = nodes.clone().find(|(_, (cid, block))| {
            let node = crate::mst::NodeData::decode(block);
            let holds = |op: &Op| {
                node.as_ref().is_some_and(|node| {
                    node.entries.iter().any(|(key, ..)| key.as_slice() == op.path.as_bytes())
                })
            };
            !is_root(cid) && draft.ops.iter().any(holds)
        });
        below_root.or_else(|| nodes.clone().find(|(_, (cid, _))| is_root(cid))).map(|(at, _)| at)
    };
    match fault {
        Fault::WrongPrevData if draft.prev_data.is_some() => {
            draft.prev_data = Some(cid_of_nothing(around.number));
        }
        Fault::NoPrevData => return draft.prev_data.take().is_some(),
        Fault::Legacy => {
            for op in &mut draft.ops {
                op.prev = None;
            }
            return draft.prev_data.take().is_some();
        }
        Fault::MissingNode => match struck() {
            Some(at) => drop(draft.blocks.remove(at)),
            None => return false,
        },
        Fault::CorruptNode => match struck().and_then(|at| draft.blocks.get_mut(at)) {
            // The last byte lies in a CID or is the null of an absent subtree.
            Some((_, block)) => {
                let at = block.iter().position(|byte| *byte == b'k').unwrap_or(0) + 8;
                match block.get_mut(at) {
                    Some(byte) => *byte ^= 1,
                    None => return false,
                }
            }
            None => return false,
        },
        Fault::HollowTower => {
            let Some(Ipld::Link(root)) = draft.object.get("data") else { return false };
            let Some(mut top) = from_link(root) else { return false };
            for _ in 0..HOLLOW_NODES {
                let block = encode_node(Some(top), &[]);
                top = cid_of(&block);
                draft.blocks.push((top, block));
            }
            draft.object.insert("data".to_owned(), Ipld::Link(link(&top)));
        }
        _ => return false,
    }
    true
}

/// Faults of `ops` and of the records that they name.
fn operations(fault: Fault, draft: &mut Draft, around: &Surroundings<'_>) -> bool {
    let nothing = cid_of_nothing(around.number);
    let record_of = |draft: &Draft| {
        let cid = draft.ops.iter().find_map(|op| op.cid)?;
        draft.blocks.iter().position(|(other, _)| *other == cid)
    };
    match fault {
        Fault::OmittedOp => return draft.ops.pop().is_some(),
        Fault::ExtraCreate => {
            let Some(cid) = draft.ops.iter().find_map(|op| op.cid) else { return false };
            let path = format!("com.example.extra/{}", tid_text(draft.rev));
            draft.ops.push(Op { action: "create", path, cid: Some(cid), prev: None });
        }
        Fault::WrongOpPrev => match draft.ops.iter_mut().find_map(|op| op.prev.as_mut()) {
            Some(prev) => *prev = nothing,
            None => return false,
        },
        Fault::OpCidMismatch => {
            let block = encode(&Ipld::Map(Fields::from([(
                "number".to_owned(),
                Ipld::Integer(i128::from(around.number)),
            )])));
            let Some(cid) = draft.ops.iter_mut().find_map(|op| op.cid.as_mut()) else {
                return false;
            };
            *cid = cid_of(&block);
            draft.blocks.push((cid_of(&block), block));
        }
        Fault::DuplicatePath => match draft.ops.first().cloned() {
            Some(op) => draft.ops.push(op),
            None => return false,
        },
        Fault::OpWithoutCid => match draft.ops.iter_mut().find(|op| op.cid.is_some()) {
            Some(op) => op.cid = None,
            None => return false,
        },
        Fault::UnknownAction => match draft.ops.first_mut() {
            Some(op) => op.action = "rename",
            None => return false,
        },
        Fault::BadPath => match draft.ops.first_mut() {
            Some(op) => op.path = op.path.replace('/', "//"),
            None => return false,
        },
        Fault::MissingRecord => match record_of(draft) {
            Some(at) => drop(draft.blocks.remove(at)),
            None => return false,
        },
        Fault::CorruptRecord => {
            match record_of(draft).and_then(|at| draft.blocks.get_mut(at)?.1.last_mut()) {
                Some(byte) => *byte ^= 1,
                None => return false,
            }
        }
        Fault::TooManyOps => {
            let extra = TOO_MANY_OPS.saturating_sub(draft.ops.len());
            draft.ops.extend((0..extra).map(|number| Op {
                action: "create",
                path: format!("com.example.many/{number:05}"),
                cid: Some(nothing),
                prev: None,
            }));
        }
        _ => return false,
    }
    true
}

/// Faults of the CAR and of its size.
fn carrier(fault: Fault, draft: &mut Draft, kind: Kind, around: &Surroundings<'_>) -> bool {
    let unrelated = |length: usize| {
        let block = encode(&Ipld::Bytes(vec![0x5a; length]));
        (cid_of(&block), block)
    };
    match fault {
        Fault::CommitCidMismatch => draft.claimed_commit = Some(cid_of_nothing(around.number)),
        Fault::OversizedBlocks => {
            let size = if kind == Kind::Sync { TOO_LARGE_SYNC } else { TOO_LARGE_BLOCKS };
            draft.blocks.push(unrelated(size));
        }
        Fault::MissingCommitBlock => draft.without_commit_block = true,
        Fault::TruncatedCar => draft.truncated_car = true,
        Fault::ExtraRoot => draft.extra_roots.push(cid_of_nothing(around.number)),
        Fault::DuplicateBlocks => draft.blocks.extend_from_within(..),
        Fault::UnrelatedBlock => draft.blocks.push(unrelated(64)),
        _ => return false,
    }
    true
}

/// Spoils the writes before they enter the tree.
pub(crate) fn writes(fault: Fault, writes: &mut Vec<Write>, tree: &CachedTree) -> bool {
    if fault == Fault::DeepTree {
        writes.extend(deep::toggle(tree));
        return true;
    }
    let record = writes.iter_mut().find_map(|write| match write {
        Write::Create { record: Ipld::Map(fields), .. }
        | Write::Update { record: Ipld::Map(fields), .. } => Some(fields),
        _ => None,
    });
    match (fault, record) {
        (Fault::OversizedRecord, Some(fields)) => {
            fields.insert("filler".to_owned(), Ipld::Bytes(vec![0x5a; TOO_LARGE_RECORD]));
            true
        }
        _ => false,
    }
}

/// Spoils a payload, whatever its kind; `expected` is what a relay has to send if it passes.
pub(crate) fn payload(fault: Fault, payload: &mut Fields, expected: &mut Fields) -> bool {
    let text = |text: &str| Ipld::String(text.to_owned());
    let mut both = |name: &str, value: Ipld| {
        expected.insert(name.to_owned(), value.clone());
        payload.insert(name.to_owned(), value);
    };
    match fault {
        Fault::UnknownFields => {
            both("zz", Ipld::Bool(true));
            both("someFutureField", Ipld::List(vec![Ipld::Integer(-5), Ipld::Null]));
        }
        Fault::TooBig => both("tooBig", Ipld::Bool(true)),
        Fault::OldBlobs => both("blobs", Ipld::List(vec![Ipld::Link(link(&cid_of_nothing(0)))])),
        Fault::BadTime => {
            payload.insert("time".to_owned(), text("yesterday, about noon"));
        }
        Fault::MissingField => return payload.remove("blocks").is_some(),
        Fault::WrongFieldType => {
            for name in ["rev", "handle", "active"] {
                if payload.contains_key(name) {
                    // A float would be bad CBOR here, which costs the connection (ENC-4, ENC-9).
                    payload.insert(name.to_owned(), Ipld::Integer(7));
                }
            }
        }
        Fault::MissingDefaults => {
            return ["rebase", "tooBig", "blobs"]
                .iter()
                .all(|name| payload.remove(*name).is_some());
        }
        _ => return false,
    }
    true
}
