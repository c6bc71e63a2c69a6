//! Judges one event and carries out the verdict.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use relay_protocol::{Edit, Unsequenced, unsequence};

use super::{Queued, Shard, telling::praise, throttling::had_its_turn};
use crate::{
    accounts::{
        NO_HOST,
        levels::AccountTurn,
        limits::{FOREIGN_LOOKUPS, Recent},
    },
    clock::Clock,
    domain::{
        AccountNo, DropReason, EventKind, HostId, LastEvent, LocalStatus, RepoState,
        UpstreamStatus, effective,
    },
    drops::Dropped,
    eventlog,
    hosts::{Host, Hosts},
    ingest::{
        Arrival,
        failures::Failure,
        judge::{Asked, Facts, Fresh, Sender},
        note::{Course, Note},
        parking::On,
        table::Entry,
        verdict::{Ask, Continuity, Stop, Verdict},
    },
};

/// RES-2, DESIGN 10.8: after this the identity is confirmed in the background.
const FRESH_MS: u64 = 24 * 3_600_000;

/// Nothing is known of a DID without an account.
static NOTHING: Recent = Recent::new(false);

/// The decision, replaceable by tests that need one that fails.
pub(in crate::ingest) type Judge = for<'m> fn(&Facts<'_>, EventKind, &'m [u8]) -> Verdict<'m>;

/// How far an event came.
pub(super) enum Step {
    /// It left the shard, or is in the batch for the log.
    Done,
    /// Its account is not in memory.
    Load(Queued),
    /// Something has to be asked first, or some time has to pass.
    Wait(Queued, On),
}

/// A judged event, free of the frame it came in.
pub(super) struct Passed {
    frame: Unsequenced,
    repo: Option<RepoState>,
    upstream: Option<UpstreamStatus>,
    pub(super) continuity: Option<Continuity>,
    pub(super) spared: Option<(DropReason, String)>,
    repeats: bool,
    says: u64,
    pub(super) unconfirmed: bool,
}

impl Shard {
    /// Judges an event and carries out the verdict.
    ///
    /// * `absent` – the store has no row of the DID
    /// * `asked` – what was asked for this event before
    pub(super) fn process(&mut self, queued: Queued, absent: bool, asked: Asked<'_>) -> Step {
        let arrival = &queued.arrival;
        let host = arrival.host.id();
        let (now_us, steady_ms) = (self.room.clock.latest_us(), self.room.clock.steady_ms());
        let host_may_ask = self.may_look_up_for(host, steady_ms);
        let mut entry = self.table.get(&arrival.did);
        if entry.as_ref().is_some_and(|entry| entry.account.host == NO_HOST) {
            self.move_in(arrival);
            entry = self.table.get(&arrival.did);
        }
        if entry.is_none() && !absent {
            return Step::Load(queued);
        }
        let entry = entry.as_deref();
        let limits = arrival.host.account_limits();
        let hosts = &self.room.hosts;
        let facts = Facts {
            did: &arrival.did,
            account: entry.map(|entry| &entry.account),
            key: entry.and_then(|entry| self.keys.parsed(entry.account.key.as_ref()?)),
            recent: entry.map_or(&NOTHING, Entry::recent),
            turn: entry.map_or(AccountTurn::Now, |entry| {
                let levels = self.levels.peek(&entry.account.number);
                levels.map_or(AccountTurn::Now, |levels| levels.turn(limits, steady_ms))
            }),
            sender: sender(&arrival.host, entry, hosts),
            host,
            epoch: arrival.epoch,
            host_seq: arrival.host_seq,
            now_us,
            steady_ms,
            strict: arrival.host.is_strict(),
            dev: self.room.dev,
            host_may_ask,
            asked,
            name_of: &|id| {
                hosts.get(id).map_or_else(
                    || format!("host {id}, which is not known any more"),
                    |host| host.hostname().to_string(),
                )
            },
        };
        let stop = match weigh(self.judge, &facts, arrival, &self.room.clock) {
            Ok(Ok(passed)) => {
                self.accept(queued, passed, steady_ms);
                return Step::Done;
            }
            Ok(Err(stop)) => stop,
            Err(message) => {
                self.failed(&queued, message);
                return Step::Done;
            }
        };
        self.stopped(queued, stop, asked)
    }

