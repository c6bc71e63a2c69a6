//! What others ask of a shard: reads, checkpoints, an operator's decisions (DESIGN 10.5, 10.13).

use std::sync::Arc;

use relay_protocol::{Did, DidDocument};
use tokio::sync::oneshot;

use crate::domain::{Account, AccountLimits, AccountNo, HostId, LocalStatus, UpstreamStatus};

/// A command to one shard; each carries where the answer goes.
#[derive(Debug)]
pub(super) enum Command {
    /// The row as it is in memory.
    Account(Did, oneshot::Sender<Option<Account>>),
    /// What it used of its limits.
    Usage(Did, oneshot::Sender<Option<AccountUsage>>),
    /// Unwritten rows above a number.
    DirtyAfter(AccountNo, usize, oneshot::Sender<Vec<Account>>),
    /// Unwritten rows among these.
    DirtyAmong(Arc<[AccountNo]>, oneshot::Sender<Vec<Account>>),
    /// Copies of all unwritten rows.
    Snapshot(u64, oneshot::Sender<Copied>),
    /// The snapshot with this ticket is in the store.
    Checkpointed(u64, oneshot::Sender<()>),
    /// Something about one account, in the order of its events.
    Order(Did, Order),
}

/// What one account used of its limits (HOST-12, VAL-20).
#[derive(Debug, Clone, Copy)]
pub struct AccountUsage {
    /// The limits.
    pub limits: AccountLimits,
    /// Events counted now against those of an hour and a day.
    pub used: [u64; 2],
    /// How many of its last hundred commits did not follow the one before.
    pub discontinuities: u32,
}

/// A shard's part of a snapshot.
pub(super) type Copied = (Vec<Account>, Vec<(HostId, i64)>);

/// A command about one account that waits its turn among the account's events.
#[derive(Debug)]
pub(super) enum Order {
    /// An operator's decision, which is in the store; answers `false` when the account is not known.
    SetLocal(Decision, oneshot::Sender<bool>),
    /// Ask for the identity again; answers `false` when the account is not known.
    Refresh(oneshot::Sender<bool>),
    /// What the list of a host says of it (ACC-10).
    Listed(Listed, oneshot::Sender<Reconciled>),
    /// What the directory's stream says of it (RES-7).
    Hinted(Hint, oneshot::Sender<Hinted>),
}

/// What an operation of the directory says of key and host; never trusted (RES-7, PLC-2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The signing key.
    pub key: Option<[u8; 34]>,
    /// The host, `host` or `host:port`.
    pub host: Option<Box<str>>,
    /// It is a tombstone.
    pub gone: bool,
}

/// What came of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hinted {
    /// The account is not known.
    Unknown,
    /// It says what is known.
    Same,
    /// The identity is looked up.
    Asked,
    /// It differs, but too many lookups are under way; to be tried again.
    Busy,
}

/// What a host lists, once it was checked (ACC-10).
#[derive(Debug, Clone)]
pub struct Listed {
    /// The host.
    pub host: HostId,
    /// The status there.
    pub status: UpstreamStatus,
    /// The document that names this host; `None` when it is known for the account's host.
    pub document: Option<Arc<DidDocument>>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// The account was not known before.
    Added,
    /// Its status or its host was another one.
    Changed,
    /// Nothing was new.
    Same,
    /// It could not be told now; the next list tells it again.
    Unsure,
}

/// What was decided about an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decision {
    /// The status.
    pub(super) local: LocalStatus,
    /// The store did not hold it before, so that it has to be announced even if the row, read from
    /// the store in the meantime, shows it already.
    pub(super) is_news: bool,
    /// It takes the place of this status alone: what a rule decides does not undo what a person did
    /// meanwhile.
    pub(super) instead_of: Option<LocalStatus>,
}
