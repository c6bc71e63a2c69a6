//! Decoded messages (section 5): every field present, absent, null and of a wrong type.

use ipld_core::ipld::Ipld;
use relay_protocol::{
    Account, Cid, CommitCid, CommitMessage, DataCid, Identity, Invalid, Message, OpAction, Rev,
    Sync,
};

use crate::build::{
    DID, Fields, PATH, REV, SINCE, TIME, account, commit, create, frame, identity, link, link_of,
    map, sync, text, with, without,
};

/// Decodes a `#commit` and hands the result to a check, because it borrows the frame.
fn decoded<T>(payload: Fields, check: impl FnOnce(CommitMessage<'_>) -> T) -> Result<T, Invalid> {
    match Message::decode(&frame("#commit", payload))? {
        Message::Commit(message) => Ok(check(message)),
        other => panic!("{other:?}"),
    }
}

/// Whether a `#commit` decodes.
fn checked(payload: Fields) -> Result<(), Invalid> {
    decoded(payload, |_| ())
}

fn with_op(op: Fields) -> Fields {
    with(commit(), "ops", Ipld::List(vec![Ipld::Map(op)]))
}

fn cid(byte: u8) -> Cid {
    Cid::from(DataCid([byte; 32]))
}

/// 5.1.
#[test]
fn a_commit_is_read_whole() {
    decoded(commit(), |message| {
        assert_eq!(message.host_seq, 70_000);
        assert_eq!(message.repo, DID);
        assert_eq!(message.commit, CommitCid([1; 32]));
        assert_eq!(message.rev, Rev::parse(REV).unwrap());
        assert_eq!(message.since, Some(Rev::parse(SINCE).unwrap()));
        assert_eq!(message.blocks, b"blocks are read elsewhere");
        assert_eq!(message.prev_data, Some(DataCid([2; 32])));
        assert_eq!(message.time, TIME);
        assert!(!message.missing_rebase && !message.missing_too_big && !message.missing_blobs);
        assert_eq!(message.ops.len(), 1);
        assert_eq!(message.ops[0].action, OpAction::Create);
        assert_eq!(message.ops[0].path, PATH);
        assert_eq!(message.ops[0].cid, Some(cid(3)));
        assert_eq!(message.ops[0].prev, None);
    })
    .unwrap();
}

/// MSG-4: each required field, absent and of each wrong type.
#[test]
fn a_commit_without_a_required_field_is_refused() {
    assert!(checked(commit()).is_ok());
    for key in ["ops", "rev", "seq", "repo", "time", "since", "blocks", "commit"] {
        let refusal = checked(without(commit(), key)).expect_err(key);
        assert_eq!(refusal.what, format!("{key} is missing"));

        let wrong = checked(with(commit(), key, Ipld::Bool(true))).expect_err(key);
        assert!(wrong.what.starts_with(key), "{wrong}");
        if key != "since" {
            let null = checked(with(commit(), key, Ipld::Null)).expect_err(key);
            assert!(null.what.starts_with(key), "{null}");
        }
    }
}

/// 5.1: null for the first commit; prevData absent or null on the first commit (LEG-1 is decided
/// later).
#[test]
fn fields_of_a_first_commit_are_empty() {
    let first = with(without(commit(), "prevData"), "since", Ipld::Null);
    assert_eq!(decoded(first, |message| (message.since, message.prev_data)), Ok((None, None)));

    let null = with(commit(), "prevData", Ipld::Null);
    assert_eq!(decoded(null, |message| message.prev_data), Ok(None));
}

/// A3, LEG-3, DESIGN 10.2: deprecated fields are ignored, and named for the patcher when output
/// would lack them.
#[test]
fn deprecated_fields_may_be_absent_or_wrong() {
    let missing = |payload| {
        decoded(payload, |message| {
            (message.missing_rebase, message.missing_too_big, message.missing_blobs)
        })
    };
    assert_eq!(missing(commit()), Ok((false, false, false)));
    assert_eq!(missing(without(commit(), "rebase")), Ok((true, false, false)));
    assert_eq!(missing(without(commit(), "tooBig")), Ok((false, true, false)));
    assert_eq!(missing(without(commit(), "blobs")), Ok((false, false, true)));

    assert_eq!(missing(with(commit(), "tooBig", Ipld::Bool(true))), Ok((false, false, false)));
    let blobs = Ipld::List(vec![link_of(0x55, &[9; 32])]);
    assert_eq!(missing(with(commit(), "blobs", blobs)), Ok((false, false, false)));
    assert_eq!(missing(with(commit(), "rebase", Ipld::Null)), Ok((true, false, false)));
    assert_eq!(missing(with(commit(), "tooBig", text("no"))), Ok((false, true, false)));
    assert_eq!(missing(with(commit(), "blobs", Ipld::Null)), Ok((false, false, true)));

    // `prev` was removed from #commit.
    assert!(checked(with(commit(), "prev", text("anything"))).is_ok());
}

/// 5.1: all three actions; null and absent `prev` are the same.
#[test]
fn operations_are_read() {
    let update = with(with(create(), "action", text("update")), "prev", link(4));
    let delete = with(with(create(), "action", text("delete")), "prev", link(4));
    let delete = with(delete, "cid", Ipld::Null);
    let null_prev = with(create(), "prev", Ipld::Null);
    for (op, is_null) in [(create(), false), (update.clone(), false), (null_prev.clone(), true)] {
        assert_eq!(decoded(with_op(op), |message| message.has_null_prev), Ok(is_null));
    }
    let ops = [update, delete, null_prev].map(Ipld::Map);

    decoded(with(commit(), "ops", Ipld::List(ops.to_vec())), |message| {
        let ops = message.ops.iter().map(|op| (op.action, op.cid, op.prev)).collect::<Vec<_>>();
        assert_eq!(
            ops,
            [
                (OpAction::Update, Some(cid(3)), Some(cid(4))),
                (OpAction::Delete, None, Some(cid(4))),
                (OpAction::Create, Some(cid(3)), None),
            ]
        );
    })
    .unwrap();
    assert_eq!(decoded(with(commit(), "ops", Ipld::List(vec![])), |m| m.ops.len()), Ok(0));
}

/// 5.1, SYN-8, ENC-12.
#[test]
fn malformed_operations_are_refused() {
    assert!(checked(with_op(create())).is_ok());
    for key in ["cid", "path", "action"] {
        assert!(checked(with_op(without(create(), key))).is_err(), "without {key}");
        assert!(checked(with_op(with(create(), key, Ipld::Integer(1)))).is_err(), "{key}");
    }
    for (key, value) in [
        ("action", text("replace")),
        ("action", text("Create")),
        ("path", text("app.bsky.feed.post")),
        ("path", text("/app.bsky.feed.post/a")),
        ("path", text("app.bsky.feed.post/a/b")),
        ("path", text("post/a")),
        ("path", text("app.bsky.feed.post/..")),
        ("cid", link_of(0x55, &[3; 32])),
        ("cid", text("bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm")),
        ("prev", link_of(0x55, &[3; 32])),
        ("prev", Ipld::Bool(false)),
    ] {
        assert!(checked(with_op(with(create(), key, value.clone()))).is_err(), "{value:?}");
    }
    let not_a_map = with(commit(), "ops", Ipld::List(vec![text("create")]));
    assert!(checked(not_a_map).is_err());
    let unknown_field = with(create(), "swap", link(5));
    assert!(checked(with_op(unknown_field)).is_ok());
}

/// ENC-12.
#[test]
fn commit_and_data_are_dag_cbor() {
    for key in ["commit", "prevData"] {
        assert!(checked(with(commit(), key, link(9))).is_ok());
        let raw = with(commit(), key, link_of(0x55, &[9; 32]));
        assert!(checked(raw).is_err(), "{key}");
    }
}

/// VAL-7, SYN-1.
#[test]
fn revisions_are_tids() {
    for key in ["rev", "since"] {
        assert!(checked(with(commit(), key, text("2222222222222"))).is_ok());
        for bad in ["", "0000000000000", "3jzfcijpj2z2", "3JZFCIJPJ2Z2A"] {
            assert!(checked(with(commit(), key, text(bad))).is_err(), "{key} {bad}");
        }
    }
}

/// SYN-9: a bad `time` is replaced later, so it decodes.
#[test]
fn any_text_is_a_time() {
    let time = decoded(with(commit(), "time", text("yesterday")), |m| m.time.to_owned());
    assert_eq!(time.as_deref(), Ok("yesterday"));
}

/// MSG-1.
#[test]
fn sizes_of_a_commit_are_bounded() {
    let blocks = |size| with(commit(), "blocks", Ipld::Bytes(vec![0; size]));
    assert_eq!(decoded(blocks(2_000_000), |m| m.blocks.len()), Ok(2_000_000));
    let refusal = checked(blocks(2_000_001)).unwrap_err();
    assert!(refusal.what.starts_with("too large: "), "{refusal}");

    let ops = |count| with(commit(), "ops", Ipld::List(vec![Ipld::Map(create()); count]));
    assert_eq!(decoded(ops(200), |m| m.ops.len()), Ok(200));
    let refusal = checked(ops(201)).unwrap_err();
    assert!(refusal.what.starts_with("too large: "), "{refusal}");
}

/// MSG-1.
#[test]
fn blocks_of_a_sync_are_bounded() {
    let blocks = |size| frame("#sync", with(sync(), "blocks", Ipld::Bytes(vec![0; size])));
    assert!(Message::decode(&blocks(10_000)).is_ok());
    let large = blocks(10_001);
    let refusal = Message::decode(&large).unwrap_err();
    assert!(refusal.what.starts_with("too large: "), "{refusal}");
}

/// 5.2.
#[test]
fn a_sync_is_read_whole() {
    let frame = frame("#sync", sync());

    let Ok(Message::Sync(Sync { host_seq, did, blocks, rev, time })) = Message::decode(&frame)
    else {
        panic!("not a #sync");
    };

    assert_eq!((host_seq, did, time), (5, DID, TIME));
    assert_eq!((blocks, rev), (b"a commit block".as_slice(), Rev::parse(REV).unwrap()));
}

/// 5.2.
#[test]
fn an_identity_is_read_whole() {
    let read = |payload: Fields| {
        let frame = frame("#identity", payload);
        match Message::decode(&frame) {
            Ok(Message::Identity(Identity { host_seq: 5, did: DID, time: TIME, handle })) => {
                handle.map(str::to_owned)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(identity()).as_deref(), Some("alice.example.com"));
    assert_eq!(read(without(identity(), "handle")), None);
    assert_eq!(read(with(identity(), "handle", Ipld::Null)), None);
}

/// 5.2: unknown words are tolerated.
#[test]
fn an_account_is_read_whole() {
    let read = |payload: Fields| {
        let frame = frame("#account", payload);
        match Message::decode(&frame) {
            Ok(Message::Account(Account { host_seq: 5, did: DID, time: TIME, active, status })) => {
                (active, status.map(str::to_owned))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(account()), (false, Some("deactivated".to_owned())));
    let active = with(without(account(), "status"), "active", Ipld::Bool(true));
    assert_eq!(read(active), (true, None));
    assert_eq!(read(with(account(), "status", Ipld::Null)), (false, None));
    let unknown = with(account(), "status", text("asleep"));
    assert_eq!(read(unknown), (false, Some("asleep".to_owned())));
}

/// MSG-4: each field of each other message, absent and of a wrong type.
#[test]
fn other_messages_without_a_required_field_are_refused() {
    let info = map([("name", text("OutdatedCursor"))]);
    for (kind, payload, required, optional) in [
        ("#sync", sync(), ["did", "rev", "seq", "time", "blocks"].as_slice(), None),
        ("#identity", identity(), &["did", "seq", "time"], Some("handle")),
        ("#account", account(), &["did", "seq", "time", "active"], Some("status")),
        ("#info", info, &["name"], Some("message")),
    ] {
        assert!(Message::decode(&frame(kind, payload.clone())).is_ok());
        for key in required {
            let absent = frame(kind, without(payload.clone(), key));
            assert!(Message::decode(&absent).is_err(), "{kind} without {key}");
        }
        for key in required.iter().copied().chain(optional) {
            let wrong = frame(kind, with(payload.clone(), key, Ipld::Integer(-1)));
            assert!(Message::decode(&wrong).is_err(), "{kind} with a wrong {key}");
        }
    }
}
