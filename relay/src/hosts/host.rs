//! One host: its low-water mark and credit, its status, and what it is doing (HOST-1, UP-9).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use parking_lot::{Mutex, RwLock};
use relay_protocol::Hostname;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    leniency::Leniency,
    life::{Life, Phase},
    low_water::{Held, LowWater},
    pace::Pace,
    record::Rules,
};
use crate::{
    clock::Clock,
    domain::{
        AccountLimits, Actor, Epoch, HostChange, HostChangeKind, HostId, HostSeq, HostStatus,
    },
    store::HostRow,
};

/// Unsettled events of one host (DESIGN 10.7) unless the settings say otherwise; then it is not read.
pub(super) const EVENTS_MAX: usize = 4_096;

/// Unsettled bytes of one host (DESIGN 10.7); then it is not read.
const BYTES_MAX: u64 = 16 << 20;

/// Inductive commits in a row after which a host is strict for good (DESIGN 10.14).
pub(super) const RATCHET_COMMITS: u64 = 1_000;

/// How often the count towards the ratchet is worth a write: a crash loses less than this.
const RATCHET_SAVED_EVERY: u64 = 100;

/// The limits that all hosts share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Unsettled bytes over all hosts.
    pub(super) bytes: Arc<Semaphore>,
    /// Who is spared by validation (DESIGN 10.14).
    pub(super) leniency: Arc<Leniency>,
    /// Says whether the time of a host that is spared is over.
    pub(super) clock: Clock,
    /// Unsettled events of one host.
    pub(super) events_max: usize,
    /// What one account may send (HOST-12).
    pub(super) account_limits: AccountLimits,
    /// Relays that are read as sources (HOST-13).
    pub(super) sources: Arc<[String]>,
    /// Domains that are trusted (HOST-6); looked at whenever it matters.
    pub(super) trusted: Arc<RwLock<Vec<String>>>,
}

/// The part of the stream that is under way.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) epoch: Epoch,
    pub(super) low_water: LowWater,
    /// Mark that was last given out for saving.
    saved: Option<(Epoch, HostSeq)>,
}

/// One host, shared by its subscription, the shards and the API.
#[derive(Debug)]
pub struct Host {
    pub(super) id: HostId,
    pub(super) hostname: Hostname,
    pub(super) first_seen_ms: u64,
    pub(super) shared: Shared,
    pub(super) window: Mutex<Window>,
    /// Told when an event is settled while the subscription waits for that.
    settled: Notify,
    pub(super) life: Mutex<Life>,
    /// What was decided about it. Locked before `life` where both are.
    pub(super) rules: Mutex<Rules>,
    /// Ends the connection that is open or being made.
    attempt: Mutex<CancellationToken>,
    pub(super) accounts: AtomicI64,
    /// Of them, those that are held (ACC-9); for people, the store knows better.
    pub(super) held: AtomicU64,
    pub(super) held_at_ms: AtomicU64,
    pub(super) needs_review: AtomicBool,
    /// Events of the last day that were valid, and those that were not by the host's own fault.
    pub(super) valid: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Levels of its events against its limits.
    pub(super) pace: Mutex<Pace>,
    /// What one of its accounts may send, and until when this reading counts, ms of the steady clock.
    pub(super) of_account: Mutex<(AccountLimits, u64)>,
    /// Since when it is slower than it would be, ms of the steady clock; 0 = it is not.
    pub(super) behind_since_ms: AtomicU64,
    pub(super) clean_commits: AtomicU64,
    pub(super) strict_for_good: AtomicBool,
    /// A relay that is read as a source (HOST-13).
    is_source: bool,
    /// Until when it is spared if it has not ratcheted, ms since 1970.
    pub(super) spared_until_ms: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    /// Something other than cursor and counts differs from the store.
    dirty: AtomicBool,
}

