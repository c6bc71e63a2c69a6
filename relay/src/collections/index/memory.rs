//! The index in plain maps: what it has to answer, in the simplest words.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::Path,
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    Batch, Change, Collection, CollectionCount, CollectionNo, Counts, Doubt, IndexError, Options,
    PairState, Whole,
};
use crate::domain::{AccountNo, Seq};

#[derive(Debug, Default)]
struct Maps {
    position: Option<Seq>,
    names: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, CollectionNo>,
    pairs: BTreeMap<(CollectionNo, AccountNo), PairState>,
    collections: BTreeSet<(AccountNo, CollectionNo)>,
    marks: BTreeMap<AccountNo, Whole>,
    progress: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Maps {
    fn mark(&self, account: AccountNo) -> Whole {
        self.marks.get(&account).copied().unwrap_or_default()
    }

    fn set_mark(&mut self, account: AccountNo, whole: Whole) {
        if whole == Whole::Unmarked {
            self.marks.remove(&account);
        } else {
            self.marks.insert(account, whole);
        }
    }

    fn of(&self, account: AccountNo) -> Vec<CollectionNo> {
        let first = (account, CollectionNo(0));
        let all = self.collections.range(first..=(account, CollectionNo(u32::MAX)));
        all.map(|(_, collection)| *collection).collect()
    }

    fn set(&mut self, account: AccountNo, collection: CollectionNo, state: PairState) {
        self.pairs.insert((collection, account), state);
        self.collections.insert((account, collection));
    }

    fn clear(&mut self, account: AccountNo, collection: CollectionNo) {
        self.pairs.remove(&(collection, account));
        self.collections.remove(&(account, collection));
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Present { account, collection, state: PairState::Proven } => {
                self.set(*account, *collection, PairState::Proven);
            }
            Change::Present { account, collection, state: PairState::Believed } => {
                let is_known = matches!(self.mark(*account), Whole::Complete | Whole::Gone)
                    || self.pairs.contains_key(&(*collection, *account));
                if !is_known {
                    self.set(*account, *collection, PairState::Believed);
                }
            }
            Change::Absent { account, collection } => self.clear(*account, *collection),
            Change::Replace { account, collections } => {
                for collection in self.of(*account) {
                    self.clear(*account, collection);
                }
                for collection in collections {
                    self.set(*account, *collection, PairState::Proven);
                }
                self.set_mark(*account, Whole::Complete);
            }
            Change::Mark { account, whole } => {
                if *whole == Whole::Gone {
                    for collection in self.of(*account) {
                        self.clear(*account, collection);
                    }
                }
                self.set_mark(*account, *whole);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Memory(RwLock<Maps>);

#[expect(clippy::unnecessary_wraps, reason = "the calls of the index, which may fail on a disk")]
impl Memory {
    pub(super) fn open(_dir: &Path, _options: Options) -> Result<Self, IndexError> {
        Ok(Self::default())
    }

    pub(super) fn position(&self) -> Option<Seq> {
        self.0.read().position
    }

    pub(super) fn apply(&self, batch: &Batch) -> Result<(), IndexError> {
        let mut maps = self.0.write();
        for change in &batch.changes {
            maps.change(change);
        }
        for (key, value) in &batch.progress {
            match value {
                Some(value) => maps.progress.insert(key.clone(), value.clone()),
                None => maps.progress.remove(key),
            };
        }
        if batch.position.is_some() {
            maps.position = batch.position;
        }
        Ok(())
    }

    pub(super) fn number(&self, nsid: &str) -> Result<CollectionNo, IndexError> {
        let mut maps = self.0.write();
        if let Some(number) = maps.numbers.get(nsid) {
            return Ok(*number);
        }
        let number = u32::try_from(maps.names.len() + 1).map_err(|_overflow| {
            IndexError::Limit("the index knows too many collections".to_owned())
        })?;
        let name: Arc<str> = nsid.into();
        maps.names.push(Arc::clone(&name));
        maps.numbers.insert(name, CollectionNo(number));
        Ok(CollectionNo(number))
    }

    pub(super) fn find(&self, nsid: &str) -> Option<CollectionNo> {
        self.0.read().numbers.get(nsid).copied()
    }

    pub(super) fn nsid(&self, collection: CollectionNo) -> Option<Arc<str>> {
        let place = usize::try_from(collection.0).ok()?.checked_sub(1)?;
        self.0.read().names.get(place).cloned()
    }

    pub(super) fn page(
        &self,
        collection: CollectionNo,
        after: Option<AccountNo>,
        limit: usize,
    ) -> Result<Vec<(AccountNo, PairState)>, IndexError> {
        let maps = self.0.read();
        let first = after.map_or(Bound::Included((collection, AccountNo(0))), |after| {
            Bound::Excluded((collection, after))
        });
        let last = Bound::Included((collection, AccountNo(u64::MAX)));
        let rows = maps.pairs.range((first, last));
        Ok(rows.take(limit).map(|((_, account), state)| (*account, *state)).collect())
    }

    pub(super) fn of_account(
        &self,
        account: AccountNo,
    ) -> Result<(Whole, Vec<(CollectionNo, PairState)>), IndexError> {
        let maps = self.0.read();
        let state = |collection| maps.pairs.get(&(collection, account)).copied();
        let rows = maps.of(account).into_iter();
        let rows = rows.filter_map(|collection| Some((collection, state(collection)?)));
        Ok((maps.mark(account), rows.collect()))
    }

    pub(super) fn unsure(
        &self,
        after: Option<AccountNo>,
        limit: usize,
    ) -> Result<Vec<(AccountNo, Doubt)>, IndexError> {
        let maps = self.0.read();
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let unsure = maps.marks.range((first, Bound::Unbounded));
        let unsure = unsure.filter_map(|(account, whole)| match whole {
            Whole::Unsure(doubt) => Some((*account, *doubt)),
            _ => None,
        });
        Ok(unsure.take(limit).collect())
    }

    pub(super) fn counts(&self) -> Counts {
        let maps = self.0.read();
        let collections = u64::try_from(maps.names.len()).unwrap_or(u64::MAX);
        let mut counts = Counts { collections, ..Counts::default() };
        for state in maps.pairs.values() {
            match state {
                PairState::Proven => counts.proven += 1,
                PairState::Believed => counts.believed += 1,
            }
        }
        for whole in maps.marks.values() {
            match whole {
                Whole::Complete => counts.complete += 1,
                Whole::Unsure(_) => counts.unsure += 1,
                Whole::Gone => counts.gone += 1,
                Whole::Unmarked => {}
            }
        }
        counts
    }

    pub(super) fn count(&self, collection: CollectionNo) -> CollectionCount {
        let maps = self.0.read();
        let rows = (collection, AccountNo(0))..=(collection, AccountNo(u64::MAX));
        let mut count = CollectionCount::default();
        for (_, state) in maps.pairs.range(rows) {
            match state {
                PairState::Proven => count.proven += 1,
                PairState::Believed => count.believed += 1,
            }
        }
        count
    }

    pub(super) fn collections(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Collection> {
        let known: Vec<(Arc<str>, CollectionNo)> = {
            let maps = self.0.read();
            let first = after.map_or(Bound::Included(prefix), |after| {
                if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) }
            });
            let known = maps.numbers.range::<str, _>((first, Bound::Unbounded));
            let known = known.take_while(|(nsid, _)| nsid.starts_with(prefix)).take(limit);
            known.map(|(nsid, number)| (Arc::clone(nsid), *number)).collect()
        };
        let known = known.into_iter();
        known.map(|(nsid, number)| Collection { number, nsid, count: self.count(number) }).collect()
    }

    pub(super) fn progress(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.read().progress.get(key).cloned()
    }

    pub(super) fn progresses(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let maps = self.0.read();
        let first = after.map_or(Bound::Included(prefix), |after| {
            if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) }
        });
        let notes = maps.progress.range::<[u8], _>((first, Bound::Unbounded));
        let notes = notes.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        notes.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
