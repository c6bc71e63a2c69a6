//! Whole repositories, read as they arrive, for the collections that they have.

use std::collections::BTreeSet;

use proptest::{collection, prelude::*, sample::Index};
use relay_protocol::{Did, RepoReader};
use relay_simnet::{
    block::{self, Blocks, Cid36, cid_of, cid_of_nothing},
    mst::{NodeData, Tree, layer},
};

use crate::{
    build::{DID, REV, block, car_header, digest, encode, link_of, map, text, uvarint},
    forge::{self, entries, node},
};
use ipld_core::ipld::Ipld;

const MISSING: &str = "the CAR does not hold all nodes of the tree";

/// A repository before it is written.
#[derive(Debug, Clone)]
struct Repo {
    commit: Vec<u8>,
    root: Cid36,
    nodes: Blocks,
    records: Blocks,
    collections: Vec<String>,
}

impl Repo {
    /// Of these paths.
    fn of<P: AsRef<str>>(paths: &[P]) -> Self {
        let record = |path: &str| (path.to_owned(), encode(&text(path)));
        Self::with_records(paths.iter().map(|path| record(path.as_ref())))
    }

    fn with_records(list: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let (mut tree, mut records, mut collections) =
            (Tree::new(), Blocks::new(), BTreeSet::new());
        for (path, record) in list {
            collections.insert(path.split('/').next().unwrap().to_owned());
            tree.insert(path, cid_of(&record));
            records.insert(cid_of(&record), record);
        }
        let (root, nodes) = tree.root_and_blocks();
        let commit = commit(DID, &root);
        Self { commit, root, nodes, records, collections: collections.into_iter().collect() }
    }

    /// All blocks, in pre-order with each record behind the node that names it (ENC-17).
    fn in_preorder(&self) -> Vec<Vec<u8>> {
        let mut out = vec![self.commit.clone()];
        self.append(&self.root, &mut out);
        out
    }

    fn append(&self, cid: &Cid36, out: &mut Vec<Vec<u8>>) {
        let Some(block) = self.nodes.get(cid) else { return };
        out.push(block.clone());
        let node = NodeData::decode(block).unwrap();
        if let Some(left) = &node.left {
            self.append(left, out);
        }
        for (_, value, right) in &node.entries {
            out.extend(self.records.get(value).cloned());
            if let Some(right) = right {
                self.append(right, out);
            }
        }
    }
}

fn commit(did: &str, data: &Cid36) -> Vec<u8> {
    encode(&Ipld::Map(map([
        ("did", text(did)),
        ("rev", text(REV)),
        ("sig", Ipld::Bytes(vec![7; 64])),
        ("data", Ipld::Link(block::link(data))),
        ("prev", Ipld::Null),
        ("version", Ipld::Integer(3)),
    ])))
}

/// The CAR of a commit and blocks in this order.
fn car(commit: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
    let header = car_header(vec![link_of(0x71, &digest(commit))], 1);
    blocks.iter().fold(header, |mut car, data| {
        car.extend(block(data));
        car
    })
}

/// What is read of a CAR that arrives in pieces of this size; not more of it than is needed.
fn read(car: &[u8], piece: usize) -> Result<Vec<String>, &'static str> {
    let mut reader = RepoReader::new(&Did::parse(DID).unwrap());
    for piece in car.chunks(piece.max(1)) {
        if reader.push(piece).map_err(|invalid| invalid.what)? {
            assert_eq!(reader.head().map(|(rev, _)| rev.to_string()), Some(REV.to_owned()));
            break;
        }
    }
    reader.finish().map_err(|invalid| invalid.what)
}

fn many() -> Vec<String> {
    let name = |number: u32| format!("com.example.c{}", number % 23);
    (0..2_000).map(|number| format!("{}/{number:06}", name(number))).collect()
}

