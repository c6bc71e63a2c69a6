//! Two full-tree Merkle search trees that know nothing of the relay's partial one.
//!
//! [`Tree`] is naive: a sorted map of leaves, and every question builds the whole tree anew. It is
//! the model that everything else is compared with. [`CachedTree`] keeps its nodes and encodes only
//! those that changed; load generation needs it. Both hold all leaves of a repository.

mod cached;

use crate::block::{Blocks, ByteBuf, ByteString, Cid36, cid_of, encode, from_link, link};
use ipld_core::cid::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, ops::Bound};

pub use cached::CachedTree;

/// Layer of a key: pairs of leading zero bits of its SHA-256 (MST-1).
pub fn layer(key: &str) -> u8 {
    let digest = Sha256::digest(key.as_bytes());
    let mut zero_bits = 0_u8;
    for byte in digest {
        let leading = u8::try_from(byte.leading_zeros()).unwrap_or(8);
        zero_bits = zero_bits.saturating_add(leading);
        if leading < 8 {
            break;
        }
    }
    zero_bits / 2
}

/// How many bytes two keys have in common at their start.
pub fn common_prefix(left: &str, right: &str) -> usize {
    left.bytes().zip(right.bytes()).take_while(|(a, b)| a == b).count()
}

/// One entry of a node before it is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryView<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: Cid36,
    pub(crate) right: Option<Cid36>,
}

/// The block of a node (MST-2): canonical DAG-CBOR with maximal prefixes.
pub(crate) fn encode_node(left: Option<Cid36>, entries: &[EntryView<'_>]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Entry<'a> {
        k: ByteString<'a>,
        p: usize,
        t: Option<Cid>,
        v: Cid,
    }
    #[derive(Serialize)]
    struct Node<'a> {
        e: Vec<Entry<'a>>,
        l: Option<Cid>,
    }
    let mut previous = "";
    let e = entries.iter().map(|entry| {
        let p = common_prefix(previous, entry.key);
        previous = entry.key;
        Entry {
            k: ByteString(entry.key.as_bytes().get(p..).unwrap_or_default()),
            p,
            t: entry.right.as_ref().map(link),
            v: link(&entry.value),
        }
    });
    encode(&Node { e: e.collect(), l: left.as_ref().map(link) })
}

/// A decoded node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeData {
    /// Subtree before the first key.
    pub left: Option<Cid36>,
    /// Key, value and the subtree after the key.
    pub entries: Vec<(Vec<u8>, Cid36, Option<Cid36>)>,
}

impl NodeData {
    /// Decodes a node; `None` when the block is not one. Checks no rule beyond the shape.
    pub fn decode(block: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Entry {
            k: ByteBuf,
            p: usize,
            t: Option<Cid>,
            v: Cid,
        }
        #[derive(Deserialize)]
        struct Node {
            e: Vec<Entry>,
            l: Option<Cid>,
        }
        let node: Node = serde_ipld_dagcbor::from_slice(block).ok()?;
        let mut key: Vec<u8> = Vec::new();
        let mut entries = Vec::with_capacity(node.e.len());
        for entry in node.e {
            if entry.p > key.len() {
                return None;
            }
            key.truncate(entry.p);
            key.extend_from_slice(&entry.k.0);
            let right = entry.t.as_ref().map(from_link);
            if right == Some(None) {
                return None;
            }
            entries.push((key.clone(), from_link(&entry.v)?, right.flatten()));
        }
        Some(Self { left: node.l.as_ref().and_then(from_link), entries })
    }

    /// The subtree in which `key` would lie; `None` if there is none, or the key is in this node.
    fn child_for(&self, key: &[u8]) -> Option<Cid36> {
        let place = self.entries.partition_point(|(other, ..)| other.as_slice() < key);
        if self.entries.get(place).is_some_and(|(other, ..)| other == key) {
            return None;
        }
        match place.checked_sub(1) {
            None => self.left,
            Some(before) => self.entries.get(before).and_then(|(.., right)| *right),
        }
    }
}

/// The naive tree: all leaves in a map; every question builds all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    leaves: BTreeMap<String, Cid36>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a leaf; returns the value that it had.
    pub fn insert(&mut self, key: impl Into<String>, value: Cid36) -> Option<Cid36> {
        self.leaves.insert(key.into(), value)
    }

    /// Removes a leaf; returns the value that it had.
    pub fn remove(&mut self, key: &str) -> Option<Cid36> {
        self.leaves.remove(key)
    }

    /// The value of a leaf.
    pub fn get(&self, key: &str) -> Option<Cid36> {
        self.leaves.get(key).copied()
    }

    /// All leaves.
    pub fn leaves(&self) -> &BTreeMap<String, Cid36> {
        &self.leaves
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// CID of the root node.
    pub fn root(&self) -> Cid36 {
        self.root_and_blocks().0
    }

    /// CID of the root node, and the blocks of all nodes.
    pub fn root_and_blocks(&self) -> (Cid36, Blocks) {
        let leaves: Vec<(&str, Cid36, u8)> =
            self.leaves.iter().map(|(key, value)| (key.as_str(), *value, layer(key))).collect();
        let top = leaves.iter().map(|(.., layer)| *layer).max().unwrap_or(0);
        let mut blocks = Blocks::new();
        let root = build(&leaves, top, &mut blocks);
        (root, blocks)
    }

    /// The blocks that undoing changes of these keys needs in this tree, which is the one *after*
    /// the changes: the path to each key, and to its neighbours on both sides (MST-7).
    pub fn proof(&self, keys: &[&str]) -> Blocks {
        let (root, blocks) = self.root_and_blocks();
        let mut proof = Blocks::new();
        for &key in keys {
            add_path(&root, &blocks, key, &mut proof);
            let before = self.leaves.range::<str, _>((Bound::Unbounded, Bound::Excluded(key)));
            let after = self.leaves.range::<str, _>((Bound::Excluded(key), Bound::Unbounded));
            for (neighbour, _) in before.last().into_iter().chain(after.take(1)) {
                add_path(&root, &blocks, neighbour, &mut proof);
            }
        }
        proof
    }
}

/// Builds the node of `layer` over `leaves`, none of which lies in a higher layer.
fn build(leaves: &[(&str, Cid36, u8)], layer: u8, blocks: &mut Blocks) -> Cid36 {
    let mut left = None;
    let mut entries: Vec<EntryView<'_>> = Vec::new();
    let mut rest = leaves;
    loop {
        let gap = rest.iter().take_while(|(.., other)| *other < layer).count();
        let (below, here) = rest.split_at(gap);
        let child = (!below.is_empty()).then(|| build(below, layer.saturating_sub(1), blocks));
        match entries.last_mut() {
            Some(entry) => entry.right = child,
            None => left = child,
        }
        let Some(((key, value, _), after)) = here.split_first() else { break };
        entries.push(EntryView { key, value: *value, right: None });
        rest = after;
    }
    let block = encode_node(left, &entries);
    let cid = cid_of(&block);
    blocks.insert(cid, block);
    cid
}

fn add_path(root: &Cid36, blocks: &Blocks, key: &str, proof: &mut Blocks) {
    let mut next = Some(*root);
    while let Some(cid) = next {
        let Some(block) = blocks.get(&cid) else { return };
        proof.insert(cid, block.clone());
        next = NodeData::decode(block).and_then(|node| node.child_for(key.as_bytes()));
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod undo;
