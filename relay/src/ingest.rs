//! Shards that own the state of their DIDs, judge each event, and hand it to the log (VAL-*, I2, I6).

use std::sync::Arc;

use bytes::Bytes;
use relay_protocol::Did;

use crate::{
    clock::Clock,
    domain::{Account, AccountNo, Epoch, EventKind, HostSeq},
    drops::Drops,
    eventlog::Appender,
    hosts::{Host, Hosts},
    identity::Identities,
    net::Net,
    store::Store,
    tasks::Tasks,
};

/// One frame of a host, its envelope read.
#[derive(Debug)]
pub struct Arrival {
    /// Host.
    pub host: Arc<Host>,
    /// Epoch when it was received.
    pub epoch: Epoch,
    /// Number at the host; [`Host::receive`] was called for it.
    pub host_seq: HostSeq,
    /// Kind.
    pub kind: EventKind,
    /// Account.
    pub did: Did,
    /// Whole frame.
    pub frame: Bytes,
}

/// What the shards are built from.
#[derive(Debug, Clone)]
pub struct IngestParts {
    /// Number of shards (default: one per core).
    pub shards: usize,
    /// `--dev`.
    pub dev: bool,
    /// Log.
    pub appender: Appender,
    /// Hosts.
    pub hosts: Hosts,
    /// Identities.
    pub identities: Identities,
    /// Store, for rows that are not in memory.
    pub store: Store,
    /// For status probes.
    pub net: Net,
    /// Reasons.
    pub drops: Arc<Drops>,
    /// Clock.
    pub clock: Clock,
    /// Accounts kept in memory over all shards (DESIGN 10.4).
    pub accounts_max: usize,
    /// Highest account number given so far.
    pub last_account: AccountNo,
    /// Set in `relay dev`: one line per verdict.
    pub verdicts: Option<tokio::sync::mpsc::Sender<VerdictLine>>,
}

/// What happened to one event, for a person (`relay dev`).
#[derive(Debug, Clone)]
pub struct VerdictLine {
    /// Host name.
    pub host: String,
    /// Number at the host.
    pub host_seq: HostSeq,
    /// Kind.
    pub kind: EventKind,
    /// Account.
    pub did: String,
    /// Rev if any.
    pub rev: Option<String>,
    /// `None` when it passed.
    pub dropped: Option<crate::domain::DropReason>,
    /// What was checked, or what differed, with CIDs.
    pub detail: String,
}

/// The shards; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {}

impl Ingest {
    /// Starts the shards.
    pub fn start(_parts: IngestParts, _tasks: &Tasks) -> Self {
        todo!()
    }
    /// Hands over one frame; waits while the host has no credit at the shard (64 frames or 2 MiB,
    /// DESIGN 10.6). An error means shutdown.
    pub async fn offer(&self, _arrival: Arrival) -> Result<(), Stopped> {
        todo!()
    }
    /// The account as its shard holds it now, or from the store.
    pub async fn account(&self, _did: &Did) -> Result<Option<Account>, crate::store::StoreError> {
        todo!()
    }
    /// Dirty accounts: all with a number above `after` (new ones and changed ones alike), to overlay
    /// pages of the store, in order of number.
    pub async fn dirty_after(&self, _after: AccountNo, _limit: usize) -> Vec<Account> {
        todo!()
    }
    /// Copies of all dirty rows and count deltas; they stay dirty until `checkpointed`. Everything
    /// in them has been appended before this returns.
    pub async fn snapshot(&self) -> Snapshot {
        todo!()
    }
    /// The snapshot with this ticket is in the store.
    pub async fn checkpointed(&self, _ticket: u64) {
        todo!()
    }
    /// Returns when nothing is queued or parked: for tests and shutdown.
    pub async fn settled(&self) {
        todo!()
    }
    /// Dirty rows now, to trigger an early checkpoint.
    pub fn dirty_count(&self) -> usize {
        todo!()
    }
}

/// What a checkpoint writes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// For `checkpointed`.
    pub ticket: u64,
    /// Dirty rows.
    pub accounts: Vec<Account>,
    /// Count deltas per host.
    pub count_deltas: Vec<(crate::domain::HostId, i64)>,
}

/// The shards have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// What one durable event says about its account: applied in order at start-up (I3).
///
/// * `account` – the row so far; `None` when the log is the first to name it
///
/// Returns the row after the event.
pub fn replay(_account: Option<Account>, _event: &crate::eventlog::Event) -> Option<Account> {
    todo!()
}
