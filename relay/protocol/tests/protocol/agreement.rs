//! INV-1: over many random commits, undoing agrees with the simulator's full trees, which share no
//! code with it; and a commit with one thing wrong never passes. What the proofs show of collections
//! is kept from commit to commit and agrees with the full trees too.

use std::collections::BTreeMap;

use rand::{RngExt, rngs::StdRng};
use relay_protocol::Inversion;
use relay_simnet::{
    block::{Blocks, Cid36, cid_of_nothing},
    mst::{CachedTree, Tree},
};

use crate::{
    change::{Change, OwnedOp, data},
    learned::Known,
    seed::seeded,
};

/// What a full tree must be able to do here.
trait FullTree: Default {
    fn set(&mut self, key: &str, value: Option<Cid36>) -> Option<Cid36>;
    fn value(&self, key: &str) -> Option<Cid36>;
    fn root_and_proof(&mut self, keys: &[&str]) -> (Cid36, Blocks);
}

impl FullTree for Tree {
    fn set(&mut self, key: &str, value: Option<Cid36>) -> Option<Cid36> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(key),
        }
    }

    fn value(&self, key: &str) -> Option<Cid36> {
        self.get(key)
    }

    fn root_and_proof(&mut self, keys: &[&str]) -> (Cid36, Blocks) {
        (self.root(), self.proof(keys))
    }
}

impl FullTree for CachedTree {
    fn set(&mut self, key: &str, value: Option<Cid36>) -> Option<Cid36> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(key),
        }
    }

    fn value(&self, key: &str) -> Option<Cid36> {
        self.get(key)
    }

    fn root_and_proof(&mut self, keys: &[&str]) -> (Cid36, Blocks) {
        CachedTree::root_and_proof(self, keys)
    }
}

/// Traffic of one repository: keys out of `keys` in so many collections, `ops_max` changes per commit.
struct Traffic {
    keys: u32,
    collections: u32,
    ops_max: usize,
    creates: f64,
}

impl Traffic {
    /// Changes the tree by one commit; a key that is drawn twice is changed once.
    fn commit<T: FullTree>(&self, tree: &mut T, rng: &mut StdRng) -> Vec<OwnedOp> {
        let mut ops = BTreeMap::new();
        for _ in 0..rng.random_range(1..=self.ops_max) {
            let number = rng.random_range(0..self.keys);
            let key = format!("com.example.c{}/{number:06}", number % self.collections);
            let value = cid_of_nothing(rng.random());
            let op = match tree.value(&key) {
                _ if ops.contains_key(&key) => continue,
                None => OwnedOp::create(&key, value),
                Some(old) if rng.random_bool(self.creates) => OwnedOp::update(&key, value, old),
                Some(old) => OwnedOp::delete(&key, old),
            };
            tree.set(&key, op.cid.map(|_| value));
            ops.insert(key, op);
        }
        ops.into_values().collect()
    }
}

/// One thing wrong, which no result but `Ok` may hide; `None` when this change cannot have it.
fn spoil(change: &Change, rng: &mut StdRng) -> Option<Change> {
    let mut bad = change.clone();
    let place = rng.random_range(0..bad.ops.len());
    match rng.random_range(0..5) {
        0 => {
            bad.ops.remove(place);
        }
        1 => bad.ops[place].prev.as_mut()?.digest[rng.random_range(0..32)] ^= 1,
        2 => bad.ops[place].cid.as_mut()?.digest[rng.random_range(0..32)] ^= 1,
        3 => bad.prev_data[rng.random_range(4..36)] ^= 1,
        _ => bad.ops[place].path.push('x'),
    }
    Some(bad)
}

/// Runs commits until `ops` operations have been undone.
fn agree<T: FullTree>(traffic: &Traffic, ops: usize, rng: &mut StdRng) {
    let mut tree = T::default();
    let (mut before, _) = tree.root_and_proof(&[]);
    let mut undone = 0;
    let mut spoilt = 0;
    let mut known = Known::default();
    while undone < ops {
        let ops = traffic.commit(&mut tree, rng);
        undone += ops.len();
        let paths: Vec<&str> = ops.iter().map(|op| op.path.as_str()).collect();
        let (root, blocks) = tree.root_and_proof(&paths);
        let change = Change { root, prev_data: before, ops, blocks };
        known.follow(&change, undone);

        if let Some(bad) = spoil(&change, rng) {
            assert_ne!(bad.invert(), Inversion::Ok, "after {undone} operations: {bad:?}");
            spoilt += 1;
        }
        let mut fewer = change;
        let place = rng.random_range(0..fewer.blocks.len());
        let missing = *fewer.blocks.keys().nth(place).unwrap();
        fewer.blocks.remove(&missing);
        match fewer.invert() {
            Inversion::Ok | Inversion::Partial(_) => {}
            // All that is left is the absent subtree, which is taken for the root (7.3).
            Inversion::Mismatch { found } => assert_eq!(found, data(&missing)),
            Inversion::Structure(invalid) => panic!("{invalid}"),
        }
        before = root;
    }
    assert!(spoilt > undone / 150, "{spoilt} of {undone}");
    known.check_variety(traffic.keys <= 2 * traffic.collections);
}

/// Small repositories, whose collections come and go: keys, collections, operations per commit, share
/// of updates.
const SMALL: [(u32, u32, usize, f64); 4] =
    [(8, 4, 3, 0.3), (40, 4, 12, 0.3), (150, 60, 40, 0.2), (60, 60, 5, 0.1)];
/// Larger ones.
const LARGE: [(u32, u32, usize, f64); 4] =
    [(2_000, 4, 8, 0.4), (20_000, 4, 60, 0.7), (500, 400, 200, 0.5), (3_000, 1_500, 4, 0.3)];

fn agree_on<T: FullTree>(traffics: &[(u32, u32, usize, f64)], ops: usize, rng: &mut StdRng) {
    for &(keys, collections, ops_max, creates) in traffics {
        agree::<T>(&Traffic { keys, collections, ops_max, creates }, ops, rng);
    }
}

/// 60,000 operations on small repositories, which are rebuilt as a whole each time.
#[test]
fn small_repositories_agree_with_the_naive_tree() {
    let mut rng = seeded("small_repositories_agree_with_the_naive_tree", 1);
    agree_on::<Tree>(&SMALL, 15_000, &mut rng);
}

/// 60,000 operations on larger repositories, whose tree keeps its nodes.
#[test]
fn large_repositories_agree_with_the_cached_tree() {
    let mut rng = seeded("large_repositories_agree_with_the_cached_tree", 2);
    agree_on::<CachedTree>(&LARGE, 15_000, &mut rng);
}

/// A million operations; the two tests above are the share of it that every run has.
#[test]
#[ignore = "takes minutes: `just nightly`"]
fn a_million_operations_agree_with_the_full_trees() {
    let mut rng = seeded("a_million_operations_agree_with_the_full_trees", 3);
    agree_on::<Tree>(&SMALL, 125_000, &mut rng);
    agree_on::<CachedTree>(&LARGE, 125_000, &mut rng);
}
