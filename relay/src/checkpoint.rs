//! Checkpoints and recovery: state after a crash = checkpoint + replay of the log's tail (I3).
//!
//! A checkpoint is fuzzy (DESIGN 10.5). Its order matters:
//!
//! 1. note the head `P`: every event up to it is durable, so its shard has judged it;
//! 2. copy the dirty rows of all shards: each holds at least what the events up to `P` made of it;
//! 3. wait until everything appended so far is durable: a row must not hold an event that a crash
//!    takes back, or the host's replay of that event would count as stale and be lost (I3);
//! 4. write rows, marks and `P` in one transaction;
//! 5. tell the log and the shards.
//!
//! Replay starts after `P` and applies every event in order. Rows may already hold some of them;
//! applying these again ends in the same row, because the last event of an account decides.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use metrics::{counter, histogram};
use relay_protocol::{Did, Envelope};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tracing::{Instrument as _, trace_span};

use crate::{
    accounts::counted_at,
    crash::{self, Point},
    domain::{Account, HostId, Seq},
    eventlog::{Appender, Event, LogError, LogHealth, Position, ReadError, Reader},
    hosts::Hosts,
    ingest::{Ingest, Snapshot, replay},
    store::{Checkpoint, Store, StoreError},
    tasks::Tasks,
    telemetry::{SPANS, metrics as names},
};

/// Shortest time between two checkpoints, unless one is needed earlier.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Time to the next try while the database takes no writes.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Longest time between two checkpoints.
const CHECKPOINT_AFTER_MAX: Duration = Duration::from_mins(2);
/// Events after which one is due at once; what a restart has to replay stays small.
const EVENTS_MAX: u64 = 120_000;
/// A checkpoint waits, up to its longest time, until so many events share the write of one row: the
/// busy accounts send again and again, and only their last state is written.
const EVENTS_PER_ROW: u64 = 4;
/// Low-water marks alone are written this often (UP-9).
const CURSORS_EVERY: Duration = Duration::from_secs(4);
/// The same while thousands of hosts send little each: until so many events share the write of one
/// mark, or a checkpoint comes.
const EVENTS_PER_CURSOR: u64 = 100;
/// How often the conditions are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Events that recovery reads before it asks the store for the rows that they need.
const REPLAY_CHUNK: usize = 2_000;
/// Rows that recovery holds before it writes them: about 30 MB.
const REPLAY_ROWS_MAX: usize = 50_000;
/// Bytes that recovery reads at once.
const REPLAY_BYTES: usize = 8 << 20;

/// Why a checkpoint or a recovery did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record of the tail could not be read or understood.
    #[error("the event log could not be replayed: {0}")]
    Replay(String),
}

impl From<ReadError> for CheckpointError {
    fn from(error: ReadError) -> Self {
        Self::Replay(error.to_string())
    }
}

/// Writes checkpoints; cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    /// Where they go.
    store: Store,
    /// Whose rows they hold.
    ingest: Ingest,
    /// Told how far retention may go; asked what is durable.
    appender: Appender,
    /// Where the head is.
    reader: Reader,
    /// Whose marks they hold.
    hosts: Hosts,
    /// Held by the checkpoint that is being written; the last one, when nobody knows whether it was.
    unsure: Arc<Mutex<Option<Unsure>>>,
}

/// A checkpoint whose commit was not answered.
#[derive(Debug, Clone, Copy)]
struct Unsure {
    mark: u64,
    ticket: u64,
    position: Seq,
}

/// What a checkpoint is made of.
struct Gathered {
    position: Seq,
    snapshot: Snapshot,
    unsure: OwnedMutexGuard<Option<Unsure>>,
    begun: Instant,
}

impl Checkpointer {
    /// Nothing was written yet.
    pub fn new(
        (store, ingest, hosts): (Store, Ingest, Hosts),
        (appender, reader): (Appender, Reader),
    ) -> Self {
        Self { store, ingest, appender, reader, hosts, unsure: Arc::default() }
    }

