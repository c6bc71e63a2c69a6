//! The records of one repository: a selection of the common table, and what changed since.

use super::{
    population::mix,
    universe::{Key, Universe},
};

/// SHA-256 of a block.
pub(super) type Sha = [u8; 32];

/// A record as a tree sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) key: Key,
    pub(super) layer: u8,
    pub(super) value: Sha,
}

/// What an account held at the start; computed, never stored.
///
/// Record `k` of `count` lies somewhere in the k-th part of the table. Its CID names a block that
/// nobody ever saw: events only show CIDs of records that were there before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    universe: &'a Universe,
    mixed: u64,
    count: u32,
}

/// What changed since the start, sorted.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// Numbers of records of the [`Base`] that are gone.
    removed: Vec<u32>,
    added: Vec<Leaf>,
}

impl Changes {
    /// Memory behind it.
    pub(super) fn bytes(&self) -> usize {
        self.removed.capacity() * size_of::<u32>() + self.added.capacity() * size_of::<Leaf>()
    }
}

/// The records of a repository.
#[derive(Debug)]
pub(super) struct Leaves<'a> {
    pub(super) base: Base<'a>,
    pub(super) changes: &'a mut Changes,
}

fn wide(count: usize) -> u64 {
    count as u64
}

fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl<'a> Base<'a> {
    pub(super) fn new(universe: &'a Universe, mixed: u64, count: u32) -> Self {
        Self { universe, mixed, count }
    }

    fn place(&self, k: u32) -> usize {
        let (paths, count) = (wide(self.universe.len()), u64::from(self.count.max(1)));
        let begin = u64::from(k) * paths / count;
        let end = (u64::from(k) + 1) * paths / count;
        narrow(begin + mix(self.mixed ^ u64::from(k)) % (end - begin).max(1))
    }

    fn key(&self, k: u32) -> Key {
        self.universe.at(self.place(k)).0
    }

    fn leaf(&self, k: u32) -> Leaf {
        let (key, layer) = self.universe.at(self.place(k));
        let mut value = [0; 32];
        let mut number = mix(self.mixed.rotate_left(17) ^ u64::from(k));
        for part in value.chunks_exact_mut(8) {
            number = mix(number);
            part.copy_from_slice(&number.to_be_bytes());
        }
        Leaf { key, layer, value }
    }

    /// The first record at or after `key`.
    fn lower(&self, key: Key) -> u32 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl Leaves<'_> {
    /// Number of records.
    pub(super) fn len(&self) -> usize {
        narrow(u64::from(self.base.count)) + self.changes.added.len() - self.changes.removed.len()
    }

    fn is_removed(&self, k: u32) -> bool {
        self.changes.removed.binary_search(&k).is_ok()
    }

    fn added_at(&self, key: Key) -> Result<usize, usize> {
        self.changes.added.binary_search_by_key(&key, |leaf| leaf.key)
    }

    /// The number of a record of the base that is still there.
    fn in_base(&self, key: Key) -> Option<u32> {
        let k = self.base.lower(key);
        (k < self.base.count && self.base.key(k) == key && !self.is_removed(k)).then_some(k)
    }

    /// The value of a record.
    pub(super) fn get(&self, key: Key) -> Option<Sha> {
        match self.added_at(key) {
            Ok(at) => self.changes.added.get(at).map(|leaf| leaf.value),
            Err(_) => self.in_base(key).map(|k| self.base.leaf(k).value),
        }
    }

    /// Sets a record.
    pub(super) fn insert(&mut self, key: Key, value: Sha) {
        if let Some(k) = self.in_base(key) {
            self.remove_from_base(k);
        }
        let leaf = Leaf { key, layer: key.layer(), value };
        match self.added_at(key) {
            Ok(at) => {
                if let Some(old) = self.changes.added.get_mut(at) {
                    *old = leaf;
                }
            }
            Err(at) => {
                self.changes.added.reserve_exact(1);
                self.changes.added.insert(at, leaf);
            }
        }
    }

    /// Removes a record.
    pub(super) fn remove(&mut self, key: Key) {
        if let Ok(at) = self.added_at(key) {
            self.changes.added.remove(at);
        } else if let Some(k) = self.in_base(key) {
            self.remove_from_base(k);
        }
    }

    fn remove_from_base(&mut self, k: u32) {
        if let Err(at) = self.changes.removed.binary_search(&k) {
            self.changes.removed.reserve_exact(1);
            self.changes.removed.insert(at, k);
        }
    }

    /// The records next to a key, which itself need not be there.
    pub(super) fn neighbours(&self, key: Key) -> [Option<Key>; 2] {
        let at = self.changes.added.partition_point(|leaf| leaf.key < key);
        let added_before = at.checked_sub(1).and_then(|at| self.changes.added.get(at));
        let from = self.changes.added.partition_point(|leaf| leaf.key <= key);
        let added_after = self.changes.added.get(from);
        let k = self.base.lower(key);
        let base_before = (0..k).rev().find(|k| !self.is_removed(*k)).map(|k| self.base.key(k));
        let mut after = k..self.base.count;
        let base_after = after
            .find(|k| !self.is_removed(*k) && self.base.key(*k) != key)
            .map(|k| self.base.key(k));
        let before = added_before.map(|leaf| leaf.key).max(base_before);
        let after = [added_after.map(|leaf| leaf.key), base_after].into_iter().flatten().min();
        [before, after]
    }

    /// The records between two keys, without them, in order.
    pub(super) fn between(&self, low: Option<Key>, high: Option<Key>, into: &mut Vec<Leaf>) {
        into.clear();
        let inside =
            |key: Key| low.is_none_or(|low| low < key) && high.is_none_or(|high| key < high);
        let mut k = low.map_or(0, |low| self.base.lower(low));
        let from = low.map_or(0, |low| self.changes.added.partition_point(|leaf| leaf.key <= low));
        let added = self.changes.added.get(from..).unwrap_or_default();
        let mut added = added.iter().take_while(|leaf| inside(leaf.key)).peekable();
        let end = high.map_or(self.base.count, |high| self.base.lower(high));
        while k < end {
            if !self.is_removed(k) {
                let leaf = self.base.leaf(k);
                while let Some(other) = added.next_if(|other| other.key < leaf.key) {
                    into.push(*other);
                }
                if inside(leaf.key) {
                    into.push(leaf);
                }
            }
            k += 1;
        }
        into.extend(added);
    }

    /// Some record, chosen by a random number.
    pub(super) fn some(&self, random: u64) -> Option<Key> {
        let base = u64::from(self.base.count);
        let total = base + wide(self.changes.added.len());
        // Mostly the first attempt finds one: repositories do not shrink to less than half.
        (0..8).find_map(|attempt| {
            let at = mix(random ^ attempt) % total.max(1);
            match u32::try_from(at) {
                Ok(k) if at < base => (!self.is_removed(k)).then(|| self.base.key(k)),
                _ => self.changes.added.get(narrow(at - base)).map(|leaf| leaf.key),
            }
        })
    }
}
