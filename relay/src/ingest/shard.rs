//! One shard: owns the state of its DIDs, so that there is no lock on the hot path and one DID is
//! never handled twice at once, even from two hosts (ROLE-7).
//!
//! In come events and commands, out go batches to the log. Whatever needs the network or the store
//! parks its DID; the others go on. A panic while judging is contained and costs one event (I6).

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lru::LruCache;
use relay_protocol::Did;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};
use tracing::trace_span;

use super::{
    VerdictLine,
    commands::{Command, Order},
    failures::Failures,
    judge::Asked,
    keys::{ACCOUNTS_PER_KEY, Keys},
    meters::Meters,
    parking::{Item, On, Parking, Queued, Waiting},
    queue::{Inside, LineOut},
    table::Table,
};
use crate::{
    accounts::{Numbers, hidden::Hidden, levels::Levels, limits::Bucket, probe::Probes},
    clock::Clock,
    domain::{AccountNo, Hold, HostId, LocalStatus},
    drops::Drops,
    eventlog::{Appender, Entry},
    hosts::Hosts,
    identity::Identities,
    store::Store,
    tasks::Tasks,
    telemetry::SPANS,
};

mod answers;
mod asking;
mod decided;
mod hinted;
mod listed;
mod passing;
mod pieces;
mod telling;
#[cfg(test)]
mod tests;
mod throttling;

use answers::Finding;
use asking::{Lookups, Timer};
use passing::Step;
use pieces::{PIECE, Piecework};

pub(super) use passing::Judge;

/// Events that are judged before others get their turn: about 2 ms of work.
const BATCH: usize = 32;
/// Findings that may wait for the shard; a task with more of them waits itself.
const FINDINGS_MAX: usize = 256;
/// Commands that may wait for the shard.
pub(super) const COMMANDS_MAX: usize = 64;
/// Longest sleep while a timer is set: the clock of timers is the wall clock, which may jump.
const NAP: Duration = Duration::from_millis(200);
/// DIDs without an account whose lookup said that their events are not for us.
const STRANGERS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// Accounts whose levels are kept per shard, 2 MB. One that is forgotten sent nothing for so long that a
/// limit is far: some seconds at the rate of the full network.
const LEVELS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(32_767);

/// What all shards share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) appender: Appender,
    pub(super) hosts: Hosts,
    pub(super) identities: Identities,
    pub(super) store: Store,
    pub(super) probes: Probes,
    pub(super) drops: Arc<Drops>,
    pub(super) clock: Clock,
    pub(super) numbers: Numbers,
    pub(super) hidden: Hidden,
    /// Accounts that are held, on the way to the store.
    pub(super) holding: mpsc::Sender<Hold>,
    pub(super) tasks: Tasks,
    pub(super) inside: Inside,
    pub(super) failures: Failures,
    /// Longest time that frames waited for something else than frames.
    pub(super) stalled_us: AtomicU64,
    /// Unwritten rows, by shard.
    pub(super) dirty: Vec<AtomicUsize>,
    /// Rows in memory, by shard.
    pub(super) rows: Vec<AtomicUsize>,
    pub(super) verdicts: Option<mpsc::Sender<VerdictLine>>,
    pub(super) dev: bool,
}

/// One shard; [`Shard::run`] is its task.
pub(super) struct Shard {
    room: Arc<Room>,
    index: usize,
    judge: Judge,
    table: Table,
    keys: Keys,
    parking: Parking,
    lookups: Lookups,
    timers: BTreeMap<(u64, u64), Timer>,
    timers_set: u64,
    /// RES-4 rechecks among the timers.
    rechecks: usize,
    /// Rows to ask the store for.
    loads: Vec<Did>,
    loading: bool,
    strangers: LruCache<Did, Stranger>,
    /// What accounts that sent something lately used of their limits (HOST-12).
    levels: LruCache<AccountNo, Levels>,
    /// SEC-3: lookups caused by hosts with events that are not theirs to send.
    host_lookups: HashMap<HostId, Bucket>,
    /// Judged, in order, on the way to the log.
    out: Vec<Entry>,
    /// Places in host queues that become free once `out` is in the log.
    held: Vec<OwnedSemaphorePermit>,
    /// Events of hosts among `out`.
    passed: usize,
    /// Answers to decisions that are among `out`.
    decided: Vec<oneshot::Sender<bool>>,
    piecework: Option<Piecework>,
    events: LineOut<Queued>,
    commands: mpsc::Receiver<Command>,
    found: mpsc::Sender<Finding>,
    findings: mpsc::Receiver<Finding>,
    meters: Meters,
}

