//! Rules about single accounts that need no shard: numbers, live counts, limits, status probes (ACC-*).
//!
//! Owns the counter of account numbers and the gates of status probes; both are bounded by what is
//! known (one counter, one gate per host).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::domain::{Account, AccountNo, HostId, UpstreamStatus};

pub mod hidden;
pub mod levels;
pub mod limits;
pub mod probe;

/// Stands in [`Account::host`] when no host that we know has authority over the account: its DID
/// document names a host that was never admitted, names none, or the DID is tombstoned.
pub const NO_HOST: HostId = HostId::RELAY;

/// The host in whose count of live accounts this account appears, if any (HOST-10, ACC-8).
pub fn counted_at(account: &Account) -> Option<HostId> {
    (account.host != NO_HOST && account.upstream != UpstreamStatus::Deleted).then_some(account.host)
}

/// Gives account numbers in order of first sight; cheap to clone.
#[derive(Debug, Clone)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    /// Goes on after `last`.
    pub fn after(last: AccountNo) -> Self {
        Self(Arc::new(AtomicU64::new(last.0)))
    }

    /// A number that nobody else gets.
    pub fn next(&self) -> AccountNo {
        AccountNo(self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN 10.4: numbers go on where the last run ended.
    #[test]
    fn account_numbers_continue_after_the_last_one() {
        let numbers = Numbers::after(AccountNo(41));
        assert_eq!(numbers.next(), AccountNo(42));
        assert_eq!(numbers.clone().next(), AccountNo(43));
    }
}
