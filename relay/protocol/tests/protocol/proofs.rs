//! T1: the published covering proofs. Their files name blocks by CID only, so the trees are built
//! anew from their keys.

use relay_protocol::Inversion;
use relay_simnet::{
    block::{Blocks, Cid36, cid_from_text},
    mst::Tree,
};
use serde_json::Value;

use crate::{
    change::{Change, OwnedOp},
    vectors::interop_cases,
};

struct Proof {
    comment: String,
    before: Tree,
    after: Tree,
    change: Change,
}

fn proofs() -> Vec<Proof> {
    interop_cases("firehose/commit-proof-fixtures.json").iter().map(read).collect()
}

fn read(vector: &Value) -> Proof {
    let cid = |field: &str| -> Cid36 { cid_from_text(vector[field].as_str().unwrap()).unwrap() };
    let texts = |field: &str| -> Vec<String> {
        let list = vector[field].as_array().unwrap();
        list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let leaf = cid("leafValue");
    let (mut before, mut ops) = (Tree::new(), Vec::new());
    for key in texts("keys") {
        before.insert(key, leaf);
    }
    let mut after = before.clone();
    for key in texts("adds") {
        ops.push(OwnedOp::create(&key, leaf));
        after.insert(key, leaf);
    }
    for key in texts("dels") {
        ops.push(OwnedOp::delete(&key, leaf));
        after.remove(&key);
    }
    let all = after.root_and_blocks().1;
    let named = texts("blocksInProof");
    let blocks: Blocks = named
        .iter()
        .filter_map(|text| all.get_key_value(&cid_from_text(text).unwrap()))
        .map(|(cid, block)| (*cid, block.clone()))
        .collect();
    let (root, prev_data) = (cid("rootAfterCommit"), cid("rootBeforeCommit"));
    let comment = vector["comment"].as_str().unwrap().to_owned();
    Proof { comment, before, after, change: Change { root, prev_data, ops, blocks } }
}

/// INV-1, INV-2, MST-9.
#[test]
pub(crate) fn published_proofs_undo_to_their_published_roots() {
    for Proof { comment, before, after, change } in proofs() {
        assert_eq!(before.root(), change.prev_data, "{comment}");
        assert_eq!(after.root(), change.root, "{comment}");
        let mut turned = change.clone();
        for _ in 0..change.ops.len() {
            turned.ops.rotate_left(1);
            assert_eq!(turned.invert(), Inversion::Ok, "{comment}");
        }
        assert_eq!(change.clone().with_whole_tree(&after).invert(), Inversion::Ok, "{comment}");
    }
}

/// INV-3, INV-10: fewer blocks never lead to another root, fewer operations always do.
#[test]
fn published_proofs_fail_without_a_block_or_an_operation() {
    for Proof { comment, change, after, .. } in proofs() {
        let mut needed = 0;
        for block in change.blocks.keys() {
            let mut fewer = change.clone();
            fewer.blocks.remove(block);
            match fewer.invert() {
                Inversion::Ok => {}
                Inversion::Partial(_) => needed += 1,
                other => panic!("{comment}: {other:?}"),
            }
        }
        assert!(needed > 0, "{comment}");
        for place in 0..change.ops.len() {
            let mut fewer = change.clone().with_whole_tree(&after);
            fewer.ops.remove(place);
            assert!(matches!(fewer.invert(), Inversion::Mismatch { .. }), "{comment}");
        }
    }
}
