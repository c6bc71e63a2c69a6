//! The accounts that one shard holds in memory (DESIGN 10.4, 10.5).
//!
//! A bounded LRU. Rows that no checkpoint has written yet are never forgotten; the shard stops taking
//! events before they could fill the table.

use std::{collections::BTreeMap, ops::Bound};

use lru::LruCache;
use relay_protocol::Did;

use super::commands::Copied;
use crate::{
    accounts::{counted_at, limits::Recent},
    domain::{Account, AccountLimits, AccountNo, HostId},
};

/// Rows that are looked at for one that may be forgotten, per new row. Unwritten ones among them go
/// back to the front.
const EVICTION_TRIES: usize = 8;

/// Nothing happened lately: for accounts without a [`Recent`] of their own.
static QUIET: Recent = Recent::new(true);
/// The same for an account first seen by this process.
static QUIET_AND_NEW: Recent = Recent::new(false);

/// One account in memory.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that hold apart, in four bytes")]
pub(super) struct Entry {
    /// The row.
    pub(super) account: Account,
    /// The identity in the row is not yet in a log record.
    pub(super) identity_unlogged: bool,
    /// A lookup is under way in the background.
    pub(super) refreshing: bool,
    /// First seen by this process.
    is_new: bool,
    /// Changed since the checkpoint that wrote it last.
    is_dirty: bool,
    /// Raised by each change, so that a checkpoint knows whether it holds the newest.
    version: u32,
    /// Only for the few accounts that announced or caused something.
    recent: Option<Box<Recent>>,
}

impl Entry {
    fn new(account: Account, is_new: bool) -> Self {
        Self {
            account,
            identity_unlogged: is_new,
            refreshing: false,
            is_new,
            is_dirty: false,
            version: 0,
            recent: None,
        }
    }

    /// What the account did lately.
    pub(super) fn recent(&self) -> &Recent {
        match (&self.recent, self.is_new) {
            (Some(recent), _) => recent,
            (None, true) => &QUIET_AND_NEW,
            (None, false) => &QUIET,
        }
    }

    /// Notes whether a commit followed the one before; gives whether too many did not (VAL-20).
    pub(super) fn note_commit(&mut self, broken: bool, limits: AccountLimits, now_ms: u64) -> bool {
        // Of an account without a record all commits followed.
        (broken || self.recent.is_some())
            && self.recent_mut().discontinuities.note(broken, limits, now_ms)
    }

    /// What it did lately, to write to.
    pub(super) fn recent_mut(&mut self) -> &mut Recent {
        let is_new = self.is_new;
        self.recent.get_or_insert_with(|| Box::new(Recent::new(!is_new)))
    }
}

/// All accounts of a shard that are in memory, and the changes to write.
#[derive(Debug)]
pub(super) struct Table {
    rows: LruCache<Did, Entry>,
    rows_max: usize,
    dirty: BTreeMap<AccountNo, Did>,
    /// Changes of live counts since the last written checkpoint.
    counts: BTreeMap<HostId, i64>,
    /// The copy that is being made for a checkpoint.
    copying: Option<Copying>,
    /// The copy that a checkpoint is writing.
    pending: Option<Pending>,
    /// The copy that was written and is being marked so.
    settling: Option<Pending>,
}

/// A copy of the unwritten rows in the making: in pieces, so that events need not wait for all of it.
#[derive(Debug)]
struct Copying {
    accounts: Vec<Account>,
    pending: Pending,
    /// Rows up to this number are in it.
    upto: AccountNo,
    /// Changes of live counts by rows that were copied before: the next checkpoint has them.
    later: BTreeMap<HostId, i64>,
}

#[derive(Debug)]
struct Pending {
    ticket: u64,
    rows: Vec<(AccountNo, u32)>,
    counts: Vec<(HostId, i64)>,
}

