//! The index in plain maps: what it has to answer, in the simplest words. Independent of the real one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    collections::index::{
        Batch, Change, CollectionCount, CollectionNo, Counts, Doubt, Index, IndexError, PairState,
        Whole,
    },
    domain::{AccountNo, Seq},
};

/// What has been applied so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Model {
    position: Option<Seq>,
    pairs: BTreeMap<(CollectionNo, AccountNo), PairState>,
    collections: BTreeSet<(AccountNo, CollectionNo)>,
    marks: BTreeMap<AccountNo, Whole>,
    progress: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
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
            Change::Doubt { account, doubt } => {
                if self.mark(*account) == Whole::Unmarked {
                    self.set_mark(*account, Whole::Unsure(*doubt));
                }
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

    pub(super) fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.change(change);
        }
        for (key, value) in &batch.progress {
            match value {
                Some(value) => self.progress.insert(key.clone(), value.clone()),
                None => self.progress.remove(key),
            };
        }
        self.position = batch.position.or(self.position);
    }

    fn count(&self, collection: CollectionNo) -> CollectionCount {
        let rows = (collection, AccountNo(0))..=(collection, AccountNo(u64::MAX));
        let mut count = CollectionCount::default();
        for (_, state) in self.pairs.range(rows) {
            match state {
                PairState::Proven => count.proven += 1,
                PairState::Believed => count.believed += 1,
            }
        }
        count
    }

    /// Asks the index all that it can be asked, and compares.
    ///
    /// * `accounts`, `collections` – all that batches may name
    pub(super) fn assert_equals(
        &self,
        index: &Index,
        accounts: &[AccountNo],
        collections: &[CollectionNo],
    ) -> Result<(), IndexError> {
        assert_eq!(index.position(), self.position);
        let notes: Vec<_> = self.progress.clone().into_iter().collect();
        assert_eq!(index.progresses(b"", None, usize::MAX), notes);
        let mut counts = Counts { collections: index.counts().collections, ..Counts::default() };
        for collection in collections {
            let wanted: Vec<_> = self
                .pairs
                .range((*collection, AccountNo(0))..=(*collection, AccountNo(u64::MAX)))
                .map(|((_, account), state)| (*account, *state))
                .collect();
            assert_eq!(paged(index, *collection)?, wanted, "{collection:?}");
            assert_eq!(index.count(*collection), self.count(*collection), "{collection:?}");
            counts.proven += self.count(*collection).proven;
            counts.believed += self.count(*collection).believed;
        }
        let mut unsure = Vec::new();
        for account in accounts {
            let pairs = self.of(*account).into_iter();
            let pairs = pairs.map(|collection| (collection, self.pairs[&(collection, *account)]));
            let wanted = (self.mark(*account), pairs.collect::<Vec<_>>());
            assert_eq!(index.of_account(*account)?, wanted, "account {account}");
            match wanted.0 {
                Whole::Complete => counts.complete += 1,
                Whole::Unsure(doubt) => {
                    let place = Doubt::ALL.iter().position(|one| *one == doubt).unwrap_or_default();
                    counts.doubts[place] += 1;
                    unsure.push((*account, doubt));
                }
                Whole::Gone => counts.gone += 1,
                Whole::Unmarked => {}
            }
        }
        counts.unsure += unsure.len() as u64;
        assert_eq!(index.unsure(None, usize::MAX)?, unsure);
        assert_eq!(index.counts(), counts);
        Ok(())
    }
}

/// All accounts of a collection, seven at a time.
fn paged(
    index: &Index,
    collection: CollectionNo,
) -> Result<Vec<(AccountNo, PairState)>, IndexError> {
    let mut all = Vec::new();
    loop {
        let page = index.page(collection, all.last().map(|(account, _)| *account), 7)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
