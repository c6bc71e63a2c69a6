//! Starts what has to be asked: rows from the store, identities, statuses; and waits (RES-*, SEC-3).

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use futures_util::FutureExt as _;
use metrics::counter;
use relay_protocol::{Did, DidMethod};

use super::{Finding, Shard, answers::Rows};
use crate::{
    accounts::probe::Probed,
    domain::{DropReason, EventKind},
    identity::IdentityError,
    ingest::{
        parking::{Item, On, Queued, WAIT_MS_MAX, Waiting},
        verdict::Ask,
    },
    store::{Store, StoreError},
    telemetry::metrics::INGEST_LOOKUPS_TOTAL,
};

/// Lookups of one shard at a time at the PLC directory, whose own rate is kept by `identity`.
const PLC_MAX: usize = 256;
/// Lookups of one shard at a time at did:web hosts; apart, because a slow one takes 5 s (RES-6).
const WEB_MAX: usize = 128;
/// Lookups nobody waits for, per shard; beyond it the next event of the account tries again.
pub(super) const BACKGROUND_MAX: usize = 16;
/// RES-4 rechecks that may be due per shard; beyond it an old document is found by its signature.
pub(super) const RECHECKS_MAX: usize = 4096;
/// RES-4: when to look again after an `#identity` that changed nothing.
const RECHECK_MS: [u64; 2] = [10_000, 60_000];
/// Pauses between tries: 1 s, doubled up to this.
const RETRY_MS_MAX: u64 = 60_000;
/// Rows asked for in one query.
const LOAD_MAX: usize = 256;
/// Pause after the store failed.
const RELOAD_MS: u64 = 1_000;
/// SEC-3: a DID that was looked up in vain is not looked up again for events of the same kind.
const STRANGER_MS: u64 = 60_000;

/// What is due at a time.
#[derive(Debug)]
pub(super) enum Timer {
    /// Ask again for a parked DID, if it is still the same wait.
    Retry(Did, u64),
    /// Look at an identity again, unless it changed since this time.
    Recheck(Did, u64),
    /// Ask the store again.
    Reload,
    /// Tell of a change that was found at this time, if nobody did (IDE-6).
    Tell(Did, u64),
    /// The account of a parked DID may send one more event (HOST-12).
    Turn(Did),
}

/// Lookups under way and in line.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    plc: Pool,
    web: Pool,
    pub(super) in_background: usize,
}

#[derive(Debug, Default)]
struct Pool {
    running: usize,
    line: VecDeque<(Did, bool)>,
}

/// Which pool a lookup belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The PLC directory.
    Plc,
    /// A did:web host.
    Web,
    /// Nobody waits.
    Background,
}

impl Lookups {
    /// A lookup has ended.
    pub(super) fn ended(&mut self, lane: Lane) {
        let running = match lane {
            Lane::Plc => &mut self.plc.running,
            Lane::Web => &mut self.web.running,
            Lane::Background => &mut self.in_background,
        };
        *running = running.saturating_sub(1);
    }

    /// The next one that may start.
    fn next(&mut self) -> Option<(Did, bool, Lane)> {
        for (pool, most, lane) in
            [(&mut self.plc, PLC_MAX, Lane::Plc), (&mut self.web, WEB_MAX, Lane::Web)]
        {
            if pool.running >= most {
                continue;
            }
            if let Some((did, fresh)) = pool.line.pop_front() {
                pool.running = pool.running.saturating_add(1);
                return Some((did, fresh, lane));
            }
        }
        None
    }
}

impl Shard {
    /// Parks the first event of a DID.
    pub(super) fn wait(&mut self, mut queued: Queued, on: On) {
        let did = queued.arrival.did.clone();
        queued.since_ms = self.room.clock.steady_ms();
        if let Some(mut waiting) = self.parking.take(&did) {
            // Events of other hosts wait already; this one goes before them.
            waiting.attempt = 0;
            self.wait_again(did, waiting, Some(queued), on);
            return;
        }
        self.ask_for(&did, &queued, on);
        self.parking.open(did, on, Item::Event(queued));
    }