impl Host {
    pub(super) fn new(row: &HostRow, hostname: Hostname, shared: Shared) -> Self {
        let saved = row.cursor.map(|cursor| (row.epoch, cursor));
        let low_water = LowWater::starting_at(row.cursor);
        let is_late_comer = shared.leniency.is_late_comer(row.first_seen_ms);
        let spared_until_ms = shared.leniency.spared_until(hostname.as_str(), row.strictness);
        let is_source = shared.sources.iter().any(|name| name == hostname.as_str());
        Self {
            id: row.id,
            is_source,
            hostname,
            first_seen_ms: row.first_seen_ms,
            shared,
            window: Mutex::new(Window { epoch: row.epoch, low_water, saved }),
            settled: Notify::new(),
            life: Mutex::new(Life::new(row)),
            rules: Mutex::new(Rules::of(row)),
            attempt: Mutex::default(),
            accounts: AtomicI64::new(i64::try_from(row.account_count).unwrap_or(i64::MAX)),
            held: AtomicU64::new(0),
            held_at_ms: AtomicU64::new(0),
            needs_review: AtomicBool::new(true),
            valid: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            pace: Mutex::default(),
            of_account: Mutex::default(),
            behind_since_ms: AtomicU64::new(0),
            clean_commits: AtomicU64::new(row.clean_commits),
            strict_for_good: AtomicBool::new(row.strict_for_good || is_late_comer),
            spared_until_ms: AtomicU64::new(spared_until_ms),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dirty: AtomicBool::new(is_late_comer && !row.strict_for_good),
        }
    }

    /// Number.
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Whether it is a relay that the settings name as a source of events (HOST-13): it is the host of no
    /// account.
    pub fn is_source(&self) -> bool {
        self.is_source
    }

    /// Name and scheme.
    pub fn hostname(&self) -> &Hostname {
        &self.hostname
    }

    /// Epoch of its cursor now.
    pub fn epoch(&self) -> Epoch {
        self.window.lock().epoch
    }