/// A DID without an account, and why its events were not for us when it was looked up.
#[derive(Debug)]
struct Stranger {
    checked_ms: u64,
    /// The host that its document names; `None` when it has no usable document.
    host: Option<Box<str>>,
    why: String,
}

impl Shard {
    /// A shard with an empty table of at most `accounts_max` rows.
    pub(super) fn new(
        (room, index): (Arc<Room>, usize),
        judge: Judge,
        accounts_max: usize,
        (events, commands): (LineOut<Queued>, mpsc::Receiver<Command>),
    ) -> Self {
        let (found, findings) = mpsc::channel(FINDINGS_MAX);
        Self {
            room,
            index,
            judge,
            table: Table::new(accounts_max),
            keys: Keys::new(accounts_max / ACCOUNTS_PER_KEY),
            parking: Parking::default(),
            lookups: Lookups::default(),
            timers: BTreeMap::new(),
            timers_set: 0,
            rechecks: 0,
            loads: Vec::new(),
            loading: false,
            strangers: LruCache::new(STRANGERS_MAX),
            levels: LruCache::new(LEVELS_MAX),
            host_lookups: HashMap::new(),
            out: Vec::new(),
            held: Vec::new(),
            passed: 0,
            decided: Vec::new(),
            piecework: None,
            events,
            commands,
            found,
            findings,
            meters: Meters::new(),
        }
    }

