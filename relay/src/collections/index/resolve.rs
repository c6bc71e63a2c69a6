//! From changes to rows: what a batch means against what is there.
//!
//! A proven pair that is known as proven costs a look into a table of the pairs that were proven last;
//! nearly all commits are of that kind. All others are looked up in the order of their keys.

use std::collections::{BTreeSet, HashMap};

use super::{
    Batch, Change, CollectionNo, IndexError, PairState, Whole,
    key::{self, BELIEVED, Kind, Marks, NONE, PROVEN},
    view::View,
};
use crate::domain::AccountNo;

/// A row that a batch changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// By collection.
    pub(super) key: u64,
    /// Its tag before.
    pub(super) old: u8,
    /// Its tag from now on; another than before.
    pub(super) new: u8,
}

/// One wish for a row.
#[derive(Debug, Clone, Copy)]
struct Wish {
    key: u64,
    /// Place within the batch.
    order: u32,
    tag: u8,
}

/// Pairs that were proven last, each in the one slot that its key permits.
#[derive(Debug)]
pub(super) struct Proven(Vec<u64>);

impl Proven {
    /// * `bytes` – of memory, at most
    pub(super) fn new(bytes: usize) -> Self {
        let slots = (bytes / 8).max(1);
        Self(vec![0; 1 << slots.ilog2()])
    }

    fn slot(&mut self, key: u64) -> Option<&mut u64> {
        // Neighbours differ in the low bits only; the multiplication carries them up.
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let slots = u64::try_from(self.0.len()).unwrap_or(1);
        let place = usize::try_from(mixed % slots.max(1)).unwrap_or_default();
        self.0.get_mut(place)
    }

    fn has(&mut self, key: u64) -> bool {
        self.slot(key).is_some_and(|slot| *slot == key)
    }

    fn forget(&mut self, key: u64) {
        if let Some(slot) = self.slot(key).filter(|slot| **slot == key) {
            *slot = 0;
        }
    }

    /// After a batch was applied.
    pub(super) fn learn(&mut self, key: u64) {
        if let Some(slot) = self.slot(key) {
            *slot = key;
        }
    }
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// By key, none twice.
    pub(super) rows: Vec<Row>,
    /// Pairs that are proven afterwards.
    pub(super) proven: Vec<u64>,
}

/// Works out the rows that a batch changes.
///
/// # Errors
/// [`IndexError::Limit`] for a number that no index gives out, [`IndexError::Damaged`].
pub(super) fn resolve(
    batch: &Batch,
    view: &View,
    marks: &Marks,
    proven: &mut Proven,
) -> Result<Resolved, IndexError> {
    let mut wishes = Wishes::new(view, marks, proven, batch);
    for change in &batch.changes {
        wishes.change(change)?;
    }
    let mut wishes = wishes.list;
    wishes.sort_unstable_by_key(|wish| (wish.key, wish.order));
    let mut resolved = Resolved::default();
    let mut prober = view.prober();
    for same in wishes.chunk_by(|one, other| one.key == other.key) {
        let Some(key) = same.first().map(|wish| wish.key) else { continue };
        let old = prober.tag(key)?;
        let is_pair = key::to_by_account(key).is_some();
        let new = same.iter().fold(old, |tag, wish| match wish.tag {
            BELIEVED if is_pair && tag != NONE => tag,
            new => new,
        });
        if new != old {
            resolved.rows.push(Row { key, old, new });
        }
        if is_pair && new == PROVEN {
            resolved.proven.push(key);
        }
    }
    Ok(resolved)
}

struct Wishes<'a> {
    view: &'a View,
    marks: &'a Marks,
    proven: &'a mut Proven,
    list: Vec<Wish>,
    /// Accounts that lose all their pairs somewhere in this batch, with those that they got in it.
    wiped: HashMap<u64, BTreeSet<u32>>,
    /// Marks that the batch has set so far.
    marked: HashMap<u64, Kind>,
}

