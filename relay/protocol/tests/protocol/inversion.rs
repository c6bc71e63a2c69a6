//! INV-1…10: operations that do not belong to their tree, one fault each beside the same commit
//! without it (T12), and the unusual commits that are valid (T13).

use relay_protocol::{Cid, Codec, EMPTY_TREE, Inversion, Op, OpAction, check_ops, ops_are_legacy};
use relay_simnet::{
    block::{Blocks, Cid36, cid_of, cid_of_nothing, cid_text},
    mst::Tree,
};

use crate::change::{Change, OwnedOp, data, structure, tree_of};

/// A repository of 60 records in three collections, and one commit that creates, updates and
/// deletes two of them each.
fn sample() -> (Tree, Tree, Change) {
    let keys: Vec<String> =
        (0..60).map(|number| format!("com.example.c{}/{number:04}", number % 3)).collect();
    let before = tree_of(&keys);
    let mut after = before.clone();
    for (number, value) in [(1, 501), (2, 502)] {
        after.insert(format!("com.example.new/{number}"), cid_of_nothing(value));
        after.insert(keys[number * 7].clone(), cid_of_nothing(value + 100));
        assert!(after.remove(&keys[number * 13]).is_some());
    }
    let change = Change::between(&before, &after);
    assert_eq!(change.ops.len(), 6);
    assert_eq!(change.invert(), Inversion::Ok);
    (before, after, change)
}

fn place(change: &Change, action: OpAction) -> usize {
    change.ops.iter().position(|op| op.action == action).unwrap()
}

fn is_mismatch(inversion: Inversion) -> bool {
    matches!(inversion, Inversion::Mismatch { .. })
}

/// INV-10.
#[test]
fn leaving_out_any_operation_is_a_mismatch() {
    let (_, after, change) = sample();
    let change = change.with_whole_tree(&after);
    assert_eq!(change.invert(), Inversion::Ok);
    for place in 0..change.ops.len() {
        let mut bad = change.clone();
        let op = bad.ops.remove(place);
        assert!(is_mismatch(bad.invert()), "{op:?}");
    }
}

/// INV-10: the result names the root that was found.
#[test]
fn a_wrong_prev_data_or_prev_is_a_mismatch() {
    let (before, _, change) = sample();
    let mut bad = change.clone();
    bad.prev_data = cid_of_nothing(1);
    assert_eq!(bad.invert(), Inversion::Mismatch { found: data(&before.root()) });

    for action in [OpAction::Update, OpAction::Delete] {
        let mut bad = change.clone();
        let place = place(&bad, action);
        bad.ops[place].prev = Some(Cid { codec: Codec::DagCbor, digest: [9; 32] });
        assert!(is_mismatch(bad.invert()), "{action:?}");
    }
}

/// INV-10.
#[test]
fn a_cid_or_path_that_is_not_the_trees_is_refused() {
    let (_, _, change) = sample();
    for action in [OpAction::Create, OpAction::Update] {
        let mut bad = change.clone();
        let place = place(&bad, action);
        bad.ops[place].cid = Some(Cid { codec: Codec::DagCbor, digest: [9; 32] });
        assert_eq!(structure(bad.invert()), "an operation's cid is not the value in the tree");

        let mut bad = change.clone();
        let other = bad.ops.iter().rposition(|op| op.action == action).unwrap();
        assert!(other > place);
        let path = bad.ops[place].path.clone();
        bad.ops[place].path = std::mem::replace(&mut bad.ops[other].path, path);
        assert_eq!(structure(bad.invert()), "an operation's cid is not the value in the tree");
    }
}

/// INV-10: also where the tree is so incomplete that the key might be in an absent part.
#[test]
fn an_operation_on_a_key_that_the_tree_lacks_is_refused() {
    let (_, after, change) = sample();
    let absent = "com.example.c1/0025x";
    for extra in [
        OwnedOp::create(absent, cid_of_nothing(8)),
        OwnedOp::update(absent, cid_of_nothing(8), cid_of_nothing(9)),
    ] {
        let mut bad = change.clone();
        bad.ops.push(extra);
        let hidden = bad.invert();
        assert!(matches!(hidden, Inversion::Partial(_) | Inversion::Structure(_)), "{hidden:?}");
        let whole = bad.with_whole_tree(&after).invert();
        assert_eq!(structure(whole), "a created or updated key is not in the tree");
    }
}

/// INV-10.
#[test]
fn deleting_a_key_that_is_still_there_is_refused() {
    let (before, after, change) = sample();
    let mut bad = change.with_whole_tree(&after);
    let (kept, value) = before.leaves().iter().next().unwrap();
    bad.ops.push(OwnedOp::delete(kept, *value));
    assert_eq!(structure(bad.invert()), "a deleted key is still in the tree");
}