/// ENC-17, ENC-16: pre-order, its reverse, any other order and duplicates, in pieces of any size.
#[test]
fn a_whole_repository_tells_its_collections_in_any_order_of_its_blocks() {
    let paths = many();
    let repo = Repo::of(&paths);
    let preorder = repo.in_preorder();
    assert!(repo.nodes.len() > 100 && preorder.len() == 1 + repo.nodes.len() + 2_000);
    let mut reversed = preorder.clone();
    reversed.reverse();
    let mut by_digest = preorder.clone();
    by_digest.sort_by_key(|block| digest(block));
    let twice = [preorder.clone(), preorder.clone()].concat();
    for (order, blocks) in
        [("pre-order", preorder), ("reversed", reversed), ("digest", by_digest), ("twice", twice)]
    {
        let car = car(&repo.commit, &blocks);
        for piece in [1, 1_000, car.len()] {
            assert_eq!(read(&car, piece).as_ref(), Ok(&repo.collections), "{order} {piece}");
        }
    }
}

/// An account without records has no collections, whether or not the node of the empty tree is sent.
#[test]
fn an_empty_repository_has_no_collections() {
    let repo = Repo::of::<&str>(&[]);
    assert_eq!(read(&car(&repo.commit, &repo.in_preorder()), 100), Ok(Vec::new()));
    assert_eq!(read(&car(&repo.commit, std::slice::from_ref(&repo.commit)), 100), Ok(Vec::new()));
}

/// A part of a tree says nothing of what the account has.
#[test]
fn a_tree_with_a_missing_node_is_none() {
    let paths = many();
    let repo = Repo::of(&paths[..60]);
    let blocks = repo.in_preorder();
    let mut missing = 0;
    for place in 0..blocks.len() {
        let mut rest = blocks.clone();
        let gone = rest.remove(place);
        let result = read(&car(&repo.commit, &rest), 1 << 20);
        if repo.nodes.contains_key(&cid_of(&gone)) {
            missing += 1;
            assert_eq!(result, Err(MISSING));
        } else if gone == repo.commit {
            assert_eq!(result, Err("the CAR does not hold the block of its root"));
        } else {
            assert_eq!(result.as_ref(), Ok(&repo.collections), "it is a record");
        }
    }
    assert_eq!(missing, repo.nodes.len());
}

/// What looks like a node counts as one where a node stands in the tree, and nowhere else.
#[test]
fn records_that_look_like_nodes_and_nodes_of_other_trees_do_not_count() {
    let ghost = node(None, &entries(&[("com.example.ghost/1", None)]));
    let older = Repo::of(&["com.example.older/1", "com.example.older/2"]);
    let repo = Repo::with_records([
        ("com.example.note/1".to_owned(), ghost.clone()),
        ("com.example.note/2".to_owned(), encode(&text("x"))),
    ]);
    let mut blocks = repo.in_preorder();
    assert!(blocks.contains(&ghost));
    blocks.splice(1..1, older.in_preorder());
    for blocks in [blocks.clone(), blocks.into_iter().rev().collect()] {
        assert_eq!(read(&car(&repo.commit, &blocks), 64), Ok(vec!["com.example.note".to_owned()]));
    }
}

/// COM-1, ENC-13, ENC-14: another account's, or what no host sends in good faith.
#[test]
fn repositories_that_break_a_rule_are_refused() {
    let repo = Repo::of(&["com.example.note/1"]);
    let other = commit("did:web:other.example.com", &repo.root);
    let refusal = |car: &[u8]| read(car, 100).unwrap_err();
    assert_eq!(
        refusal(&car(&other, std::slice::from_ref(&other))),
        "the commit is of another account"
    );
    let no_commit = encode(&text("no commit"));
    assert_eq!(refusal(&car(&no_commit, std::slice::from_ref(&no_commit))), "expected a map");
    let no_node = commit(DID, &cid_of(&no_commit));
    assert_eq!(
        refusal(&car(&no_node, &[no_node.clone(), no_commit])),
        "a node is not a map of e and l"
    );
    let huge = [car(&repo.commit, &[]), uvarint((2 << 20) + 1)].concat();
    assert_eq!(refusal(&huge), "too large: a CAR section has more than 2 MiB");
    assert_eq!(refusal(&[]), "the CAR ends inside a section");
    // One node twice in a tree would be asked for twice.
    let leaf = node(None, &entries(&[("com.example.a/1", None)]));
    let twice = node(Some(cid_of(&leaf)), &entries(&[("com.example.b/1", Some(cid_of(&leaf)))]));
    let commit = commit(DID, &cid_of(&twice));
    assert_eq!(
        refusal(&car(&commit, &[commit.clone(), twice, leaf])),
        "a node occurs twice in the tree"
    );
}

