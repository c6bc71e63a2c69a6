//! Hosts that DID documents name and that nobody has told us of.
//!
//! Whoever has a DID can name any host. A name is only kept, or goes through the same admission as a
//! request to crawl, so that it costs no more than such a request. Bounded: names that are kept, for how
//! long, and admissions under way.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

use super::{TICK, measure};
use crate::{
    clock::Clock,
    hosts::{Hosts, Refusal},
    identity::Sighting,
    store::{CandidateRow, Store, StoreError},
};

/// Names that are kept; the next one is not.
const KEPT_MAX: usize = 20_000;

/// How long a name is kept that nothing came of; whoever fills the list with names fills it for so long.
const AGE_MAX_MS: u64 = 90 * 86_400_000;

/// How long one is kept whose host is known by now, so that people can see how that came.
const KNOWN_AGE_MAX_MS: u64 = 7 * 86_400_000;

/// How often old names are looked for.
const PRUNE_EVERY_MS: u64 = 3_600_000;

/// Admissions at a time: each asks a host that may not answer.
const AT_ONCE: usize = 4;

/// When a host that was refused is tried again, if it is still named.
const AGAIN_MS: u64 = 86_400_000;

/// What becomes of a host that a DID document names and that is not known (`RELAY_HOST_CANDIDATES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CandidateMode {
    /// Nothing.
    Off,
    /// It is listed for the operator.
    #[default]
    List,
    /// It is admitted as if it had asked.
    Add,
}

/// All candidates.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) store: Store,
    pub(super) hosts: Hosts,
    pub(super) clock: Clock,
    pub(super) mode: CandidateMode,
    pub(super) kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: BTreeMap<String, CandidateRow>,
    /// Names whose rows differ from the store.
    dirty: Vec<String>,
    /// Names that are still in the store and no more here.
    gone: Vec<String>,
    /// When old names were looked for last, by the steady clock.
    pruned_ms: Option<u64>,
}

impl Kept {
    /// Leaves out the names that are too old; a clock that was set back makes none old.
    fn prune(&mut self, is_known: impl Fn(&str) -> bool, now_ms: u64) {
        let Self { rows, gone, .. } = self;
        rows.retain(|name, row| {
            let age_ms = now_ms.saturating_sub(row.first_seen_ms);
            let most = if is_known(name) { KNOWN_AGE_MAX_MS } else { AGE_MAX_MS };
            let stays = age_ms < most;
            if !stays {
                gone.push(name.clone());
            }
            stays
        });
    }

    pub(super) fn of(rows: Vec<CandidateRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.hostname.clone(), row)).collect();
        Self { rows, ..Self::default() }
    }
}

impl Candidates {
    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<CandidateRow> {
        self.kept.lock().rows.values().cloned().collect()
    }

    /// A DID document names this host. Gives whether the name is new.
    ///
    /// * `add` – admit it, whatever the setting
    pub(super) fn seen(&self, hostname: &str, did: &str, add: bool) -> bool {
        if self.hosts.by_name(hostname).is_some() {
            return false;
        }
        let mut kept = self.kept.lock();
        let count = kept.rows.len();
        let is_new = !kept.rows.contains_key(hostname);
        if is_new && count >= KEPT_MAX {
            return false;
        }
        let now_ms = self.clock.now_ms();
        let row = kept.rows.entry(hostname.to_owned()).or_insert_with(|| CandidateRow {
            hostname: hostname.to_owned(),
            did: did.to_owned(),
            first_seen_ms: now_ms,
            ..CandidateRow::default()
        });
        let changes = is_new || (add && !row.wanted);
        row.wanted |= add;
        if changes {
            kept.dirty.push(hostname.to_owned());
        }
        is_new
    }

    /// Keeps what documents name, and admits what is to be admitted.
    pub(super) async fn keep_up(self: Arc<Self>, sightings: broadcast::Receiver<Sighting>) {
        tokio::join!(self.listen(sightings), self.work());
    }

