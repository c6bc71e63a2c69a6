//! What is small and must be queried: hosts, accounts, checkpoints, in SQLite or Postgres (DESIGN 5).
//!
//! Comes in: rows from `hosts`, `ingest` and checkpoints. Goes out: the same rows at the next
//! start. One set of migrations and one text per query serve both databases. No sqlx type leaves
//! this room, and no rule lives in it. Limits: connections as set, 500 rows per statement, memory
//! of one checkpoint. Invariants: I2 (a cursor never falls), I3 (a checkpoint is all or nothing).

mod accounts;
mod address;
mod audit;
mod claim;
mod db;
mod decisions;
mod discovery;
mod domain_bans;
mod held;
mod host_changes;
mod hosts;
mod indigo;
mod keywords;
mod meta;
mod numbering;
mod outbox;
mod policy;
mod session;
mod setup;
mod standing;
mod trouble;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use relay_protocol::Did;
use tokio::sync::Mutex;

pub use self::hosts::HostRow;
use self::{address::Address, db::Db};
pub use self::{
    audit::{AuditEntry, AuditFilter, Begun},
    discovery::{CandidateRow, PullRow, ScanWish, WalkRow},
    indigo::{Indigo, IndigoAccount, IndigoHost},
    keywords::keywords,
    outbox::Letter,
    policy::PolicyRow,
};
use crate::{
    crash::{self, Point},
    domain::{Account, AccountNo, Epoch, HostId, HostSeq, Seq, Standing},
};

/// Accounts a host may have unless the operator sets another limit, as the reference relay has it.
const ACCOUNT_LIMIT: u64 = 100;

/// The tables of a database beside those of this program (DESIGN 10.17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Version of the tables that are there; `None` before the first start.
    pub found: Option<i64>,
    /// The oldest version of the program that works with them.
    pub readable_from: Option<i64>,
    /// The version of this program; a start brings older tables to it.
    pub known: i64,
    /// The oldest version that works with the tables of this program.
    pub readable_from_known: i64,
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
    /// What tells it from others, for [`Store::last_mark`]; the caller makes it up.
    pub mark: u64,
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
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// Limit of accounts that a new host gets (HOST-7).
    account_limit: u64,
}

struct Shared {
    db: Db,
    /// Numbers of hosts are given one call at a time.
    adding_hosts: Mutex<()>,
    /// So are those of audit rows and letters.
    noting: Mutex<()>,
    /// What keeps other relays out of the database.
    claim: Mutex<Option<claim::Claim>>,
    /// Why the last checkpoint or the last marks were not written.
    refused: parking_lot::Mutex<Option<String>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pools know the password (I8).
        out.debug_struct("Store")
            .field("account_limit", &self.account_limit)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// What a start of this program would do to the tables of a database. Changes nothing, and a relay
    /// may run on it.
    ///
    /// # Errors
    /// As [`Self::open`], but for the tables themselves.
    pub async fn outlook(url: &str) -> Result<Outlook, StoreError> {
        setup::outlook(Address::parse(url)?).await
    }

