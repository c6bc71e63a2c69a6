//! Trees that are computed from leaves, with the CIDs of untouched parts of large ones kept.
//!
//! A small repository's tree is built anew for every commit. A large one is cut at a layer: the
//! keys above the cut ([`Pages::uppers`]) are kept with the CIDs of the subtrees between them. A
//! commit builds the part above the cut, and only those subtrees that it changes or has to show.

use super::{
    encode::Encoder,
    leaves::{Leaf, Leaves, Sha},
    universe::{Key, KeyText},
};
use crate::block::Cid36;
use sha2::{Digest, Sha256};

/// Records from which on a tree is cut. Building 150 leaves takes about as long as signing.
const PAGED: usize = 160;

/// A subtree below the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Has to be built.
    Unknown,
    /// Its CID; `None` when it is empty.
    Known(Option<Sha>),
}

/// The part of a large tree that is kept.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    /// Lowest layer above the cut.
    floor: u8,
    uppers: Vec<Leaf>,
    /// Before, between and after the uppers.
    gaps: Vec<Gap>,
}

/// Nodes that a commit has to show, by CID.
pub(super) type Shown = Vec<(Cid36, Vec<u8>)>;

/// The CID of a DAG-CBOR block with this digest.
pub(super) fn cid(sha: &Sha) -> Cid36 {
    let mut cid = [0; 36];
    cid[..4].copy_from_slice(&[0x01, 0x71, 0x12, 0x20]);
    cid[4..].copy_from_slice(sha);
    cid
}

/// Builds nodes over leaves, all of which lie in or above the layer `floor`.
struct Builder<'a> {
    leaves: &'a [Leaf],
    /// Subtrees below the floor, one more than leaves; empty when the floor is 0.
    gaps: &'a [Gap],
    floor: u8,
    /// Keys outside, between which all leaves lie.
    bounds: (Option<Key>, Option<Key>),
    /// Nodes on the paths to these keys are shown.
    wanted: &'a [Key],
    shown: &'a mut Shown,
}

impl Builder<'_> {
    /// The subtree over the leaves `from..to` with its root in `layer`; `None` when it is empty.
    fn subtree(&mut self, from: usize, to: usize, layer: u8) -> Option<Sha> {
        if from == to && self.below(from).is_none() {
            return None;
        }
        let child_layer = layer.checked_sub(1).filter(|_| layer > self.floor);
        let mut encoder = Encoder::node();
        let mut previous = KeyText::EMPTY;
        let mut at = self.next(from, to, layer);
        let left = self.child(from, at, child_layer);
        while at < to {
            let Some(leaf) = self.leaves.get(at).copied() else { break };
            let next = self.next(at + 1, to, layer);
            let right = self.child(at + 1, next, child_layer);
            let text = leaf.key.text();
            encoder.entry(text.bytes(), text.common(&previous), &leaf.value, right.as_ref());
            (previous, at) = (text, next);
        }
        let block = encoder.finish(left.as_ref());
        let sha: Sha = Sha256::digest(&block).into();
        let low = from.checked_sub(1).map_or(self.bounds.0, |at| self.key(at));
        let high = self.key(to).or(self.bounds.1);
        let inside =
            |key: &&Key| low.is_none_or(|low| low < **key) && high.is_none_or(|high| **key < high);
        if self.wanted.iter().any(|key| inside(&key)) {
            self.shown.push((cid(&sha), block));
        }
        Some(sha)
    }

    fn child(&mut self, from: usize, to: usize, layer: Option<u8>) -> Option<Sha> {
        match layer {
            Some(layer) => self.subtree(from, to, layer),
            None => self.below(from),
        }
    }

    /// The subtree below the floor in front of a leaf.
    fn below(&self, at: usize) -> Option<Sha> {
        match self.gaps.get(at) {
            Some(Gap::Known(sha)) => *sha,
            _ => None,
        }
    }

    /// The first leaf from `from` on that lies in `layer` or above.
    fn next(&self, from: usize, to: usize, layer: u8) -> usize {
        let leaves = self.leaves.get(from..to).unwrap_or_default();
        from + leaves.iter().take_while(|leaf| leaf.layer < layer).count()
    }

    fn key(&self, at: usize) -> Option<Key> {
        self.leaves.get(at).map(|leaf| leaf.key)
    }
}

/// The root of a tree over all leaves, without cutting it.
fn whole(leaves: &[Leaf], wanted: &[Key], shown: &mut Shown) -> Sha {
    let top = leaves.iter().map(|leaf| leaf.layer).max().unwrap_or(0);
    let bounds = (None, None);
    let mut builder = Builder { leaves, gaps: &[], floor: 0, bounds, wanted, shown };
    builder.subtree(0, leaves.len(), top).unwrap_or_else(|| {
        let block = Encoder::node().finish(None);
        let sha: Sha = Sha256::digest(&block).into();
        shown.push((cid(&sha), block));
        sha
    })
}

