//! Puts the word of a host into the index, if nothing has overtaken it.
//!
//! An answer counts when no event of the account was accepted between question and answer, and the index
//! applied none between that look and the answer: then everything that it has applied of the account is
//! older than the question, and the answer, which the host made later, knows of all of it. What the
//! host emits afterwards comes through the log and is applied on top. Otherwise the host is asked again.

use super::{asking::Has, taking::words};
use crate::{
    collections::index::{Batch, Change, Index},
    domain::Account,
    ingest::Ingest,
};

/// Tries to apply an answer between two batches of the log.
const APPLY_TRIES: usize = 100;

/// A host's word on an account that nothing has overtaken yet.
#[derive(Debug)]
pub(super) struct Answered {
    /// The account as it was when the host was asked.
    pub(super) before: Account,
    pub(super) has: Has,
}

impl Answered {
    /// Gives whether it counts.
    ///
    /// # Errors
    /// The index, or the relay is stopping.
    pub(super) async fn settle(&self, ingest: &Ingest, index: &Index) -> Result<bool, String> {
        let Self { before, has: Has { collections, .. } } = self;
        let mut numbers = Vec::with_capacity(collections.len());
        for nsid in collections {
            numbers.push(index.number(nsid).map_err(words)?);
        }
        let change = Change::Replace { account: before.number, collections: numbers };
        let batch = Batch { changes: vec![change], ..Batch::default() };
        for _ in 0..APPLY_TRIES {
            let position = index.position();
            let now = ingest.account(&before.did).await.map_err(|error| error.to_string())?;
            if !now.is_some_and(|now| self.counts(&now)) {
                return Ok(false);
            }
            let (own, batch) = (index.clone(), batch.clone());
            let applied = tokio::task::spawn_blocking(move || own.apply_at(position, &batch)).await;
            let applied = applied.map_err(|_stopped| "the relay is stopping".to_owned())?;
            if applied.map_err(words)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nothing has overtaken it. An answer that shows its commit also counts when that commit is
    /// the last one accepted, whatever came while the repository was being read.
    fn counts(&self, now: &Account) -> bool {
        let Self { before, has } = self;
        let is_at =
            |(rev, data)| now.repo.as_ref().is_some_and(|now| (now.rev, now.data) == (rev, data));
        is_same(before, now) || (is_same_owner(before, now) && has.head.is_some_and(is_at))
    }
}

/// Whether no event of the account was accepted between two looks at it.
pub(super) fn is_same(before: &Account, now: &Account) -> bool {
    is_same_owner(before, now) && before.last == now.last && before.repo == now.repo
}

/// Whether the account is where it was, and in the same way.
fn is_same_owner(before: &Account, now: &Account) -> bool {
    // Of the local status too: what it writes while it is taken down is dropped.
    (before.number, before.host, before.local) == (now.number, now.host, now.local)
        && before.upstream == now.upstream
}

#[cfg(test)]
mod tests {
    use relay_protocol::{CommitCid, DataCid, Did, Rev};

    use super::*;
    use crate::domain::{
        AccountNo, Epoch, HostId, HostSeq, LastEvent, LocalStatus, RepoState, Seq, UpstreamStatus,
    };

    fn account(host: u32, host_seq: u64, upstream: UpstreamStatus) -> Account {
        let last = LastEvent { host: HostId(host), epoch: Epoch(1), host_seq: HostSeq(host_seq) };
        Account {
            number: AccountNo(7),
            did: Did::parse("did:web:example.com").unwrap(),
            host: HostId(host),
            upstream,
            local: LocalStatus::None,
            repo: None,
            key: None,
            identity_checked_ms: 0,
            last: Some(last),
            last_seq: Seq(0),
        }
    }

    /// An answer counts only if no event of its account came meanwhile: a newer one may have made a
    /// record that the answer does not know, or taken the last one away that it still names.
    #[test]
    fn an_answer_that_an_event_has_overtaken_does_not_count() {
        let before = account(1, 5, UpstreamStatus::Active);
        let looked_up = Account { identity_checked_ms: 9, ..before.clone() };
        assert!(is_same(&before, &looked_up), "its key was looked up, nothing else");
        for now in [
            account(1, 6, UpstreamStatus::Active),
            account(2, 5, UpstreamStatus::Active),
            account(1, 5, UpstreamStatus::Deactivated),
            Account { number: AccountNo(8), ..before.clone() },
            Account { last: None, ..before.clone() },
            Account { local: LocalStatus::Takendown, ..before.clone() },
        ] {
            assert!(!is_same(&before, &now), "{now:?}");
        }
    }

    /// A repository takes its time to be read, and an account may write meanwhile. What was read counts
    /// when its commit is the last that was accepted, and not when a later one was.
    #[test]
    fn a_repository_counts_that_is_at_the_last_commit() {
        let at = |rev: &str, host_seq: u64| {
            let (rev, data) = (Rev::parse(rev).unwrap(), DataCid([1; 32]));
            let repo = Some(RepoState { rev, data, commit: CommitCid([2; 32]) });
            Account { repo, ..account(1, host_seq, UpstreamStatus::Active) }
        };
        let (older, read, newer) = ("3jzfcijpj2z22", "3jzfcijpj2z2a", "3jzfcijpj2z2b");
        let head = at(read, 0).repo.map(|repo| (repo.rev, repo.data));
        let has = Has { collections: Vec::new(), head };
        let answered = Answered { before: at(older, 5), has };
        assert!(answered.counts(&at(older, 5)), "the commit has not come here yet");
        assert!(answered.counts(&at(read, 6)), "it came meanwhile");
        assert!(!answered.counts(&at(newer, 7)), "a later one came");
        assert!(!answered.counts(&at(older, 6)), "another event came");
        let moved = Account { host: HostId(2), ..at(read, 6) };
        assert!(!answered.counts(&moved), "another host says it now");
    }
}
