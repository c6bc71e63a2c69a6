//! Finds accounts of which the index is unsure, and puts them in line at their hosts.

use std::sync::Arc;

use super::{Resolver, ResolverParts, unasked::unasked};
use crate::{
    backfill::taking::{apply, words},
    collections::index::{Batch, Change, Doubt, Whole},
    domain::{Account, AccountNo, HostStatus},
    hosts::Host,
};

/// Accounts that are looked at in one step.
const STEP: usize = 500;

/// Accounts of the index that are passed in one step at most: those that are not served are many.
const PASSED_MAX: usize = 20_000;

/// Steps of one tick.
const STEPS_MAX: usize = 4;

/// Accounts in line over all hosts; no more are looked for then.
const WAITING_MAX: usize = 20_000;

/// Accounts above this number were not looked at yet; a note in the index.
const SWEPT: &[u8] = b"backfill/swept";

impl Resolver {
    /// Finds accounts to ask about.
    pub(super) async fn feed(&self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if !self.sweep().await? {
                break;
            }
        }
        for _ in 0..STEPS_MAX {
            // Without questions of its own only what an operator wants.
            let is_wanted = self.parts.questions > 0 || self.queue.lock().is_in_hurry();
            if !is_wanted || self.queue.lock().waiting() >= WAITING_MAX || !self.step().await? {
                break;
            }
        }
        Ok(())
    }

    /// Accounts that no event has told of, from lists of hosts: nothing is known of their records. Gives
    /// whether there may be more.
    async fn sweep(&self) -> Result<bool, String> {
        let ResolverParts { store, index, .. } = &self.parts;
        let note = index.progress(SWEPT).unwrap_or_default();
        let swept = std::str::from_utf8(&note).ok().and_then(|text| text.parse().ok());
        let after = AccountNo(swept.unwrap_or(0));
        let limit = u32::try_from(STEP).unwrap_or(u32::MAX);
        let rows = store.accounts_after(after, limit).await.map_err(|error| error.to_string())?;
        let Some(last) = rows.last() else { return Ok(false) };
        let mut changes = Vec::new();
        for account in rows.iter().map(|row| row.number) {
            if index.of_account(account).map_err(words)?.0 == Whole::Unmarked {
                let whole = Whole::Unsure(Doubt::OlderRecords);
                changes.push(Change::Mark { account, whole });
            }
        }
        let progress = vec![(SWEPT.to_vec(), Some(last.number.to_string().into_bytes()))];
        apply(index, Batch { position: None, changes, progress }).await?;
        Ok(rows.len() == STEP)
    }

    /// The next accounts of which the index is unsure. Gives whether there may be more to ask now.
    async fn step(&self) -> Result<bool, String> {
        let ResolverParts { store, index, clock, .. } = &self.parts;
        let after = self.queue.lock().after;
        let mut unsure = index.unsure(after, PASSED_MAX).map_err(words)?;
        let passed = unsure.last().map(|(account, _)| *account);
        let mut end = unsure.len() < PASSED_MAX;
        unsure.retain(|(_, doubt)| *doubt != Doubt::Inactive);
        let mut next = passed;
        if unsure.len() > STEP {
            unsure.truncate(STEP);
            (end, next) = (false, unsure.last().map(|(account, _)| *account));
        }
        let now_ms = clock.steady_ms();
        let wanted: Vec<AccountNo> = {
            let mut queue = self.queue.lock();
            queue.after = if end { None } else { next };
            let unsure = unsure.into_iter().map(|(account, _)| account);
            unsure.filter(|account| !queue.is_resting(*account, now_ms)).collect()
        };
        let rows = store.accounts_numbered(&wanted).await.map_err(|error| error.to_string())?;
        let (aside, asked): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|account| unasked(account).is_some());
        for account in asked {
            if self.may_ask(&account).is_some() {
                self.queue.lock().put(account, now_ms);
            }
        }
        if end {
            self.queue.lock().end_round();
        }
        self.set_aside(&aside).await?;
        Ok(!end)
    }

    /// The host of an account, if it can say something of it now.
    pub(super) fn may_ask(&self, account: &Account) -> Option<Arc<Host>> {
        if unasked(account).is_some() {
            return None;
        }
        let host = self.parts.hosts.get(account.host)?;
        let refuses = matches!(host.status(), HostStatus::Offline | HostStatus::Banned);
        (!refuses).then_some(host)
    }
}
