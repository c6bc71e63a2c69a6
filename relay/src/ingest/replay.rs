//! Restores account rows from log records at start-up (I3).
//!
//! Pure. No identity is looked up: what was known of it when the event was judged is in the note.

use relay_protocol::{Blocks, Commit, Did, Message, Rev};

use super::note::Note;
use crate::{
    domain::{Account, HostId, LastEvent, LocalStatus, RepoState, Seq, UpstreamStatus},
    eventlog::Event,
};

/// What one durable event says about its account: applied in order at start-up (I3).
///
/// * `account` – the row so far; `None` when the log is the first to name it
///
/// Returns the row after the event; the row as it was when it already holds the event, or when the
/// record is not one that this relay writes.
///
/// Does not know what we decided about an account: a row that the log is the first to name takes that
/// from [`crate::store::Store::local_statuses`]. Does not count live accounts: compare [`crate::accounts::counted_at`] of the stored row with that
/// of the last one.
pub fn replay(account: Option<Account>, event: &Event) -> Option<Account> {
    if account.as_ref().is_some_and(|account| event.seq <= account.last_seq) {
        return account;
    }
    let (Some(note), Some(said)) = (Note::decode(&event.note), Said::read(&event.frame)) else {
        return account;
    };
    let mut account = match account {
        Some(account) => account,
        None => first_sight(event, said.did)?,
    };
    account.last_seq = event.seq;
    if event.host != HostId::RELAY {
        account.host = event.host;
        account.last =
            Some(LastEvent { host: event.host, epoch: event.epoch, host_seq: event.host_seq });
    }
    if let Some(host) = note.host {
        account.host = host;
    }
    if let Some((checked_ms, key)) =
        note.identity.filter(|(checked_ms, _)| *checked_ms >= account.identity_checked_ms)
    {
        account.identity_checked_ms = checked_ms;
        account.key = key;
    }
    if let Some(repo) = said.repo {
        account.repo = Some(repo);
    }
    if let Some(upstream) = note.upstream.or(said.upstream) {
        account.upstream = upstream;
    }
    Some(account)
}

fn first_sight(event: &Event, did: &str) -> Option<Account> {
    Some(Account {
        number: event.account,
        did: Did::parse(did).ok()?,
        host: event.host,
        upstream: UpstreamStatus::Active,
        local: LocalStatus::None,
        repo: None,
        key: None,
        identity_checked_ms: 0,
        last: None,
        last_seq: Seq(0),
    })
}

/// What a frame of ours says about its account.
#[derive(Debug)]
struct Said<'a> {
    did: &'a str,
    repo: Option<RepoState>,
    upstream: Option<UpstreamStatus>,
}

impl<'a> Said<'a> {
    fn read(frame: &'a [u8]) -> Option<Self> {
        let (did, repo, upstream) = match Message::decode(frame).ok()? {
            Message::Commit(commit) => {
                (commit.repo, Some(repo_state(commit.blocks, commit.rev)?), None)
            }
            Message::Sync(sync) => (sync.did, Some(repo_state(sync.blocks, sync.rev)?), None),
            Message::Identity(identity) => (identity.did, None, None),
            Message::Account(account) => {
                (account.did, None, Some(UpstreamStatus::from_wire(account.active, account.status)))
            }
            Message::Info(..) | Message::Error(..) | Message::Ignored => return None,
        };
        Some(Self { did, repo, upstream })
    }
}

fn repo_state(car: &[u8], rev: Rev) -> Option<RepoState> {
    let blocks = Blocks::read(car).ok()?;
    let root = blocks.root();
    let commit = Commit::decode(blocks.get(&root.0).ok()??).ok()?;
    Some(RepoState { rev, data: commit.data, commit: root })
}
