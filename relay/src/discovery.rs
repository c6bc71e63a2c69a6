//! Learns of hosts and accounts besides events: from other relays' lists of hosts (HOST-13), from
//! hosts' lists of accounts (ACC-10).
//!
//! In: what an operator asks for and what the settings name. Out: hosts through `hosts`, accounts
//! through `ingest`. Every list is read page by page and the place is kept in the store, so that a
//! restart goes on where it was. Lists are claims: a host is only dialled, and an account is believed
//! when its DID document confirms it. Bounded: one page in memory per list, pages and entries per list.

mod asking;
mod candidates;
mod directory;
mod follow;
mod groups;
mod introduce;
mod listing;
mod measure;
mod page;
mod pull;
mod repos;
mod scans;
pub mod takeover;
mod walk;
mod walks;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use relay_protocol::Hostname;
use serde_json::{Value, json};

use crate::{
    accounts::probe::Probes,
    clock::Clock,
    domain::HostId,
    hosts::Hosts,
    identity::Identities,
    ingest::Ingest,
    net::Net,
    store::{CandidateRow, PullRow, ScanWish, Store, StoreError, WalkRow},
    tasks::Tasks,
    telemetry::escape,
    units::time_text,
};

pub use self::{
    candidates::CandidateMode,
    groups::Turn,
    introduce::Introduced,
    listing::room_for,
    page::Page,
    pull::{Place, pull},
    walks::WalkView,
};
use self::{
    candidates::Candidates, directory::DIRECTORY, follow::Follower, groups::Groups, measure::List,
    walk::Walker, walks::Walks,
};

/// How often the relays of the settings are asked again.
const CHECK_EVERY_MS: u64 = 6 * 3_600_000;

/// How long a relay of the settings that failed is left alone.
const RETRY_MS: u64 = 5 * 60_000;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// What discovery works with.
#[derive(Debug, Clone)]
pub struct DiscoveryParts {
    /// Keeps the places in the lists.
    pub store: Store,
    /// Takes the hosts.
    pub hosts: Hosts,
    /// Takes the accounts.
    pub ingest: Ingest,
    /// Says whose accounts they are.
    pub identities: Identities,
    /// Asks.
    pub net: Net,
    /// Clock of all pauses.
    pub clock: Clock,
    /// Relays whose lists are read when the relay is new, and again every six hours
    /// (`RELAY_BOOTSTRAP_FROM`).
    pub bootstrap_from: Vec<Hostname>,
    /// What becomes of hosts that DID documents name.
    pub candidates: CandidateMode,
    /// The PLC directory, without slash at the end.
    pub plc_url: String,
    /// Whether its operations are followed (`RELAY_PLC_STREAM`).
    pub plc_stream: bool,
    /// Development mode.
    pub dev: bool,
}

/// What the store knows of earlier runs.
#[derive(Debug, Default)]
pub struct Earlier {
    pulls: Vec<PullRow>,
    walks: Vec<WalkRow>,
    candidates: Vec<CandidateRow>,
    scan: Option<ScanWish>,
}

impl Earlier {
    /// Reads it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            pulls: store.pulls().await?,
            walks: store.walks().await?,
            candidates: store.candidates().await?,
            scan: store.scan_wish().await?,
        })
    }
}

/// A run through the list of another relay, as the API shows it.
#[derive(Debug, Clone)]
pub struct PullView {
    /// How far it is.
    pub row: PullRow,
    /// Whether it goes on by itself.
    pub running: bool,
}

impl PullView {
    /// What it does, in a word.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match (self.running, self.row.finished_ms) {
            (true, _) => "running",
            (false, Some(_)) => "finished",
            (false, None) => "stopped",
        }
    }

    /// For programs: in the admin API, and where the command answers without it.
    #[must_use]
    pub fn json(&self) -> Value {
        let row = &self.row;
        json!({
            "from": row.source,
            "status": self.status(),
            "listed": row.listed,
            "added": row.added,
            "known": row.known,
            "passedOver": row.passed_over,
            "refused": row.refused,
            "startedAt": time_text(row.started_ms),
            "finishedAt": row.finished_ms.map(time_text),
            "lastError": row.last_error.as_deref().map(|text| escape(text, 500)),
        })
    }
}

/// Reads lists of others; cheap to clone.
#[derive(Debug, Clone)]
pub struct Discovery {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: DiscoveryParts,
    tasks: Tasks,
    pulls: Mutex<BTreeMap<String, Pull>>,
    walks: Arc<Walks>,
    candidates: Arc<Candidates>,
}

#[derive(Debug)]
struct Pull {
    row: PullRow,
    running: bool,
    /// When it ended in this process, by the steady clock.
    tried_ms: Option<u64>,
}

