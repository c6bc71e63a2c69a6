//! Building a tree's root from its leaves and untouched subtrees (MST-2…4, INV-1).

use super::{EMPTY_TREE, Steps};
use crate::{Invalid, Writer, sha256::sha256};

/// Takes leaves and absent subtrees in key order and gives the root of their tree.
///
/// A tree's form follows from its keys alone, so one pass suffices. Open nodes form a stack whose
/// layers fall towards the top: a leaf closes all nodes below its own layer, since no later key can
/// lie in them. A subtree that is absent can only be used whole: it must fall into a gap between
/// leaves of higher layers. Where it would have to be opened or joined with a neighbour, the proof
/// lacks its node, and the result is [`Self::finish`]'s error.
#[derive(Debug)]
pub(crate) struct Rebuild<'v> {
    stack: Vec<Open<'v>>,
    /// Entries of all open nodes, those of the top one last; before those of each node there is
    /// room for its head.
    entries: Writer,
    /// The last key of each open node, that of the top one last.
    keys: Vec<u8>,
    /// A finished subtree that follows all of the above, and hangs in nothing yet.
    loose: Option<Subtree>,
    /// Why the rest is ignored.
    partial: Option<Invalid>,
}

/// A node whose last entry still waits for the subtree behind it.
#[derive(Debug)]
struct Open<'v> {
    layer: u32,
    /// Where the room for its head begins.
    start: usize,
    key_start: usize,
    count: usize,
    left: Option<[u8; 32]>,
    /// Value of the last entry.
    value: &'v [u8; 32],
}

#[derive(Debug, Clone, Copy)]
struct Subtree {
    digest: [u8; 32],
    layer: u32,
}

/// An entry-less node before its link: `{e: [], l: `.
const WRAPPER: &[u8; 15] = b"\xa2\x61e\x80\x61l\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";

/// Room for the start of a node, `{e: [`, whose length depends on the number of entries.
const HEAD_MAX: usize = 8;

const CLOSED: Invalid = Invalid::new("the proof lacks a subtree that has to be opened");
const TORN: Invalid = Invalid::new("the proof lacks subtrees that have to be joined");

impl<'v> Rebuild<'v> {
    pub(crate) fn new() -> Self {
        Self {
            stack: Vec::with_capacity(8),
            entries: Writer::with_capacity(2_048),
            keys: Vec::with_capacity(256),
            loose: None,
            partial: None,
        }
    }

    /// Adds a leaf after all that was added.
    pub(crate) fn leaf(&mut self, key: &[u8], layer: u32, value: &'v [u8; 32], steps: &mut Steps) {
        if self.partial.is_some() {
            return;
        }
        steps.spend(key.len());
        while let Some(open) = self.stack.pop_if(|top| top.layer < layer) {
            self.close(&open, steps);
        }
        let loose = self.loose.take();
        if loose.is_some_and(|subtree| subtree.layer >= layer) {
            self.partial = Some(CLOSED);
            return;
        }
        let below = loose.map(|subtree| subtree.lifted_to(layer.saturating_sub(1), steps));
        if let Some(top) = self.stack.last_mut()
            && top.layer == layer
        {
            write_links(&mut self.entries, below.as_ref(), top.value);
            let previous = self.keys.get(top.key_start..).unwrap_or_default();
            let prefix = common_prefix(previous, key);
            write_key(&mut self.entries, key, prefix);
            self.keys.truncate(top.key_start.saturating_add(prefix));
            self.keys.extend_from_slice(key.get(prefix..).unwrap_or_default());
            top.count = top.count.saturating_add(1);
            top.value = value;
        } else {
            self.stack.push(Open {
                layer,
                start: self.entries.position(),
                key_start: self.keys.len(),
                count: 1,
                left: below,
                value,
            });
            self.entries.raw(&[0; HEAD_MAX]);
            write_key(&mut self.entries, key, 0);
            self.keys.extend_from_slice(key);
        }
    }

