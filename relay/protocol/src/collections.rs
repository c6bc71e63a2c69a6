//! What the proof of a commit shows of the account's collections.
//!
//! The keys of a collection stand side by side in the tree. So a key that is there proves its
//! collection, and a deleted key whose two neighbours lie in other collections was the last of its
//! own. Both neighbours are always in a proof that suffices for undoing: putting a key back needs the
//! whole gap between them, down to where it is empty. The neighbours are those of the new tree, hence
//! keys that the same commit creates count and keys that it deletes do not.

use crate::syntax::is_nsid;

/// Told of everything that the walk over the new tree meets, in key order.
pub(crate) trait Witness<'m> {
    /// The root is there, or is known to hold nothing: the walk begins.
    fn begin(&mut self);
    /// A key of the new tree.
    fn key(&mut self, key: &[u8]);
    /// A part of the new tree that the message does not hold.
    fn hidden(&mut self);
    /// A deleted key between the key before and the one to come, with nothing hidden between them
    /// unless the undoing gives up.
    fn deleted(&mut self, path: &'m str);
}

/// Learns nothing, and costs nothing.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Witness<'_> for Nobody {
    fn begin(&mut self) {}
    fn key(&mut self, _: &[u8]) {}
    fn hidden(&mut self) {}
    fn deleted(&mut self, _: &str) {}
}

/// Collections of an account after a commit, as far as its proof shows them.
///
/// Of every collection that an operation names it is known whether it is there. Keys outside of
/// any collection are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collections<'m> {
    /// Names of those that are there, each with a slash behind it.
    present: Vec<u8>,
    /// Where the last one begins while the last key lies in it, else the end.
    last: usize,
    absent: Vec<&'m str>,
    /// Whether a walk has begun that met nothing hidden.
    whole: bool,
}

impl<'m> Collections<'m> {
    /// Those that have a record, each once, in key order.
    pub fn present(&self) -> impl Iterator<Item = &str> {
        let names = self.present.split(|byte| *byte == b'/');
        // Nothing but names was put there; behind the last slash there is nothing.
        names.filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| !name.is_empty())
    }

    /// Those whose last record the commit deleted, each once, in key order.
    pub fn absent(&self) -> impl Iterator<Item = &'m str> {
        self.absent.iter().copied()
    }

    /// Whether nothing of the tree was hidden: then the account has those that are present and no
    /// others.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// The last one, with its slash; empty when the last key lies in none.
    fn last(&self) -> &[u8] {
        self.present.get(self.last..).unwrap_or_default()
    }
}

impl<'m> Witness<'m> for Collections<'m> {
    fn begin(&mut self) {
        self.whole = true;
        self.present.reserve(128);
    }

    fn key(&mut self, key: &[u8]) {
        let last = self.last();
        if !last.is_empty() && key.starts_with(last) {
            return;
        }
        self.last = self.present.len();
        let Some(name) = collection(key) else { return };
        // The name of a key deleted just before: of its collection this key is left.
        self.absent.pop_if(|gone| *gone == name);
        self.present.extend_from_slice(name.as_bytes());
        self.present.push(b'/');
    }

    fn hidden(&mut self) {
        self.whole = false;
    }

    fn deleted(&mut self, path: &'m str) {
        if !self.last().is_empty() && path.as_bytes().starts_with(self.last()) {
            return;
        }
        let Some(name) = collection(path.as_bytes()).and_then(|name| path.get(..name.len())) else {
            return;
        };
        if self.absent.last() != Some(&name) {
            self.absent.push(name);
        }
    }
}

/// The collection of a key, if it has one.
pub(crate) fn collection(key: &[u8]) -> Option<&str> {
    let end = key.iter().position(|byte| *byte == b'/')?;
    let name = std::str::from_utf8(key.get(..end)?).ok()?;
    is_nsid(name).then_some(name)
}