    /// Parks what is left of a queue, with the event that has to wait in front.
    pub(super) fn wait_again(
        &mut self,
        did: Did,
        mut waiting: Waiting,
        first: Option<Queued>,
        on: On,
    ) {
        if let Some(mut queued) = first {
            if queued.since_ms == 0 {
                queued.since_ms = self.room.clock.steady_ms();
            }
            self.ask_for(&did, &queued, on);
            waiting.items.push_front(Item::Event(queued));
        }
        waiting.on = on;
        waiting.only_foreign = false;
        self.parking.put_back(did, waiting);
    }

    /// Parks an event behind others of its DID.
    pub(super) fn park(&mut self, queued: Queued) {
        let now_ms = self.room.clock.steady_ms();
        if let Err(queued) = self.parking.push(queued, now_ms) {
            if matches!(self.parking.waits_on(&queued.arrival.did), Some(On::Turn(_))) {
                self.overflowed(&queued);
                return;
            }
            self.drop_event(
                &queued,
                DropReason::ParkingFull,
                "64 events or 1 MiB of this account wait for its identity".to_owned(),
            );
        }
    }

    /// Puts in line what an event waits for.
    fn ask_for(&mut self, did: &Did, queued: &Queued, on: On) {
        let now_ms = self.room.clock.steady_ms();
        let ask = match on {
            On::Answer(ask) => ask,
            On::Row => return self.loads.push(did.clone()),
            On::Turn(wait_ms) => {
                let due_ms = now_ms.saturating_add(wait_ms);
                return self.set_timer(due_ms, Timer::Turn(did.clone()));
            }
            On::Retry(_) => return,
        };
        counter!(INGEST_LOOKUPS_TOTAL, "cause" => ask.label()).increment(1);
        let host = queued.arrival.host.id();
        match ask {
            Ask::Status => return self.probe(did),
            Ask::Host => self.looked_up_for(host, now_ms),
            Ask::Announced => {
                let mut own = false;
                if let Some(entry) = self.table.get(did) {
                    own = entry.account.host == host;
                    if own {
                        entry.recent_mut().announcement_followed(now_ms);
                    }
                }
                if !own {
                    self.looked_up_for(host, now_ms);
                }
            }
            Ask::FirstSight | Ask::Key | Ask::Expired => {}
        }
        // What was kept of an earlier failure says nothing about an announced change.
        let is_news = ask != Ask::FirstSight || queued.arrival.kind == EventKind::Identity;
        self.look_up(did.clone(), is_news);
    }

    /// Asks again for a parked DID.
    pub(super) fn ask_again(&mut self, did: &Did, ask: Ask) {
        if ask == Ask::Status {
            self.probe(did);
        } else {
            self.look_up(did.clone(), false);
        }
    }

    fn look_up(&mut self, did: Did, fresh: bool) {
        let pool = match did.method(self.room.dev) {
            Ok(DidMethod::Web) => &mut self.lookups.web,
            Ok(DidMethod::Plc) | Err(_) => &mut self.lookups.plc,
        };
        pool.line.push_back((did, fresh));
    }

    /// Starts lookups and loads that are in line, as many as may run.
    pub(super) fn start_asking(&mut self) {
        while let Some((did, fresh, lane)) = self.lookups.next() {
            self.start_lookup(did, fresh, lane);
        }
        self.start_load();
    }

    fn start_lookup(&self, did: Did, fresh: bool, lane: Lane) {
        let identities = self.room.identities.clone();
        self.start(async move {
            // A lookup that panics must not park its DID for ever (I6).
            let fetched =
                std::panic::AssertUnwindSafe(identities.fetch(&did, fresh)).catch_unwind().await;
            let result = fetched.unwrap_or_else(|_| {
                Err(IdentityError::Unavailable("this relay failed while fetching it".to_owned()))
            });
            Finding::Identity { did, lane, result }
        });
    }

    /// RES-2, RES-4: a lookup that nobody waits for.
    pub(super) fn refresh_in_background(&mut self, did: &Did, cause: &'static str, fresh: bool) {
        if self.lookups.in_background >= BACKGROUND_MAX {
            return;
        }
        let Some(entry) = self.table.get(did) else { return };
        if std::mem::replace(&mut entry.refreshing, true) {
            return;
        }
        counter!(INGEST_LOOKUPS_TOTAL, "cause" => cause).increment(1);
        self.lookups.in_background = self.lookups.in_background.saturating_add(1);
        self.start_lookup(did.clone(), fresh, Lane::Background);
    }