    /// Adds a subtree after all that was added, of which only the root is known.
    pub(crate) fn subtree(&mut self, digest: &[u8; 32], layer: u32) {
        if self.partial.is_some() {
            return;
        }
        if self.loose.is_some() || self.stack.last().is_some_and(|top| top.layer <= layer) {
            self.partial = Some(TORN);
        }
        self.loose = Some(Subtree { digest: *digest, layer });
    }

    /// Gives up, unless something else made it give up before.
    pub(crate) fn give_up(&mut self, why: Invalid) {
        self.partial.get_or_insert(why);
    }

    /// The root of the tree, or why the proof does not suffice.
    pub(crate) fn finish(mut self, steps: &mut Steps) -> Result<[u8; 32], Invalid> {
        if let Some(why) = self.partial {
            return Err(why);
        }
        while let Some(open) = self.stack.pop() {
            self.close(&open, steps);
        }
        // A single absent subtree is the root itself: the nodes above it went with their keys.
        Ok(self.loose.map_or(EMPTY_TREE.0, |subtree| subtree.digest))
    }

    /// Finishes the node that was on top of the stack; what hangs loose becomes its last subtree.
    fn close(&mut self, open: &Open<'v>, steps: &mut Steps) {
        let below = self.loose.take();
        let below = below.map(|subtree| subtree.lifted_to(open.layer.saturating_sub(1), steps));
        write_links(&mut self.entries, below.as_ref(), open.value);
        self.entries.text("l");
        match &open.left {
            Some(left) => self.entries.block_link(left),
            None => self.entries.null(),
        };
        let node = self.entries.with_head(open.start, HEAD_MAX, b"\xa2\x61e", open.count);
        steps.spend(node.len());
        self.loose = Some(Subtree { digest: sha256(node), layer: open.layer });
        self.entries.truncate(open.start);
        self.keys.truncate(open.key_start);
    }
}

impl Subtree {
    /// Its root after wrapping it in entry-less nodes up to `layer` (MST-4).
    fn lifted_to(self, layer: u32, steps: &mut Steps) -> [u8; 32] {
        (self.layer..layer).fold(self.digest, |digest, _| {
            steps.spend(0);
            let mut node = [0; WRAPPER.len() + 32];
            if let Some((head, link)) = node.split_first_chunk_mut() {
                *head = *WRAPPER;
                link.copy_from_slice(&digest);
            }
            sha256(&node)
        })
    }
}

fn write_key(out: &mut Writer, key: &[u8], prefix: usize) {
    let suffix = key.get(prefix..).unwrap_or_default();
    out.raw(b"\xa4\x61k").bytes(suffix);
    out.raw(b"\x61p").uint(u64::try_from(prefix).unwrap_or(u64::MAX));
}

/// Writes the rest of an entry: the subtree behind its key, and its value.
fn write_links(out: &mut Writer, right: Option<&[u8; 32]>, value: &[u8; 32]) {
    match right {
        Some(right) => {
            out.raw(b"\x61t\xd8\x2a\x58\x25\x00\x01\x71\x12\x20").raw(right);
            out.raw(b"\x61v\xd8\x2a\x58\x25\x00\x01\x71\x12\x20").raw(value);
        }
        None => {
            out.raw(b"\x61t\xf6\x61v\xd8\x2a\x58\x25\x00\x01\x71\x12\x20").raw(value);
        }
    }
}

/// How many bytes two keys share at their start. Keys of one collection share most of theirs, so
/// this goes eight bytes at a time.
pub(super) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let shorter = left.len().min(right.len());
    let ((left_words, _), (right_words, _)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    let words = left_words.iter().zip(right_words).position(|(a, b)| a != b);
    let start = words.unwrap_or(shorter / 8).saturating_mul(8);
    let left_end = left.get(start..).unwrap_or_default();
    let right_end = right.get(start..).unwrap_or_default();
    let end = left_end.iter().zip(right_end).position(|(a, b)| a != b);
    end.map_or(shorter, |end| start.saturating_add(end))
}
