//! Frames and CAR files as hosts send them.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;
use relay_protocol::{
    Blocks, Did, Edit, Envelope, FrameKind, Message, OpAction, RepoReader, Unsequenced, unsequence,
};
use relay_simnet::{
    block::{self, Cid36, cid_of},
    wire::item_len,
};

use crate::codec::{block_link, canonical, is_permitted};

/// Nesting that no frame which is taken passes: the cap of ENC-8, and of the independent codec.
const DEPTH_MAX: usize = 128;
/// The end of the numbers that the protocol uses (ENC-5).
const SEQ_END: i128 = 1 << 53;

type Fields = BTreeMap<String, Ipld>;

/// WS-4, UP-3, MSG-1…4, ENC-9, ENC-10: envelope, message and patching of one frame.
pub(crate) fn frame(data: &[u8]) {
    let message = Message::decode(data);
    let Ok(envelope) = Envelope::peek(data) else {
        assert!(message.is_err(), "decoded a frame whose envelope is refused");
        return;
    };
    let header_bytes = item_len(data).expect("a frame begins with a whole item");
    let (header, payload) = data.split_at(header_bytes);
    let header = canonical(header).expect("the header is canonical");
    let payload = canonical(payload).expect("the payload is canonical");
    assert!(is_permitted(&header, DEPTH_MAX) && is_permitted(&payload, DEPTH_MAX));
    assert_eq!(envelope.kind, kind_of(&header), "{header:?}");
    if envelope.kind == FrameKind::Unknown {
        return;
    }
    let Ipld::Map(fields) = payload else { panic!("a payload that is no map passed") };
    let seq = match fields.get("seq") {
        Some(Ipld::Integer(seq)) if (0..SEQ_END).contains(seq) => u64::try_from(*seq).ok(),
        _ => None,
    };
    assert_eq!(envelope.host_seq, seq);
    assert_eq!(envelope.did, did_of(envelope.kind, &fields));
    if let Ok(message) = &message {
        agree(message, &fields);
    }
    patch(data, &fields);
}

fn kind_of(header: &Ipld) -> FrameKind {
    let Ipld::Map(header) = header else { panic!("a header that is no map passed") };
    let name = match header.get("t") {
        Some(Ipld::String(name)) => Some(name.as_str()),
        _ => None,
    };
    match (header.get("op"), name) {
        (Some(Ipld::Integer(1)), Some("#commit")) => FrameKind::Commit,
        (Some(Ipld::Integer(1)), Some("#sync")) => FrameKind::Sync,
        (Some(Ipld::Integer(1)), Some("#identity")) => FrameKind::Identity,
        (Some(Ipld::Integer(1)), Some("#account")) => FrameKind::Account,
        (Some(Ipld::Integer(1)), Some("#info")) => FrameKind::Info,
        (Some(Ipld::Integer(-1)), _) => FrameKind::Error,
        _ => FrameKind::Unknown,
    }
}

fn did_of(kind: FrameKind, fields: &Fields) -> Option<&str> {
    let key = match kind {
        FrameKind::Commit => "repo",
        FrameKind::Sync | FrameKind::Identity | FrameKind::Account => "did",
        FrameKind::Info | FrameKind::Error | FrameKind::Unknown => return None,
    };
    string(fields, key)
}

fn string<'f>(fields: &'f Fields, key: &str) -> Option<&'f str> {
    match fields.get(key) {
        Some(Ipld::String(text)) => Some(text),
        _ => None,
    }
}

