//! What a simulated network is made of, and what happens in it.

use crate::COMMIT_FAULTS;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What happens on the network; everything else follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Seed of everything that is chosen at random.
    pub seed: u64,
    /// Number of hosts; accounts are spread evenly over them.
    pub hosts: u32,
    /// Number of accounts.
    pub accounts: u32,
    /// Median records of a repository at the start; the mean is about 2.5 times as high.
    pub records: u32,
    /// Whether every account makes one commit before anything else.
    pub introduce: bool,
    /// Events after the introductions.
    pub events: u64,
    /// Of 1,000 events, how many are `#sync`, `#identity` or `#account`; at most one per account.
    pub announcements_per_mille: u32,
    /// Of 1,000 events, how many are commits with each one of [`COMMIT_FAULTS`].
    pub each_fault_per_mille: u32,
    /// Of 1,000 events, how many are sent by another host than the account's.
    pub foreign_per_mille: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            hosts: 3_000,
            accounts: 500_000,
            records: 20,
            introduce: true,
            events: 600_000,
            announcements_per_mille: 10,
            each_fault_per_mille: 0,
            foreign_per_mille: 0,
        }
    }
}

impl Plan {
    /// Number of all events.
    pub fn total(&self) -> u64 {
        self.events + if self.introduce { u64::from(self.accounts) } else { 0 }
    }

    /// Whether it can be carried out.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<()> {
        ensure!(self.hosts > 0 && self.accounts > 0, "a network needs hosts and accounts");
        let faults = self.each_fault_per_mille.saturating_mul(u32::try_from(COMMIT_FAULTS.len())?);
        let all = faults
            .saturating_add(self.announcements_per_mille)
            .saturating_add(self.foreign_per_mille);
        ensure!(all <= 1_000, "{all} of 1,000 events are no honest commits");
        Ok(())
    }
}
