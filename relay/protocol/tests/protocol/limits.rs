//! MST-6, INV-9, T26: trees made to be expensive. Cost is counted in steps, which are the same on
//! every machine, and not in time.

use relay_protocol::Inversion;
use relay_simnet::{
    block::{Blocks, Cid36, cid_of_nothing},
    mst::{CachedTree, Tree, layer},
};

use crate::{
    change::{Change, OwnedOp, structure},
    forge::{add, entries, keys_in_layer, node},
};

/// A key of layer 8 (MST-1).
const DEEP: &str = "app.bsky.feed.post/9adeb165882c";
/// Size of `blocks` of one message (MSG-1).
const MESSAGE_BYTES: usize = 2_000_000;

fn bytes(blocks: &Blocks) -> usize {
    blocks.values().map(Vec::len).sum()
}

/// Keys of one layer make one node, whose entries are limited.
#[test]
fn thousands_of_keys_in_one_layer_are_refused() {
    let keys = keys_in_layer("com.example.a/", 0, 2_000);
    let check = |count: usize| {
        let all: Vec<_> = keys.iter().take(count).map(|key| (key, None)).collect();
        let mut blocks = Blocks::new();
        let root = add(&mut blocks, node(None, &entries(&all)));
        Change::none(root, blocks).invert_counted()
    };
    assert_eq!(check(1_024).0, Inversion::Ok);
    for count in [1_025, 2_000] {
        let (inversion, steps) = check(count);
        assert_eq!(structure(inversion), "a node has too many entries");
        assert!(steps < 2_500, "{steps}");
    }
}

/// A chain of nodes is as long as its key's layer is high, and costs a step or two per node.
#[test]
fn chains_of_nodes_cost_their_length() {
    assert_eq!(layer(DEEP), 8);
    let mut blocks = Blocks::new();
    let mut child = cid_of_nothing(1);
    for _ in 0..8 {
        let root = add(&mut blocks, node(Some(child), &entries(&[(DEEP, None)])));
        let chain = Change::none(root, blocks.clone());
        let (inversion, steps) = chain.invert_counted();
        assert_eq!(inversion, Inversion::Ok);
        assert!(steps < 100, "{steps}");
        child = add(&mut blocks, node(Some(child), &[]));
    }
    let root = add(&mut blocks, node(Some(child), &entries(&[(DEEP, None)])));
    let below = Change::none(root, blocks).invert();
    assert_eq!(structure(below), "a node lies below layer 0");
}

/// One chain behind every key would make the walk longer than the message.
#[test]
fn nodes_that_hang_in_several_places_are_refused() {
    let keys = keys_in_layer("com.example.a/", 3, 1_000);
    let mut blocks = Blocks::new();
    let low = add(&mut blocks, node(Some(cid_of_nothing(1)), &[]));
    let chain = add(&mut blocks, node(Some(low), &[]));
    let mut check = |every: usize| {
        let right = |place: usize| place.is_multiple_of(every).then_some(chain);
        let all: Vec<_> = keys.iter().enumerate().map(|(place, key)| (key, right(place))).collect();
        let root = add(&mut blocks, node(None, &entries(&all)));
        Change::none(root, blocks.clone()).invert_counted()
    };
    assert_eq!(check(1_000).0, Inversion::Ok);
    let (inversion, steps) = check(1);
    assert_eq!(structure(inversion), "a node occurs twice in the tree");
    assert!(steps < 6_000, "{steps}");
}

/// The first key of each node in full and a thousand that share all but its end.
fn long_keys(length: usize) -> (Cid36, Blocks) {
    let stem = "x".repeat(length - 6);
    let mut tree = Tree::new();
    let (mut row, mut size) = (0, 0);
    for number in 100_000..1_000_000 {
        let key = format!("{stem}{number}");
        // A key of layer 1 closes each row of 1,000 keys of layer 0; all others are left out.
        match layer(&key) {
            0 if row < 1_000 => row += 1,
            1 if row == 1_000 => row = 0,
            _ => continue,
        }
        size += if row == 0 { 2 * length } else { 57 };
        if size > MESSAGE_BYTES {
            break;
        }
        tree.insert(key, cid_of_nothing(7));
    }
    tree.root_and_blocks()
}

/// A full message of keys of the permitted length that share almost everything is given up.
#[test]
fn a_message_full_of_long_keys_is_given_up() {
    let (root, blocks) = long_keys(128);
    assert!((1_800_000..MESSAGE_BYTES).contains(&bytes(&blocks)), "{}", bytes(&blocks));
    let (inversion, steps) = Change::none(root, blocks).invert_counted();
    assert_eq!(inversion, Inversion::Ok);
    assert!(steps < 300_000, "{steps}");

    let (root, blocks) = long_keys(1_024);
    assert!((1_800_000..MESSAGE_BYTES).contains(&bytes(&blocks)), "{}", bytes(&blocks));
    let (inversion, steps) = Change::none(root, blocks).invert_counted();
    assert_eq!(structure(inversion), "the tree takes too many steps to check");
    assert!(steps < 425_000, "{steps}");
}

/// INV-9: 200 operations in a full message cost what its bytes cost, and half of it costs half.
#[test]
fn the_cost_of_a_full_message_follows_its_size() {
    let cost = |records: u64| {
        let mut after = Tree::new();
        let mut ops = Vec::new();
        for number in 0..records {
            let key = format!("app.bsky.feed.post/3k{number:011}");
            after.insert(&*key, cid_of_nothing(number));
            if number % (records / 200) == 0 {
                ops.push(OwnedOp::create(&key, cid_of_nothing(number)));
            }
        }
        let (root, blocks) = after.root_and_blocks();
        for op in &ops {
            after.remove(&op.path);
        }
        assert_eq!(ops.len(), 200);
        let size = bytes(&blocks);
        let (inversion, steps) =
            Change { root, prev_data: after.root(), ops, blocks }.invert_counted();
        assert_eq!(inversion, Inversion::Ok);
        let steps = usize::try_from(steps).unwrap();
        assert!(steps < size / 12 + 200 * 20, "{steps} steps for {size} bytes");
        (size, steps)
    };
    let (half_size, half) = cost(13_000);
    let (size, full) = cost(26_000);
    assert!((1_900_000..MESSAGE_BYTES).contains(&size), "{size}");
    assert!(full * half_size < half * size * 11 / 10, "{half} and {full} steps");
}

/// A commit of one operation costs what lies on its path, however large the repository is.
#[test]
fn the_cost_of_one_operation_follows_the_depth_of_the_tree() {
    let mut tree = CachedTree::new();
    let mut steps_max = 0;
    for number in 0..20_000 {
        let key = format!("app.bsky.feed.post/3k{number:011}");
        let value = cid_of_nothing(number);
        if number % 100 != 99 {
            tree.insert(&key, value);
            continue;
        }
        let prev_data = tree.root();
        tree.insert(&key, value);
        let (root, blocks) = tree.root_and_proof(&[&key]);
        let ops = vec![OwnedOp::create(&key, value)];
        let (inversion, steps) = Change { root, prev_data, ops, blocks }.invert_counted();
        assert_eq!(inversion, Inversion::Ok);
        steps_max = steps_max.max(steps);
    }
    assert!(steps_max < 400, "{steps_max}");
}