/// INV-1, INV-3, MST-9: without a block that the proof needs the result is never another root.
#[test]
fn leaving_out_blocks_is_partial_or_harmless() {
    let (_, _, change) = sample();
    let mut partial = 0;
    for missing in change.blocks.keys() {
        let mut bad = change.clone();
        bad.blocks.remove(missing);
        match bad.invert() {
            Inversion::Ok => {}
            Inversion::Partial(_) => partial += 1,
            other => panic!("without {}: {other:?}", cid_text(missing)),
        }
    }
    assert!(partial > 3, "{partial}");

    let mut bad = change.clone();
    bad.blocks.clear();
    let Inversion::Partial(invalid) = bad.invert() else { panic!("an absent root") };
    assert_eq!(invalid.what, "the root of the tree is absent");
}

/// INV-2, INV-3: neither the order of operations nor blocks that nobody needs matter.
#[test]
fn order_of_operations_and_extra_blocks_do_not_matter() {
    let (_, after, change) = sample();
    for turn in 0..change.ops.len() {
        let mut turned = change.clone();
        turned.ops.rotate_left(turn);
        assert_eq!(turned.invert(), Inversion::Ok);
        turned.ops.reverse();
        assert_eq!(turned.invert(), Inversion::Ok);
    }
    let mut more = change.with_whole_tree(&after);
    more.blocks.insert(cid_of(b"unrelated"), b"unrelated".to_vec());
    assert_eq!(more.invert(), Inversion::Ok);
}

/// INV-7.
#[test]
fn two_operations_on_one_path_are_refused() {
    let (_, _, change) = sample();
    let mut bad = change.clone();
    bad.ops.push(change.ops[0].clone());
    assert_eq!(structure(bad.invert()), "two operations have the same path");
}

/// 5.1, ENC-12, VAL-11: each action has its own fields.
#[test]
fn operations_need_the_values_of_their_action_and_no_others() {
    let cid = |digest| Some(Cid { codec: Codec::DagCbor, digest: [digest; 32] });
    let raw = Some(Cid { codec: Codec::Raw, digest: [1; 32] });
    let check = |action, cid, prev| {
        check_ops(&[Op { action, path: "a.b.c/1", cid, prev }]).map_err(|invalid| invalid.what)
    };

    assert_eq!(check(OpAction::Create, cid(1), None), Ok(()));
    assert_eq!(check(OpAction::Update, cid(1), cid(2)), Ok(()));
    assert_eq!(check(OpAction::Delete, None, cid(2)), Ok(()));
    assert_eq!(check(OpAction::Create, None, None), Err("a create has no cid"));
    assert_eq!(check(OpAction::Create, cid(1), cid(2)), Err("a create has a prev"));
    assert_eq!(check(OpAction::Update, None, cid(2)), Err("an update has no cid"));
    assert_eq!(check(OpAction::Update, cid(1), None), Err("an update has no prev"));
    assert_eq!(check(OpAction::Delete, cid(1), cid(2)), Err("a delete has a cid"));
    assert_eq!(check(OpAction::Delete, None, None), Err("a delete has no prev"));
    let codec = Err("an operation's CID is not of a dag-cbor block");
    assert_eq!(check(OpAction::Create, raw, None), codec);
    assert_eq!(check(OpAction::Update, cid(1), raw), codec);
}

/// LEG-1: a legacy commit is told from one that is merely wrong, and its tree can still be checked.
#[test]
fn legacy_commits_are_recognised_and_checked_against_their_tree() {
    let (_, after, change) = sample();
    let as_ops = |change: &Change| -> bool {
        let ops: Vec<Op<'_>> = change
            .ops
            .iter()
            .map(|op| Op { action: op.action, path: &op.path, cid: op.cid, prev: op.prev })
            .collect();
        ops_are_legacy(&ops)
    };
    assert!(!as_ops(&change));
    let mut legacy = change;
    for op in &mut legacy.ops {
        op.prev = None;
    }
    assert!(as_ops(&legacy));
    assert!(matches!(legacy.invert(), Inversion::Structure(_)));
    assert_eq!(legacy.check_applied(), Ok(()));

    let mut whole = legacy.clone().with_whole_tree(&after);
    assert_eq!(whole.check_applied(), Ok(()));
    whole.ops.push(OwnedOp::create("com.example.c1/0025x", cid_of_nothing(8)));
    assert_eq!(
        whole.check_applied().unwrap_err().what,
        "a created or updated key is not in the tree"
    );
    let mut rootless = legacy.clone();
    rootless.blocks.clear();
    assert_eq!(rootless.check_applied().unwrap_err().what, "the root of the tree is absent");
    rootless.ops.clear();
    assert_eq!(rootless.check_applied(), Ok(()));
    let place = place(&legacy, OpAction::Create);
    legacy.ops[place].cid = Some(Cid { codec: Codec::DagCbor, digest: [9; 32] });
    assert_eq!(
        legacy.check_applied().unwrap_err().what,
        "an operation's cid is not the value in the tree"
    );
}

