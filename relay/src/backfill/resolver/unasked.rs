//! Accounts about which no host is asked: those that are not served, and those that were deleted.

use super::{Resolver, ResolverParts};
use crate::{
    backfill::taking::words,
    collections::index::{Batch, Change, Doubt, Whole},
    domain::{Account, UpstreamStatus, effective},
};

/// Tries to note it between two batches of the log; then it waits for the next look.
const TRIES: usize = 10;

impl Resolver {
    /// Notes in the index which of these accounts are not served, so that nobody looks at them again before
    /// they return: every change of a status is an event of our log.
    ///
    /// It counts only when the index has applied nothing since the accounts were looked at: an event by
    /// which one returned is applied afterwards then.
    ///
    /// # Errors
    /// The index or the store, or the relay is stopping.
    pub(super) async fn set_aside(&self, accounts: &[Account]) -> Result<(), String> {
        let ResolverParts { ingest, index, .. } = &self.parts;
        for _ in 0..TRIES {
            let position = index.position();
            let mut changes = Vec::new();
            for account in accounts {
                let now = ingest.account(&account.did).await.map_err(|error| error.to_string())?;
                let Some(now) = now.filter(|now| now.number == account.number) else { continue };
                if let Some(whole) = unasked(&now) {
                    changes.push(Change::Mark { account: now.number, whole });
                }
            }
            if changes.is_empty() {
                return Ok(());
            }
            let (own, batch) = (index.clone(), Batch { changes, ..Batch::default() });
            let applied = tokio::task::spawn_blocking(move || own.apply_at(position, &batch)).await;
            let applied = applied.map_err(|_stopped| "the relay is stopping".to_owned())?;
            if applied.map_err(words)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What is to be thought of an account about which nobody is asked; `None` when it is served.
pub(super) fn unasked(account: &Account) -> Option<Whole> {
    if account.upstream == UpstreamStatus::Deleted {
        return Some(Whole::Gone);
    }
    let is_served = effective(&account.upstream, account.local).active;
    (!is_served).then_some(Whole::Unsure(Doubt::Inactive))
}