/// The root of a repository after `touched` keys changed, and the nodes on the paths to `wanted`.
pub(super) fn root(
    leaves: &Leaves<'_>,
    pages: &mut Option<Box<Pages>>,
    touched: &[Key],
    wanted: &[Key],
) -> (Sha, Shown) {
    let mut shown = Shown::new();
    let mut buffer = Vec::new();
    if pages.is_none() && leaves.len() > PAGED {
        leaves.between(None, None, &mut buffer);
        *pages = Some(Box::new(Pages::cut(&buffer)));
    }
    if let Some(pages) = pages {
        for key in touched {
            pages.touch(leaves, *key);
        }
        if !pages.uppers.is_empty() {
            pages.build(leaves, wanted, &mut shown, &mut buffer);
            return (pages.top(wanted, &mut shown), shown);
        }
    }
    leaves.between(None, None, &mut buffer);
    let sha = whole(&buffer, wanted, &mut shown);
    (sha, shown)
}

impl Pages {
    /// Cuts where the part above has about as many leaves as a subtree below.
    fn cut(leaves: &[Leaf]) -> Self {
        let floor = u8::try_from(leaves.len().max(4).ilog2().div_ceil(4)).unwrap_or(4);
        let uppers: Vec<Leaf> = leaves.iter().filter(|leaf| leaf.layer >= floor).copied().collect();
        let gaps = vec![Gap::Unknown; uppers.len() + 1];
        Self { floor, uppers, gaps }
    }

    /// Memory behind it.
    pub(super) fn bytes(&self) -> usize {
        let (uppers, gaps) = (self.uppers.capacity(), self.gaps.capacity());
        size_of::<Self>() + uppers * size_of::<Leaf>() + gaps * size_of::<Gap>()
    }

    /// Takes notice of a change of this key.
    fn touch(&mut self, leaves: &Leaves<'_>, key: Key) {
        let place = self.uppers.binary_search_by_key(&key, |leaf| leaf.key);
        let layer = key.layer();
        let value = leaves.get(key).filter(|_| layer >= self.floor);
        match (place, value) {
            (Ok(at), Some(value)) => {
                if let Some(upper) = self.uppers.get_mut(at) {
                    upper.value = value;
                }
            }
            (Ok(at), None) => {
                self.uppers.remove(at);
                self.gaps.remove(at);
                self.forget(at);
            }
            (Err(at), Some(value)) => {
                self.uppers.insert(at, Leaf { key, layer, value });
                self.gaps.insert(at, Gap::Unknown);
                self.forget(at + 1);
            }
            (Err(at), None) => self.forget(at),
        }
    }

    fn forget(&mut self, at: usize) {
        if let Some(gap) = self.gaps.get_mut(at) {
            *gap = Gap::Unknown;
        }
    }

    /// Builds the subtrees below the cut that changed or have to be shown.
    fn build(
        &mut self,
        leaves: &Leaves<'_>,
        wanted: &[Key],
        shown: &mut Shown,
        buffer: &mut Vec<Leaf>,
    ) {
        for key in wanted {
            if let Err(at) = self.uppers.binary_search_by_key(key, |leaf| leaf.key) {
                self.forget(at);
            }
        }
        for at in 0..self.gaps.len() {
            if self.gaps.get(at) != Some(&Gap::Unknown) {
                continue;
            }
            let low = at.checked_sub(1).and_then(|at| self.uppers.get(at)).map(|leaf| leaf.key);
            let high = self.uppers.get(at).map(|leaf| leaf.key);
            leaves.between(low, high, buffer);
            let mut builder =
                Builder { leaves: buffer, gaps: &[], floor: 0, bounds: (low, high), wanted, shown };
            let sha = builder.subtree(0, buffer.len(), self.floor.saturating_sub(1));
            if let Some(gap) = self.gaps.get_mut(at) {
                *gap = Gap::Known(sha);
            }
        }
    }

    /// Builds the part above the cut.
    fn top(&self, wanted: &[Key], shown: &mut Shown) -> Sha {
        let top = self.uppers.iter().map(|leaf| leaf.layer).max().unwrap_or(self.floor);
        let mut builder = Builder {
            leaves: &self.uppers,
            gaps: &self.gaps,
            floor: self.floor,
            bounds: (None, None),
            wanted,
            shown,
        };
        builder.subtree(0, self.uppers.len(), top).unwrap_or_default()
    }
}
