//! Frames on the wire (T2, T3): exact bytes out, and what the envelope ignores, keeps or refuses.

use ipld_core::ipld::Ipld;
use relay_protocol::{
    Envelope, FRAME_BYTES_MAX, FrameKind, Message, account_frame, error_frame, identity_frame,
    info_frame,
};

use crate::build::{
    DID, TIME, account, commit, encode, frame, hex, identity, map, sync, text, with, without,
};

const HEADER_IDENTITY: &str = "a2617469236964656e74697479626f7001";
const HEADER_ERROR: &str = "a1626f7020";
const OUTDATED: &str = "Requested cursor exceeded limit. Possibly missing events";

/// T2, section 2.5: frames of a real PDS, byte for byte.
#[test]
fn our_own_frames_have_the_bytes_of_the_reference() {
    let future = error_frame("FutureCursor", Some("Cursor in the future."));
    assert_eq!(
        future,
        hex("a1626f7020 a2656572726f726c467574757265437572736f72676d65737361676575437572736f7220696e
             20746865206675747572652e")
    );
    assert_eq!(
        data_encoding::BASE64.encode(&error_frame("FutureCursor", None)),
        "oWJvcCChZWVycm9ybEZ1dHVyZUN1cnNvcg=="
    );
    assert_eq!(
        info_frame("OutdatedCursor", Some(OUTDATED)),
        hex("a261746523696e666f626f7001 a2646e616d656e4f75746461746564437572736f72676d65737361676578
             3852657175657374656420637572736f72206578636565646564206c696d69742e20506f737369626c79206d
             697373696e67206576656e7473")
    );
    assert_eq!(
        info_frame("OutdatedCursor", None),
        frame("#info", map([("name", text("OutdatedCursor"))]))
    );
}

/// T2: messages of our own are what an independent codec makes of the same fields.
#[test]
fn our_own_messages_are_canonical() {
    for seq in [1, 23, 24, 255, 256, 65_536, (1 << 53) - 1] {
        let set = |fields, number: u64| with(fields, "seq", Ipld::Integer(number.into()));
        for (ours, theirs) in [
            (
                account_frame(DID, TIME, false, Some("deactivated")),
                frame("#account", set(account(), seq)),
            ),
            (
                account_frame(DID, TIME, false, None),
                frame("#account", set(without(account(), "status"), seq)),
            ),
            (
                identity_frame(DID, TIME, Some("alice.example.com")),
                frame("#identity", set(identity(), seq)),
            ),
            (
                identity_frame(DID, TIME, None),
                frame("#identity", set(without(identity(), "handle"), seq)),
            ),
        ] {
            assert_eq!(ours.with_seq(seq), theirs);
            assert_eq!(ours.len_with(seq), theirs.len());
        }
    }
    let identity = identity_frame(DID, TIME, None).with_seq(1);
    assert!(identity.starts_with(&hex(HEADER_IDENTITY)));
}

/// T2: the same vectors read back.
#[test]
fn reference_frames_are_read() {
    let future = error_frame("FutureCursor", None);
    assert_eq!(
        Envelope::peek(&future),
        Ok(Envelope { kind: FrameKind::Error, did: None, host_seq: None })
    );
    assert!(matches!(Message::decode(&future), Ok(Message::Error("FutureCursor", None))));

    let info = info_frame("OutdatedCursor", Some(OUTDATED));
    assert_eq!(Envelope::peek(&info).map(|envelope| envelope.kind), Ok(FrameKind::Info));
    let Ok(Message::Info("OutdatedCursor", Some(message))) = Message::decode(&info) else {
        panic!("not an #info frame");
    };
    assert_eq!(message, OUTDATED);
}

/// UP-3, MSG-4: kind, DID and seq are what routing needs.
#[test]
fn an_envelope_gives_kind_did_and_seq() {
    for (kind, name, payload, seq) in [
        (FrameKind::Commit, "#commit", commit(), 70_000),
        (FrameKind::Sync, "#sync", sync(), 5),
        (FrameKind::Identity, "#identity", identity(), 5),
        (FrameKind::Account, "#account", account(), 5),
    ] {
        let frame = frame(name, payload);
        let expected = Envelope { kind, did: Some(DID), host_seq: Some(seq) };
        assert_eq!(Envelope::peek(&frame), Ok(expected), "{name}");
    }
    // A #commit calls it `repo`, all others `did`.
    let misnamed = with(without(commit(), "repo"), "did", text(DID));
    let frame = frame("#commit", misnamed);
    assert_eq!(Envelope::peek(&frame).map(|envelope| envelope.did), Ok(None));
}

/// MSG-4: a wrong or absent field costs the message, not the connection.
#[test]
fn a_wrong_field_leaves_the_framing_intact() {
    for (key, value) in [
        ("seq", text("5")),
        ("seq", Ipld::Integer(-1)),
        ("seq", Ipld::Integer(1 << 53)),
        ("seq", Ipld::Null),
    ] {
        let frame = frame("#identity", with(identity(), key, value));
        let envelope = Envelope::peek(&frame).unwrap();
        assert_eq!((envelope.did, envelope.host_seq), (Some(DID), None));
        assert!(Message::decode(&frame).is_err());
    }
    for payload in [with(identity(), "did", Ipld::Integer(1)), without(identity(), "did")] {
        let frame = frame("#identity", payload);
        let envelope = Envelope::peek(&frame).unwrap();
        assert_eq!((envelope.did, envelope.host_seq), (None, Some(5)));
        assert!(Message::decode(&frame).is_err());
    }
    let last = frame("#identity", with(identity(), "seq", Ipld::Integer((1 << 53) - 1)));
    assert_eq!(Envelope::peek(&last).unwrap().host_seq, Some((1 << 53) - 1));
    assert!(Message::decode(&last).is_ok());
}

/// T3, UP-3, LEG-4: what is new or outdated is ignored.
#[test]
fn unknown_frames_are_ignored() {
    let payload = || encode(&Ipld::Map(identity()));
    let header = |op: i128, kind: &str| {
        encode(&Ipld::Map(map([("op", Ipld::Integer(op)), ("t", text(kind))])))
    };
    for ignored in [
        header(1, "#handle"),
        header(1, "#migrate"),
        header(1, "#tombstone"),
        header(1, "#labels"),
        header(1, "commit"),
        header(2, "#commit"),
        header(0, "#commit"),
        header(-2, "#commit"),
    ] {
        let frame = [ignored, payload()].concat();
        assert_eq!(
            Envelope::peek(&frame),
            Ok(Envelope { kind: FrameKind::Unknown, did: None, host_seq: None })
        );
        assert!(matches!(Message::decode(&frame), Ok(Message::Ignored)));
    }
    let known = [header(1, "#identity"), payload()].concat();
    assert!(matches!(Message::decode(&known), Ok(Message::Identity(_))));
}

/// T3, UP-3, MSG-2: unknown fields of header and payload, `$type` among them, are ignored.
#[test]
fn unknown_fields_are_ignored() {
    let header = map([("op", Ipld::Integer(1)), ("t", text("#account")), ("x", Ipld::Null)]);
    let payload = with(account(), "$type", text("com.atproto.sync.subscribeRepos#account"));
    let payload = with(payload, "future", Ipld::List(vec![Ipld::Map(map([("a", Ipld::Null)]))]));
    let frame = [encode(&Ipld::Map(header)), encode(&Ipld::Map(payload))].concat();

    assert_eq!(Envelope::peek(&frame).unwrap().did, Some(DID));
    let Ok(Message::Account(account)) = Message::decode(&frame) else { panic!("not an account") };
    assert_eq!((account.active, account.status), (false, Some("deactivated")));
}

/// T3, UP-3, ENC-9: bad framing or CBOR drops the connection, for known and for unknown frames.
#[test]
fn broken_frames_are_refused() {
    let header = hex(HEADER_IDENTITY);
    let payload = hex("a1 63736571 05");
    let unknown = hex("a2617462237a626f7001");
    assert!(Envelope::peek(&[header.as_slice(), &payload].concat()).is_ok());
    assert!(Envelope::peek(&[unknown.as_slice(), &payload].concat()).is_ok());

    for (name, bad) in [
        ("no payload", ""),
        ("trailing bytes", "a1 63736571 05 00"),
        ("a third object", "a1 63736571 05 a0"),
        ("truncated", "a1 63736571"),
        ("duplicate key", "a2 63736571 05 63736571 05"),
        ("unsorted keys", "a2 63736571 05 616105"),
        ("indefinite map", "bf 63736571 05 ff"),
        ("indefinite array", "a1 6161 9f ff"),
        ("indefinite text", "a1 6161 7f 6161 ff"),
        ("float", "a1 6161 fb3ff0000000000000"),
        ("tag 43", "a1 6161 d82b 4100"),
        ("undefined", "a1 6161 f7"),
        ("long form of an integer", "a1 63736571 1805"),
        ("key that is not text", "a1 05 05"),
        ("text that is not UTF-8", "a1 6161 61ff"),
    ] {
        for header in [&header, &unknown] {
            let frame = [header.as_slice(), &hex(bad)].concat();
            assert!(Envelope::peek(&frame).is_err(), "{name}");
            assert!(Message::decode(&frame).is_err(), "{name}");
        }
    }
    for (name, payload) in [("array", "80"), ("integer", "05"), ("null", "f6")] {
        let frame = [header.as_slice(), &hex(payload)].concat();
        assert!(Envelope::peek(&frame).is_err(), "a payload that is an {name}");
    }
}

/// UP-3: an unknown field makes a header unusual, not its frame unknown.
#[test]
fn headers_with_more_fields_mean_the_same() {
    for (kind, name, payload) in [
        (FrameKind::Commit, "#commit", commit()),
        (FrameKind::Sync, "#sync", sync()),
        (FrameKind::Identity, "#identity", identity()),
        (FrameKind::Account, "#account", account()),
    ] {
        let header = map([("op", Ipld::Integer(1)), ("t", text(name)), ("zzz", text("more"))]);
        let unusual = [encode(&Ipld::Map(header)), encode(&Ipld::Map(payload.clone()))].concat();
        let envelope = Envelope::peek(&unusual).unwrap();
        assert_eq!(envelope.kind, kind);
        assert_eq!(Ok(envelope), Envelope::peek(&frame(name, payload)));
    }
}

/// UP-3, WS-4.
#[test]
fn broken_headers_are_refused() {
    let error = hex("a1 656572726f72 6161");
    for (good, name, bad) in [
        (HEADER_ERROR, "a header that is no map", "8120"),
        (HEADER_ERROR, "no op", "a0"),
        (HEADER_ERROR, "an op that is text", "a1626f706131"),
        (HEADER_ERROR, "op 1 without t", "a1626f7001"),
        (HEADER_ERROR, "a t that is no text", "a2617401626f7001"),
        (HEADER_ERROR, "t behind op", "a2626f70016174 62237a"),
        (HEADER_ERROR, "op twice", "a2626f7020626f7020"),
        (HEADER_ERROR, "long form of op", "a1626f703800"),
    ] {
        assert!(Envelope::peek(&[hex(good), error.clone()].concat()).is_ok());
        assert!(Envelope::peek(&[hex(bad), error.clone()].concat()).is_err(), "{name}");
    }
    // What a host sends when it answers in text.
    for text in [b"".as_slice(), b"{\"error\":\"FutureCursor\"}", b"<html>"] {
        assert!(Envelope::peek(text).is_err());
        assert!(Message::decode(text).is_err());
    }
}

/// MSG-1.
#[test]
fn a_frame_has_at_most_five_million_bytes() {
    let padded = |size: usize| {
        let frame = frame("#labels", map([("pad", Ipld::Bytes(vec![0; size]))]));
        (frame.len(), frame)
    };
    let overhead = padded(1_000_000).0 - 1_000_000;

    let (length, largest) = padded(FRAME_BYTES_MAX - overhead);
    assert_eq!(length, 5_000_000);
    assert!(Envelope::peek(&largest).is_ok());

    let (_, too_large) = padded(FRAME_BYTES_MAX - overhead + 1);
    let refusal = Envelope::peek(&too_large).unwrap_err();
    assert_eq!(refusal.what, "a frame exceeds 5,000,000 bytes");
}

/// MSG-4: a field that nobody knows is no name of an `#info`, wherever it stands.
#[test]
fn an_info_keeps_its_name_beside_unknown_fields() {
    for unknown in ["a", "other"] {
        let info = map([(unknown, text("FutureCursor")), ("name", text("OutdatedCursor"))]);
        let info = frame("#info", info);
        let found = Message::decode(&info);
        assert!(matches!(found, Ok(Message::Info("OutdatedCursor", None))), "{unknown}: {found:?}");
    }
}

/// WS-4: messages that are of no account name none, whatever keys they have; the empty one is a key
/// like others.
#[test]
fn a_message_of_no_account_has_no_did() {
    let odd = frame("#info", map([("", text(DID)), ("did", text(DID)), ("repo", text(DID))]));
    let envelope = Envelope::peek(&odd).unwrap();
    assert_eq!((envelope.kind, envelope.did), (FrameKind::Info, None));
}
