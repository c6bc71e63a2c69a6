//! The decoder against `serde_ipld_dagcbor`: both take the same bytes and see the same in them.

use std::borrow::Cow;

use ipld_core::ipld::Ipld;
use relay_protocol::{Commit, Reader, Rev, check_record};
use relay_simnet::block::{Cid36, decode, encode, from_link};

/// Arrays and maps inside each other that our decoder takes below what it opens itself (ENC-8).
const DEPTH_MAX: usize = 120;
/// Bytes of one map key that it takes (ENC-8).
const KEY_BYTES_MAX: usize = 8_192;
/// Items of one array or map that it takes (ENC-8).
const ITEMS_MAX: usize = 131_072;
/// A link in front of its byte 0 and its 36 bytes (ENC-3).
const LINK: [u8; 4] = [0xd8, 0x2a, 0x58, 0x25];
/// The float that the independent codec refuses as another way to write 0.
const NEGATIVE_ZERO: [u8; 9] = [0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0];
/// The 36 bytes begin so when they name a raw block (ENC-11).
const RAW: [u8; 4] = [1, 0x55, 0x12, 0x20];
/// The 36 bytes begin so when they name a dag-cbor block (ENC-11).
const DAG_CBOR: [u8; 4] = [1, 0x71, 0x12, 0x20];

/// ENC-1…9: one value by the rules of the protocol, and as a record.
pub(crate) fn encoding(data: &[u8]) {
    let mut reader = Reader::new(data);
    let taken = reader.skip_value().is_ok() && reader.expect_end().is_ok();
    let value = canonical(data);
    let permitted = value.as_ref().is_some_and(|value| is_permitted(value, DEPTH_MAX));
    assert_eq!(taken, permitted, "by the rules of the protocol: {value:?}");

    let is_record = check_record(data).is_ok();
    let has_links = data.windows(2).any(|window| window == [0xd8, 0x2a]);
    if let Some(value) = decode(data).ok().filter(|value| encode(value) == data) {
        let expected = matches!(value, Ipld::Map(_)) && is_bounded(&value, DEPTH_MAX);
        assert_eq!(is_record, expected, "as a record: {value:?}");
    } else {
        // What a link of a record names is not looked at, nor the sign of a zero (ROLE-5).
        let is_content = has_links || data.windows(9).any(|window| window == NEGATIVE_ZERO);
        assert!(!is_record || is_content, "a record that is not canonical");
    }
}

/// COM-1…5: one commit block.
pub(crate) fn commit(data: &[u8]) {
    let value = canonical(data).filter(|value| is_permitted(value, DEPTH_MAX + 1));
    let expected = value.as_ref().and_then(CommitFields::of);
    match (Commit::decode(data), &expected) {
        (Ok(commit), Some(fields)) => {
            assert_eq!(commit.did, fields.did);
            assert_eq!(commit.rev, fields.rev);
            assert_eq!(commit.data.0, fields.data[4..]);
            assert_eq!(commit.sig, fields.sig);
            assert_eq!(commit.unsigned(), encode(&fields.unsigned), "the bytes that are signed");
        }
        (Err(_), None) => {}
        (ours, theirs) => panic!("we say {ours:?}, expected {theirs:?}"),
    }
}

/// A commit as the independent codec sees it.
#[derive(Debug)]
struct CommitFields<'v> {
    did: &'v str,
    rev: Rev,
    data: Cid36,
    sig: &'v [u8],
    unsigned: Ipld,
}

impl<'v> CommitFields<'v> {
    fn of(value: &'v Ipld) -> Option<Self> {
        let Ipld::Map(fields) = value else { return None };
        let (Some(Ipld::String(did)), Some(Ipld::String(rev)), Some(Ipld::Bytes(sig))) =
            (fields.get("did"), fields.get("rev"), fields.get("sig"))
        else {
            return None;
        };
        if fields.get("version") != Some(&Ipld::Integer(3)) {
            return None;
        }
        match fields.get("prev")? {
            Ipld::Null => {}
            prev => drop(block_link(prev)?),
        }
        let mut unsigned = fields.clone();
        unsigned.remove("sig");
        Some(Self {
            did,
            rev: Rev::parse(rev).ok()?,
            data: block_link(fields.get("data")?)?,
            sig,
            unsigned: Ipld::Map(unsigned),
        })
    }
}

/// The CID of a link to a dag-cbor block.
pub(crate) fn block_link(value: &Ipld) -> Option<Cid36> {
    let Ipld::Link(cid) = value else { return None };
    from_link(cid).filter(|cid| cid.starts_with(&DAG_CBOR))
}

/// The value of bytes that are its canonical encoding.
///
/// Our decoder takes any 36 bytes in a link that nobody asks for (ENC-3); the independent one knows
/// some kinds only. So a link that it refuses is made one that it knows, to a raw block: no caller
/// may take it for a link to a dag-cbor block.
pub(crate) fn canonical(data: &[u8]) -> Option<Ipld> {
    let strict = |bytes: &[u8]| decode(bytes).ok().filter(|value| encode(value) == bytes);
    strict(data).or_else(|| strict(&with_known_links(data)))
}

/// The same bytes, all links of 36 bytes being of one of the kinds that the protocol uses.
fn with_known_links(data: &[u8]) -> Cow<'_, [u8]> {
    let mut bytes = Cow::Borrowed(data);
    let mut at = 0;
    // Heads follow each other whatever is inside of what; only strings are to be stepped over.
    while let Some((major, argument, length)) = data.get(at..).and_then(head) {
        at += length;
        if major == 2 || major == 3 {
            let link = data.get(at..at + 5).filter(|_| data[..at].ends_with(&LINK));
            if link.is_some_and(|link| !matches!(link, [0, 1, 0x71 | 0x55, 0x12, 0x20])) {
                bytes.to_mut()[at + 1..at + 5].copy_from_slice(&RAW);
            }
            at = at.saturating_add(usize::try_from(argument).unwrap_or(usize::MAX));
        }
    }
    bytes
}

/// Major type, argument and length of a head.
fn head(bytes: &[u8]) -> Option<(u8, u64, usize)> {
    let (first, rest) = bytes.split_first()?;
    let width = match first & 31 {
        small @ 0..24 => return Some((first >> 5, u64::from(small), 1)),
        wide @ 24..28 => 1 << (wide - 24),
        _ => return None,
    };
    let argument = rest.get(..width)?.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte));
    Some((first >> 5, argument, 1 + width))
}

/// What the protocol permits of the values of a general codec: no floats (ENC-4), integers of 64
/// signed bits (ENC-5), links of 36 bytes (ENC-3), bounded containers (ENC-8).
pub(crate) fn is_permitted(value: &Ipld, depth: usize) -> bool {
    is_bounded(value, depth)
        && value.iter().all(|part| match part {
            Ipld::Float(_) => false,
            Ipld::Integer(number) => i64::try_from(*number).is_ok(),
            Ipld::Link(cid) => from_link(cid).is_some(),
            _ => true,
        })
}

fn is_bounded(value: &Ipld, depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else {
        return !matches!(value, Ipld::List(_) | Ipld::Map(_));
    };
    match value {
        Ipld::List(items) => {
            items.len() <= ITEMS_MAX && items.iter().all(|item| is_bounded(item, below))
        }
        Ipld::Map(entries) => {
            entries.len() <= ITEMS_MAX
                && entries
                    .iter()
                    .all(|(key, value)| key.len() <= KEY_BYTES_MAX && is_bounded(value, below))
        }
        _ => true,
    }
}