/// What we decoded is what an independent codec sees.
fn agree(message: &Message<'_>, fields: &Fields) {
    let is_seq = |seq: u64| assert_eq!(fields.get("seq"), Some(&Ipld::Integer(seq.into())));
    let is_text = |key: &str, text: &str| assert_eq!(string(fields, key), Some(text), "{key}");
    let is_bytes = |bytes: &[u8]| {
        assert_eq!(fields.get("blocks"), Some(&Ipld::Bytes(bytes.to_vec())));
    };
    match message {
        Message::Commit(commit) => {
            is_seq(commit.host_seq);
            is_text("repo", commit.repo);
            is_text("rev", &commit.rev.to_string());
            is_text("time", commit.time);
            is_bytes(commit.blocks);
            assert_eq!(commit.since.map(|rev| rev.to_string()).as_deref(), string(fields, "since"));
            let digest = |key| fields.get(key).and_then(block_link).map(digest_of);
            assert_eq!(Some(commit.commit.0), digest("commit"));
            assert_eq!(commit.prev_data.map(|data| data.0), digest("prevData"));
            assert_eq!(commit.missing_rebase, !matches!(fields.get("rebase"), Some(Ipld::Bool(_))));
            assert_eq!(
                commit.missing_too_big,
                !matches!(fields.get("tooBig"), Some(Ipld::Bool(_)))
            );
            assert_eq!(commit.missing_blobs, !matches!(fields.get("blobs"), Some(Ipld::List(_))));
            agree_on_ops(commit, fields);
        }
        Message::Sync(sync) => {
            is_seq(sync.host_seq);
            is_text("did", sync.did);
            is_text("rev", &sync.rev.to_string());
            is_text("time", sync.time);
            is_bytes(sync.blocks);
        }
        Message::Identity(identity) => {
            is_seq(identity.host_seq);
            is_text("did", identity.did);
            is_text("time", identity.time);
            assert_eq!(identity.handle, string(fields, "handle"));
        }
        Message::Account(account) => {
            is_seq(account.host_seq);
            is_text("did", account.did);
            is_text("time", account.time);
            assert_eq!(fields.get("active"), Some(&Ipld::Bool(account.active)));
            assert_eq!(account.status, string(fields, "status"));
        }
        Message::Info(name, text) | Message::Error(name, text) => {
            let key = if matches!(message, Message::Info(..)) { "name" } else { "error" };
            is_text(key, name);
            assert_eq!(*text, string(fields, "message"));
        }
        Message::Ignored => panic!("a frame of a known kind was ignored"),
    }
}

fn agree_on_ops(commit: &relay_protocol::CommitMessage<'_>, fields: &Fields) {
    let Some(Ipld::List(ops)) = fields.get("ops") else { panic!("ops is no list") };
    assert_eq!(commit.ops.len(), ops.len());
    let mut has_null_prev = false;
    for (ours, theirs) in commit.ops.iter().zip(ops) {
        let Ipld::Map(theirs) = theirs else { panic!("an operation is no map") };
        let action = match ours.action {
            OpAction::Create => "create",
            OpAction::Update => "update",
            OpAction::Delete => "delete",
        };
        assert_eq!(string(theirs, "action"), Some(action));
        assert_eq!(string(theirs, "path"), Some(ours.path));
        let digest = |key| theirs.get(key).and_then(block_link).map(digest_of);
        assert_eq!(ours.cid.map(|cid| cid.digest), digest("cid"));
        assert_eq!(ours.prev.map(|cid| cid.digest), digest("prev"));
        has_null_prev |= theirs.get("prev") == Some(&Ipld::Null);
    }
    assert_eq!(commit.has_null_prev, has_null_prev);
}

fn digest_of(cid: Cid36) -> [u8; 32] {
    cid[4..].try_into().expect("36 bytes are 4 and 32")
}

/// ENC-10, MSG-3: a patched frame has our number, the wanted changes and nothing else new.
fn patch(data: &[u8], fields: &Fields) {
    const TIME: &str = "2026-01-01T00:00:00.000Z";
    let edits = [
        Edit::Text("time", TIME),
        Edit::Bool("tooBig", false),
        Edit::EmptyArray("blobs"),
        Edit::Remove("handle"),
        Edit::RemoveNulls("ops", "prev"),
    ];
    let shared = bytes::Bytes::copy_from_slice(data);
    let has_seq = matches!(fields.get("seq"), Some(Ipld::Integer(seq)) if *seq >= 0);
    let unchanged = unsequence(&shared, &[]);
    assert_eq!(unchanged.is_ok(), has_seq, "{unchanged:?}");
    if let Ok(unchanged) = unchanged {
        check_patched(data, &unchanged, fields.clone());
    }
    let Ok(changed) = unsequence(&shared, &edits) else { return };
    let mut expected = fields.clone();
    expected.insert("time".to_owned(), Ipld::String(TIME.to_owned()));
    expected.insert("tooBig".to_owned(), Ipld::Bool(false));
    expected.insert("blobs".to_owned(), Ipld::List(Vec::new()));
    expected.remove("handle");
    if let Some(Ipld::List(ops)) = expected.get_mut("ops") {
        for op in ops {
            let Ipld::Map(op) = op else { panic!("patched an array of something else than maps") };
            if op.get("prev") == Some(&Ipld::Null) {
                op.remove("prev");
            }
        }
    }
    check_patched(data, &changed, expected);
}

