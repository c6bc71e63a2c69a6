//! Accounts that this relay took down: what they wrote before is not replayed (ACC-12).

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;

use crate::domain::{AccountNo, EventKind};

/// The accounts that were taken down here; cheap to clone.
///
/// Shards write it, every consumer asks it for every event, so the usual case, that nobody is taken
/// down, costs one load. One number per decision of an operator.
#[derive(Debug, Clone, Default)]
pub struct Hidden {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Length of `numbers`.
    count: AtomicUsize,
    numbers: RwLock<HashSet<AccountNo>>,
    /// Raised by each change.
    version: AtomicU64,
}

impl Hidden {
    /// Those that the store knows of.
    pub fn of(numbers: impl IntoIterator<Item = AccountNo>) -> Self {
        let numbers: HashSet<_> = numbers.into_iter().collect();
        let count = AtomicUsize::new(numbers.len());
        Self {
            inner: Arc::new(Inner {
                count,
                numbers: RwLock::new(numbers),
                version: AtomicU64::new(0),
            }),
        }
    }

    /// Hides an account, or shows it again.
    pub fn set(&self, account: AccountNo, is_hidden: bool) {
        let mut numbers = self.inner.numbers.write();
        if is_hidden {
            numbers.insert(account);
        } else {
            numbers.remove(&account);
        }
        self.inner.count.store(numbers.len(), Ordering::Relaxed);
        self.inner.version.fetch_add(1, Ordering::Release);
    }

    /// Another one after each change: what was chosen by [`Self::hides`] since it was read holds as
    /// long as it stays.
    pub fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    /// Whether consumers do not get this event. Identity and status go out all the same (ROLE-6).
    pub fn hides(&self, account: AccountNo, kind: EventKind) -> bool {
        matches!(kind, EventKind::Commit | EventKind::Sync)
            && self.inner.count.load(Ordering::Relaxed) > 0
            && self.inner.numbers.read().contains(&account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ACC-12, ROLE-6: content of a hidden account is held back, and of no other.
    #[test]
    fn only_commits_and_syncs_of_hidden_accounts_are_held_back() {
        let hidden = Hidden::of([AccountNo(1)]);
        for (account, kind, is_hidden) in [
            (1, EventKind::Commit, true),
            (1, EventKind::Sync, true),
            (1, EventKind::Identity, false),
            (1, EventKind::Account, false),
            (2, EventKind::Commit, false),
        ] {
            assert_eq!(hidden.hides(AccountNo(account), kind), is_hidden, "{account} {kind:?}");
        }
        hidden.set(AccountNo(2), true);
        hidden.set(AccountNo(1), false);
        assert!(!hidden.hides(AccountNo(1), EventKind::Commit));
        assert!(hidden.clone().hides(AccountNo(2), EventKind::Commit));
        hidden.set(AccountNo(2), false);
        assert!(!hidden.hides(AccountNo(2), EventKind::Commit));
    }
}