/// MST-8, T13.
#[test]
fn a_commit_without_operations_may_leave_out_the_tree_if_it_keeps_the_root() {
    let tree = tree_of(["com.example.a/1", "com.example.b/2"]);
    let (root, blocks) = tree.root_and_blocks();
    for blocks in [Blocks::new(), blocks] {
        let mut change = Change::none(root, blocks);
        assert_eq!(change.invert(), Inversion::Ok);
        change.prev_data = cid_of_nothing(3);
        assert_eq!(change.invert(), Inversion::Mismatch { found: data(&root) });
    }
}

/// INV-6, INV-8, T13: the first commit, with and without records, and the deletion of all of them.
#[test]
fn repositories_begin_and_end_with_the_empty_tree() {
    let (empty, full) = (Tree::new(), tree_of(["com.example.a/1", "com.example.b/2"]));
    let one = tree_of(["com.example.a/1"]);
    assert_eq!(data(&empty.root()), EMPTY_TREE);
    for (before, after) in
        [(&empty, &empty), (&empty, &one), (&empty, &full), (&one, &empty), (&full, &empty)]
    {
        let change = Change::between(before, after);
        assert_eq!(change.invert(), Inversion::Ok);
        let mut wrong = change.clone();
        wrong.prev_data = cid_of_nothing(3);
        assert_eq!(wrong.invert(), Inversion::Mismatch { found: data(&before.root()) });
    }
}

/// INV-5, T13: the reference PDS really emits an update that changes nothing.
#[test]
fn an_update_to_the_same_value_is_valid() {
    let (before, _, _) = sample();
    let (path, value) = before.leaves().iter().nth(30).unwrap();
    let root = before.root();
    let ops = vec![OwnedOp::update(path, *value, *value)];
    let change = Change { root, prev_data: root, ops, blocks: before.proof(&[path]) };
    assert_eq!(change.invert(), Inversion::Ok);
}

/// MST-7, T13: one record under a new path in the same commit.
#[test]
fn a_moved_record_is_a_create_and_a_delete_of_one_cid() {
    let (before, ..) = sample();
    let mut after = before.clone();
    let (path, value) = before.leaves().iter().nth(20).unwrap();
    after.remove(path);
    after.insert("com.example.moved/1", *value);
    let change = Change::between(&before, &after);
    assert_eq!(change.ops.len(), 2);
    assert_eq!(change.invert(), Inversion::Ok);
}

/// INV-9, T13: the largest commit, 200 operations.
#[test]
fn two_hundred_operations_are_undone_at_once() {
    let (before, ..) = sample();
    let mut after = before.clone();
    for number in 0..200 {
        after.insert(format!("com.example.many/{number:05}"), cid_of_nothing(9));
    }
    for (from, to) in [(&before, &after), (&after, &before)] {
        let change = Change::between(from, to);
        assert_eq!(change.ops.len(), 200);
        let (inversion, steps) = change.invert_counted();
        assert_eq!(inversion, Inversion::Ok);
        assert!(steps < 10_000, "{steps}");
    }
}

/// INV-4: records are there, whole, not too large, and maps.
#[test]
fn created_and_updated_records_must_be_there_and_be_maps() {
    let with = |record: &[u8]| -> (Change, Cid36) {
        let cid = cid_of(record);
        let mut change = Change::none(cid_of_nothing(1), Blocks::new());
        change.ops = vec![
            OwnedOp::create("com.example.a/1", cid),
            OwnedOp::update("com.example.a/2", cid, cid_of_nothing(2)),
            OwnedOp::delete("com.example.a/3", cid_of_nothing(3)),
        ];
        change.blocks.insert(cid, record.to_vec());
        (change, cid)
    };
    let what = |record: &[u8]| with(record).0.check_records().map_err(|invalid| invalid.what);
    let text_of = |length: u32| {
        [
            b"\xa1\x61x\x7a".as_slice(),
            &length.to_be_bytes(),
            &vec![b'x'; usize::try_from(length).unwrap()],
        ]
        .concat()
    };
    assert_eq!(what(b"\xa1\x61x\x01"), Ok(()));
    assert_eq!(what(&text_of(1_000_000 - 8)), Ok(()));
    assert_eq!(
        what(&text_of(1_000_000 - 7)),
        Err("too large: a record block exceeds 1,000,000 bytes")
    );
    assert_eq!(what(b"\x81\x01"), Err("a record is not a map"));
    assert_eq!(what(b"\xa1\x61x"), Err("CBOR ends inside a value"));

    let (good, cid) = with(b"\xa1\x61x\x01");
    let mut tampered = good.clone();
    tampered.blocks.insert(cid, b"\xa1\x61x\x02".to_vec());
    assert_eq!(tampered.check_records().unwrap_err().what, "a block does not hash to its CID");
    let mut absent = good.clone();
    absent.blocks.clear();
    assert_eq!(absent.check_records().unwrap_err().what, "the block of a record is absent");
    absent.ops.retain(|op| op.action == OpAction::Delete);
    assert_eq!(absent.check_records(), Ok(()));
    let mut raw = good;
    raw.ops[0].cid = Some(Cid { codec: Codec::Raw, digest: [1; 32] });
    assert_eq!(
        raw.check_records().unwrap_err().what,
        "an operation's CID is not of a dag-cbor block"
    );
}