    /// RES-4: the directory's replica may not know yet.
    pub(super) fn recheck_later(&mut self, did: &Did) {
        let now_ms = self.room.clock.steady_ms();
        for pause_ms in RECHECK_MS {
            if self.rechecks >= RECHECKS_MAX {
                return;
            }
            self.rechecks = self.rechecks.saturating_add(1);
            self.set_timer(now_ms.saturating_add(pause_ms), Timer::Recheck(did.clone(), now_ms));
        }
    }

    /// VAL-6.
    fn probe(&mut self, did: &Did) {
        let Some(entry) = self.table.peek(did) else { return };
        let host = self.room.hosts.get(entry.account.host);
        let probes = self.room.probes.clone();
        let did = did.clone();
        self.start(async move {
            let Some(host) = host else {
                let answer = Probed::Unreachable("the account has no known host".to_owned());
                return Finding::Status { did, probed: answer };
            };
            let scheme = if host.hostname().is_secure() { "https" } else { "http" };
            let url = format!("{scheme}://{}", host.hostname());
            let asking = std::panic::AssertUnwindSafe(probes.ask(host.id(), &url, &did));
            let answer = asking.catch_unwind().await.unwrap_or_else(|_| {
                Probed::Unreachable("this relay failed while asking".to_owned())
            });
            Finding::Status { did, probed: answer }
        });
    }

    fn start_load(&mut self) {
        if self.loading || self.loads.is_empty() {
            return;
        }
        self.loading = true;
        let rest = self.loads.split_off(self.loads.len().min(LOAD_MAX));
        let dids = std::mem::replace(&mut self.loads, rest);
        let store = self.room.store.clone();
        self.start(async move {
            let rows = read_rows(&store, &dids).await;
            Finding::Rows { dids, rows }
        });
    }

    /// Runs a question beside the shard; the daemon's stop ends it.
    fn start(&self, question: impl Future<Output = Finding> + Send + 'static) {
        let found = self.found.clone();
        let stopping = self.room.tasks.stopping().clone();
        self.room.tasks.start(async move {
            let finding = tokio::select! {
                () = stopping.cancelled() => return,
                finding = question => finding,
            };
            // The shard is gone only when the daemon stops.
            if found.send(finding).await.is_err() {
                tracing::debug!("an answer came after its shard had stopped");
            }
        });
    }

    /// VAL-2, VAL-3, SEC-3: reasons not to look up a DID that we know nothing of.
    pub(super) fn refuse_unknown(&mut self, queued: &Queued) -> Option<(DropReason, String)> {
        let arrival = &queued.arrival;
        if let Err(invalid) = arrival.did.method(self.room.dev) {
            return Some((DropReason::BadDid, invalid.what.to_owned()));
        }
        let now_ms = self.room.clock.steady_ms();
        let known = self
            .strangers
            .get(&arrival.did)
            .filter(|stranger| now_ms.saturating_sub(stranger.checked_ms) < STRANGER_MS);
        if let Some(stranger) = known {
            let sender = arrival.host.hostname();
            match stranger.host.as_deref() {
                Some(host) if host == sender.as_str() => {}
                // To a relay any host will do.
                Some(_) if arrival.host.is_source() => {}
                Some(_) => return Some((DropReason::WrongHost, stranger.why.clone())),
                None if arrival.kind == EventKind::Identity => {}
                None => return Some((DropReason::IdentityInvalid, stranger.why.clone())),
            }
        }
        if self.may_look_up_for(arrival.host.id(), now_ms) {
            return None;
        }
        Some((
            DropReason::IdentityUnavailable,
            "this host sent too many events for accounts that are not its own; \
             no identity is looked up for it for a moment"
                .to_owned(),
        ))
    }