    /// What becomes of an event that does not pass now.
    fn stopped(&mut self, queued: Queued, stop: Stop, asked: Asked<'_>) -> Step {
        match stop {
            Stop::Ask(Ask::FirstSight) => match self.refuse_unknown(&queued) {
                None => Step::Wait(queued, On::Answer(Ask::FirstSight)),
                Some((reason, detail)) => {
                    self.drop_event(&queued, reason, detail);
                    Step::Done
                }
            },
            Stop::Ask(ask) => Step::Wait(queued, On::Answer(ask)),
            Stop::Later(wait_ms) => Step::Wait(queued, On::Turn(wait_ms)),
            Stop::Over(exceeded) => {
                self.over(&queued, exceeded);
                Step::Done
            }
            Stop::Drop(reason, detail) => {
                if had_its_turn(reason)
                    && let Some(entry) = self.table.peek(&queued.arrival.did)
                {
                    self.took_its_turn(entry.account.number, &queued.arrival);
                }
                // A migration may be announced before the directory's replica knows of it (RES-4).
                let told_nothing_new =
                    matches!(asked.identity, Some(Fresh::Document { changed: false, .. }));
                if reason == DropReason::Redundant && told_nothing_new {
                    self.recheck_later(&queued.arrival.did);
                }
                self.drop_event(&queued, reason, detail);
                Step::Done
            }
        }
    }

    /// VAL-4: the DID document names a host that was not known when the document was read. Now that
    /// host speaks, and there is nothing to ask.
    fn move_in(&mut self, arrival: &Arrival) {
        let is_expected = self.table.get(&arrival.did).is_some_and(|entry| {
            entry.account.host == NO_HOST
                && entry.recent().named_host.as_deref() == Some(arrival.host.hostname().as_str())
        });
        if !is_expected {
            return;
        }
        let moved = self.table.change(&arrival.did, |entry| {
            entry.account.host = arrival.host.id();
            entry.identity_unlogged = true;
            entry.recent_mut().named_host = None;
        });
        if let Some(((), moved)) = moved {
            self.counted(&arrival.did, moved);
        }
    }

    fn accept(&mut self, queued: Queued, passed: Passed, steady_ms: u64) {
        let Queued { arrival, place, .. } = queued;
        let host = arrival.host.id();
        let kind = arrival.kind;
        if self.room.verdicts.is_some() {
            let before = self.table.get(&arrival.did).and_then(|entry| entry.account.repo);
            self.room.tell(&arrival, None, praise(&arrival, &passed, before));
        }
        let limits = arrival.host.account_limits();
        let is_broken =
            passed.continuity == Some(Continuity::Discontinuous) && passed.spared.is_none();
        let mut broke_too_often = false;
        let changed = self.table.change(&arrival.did, |entry| {
            let was_active = is_active(entry);
            let course = course(kind, &passed, entry.account.repo);
            let moved = has_moved(entry, &self.room.hosts);
            if let Some(repo) = passed.repo {
                entry.account.repo = Some(repo);
            }
            if let Some(upstream) = &passed.upstream {
                entry.account.upstream.clone_from(upstream);
            }
            entry.account.last =
                Some(LastEvent { host, epoch: arrival.epoch, host_seq: arrival.host_seq });
            let returned = !was_active && is_active(entry);
            match kind {
                EventKind::Commit => {
                    broke_too_often = entry.note_commit(is_broken, limits, steady_ms);
                }
                EventKind::Sync => entry.recent_mut().sync_passed(passed.repeats, steady_ms),
                EventKind::Identity => entry.recent_mut().identity_passed(passed.says, steady_ms),
                EventKind::Account => {
                    entry.recent_mut().account_passed(passed.says, returned, steady_ms);
                }
            }
            let now_ms = self.room.clock.now_ms();
            let age_ms = now_ms.saturating_sub(entry.account.identity_checked_ms);
            (
                entry.account.number,
                note(entry, (host, kind), (course, moved)),
                age_ms > FRESH_MS && !entry.refreshing,
            )
        });
        let Some(((account, note, is_due), moved)) = changed else { return };
        self.counted(&arrival.did, moved);
        // `#identity` has a limit of its own (IDE-5).
        if kind != EventKind::Identity {
            self.took_its_turn(account, &arrival);
        }
        if is_due {
            self.refresh_in_background(&arrival.did, "age", false);
        }
        if broke_too_often {
            self.broke_too_often(&arrival.did);
        }
        self.held.extend(place);
        self.log(&arrival, (account, note), passed);
    }

