//! Hosts that DID documents name and that nobody has told us of.
//!
//! Whoever has a DID can name any host. A name is only kept, or goes through the same admission as a
//! request to crawl, so that it costs no more than such a request. Bounded: names that are kept, and
//! admissions under way.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

use super::TICK;
use crate::{
    clock::Clock,
    hosts::{Hosts, Refusal},
    identity::Sighting,
    store::{CandidateRow, Store},
};

/// Names that are kept; the next one is not.
const KEPT_MAX: usize = 20_000;

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
}

impl Kept {
    pub(super) fn of(rows: Vec<CandidateRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.hostname.clone(), row)).collect();
        Self { rows, dirty: Vec::new() }
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
            self.save().await;
            let wanted = self.wanted();
            let admitted = wanted.iter().map(|name| self.admit(name));
            futures_util::future::join_all(admitted).await;
            tokio::time::sleep(TICK).await;
        }
    }

    async fn save(&self) {
        let (names, rows) = {
            let mut kept = self.kept.lock();
            let names = std::mem::take(&mut kept.dirty);
            let rows: Vec<CandidateRow> =
                names.iter().filter_map(|name| kept.rows.get(name).cloned()).collect();
            (names, rows)
        };
        if rows.is_empty() {
            return;
        }
        if let Err(error) = self.store.save_candidates(&rows).await {
            tracing::debug!(%error, "candidates are kept later");
            self.kept.lock().dirty.extend(names);
        }
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
