//! Every decoder against spoiled input (T28 in small): truncated, flipped, extended and random
//! bytes give a refusal or a value, never a panic, and what is accepted is canonical.

use bytes::Bytes;
use ipld_core::ipld::Ipld;
use proptest::{collection, prelude::*, sample::Index};
use relay_protocol::{
    Blocks, Cid, Did, DidDocument, Edit, Envelope, Handle, Hostname, Message, Nsid, Reader, Rev,
    check_record, error_frame, info_frame, is_datetime, is_record_key, repo_path, unsequence,
};

use crate::build::{DID, PATH, REV, TIME, account, car, commit, encode, frame, identity, sync};

/// One way to spoil bytes.
#[derive(Debug, Clone)]
enum Spoil {
    Truncate(Index),
    FlipBit(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Extend(Vec<u8>),
    Repeat(Index, Index),
}

fn a_spoil() -> impl Strategy<Value = Spoil> {
    let bytes = || collection::vec(any::<u8>(), 1..12);
    prop_oneof![
        any::<Index>().prop_map(Spoil::Truncate),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Spoil::FlipBit(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Spoil::Set(at, value)),
        (any::<Index>(), bytes()).prop_map(|(at, bytes)| Spoil::Insert(at, bytes)),
        bytes().prop_map(Spoil::Extend),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Spoil::Repeat(from, to)),
    ]
}

fn spoiled(mut bytes: Vec<u8>, spoils: &[Spoil]) -> Vec<u8> {
    for spoil in spoils {
        let length = bytes.len();
        match spoil {
            Spoil::Extend(more) => bytes.extend(more),
            _ if length == 0 => {}
            Spoil::Truncate(at) => bytes.truncate(at.index(length)),
            Spoil::FlipBit(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Spoil::Set(at, value) => bytes[at.index(length)] = *value,
            Spoil::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Spoil::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(part);
            }
        }
    }
    bytes
}

/// Valid encodings of everything that comes from a host.
fn a_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(frame("#commit", commit())),
        Just(frame("#sync", sync())),
        Just(frame("#identity", identity())),
        Just(frame("#account", account())),
        Just(info_frame("OutdatedCursor", Some("events are missing"))),
        Just(error_frame("FutureCursor", None)),
    ]
}

fn a_value() -> impl Strategy<Value = Ipld> {
    let leaf = prop_oneof![
        Just(Ipld::Null),
        any::<bool>().prop_map(Ipld::Bool),
        any::<i64>().prop_map(|number| Ipld::Integer(number.into())),
        (-300..70_000_i128).prop_map(Ipld::Integer),
        "[a-zß💩]{0,30}".prop_map(Ipld::String),
        collection::vec(any::<u8>(), 0..40).prop_map(Ipld::Bytes),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..8).prop_map(Ipld::List),
            collection::btree_map("[a-z]{0,3}", inner, 0..8).prop_map(Ipld::Map),
        ]
    })
}

/// Reads one value with the rules of the protocol.
fn accepts(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.skip_value().is_ok() && reader.expect_end().is_ok()
}

/// What the rules of the protocol say of a value that a general codec took: no floats (ENC-4) and
/// integers of 64 signed bits (ENC-5).
fn is_permitted(value: &Ipld) -> bool {
    value.iter().all(|part| match part {
        Ipld::Float(_) => false,
        Ipld::Integer(number) => i64::try_from(*number).is_ok(),
        _ => true,
    })
}

