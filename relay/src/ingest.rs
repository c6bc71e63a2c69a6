//! Shards that own the state of their DIDs, judge each event, and hand it to the log (VAL-*, I2, I6).
//!
//! Frames come in from `upstream`, judged events go out to `eventlog`; what is dropped is counted in
//! `drops` and settled at its host. Each arrival ends in exactly one of the two (I7). Owned here: the
//! places of hosts in the queues, the shards and all account rows in memory.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::join_all};
use metrics::gauge;
use relay_protocol::Did;
use tokio::sync::{mpsc, oneshot};

use commands::{Command, Decision, Order};
use parking::Queued;
use queue::{Inside, LineIn, Places, line};
use shard::{Room, Shard};

use crate::{
    accounts::{Numbers, hidden::Hidden, probe::Probes},
    clock::Clock,
    domain::{Account, AccountNo, Epoch, EventKind, HostSeq, LocalStatus},
    drops::{Dropped, Drops},
    eventlog::Appender,
    hosts::{Host, Hosts},
    identity::Identities,
    net::Net,
    store::{Store, StoreError},
    tasks::Tasks,
    telemetry::metrics::{
        INGEST_ACCOUNTS_LIMIT, INGEST_DIRTY_LIMIT, INGEST_PARKED_LIMIT, INGEST_QUEUE_LIMIT,
    },
};

mod commands;
mod failures;
mod holding;
mod judge;
mod keys;
mod meters;
mod note;
mod parking;
mod queue;
mod replay;
mod shard;
mod table;
mod verdict;

pub use commands::{AccountUsage, Hint, Hinted, Listed, Reconciled};
pub use failures::Failure;
pub use note::{Course, course, is_deletion, is_move};
pub use replay::replay;

/// One frame of a host, its envelope read.
#[derive(Debug)]
pub struct Arrival {
    /// Host.
    pub host: Arc<Host>,
    /// Epoch when it was received.
    pub epoch: Epoch,
    /// Number at the host; [`Host::receive`] was called for it.
    pub host_seq: HostSeq,
    /// Kind.
    pub kind: EventKind,
    /// Account.
    pub did: Did,
    /// Whole frame.
    pub frame: Bytes,
}

/// What the shards are built from.
#[derive(Debug, Clone)]
pub struct IngestParts {
    /// Number of shards (default: one per core).
    pub shards: usize,
    /// `--dev`.
    pub dev: bool,
    /// Log.
    pub appender: Appender,
    /// Hosts.
    pub hosts: Hosts,
    /// Identities.
    pub identities: Identities,
    /// Store, for rows that are not in memory.
    pub store: Store,
    /// For status probes.
    pub net: Net,
    /// Reasons.
    pub drops: Arc<Drops>,
    /// Clock.
    pub clock: Clock,
    /// Frames that one host may have at one shard (`RELAY_MAX_QUEUE_PER_PDS`); 64 by DESIGN 10.6. A
    /// frame takes one place for each 32 KiB begun, so that 64 frames are 2 MiB at most.
    pub host_queue: usize,
    /// Accounts kept in memory over all shards (DESIGN 10.4).
    pub accounts_max: usize,
    /// Told whose content consumers no longer get (ACC-12).
    pub hidden: Hidden,
    /// Highest account number given so far.
    pub last_account: AccountNo,
    /// Set in `relay dev`: one line per verdict.
    pub verdicts: Option<mpsc::Sender<VerdictLine>>,
}

/// What happened to one event, for a person (`relay dev`). Text from outside is escaped.
#[derive(Debug, Clone)]
pub struct VerdictLine {
    /// Host name.
    pub host: String,
    /// Number at the host, if the frame tells it.
    pub host_seq: Option<HostSeq>,
    /// Kind, if the frame tells it.
    pub kind: Option<EventKind>,
    /// Account, if the frame tells it.
    pub did: Option<String>,
    /// Rev, if the message has one and can be decoded.
    pub rev: Option<String>,
    /// What came, in words: operations, handle, status; empty when there is nothing to say.
    pub came: String,
    /// `None` when it passed.
    pub dropped: Option<crate::domain::DropReason>,
    /// What was checked, or what differed, with CIDs.
    pub detail: String,
}

/// Frames that may lie in the channel of one shard; the places of hosts are the real bound.
const EVENTS_MAX: usize = 1024;