impl<'a> Wishes<'a> {
    fn new(view: &'a View, marks: &'a Marks, proven: &'a mut Proven, batch: &Batch) -> Self {
        let wiped = batch.changes.iter().filter_map(|change| match change {
            Change::Replace { account, .. } | Change::Mark { account, whole: Whole::Gone } => {
                Some((account.0, BTreeSet::new()))
            }
            _ => None,
        });
        Self {
            view,
            marks,
            proven,
            list: Vec::with_capacity(batch.changes.len()),
            wiped: wiped.collect(),
            marked: HashMap::new(),
        }
    }

    fn change(&mut self, change: &Change) -> Result<(), IndexError> {
        match change {
            Change::Present { account, collection, state } => {
                let (account, collection) = (known(*account)?, number(*collection)?);
                self.present(account, collection, *state);
            }
            Change::Absent { account, collection } => {
                let (account, collection) = (known(*account)?, number(*collection)?);
                self.wish(key::by_collection(collection, account), NONE);
            }
            Change::Replace { account, collections } => {
                let account = known(*account)?;
                self.wipe(account)?;
                for collection in collections {
                    self.present(account, number(*collection)?, PairState::Proven);
                }
                self.mark(account, Whole::Complete);
            }
            Change::Doubt { account, doubt } => {
                let account = known(*account)?;
                if self.kind(account) == Kind::Unmarked {
                    self.mark(account, Whole::Unsure(*doubt));
                }
            }
            Change::Mark { account, whole } => {
                let account = known(*account)?;
                if *whole == Whole::Gone {
                    self.wipe(account)?;
                }
                self.mark(account, *whole);
            }
        }
        Ok(())
    }

    fn wish(&mut self, key: u64, tag: u8) {
        if tag == NONE {
            self.proven.forget(key);
        }
        let order = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(Wish { key, order, tag });
    }

    fn kind(&self, account: u64) -> Kind {
        self.marked.get(&account).copied().unwrap_or_else(|| self.marks.get(account))
    }

    fn present(&mut self, account: u64, collection: u32, state: PairState) {
        if state == PairState::Believed && self.kind(account).is_settled() {
            return;
        }
        if let Some(got) = self.wiped.get_mut(&account) {
            got.insert(collection);
        }
        let key = key::by_collection(collection, account);
        if state == PairState::Proven && self.proven.has(key) {
            return;
        }
        self.wish(key, key::tag(state));
    }

    /// Removes all pairs that the account has or got in this batch.
    fn wipe(&mut self, account: u64) -> Result<(), IndexError> {
        let mut all: Vec<u32> =
            self.view.collections(account)?.into_iter().map(|(c, _)| c).collect();
        all.extend(self.wiped.get(&account).into_iter().flatten());
        for collection in all {
            self.wish(key::by_collection(collection, account), NONE);
        }
        Ok(())
    }

    fn mark(&mut self, account: u64, whole: Whole) {
        let (before, after) = (self.kind(account), Kind::of(whole));
        if before != after
            && let Some(row) = before.row()
        {
            self.wish(key::by_collection(row, account), NONE);
        }
        let tag = if let Whole::Unsure(doubt) = whole { key::doubt_tag(doubt) } else { PROVEN };
        // A settled mark has nothing to say but that it is there.
        if let Some(row) = after.row().filter(|_| before != after || after == Kind::Unsure) {
            self.wish(key::by_collection(row, account), tag);
        }
        self.marked.insert(account, after);
    }
}

fn known(account: AccountNo) -> Result<u64, IndexError> {
    key::account(account).ok_or_else(|| {
        IndexError::Limit(format!(
            "account number {account} is too large for the index of collections"
        ))
    })
}

fn number(collection: CollectionNo) -> Result<u32, IndexError> {
    key::collection(collection).ok_or_else(|| {
        let number = collection.0;
        IndexError::Limit(format!("collection number {number} is none of the index of collections"))
    })
}