impl Discovery {
    /// Goes on with what an earlier process left, and reads what the settings name.
    pub fn start(parts: DiscoveryParts, earlier: Earlier, tasks: &Tasks) -> Self {
        let mut interrupted = Vec::new();
        let mut interrupted_scan = None;
        let mut pulls = BTreeMap::new();
        for row in earlier.pulls {
            match row.finished_ms.is_none() && row.last_error.is_none() {
                true if row.source == DIRECTORY => interrupted_scan = Some(row.clone()),
                true => interrupted.push(source_of(&row)),
                false => {}
            }
            pulls.insert(row.source.clone(), Pull { row, running: false, tried_ms: None });
        }
        let candidates = Arc::new(candidates_of(&parts, earlier.candidates));
        let sightings = parts.identities.sightings();
        let walks = Arc::new(Walks::new(walker(&parts), earlier.walks, tasks));
        let inner = Inner {
            parts,
            tasks: tasks.clone(),
            pulls: Mutex::new(pulls),
            walks: Arc::clone(&walks),
            candidates: Arc::clone(&candidates),
        };
        let stopping = tasks.stopping().clone();
        tasks.start(async move {
            let both = async { tokio::join!(walks.keep_up(), candidates.keep_up(sightings)) };
            stopping.run_until_cancelled(Box::pin(both)).await;
        });
        let discovery = Self { inner: Arc::new(inner) };
        for source in interrupted.into_iter().flatten() {
            discovery.pull(&source);
        }
        if let Some(row) = interrupted_scan {
            discovery.scan(row, earlier.scan.unwrap_or_default());
        }
        if discovery.inner.parts.plc_stream {
            let (follower, stopping) = (follower(&discovery.inner.parts), tasks.stopping().clone());
            tasks.start(async move {
                stopping.run_until_cancelled(Box::pin(follower.run())).await;
            });
        }
        if !discovery.inner.parts.bootstrap_from.is_empty() {
            let (keeper, stopping) = (discovery.clone(), tasks.stopping().clone());
            tasks.start(async move {
                stopping.run_until_cancelled(keeper.keep_up()).await;
            });
        }
        discovery
    }

    /// Reads the list of another relay: goes on where an earlier run stopped, or begins anew after one
    /// that was finished. Gives `false` when it is being read already.
    pub fn pull(&self, source: &Hostname) -> bool {
        let now_ms = self.inner.parts.clock.now_ms();
        let mut pulls = self.inner.pulls.lock();
        let known = pulls.get(source.as_str());
        if known.is_some_and(|known| known.running) {
            return false;
        }
        let row = match known {
            Some(known) if known.row.finished_ms.is_none() => known.row.clone(),
            _ => fresh(source, now_ms),
        };
        let pull = Pull { row: row.clone(), running: true, tried_ms: None };
        pulls.insert(row.source.clone(), pull);
        measure_running(&pulls);
        drop(pulls);
        let (own, stopping) = (self.clone(), self.inner.tasks.stopping().clone());
        self.inner.tasks.start(async move {
            stopping.run_until_cancelled(Box::pin(own.run(row))).await;
        });
        true
    }

    /// All lists of hosts that were ever read, by name of the relay.
    pub fn pulls(&self) -> Vec<PullView> {
        let pulls = self.inner.pulls.lock();
        let view = |pull: &Pull| PullView { row: pull.row.clone(), running: pull.running };
        pulls.values().map(view).collect()
    }

    /// Hosts that DID documents name and that were not known, by name.
    pub fn candidates(&self) -> Vec<CandidateRow> {
        self.inner.candidates.all()
    }

    /// Puts the list of accounts of a host in line; it is read at once, whatever its turn (ACC-10).
    ///
    /// # Errors
    /// [`StoreError`]: a restart would forget it.
    pub async fn resync(&self, host: HostId) -> Result<(), StoreError> {
        self.inner.walks.ask(host).await
    }

    /// All lists of accounts that were ever read, in order of host.
    pub fn walks(&self) -> Vec<WalkView> {
        self.inner.walks.views()
    }

    async fn run(&self, row: PullRow) {
        let parts = &self.inner.parts;
        let place = Place {
            store: parts.store.clone(),
            hosts: parts.hosts.clone(),
            net: parts.net.clone(),
            clock: parts.clock.clone(),
        };
        let ended = pull(&place, row, |row| self.note(row, true)).await;
        self.note(&ended, false);
        let PullRow { source, listed, added, .. } = &ended;
        match &ended.last_error {
            None => tracing::info!(source, listed, added, "the list of a relay was read"),
            Some(error) => {
                tracing::warn!(source, listed, added, %error, "the list of a relay was not read");
            }
        }
    }