/// The shards; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    room: Arc<Room>,
    doors: Vec<Door>,
    places: Places,
    hasher: RandomState,
    /// Rows that each shard keeps in memory.
    rows_max: usize,
    tickets: AtomicU64,
}

/// The way into one shard.
#[derive(Debug)]
struct Door {
    events: LineIn<Queued>,
    commands: mpsc::Sender<Command>,
}

impl Ingest {
    /// Starts the shards.
    pub fn start(parts: IngestParts, tasks: &Tasks) -> Self {
        Self::judging_by(judge::judge, parts, tasks)
    }

    /// The same with another judge, which only tests have.
    fn judging_by(judge: shard::Judge, parts: IngestParts, tasks: &Tasks) -> Self {
        let shards = parts.shards.max(1);
        gauge!(INGEST_QUEUE_LIMIT).set(meters::float(parts.host_queue));
        gauge!(INGEST_PARKED_LIMIT)
            .set(meters::float(parking::SHARD_EVENTS_MAX.saturating_mul(shards)));
        gauge!(INGEST_ACCOUNTS_LIMIT).set(meters::float(parts.accounts_max));
        gauge!(INGEST_DIRTY_LIMIT).set(meters::float(parts.accounts_max));
        let (holding, to_hold) = mpsc::channel(holding::WAITING_MAX);
        let room = Arc::new(Room {
            holding,
            appender: parts.appender,
            hosts: parts.hosts,
            identities: parts.identities,
            store: parts.store,
            probes: Probes::new(parts.net),
            drops: parts.drops,
            clock: parts.clock,
            numbers: Numbers::after(parts.last_account),
            hidden: parts.hidden,
            tasks: tasks.clone(),
            inside: Inside::default(),
            failures: failures::Failures::default(),
            stalled_us: AtomicU64::new(0),
            dirty: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            rows: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            verdicts: parts.verdicts,
            dev: parts.dev,
        });
        let rows_max = parts.accounts_max.div_ceil(shards);
        let mut doors = Vec::with_capacity(shards);
        for index in 0..shards {
            let (events_in, events) = line(EVENTS_MAX);
            let (commands_in, commands) = mpsc::channel(shard::COMMANDS_MAX);
            doors.push(Door { events: events_in, commands: commands_in });
            let shard = Shard::new((Arc::clone(&room), index), judge, rows_max, (events, commands));
            let fatal = tasks.clone();
            tasks.start(async move {
                // Judging has its own net (I6). What fails here leaves the shard's state in doubt; the
                // log holds the truth, so the process starts anew from it (I3).
                let ran = std::panic::AssertUnwindSafe(shard.run()).catch_unwind().await;
                if ran.is_err() {
                    fatal.fail("a shard of ingest failed; its state is read anew from the log");
                }
            });
        }
        let places = Places::new(parts.host_queue, shards);
        let hasher = RandomState::new();
        let tickets = AtomicU64::new(0);
        let ingest =
            Self { inner: Arc::new(Inner { room, doors, places, hasher, rows_max, tickets }) };
        tasks.start(holding::keep(ingest.clone(), to_hold));
        ingest
    }

    /// Hands over one frame; waits while the host has no place at the shard (64 frames or 2 MiB,
    /// DESIGN 10.6), and while the log takes nothing (OUT-5). Frames of one host must be offered one after the other.
    ///
    /// Cancel safety: a frame whose offer is dropped may be lost; only shutdown does so.
    ///
    /// # Errors
    /// [`Stopped`] when the daemon stops.
    pub async fn offer(&self, arrival: Arrival) -> Result<(), Stopped> {
        let (shard, door) = self.door(&arrival.did)?;
        let stopping = self.inner.room.tasks.stopping();
        let host = arrival.host.id();
        let place = async {
            // Not in the shard, which must empty itself for the checkpoint that the log waits for.
            self.inner.room.appender.ready().await;
            self.inner.places.take(host, shard, arrival.frame.len()).await
        };
        let place = tokio::select! {
            biased;
            place = place => place,
            () = stopping.cancelled() => None,
        };
        let place = place.ok_or(Stopped)?;
        self.inner.room.inside.enter();
        let queued = Queued { arrival, place: Some(place), since_ms: 0 };
        let sent = tokio::select! {
            biased;
            sent = door.events.send(queued) => sent,
            () = stopping.cancelled() => false,
        };
        if sent {
            return Ok(());
        }
        self.inner.room.inside.leave(1);
        Err(Stopped)
    }