    /// Writes checkpoints until the tasks stop; the daemon writes the last one itself.
    pub async fn run(self, tasks: Tasks) {
        let head = self.reader.window().head;
        let (mut last, mut last_cursors) = (Since::at(head), Since::at(head));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = tasks.stopping().cancelled() => return,
                _ = tick.tick() => {}
            }
            // The log may shrink only as far as the last checkpoint, and hosts wait for that.
            let is_awaited = *self.reader.health().borrow() == LogHealth::AwaitingCheckpoint;
            let head = self.reader.window().head;
            let is_due = is_awaited
                || self.ingest.wants_checkpoint()
                || last.is_checkpoint_due(head, self.ingest.dirty_count())
                || (self.store.write_trouble().is_some() && last.at.elapsed() >= RETRY_EVERY);
            let outcome = if is_due {
                (last, last_cursors) = (Since::at(head), Since::at(head));
                tokio::select! {
                    // With a full disk this lasts until there is room.
                    gathered = self.gather() => match gathered {
                        Ok(gathered) => self.save(gathered).await,
                        Err(error) => Err(error),
                    },
                    () = tasks.stopping().cancelled() => return,
                }
            } else if last_cursors.are_cursors_due(head, self.hosts.all().len()) {
                last_cursors = Since::at(head);
                self.write_cursors().await
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                // The rows stay dirty and the marks are written with the next checkpoint.
                counter!(names::CHECKPOINT_FAILED).increment(1);
                tracing::warn!(%error, "checkpoint not written, will be tried again");
            }
        }
    }

    /// One checkpoint in the order that the module explains.
    ///
    /// # Errors
    /// The database or the log; nothing was written then, and the rows stay dirty.
    pub async fn write(&self) -> Result<(), CheckpointError> {
        self.save(self.gather().await?).await
    }

    /// Steps 1 to 3. Cancel safe: the rows stay dirty.
    async fn gather(&self) -> Result<Gathered, CheckpointError> {
        let mut unsure = Arc::clone(&self.unsure).lock_owned().await;
        self.make_sure(&mut unsure).await?;
        let begun = Instant::now();
        let position = self.reader.window().head;
        let snapshot = self.ingest.snapshot().await;
        self.appender.barrier().await?;
        Ok(Gathered { position, snapshot, unsure, begun })
    }

    /// Steps 4 and 5.
    async fn save(&self, gathered: Gathered) -> Result<(), CheckpointError> {
        let Gathered { position, snapshot, mut unsure, begun } = gathered;
        let cursors = self.hosts.take_moved_marks();
        let mut accounts = snapshot.accounts;
        for account in &mut accounts {
            // What all events up to here made of it is in the row, and it was written after them.
            account.last_seq = account.last_seq.max(position);
        }
        let checkpoint = Checkpoint {
            position,
            accounts,
            cursors,
            count_deltas: snapshot.count_deltas,
            mark: rand::random(),
        };
        let this = Unsure { mark: checkpoint.mark, ticket: snapshot.ticket, position };
        *unsure = Some(this);
        let span = trace_span!(target: SPANS, "checkpoint", rows = checkpoint.accounts.len());
        if let Err(error) = self.store.checkpoint(&checkpoint).instrument(span).await {
            self.hosts.return_marks(&checkpoint.cursors);
            return Err(error.into());
        }
        histogram!(names::CHECKPOINT_SECONDS).record(begun.elapsed());
        crash::at(Point::CheckpointAfterCommit);
        self.written(this).await;
        *unsure = None;
        self.hosts.flush().await?;
        Ok(())
    }

    async fn written(&self, this: Unsure) {
        // First the log: with a full disk shards wait for the room that this may give.
        self.appender.set_checkpoint(this.position);
        self.ingest.checkpointed(this.ticket).await;
    }

    /// A connection that is cut between a commit and its answer leaves open whether it was done. If it
    /// was, the next checkpoint must not add the same changes of counts once more.
    async fn make_sure(&self, unsure: &mut Option<Unsure>) -> Result<(), CheckpointError> {
        if let Some(last) = *unsure {
            if self.store.last_mark().await? == Some(last.mark) {
                self.written(last).await;
            }
            *unsure = None;
        }
        Ok(())
    }

    async fn write_cursors(&self) -> Result<(), CheckpointError> {
        let cursors = self.hosts.take_moved_marks();
        if cursors.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store.save_cursors(&cursors).await {
            self.hosts.return_marks(&cursors);
            return Err(error.into());
        }
        Ok(())
    }
}

/// When something was written last, and where the head was.
#[derive(Debug, Clone, Copy)]
struct Since {
    at: Instant,
    head: Seq,
}

impl Since {
    fn at(head: Seq) -> Self {
        Self { at: Instant::now(), head }
    }

    fn events(&self, head: Seq) -> u64 {
        head.0.saturating_sub(self.head.0)
    }

    /// Whether enough happened since the last checkpoint for one more.
    fn is_checkpoint_due(&self, head: Seq, dirty: usize) -> bool {
        let (age, events) = (self.at.elapsed(), self.events(head));
        let rows = u64::try_from(dirty).unwrap_or(u64::MAX);
        age >= CHECKPOINT_AFTER_MAX
            || events >= EVENTS_MAX
            || rows >= EVENTS_MAX
            || (age >= CHECKPOINT_EVERY && rows.saturating_mul(EVENTS_PER_ROW) <= events)
    }

    /// Whether the marks are worth a write. At most `hosts` of them have moved.
    fn are_cursors_due(&self, head: Seq, hosts: usize) -> bool {
        let events = self.events(head);
        let marks = u64::try_from(hosts).unwrap_or(u64::MAX).min(events);
        let age = self.at.elapsed();
        age >= CHECKPOINT_EVERY
            || (age >= CURSORS_EVERY && marks.saturating_mul(EVENTS_PER_CURSOR) <= events)
    }
}

/// What recovery did, for the start-up log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Events applied.
    pub events: u64,
    /// Rows written.
    pub accounts: u64,
    /// Position of the new checkpoint.
    pub position: Seq,
}