    async fn listen(&self, mut sightings: broadcast::Receiver<Sighting>) {
        if self.mode == CandidateMode::Off {
            return;
        }
        loop {
            match sightings.recv().await {
                Ok(Sighting { did, host }) => {
                    self.seen(host.as_str(), did.as_str(), self.mode == CandidateMode::Add);
                }
                // Named again some day.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn work(&self) {
        loop {
            self.prune().await;
            if let Err(error) = self.save().await {
                tracing::debug!(%error, "candidates are kept later");
            }
            let wanted = self.wanted();
            let admitted = wanted.iter().map(|name| self.admit(name));
            futures_util::future::join_all(admitted).await;
            tokio::time::sleep(TICK).await;
        }
    }

    /// Forgets old names, here at once and in the store as soon as it takes it.
    async fn prune(&self) {
        let gone: Vec<String> = {
            let mut kept = self.kept.lock();
            let steady_ms = self.clock.steady_ms();
            let is_due = kept
                .pruned_ms
                .is_none_or(|at_ms| steady_ms.saturating_sub(at_ms) >= PRUNE_EVERY_MS);
            if is_due {
                kept.pruned_ms = Some(steady_ms);
                kept.prune(|name| self.hosts.by_name(name).is_some(), self.clock.now_ms());
            }
            measure::candidates(kept.rows.len(), KEPT_MAX);
            let Kept { rows, gone, .. } = &mut *kept;
            // Who was named again meanwhile is kept.
            std::mem::take(gone).into_iter().filter(|name| !rows.contains_key(name)).collect()
        };
        if gone.is_empty() {
            return;
        }
        if let Err(error) = self.store.forget_candidates(&gone).await {
            tracing::debug!(%error, "candidates are forgotten later");
            self.kept.lock().gone.extend(gone);
        }
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// [`StoreError`]; then it is written later.
    pub(super) async fn save(&self) -> Result<(), StoreError> {
        let (names, rows) = {
            let mut kept = self.kept.lock();
            let names = std::mem::take(&mut kept.dirty);
            let rows: Vec<CandidateRow> =
                names.iter().filter_map(|name| kept.rows.get(name).cloned()).collect();
            (names, rows)
        };
        if rows.is_empty() {
            return Ok(());
        }
        let saved = self.store.save_candidates(&rows).await;
        if saved.is_err() {
            self.kept.lock().dirty.extend(names);
        }
        saved
    }

    /// Some that are to be admitted now.
    fn wanted(&self) -> Vec<String> {
        let now_ms = self.clock.now_ms();
        let kept = self.kept.lock();
        let due = kept.rows.values().filter(|row| row.wanted && is_due(row.tried_ms, now_ms));
        due.take(AT_ONCE).map(|row| row.hostname.clone()).collect()
    }

    async fn admit(&self, hostname: &str) {
        let admitted = self.hosts.admit(hostname, false).await;
        let tried_ms = self.clock.now_ms();
        let mut kept = self.kept.lock();
        let Some(row) = kept.rows.get_mut(hostname) else { return };
        row.tried_ms = Some(tried_ms);
        match admitted {
            Ok(host) => {
                tracing::info!(host = %host.hostname(), did = row.did, "a DID document named a new host");
                row.wanted = false;
                row.outcome = Some("added".to_owned());
            }
            // Not its fault: at the next look.
            Err(refusal @ (Refusal::RateLimited(_) | Refusal::Store(_))) => {
                row.tried_ms = None;
                row.outcome = Some(refusal.to_string());
            }
            Err(refusal) => row.outcome = Some(refusal.to_string()),
        }
        kept.dirty.push(hostname.to_owned());
    }
}

/// * `tried_ms` – when it was last tried
fn is_due(tried_ms: Option<u64>, now_ms: u64) -> bool {
    // A clock that was set back must not put it off for longer than that.
    tried_ms.is_none_or(|at_ms| now_ms.abs_diff(at_ms) >= AGAIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list full of names that somebody made up empties by itself, and what is known by now goes first.
    #[test]
    fn names_that_nothing_came_of_are_kept_for_a_season() {
        const NOW: u64 = 1_800_000_000_000;
        let row = |hostname: &str, age_ms: u64| CandidateRow {
            hostname: hostname.to_owned(),
            first_seen_ms: NOW - age_ms,
            ..CandidateRow::default()
        };
        let mut kept = Kept::of(vec![
            row("new.example", 0),
            row("ripe.example", AGE_MAX_MS - 1),
            row("old.example", AGE_MAX_MS),
            row("known.example", KNOWN_AGE_MAX_MS - 1),
            row("long-known.example", KNOWN_AGE_MAX_MS),
        ]);
        let is_known = |name: &str| name.contains("known");
        kept.prune(is_known, NOW - 2 * AGE_MAX_MS);
        assert_eq!(kept.rows.len(), 5, "a clock that was set back");
        kept.prune(is_known, NOW);
        let names: Vec<_> = kept.rows.keys().map(String::as_str).collect();
        assert_eq!(names, ["known.example", "new.example", "ripe.example"]);
        assert_eq!(kept.gone, ["long-known.example", "old.example"]);
    }
}