proptest! {
    /// ENC-1…7: what an independent codec writes is accepted.
    #[test]
    fn canonical_values_are_accepted(value in a_value()) {
        let bytes = encode(&value);
        prop_assert!(accepts(&bytes));
        prop_assert_eq!(check_record(&bytes).is_ok(), matches!(value, Ipld::Map(_)));
    }

    /// ENC-1…7, ENC-9: spoiled values are accepted exactly when an independent strict codec accepts
    /// them, and then they encode to the same bytes again.
    #[test]
    fn spoiled_values_are_judged_like_an_independent_codec(
        value in a_value(),
        spoils in collection::vec(a_spoil(), 1..4),
    ) {
        let bytes = spoiled(encode(&value), &spoils);
        match serde_ipld_dagcbor::from_slice::<Ipld>(&bytes) {
            Ok(value) => {
                prop_assert_eq!(accepts(&bytes), is_permitted(&value));
                prop_assert_eq!(encode(&value), bytes);
            }
            // Ours leaves it to the reader of a link what its CID is (ENC-3).
            Err(_) if bytes.windows(2).any(|window| window == [0xd8, 0x2a]) => {}
            Err(_) => prop_assert!(!accepts(&bytes)),
        }
    }

    /// I6: spoiled frames.
    #[test]
    fn spoiled_frames_do_not_panic(
        frame in a_frame(),
        spoils in collection::vec(a_spoil(), 1..4),
        seq in 0..1_u64 << 53,
    ) {
        let frame = Bytes::from(spoiled(frame, &spoils));
        let envelope = Envelope::peek(&frame);
        let message = Message::decode(&frame);
        if let Ok(message) = &message {
            prop_assert!(envelope.is_ok(), "decoded a frame that is not canonical");
            if let Message::Commit(commit) = message {
                prop_assert!(commit.ops.len() <= 200);
            }
        }
        let edits = [Edit::Text("time", TIME), Edit::Remove("handle"), Edit::EmptyArray("blobs")];
        for edits in [[].as_slice(), &edits] {
            if let Ok(cut) = unsequence(&frame, edits) {
                let out = cut.with_seq(seq);
                prop_assert_eq!(Envelope::peek(&out).map(|envelope| envelope.kind), envelope.map(|e| e.kind));
                prop_assert_eq!(out.len(), cut.len_with(seq));
            }
        }
    }

    /// I6, ENC-14: spoiled slices; a block that is given hashes to its digest.
    #[test]
    fn spoiled_slices_do_not_panic(
        blocks in collection::vec(collection::vec(any::<u8>(), 0..50), 1..50),
        spoils in collection::vec(a_spoil(), 0..4),
    ) {
        let slices: Vec<_> = blocks.iter().map(Vec::as_slice).collect();
        let bytes = spoiled(car(&slices), &spoils);
        match Blocks::read(&bytes) {
            Ok(read) => for data in &blocks {
                if let Ok(Some(found)) = read.get(&Cid::of(data).digest) {
                    prop_assert_eq!(found, data.as_slice());
                }
            },
            Err(refusal) => prop_assert!(!spoils.is_empty(), "{}", refusal),
        }
    }

    /// I6, INV-4: spoiled records.
    #[test]
    fn spoiled_records_do_not_panic(value in a_value(), spoils in collection::vec(a_spoil(), 1..4)) {
        let bytes = spoiled(encode(&value), &spoils);
        if check_record(&bytes).is_ok() {
            prop_assert_eq!(bytes[0] >> 5, 5);
        }
    }

    /// I6: bytes that never were valid.
    #[test]
    fn random_bytes_do_not_panic(bytes in collection::vec(any::<u8>(), 0..200)) {
        let _refused = Envelope::peek(&bytes).is_err();
        let _refused = Message::decode(&bytes).is_err();
        let _refused = check_record(&bytes).is_err();
        let _refused = Cid::from_bytes(&bytes).is_err();
        prop_assert!(Blocks::read(&bytes).is_err());
    }

    /// I6, DOC-1: spoiled DID documents.
    #[test]
    fn spoiled_documents_do_not_panic(spoils in collection::vec(a_spoil(), 1..4)) {
        let did = Did::parse(DID)?;
        let document = format!(
            r##"{{"id":"{DID}","alsoKnownAs":["at://a.com"],"verificationMethod":[],"service":[
            {{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://a.com"}}]}}"##
        );
        prop_assert!(DidDocument::parse(document.as_bytes(), &did, false)?.pds.is_some());
        let bytes = spoiled(document.into_bytes(), &spoils);
        if let Ok(document) = DidDocument::parse(&bytes, &did, true) {
            prop_assert!(document.key.is_none());
        }
    }

    /// I6: spoiled identifiers; what is accepted reads back from what it prints.
    #[test]
    fn spoiled_identifiers_do_not_panic(
        original in prop_oneof![
            Just(DID), Just("did:web:localhost%3A2583"), Just(REV), Just(PATH), Just(TIME),
            Just("https://pds.example.com"), Just("localhost:2583"), Just("alice.example.com"),
            Just("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"),
        ],
        spoils in collection::vec(a_spoil(), 0..4),
    ) {
        let bytes = spoiled(original.as_bytes().to_vec(), &spoils);
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(did) = Did::parse(&text) {
            prop_assert_eq!(did.to_string(), text.as_ref());
            prop_assert_eq!(did.web_host().is_some() && did.method(true).is_err(), false);
        }
        if let Ok(rev) = Rev::parse(&text) {
            prop_assert_eq!(rev.to_string(), text.as_ref());
        }
        if let Ok(cid) = Cid::parse(&text) {
            prop_assert_eq!(cid.to_string(), text.as_ref());
        }
        if let Ok(nsid) = Nsid::parse(&text) {
            prop_assert_eq!(nsid.as_str(), text.as_ref());
        }
        if let Ok((collection, key)) = repo_path(&text) {
            prop_assert!(Nsid::parse(collection).is_ok() && is_record_key(key));
        }
        for dev in [false, true] {
            if let Ok(handle) = Handle::parse(&text, dev) {
                prop_assert_eq!(Handle::parse(handle.as_str(), dev), Ok(handle));
            }
            if let Ok(host) = Hostname::parse(&text, dev) {
                let again = Hostname::parse(host.as_str(), dev)?;
                prop_assert_eq!(again.as_str(), host.as_str());
            }
        }
        let _accepted = is_datetime(&text);
    }
}