    /// An event that passed goes on its way to the log, and is counted.
    fn log(&mut self, arrival: &Arrival, (account, note): (AccountNo, Bytes), passed: Passed) {
        let kind = arrival.kind;
        self.out.push(eventlog::Entry {
            kind,
            account,
            host: arrival.host.id(),
            epoch: arrival.epoch,
            host_seq: arrival.host_seq,
            note,
            frame: passed.frame,
        });
        self.passed = self.passed.saturating_add(1);
        self.meters.passed(kind, passed.continuity);
        if let (EventKind::Commit, Some(repo)) = (kind, passed.repo) {
            self.meters.lag(repo.rev.micros(), self.room.clock.now_us());
        }
        arrival.host.count_verdict(true);
        if kind == EventKind::Commit {
            arrival.host.note_commit(passed.spared.is_none());
        }
        if passed.unconfirmed {
            self.recheck_later(&arrival.did);
        }
        if let Some((reason, detail)) = passed.spared {
            let now_ms = self.room.clock.now_ms();
            self.room.drops.record_lenient(example(arrival, reason, detail, now_ms));
        }
    }

    /// The event leaves without becoming one of ours: counted, then settled (I2, I7).
    pub(super) fn drop_event(&mut self, queued: &Queued, reason: DropReason, detail: String) {
        let arrival = &queued.arrival;
        if self.room.verdicts.is_some() {
            self.room.tell(arrival, Some(reason), detail.clone());
        }
        if kind_of_proof(reason) {
            arrival.host.note_commit(false);
        }
        if reason.is_fault_of_host() {
            arrival.host.count_verdict(false);
        }
        if matches!(reason, DropReason::RateLimited | DropReason::LocallyInactive) {
            arrival.host.give_turn_back();
        }
        tracing::debug!(
            host = %arrival.host.hostname(),
            host_seq = arrival.host_seq.0,
            did = %arrival.did,
            reason = reason.label(),
            detail = %detail.escape_debug(),
            "event dropped"
        );
        let now_ms = self.room.clock.now_ms();
        self.room.drops.record(example(arrival, reason, detail, now_ms));
        arrival.host.settle(arrival.epoch, arrival.host_seq);
        self.meters.dropped(arrival.kind);
        self.room.inside.leave(1);
    }

    /// I6: a panic is our bug. The event is settled, or its host would replay it for ever; the frame
    /// is kept.
    fn failed(&mut self, queued: &Queued, message: String) {
        let arrival = &queued.arrival;
        tracing::error!(
            host = %arrival.host.hostname(),
            host_seq = arrival.host_seq.0,
            did = %arrival.did,
            panic = %message.escape_debug(),
            "judging an event failed; the frame is kept"
        );
        self.meters.panicked();
        self.room.failures.keep(Failure {
            at_ms: self.room.clock.now_ms(),
            host: arrival.host.id(),
            host_seq: arrival.host_seq,
            kind: arrival.kind,
            frame: arrival.frame.clone(),
            message: message.clone(),
        });
        self.drop_event(queued, DropReason::Internal, message);
    }

    /// SEC-3: whether a host may cause one more lookup for an account that is not its own.
    pub(super) fn may_look_up_for(&self, host: HostId, now_ms: u64) -> bool {
        self.host_lookups.is_empty()
            || self.host_lookups.get(&host).is_none_or(|bucket| bucket.has(FOREIGN_LOOKUPS, now_ms))
    }

