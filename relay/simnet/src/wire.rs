//! Frames of the event stream: writing them, and the little reading that comparing them needs.

use crate::block::{encode, map};
use ipld_core::ipld::Ipld;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Kinds of events that a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `#commit`
    Commit,
    /// `#sync`
    Sync,
    /// `#identity`
    Identity,
    /// `#account`
    Account,
}

impl Kind {
    /// The `t` of the frame header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "#commit",
            Self::Sync => "#sync",
            Self::Identity => "#identity",
            Self::Account => "#account",
        }
    }

    /// The kind with this `t`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Commit, Self::Sync, Self::Identity, Self::Account]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// Fields of a payload.
pub type Fields = BTreeMap<String, Ipld>;

/// A frame: header and payload (WS-4).
pub fn frame(kind: &str, payload: &Ipld) -> Vec<u8> {
    let header = map([("op", Ipld::Integer(1)), ("t", Ipld::String(kind.to_owned()))]);
    let mut out = encode(&header);
    out.extend(encode(payload));
    out
}

/// The frame that names an error before the stream is closed (WS-5).
pub fn error_frame(error: &str, message: &str) -> Vec<u8> {
    let mut out = encode(&map([("op", Ipld::Integer(-1))]));
    out.extend(encode(&map([
        ("error", Ipld::String(error.to_owned())),
        ("message", Ipld::String(message.to_owned())),
    ])));
    out
}

/// An `#info` frame.
pub fn info_frame(name: &str, message: &str) -> Vec<u8> {
    let payload = map([
        ("name", Ipld::String(name.to_owned())),
        ("message", Ipld::String(message.to_owned())),
    ]);
    frame("#info", &payload)
}

/// Major type, argument and length of the head of an item of definite length.
fn head(bytes: &[u8]) -> Option<(u8, u64, usize)> {
    let first = *bytes.first()?;
    let wide = |length: usize| {
        let rest = bytes.get(1..=length)?;
        let argument = rest.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        Some((first >> 5, argument, 1 + length))
    };
    match first & 31 {
        small @ 0..24 => Some((first >> 5, u64::from(small), 1)),
        24 => wide(1),
        25 => wide(2),
        26 => wide(4),
        27 => wide(8),
        _ => None,
    }
}

/// Length of the first item; `None` when it is cut off or of indefinite length.
pub fn item_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    let mut open = 1_u64;
    while open > 0 {
        let (major, argument, length) = head(bytes.get(at..)?)?;
        open -= 1;
        at += length;
        match major {
            2 | 3 => at = at.checked_add(usize::try_from(argument).ok()?)?,
            4 => open = open.checked_add(argument)?,
            5 => open = open.checked_add(argument.checked_mul(2)?)?,
            6 => open += 1,
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// One field of a map: its name, its value, and both as they are encoded.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Name.
    pub name: &'a str,
    /// Encoded value.
    pub value: &'a [u8],
    /// Encoded name and value.
    pub pair: &'a [u8],
}

/// The fields of an encoded map, in their order; `None` when it is not one whole map.
pub fn fields(map: &[u8]) -> Option<Vec<Field<'_>>> {
    let (5, count, mut at) = head(map)? else { return None };
    let mut found = Vec::new();
    for _ in 0..count {
        let rest = map.get(at..)?;
        let (3, length, start) = head(rest)? else { return None };
        let name_end = start.checked_add(usize::try_from(length).ok()?)?;
        let name = std::str::from_utf8(rest.get(start..name_end)?).ok()?;
        let end = name_end + item_len(rest.get(name_end..)?)?;
        let (pair, value) = (rest.get(..end)?, rest.get(name_end..end)?);
        found.push(Field { name, value, pair });
        at += end;
    }
    (at == map.len()).then_some(found)
}

/// The text of an encoded string.
pub fn text(value: &[u8]) -> Option<&str> {
    let (3, length, start) = head(value)? else { return None };
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    std::str::from_utf8(value.get(start..end)?).ok()
}

/// The number of an encoded integer.
pub fn integer(value: &[u8]) -> Option<i64> {
    match head(value)? {
        (0, number, _) => i64::try_from(number).ok(),
        (1, number, _) => i64::try_from(number).ok().map(|number| -1 - number),
        _ => None,
    }
}

/// What must be equal in two payloads that may differ in `seq`.
pub fn digest(payload: &[u8]) -> Option<u128> {
    digest_without(payload, &["seq"])
}

/// The same, also without the fields that a relay may replace (SYN-9, IDE-3).
pub fn loose_digest(payload: &[u8]) -> Option<u128> {
    digest_without(payload, &["seq", "time", "handle"])
}

/// The same, without these fields.
pub(crate) fn digest_without(payload: &[u8], names: &[&str]) -> Option<u128> {
    let mut hash = Sha256::new();
    for field in fields(payload)?.iter().filter(|field| !names.contains(&field.name)) {
        hash.update(field.pair);
    }
    let digest = hash.finalize();
    Some(digest.iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 2.5: the published header and error frames, byte for byte.
    #[test]
    fn frames_have_the_published_bytes() {
        let hex = |frame: &[u8]| data_encoding::HEXLOWER.encode(frame);
        let identity = frame("#identity", &Ipld::Map(Fields::new()));
        assert_eq!(hex(&identity), "a2617469236964656e74697479626f7001a0");
        assert_eq!(
            hex(&error_frame("FutureCursor", "Cursor in the future.")),
            "a1626f7020a2656572726f726c467574757265437572736f72676d657373616765\
             75437572736f7220696e20746865206675747572652e"
        );
        let info = info_frame(
            "OutdatedCursor",
            "Requested cursor exceeded limit. Possibly missing events",
        );
        assert_eq!(
            hex(&info),
            "a261746523696e666f626f7001a2646e616d656e4f75746461746564437572736f72\
             676d657373616765783852657175657374656420637572736f72206578636565646564206c696d69742e\
             20506f737369626c79206d697373696e67206576656e7473"
        );
    }

    /// MSG-3: a digest ignores `seq` of any width and nothing else.
    #[test]
    fn digests_differ_exactly_when_something_else_than_seq_does() {
        let payload = |seq: i128, did: &str| {
            encode(&map([("seq", Ipld::Integer(seq)), ("did", Ipld::String(did.to_owned()))]))
        };
        assert_eq!(digest(&payload(1, "did:plc:a")), digest(&payload(1 << 40, "did:plc:a")));
        assert_ne!(digest(&payload(1, "did:plc:a")), digest(&payload(1, "did:plc:b")));
        assert_eq!(digest(b"\xa1\x63seq"), None);
        assert_eq!(digest(b"\xbf\xff"), None);
    }

    /// Fields are found with their bytes; integers and texts read back.
    #[test]
    fn fields_of_a_map_are_found() {
        let payload = encode(&map([
            ("seq", Ipld::Integer(-70_000)),
            ("blocks", Ipld::Bytes(vec![1; 300])),
            (
                "list",
                Ipld::List(vec![Ipld::Null, Ipld::Bool(true), map([("a", Ipld::Integer(1))])]),
            ),
        ]));
        let fields = fields(&payload).unwrap();
        let names: Vec<_> = fields.iter().map(|field| field.name).collect();
        assert_eq!(names, ["seq", "list", "blocks"]);
        assert_eq!(integer(fields[0].value), Some(-70_000));
        assert_eq!(text(&encode("hello")), Some("hello"));
        assert_eq!(item_len(&payload[..payload.len() - 1]), None);
    }
}
