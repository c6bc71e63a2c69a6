//! The patcher (DESIGN 10.2, MSG-3): against an independent codec that edits the decoded map.

use bytes::Bytes;
use ipld_core::ipld::Ipld;
use proptest::{collection::vec, prelude::*, sample::select};
use relay_protocol::{Edit, Unsequenced, unsequence};

use crate::build::{
    Fields, account, commit, encode, frame, hex, identity, map, sync, text, with, without,
};

const SEQS: [u64; 8] = [1, 23, 24, 255, 256, 65_536, 1 << 32, (1 << 53) - 1];

fn with_seq(fields: Fields, seq: u64) -> Fields {
    with(fields, "seq", Ipld::Integer(seq.into()))
}

/// MSG-3, ENC-10: only the number changes, whatever its width.
#[test]
fn a_new_seq_leaves_all_other_bytes() {
    let future =
        with(commit(), "futureField", Ipld::List(vec![Ipld::Map(map([("a", text("b"))]))]));
    for (kind, payload) in [
        ("#commit", commit()),
        ("#commit", future),
        ("#sync", sync()),
        ("#identity", identity()),
        ("#account", account()),
        ("#labels", map([("seq", Ipld::Integer(1))])),
    ] {
        for old in SEQS {
            let frame_in = Bytes::from(frame(kind, with_seq(payload.clone(), old)));
            let cut = unsequence(&frame_in, &[]).unwrap();
            for new in SEQS {
                let expected = frame(kind, with_seq(payload.clone(), new));
                assert_eq!(cut.with_seq(new), expected);
                assert_eq!(cut.len_with(new), expected.len());
            }
        }
    }
}

/// The hot path copies nothing: both parts lie inside the frame that was read.
#[test]
fn without_edits_the_frame_is_shared() {
    let frame = Bytes::from(frame("#commit", commit()));

    let Unsequenced { before, after } = unsequence(&frame, &[]).unwrap();

    let bounds = frame.as_ptr_range();
    for part in [before, after] {
        assert!(!part.is_empty());
        assert!(bounds.contains(&part.as_ptr()), "copied");
    }
}

/// 5.1: a field of operations that is null is taken out, and nothing else; one that has a value stays.
#[test]
fn nulls_are_removed_from_the_maps_of_an_array() {
    let op = |prev: Option<Ipld>| {
        let mut op = map([("cid", Ipld::Null), ("path", text("a.b.c/1")), ("zz", Ipld::Null)]);
        if let Some(prev) = prev {
            op.insert("prev".to_owned(), prev);
        }
        Ipld::Map(op)
    };
    let with_ops = |ops: Vec<Ipld>| with_seq(with(commit(), "ops", Ipld::List(ops)), 5);
    let patched = |ops: Vec<Ipld>| {
        let edits = [Edit::RemoveNulls("ops", "prev")];
        unsequence(&Bytes::from(frame("#commit", with_ops(ops))), &edits).map(|cut| cut.with_seq(5))
    };
    let kept = op(Some(Ipld::Bool(true)));
    let out = patched(vec![op(Some(Ipld::Null)), kept.clone(), op(None)]).unwrap();
    assert_eq!(out, frame("#commit", with_ops(vec![op(None), kept, op(None)])));
    assert_eq!(patched(vec![]).unwrap(), frame("#commit", with_ops(vec![])));
    assert!(patched(vec![Ipld::Bool(true)]).is_err(), "not maps");
    let absent = unsequence(
        &Bytes::from(frame("#sync", with_seq(sync(), 5))),
        &[Edit::RemoveNulls("ops", "prev")],
    );
    assert_eq!(absent.unwrap().with_seq(5), frame("#sync", with_seq(sync(), 5)));
}

/// `write_with` appends, so that many frames go out in one write.
#[test]
fn frames_are_appended() {
    let cut = unsequence(&Bytes::from(frame("#sync", sync())), &[]).unwrap();
    let mut out = b"before".to_vec();

    cut.write_with(7, &mut out);

    assert_eq!(out, [b"before".as_slice(), &cut.with_seq(7)].concat());
}