    /// Connects, creates and migrates.
    ///
    /// * `url` – `sqlite://PATH`, `sqlite=PATH`, `postgres://…`, `postgresql://…`, `postgres=DSN`;
    ///   directories of a SQLite file are created
    /// * `connections_max` – of Postgres; SQLite has one writer and up to four readers
    ///
    /// # Errors
    /// [`StoreError::Setup`] when a setting or a right is wrong, with the exact GRANT to type when
    /// a right is missing, or when a newer relay wrote the tables; [`StoreError::Unavailable`] when
    /// the server cannot be reached. No message holds the password (I8).
    pub async fn open(url: &str, connections_max: u32) -> Result<Self, StoreError> {
        let db = Db::open(Address::parse(url)?, connections_max).await?;
        let prepared = match setup::migrate(&db).await {
            Ok(()) => meta::create_instance_id(&db).await,
            Err(error) => Err(error),
        };
        if let Err(error) = prepared {
            db.close().await;
            return Err(error);
        }
        let shared = Shared {
            db,
            adding_hosts: Mutex::default(),
            noting: Mutex::default(),
            claim: Mutex::default(),
            refused: parking_lot::Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), account_limit: ACCOUNT_LIMIT })
    }

    /// Claims the database for this process until [`Self::close`]; of Postgres it takes one more
    /// connection.
    ///
    /// * `place` – the data directory, by which a relay that was killed is known to be this one
    ///
    /// # Errors
    /// [`StoreError::Setup`] when another relay holds it for longer than one that was killed would.
    pub async fn claim(&self, place: &Path) -> Result<(), StoreError> {
        *self.shared.claim.lock().await = Some(claim::claim(self.db(), place).await?);
        Ok(())
    }

    /// Takes the claim again whenever it is lost with its connection. Returns when another relay has
    /// taken the database meanwhile: then this one must stop.
    pub async fn keep_claim(&self) -> StoreError {
        loop {
            let looked = match self.shared.claim.lock().await.as_mut() {
                Some(claim) => claim.look().await,
                None => Ok(Duration::MAX),
            };
            match looked {
                Ok(pause) => tokio::time::sleep(pause).await,
                Err(error) => return error,
            }
        }
    }

    /// Sets the limit of accounts that new hosts get (`RELAY_DEFAULT_ACCOUNT_LIMIT`); hosts that
    /// have a row keep theirs.
    #[must_use]
    pub fn with_account_limit(mut self, limit: u64) -> Self {
        self.account_limit = limit;
        self
    }

    fn db(&self) -> &Db {
        &self.shared.db
    }

    /// Random id shared with the event log (DESIGN 10.18); made at first open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn instance_id(&self) -> Result<String, StoreError> {
        meta::instance_id(self.db()).await
    }

    /// All hosts, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hosts(&self) -> Result<Vec<HostRow>, StoreError> {
        hosts::all(self.db()).await
    }

    /// Writes everything of these hosts but cursor and account count. The epoch never falls; a
    /// higher one takes the cursor away, which belonged to the older.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn save_hosts(&self, hosts: &[HostRow]) -> Result<(), StoreError> {
        self.save_hosts_with(hosts, &[]).await
    }

    /// Writes low-water marks alone, every few seconds (UP-9). A lower mark of the same epoch never
    /// overwrites a higher one, nor one of an older epoch any.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn save_cursors(
        &self,
        cursors: &[(HostId, Epoch, HostSeq)],
    ) -> Result<(), StoreError> {
        let written = async {
            let mut tx = self.db().begin().await?;
            hosts::raise_cursors(&mut tx, cursors).await?;
            tx.commit().await
        };
        self.note(written.await)
    }

    /// Why the last regular write failed, as long as none has succeeded since; a database that is only
    /// read may answer well.
    pub fn write_trouble(&self) -> Option<String> {
        self.shared.refused.lock().clone()
    }

    fn note(&self, written: Result<(), StoreError>) -> Result<(), StoreError> {
        *self.shared.refused.lock() = written.as_ref().err().map(ToString::to_string);
        written
    }

    /// The accounts of these DIDs that exist, in any order, with what was decided about them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self, dids: &[Did]) -> Result<Vec<Account>, StoreError> {
        accounts::by_did(self.db(), dids).await
    }

    /// Accounts with a higher number, in order of number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts_after(
        &self,
        after: AccountNo,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        accounts::after(self.db(), after, limit).await
    }

    /// The accounts of these numbers that have a row, in order of number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts_numbered(
        &self,
        numbers: &[AccountNo],
    ) -> Result<Vec<Account>, StoreError> {
        accounts::by_number(self.db(), numbers).await
    }

    /// The number of each of these DIDs, in their order; `None` for one that has no row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account_numbers(
        &self,
        dids: &[Did],
    ) -> Result<Vec<Option<AccountNo>>, StoreError> {
        numbering::of(self.db(), dids).await
    }

    /// What decides whether the accounts of these numbers are listed, of those that have a row, in order
    /// of number.
    ///
    /// * `numbers` – rising
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standings(&self, numbers: &[AccountNo]) -> Result<Vec<Standing>, StoreError> {
        standing::of(self.db(), numbers).await
    }

    /// Highest number given so far, 0 before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_account_number(&self) -> Result<AccountNo, StoreError> {
        accounts::last_number(self.db()).await
    }

    /// One transaction; all or nothing. Of an account written before, [`Account::local`] is not
    /// touched: decisions are written by [`Self::set_local_status`] alone, so that a row from
    /// before a decision cannot undo it.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.note(self.write_checkpoint(checkpoint).await)
    }

    async fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        accounts::upsert(&mut tx, &checkpoint.accounts).await?;
        hosts::raise_cursors(&mut tx, &checkpoint.cursors).await?;
        hosts::add_counts(&mut tx, &checkpoint.count_deltas).await?;
        meta::set_position(&mut tx, checkpoint.position, checkpoint.mark).await?;
        crash::at(Point::CheckpointBeforeCommit);
        tx.commit().await
    }

    /// Mark of the last checkpoint. When a connection is cut between a commit and its answer, this
    /// tells whether it was written, which counts must be added only once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_mark(&self) -> Result<Option<u64>, StoreError> {
        meta::mark(self.db()).await
    }

    /// Position of the last checkpoint; `None` before the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_checkpoint(&self) -> Result<Option<Seq>, StoreError> {
        meta::position(self.db()).await
    }

    /// The lowest seq to give out next, above all that a relay gave whose place this one took; 0 when
    /// it took none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seq_floor(&self) -> Result<Seq, StoreError> {
        meta::seq_floor(self.db()).await
    }

    /// Where the operations of the PLC directory were read to (RES-7); `None` = nowhere yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn directory_place(&self) -> Result<Option<String>, StoreError> {
        meta::directory_place(self.db()).await
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`StoreError`]; the former place stays.
    pub async fn set_directory_place(&self, place: Option<&str>) -> Result<(), StoreError> {
        meta::set_directory_place(self.db(), place.unwrap_or_default()).await
    }

    /// Raises it, durable at once; one that is higher stays.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn raise_seq_floor(&self, floor: Seq) -> Result<(), StoreError> {
        meta::raise_seq_floor(self.db(), floor).await
    }

    /// Writes accounts that have no row yet, and adds them to the counts of their hosts, in one
    /// transaction; for a relay that is stopped.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn take_accounts(
        &self,
        accounts: &[Account],
        counts: &[(HostId, i64)],
    ) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        accounts::upsert(&mut tx, accounts).await?;
        hosts::add_counts(&mut tx, counts).await?;
        tx.commit().await
    }

    /// How far lists of hosts of other relays were read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pulls(&self) -> Result<Vec<PullRow>, StoreError> {
        discovery::pulls(self.db()).await
    }

    /// Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn save_pull(&self, row: &PullRow) -> Result<(), StoreError> {
        discovery::save_pull(self.db(), row).await
    }

    /// Hosts that DID documents name and that are not known, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn candidates(&self) -> Result<Vec<CandidateRow>, StoreError> {
        discovery::candidates(self.db()).await
    }

    /// Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn save_candidates(&self, rows: &[CandidateRow]) -> Result<(), StoreError> {
        discovery::save_candidates(self.db(), rows).await
    }

    /// How far lists of accounts of hosts were read, in order of host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn walks(&self) -> Result<Vec<WalkRow>, StoreError> {
        discovery::walks(self.db()).await
    }

    /// Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn save_walk(&self, row: &WalkRow) -> Result<(), StoreError> {
        discovery::save_walk(self.db(), row).await
    }

    /// Answers when the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] after a few seconds without an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        meta::ping(self.db()).await
    }

    /// Waits for open transactions and closes.
    pub async fn close(&self) {
        self.db().close().await;
        // Last: the next relay may begin when this one writes no more.
        if let Some(claim) = self.shared.claim.lock().await.take() {
            claim.release().await;
        }
    }
}
