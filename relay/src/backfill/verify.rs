//! Compares accounts of the index with what their hosts say, and counts what is wrong.

use std::{collections::BTreeSet, time::Duration};

use super::{
    asking::{Asking, How, Said},
    settling::is_same,
    taking::words,
};
use crate::{
    checkpoint::Checkpointer,
    clock::Clock,
    collections::index::{Index, Whole},
    domain::{Account, AccountNo, HostStatus, Seq, effective},
    eventlog::Reader,
    hosts::Hosts,
    ingest::Ingest,
    store::Store,
};

/// Accounts of one sample.
pub(super) const SAMPLE_MAX: u64 = 100_000;

/// Accounts with something wrong that are kept for people to read.
const EXAMPLES_MAX: usize = 100;

/// How long the index may be behind the log before an account is passed over.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks at one account again when its events overtook the answer.
const TRIES: u32 = 3;

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Accounts to look at.
    pub sample: u64,
    /// Accounts whose hosts told what they have.
    pub checked: u64,
    /// Accounts that could not be compared: inactive, away, not told, or writing all the time.
    pub skipped: u64,
    /// Of the checked ones, those of which the index is unsure.
    pub unsure: u64,
    /// Entries of the index and of the hosts together.
    pub entries: u64,
    /// Entries that only the host has.
    pub missing: u64,
    /// Entries that only the index has.
    pub ghosts: u64,
    /// Missing and ghosts of accounts that the index calls complete.
    pub wrong_of_complete: u64,
    /// Accounts with something wrong, and what.
    pub examples: Vec<Example>,
    /// When it began, ms since 1970.
    pub started_ms: u64,
    /// When it ended; `None` while it runs.
    pub finished_ms: Option<u64>,
    /// Why it ended early.
    pub last_error: Option<String>,
}

/// An account with something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Whose.
    pub did: String,
    /// Only the host has these.
    pub missing: Vec<String>,
    /// Only the index has these.
    pub ghosts: Vec<String>,
}

/// What it works with.
#[derive(Debug, Clone)]
pub(super) struct Verifier {
    pub(super) store: Store,
    pub(super) hosts: Hosts,
    pub(super) ingest: Ingest,
    pub(super) index: Index,
    pub(super) log: Reader,
    pub(super) checkpointer: Checkpointer,
    pub(super) asking: Asking,
    pub(super) clock: Clock,
}

impl Verifier {
    /// Looks at accounts that are spread evenly over all numbers.
    ///
    /// * `tell` – is given how far it is
    pub(super) async fn run(&self, sample: u64, mut tell: impl FnMut(&Verified)) {
        let started_ms = self.clock.now_ms();
        let mut found = Verified { sample, started_ms, ..Verified::default() };
        tell(&found);
        let went = self.look(&mut found, &mut tell).await;
        found.last_error = went.err();
        found.finished_ms = Some(self.clock.now_ms());
        tell(&found);
    }

    async fn look(
        &self,
        found: &mut Verified,
        tell: &mut impl FnMut(&Verified),
    ) -> Result<(), String> {
        // Accounts that only the shards know are looked at too.
        self.checkpointer.write().await.map_err(|error| error.to_string())?;
        let last = self.store.last_account_number().await.map_err(|error| error.to_string())?;
        found.sample = found.sample.min(last.0);
        for n in 0..found.sample {
            // Evenly: 128 bits, so that no product overflows.
            let place = u128::from(n) * u128::from(last.0) / u128::from(found.sample.max(1));
            let after = AccountNo(u64::try_from(place).unwrap_or(u64::MAX));
            let row = self.store.accounts_after(after, 1).await;
            let Some(account) = row.map_err(|error| error.to_string())?.pop() else { break };
            if !self.compare(account, found).await? {
                found.skipped += 1;
            }
            tell(found);
        }
        Ok(())
    }

    /// Gives whether the account could be compared.
    async fn compare(&self, account: Account, found: &mut Verified) -> Result<bool, String> {
        let Some(host) = self.hosts.get(account.host) else { return Ok(false) };
        if matches!(host.status(), HostStatus::Offline | HostStatus::Banned) {
            return Ok(false);
        }
        let group = self.asking.discovery.group_of(&host).await;
        for _ in 0..TRIES {
            let before = self.ingest.account(&account.did).await;
            let Some(before) = before.map_err(|error| error.to_string())? else { return Ok(false) };
            if !effective(&before.upstream, before.local).active || before.host != host.id() {
                return Ok(false);
            }
            let head = self.log.window().head;
            let how = How { group: &group, hurry: true, patient: true };
            let said = self.asking.ask(&host, &before, how).await;
            let Said::Has(theirs) = said else { return Ok(false) };
            let theirs = theirs.collections;
            if !self.reaches(head).await {
                return Ok(false);
            }
            let (whole, pairs) = self.index.of_account(account.number).map_err(words)?;
            let now = self.ingest.account(&account.did).await.map_err(|error| error.to_string())?;
            if !now.is_some_and(|now| is_same(&before, &now)) {
                continue;
            }
            let nsid = |number| self.index.nsid(number).map(|nsid| nsid.as_ref().to_owned());
            let ours = pairs.into_iter().filter_map(|(number, _)| nsid(number)).collect();
            note(found, (account.did.as_str(), whole), (ours, theirs.into_iter().collect()));
            return Ok(true);
        }
        Ok(false)
    }
}

impl Verifier {
    /// Whether the index gets as far as this event.
    async fn reaches(&self, head: Seq) -> bool {
        let waited = tokio::time::timeout(CATCH_UP_MAX, async {
            while self.index.position().unwrap_or_default() < head {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        waited.await.is_ok()
    }
}

fn note(
    found: &mut Verified,
    (did, whole): (&str, Whole),
    (ours, theirs): (BTreeSet<String>, BTreeSet<String>),
) {
    let missing: Vec<String> = theirs.difference(&ours).cloned().collect();
    let ghosts: Vec<String> = ours.difference(&theirs).cloned().collect();
    let wrong = (missing.len() + ghosts.len()) as u64;
    found.checked += 1;
    found.unsure += u64::from(whole != Whole::Complete);
    found.entries += ours.union(&theirs).count() as u64;
    found.missing += missing.len() as u64;
    found.ghosts += ghosts.len() as u64;
    if whole == Whole::Complete {
        found.wrong_of_complete += wrong;
    }
    if wrong > 0 && found.examples.len() < EXAMPLES_MAX {
        found.examples.push(Example { did: did.to_owned(), missing, ghosts });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Both kinds of wrong entries count, and those that should be certain are told apart.
    #[test]
    fn missing_entries_and_ghosts_are_counted() {
        let mut found = Verified::default();
        note(&mut found, ("a", Whole::Complete), (set(&["x", "y"]), set(&["y", "z"])));
        note(&mut found, ("b", Whole::Unmarked), (set(&[]), set(&["y"])));
        note(&mut found, ("c", Whole::Complete), (set(&["y"]), set(&["y"])));
        assert_eq!((found.checked, found.unsure, found.entries), (3, 1, 5));
        assert_eq!((found.missing, found.ghosts, found.wrong_of_complete), (2, 1, 2));
        assert_eq!(found.examples.len(), 2);
        assert_eq!(found.examples[0].ghosts, ["x"]);
    }
}