    /// A host caused a lookup for an account that is not its own.
    pub(super) fn looked_up_for(&mut self, host: HostId, now_ms: u64) {
        self.host_lookups.entry(host).or_default().take(FOREIGN_LOOKUPS, now_ms);
    }
}

/// What kind of server sent an event of this account (HOST-13).
fn sender(host: &Host, entry: Option<&Entry>, hosts: &Hosts) -> Sender {
    if !host.is_source() {
        return Sender::Host;
    }
    let home = entry.and_then(|entry| hosts.get(entry.account.host));
    if home.is_some_and(|home| home.is_connected()) {
        Sender::RelayBesideHost
    } else {
        Sender::Relay
    }
}

/// The verdict, with the frame patched; a panic on the way is an error with its message.
fn weigh(
    judge: Judge,
    facts: &Facts<'_>,
    arrival: &Arrival,
    clock: &Clock,
) -> Result<Result<Passed, Stop>, String> {
    let weighed = catch_unwind(AssertUnwindSafe(|| {
        let pass = judge(facts, arrival.kind, &arrival.frame)?;
        let now_text;
        let mut edits: Vec<Edit<'_>> = pass.edits;
        if pass.bad_time {
            now_text = clock.now_text();
            edits.push(Edit::Text("time", &now_text));
        }
        let frame = unsequence(&arrival.frame, &edits)
            .map_err(|invalid| Stop::drop(DropReason::Malformed, invalid.what))?;
        Ok(Passed {
            frame,
            repo: pass.repo,
            upstream: pass.upstream,
            continuity: pass.continuity,
            spared: pass.spared,
            repeats: pass.repeats,
            says: pass.says,
            unconfirmed: pass.unconfirmed,
        })
    }));
    weighed.map_err(|panic| words(panic.as_ref()))
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// How an event's repository follows the known state, which readers of the log do not have.
fn course(kind: EventKind, passed: &Passed, before: Option<RepoState>) -> Course {
    let is_new = matches!(passed.continuity, Some(Continuity::First | Continuity::Discontinuous));
    let is_same =
        before.is_some_and(|before| passed.repo.is_some_and(|now| now.data == before.data));
    match kind {
        EventKind::Commit if is_new => Course::Breaks,
        EventKind::Sync if is_same => Course::SameData,
        _ => Course::Follows,
    }
}

/// What replay will need and the frame does not hold.
fn note(
    entry: &mut Entry,
    (host, kind): (HostId, EventKind),
    (course, moved): (Course, bool),
) -> Bytes {
    let account = &entry.account;
    // Under a local status the frame tells ours, not the host's.
    let hidden = kind == EventKind::Account && account.local != LocalStatus::None;
    let note = Note {
        identity: entry.identity_unlogged.then_some((account.identity_checked_ms, account.key)),
        host: (account.host != host).then_some(account.host),
        upstream: hidden.then(|| account.upstream.clone()),
        course,
        moved,
    };
    entry.identity_unlogged = false;
    note.encode()
}

/// Whether the account has another host than the one whose event was the last, also when there was none:
/// it may have been known from a list. What comes by a source (HOST-13) is told in order, whoever the
/// host is.
pub(super) fn has_moved(entry: &Entry, hosts: &Hosts) -> bool {
    let is_source = |host| hosts.get(host).is_some_and(|host| host.is_source());
    let last = entry.account.last.map(|last| last.host);
    last.is_none_or(|last| last != entry.account.host && !is_source(last))
}

fn is_active(entry: &Entry) -> bool {
    effective(&entry.account.upstream, entry.account.local).active
}

/// Whether the reason breaks a row of inductive commits (DESIGN 10.14).
fn kind_of_proof(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::BadOps
            | DropReason::ProofMismatch
            | DropReason::ProofIncomplete
            | DropReason::BadTree
            | DropReason::Legacy
    )
}

fn example(arrival: &Arrival, reason: DropReason, detail: String, at_ms: u64) -> Dropped {
    Dropped {
        at_ms,
        host: arrival.host.id(),
        host_seq: Some(arrival.host_seq),
        kind: Some(arrival.kind),
        did: Some(arrival.did.to_string()),
        reason,
        detail,
    }
}