/// Applies the log after the last checkpoint to the rows in the store. Runs before any host is read.
///
/// # Errors
/// The database, or a record that this program did not write as it should.
pub async fn recover(store: &Store, reader: &Reader) -> Result<Recovered, CheckpointError> {
    let from = store.last_checkpoint().await?.unwrap_or(Seq(0));
    let head = reader.window().head;
    let mut recovered = Recovered { events: 0, accounts: 0, position: from };
    let mut place = begin(reader, from);
    let mut tail = Tail::default();
    while place.seq() < head {
        let chunk = match read_chunk(&mut place).await {
            Err(ReadError::Overtaken) => {
                // A segment turned out to be damaged: what follows it is replayed (DESIGN 10.10).
                place = begin(reader, place.seq());
                continue;
            }
            chunk => chunk?,
        };
        let Some(last) = chunk.last() else { break };
        recovered.position = last.seq;
        recovered.events += chunk.len() as u64;
        tail.apply(store, &chunk).await?;
        if tail.rows.len() >= REPLAY_ROWS_MAX {
            recovered.accounts += tail.write(store, recovered.position).await?;
        }
    }
    if recovered.position > from {
        recovered.accounts += tail.write(store, recovered.position).await?;
    }
    Ok(recovered)
}

/// The place to replay from. Retention never passes a checkpoint, so that what lies between it and
/// the window was lost with damaged files.
fn begin(reader: &Reader, from: Seq) -> Position {
    let before_oldest = Seq(reader.window().oldest.0.saturating_sub(1));
    if before_oldest > from && reader.has_lost() {
        tracing::error!(
            after = from.0,
            up_to = before_oldest.0,
            "events of the log are lost: the state of their accounts is as old as the last \
             checkpoint, and their next commits come as discontinuous"
        );
    }
    reader.after(from.max(before_oldest))
}

async fn read_chunk(place: &mut Position) -> Result<Vec<Event>, ReadError> {
    let mut chunk = Vec::new();
    while chunk.len() < REPLAY_CHUNK {
        match place.read(REPLAY_BYTES).await {
            Ok(events) if events.is_empty() => break,
            Ok(events) => chunk.extend(events),
            // What was read before the damage counts; the next read meets it again.
            Err(ReadError::Overtaken) if !chunk.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(chunk)
}

/// What the tail of the log makes of the rows in the store, not yet written.
#[derive(Debug, Default)]
struct Tail {
    rows: BTreeMap<Did, Replayed>,
}

/// A row that the tail names.
#[derive(Debug, Default)]
struct Replayed {
    /// The host that the stored row counts for.
    counted_at: Option<HostId>,
    row: Option<Account>,
}

impl Tail {
    /// Applies events in order; asks the store for the rows that were not needed before.
    async fn apply(&mut self, store: &Store, chunk: &[Event]) -> Result<(), CheckpointError> {
        let mut dids = Vec::with_capacity(chunk.len());
        for event in chunk {
            let did = Envelope::peek(&event.frame)
                .ok()
                .and_then(|envelope| Did::parse(envelope.did?).ok())
                .ok_or_else(|| {
                    CheckpointError::Replay(format!("seq {} names no DID", event.seq))
                })?;
            dids.push(did);
        }
        let mut missing = Vec::new();
        for did in &dids {
            if !self.rows.contains_key(did) {
                missing.push(did.clone());
                self.rows.insert(did.clone(), Replayed::default());
            }
        }
        for row in store.accounts(&missing).await? {
            let counted_at = counted_at(&row);
            self.rows.insert(row.did.clone(), Replayed { counted_at, row: Some(row) });
        }
        for (event, did) in chunk.iter().zip(&dids) {
            let replayed = self
                .rows
                .get_mut(did)
                .and_then(|replayed| {
                    replayed.row = replay(replayed.row.take(), event);
                    replayed.row.as_ref()
                })
                .is_some();
            if !replayed {
                let why = format!("seq {} cannot be applied", event.seq);
                return Err(CheckpointError::Replay(why));
            }
        }
        Ok(())
    }

    /// Writes the rows as a checkpoint at `position`; gives how many.
    async fn write(&mut self, store: &Store, position: Seq) -> Result<u64, CheckpointError> {
        let mut deltas = BTreeMap::<HostId, i64>::new();
        let mut accounts = Vec::with_capacity(self.rows.len());
        for Replayed { counted_at: before, row } in std::mem::take(&mut self.rows).into_values() {
            if let Some(host) = before {
                *deltas.entry(host).or_default() -= 1;
            }
            if let Some(host) = row.as_ref().and_then(counted_at) {
                *deltas.entry(host).or_default() += 1;
            }
            accounts.extend(row);
        }
        let written = accounts.len() as u64;
        let count_deltas = deltas.into_iter().filter(|(_, delta)| *delta != 0).collect();
        let cursors = Vec::new();
        let mark = rand::random();
        let rows = Checkpoint { position, accounts, cursors, count_deltas, mark };
        store.checkpoint(&rows).await?;
        crash::at(Point::ReplayAfterCommit);
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
