//! What the store keeps of a host, and how a decision gets there and back.

use std::sync::atomic::Ordering;

use super::{
    host::Host,
    limits::{self, Grounds, Limits, Trust, pattern_covers},
};
use crate::{
    domain::{AccountLimits, HostChange, HostId, OwnLimits, Strictness},
    store::HostRow,
};

/// What was decided about a host, other than its status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) account_limit: u64,
    pub(super) own_limits: OwnLimits,
    pub(super) growth: u64,
    pub(super) strictness: Strictness,
    pub(super) silenced_until_ms: u64,
    by_request: bool,
    /// Changes that are in the store.
    changes: u64,
}

impl Rules {
    pub(super) fn of(row: &HostRow) -> Self {
        Self {
            account_limit: row.account_limit,
            own_limits: row.own_limits,
            growth: row.growth,
            strictness: row.strictness,
            silenced_until_ms: row.silenced_until_ms,
            by_request: row.by_request,
            changes: row.changes,
        }
    }
}

/// A row on its way to the store, and the changes that go with it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) row: HostRow,
    /// Those that are not in the store yet, oldest first.
    pub(super) changes: Vec<HostChange>,
}

impl Draft {
    /// The changes with their numbers; the row is brought up to the last.
    pub(super) fn numbered(&mut self) -> Vec<(HostId, u64, HostChange)> {
        let (id, first) = (self.row.id, self.row.changes + 1);
        let numbered: Vec<_> = (first..)
            .zip(&self.changes)
            .map(|(number, change)| (id, number, change.clone()))
            .collect();
        self.row.changes += numbered.len() as u64;
        numbered
    }
}

impl Host {
    /// What it may do now (HOST-6, HOST-7, HOST-8).
    pub fn limits(&self) -> Limits {
        let rules = *self.rules.lock();
        Limits::of(Grounds {
            account_limit: rules.account_limit,
            own: rules.own_limits,
            trust: self.trust(),
            growth: rules.growth,
        })
    }

    /// Whether its domain is one of those that are trusted now (HOST-6).
    pub fn is_trusted(&self) -> bool {
        self.trust() == Trust::Trusted
    }

    fn trust(&self) -> Trust {
        if self.is_source() {
            return Trust::Trusted;
        }
        let name = self.hostname.as_str();
        let trusted = self.shared.trusted.read();
        if trusted.iter().any(|pattern| pattern_covers(pattern, name)) {
            return Trust::Trusted;
        }
        if name.starts_with("localhost:") || name.rsplit('.').next() == Some("test") {
            return Trust::Development;
        }
        Trust::Stranger
    }

    /// What one account may send at this host, with so many of them.
    pub(super) fn of_account(&self, set: AccountLimits, accounts: u64) -> AccountLimits {
        limits::of_account(set, self.trust(), self.limits(), accounts)
    }

    /// Accounts this host may have (HOST-7).
    pub fn account_limit(&self) -> u64 {
        self.limits().accounts
    }

    /// The row as it is now, and the changes that wait. The caller writes it, or gives it back.
    pub(super) fn draft(&self) -> Draft {
        let row = self.row();
        let changes = self.life.lock().changes.drain(..).collect();
        Draft { row, changes }
    }

    /// The draft was not written.
    pub(super) fn give_back(&self, changes: Vec<HostChange>) {
        let mut life = self.life.lock();
        for change in changes.into_iter().rev() {
            life.changes.push_front(change);
        }
        drop(life);
        self.set_dirty();
    }

    /// The draft was written.
    pub(super) fn wrote(&self, row: &HostRow) {
        self.rules.lock().changes = row.changes;
    }

    /// Takes over what a command changed; what it left alone may have changed meanwhile.
    pub(super) fn take_over(&self, before: &HostRow, after: &HostRow) {
        let mut rules = self.rules.lock();
        rules.account_limit = after.account_limit;
        rules.own_limits = after.own_limits;
        rules.growth = after.growth;
        rules.strictness = after.strictness;
        rules.silenced_until_ms = after.silenced_until_ms;
        rules.by_request = after.by_request;
        drop(rules);
        self.review_accounts();
        if before.strictness != after.strictness {
            let leniency = &self.shared.leniency;
            let until_ms = leniency.spared_until(self.hostname.as_str(), after.strictness);
            self.spared_until_ms.store(until_ms, Ordering::Relaxed);
        }
        if before.status != after.status {
            let mut life = self.life.lock();
            life.status = after.status;
            life.status_since_ms = after.status_since_ms;
            life.status_reason.clone_from(&after.status_reason);
        }
        if before.epoch != after.epoch {
            self.begin_epoch(after.epoch, after.cursor_reset_ms);
        }
    }

    pub(super) fn row(&self) -> HostRow {
        let window = self.window.lock();
        let (epoch, cursor) = (window.epoch, window.low_water.mark());
        drop(window);
        let rules = *self.rules.lock();
        let life = self.life.lock();
        HostRow {
            id: self.id,
            hostname: self.hostname.as_str().to_owned(),
            secure: self.hostname.is_secure(),
            status: life.status,
            epoch,
            cursor,
            account_count: self.account_count(),
            account_limit: rules.account_limit,
            first_seen_ms: self.first_seen_ms,
            ever_connected: life.ever_connected,
            last_error: life.last_error.clone(),
            clean_commits: self.clean_commits.load(Ordering::Relaxed),
            strict_for_good: self.strict_for_good.load(Ordering::Relaxed),
            cursor_reset_ms: life.cursor_reset_ms,
            own_limits: rules.own_limits,
            growth: rules.growth,
            strictness: rules.strictness,
            silenced_until_ms: rules.silenced_until_ms,
            status_reason: life.status_reason.clone(),
            status_since_ms: life.status_since_ms,
            by_request: rules.by_request,
            changes: rules.changes,
        }
    }
}
