//! The accounts that one shard holds in memory (DESIGN 10.4, 10.5).
//!
//! A bounded LRU. Rows that no checkpoint has written yet are never forgotten; the shard stops taking
//! events before they could fill the table.

use std::collections::BTreeMap;

use lru::LruCache;
use relay_protocol::Did;

use crate::{
    accounts::{counted_at, limits::Recent},
    domain::{Account, AccountNo, HostId},
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

    /// The same, to write to.
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
    /// The copy that a checkpoint is writing.
    pending: Option<Pending>,
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
            pending: None,
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
            count(&mut self.counts, host, 1);
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
        let after = counted_at(&entry.account);
        mark(entry, &mut self.dirty);
        let mut moved = Moved::default();
        if before != after {
            moved = Moved { from: before, to: after };
            if let Some(host) = before {
                count(&mut self.counts, host, -1);
            }
            if let Some(host) = after {
                count(&mut self.counts, host, 1);
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
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
            .take(limit)
            .filter_map(|(_, did)| self.rows.peek(did))
            .map(|entry| entry.account.clone())
            .collect()
    }

    /// Copies of all unwritten rows and count changes, for the checkpoint with this ticket.
    pub(super) fn snapshot(&mut self, ticket: u64) -> (Vec<Account>, Vec<(HostId, i64)>) {
        let mut accounts = Vec::with_capacity(self.dirty.len());
        let mut rows = Vec::with_capacity(self.dirty.len());
        for (number, did) in &self.dirty {
            if let Some(entry) = self.rows.peek(did) {
                accounts.push(entry.account.clone());
                rows.push((*number, entry.version));
            }
        }
        let counts: Vec<_> =
            self.counts.iter().filter(|(_, delta)| **delta != 0).map(|(h, d)| (*h, *d)).collect();
        self.pending = Some(Pending { ticket, rows, counts: counts.clone() });
        (accounts, counts)
    }

    /// The snapshot with this ticket was written. A row that changed since stays unwritten.
    pub(super) fn checkpointed(&mut self, ticket: u64) {
        let Some(pending) = self.pending.take_if(|pending| pending.ticket == ticket) else {
            return;
        };
        for (number, version) in pending.rows {
            let Some(entry) = self.dirty.get(&number).and_then(|did| self.rows.peek_mut(did))
            else {
                continue;
            };
            if entry.version == version {
                entry.is_dirty = false;
                self.dirty.remove(&number);
            }
        }
        for (host, delta) in pending.counts {
            count(&mut self.counts, host, delta.saturating_neg());
        }
        self.counts.retain(|_, delta| *delta != 0);
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
mod tests {
    use relay_protocol::VerifyingKey;

    use super::*;
    use crate::{
        domain::{LocalStatus, Seq, UpstreamStatus},
        ingest::keys::ACCOUNTS_PER_KEY,
    };

    fn account(number: u64) -> Account {
        Account {
            number: AccountNo(number),
            did: did(number),
            host: HostId(1),
            upstream: UpstreamStatus::Active,
            local: LocalStatus::None,
            repo: None,
            key: None,
            identity_checked_ms: 0,
            last: None,
            last_seq: Seq(0),
        }
    }

    fn did(number: u64) -> Did {
        Did::parse(&format!("did:web:a{number}.example.com")).expect("a valid DID")
    }

    /// DESIGN 10.4: 400 bytes per account in memory, with everything that belongs to it counted.
    #[test]
    fn an_account_in_memory_takes_at_most_400_bytes() {
        const POINTER: usize = size_of::<usize>();
        // A list node holds key, value and two pointers; the hash table a pair of pointers and a byte
        // for each of its places, of which up to half are free; an allocation its length.
        let listed = |pair: usize| pair + 2 * POINTER + (2 * POINTER + 1) * 8 / 7 * 2 + POINTER;
        let row = listed(size_of::<Did>() + size_of::<Entry>());
        // 32 characters and two counters, shared by row, key and dirty list.
        let text = 32 + 2 * POINTER + POINTER;
        let key = listed(34 + size_of::<VerifyingKey>()) / ACCOUNTS_PER_KEY;
        assert!(row + text + key <= 400, "{row} + {text} + {key}");
    }

    /// I5: the table stays at its limit, the least recently used go first.
    #[test]
    fn the_least_recently_used_row_is_forgotten_first() {
        let mut table = Table::new(3);
        for number in 1..=3 {
            table.loaded(account(number));
        }
        assert!(table.get(&did(1)).is_some());
        table.loaded(account(4));
        assert_eq!(table.len(), 3);
        assert!(table.peek(&did(2)).is_none());
        assert!(table.peek(&did(1)).is_some());
    }

    /// DESIGN 10.5: a row that no checkpoint has written is never forgotten.
    #[test]
    fn an_unwritten_row_is_not_forgotten() {
        let mut table = Table::new(2);
        table.created(account(1));
        for number in 2..=20 {
            table.loaded(account(number));
        }
        assert!(table.peek(&did(1)).is_some());
        table.snapshot(1);
        table.checkpointed(1);
        for number in 21..=30 {
            table.loaded(account(number));
        }
        assert!(table.peek(&did(1)).is_none());
    }

    /// DESIGN 10.5: a row that changes while the checkpoint writes stays unwritten.
    #[test]
    fn a_row_that_changed_after_the_snapshot_stays_dirty() {
        let mut table = Table::new(10);
        table.created(account(1));
        table.created(account(2));
        let (rows, counts) = table.snapshot(7);
        assert_eq!(rows.len(), 2);
        assert_eq!(counts, [(HostId(1), 2)]);
        table.change(&did(2), |entry| entry.account.upstream = UpstreamStatus::Deleted);
        table.checkpointed(6);
        assert_eq!(table.dirty_len(), 2, "another ticket writes nothing off");
        table.checkpointed(7);
        let rest: Vec<_> =
            table.dirty_after(AccountNo(0), 10).iter().map(|account| account.number.0).collect();
        assert_eq!(rest, [2]);
        assert_eq!(table.snapshot(8).1, [(HostId(1), -1)]);
    }

    /// A checkpoint that failed is not lost: the next snapshot holds everything again.
    #[test]
    fn a_failed_checkpoint_leaves_everything_dirty() {
        let mut table = Table::new(10);
        table.created(account(1));
        table.snapshot(1);
        let (rows, counts) = table.snapshot(2);
        assert_eq!((rows.len(), counts.as_slice()), (1, [(HostId(1), 1)].as_slice()));
        table.checkpointed(2);
        assert_eq!(table.snapshot(3), (Vec::new(), Vec::new()));
    }

    /// ACC-8: an account that leaves, is deleted or returns changes the counts of its hosts.
    #[test]
    fn live_counts_follow_the_account() {
        let mut table = Table::new(10);
        table.created(account(1));
        let mut step = |change: fn(&mut Account)| {
            table.change(&did(1), |entry| change(&mut entry.account)).map(|((), moved)| moved)
        };
        let moved = |from: Option<u32>, to: Option<u32>| {
            Some(Moved { from: from.map(HostId), to: to.map(HostId) })
        };
        assert_eq!(step(|account| account.host = HostId(2)), moved(Some(1), Some(2)));
        assert_eq!(
            step(|account| account.upstream = UpstreamStatus::Deactivated),
            moved(None, None)
        );
        assert_eq!(
            step(|account| account.upstream = UpstreamStatus::Deleted),
            moved(Some(2), None)
        );
        assert_eq!(step(|account| account.upstream = UpstreamStatus::Active), moved(None, Some(2)));
        assert_eq!(table.snapshot(1).1, [(HostId(2), 1)]);
    }

    /// The API pages over numbers (T23).
    #[test]
    fn dirty_rows_come_in_order_of_number_above_the_given_one() {
        let mut table = Table::new(10);
        for number in [5, 3, 9, 7] {
            table.created(account(number));
        }
        let page: Vec<_> =
            table.dirty_after(AccountNo(3), 2).iter().map(|account| account.number.0).collect();
        assert_eq!(page, [5, 7]);
    }
}
