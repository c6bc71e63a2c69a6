//! What is small and must be queried: hosts, accounts, checkpoints, in SQLite or Postgres (DESIGN 5).
//!
//! One set of migrations and queries for both. No sqlx type leaves this room, and no rule lives in it.

use crate::domain::{Account, AccountNo, Epoch, HostId, HostSeq, HostStatus, LocalStatus, Seq};
use relay_protocol::Did;

/// A host as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    /// Number from first sight.
    pub id: HostId,
    /// `host` or `host:port`.
    pub hostname: String,
    /// Whether TLS is used.
    pub secure: bool,
    /// Status.
    pub status: HostStatus,
    /// How often the cursor was reset.
    pub epoch: Epoch,
    /// Low-water mark: everything at or below is durable or dropped (I2); `None` before the first.
    pub cursor: Option<HostSeq>,
    /// Live accounts (HOST-10), kept as deltas.
    pub account_count: u64,
    /// First seen, ms since 1970.
    pub first_seen_ms: u64,
    /// Ever connected (HOST-11).
    pub ever_connected: bool,
    /// Last error in words, at most 500 characters.
    pub last_error: Option<String>,
    /// Inductive commits in a row, for the ratchet (DESIGN 10.14).
    pub clean_commits: u64,
    /// Ratcheted for good.
    pub strict_for_good: bool,
    /// Last automatic cursor reset (UP-6), ms since 1970, 0 = never.
    pub cursor_reset_ms: u64,
}

/// What one checkpoint writes in one transaction (DESIGN 10.5).
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// Log position that the rows correspond to: replay starts after it.
    pub position: Seq,
    /// Dirty accounts.
    pub accounts: Vec<Account>,
    /// Moved low-water marks.
    pub cursors: Vec<(HostId, Epoch, HostSeq)>,
    /// Changes of live counts per host.
    pub count_deltas: Vec<(HostId, i64)>,
}

/// Why the store could not do it, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again later; health is degraded meanwhile.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A setting, a right or a version is wrong; a sentence with what to type.
    #[error("{0}")]
    Setup(String),
    /// The database holds something we never wrote.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

/// The open database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Connects (`sqlite://path`, `postgres://…`), creates and migrates.
    ///
    /// # Errors
    /// [`StoreError::Setup`] with the exact GRANT to type when a right is missing.
    pub async fn open(_url: &str, _connections_max: u32) -> Result<Self, StoreError> {
        todo!()
    }
    /// Random id shared with the event log (DESIGN 10.18); made at first open.
    pub async fn instance_id(&self) -> Result<String, StoreError> {
        todo!()
    }
    /// All hosts, oldest first.
    pub async fn hosts(&self) -> Result<Vec<HostRow>, StoreError> {
        todo!()
    }
    /// Inserts hosts that are not there yet (by hostname); gives all rows of these names.
    pub async fn add_hosts(
        &self,
        _hosts: &[(String, bool)],
        _now_ms: u64,
    ) -> Result<Vec<HostRow>, StoreError> {
        todo!()
    }
    /// Writes everything of these hosts but cursor and account count.
    pub async fn save_hosts(&self, _hosts: &[HostRow]) -> Result<(), StoreError> {
        todo!()
    }
    /// Writes low-water marks alone, every few seconds (UP-9). A lower mark of the same epoch never overwrites a higher one.
    pub async fn save_cursors(
        &self,
        _cursors: &[(HostId, Epoch, HostSeq)],
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// UP-6: new epoch, no cursor.
    pub async fn reset_cursor(&self, _host: HostId, _now_ms: u64) -> Result<Epoch, StoreError> {
        todo!()
    }
    /// The accounts of these DIDs that exist, in any order.
    pub async fn accounts(&self, _dids: &[Did]) -> Result<Vec<Account>, StoreError> {
        todo!()
    }
    /// Accounts with a higher number, in order of number.
    pub async fn accounts_after(
        &self,
        _after: AccountNo,
        _limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        todo!()
    }
    /// Highest number given so far.
    pub async fn last_account_number(&self) -> Result<AccountNo, StoreError> {
        todo!()
    }
    /// One transaction; all or nothing.
    pub async fn checkpoint(&self, _checkpoint: &Checkpoint) -> Result<(), StoreError> {
        todo!()
    }
    /// Position of the last checkpoint; `None` before the first.
    pub async fn last_checkpoint(&self) -> Result<Option<Seq>, StoreError> {
        todo!()
    }
    /// Durable at once: an operator's decision about an account.
    pub async fn set_local_status(
        &self,
        _did: &Did,
        _status: LocalStatus,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Answers when the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Waits for open transactions and closes.
    pub async fn close(&self) {
        todo!()
    }
}
