//! Builds valid input with a codec that is not ours, and spoils it.

use std::collections::BTreeMap;

use ipld_core::{cid, ipld::Ipld};

/// A DID that every rule accepts.
pub(crate) const DID: &str = "did:plc:7iza6de2dwap2sbkpav7c6c6";
/// A revision of 2023.
pub(crate) const REV: &str = "3jzfcijpj2z2a";
/// The revision before it.
pub(crate) const SINCE: &str = "3jzfcijpj2z22";
/// A datetime that every rule accepts.
pub(crate) const TIME: &str = "2026-01-01T00:00:00.000Z";
/// A repo path.
pub(crate) const PATH: &str = "app.bsky.feed.post/3jzfcijpj2z2a";

/// A map before it is encoded.
pub(crate) type Fields = BTreeMap<String, Ipld>;

/// Bytes from hexadecimal digits; blanks are ignored.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
}

/// The independent encoding of a value.
pub(crate) fn encode(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).unwrap()
}

/// A map of these entries.
pub(crate) fn map<const N: usize>(entries: [(&str, Ipld); N]) -> Fields {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(crate) fn text(text: &str) -> Ipld {
    Ipld::String(text.to_owned())
}

/// A link to a dag-cbor block whose digest repeats one byte.
pub(crate) fn link(byte: u8) -> Ipld {
    link_of(0x71, &[byte; 32])
}

/// A link with this codec.
pub(crate) fn link_of(codec: u8, digest: &[u8; 32]) -> Ipld {
    let bytes = [&[1, codec, 0x12, 0x20], digest.as_slice()].concat();
    Ipld::Link(cid::Cid::try_from(bytes.as_slice()).unwrap())
}

/// A frame with `op` 1.
pub(crate) fn frame(kind: &str, payload: Fields) -> Vec<u8> {
    let header = map([("op", Ipld::Integer(1)), ("t", text(kind))]);
    [encode(&Ipld::Map(header)), encode(&Ipld::Map(payload))].concat()
}

/// One operation that creates a record.
pub(crate) fn create() -> Fields {
    map([("cid", link(3)), ("path", text(PATH)), ("action", text("create"))])
}

/// The payload of a `#commit` with every field of 5.1 and one operation.
pub(crate) fn commit() -> Fields {
    map([
        ("ops", Ipld::List(vec![Ipld::Map(create())])),
        ("rev", text(REV)),
        ("seq", Ipld::Integer(70_000)),
        ("repo", text(DID)),
        ("time", text(TIME)),
        ("blobs", Ipld::List(vec![])),
        ("since", text(SINCE)),
        ("blocks", Ipld::Bytes(b"blocks are read elsewhere".to_vec())),
        ("commit", link(1)),
        ("rebase", Ipld::Bool(false)),
        ("tooBig", Ipld::Bool(false)),
        ("prevData", link(2)),
    ])
}

/// The payload of a `#sync`.
pub(crate) fn sync() -> Fields {
    map([
        ("did", text(DID)),
        ("rev", text(REV)),
        ("seq", Ipld::Integer(5)),
        ("time", text(TIME)),
        ("blocks", Ipld::Bytes(b"a commit block".to_vec())),
    ])
}

/// The payload of an `#identity`.
pub(crate) fn identity() -> Fields {
    map([
        ("did", text(DID)),
        ("seq", Ipld::Integer(5)),
        ("time", text(TIME)),
        ("handle", text("alice.example.com")),
    ])
}

/// The payload of an `#account`.
pub(crate) fn account() -> Fields {
    map([
        ("did", text(DID)),
        ("seq", Ipld::Integer(5)),
        ("time", text(TIME)),
        ("active", Ipld::Bool(false)),
        ("status", text("deactivated")),
    ])
}

/// The same map with one field set.
pub(crate) fn with(mut fields: Fields, key: &str, value: Ipld) -> Fields {
    fields.insert(key.to_owned(), value);
    fields
}

/// The same map without a field that it has.
pub(crate) fn without(mut fields: Fields, key: &str) -> Fields {
    assert!(fields.remove(key).is_some(), "no field {key} to leave out");
    fields
}

/// An unsigned LEB128.
pub(crate) fn uvarint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Length and bytes.
pub(crate) fn section(bytes: &[u8]) -> Vec<u8> {
    [uvarint(bytes.len()).as_slice(), bytes].concat()
}

/// A CAR section with a dag-cbor block under its true CID.
pub(crate) fn block(data: &[u8]) -> Vec<u8> {
    block_under(&digest(data), data)
}

/// A CAR section with a dag-cbor block under any digest.
pub(crate) fn block_under(digest: &[u8; 32], data: &[u8]) -> Vec<u8> {
    section(&[&[1, 0x71, 0x12, 0x20], digest.as_slice(), data].concat())
}

/// SHA-256.
pub(crate) fn digest(data: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(data).into()
}

/// A CAR header.
pub(crate) fn car_header(roots: Vec<Ipld>, version: i128) -> Vec<u8> {
    let header = map([("roots", Ipld::List(roots)), ("version", Ipld::Integer(version))]);
    section(&encode(&Ipld::Map(header)))
}

/// A CAR whose root is the first of these blocks.
pub(crate) fn car(blocks: &[&[u8]]) -> Vec<u8> {
    let root = digest(blocks.first().unwrap());
    let mut out = car_header(vec![link_of(0x71, &root)], 1);
    for data in blocks {
        out.extend(block(data));
    }
    out
}
