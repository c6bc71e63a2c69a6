//! Takes what a list says: accounts by name in, believed pairs in the index out.
//!
//! The index knows accounts by number, and a number counts only when its row is in the store: a process
//! that dies before would give it to another account. So rows are written first.

use std::collections::BTreeMap;

use relay_protocol::Did;

use crate::{
    checkpoint::Checkpointer,
    collections::index::{Batch, Change, Doubt, Index, IndexError, PairState},
    discovery::{Discovery, Introduced},
    domain::AccountNo,
    ingest::Ingest,
    store::Store,
};

/// What became of the accounts of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taken {
    /// Pairs that were handed to the index.
    pub(super) pairs: u64,
    /// Accounts that were not known before.
    pub(super) new: u64,
    /// Accounts of hosts that this relay does not know, or of none.
    pub(super) unknown: u64,
}

/// An account of a list, and what it is said to have.
pub(super) type Entry = (Did, Vec<String>);

/// Where lists go.
#[derive(Debug, Clone)]
pub(super) struct Taking {
    pub(super) store: Store,
    pub(super) ingest: Ingest,
    pub(super) discovery: Discovery,
    pub(super) checkpointer: Checkpointer,
    pub(super) index: Index,
}

impl Taking {
    /// Takes the entries, and notes with them in one step how far the list is read.
    ///
    /// * `progress` – is given what became of them
    ///
    /// # Errors
    /// What was in the way; nothing was taken then.
    pub(super) async fn take(
        &self,
        entries: &[Entry],
        progress: impl FnOnce(Taken) -> Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<Taken, String> {
        let dids: Vec<Did> = entries.iter().map(|(did, _)| did.clone()).collect();
        let (numbers, mut taken) = self.numbers(&dids).await?;
        let mut changes = Vec::new();
        for (did, collections) in entries {
            let Some(account) = numbers.get(did.as_str()).copied() else { continue };
            changes.push(Change::Doubt { account, doubt: Doubt::Imported });
            for nsid in collections {
                let collection = self.index.number(nsid).map_err(words)?;
                let state = PairState::Believed;
                changes.push(Change::Present { account, collection, state });
                taken.pairs += 1;
            }
        }
        let batch = Batch { position: None, changes, progress: progress(taken) };
        apply(&self.index, batch).await?;
        Ok(taken)
    }

    /// Numbers whose rows are durable, by DID; accounts that are not known are looked up.
    ///
    /// # Errors
    /// What was in the way.
    pub(super) async fn numbers(
        &self,
        dids: &[Did],
    ) -> Result<(BTreeMap<String, AccountNo>, Taken), String> {
        let mut taken = Taken::default();
        let mut numbers = self.stored(dids).await?;
        let is_missing = |did: &&Did| !numbers.contains_key(did.as_str());
        let missing: Vec<Did> = dids.iter().filter(is_missing).cloned().collect();
        let mut fresh = Vec::new();
        for did in missing {
            // It may be known to its shard alone.
            let known = self.ingest.account(&did).await.map_err(|error| error.to_string())?;
            if known.is_none() {
                match self.discovery.introduce(&did).await? {
                    Introduced::Known => taken.new += 1,
                    Introduced::ElsewhereOnly | Introduced::Nowhere => {
                        taken.unknown += 1;
                        continue;
                    }
                }
            }
            fresh.push(did);
        }
        if !fresh.is_empty() {
            self.checkpointer.write().await.map_err(|error| error.to_string())?;
            numbers.extend(self.stored(&fresh).await?);
        }
        Ok((numbers, taken))
    }

    async fn stored(&self, dids: &[Did]) -> Result<BTreeMap<String, AccountNo>, String> {
        let found = self.store.account_numbers(dids).await.map_err(|error| error.to_string())?;
        let known = dids.iter().zip(found);
        Ok(known.filter_map(|(did, number)| Some((did.as_str().to_owned(), number?))).collect())
    }
}

/// Applies where blocking is permitted.
pub(super) async fn apply(index: &Index, batch: Batch) -> Result<(), String> {
    let index = index.clone();
    let applied = tokio::task::spawn_blocking(move || index.apply(&batch)).await;
    applied.map_err(|_stopped| "the relay is stopping".to_owned())?.map_err(words)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn words(error: IndexError) -> String {
    error.to_string()
}
