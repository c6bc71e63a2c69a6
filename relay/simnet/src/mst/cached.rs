//! The tree that load generation uses: nodes are kept, and only changed ones are encoded again.

use super::{EntryView, encode_node, layer};
use crate::block::{Blocks, Cid36, cid_of};

/// A full tree whose unchanged subtrees keep their CIDs.
///
/// Gives the same roots and blocks as [`super::Tree`]; a change costs the nodes on its path.
#[derive(Debug, Clone, Default)]
pub struct CachedTree {
    /// `None` for the empty tree, whose root is the node without entries.
    root: Child,
    len: usize,
}

type Child = Option<Box<Node>>;

#[derive(Debug, Clone)]
struct Node {
    layer: u8,
    left: Child,
    entries: Vec<Entry>,
    /// `None` when this node or one below it changed since it was last encoded.
    cid: Option<Cid36>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Box<str>,
    value: Cid36,
    right: Child,
}

impl CachedTree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a leaf; returns the value that it had.
    pub fn insert(&mut self, key: &str, value: Cid36) -> Option<Cid36> {
        let key_layer = layer(key);
        let old = match self.root.take() {
            None => {
                self.root = Some(Box::new(Node::leaf(key_layer, key, value, None, None)));
                None
            }
            Some(root) if key_layer > root.layer => {
                let (left, right) = split(Some(root), key);
                let below = key_layer.saturating_sub(1);
                let (left, right) = (lift(left, below), lift(right, below));
                self.root = Some(Box::new(Node::leaf(key_layer, key, value, left, right)));
                None
            }
            Some(mut root) => {
                let old = root.insert(key_layer, key, value);
                self.root = Some(root);
                old
            }
        };
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes a leaf; returns the value that it had.
    pub fn remove(&mut self, key: &str) -> Option<Cid36> {
        let old = remove(&mut self.root, key)?;
        self.len -= 1;
        // The root is never an entry-less node above others (MST-4).
        while let Some(root) = &mut self.root
            && root.entries.is_empty()
        {
            self.root = root.left.take();
        }
        Some(old)
    }

    /// The value of a leaf.
    pub fn get(&self, key: &str) -> Option<Cid36> {
        let mut node = self.root.as_ref()?;
        loop {
            let place = node.place(key);
            match node.entries.get(place) {
                Some(entry) if &*entry.key == key => return Some(entry.value),
                _ => node = node.child(place)?.as_ref()?,
            }
        }
    }

    /// The leaves next to `key`, which itself need not be there: the last one before and the first
    /// one after it.
    pub fn neighbours(&self, key: &str) -> (Option<&str>, Option<&str>) {
        let (mut before, mut after) = (None, None);
        let mut next = self.root.as_deref();
        while let Some(node) = next {
            let place = node.place(key);
            if let Some(entry) = place.checked_sub(1).and_then(|at| node.entries.get(at)) {
                before = Some(&*entry.key);
            }
            match node.entries.get(place) {
                Some(entry) if &*entry.key == key => {
                    let outside = node.entries.get(place + 1).map(|entry| &*entry.key);
                    let inside_left = node.child(place).and_then(|child| child.as_deref());
                    before = inside_left.and_then(Node::last_key).or(before);
                    let inside_right = entry.right.as_deref().and_then(Node::first_key);
                    after = inside_right.or(outside).or(after);
                    break;
                }
                Some(entry) => after = Some(&*entry.key),
                None => {}
            }
            next = node.child(place).and_then(|child| child.as_deref());
        }
        (before, after)
    }

    /// The first leaf at or after `key`, if there is one.
    pub fn at_or_after(&self, key: &str) -> Option<(String, Cid36)> {
        let found = match self.get(key) {
            Some(value) => return Some((key.to_owned(), value)),
            None => self.neighbours(key).1?,
        };
        Some((found.to_owned(), self.get(found)?))
    }

    /// CID of the root node; encodes what changed.
    pub fn root(&mut self) -> Cid36 {
        match &mut self.root {
            Some(root) => root.seal(),
            None => cid_of(&encode_node(None, &[])),
        }
    }

    /// CID of the root and the blocks that undoing changes of these keys needs; see
    /// [`super::Tree::proof`]. Each block is encoded once.
    pub fn root_and_proof(&mut self, keys: &[&str]) -> (Cid36, Blocks) {
        let mut wanted: Vec<String> = Vec::new();
        for &key in keys {
            let (before, after) = self.neighbours(key);
            wanted.extend(before.into_iter().chain(after).map(str::to_owned));
            wanted.push(key.to_owned());
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut blocks = Blocks::new();
        let root = if let Some(root) = &mut self.root {
            root.prove(&wanted, &mut blocks)
        } else {
            let block = encode_node(None, &[]);
            let cid = cid_of(&block);
            blocks.insert(cid, block);
            cid
        };
        (root, blocks)
    }

    /// The blocks of all nodes, for exports and comparisons.
    pub fn root_and_blocks(&mut self) -> (Cid36, Blocks) {
        let mut blocks = Blocks::new();
        let root = match &mut self.root {
            Some(root) => root.export(&mut blocks),
            None => return self.root_and_proof(&[]),
        };
        (root, blocks)
    }
}

impl Node {
    fn leaf(layer: u8, key: &str, value: Cid36, left: Child, right: Child) -> Self {
        let entry = Entry { key: key.into(), value, right };
        Self { layer, left, entries: vec![entry], cid: None }
    }

    /// Index of the first entry whose key is not below `key`.
    fn place(&self, key: &str) -> usize {
        self.entries.partition_point(|entry| &*entry.key < key)
    }

    /// The subtree before entry `place`.
    fn child(&self, place: usize) -> Option<&Child> {
        match place.checked_sub(1) {
            None => Some(&self.left),
            Some(before) => self.entries.get(before).map(|entry| &entry.right),
        }
    }

    fn child_mut(&mut self, place: usize) -> &mut Child {
        match place.checked_sub(1).and_then(|before| self.entries.get_mut(before)) {
            None => &mut self.left,
            Some(entry) => &mut entry.right,
        }
    }

    fn first_key(&self) -> Option<&str> {
        match &self.left {
            Some(left) => left.first_key(),
            None => self.entries.first().map(|entry| &*entry.key),
        }
    }

    fn last_key(&self) -> Option<&str> {
        match self.entries.last() {
            None => self.left.as_ref()?.last_key(),
            Some(entry) => match &entry.right {
                Some(right) => right.last_key(),
                None => Some(&*entry.key),
            },
        }
    }

    fn insert(&mut self, key_layer: u8, key: &str, value: Cid36) -> Option<Cid36> {
        self.cid = None;
        let place = self.place(key);
        if let Some(entry) = self.entries.get_mut(place)
            && &*entry.key == key
        {
            return Some(std::mem::replace(&mut entry.value, value));
        }
        let below = self.layer.saturating_sub(1);
        let here = key_layer == self.layer;
        let child = self.child_mut(place);
        if here {
            let (left, right) = split(child.take(), key);
            *child = left;
            self.entries.insert(place, Entry { key: key.into(), value, right });
            return None;
        }
        if let Some(node) = child {
            return node.insert(key_layer, key, value);
        }
        *child = lift(Some(Box::new(Self::leaf(key_layer, key, value, None, None))), below);
        None
    }

    fn encode(&self) -> Vec<u8> {
        let cid = |child: &Child| child.as_ref().and_then(|node| node.cid);
        let entries: Vec<EntryView<'_>> = self
            .entries
            .iter()
            .map(|entry| EntryView {
                key: &entry.key,
                value: entry.value,
                right: cid(&entry.right),
            })
            .collect();
        encode_node(cid(&self.left), &entries)
    }

    fn children_mut(&mut self) -> impl Iterator<Item = &mut Box<Self>> {
        let rights = self.entries.iter_mut().filter_map(|entry| entry.right.as_mut());
        self.left.as_mut().into_iter().chain(rights)
    }

    /// The CID, after encoding what changed below.
    fn seal(&mut self) -> Cid36 {
        if let Some(cid) = self.cid {
            return cid;
        }
        for child in self.children_mut() {
            child.seal();
        }
        *self.cid.insert(cid_of(&self.encode()))
    }

    /// Adds this node and those on the paths to `keys` (sorted); returns the CID.
    fn prove(&mut self, keys: &[String], blocks: &mut Blocks) -> Cid36 {
        for place in 0..=self.entries.len() {
            let after = place.checked_sub(1).and_then(|at| self.entries.get(at));
            let start = after.map_or(0, |entry| keys.partition_point(|key| **key <= *entry.key));
            let end = match self.entries.get(place) {
                Some(entry) => keys.partition_point(|key| **key < *entry.key),
                None => keys.len(),
            };
            if let Some(child) = self.child_mut(place) {
                match keys.get(start..end) {
                    Some(within) if !within.is_empty() => child.prove(within, blocks),
                    _ => child.seal(),
                };
            }
        }
        let block = self.encode();
        let cid = *self.cid.get_or_insert_with(|| cid_of(&block));
        blocks.insert(cid, block);
        cid
    }

    fn export(&mut self, blocks: &mut Blocks) -> Cid36 {
        for child in self.children_mut() {
            child.export(blocks);
        }
        let block = self.encode();
        let cid = *self.cid.get_or_insert_with(|| cid_of(&block));
        blocks.insert(cid, block);
        cid
    }
}

/// Wraps a subtree in entry-less nodes up to `layer`.
fn lift(mut child: Child, layer: u8) -> Child {
    while let Some(node) = &child {
        if node.layer >= layer {
            break;
        }
        let above = node.layer + 1;
        child = Some(Box::new(Node { layer: above, left: child, entries: Vec::new(), cid: None }));
    }
    child
}

/// Cuts a subtree in two at a key that it does not hold; both parts stay in its layer.
fn split(child: Child, key: &str) -> (Child, Child) {
    let Some(mut node) = child else { return (None, None) };
    node.cid = None;
    let place = node.place(key);
    let entries = node.entries.split_off(place);
    let (inner_left, inner_right) = split(node.child_mut(place).take(), key);
    *node.child_mut(place) = inner_left;
    let right = Box::new(Node { layer: node.layer, left: inner_right, entries, cid: None });
    (unless_bare(node), unless_bare(right))
}

fn unless_bare(node: Box<Node>) -> Child {
    (!node.entries.is_empty() || node.left.is_some()).then_some(node)
}

/// Joins two neighbouring subtrees of one layer.
fn merge(left: Child, right: Child) -> Child {
    match (left, right) {
        (Some(mut left), Some(mut right)) => {
            left.cid = None;
            let last = left.entries.len();
            let inner = merge(left.child_mut(last).take(), right.left.take());
            *left.child_mut(last) = inner;
            left.entries.append(&mut right.entries);
            Some(left)
        }
        (left, right) => left.or(right),
    }
}

/// Removes a key below `child`; leaves `None` where nothing is left.
fn remove(child: &mut Child, key: &str) -> Option<Cid36> {
    let node = child.as_mut()?;
    let place = node.place(key);
    let old = if node.entries.get(place).is_some_and(|entry| &*entry.key == key) {
        let entry = node.entries.remove(place);
        let slot = node.child_mut(place);
        *slot = merge(slot.take(), entry.right);
        entry.value
    } else {
        remove(node.child_mut(place), key)?
    };
    node.cid = None;
    if node.entries.is_empty() && node.left.is_none() {
        *child = None;
    }
    Some(old)
}