impl Table {
    /// An empty table that keeps at most about `rows_max` rows.
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            rows: LruCache::unbounded(),
            rows_max: rows_max.max(1),
            dirty: BTreeMap::new(),
            counts: BTreeMap::new(),
            copying: None,
            pending: None,
            settling: None,
        }
    }

    /// A row, which becomes the most recently used.
    pub(super) fn get(&mut self, did: &Did) -> Option<&mut Entry> {
        self.rows.get_mut(did)
    }

    /// A row, without a trace.
    pub(super) fn peek(&self, did: &Did) -> Option<&Entry> {
        self.rows.peek(did)
    }

    /// Keeps a row from the store; one that is already here is newer and stays.
    pub(super) fn loaded(&mut self, account: Account) {
        if self.rows.contains(&account.did) {
            return;
        }
        self.make_room();
        self.rows.put(account.did.clone(), Entry::new(account, false));
    }

    /// Keeps an account that is seen for the first time.
    pub(super) fn created(&mut self, account: Account) {
        self.make_room();
        let did = account.did.clone();
        if let Some(host) = counted_at(&account) {
            self.count(account.number, host, 1);
        }
        self.rows.put(did.clone(), Entry::new(account, true));
        self.changed(&did);
    }

    /// Changes a row; keeps the live counts of hosts right (ACC-8). Returns what `change` returns,
    /// and the host that lost and the one that got the account, if any did.
    pub(super) fn change<T>(
        &mut self,
        did: &Did,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> Option<(T, Moved)> {
        let entry = self.rows.get_mut(did)?;
        let before = counted_at(&entry.account);
        let result = change(entry);
        let (after, number) = (counted_at(&entry.account), entry.account.number);
        mark(entry, &mut self.dirty);
        let mut moved = Moved::default();
        if before != after {
            moved = Moved { from: before, to: after };
            if let Some(host) = before {
                self.count(number, host, -1);
            }
            if let Some(host) = after {
                self.count(number, host, 1);
            }
        }
        Some((result, moved))
    }

    fn changed(&mut self, did: &Did) {
        if let Some(entry) = self.rows.get_mut(did) {
            mark(entry, &mut self.dirty);
        }
    }

    /// Rows in memory.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that no checkpoint has written.
    pub(super) fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Whether unwritten rows leave no room for more.
    pub(super) fn is_full_of_changes(&self) -> bool {
        self.dirty.len() >= self.rows_max
    }

    /// Copies of unwritten rows above a number, in order.
    pub(super) fn dirty_after(&self, after: AccountNo, limit: usize) -> Vec<Account> {
        self.dirty
            .range((Bound::Excluded(after), Bound::Unbounded))
            .take(limit)
            .filter_map(|(_, did)| self.rows.peek(did))
            .map(|entry| entry.account.clone())
            .collect()
    }

    /// Copies of the unwritten rows among these.
    pub(super) fn dirty_among(&self, numbers: &[AccountNo]) -> Vec<Account> {
        let dids = numbers.iter().filter_map(|number| self.dirty.get(number));
        dids.filter_map(|did| self.rows.peek(did)).map(|entry| entry.account.clone()).collect()
    }

    /// Begins to copy the unwritten rows and count changes, for the checkpoint with this ticket.
    pub(super) fn begin_copy(&mut self, ticket: u64) {
        let rows = Vec::with_capacity(self.dirty.len());
        self.copying = Some(Copying {
            accounts: Vec::with_capacity(self.dirty.len()),
            pending: Pending { ticket, rows, counts: Vec::new() },
            upto: AccountNo(0),
            later: BTreeMap::new(),
        });
    }

    /// Copies so many more rows; gives all of them and the count changes once it has the last.
    ///
    /// A row may change between two pieces. One that is copied later holds the change and counts it;
    /// one that was copied before stays unwritten, and its count goes with it.
    pub(super) fn copy_some(&mut self, rows_max: usize) -> Option<Copied> {
        let copying = self.copying.as_mut()?;
        let rest = self.dirty.range((Bound::Excluded(copying.upto), Bound::Unbounded));
        for (at, (number, did)) in rest.enumerate() {
            if at == rows_max {
                return None;
            }
            copying.upto = *number;
            if let Some(entry) = self.rows.peek(did) {
                copying.accounts.push(entry.account.clone());
                copying.pending.rows.push((*number, entry.version));
            }
        }
        let Copying { accounts, mut pending, later, .. } = self.copying.take()?;
        let counts = self.counts.iter().map(|(host, delta)| {
            (*host, delta.saturating_sub(later.get(host).copied().unwrap_or(0)))
        });
        pending.counts = counts.filter(|(_, delta)| *delta != 0).collect();
        let counts = pending.counts.clone();
        self.pending = Some(pending);
        Some((accounts, counts))
    }

    /// The copy with this ticket was written; [`Self::settle_some`] marks its rows so.
    pub(super) fn checkpointed(&mut self, ticket: u64) {
        self.settling = self.pending.take_if(|pending| pending.ticket == ticket);
    }

    /// Marks so many more rows as written; gives whether these were the last. A row that changed since
    /// it was copied stays unwritten.
    pub(super) fn settle_some(&mut self, rows_max: usize) -> bool {
        let Some(settling) = &mut self.settling else { return true };
        let keep = settling.rows.len().saturating_sub(rows_max);
        for (number, version) in settling.rows.drain(keep..) {
            let Some(entry) = self.dirty.get(&number).and_then(|did| self.rows.peek_mut(did))
            else {
                continue;
            };
            if entry.version == version {
                entry.is_dirty = false;
                self.dirty.remove(&number);
            }
        }
        if !settling.rows.is_empty() {
            return false;
        }
        for (host, delta) in settling.counts.drain(..) {
            count(&mut self.counts, host, delta.saturating_neg());
        }
        self.counts.retain(|_, delta| *delta != 0);
        self.settling = None;
        true
    }

    /// Notes that an account with this number came to a host or left it.
    fn count(&mut self, number: AccountNo, host: HostId, delta: i64) {
        count(&mut self.counts, host, delta);
        if let Some(copying) = self.copying.as_mut().filter(|copying| number <= copying.upto) {
            count(&mut copying.later, host, delta);
        }
    }

    fn make_room(&mut self) {
        let mut tries = 0;
        while self.rows.len() >= self.rows_max && tries < EVICTION_TRIES {
            tries += 1;
            let Some((did, entry)) = self.rows.pop_lru() else { return };
            if entry.is_dirty {
                self.rows.put(did, entry);
            }
        }
    }
}

/// Where a live account was counted before and after a change, when that differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Has one less.
    pub(super) from: Option<HostId>,
    /// Has one more.
    pub(super) to: Option<HostId>,
}

fn mark(entry: &mut Entry, dirty: &mut BTreeMap<AccountNo, Did>) {
    entry.version = entry.version.wrapping_add(1);
    if !entry.is_dirty {
        entry.is_dirty = true;
        dirty.insert(entry.account.number, entry.account.did.clone());
    }
}

fn count(counts: &mut BTreeMap<HostId, i64>, host: HostId, delta: i64) {
    let total = counts.entry(host).or_insert(0);
    *total = total.saturating_add(delta);
}

#[cfg(test)]
mod tests;