/// ENC-13: cut anywhere or with any byte turned, nothing but the truth comes out.
#[test]
fn cut_and_spoiled_repositories_never_tell_anything_else() {
    let paths = many();
    let repo = Repo::of(&paths[..12]);
    let whole = car(&repo.commit, &repo.in_preorder());
    for length in 0..whole.len() {
        if let Ok(found) = read(&whole[..length], 333) {
            assert_eq!(found, repo.collections, "{length} bytes");
        }
    }
    for place in 0..whole.len() {
        let mut spoiled = whole.clone();
        spoiled[place] ^= 1 << (place % 8);
        if let Ok(found) = read(&spoiled, 1 << 20) {
            assert_eq!(found, repo.collections, "byte {place}");
        }
    }
}

/// What has to be held has a bound, however the blocks are chosen.
#[test]
fn a_repository_that_needs_too_much_memory_is_refused() {
    let names: Vec<String> = (0..=10_000).map(|n| format!("com.example.c{n}/1")).collect();
    let crowd = Repo::of(&names);
    let refusal = read(&car(&crowd.commit, &crowd.in_preorder()), 1 << 20).unwrap_err();
    assert_eq!(refusal, "too large: there are more than 10,000 collections");

    let mut reader = RepoReader::new(&Did::parse(DID).unwrap());
    reader.push(&car(&crowd.commit, &[])).unwrap();
    // Nodes that no parent names, each with a subtree of its own.
    let mut held = 0_u64;
    let refusal = loop {
        let orphan = block(&node(Some(cid_of_nothing(held)), &[]));
        match reader.push(&orphan) {
            Ok(is_whole) => assert!(!is_whole),
            Err(refusal) => break refusal.what,
        }
        held += 1;
    };
    assert_eq!(refusal, "too large: too many nodes of the tree wait for others");
    assert_eq!(held, 1_000_000);
}

/// MST-6: a node of the largest size passes through.
#[test]
fn a_large_node_is_read() {
    let keys = forge::keys_in_layer("com.example.wide/", layer("com.example.wide/100000"), 1_024);
    let keys: Vec<_> = keys.iter().map(|key| (key.as_str(), None)).collect();
    let wide = node(None, &entries(&keys));
    let commit = commit(DID, &cid_of(&wide));
    let found = read(&car(&commit, &[commit.clone(), wide]), 10_000);
    assert_eq!(found, Ok(vec!["com.example.wide".to_owned()]));
}

proptest! {
    /// I6: any repository in any order, and any bytes.
    #[test]
    fn any_order_of_blocks_tells_the_same(
        numbers in collection::btree_set(0..500_u32, 0..60),
        swaps in collection::vec((any::<Index>(), any::<Index>()), 0..40),
        piece in 1..3_000_usize,
        gone in any::<Option<Index>>(),
    ) {
        let paths: Vec<_> = numbers.iter().map(|n| format!("com.example.c{}/{n:03}", n % 7)).collect();
        let repo = Repo::of(&paths);
        let mut blocks = repo.in_preorder();
        for (one, other) in swaps {
            let (one, other) = (one.index(blocks.len()), other.index(blocks.len()));
            blocks.swap(one, other);
        }
        let gone = gone.map(|place| blocks.remove(place.index(blocks.len())));
        let is_needed = |block: &Vec<u8>| {
            *block == repo.commit || (!paths.is_empty() && repo.nodes.contains_key(&cid_of(block)))
        };
        let found = read(&car(&repo.commit, &blocks), piece);
        if gone.as_ref().is_some_and(is_needed) {
            prop_assert!(found.is_err());
        } else {
            prop_assert_eq!(found, Ok(repo.collections));
        }
    }

    /// I6: bytes that never were a repository.
    #[test]
    fn bytes_that_are_no_repository_do_not_panic(bytes in collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes, 7).is_err());
    }
}