fn check_patched(data: &[u8], patched: &Unsequenced, mut expected: Fields) {
    let (Some(header), Ok(before)) = (item_len(data), Envelope::peek(data)) else { return };
    for seq in [7, (1 << 53) - 1] {
        let out = patched.with_seq(seq);
        assert_eq!(out.len(), patched.len_with(seq));
        expected.insert("seq".to_owned(), Ipld::Integer(seq.into()));
        assert_eq!(out[..header], data[..header], "the header stays");
        let after = Envelope::peek(&out).expect("what comes out can be read");
        assert_eq!(after, Envelope { host_seq: Some(seq), ..before });
        assert_eq!(canonical(&out[header..]), Some(Ipld::Map(expected.clone())));
    }
}

/// ENC-14…16: the slice of blocks in a message.
pub(crate) fn car(data: &[u8]) {
    check_stream(data);
    let ours = Blocks::read(data);
    let theirs = block::read_car(data).ok();
    if let (Ok(ours), Some(theirs)) = (&ours, &theirs) {
        agree_on_blocks(ours, theirs);
    }
    let Some(theirs) = theirs.filter(|theirs| is_plain(theirs, data)) else { return };
    let is_held = theirs
        .roots
        .first()
        .is_some_and(|root| is_dag_cbor(root) && theirs.blocks.iter().any(|(cid, _)| cid == root));
    assert_eq!(ours.is_ok(), is_held, "{ours:?}");
}

/// The same bytes as a whole repository: in one piece and byte by byte they say the same.
fn check_stream(data: &[u8]) {
    let did = Did::parse("did:web:example.com").expect("a DID");
    let read = |size: usize| {
        let mut reader = RepoReader::new(&did);
        for piece in data.chunks(size.max(1)) {
            if reader.push(piece)? {
                break;
            }
        }
        reader.finish()
    };
    assert_eq!(read(1), read(data.len()));
}

fn agree_on_blocks(ours: &Blocks<'_>, theirs: &block::Car) {
    let held: Vec<_> = theirs.blocks.iter().filter(|(cid, _)| is_dag_cbor(cid)).collect();
    assert_eq!(ours.len(), held.len());
    let mut first = BTreeMap::new();
    for (cid, data) in held {
        first.entry(*cid).or_insert(data);
    }
    for (cid, data) in first {
        match ours.get(&digest_of(cid)) {
            Ok(Some(found)) => assert_eq!((found, cid_of(found)), (data.as_slice(), cid)),
            Ok(None) => panic!("a block was lost"),
            Err(_) => assert_ne!(cid_of(data), cid, "a sound block was refused"),
        }
    }
    let root = &theirs.roots.first().expect("a root that we saw");
    assert_eq!(ours.root().0, digest_of(**root));
}

/// Whether this is how the independent writer would have written the file, all CIDs being of the two
/// kinds that the protocol knows.
fn is_plain(car: &block::Car, data: &[u8]) -> bool {
    let blocks = car.blocks.iter().map(|(cid, block)| (cid, block.as_slice()));
    let known = |cid: &Cid36| matches!(cid[..4], [1, 0x71 | 0x55, 0x12, 0x20]);
    car.roots.iter().all(|root| block::encode(&block::link(root)).len() == 41)
        && block::car(&car.roots, blocks) == data
        && car.blocks.iter().all(|(cid, _)| known(cid))
}

fn is_dag_cbor(cid: &Cid36) -> bool {
    cid.starts_with(&[1, 0x71, 0x12, 0x20])
}