    /// A frame was dropped before it could be handed over; only `relay dev` hears of it here.
    pub fn refused(&self, host: &Host, dropped: &Dropped) {
        self.inner.room.tell_refused(host, dropped);
    }

    /// The account as its shard holds it now, or from the store.
    ///
    /// # Errors
    /// [`StoreError`] when it is not in memory and the store does not answer.
    pub async fn account(&self, did: &Did) -> Result<Option<Account>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let asked = self.command(did, Command::Account(did.clone(), answer)).await;
        if asked.is_ok()
            && let Ok(Some(account)) = answered.await
        {
            return Ok(Some(account));
        }
        Ok(self.inner.room.store.accounts(std::slice::from_ref(did)).await?.pop())
    }

    /// What the account used of its limits; `None` when it is not in memory (HOST-12).
    pub async fn usage(&self, did: &Did) -> Option<AccountUsage> {
        let (answer, answered) = oneshot::channel();
        self.command(did, Command::Usage(did.clone(), answer)).await.ok()?;
        answered.await.ok()?
    }

    /// Dirty accounts: all with a number above `after` (new ones and changed ones alike), to overlay
    /// pages of the store, in order of number.
    pub async fn dirty_after(&self, after: AccountNo, limit: usize) -> Vec<Account> {
        let parts = self.all(|answer| Command::DirtyAfter(after, limit, answer)).await;
        let mut accounts: Vec<_> = parts.into_iter().flatten().collect();
        accounts.sort_unstable_by_key(|account| account.number);
        accounts.truncate(limit);
        accounts
    }

    /// The dirty accounts among these numbers, in any order, to overlay rows of the store.
    pub async fn dirty_among(&self, numbers: Arc<[AccountNo]>) -> Vec<Account> {
        let parts = self.all(|answer| Command::DirtyAmong(Arc::clone(&numbers), answer)).await;
        parts.into_iter().flatten().collect()
    }

    /// Copies of all dirty rows and count deltas; they stay dirty until `checkpointed`. Everything
    /// in them has been appended before this returns.
    ///
    /// The caller notes the log's head before, and writes the copies only after a barrier of the log:
    /// replay from that head on ends in the same rows, however many events they already hold.
    pub async fn snapshot(&self) -> Snapshot {
        let ticket = self.inner.tickets.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut snapshot = Snapshot { ticket, ..Snapshot::default() };
        let mut deltas = std::collections::BTreeMap::new();
        for (accounts, counts) in self.all(|answer| Command::Snapshot(ticket, answer)).await {
            snapshot.accounts.extend(accounts);
            for (host, delta) in counts {
                let total: &mut i64 = deltas.entry(host).or_default();
                *total = total.saturating_add(delta);
            }
        }
        snapshot.count_deltas = deltas.into_iter().filter(|(_, delta)| *delta != 0).collect();
        snapshot
    }

    /// The snapshot with this ticket is in the store.
    pub async fn checkpointed(&self, ticket: u64) {
        self.all(|answer| Command::Checkpointed(ticket, answer)).await;
    }

    /// Takes an account down, suspends or throttles it, or ends that (ACC-3). The decision is in the
    /// store first; returns once the `#account` that announces it is durable too. Gives `false` when
    /// the account has never been seen: the decision then holds from its first event on.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was decided, or the daemon stops before the announcement, which the
    /// next start then makes.
    pub async fn set_local_status(
        &self,
        did: &Did,
        status: LocalStatus,
    ) -> Result<bool, StoreError> {
        let is_news = self.inner.room.store.set_local_status(did, status).await?;
        self.announce(did, Decision { local: status, is_news, instead_of: None }).await
    }

    /// Announces decisions that a crash kept from it; once, at start (DESIGN 10.13).
    ///
    /// # Errors
    /// [`StoreError`]; what is left is announced at the next start.
    pub async fn announce_pending(&self) -> Result<(), StoreError> {
        for (did, local) in self.inner.room.store.unannounced().await? {
            self.announce(&did, Decision { local, is_news: true, instead_of: None }).await?;
        }
        Ok(())
    }

    async fn announce(&self, did: &Did, decision: Decision) -> Result<bool, StoreError> {
        let room = &self.inner.room;
        let stopped = |_| StoreError::Unavailable("the relay is stopping".to_owned());
        let known =
            self.order(did, |answer| Order::SetLocal(decision, answer)).await.map_err(stopped)?;
        if known {
            room.appender.barrier().await.map_err(|_closed| stopped(Stopped))?;
        }
        if decision.is_news {
            room.store.announced(did, decision.local).await?;
        }
        Ok(known)
    }

    /// Asks for the identity of an account again; gives `false` when no such account is known.
    ///
    /// # Errors
    /// [`Stopped`] when the daemon stops.
    pub async fn refresh_identity(&self, did: &Did) -> Result<bool, Stopped> {
        self.order(did, Order::Refresh).await
    }

    /// Takes what the list of a host says of an account, in the order of its events (ACC-10).
    ///
    /// # Errors
    /// [`Stopped`] when the daemon stops.
    pub async fn listed(&self, did: &Did, listed: Listed) -> Result<Reconciled, Stopped> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Listed(listed, answer);
        self.command(did, Command::Order(did.clone(), order)).await?;
        answered.await.map_err(|_gone| Stopped)
    }

    /// Takes what the directory's stream says of an account, in the order of its events (RES-7).
    ///
    /// # Errors
    /// [`Stopped`] when the daemon stops.
    pub async fn hinted(&self, did: &Did, hint: Hint) -> Result<Hinted, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.command(did, Command::Order(did.clone(), Order::Hinted(hint, answer))).await?;
        answered.await.map_err(|_gone| Stopped)
    }

    /// Returns when nothing is queued or parked: for tests and shutdown. Also when the daemon stops.
    pub async fn settled(&self) {
        tokio::select! {
            () = self.inner.room.inside.emptied() => {}
            () = self.inner.room.tasks.stopping().cancelled() => {}
        }
    }

    /// Events inside now: queued, being judged, or parked.
    pub fn depth(&self) -> usize {
        self.inner.room.inside.depth()
    }

    /// Dirty rows now, to trigger an early checkpoint.
    pub fn dirty_count(&self) -> usize {
        let shown = self.inner.room.dirty.iter().map(|dirty| dirty.load(Ordering::Relaxed));
        shown.fold(0, usize::saturating_add)
    }

    /// Whether the unwritten rows of a shard take up half of its memory: at all of it the shard takes
    /// no events until a checkpoint has written them.
    pub fn wants_checkpoint(&self) -> bool {
        let half = self.inner.rows_max.div_ceil(2);
        self.inner.room.dirty.iter().any(|dirty| dirty.load(Ordering::Relaxed) >= half)
    }

    /// Accounts in memory now.
    pub fn accounts_in_memory(&self) -> usize {
        let shown = self.inner.room.rows.iter().map(|rows| rows.load(Ordering::Relaxed));
        shown.fold(0, usize::saturating_add)
    }

    /// Frames on which this relay itself failed, oldest first (I6).
    pub fn failures(&self) -> Vec<Failure> {
        self.inner.room.failures.all()
    }

    async fn order(
        &self,
        did: &Did,
        order: impl FnOnce(oneshot::Sender<bool>) -> Order,
    ) -> Result<bool, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.command(did, Command::Order(did.clone(), order(answer))).await?;
        answered.await.map_err(|_gone| Stopped)
    }

    async fn command(&self, did: &Did, command: Command) -> Result<(), Stopped> {
        let (_, door) = self.door(did)?;
        door.commands.send(command).await.map_err(|_gone| Stopped)
    }

    /// Asks all shards at once; those that have stopped give nothing.
    async fn all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let asked = self.inner.doors.iter().map(|door| {
            let (answer, answered) = oneshot::channel();
            let sent = door.commands.send(command(answer));
            async move {
                sent.await.ok()?;
                answered.await.ok()
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    fn door(&self, did: &Did) -> Result<(usize, &Door), Stopped> {
        let shards = u64::try_from(self.inner.doors.len()).unwrap_or(1);
        let shard = self.inner.hasher.hash_one(did.as_str()).checked_rem(shards).unwrap_or(0);
        let shard = usize::try_from(shard).unwrap_or(0);
        self.inner.doors.get(shard).map(|door| (shard, door)).ok_or(Stopped)
    }
}

/// What a checkpoint writes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// For `checkpointed`.
    pub ticket: u64,
    /// Dirty rows.
    pub accounts: Vec<Account>,
    /// Count deltas per host.
    pub count_deltas: Vec<(crate::domain::HostId, i64)>,
}

/// The shards have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;