    fn note(&self, row: &PullRow, running: bool) {
        let tried_ms = (!running).then(|| self.inner.parts.clock.steady_ms());
        let pull = Pull { row: row.clone(), running, tried_ms };
        let mut pulls = self.inner.pulls.lock();
        let before = pulls.insert(row.source.clone(), pull).map_or(0, |before| before.row.added);
        if running {
            // After each page; once more at the end.
            list_of(row).page(row.last_error.is_none(), row.added.saturating_sub(before));
        }
        measure_running(&pulls);
    }

    /// Asks the relays of the settings whenever it is time.
    async fn keep_up(&self) {
        loop {
            for source in &self.inner.parts.bootstrap_from {
                if self.is_due(source) {
                    self.pull(source);
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn is_due(&self, source: &Hostname) -> bool {
        let clock = &self.inner.parts.clock;
        let pulls = self.inner.pulls.lock();
        let Some(pull) = pulls.get(source.as_str()) else { return true };
        let tried_ms = pull.tried_ms.map(|at_ms| clock.steady_ms().saturating_sub(at_ms));
        !pull.running && is_due(pull.row.finished_ms, tried_ms, clock.now_ms())
    }
}

fn list_of(row: &PullRow) -> List {
    if row.source == DIRECTORY { List::Directory } else { List::Hosts }
}

fn measure_running(pulls: &BTreeMap<String, Pull>) {
    for list in [List::Hosts, List::Directory] {
        let runs = |pull: &&Pull| pull.running && list_of(&pull.row) == list;
        list.running(pulls.values().filter(runs).count());
    }
}

fn candidates_of(parts: &DiscoveryParts, earlier: Vec<CandidateRow>) -> Candidates {
    Candidates {
        store: parts.store.clone(),
        hosts: parts.hosts.clone(),
        clock: parts.clock.clone(),
        mode: parts.candidates,
        kept: Mutex::new(candidates::Kept::of(earlier)),
    }
}

fn follower(parts: &DiscoveryParts) -> Follower {
    Follower {
        store: parts.store.clone(),
        net: parts.net.clone(),
        ingest: parts.ingest.clone(),
        clock: parts.clock.clone(),
        url: parts.plc_url.clone(),
        dev: parts.dev,
    }
}

fn walker(parts: &DiscoveryParts) -> Walker {
    Walker {
        store: parts.store.clone(),
        hosts: parts.hosts.clone(),
        net: parts.net.clone(),
        clock: parts.clock.clone(),
        ingest: parts.ingest.clone(),
        identities: parts.identities.clone(),
        probes: Probes::new(parts.net.clone()),
        groups: Groups::new(parts.clock.clone()),
        next_lookup: Arc::default(),
    }
}

/// * `finished_ms` – end of the last whole run, `None` when it is not whole
/// * `tried_ms` – how long ago this process tried
fn is_due(finished_ms: Option<u64>, tried_ms: Option<u64>, now_ms: u64) -> bool {
    match (finished_ms, tried_ms) {
        // A clock that was set back must not put it off for longer than that.
        (Some(at_ms), _) => now_ms.abs_diff(at_ms) >= CHECK_EVERY_MS,
        (None, Some(ago_ms)) => ago_ms >= RETRY_MS,
        (None, None) => true,
    }
}

/// A run from the first page.
pub fn fresh(source: &Hostname, now_ms: u64) -> PullRow {
    PullRow {
        source: source.as_str().to_owned(),
        secure: source.is_secure(),
        started_ms: now_ms,
        ..PullRow::default()
    }
}

/// The relay of a row, unless the row is not ours.
fn source_of(row: &PullRow) -> Option<Hostname> {
    let scheme = if row.secure { "https" } else { "http" };
    Hostname::parse(&format!("{scheme}://{}", row.source), true).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HOST-13: lists of other relays are read again every six hours, and one that failed is left
    /// alone for a while.
    #[test]
    fn a_list_is_due_when_it_is_old_or_was_not_read() {
        const NOW: u64 = 1_800_000_000_000;
        for (finished_ms, tried_ms, due) in [
            (None, None, true),
            (None, Some(0), false),
            (None, Some(RETRY_MS - 1), false),
            (None, Some(RETRY_MS), true),
            (Some(NOW), Some(0), false),
            (Some(NOW - CHECK_EVERY_MS + 1), None, false),
            (Some(NOW - CHECK_EVERY_MS), None, true),
            (Some(NOW + CHECK_EVERY_MS), None, true),
        ] {
            assert_eq!(is_due(finished_ms, tried_ms, NOW), due, "{finished_ms:?} {tried_ms:?}");
        }
    }
}