/// A3, ACC-2, IDE-3, SYN-9: the edits that the relay makes.
#[test]
fn fields_are_set_inserted_and_removed() {
    let patched = |kind: &str, payload: Fields, edits: &[Edit<'_>]| {
        unsequence(&Bytes::from(frame(kind, payload)), edits).unwrap().with_seq(99)
    };
    let bare = without(without(without(commit(), "rebase"), "tooBig"), "blobs");
    let legacy =
        [Edit::Bool("rebase", false), Edit::Bool("tooBig", false), Edit::EmptyArray("blobs")];
    assert_eq!(patched("#commit", bare, &legacy), frame("#commit", with_seq(commit(), 99)));

    let time = "2026-02-02T00:00:00Z";
    assert_eq!(
        patched("#commit", commit(), &[Edit::Text("time", time)]),
        frame("#commit", with(with_seq(commit(), 99), "time", text(time)))
    );
    assert_eq!(
        patched("#identity", identity(), &[Edit::Remove("handle")]),
        frame("#identity", without(with_seq(identity(), 99), "handle"))
    );
    assert_eq!(
        patched(
            "#account",
            account(),
            &[Edit::Text("status", "takendown"), Edit::Bool("active", false)]
        ),
        frame("#account", with(with_seq(account(), 99), "status", text("takendown")))
    );
    // Removing what is not there changes nothing; of two edits of one field the last counts.
    assert_eq!(
        patched("#sync", sync(), &[Edit::Remove("handle"), Edit::Remove("zzzzzzzzzz")]),
        frame("#sync", with_seq(sync(), 99))
    );
    assert_eq!(
        patched("#sync", sync(), &[Edit::Text("time", "first"), Edit::Text("time", "last")]),
        frame("#sync", with(with_seq(sync(), 99), "time", text("last")))
    );
}

/// Field names around `seq`, of every length and place.
const KEYS: [&str; 12] =
    ["a", "z", "did", "rev", "ser", "ses", "time", "repo", "blobs", "active", "prevData", "longer"];

fn an_edit() -> impl Strategy<Value = Edit<'static>> {
    let key = select(KEYS.as_slice());
    prop_oneof![
        (key.clone(), select(["", "text"].as_slice()))
            .prop_map(|(key, text)| Edit::Text(key, text)),
        (key.clone(), any::<bool>()).prop_map(|(key, value)| Edit::Bool(key, value)),
        key.clone().prop_map(Edit::EmptyArray),
        key.prop_map(Edit::Remove),
    ]
}

fn apply(mut fields: Fields, edits: &[Edit<'_>]) -> Fields {
    for edit in edits {
        match *edit {
            Edit::Text(key, value) => fields.insert(key.to_owned(), text(value)),
            Edit::Bool(key, value) => fields.insert(key.to_owned(), Ipld::Bool(value)),
            Edit::EmptyArray(key) => fields.insert(key.to_owned(), Ipld::List(vec![])),
            Edit::Remove(key) => fields.remove(key),
            // Has a test of its own.
            Edit::RemoveNulls(key, _) => fields.get(key).cloned(),
        };
    }
    fields
}

proptest! {
    /// DESIGN 10.2: any edits of any fields give the canonical encoding of the edited map.
    #[test]
    fn edits_agree_with_an_independent_codec(
        keys in vec(select(KEYS.as_slice()), 0..30),
        edits in vec(an_edit(), 0..6),
        old in 0..u64::from(u32::MAX),
        new in 0..1_u64 << 53,
    ) {
        let mut payload = with_seq(Fields::new(), old);
        for (number, key) in keys.iter().enumerate() {
            payload.insert((*key).to_owned(), Ipld::List(vec![Ipld::Integer(i128::try_from(number)?)]));
        }
        let frame_in = Bytes::from(frame("#account", payload.clone()));

        let out = unsequence(&frame_in, &edits).map(|cut| cut.with_seq(new));

        prop_assert_eq!(out, Ok(frame("#account", with_seq(apply(payload, &edits), new))));
    }
}

/// MSG-3: a frame without an integer seq or with an edited seq is refused.
#[test]
fn frames_that_cannot_be_sequenced_are_refused() {
    let edits = [Edit::Remove("handle")];
    for edits in [[].as_slice(), &edits] {
        assert!(unsequence(&frame("#identity", identity()).into(), edits).is_ok());

        let absent = frame("#identity", without(identity(), "seq"));
        let negative = frame("#identity", with(identity(), "seq", Ipld::Integer(-1)));
        let null = frame("#identity", with(identity(), "seq", Ipld::Null));
        for bad in [absent, negative, null] {
            let refusal = unsequence(&bad.into(), edits).unwrap_err();
            assert_eq!(refusal.what, "the payload has no integer seq");
        }
        let no_map =
            [hex("a2617469236964656e74697479626f7001"), encode(&Ipld::List(vec![]))].concat();
        assert!(unsequence(&no_map.into(), edits).is_err());
    }
    let seq = [Edit::Bool("seq", true)];
    assert!(unsequence(&frame("#identity", identity()).into(), &seq).is_err());
}