    /// Works until the daemon stops or the log closes.
    pub(super) async fn run(mut self) {
        let stopping = self.room.tasks.stopping().clone();
        let mut batch = Vec::with_capacity(BATCH);
        let mut answers = Vec::with_capacity(BATCH);
        loop {
            // Unwritten rows cannot be forgotten: without room for more, hosts wait (I5).
            let may_take = !self.table.is_full_of_changes();
            let nap = self.nap();
            let mut since = Instant::now();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(command) = self.commands.recv() => {
                    since = Instant::now();
                    self.command(command);
                }
                _ = self.findings.recv_many(&mut answers, BATCH) => {
                    since = Instant::now();
                    for finding in answers.drain(..) {
                        self.found(finding);
                    }
                }
                taken = self.events.recv_many(&mut batch, BATCH), if may_take => {
                    if taken == 0 {
                        break;
                    }
                    self.arrive_all(&mut batch);
                    since = Instant::now();
                }
                () = std::future::ready(()), if self.piecework.is_some() => {}
                () = tokio::time::sleep(nap.unwrap_or(NAP)), if nap.is_some() => {}
            }
            self.fire_timers();
            self.start_asking();
            if !self.flush().await {
                break;
            }
            // After the flush: what a copy holds must be in the log before it (DESIGN 10.5).
            self.work_a_piece(PIECE);
            self.show_depths();
            tokio::task::yield_now().await;
            if !self.events.is_empty() {
                self.meters.stalled(since.elapsed(), &self.room.stalled_us);
            }
        }
        self.room.tasks.stopping().cancelled().await;
    }

    /// What was taken from the queue at once.
    fn arrive_all(&mut self, batch: &mut Vec<Queued>) {
        let begun = Instant::now();
        let _span = trace_span!(target: SPANS, "ingest.judge", events = batch.len()).entered();
        for queued in batch.drain(..) {
            self.arrive(queued);
        }
        self.meters.judged(begun.elapsed());
    }

    /// An event from the queue.
    fn arrive(&mut self, queued: Queued) {
        if let Some(waiting) = self.parking.get(&queued.arrival.did) {
            let goes_on = waiting.only_foreign
                && self
                    .table
                    .peek(&queued.arrival.did)
                    .is_some_and(|entry| entry.account.host == queued.arrival.host.id());
            if !goes_on {
                self.park(queued);
                return;
            }
        }
        match self.process(queued, false, Asked::default()) {
            Step::Done => {}
            Step::Load(queued) => self.wait(queued, On::Row),
            Step::Wait(queued, on) => self.wait(queued, on),
        }
    }

    /// Goes on with what waited for a DID. `first` – what was asked for the first event.
    ///
    /// * `absent` – the store has no row of it
    fn go_on(&mut self, did: Did, mut waiting: Waiting, absent: bool, first: Asked<'_>) {
        let mut asked = first;
        while let Some(item) = waiting.items.pop_front() {
            let queued = match item {
                Item::Order(order) => {
                    self.order(&did, order, absent.then_some(waiting.local));
                    continue;
                }
                Item::Event(queued) => queued,
            };
            let (queued, on) = match self.process(queued, absent, asked) {
                Step::Done => {
                    asked = Asked::default();
                    continue;
                }
                Step::Load(queued) => (queued, On::Row),
                Step::Wait(queued, on) => (queued, on),
            };
            waiting.attempt = 0;
            self.wait_again(did, waiting, Some(queued), on);
            return;
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Account(did, answer) => {
                let row = self.table.peek(&did).map(|entry| entry.account.clone());
                reply(answer, row);
            }
            Command::Usage(did, answer) => reply(answer, self.usage(&did)),
            Command::DirtyAfter(after, limit, answer) => {
                reply(answer, self.table.dirty_after(after, limit));
            }
            Command::DirtyAmong(numbers, answer) => reply(answer, self.table.dirty_among(&numbers)),
            Command::Snapshot(ticket, answer) => {
                self.work_a_piece(usize::MAX);
                self.table.begin_copy(ticket);
                self.piecework = Some(Piecework::Copy(answer));
            }
            Command::Checkpointed(ticket, answer) => {
                self.work_a_piece(usize::MAX);
                self.table.checkpointed(ticket);
                self.piecework = Some(Piecework::Settle(answer));
            }
            Command::Order(did, order) => self.order_in_turn(did, order),
        }
    }

    /// A command about an account that may not be in memory.
    fn order_in_turn(&mut self, did: Did, order: Order) {
        if self.table.peek(&did).is_some() {
            self.order(&did, order, None);
            return;
        }
        match self.parking.get(&did).map(|waiting| waiting.on) {
            None => {
                self.parking.open(did.clone(), On::Row, Item::Order(order));
                self.loads.push(did);
            }
            Some(On::Row | On::Turn(_)) => {
                if let Err(order) = self.parking.push_order(&did, order) {
                    self.order(&did, order, None);
                }
            }
            // The store was asked and has no row; the decision is for the first one.
            Some(On::Answer(_) | On::Retry(_)) => {
                if let (Order::SetLocal(decision, _), Some(waiting)) =
                    (&order, self.parking.get(&did))
                {
                    waiting.local = decision.local;
                }
                self.order(&did, order, None);
            }
        }
    }

    /// * `unseen` – what was decided about a DID that the store, which was asked, has no row of
    fn order(&mut self, did: &Did, order: Order, unseen: Option<LocalStatus>) {
        match order {
            Order::Listed(listed, answer) => reply(answer, self.listed(did, listed, unseen)),
            Order::Hinted(hint, answer) => reply(answer, self.hinted(did, &hint)),
            Order::SetLocal(decision, answer) => self.set_local(did, decision, answer),
            Order::Refresh(answer) => {
                let known = self.table.peek(did).is_some();
                if known {
                    self.refresh_in_background(did, "operator", true);
                }
                reply(answer, known);
            }
        }
    }

    /// Hands the batch to the log; gives `false` when there is no log any more. Meanwhile commands
    /// that only read are answered, also when the disk is full and the log waits (OUT-5).
    async fn flush(&mut self) -> bool {
        let mut later = Vec::new();
        while !self.out.is_empty() {
            let entries = std::mem::take(&mut self.out);
            let places = std::mem::take(&mut self.held);
            let passed = std::mem::take(&mut self.passed);
            let decided = std::mem::take(&mut self.decided);
            let room = Arc::clone(&self.room);
            let mut append = std::pin::pin!(room.appender.append(entries));
            let appended = loop {
                tokio::select! {
                    biased;
                    appended = &mut append => break appended,
                    () = room.tasks.stopping().cancelled() => return false,
                    Some(command) = self.commands.recv(), if later.len() < COMMANDS_MAX => {
                        match command {
                            // What a snapshot holds must be in the log before it (DESIGN 10.5).
                            Command::Snapshot(..) | Command::Checkpointed(..) => {
                                later.push(command);
                            }
                            other => self.command(other),
                        }
                    }
                }
            };
            if let Err(error) = appended {
                room.tasks.fail(format!("events cannot be logged: {error}"));
                return false;
            }
            drop(places);
            room.inside.leave(passed);
            for answer in decided {
                reply(answer, true);
            }
        }
        for command in later {
            self.command(command);
        }
        true
    }

    fn show_depths(&mut self) {
        let dirty = self.table.dirty_len();
        if let Some(shown) = self.room.dirty.get(self.index) {
            shown.store(dirty, Ordering::Relaxed);
        }
        if let Some(shown) = self.room.rows.get(self.index) {
            shown.store(self.table.len(), Ordering::Relaxed);
        }
        if self.index == 0 {
            self.meters.show_queue(self.room.inside.depth());
        }
        self.meters.show(self.table.len(), dirty, self.parking.loose());
    }
}

/// Answers a command. That nobody waits for the answer any more is not an error.
fn reply<T>(answer: oneshot::Sender<T>, what: T) {
    if answer.send(what).is_err() {
        tracing::debug!("the asker of a command has gone");
    }
}