    /// Waits until this host may have one more unsettled event (DESIGN 10.7: 4,096 events or 16 MiB
    /// per host, 256 MiB in all), then notes it. Called by the subscription in order of arrival, and
    /// by nobody else. A seq that is not higher than all before is not noted.
    ///
    /// A host with nothing unsettled never waits for the others, so that a few of them with events
    /// that cannot be judged yet slow the rest down but do not silence it (SEC-5).
    ///
    /// Cancel safety: the event is not noted.
    pub async fn receive(&self, host_seq: HostSeq, frame_bytes: usize) {
        let bytes = u32::try_from(frame_bytes).unwrap_or(u32::MAX);
        if self.try_receive(host_seq, bytes) {
            return;
        }
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Listens before it looks, so that an event settled in between is not missed.
            settled.as_mut().enable();
            if self.try_receive(host_seq, bytes) {
                return;
            }
            let has_room = self.has_room(&self.window.lock().low_water, bytes);
            tokio::select! {
                () = settled => {}
                permit = self.shared.bytes.acquire_many(bytes), if has_room => {
                    let Ok(permit) = permit else { return };
                    permit.forget();
                    self.note(host_seq, Held { bytes, shared: true });
                    return;
                }
            }
        }
    }

    /// Whether the limits of the host itself leave room for one more frame; one always fits.
    fn has_room(&self, low_water: &LowWater, bytes: u32) -> bool {
        let fits = low_water.bytes() + u64::from(bytes) <= BYTES_MAX;
        low_water.events() == 0 || (low_water.events() < self.shared.events_max && fits)
    }

    fn try_receive(&self, host_seq: HostSeq, bytes: u32) -> bool {
        let mut window = self.window.lock();
        if !self.has_room(&window.low_water, bytes) {
            return false;
        }
        let shared = match self.shared.bytes.try_acquire_many(bytes) {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) if window.low_water.events() == 0 => false,
            Err(_) => return false,
        };
        let noted = window.low_water.receive(host_seq, Held { bytes, shared });
        drop(window);
        if shared && !noted {
            self.shared.bytes.add_permits(bytes as usize);
        }
        true
    }

    fn note(&self, host_seq: HostSeq, held: Held) {
        if !self.window.lock().low_water.receive(host_seq, held) {
            self.shared.bytes.add_permits(held.bytes as usize);
        }
    }

    /// The event is durable or dropped for a counted reason (I2). Of an older epoch: ignored.
    pub fn settle(&self, epoch: Epoch, host_seq: HostSeq) {
        let mut window = self.window.lock();
        if window.epoch != epoch {
            return;
        }
        let Some(held) = window.low_water.settle(host_seq) else { return };
        drop(window);
        if held.shared {
            self.shared.bytes.add_permits(held.bytes as usize);
        }
        self.settled.notify_waiters();
    }

    /// Low-water mark: all at or below is settled.
    pub fn mark(&self) -> Option<(Epoch, HostSeq)> {
        let window = self.window.lock();
        window.low_water.mark().map(|mark| (window.epoch, mark))
    }

    /// Epoch, and the highest seq received in it: where the next connection of this process goes on.
    /// What was received before and is not yet settled is still in our hands.
    pub fn resume_from(&self) -> (Epoch, Option<HostSeq>) {
        let window = self.window.lock();
        (window.epoch, window.low_water.highest())
    }

    /// Unsettled events and their bytes.
    pub fn unsettled(&self) -> (usize, u64) {
        let window = self.window.lock();
        (window.low_water.events(), window.low_water.bytes())
    }

    /// The mark, if it moved since it was last taken.
    pub(super) fn take_moved_mark(&self) -> Option<(HostId, Epoch, HostSeq)> {
        let mut window = self.window.lock();
        let now = window.low_water.mark().map(|mark| (window.epoch, mark));
        if now == window.saved {
            return None;
        }
        window.saved = now;
        now.map(|(epoch, mark)| (self.id, epoch, mark))
    }

    /// A mark that was taken could not be saved: it counts as moved again.
    pub(super) fn return_mark(&self) {
        self.window.lock().saved = None;
    }

    /// The cursor was reset in the store: begins anew without cursor. What is unsettled in the old
    /// epoch is judged and logged all the same, but no longer counted here.
    pub(super) fn begin_epoch(&self, epoch: Epoch, now_ms: u64) {
        let mut window = self.window.lock();
        let old = std::mem::take(&mut window.low_water);
        window.epoch = epoch;
        window.saved = None;
        drop(window);
        self.shared.bytes.add_permits(old.shared_bytes());
        self.settled.notify_waiters();
        self.life.lock().cursor_reset_ms = now_ms;
        self.set_dirty();
    }

    /// One commit that proved inductively, or one that did not, for the ratchet; gives whether the
    /// host is strict for good now (DESIGN 10.14).
    pub fn note_commit(&self, inductive: bool) -> bool {
        if self.strict_for_good.load(Ordering::Relaxed) {
            return true;
        }
        if !inductive {
            if self.clean_commits.swap(0, Ordering::Relaxed) > 0 {
                self.set_dirty();
            }
            return false;
        }
        let clean = self.clean_commits.fetch_add(1, Ordering::Relaxed) + 1;
        if clean >= RATCHET_COMMITS && !self.strict_for_good.swap(true, Ordering::Relaxed) {
            tracing::info!(host = %self.hostname, "the host is strict for good from now on");
        }
        if clean.is_multiple_of(RATCHET_SAVED_EVERY) {
            self.set_dirty();
        }
        clean >= RATCHET_COMMITS
    }

    /// Whether strict validation applies: ratcheted, or not spared now.
    pub fn is_strict(&self) -> bool {
        if self.strict_for_good.load(Ordering::Relaxed) {
            return true;
        }
        match self.spared_until_ms.load(Ordering::Relaxed) {
            0 => true,
            u64::MAX => false,
            until_ms => self.shared.clock.now_ms() >= until_ms,
        }
    }

    /// Live accounts.
    pub fn account_count(&self) -> u64 {
        u64::try_from(self.accounts.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The token under which the next connection is made and read; the one before is no longer used.
    pub fn begin_attempt(&self, stopping: &CancellationToken) -> CancellationToken {
        let token = stopping.child_token();
        *self.attempt.lock() = token.clone();
        token
    }

    /// Ends the connection that is open or being made; whether there is another one after it is decided
    /// by the status.
    pub(super) fn end_attempt(&self) {
        self.attempt.lock().cancel();
    }

    /// Counts a frame of any kind.
    pub fn count_frame(&self, bytes: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Frames received since start, and their bytes.
    pub fn traffic(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Status (HOST-1).
    pub fn status(&self) -> HostStatus {
        self.life.lock().status()
    }

    /// Since when it is neither reached nor wanted, ms since 1970; `None` while it is read or would be.
    pub fn away_since_ms(&self) -> Option<u64> {
        let life = self.life.lock();
        let is_away = matches!(life.status(), HostStatus::Offline | HostStatus::Banned);
        is_away.then_some(life.status_since_ms)
    }

    /// What it does now, in words.
    pub(super) fn doing(&self, now_ms: u64) -> String {
        self.life.lock().phase.in_words(now_ms)
    }

    /// Notes which banned domain covers it, if any; gives whether that is news for its connection.
    pub(super) fn set_domain_ban(
        &self,
        ban: Option<String>,
        (actor, note): (&Actor, &str),
        now_ms: u64,
    ) -> bool {
        let mut life = self.life.lock();
        let (before, was_banned) = (life.status(), life.domain_ban.is_some());
        let (is_banned, reason) = (ban.is_some(), note.to_owned());
        let kind = HostChangeKind::Status;
        life.domain_ban = ban;
        let after = life.status();
        if was_banned != is_banned {
            let [before, after] = [before, after].map(|status| status.as_text().to_owned());
            let actor = actor.clone();
            life.note(HostChange { at_ms: now_ms, kind, before, after, reason, actor });
            self.set_dirty();
        }
        was_banned != is_banned
    }

    /// Somebody asked for it while it was disconnected on purpose.
    pub(super) fn wanted_again(&self, now_ms: u64) {
        let mut life = self.life.lock();
        if life.status == HostStatus::Idle {
            life.turn(HostStatus::Active, Some("somebody asked for it".to_owned()), now_ms);
            self.set_dirty();
        }
    }

    /// Whether a socket is open now.
    pub fn is_connected(&self) -> bool {
        self.life.lock().phase.is_connected()
    }

    /// A handshake begins.
    pub fn dialling(&self) {
        self.life.lock().phase = Phase::Dialling;
    }

    /// The stream is open.
    pub fn connected(&self, now_ms: u64) {
        let mut life = self.life.lock();
        let changed = life.connected(now_ms);
        drop(life);
        if changed {
            self.set_dirty();
        }
    }

    /// The stream is open without a cursor, to see whether the host lost its sequence (UP-6).
    pub fn confirming(&self) {
        self.life.lock().phase = Phase::Confirming;
    }

    /// Notes what went wrong, in words that are fit for the API.
    pub fn failed(&self, why: &str, now_ms: u64) {
        self.life.lock().failed(why, now_ms);
        self.set_dirty();
    }

    /// The next try is at `at_ms`; `offline` after many failures (UP-10).
    pub fn waiting(&self, at_ms: u64, attempt: u32, offline: bool) {
        let mut life = self.life.lock();
        life.phase = Phase::Waiting { at_ms, attempt };
        let changed = life.set_offline(offline, self.shared.clock.now_ms());
        drop(life);
        if changed {
            self.set_dirty();
        }
    }

    /// No subscription runs.
    pub fn at_rest(&self) {
        self.life.lock().phase = Phase::AtRest;
    }

    /// The host had already deleted what we asked for (UP-4).
    pub fn note_gap(&self, now_ms: u64) {
        self.life.lock().gap_ms = Some(now_ms);
    }

    /// When the host last said that it had deleted what we asked for (UP-4), ms since 1970.
    pub fn gap_ms(&self) -> Option<u64> {
        self.life.lock().gap_ms
    }

    /// Last automatic cursor reset (UP-6), ms since 1970, 0 = never.
    pub fn cursor_reset_ms(&self) -> u64 {
        self.life.lock().cursor_reset_ms
    }

    /// Something that the store keeps was changed.
    pub(super) fn set_dirty(&self) {
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Whether something changed since the last call.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::Relaxed)
    }
}
