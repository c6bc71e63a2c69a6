//! What the relay knows of one account.

use relay_protocol::{CommitCid, DataCid, Did, Rev};

use super::{AccountNo, Epoch, HostId, HostSeq, LocalStatus, Seq, UpstreamStatus};

/// The last accepted state of a repo; the next commit should build on it (VAL-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoState {
    /// Revision of the last accepted commit or sync.
    pub rev: Rev,
    /// Root of its tree.
    pub data: DataCid,
    /// CID of its signed commit block.
    pub commit: CommitCid,
}

/// Where the last accepted event of an account came from (DESIGN 10.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEvent {
    /// Host that sent it.
    pub host: HostId,
    /// Epoch of that host's cursor.
    pub epoch: Epoch,
    /// Its number on that host's stream.
    pub host_seq: HostSeq,
}

/// One row per DID: all that the relay keeps of an account (ROLE-2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Number from first sight.
    pub number: AccountNo,
    /// The DID itself.
    pub did: Did,
    /// The host that has authority over it now.
    pub host: HostId,
    /// What that host last said.
    pub upstream: UpstreamStatus,
    /// What we decided.
    pub local: LocalStatus,
    /// `None` before the first accepted commit or sync.
    pub repo: Option<RepoState>,
    /// Signing key as [`relay_protocol::VerifyingKey::to_bytes`] gives it; `None` when unknown.
    pub key: Option<[u8; 34]>,
    /// When key and host were last read from the DID document, in ms since 1970; 0 = never.
    pub identity_checked_ms: u64,
    /// Guards against replays of the host, whatever their type.
    pub last: Option<LastEvent>,
    /// Up to which of our events the stored row holds what they made of it, 0 = it does not say: the
    /// position of the checkpoint that wrote it last, or the event of a replay at a start. Events of the
    /// running process do not move it, because a shard judges them before they have a seq.
    pub last_seq: Seq,
}

/// What decides whether an account is listed, of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Number from first sight.
    pub number: AccountNo,
    /// The DID itself.
    pub did: Did,
    /// The host that has authority over it now.
    pub host: HostId,
    /// What that host last said.
    pub upstream: UpstreamStatus,
    /// What we decided.
    pub local: LocalStatus,
}

impl From<Account> for Standing {
    fn from(account: Account) -> Self {
        let Account { number, did, host, upstream, local, .. } = account;
        Self { number, did, host, upstream, local }
    }
}
