//! The walk over the nodes that a message holds, in key order (MST-3…6, MST-9).

use super::{
    LAYER_MAX, Steps, digest_layer, key_layer,
    node::{self, Entry, Span},
};
use crate::{Blocks, DataCid, Invalid, sha256::ShortMessage};

/// Keys that are hashed in a row; a node has 4 in the mean.
const ROW: usize = 8;

/// What the walk meets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'w, 'a> {
    /// A key and its value.
    Leaf { key: &'w [u8], layer: u32, value: &'a [u8; 32] },
    /// A subtree whose root node is not in the message.
    Absent { digest: &'a [u8; 32], layer: u32 },
}

/// Gives the leaves and absent subtrees of a partial tree in key order, and checks every node that
/// is present.
///
/// Holds one path of nodes, hence at most 33 of them.
#[derive(Debug)]
pub(crate) struct Walk<'b, 'a> {
    blocks: &'b Blocks<'a>,
    /// Full keys of the nodes on the path.
    keys: Vec<u8>,
    /// Entries of the nodes on the path.
    entries: Vec<Entry<'a>>,
    path: Vec<Visit>,
    /// Where to go down next.
    child: Option<Child<'a>>,
    /// Nodes read so far.
    nodes: usize,
}

/// A node on the path; its entries and keys are the last ones of the two buffers while it is the
/// last one of the path.
#[derive(Debug)]
struct Visit {
    layer: u32,
    bounds: Bounds,
    keys_start: usize,
    entries_start: usize,
    /// Index of the entry to be given next.
    next: usize,
}

/// The keys around a subtree.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    after: Option<Span>,
    before: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Child<'a> {
    digest: &'a [u8; 32],
    layer: u32,
    bounds: Bounds,
}

impl<'b, 'a> Walk<'b, 'a> {
    /// Reads the root node; `None` when it is absent.
    pub(crate) fn start(
        root: &DataCid,
        blocks: &'b Blocks<'a>,
        steps: &mut Steps,
    ) -> Result<Option<Self>, Invalid> {
        let Some(block) = blocks.get(&root.0)? else { return Ok(None) };
        let mut walk = Self {
            blocks,
            keys: Vec::with_capacity(1_024),
            entries: Vec::with_capacity(32),
            path: Vec::with_capacity(8),
            child: None,
            nodes: 0,
        };
        walk.open(block, None, Bounds::default(), steps)?;
        Ok(Some(walk))
    }

    /// The next leaf or absent subtree, `None` after the last.
    pub(crate) fn next(&mut self, steps: &mut Steps) -> Result<Option<Item<'_, 'a>>, Invalid> {
        loop {
            if let Some(Child { digest, layer, bounds }) = self.child.take() {
                let Some(block) = self.blocks.get(digest)? else {
                    steps.spend(0);
                    return Ok(Some(Item::Absent { digest, layer }));
                };
                self.open(block, Some(layer), bounds, steps)?;
                continue;
            }
            let Some(visit) = self.path.last_mut() else { return Ok(None) };
            let Some(&Entry { key, value, right }) = self.entries.get(visit.next) else {
                self.keys.truncate(visit.keys_start);
                self.entries.truncate(visit.entries_start);
                self.path.pop();
                continue;
            };
            visit.next = visit.next.saturating_add(1);
            let layer = visit.layer;
            if let Some(digest) = right {
                let before = self.entries.get(visit.next).map(|next| next.key);
                let before = before.or(visit.bounds.before);
                let bounds = Bounds { after: Some(key), before };
                self.child = Some(Child { digest, layer: layer.saturating_sub(1), bounds });
            }
            return Ok(Some(Item::Leaf { key: key.of(&self.keys), layer, value }));
        }
    }

    /// Enters a node. `layer` is `None` for the root, whose layer is that of its keys (MST-5).
    fn open(
        &mut self,
        block: &'a [u8],
        layer: Option<u32>,
        bounds: Bounds,
        steps: &mut Steps,
    ) -> Result<(), Invalid> {
        // Subtrees of different keys have different roots, so a valid tree shows no node twice.
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > self.blocks.len() {
            return Err(Invalid::new("a node occurs twice in the tree"));
        }
        steps.spend(block.len());
        let (keys_start, entries_start) = (self.keys.len(), self.entries.len());
        let left = node::decode(block, &mut self.keys, &mut self.entries)?;
        let entries = self.entries.get(entries_start..).unwrap_or_default();
        let layer = check_layer(entries, &self.keys, left, layer, steps)?;
        check_bounds(entries, &self.keys, bounds)?;
        steps.check()?;
        self.child = left.map(|digest| {
            let before = entries.first().map(|first| first.key).or(bounds.before);
            let bounds = Bounds { after: bounds.after, before };
            Child { digest, layer: layer.saturating_sub(1), bounds }
        });
        self.path.push(Visit { layer, bounds, keys_start, entries_start, next: entries_start });
        Ok(())
    }
}

/// Gives the layer of a node, all of whose keys must lie in it (MST-3, MST-4).
fn check_layer(
    entries: &[Entry<'_>],
    keys: &[u8],
    left: Option<&[u8; 32]>,
    layer: Option<u32>,
    steps: &mut Steps,
) -> Result<u32, Invalid> {
    let mut found = layer;
    let mut row = [None; ROW];
    for entries in entries.chunks(ROW) {
        for (place, entry) in row.iter_mut().zip(entries) {
            *place = ShortMessage::new(entry.key.of(keys));
        }
        for (short, entry) in row.iter().zip(entries) {
            let key = entry.key.of(keys);
            steps.spend(key.len());
            let layer = match short {
                Some(short) => digest_layer(&short.sha256_words()),
                None => key_layer(key),
            };
            if *found.get_or_insert(layer) != layer {
                return Err(Invalid::new("a key is not in the layer of its node"));
            }
        }
    }
    if entries.is_empty() {
        match (layer, left) {
            (None, Some(_)) => return Err(Invalid::new("the root is only a pointer")),
            (Some(_), None) => return Err(Invalid::new("a node below the root is empty")),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    let found = found.unwrap_or(0);
    check_layer_max(found)?;
    if found == 0 && (left.is_some() || entries.iter().any(|entry| entry.right.is_some())) {
        return Err(Invalid::new("a node lies below layer 0"));
    }
    Ok(found)
}

/// MST-6.
pub(super) const fn check_layer_max(layer: u32) -> Result<(), Invalid> {
    if layer > LAYER_MAX { Err(Invalid::new("a key's layer is too high")) } else { Ok(()) }
}

/// Keys of a subtree lie between those of its parent around it (MST-3).
fn check_bounds(entries: &[Entry<'_>], keys: &[u8], bounds: Bounds) -> Result<(), Invalid> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
    let too_low = bounds.after.is_some_and(|after| first.key.of(keys) <= after.of(keys));
    let too_high = bounds.before.is_some_and(|before| last.key.of(keys) >= before.of(keys));
    if too_low || too_high {
        return Err(Invalid::new("a key lies outside the range of its subtree"));
    }
    Ok(())
}