    /// Waits until it makes sense to ask again, or until the events have waited too long.
    pub(super) fn retry_later(&mut self, did: Did, mut waiting: Waiting, ask: Ask) {
        let now_ms = self.room.clock.steady_ms();
        let doubled = 1_000_u64.checked_shl(waiting.attempt).unwrap_or(RETRY_MS_MAX);
        waiting.attempt = waiting.attempt.saturating_add(1);
        let mut due_ms = now_ms.saturating_add(doubled.min(RETRY_MS_MAX));
        if let Some(Item::Event(first)) = waiting.items.front() {
            due_ms = due_ms.min(first.since_ms.saturating_add(WAIT_MS_MAX));
        }
        let only_foreign = waiting.only_foreign;
        waiting.on = On::Retry(ask);
        self.parking.put_back(did.clone(), waiting);
        if let Some(waiting) = self.parking.get(&did) {
            waiting.only_foreign = only_foreign;
            let serial = waiting.serial;
            self.set_timer(due_ms, Timer::Retry(did, serial));
        }
    }

    /// Asks the store again after a pause.
    pub(super) fn reload_later(&mut self, dids: Vec<Did>) {
        self.loads.extend(dids);
        let due_ms = self.room.clock.steady_ms().saturating_add(RELOAD_MS);
        self.set_timer(due_ms, Timer::Reload);
    }

    pub(super) fn set_timer(&mut self, due_ms: u64, timer: Timer) {
        self.timers_set = self.timers_set.wrapping_add(1);
        self.timers.insert((due_ms, self.timers_set), timer);
    }

    /// How long to sleep until the next timer; `None` when there is none.
    pub(super) fn nap(&self) -> Option<Duration> {
        let ((due_ms, _), _) = self.timers.first_key_value()?;
        let left_ms = due_ms.saturating_sub(self.room.clock.steady_ms());
        Some(Duration::from_millis(left_ms).min(super::NAP))
    }

    /// Does what is due.
    pub(super) fn fire_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now_ms = self.room.clock.steady_ms();
        while let Some(first) = self.timers.first_entry().filter(|first| first.key().0 <= now_ms) {
            match first.remove() {
                Timer::Retry(did, serial) => self.retry(&did, serial, now_ms),
                Timer::Recheck(did, since_ms) => {
                    self.rechecks = self.rechecks.saturating_sub(1);
                    let is_settled = self
                        .table
                        .peek(&did)
                        .is_none_or(|entry| entry.recent().identity_changed_ms > since_ms);
                    if !is_settled {
                        self.refresh_in_background(&did, "recheck", true);
                    }
                }
                Timer::Reload => self.loading = false,
                Timer::Tell(did, found_ms) => {
                    self.rechecks = self.rechecks.saturating_sub(1);
                    self.tell_identity(&did, found_ms);
                }
                Timer::Turn(did) => self.go_on_in_turn(did),
            }
        }
    }

    fn retry(&mut self, did: &Did, serial: u64, now_ms: u64) {
        let is_current = matches!(
            self.parking.get(did),
            Some(waiting) if waiting.serial == serial && matches!(waiting.on, On::Retry(_))
        );
        if !is_current {
            return;
        }
        let Some(mut waiting) = self.parking.take(did) else { return };
        let On::Retry(ask) = waiting.on else { return };
        while let Some(Item::Event(first)) = waiting.items.front() {
            if now_ms.saturating_sub(first.since_ms) < WAIT_MS_MAX {
                break;
            }
            let Some(Item::Event(expired)) = waiting.items.pop_front() else { break };
            self.drop_event(
                &expired,
                DropReason::IdentityUnavailable,
                format!("waited 10 minutes; the identity was asked for {} times", waiting.attempt),
            );
        }
        if waiting.items.is_empty() {
            return;
        }
        let only_foreign = waiting.only_foreign;
        self.wait_again(did.clone(), waiting, None, On::Answer(ask));
        if let Some(waiting) = self.parking.get(did) {
            waiting.only_foreign = only_foreign;
        }
        self.ask_again(did, ask);
    }
}

/// Rows of these DIDs, and decisions about those that have none.
async fn read_rows(store: &Store, dids: &[Did]) -> Result<Rows, StoreError> {
    let rows = store.accounts(dids).await?;
    let known: HashSet<&Did> = rows.iter().map(|row| &row.did).collect();
    let absent: Vec<Did> = dids.iter().filter(|did| !known.contains(did)).cloned().collect();
    if absent.is_empty() {
        return Ok((rows, Vec::new()));
    }
    let decisions = store.local_statuses(&absent).await?;
    Ok((rows, decisions))
}
