//! Checkpoints and recovery: state after a crash = checkpoint + replay of the log's tail (I3).
//!
//! A checkpoint is fuzzy (DESIGN 10.5). Its order matters:
//!
//! 1. note the head `P`: every event up to it is durable, so its shard has judged it;
//! 2. copy the dirty rows of all shards: each holds at least what the events up to `P` made of it;
//! 3. wait until everything appended so far is durable: a row must not hold an event that a crash
//!    takes back, or the host's replay of that event would count as stale and be lost (I3);
//! 4. write rows, marks and `P` in one transaction;
//! 5. tell the shards and the log.
//!
//! Replay starts after `P` and applies every event in order. Rows may already hold some of them;
//! applying these again ends in the same row, because the last event of an account decides.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use relay_protocol::{Did, Envelope};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

use crate::{
    accounts::counted_at,
    crash::{self, Point},
    domain::{Account, HostId, Seq},
    eventlog::{Appender, Event, LogError, LogHealth, Position, ReadError, Reader},
    hosts::Hosts,
    ingest::{Ingest, Snapshot, replay},
    store::{Checkpoint, Store, StoreError},
    tasks::Tasks,
};

/// Longest time between two checkpoints; what a restart has to replay stays small.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Time to the next try while the database takes no writes.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Dirty rows that trigger one earlier.
const DIRTY_ROWS_MAX: usize = 100_000;
/// Low-water marks alone are written this often (UP-9).
const CURSORS_EVERY: Duration = Duration::from_secs(4);
/// How often the conditions are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Events that recovery applies between two writes.
const REPLAY_CHUNK: usize = 2_000;
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
        let mut last = Instant::now();
        let mut last_cursors = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = tasks.stopping().cancelled() => return,
                _ = tick.tick() => {}
            }
            // The log may shrink only as far as the last checkpoint, and hosts wait for that.
            let is_awaited = *self.reader.health().borrow() == LogHealth::AwaitingCheckpoint;
            let every = match self.store.write_trouble() {
                None => CHECKPOINT_EVERY,
                Some(_) => RETRY_EVERY,
            };
            let due = last.elapsed() >= every
                || is_awaited
                || self.ingest.dirty_count() >= DIRTY_ROWS_MAX
                || self.ingest.wants_checkpoint();
            let outcome = if due {
                last = Instant::now();
                last_cursors = last;
                tokio::select! {
                    // With a full disk this lasts until there is room.
                    gathered = self.gather() => match gathered {
                        Ok(gathered) => self.save(gathered).await,
                        Err(error) => Err(error),
                    },
                    () = tasks.stopping().cancelled() => return,
                }
            } else if last_cursors.elapsed() >= CURSORS_EVERY {
                last_cursors = Instant::now();
                self.write_cursors().await
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                // The rows stay dirty and the marks are written with the next checkpoint.
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
        let position = self.reader.window().head;
        let snapshot = self.ingest.snapshot().await;
        self.appender.barrier().await?;
        Ok(Gathered { position, snapshot, unsure })
    }

    /// Steps 4 and 5.
    async fn save(&self, gathered: Gathered) -> Result<(), CheckpointError> {
        let Gathered { position, snapshot, mut unsure } = gathered;
        let cursors = self.hosts.take_moved_marks();
        let checkpoint = Checkpoint {
            position,
            accounts: snapshot.accounts,
            cursors,
            count_deltas: snapshot.count_deltas,
            mark: rand::random(),
        };
        let this = Unsure { mark: checkpoint.mark, ticket: snapshot.ticket, position };
        *unsure = Some(this);
        if let Err(error) = self.store.checkpoint(&checkpoint).await {
            self.hosts.return_marks(&checkpoint.cursors);
            return Err(error.into());
        }
        crash::at(Point::CheckpointAfterCommit);
        self.written(this).await;
        *unsure = None;
        self.hosts.flush().await?;
        Ok(())
    }

    async fn written(&self, this: Unsure) {
        self.ingest.checkpointed(this.ticket).await;
        self.appender.set_checkpoint(this.position);
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
    while place.seq() < head {
        let chunk = match read_chunk(&mut place).await {
            Err(ReadError::Overtaken) => {
                // A segment turned out to be damaged: what follows it is replayed (DESIGN 10.10).
                place = begin(reader, place.seq());
                continue;
            }
            chunk => chunk?,
        };
        if chunk.is_empty() {
            break;
        }
        let rows = apply(store, &chunk).await?;
        recovered.events += chunk.len() as u64;
        recovered.accounts += rows.accounts.len() as u64;
        recovered.position = rows.position;
        store.checkpoint(&rows).await?;
        crash::at(Point::ReplayAfterCommit);
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

async fn apply(store: &Store, chunk: &[Event]) -> Result<Checkpoint, CheckpointError> {
    let mut dids = Vec::with_capacity(chunk.len());
    for event in chunk {
        let did = Envelope::peek(&event.frame)
            .ok()
            .and_then(|envelope| Did::parse(envelope.did?).ok())
            .ok_or_else(|| CheckpointError::Replay(format!("seq {} names no DID", event.seq)))?;
        dids.push(did);
    }
    let mut unique = dids.clone();
    unique.sort();
    unique.dedup();
    let before: BTreeMap<Did, Account> = store
        .accounts(&unique)
        .await?
        .into_iter()
        .map(|account| (account.did.clone(), account))
        .collect();
    let mut after = before.clone();
    for (event, did) in chunk.iter().zip(dids) {
        let row = after.remove(&did);
        if let Some(row) = replay(row, event) {
            after.insert(did, row);
        } else {
            return Err(CheckpointError::Replay(format!("seq {} cannot be applied", event.seq)));
        }
    }
    let mut deltas = BTreeMap::<HostId, i64>::new();
    for (did, row) in &after {
        if let Some(host) = before.get(did).and_then(counted_at) {
            *deltas.entry(host).or_default() -= 1;
        }
        if let Some(host) = counted_at(row) {
            *deltas.entry(host).or_default() += 1;
        }
    }
    Ok(Checkpoint {
        position: chunk.last().map_or(Seq(0), |event| event.seq),
        accounts: after.into_values().collect(),
        cursors: Vec::new(),
        count_deltas: deltas.into_iter().filter(|(_, delta)| *delta != 0).collect(),
        mark: rand::random(),
    })
}

#[cfg(test)]
mod tests;
