//! The bounded way from the shards to the writer's thread.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, watch};

use super::{
    Entry, LogError, LogHealth, segment::RECORD_BYTES_MAX, shared::Shared, writer::bytes_of,
};
use crate::domain::Seq;

/// What an entry takes besides its frame and note: its own struct and the handles of its memory.
/// Counting it bounds the number of entries too.
const ENTRY_BYTES: usize = 256;

/// Why the log takes nothing any more.
#[derive(Debug, Clone)]
enum End {
    Closed,
    Failed(String),
}

impl From<End> for LogError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Closed,
            End::Failed(why) => Self::Fatal(why),
        }
    }
}

#[derive(Debug, Clone)]
struct State {
    /// False while the disk has no room (OUT-5).
    is_admitting: bool,
    /// Number of entries that became durable since start.
    durable: u64,
    end: Option<End>,
}

#[derive(Debug)]
struct Inner {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Number of entries taken in since start.
    accepted: u64,
    /// The writer sleeps until so many bytes wait.
    wake_at: usize,
    is_closing: bool,
}

/// Entries on their way to the writer.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    arrived: Condvar,
    /// Bytes that may still be on their way (I5).
    room: Semaphore,
    bytes_max: usize,
    state: watch::Sender<State>,
}

/// What an entry counts while it is on its way.
fn cost(entry: &Entry) -> usize {
    ENTRY_BYTES + bytes_of(entry)
}

impl Queue {
    /// * `bytes_max` – at least twice the longest record
    pub(super) fn new(bytes_max: usize) -> Self {
        let inner = Inner {
            entries: VecDeque::new(),
            bytes: 0,
            accepted: 0,
            wake_at: 0,
            is_closing: false,
        };
        Self {
            inner: Mutex::new(inner),
            arrived: Condvar::new(),
            room: Semaphore::new(bytes_max),
            bytes_max,
            state: watch::Sender::new(State { is_admitting: true, durable: 0, end: None }),
        }
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<(), LogError> {
        for entry in &entries {
            let is_long = entry.note.len() > usize::from(u8::MAX);
            if is_long || bytes_of(entry) > RECORD_BYTES_MAX {
                return Err(LogError::Fatal(format!(
                    "an event of {} bytes with a note of {} bytes does not fit a log record",
                    bytes_of(entry),
                    entry.note.len()
                )));
            }
        }
        // Portions of a quarter: a call larger than the whole queue gets through too.
        let mut portion = Vec::new();
        let mut bytes = 0;
        let total: usize = entries.iter().map(cost).sum();
        if total <= self.bytes_max / 4 {
            return self.append_portion(entries, total).await;
        }
        for entry in entries {
            let cost = cost(&entry);
            if bytes + cost > self.bytes_max / 4 && !portion.is_empty() {
                self.append_portion(std::mem::take(&mut portion), bytes).await?;
                bytes = 0;
            }
            bytes += cost;
            portion.push(entry);
        }
        self.append_portion(portion, bytes).await
    }

    async fn append_portion(&self, entries: Vec<Entry>, bytes: usize) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.admitted().await?;
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(permit) = self.room.acquire_many(permits).await else { return Err(self.ended()) };
        {
            let mut inner = self.inner.lock();
            if inner.is_closing {
                return Err(self.ended());
            }
            inner.accepted += super::files::length(entries.len());
            inner.bytes += bytes;
            inner.entries.extend(entries);
            permit.forget();
            if inner.bytes >= inner.wake_at {
                self.arrived.notify_one();
            }
        }
        Ok(())
    }

    /// Waits until the disk has room.
    async fn admitted(&self) -> Result<(), LogError> {
        if self.state.borrow().is_admitting {
            return Ok(());
        }
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| state.is_admitting || state.end.is_some()).await;
        match state.map(|state| state.end.clone()) {
            Ok(None) => Ok(()),
            Ok(Some(end)) => Err(end.into()),
            Err(_) => Err(LogError::Closed),
        }
    }

    fn ended(&self) -> LogError {
        self.state.borrow().end.clone().map_or(LogError::Closed, LogError::from)
    }

    /// Waits until all that was taken in so far is durable.
    async fn barrier(&self) -> Result<(), LogError> {
        let accepted = self.inner.lock().accepted;
        let mut state = self.state.subscribe();
        let reached = state
            .wait_for(|state| state.durable >= accepted || state.end.is_some())
            .await
            .map(|state| (state.durable >= accepted, state.end.clone()));
        match reached {
            Ok((true, _) | (false, None)) => Ok(()),
            Ok((false, Some(end))) => Err(end.into()),
            Err(_) => Err(LogError::Closed),
        }
    }

    /// No more entries; the writer ends when it has written what there is.
    fn close(&self) {
        self.inner.lock().is_closing = true;
        self.arrived.notify_one();
    }

    async fn closed(&self) {
        let mut state = self.state.subscribe();
        // An error would mean that the queue is gone, which is closed enough.
        drop(state.wait_for(|state| state.end.is_some()).await);
    }

    /// The writer's side: sleeps until something is to be done or `at_most` is over. True when
    /// entries wait.
    pub(super) fn sleep(&self, at_most: Duration) -> bool {
        self.sleep_until(1, at_most)
    }

    /// The writer's side: sleeps until `bytes` wait, the log is closing, or `at_most` is over.
    pub(super) fn sleep_until(&self, bytes: usize, at_most: Duration) -> bool {
        let mut inner = self.inner.lock();
        inner.wake_at = bytes;
        if inner.bytes < bytes && !inner.is_closing && !at_most.is_zero() {
            let asleep = |inner: &mut Inner| inner.bytes < bytes && !inner.is_closing;
            self.arrived.wait_while_for(&mut inner, asleep, at_most);
        }
        inner.wake_at = usize::MAX;
        !inner.entries.is_empty()
    }

    /// The writer's side: sleeps for this long, less when the log is closing.
    pub(super) fn rest(&self, at_most: Duration) {
        self.sleep_until(usize::MAX, at_most);
    }

    /// The writer's side: moves entries of about `bytes_max` bytes to `batch`, at least one. Gives
    /// the bytes that they count.
    pub(super) fn take(&self, batch: &mut Vec<Entry>, bytes_max: usize) -> usize {
        let mut inner = self.inner.lock();
        let mut bytes = 0;
        while let Some(entry) = inner.entries.front() {
            let cost = cost(entry);
            if bytes > 0 && bytes + cost > bytes_max {
                break;
            }
            bytes += cost;
            batch.extend(inner.entries.pop_front());
        }
        inner.bytes -= bytes;
        bytes
    }

    /// The writer's side: entries that counted `bytes` have become durable.
    pub(super) fn settle(&self, entries: usize, bytes: usize) {
        self.room.add_permits(bytes);
        self.state.send_modify(|state| state.durable += super::files::length(entries));
    }

    pub(super) fn is_closing(&self) -> bool {
        self.inner.lock().is_closing
    }

    /// Bytes on their way and how many there may be.
    pub(super) fn depth(&self) -> (usize, usize) {
        (self.bytes_max.saturating_sub(self.room.available_permits()), self.bytes_max)
    }

    pub(super) fn set_admitting(&self, is_admitting: bool) {
        self.state.send_if_modified(|state| {
            let changed = state.is_admitting != is_admitting;
            state.is_admitting = is_admitting;
            changed
        });
    }

    /// The writer has ended: everyone who waits learns why.
    pub(super) fn end(&self, failed: Option<String>) {
        self.inner.lock().is_closing = true;
        self.room.close();
        let end = failed.map_or(End::Closed, End::Failed);
        self.state.send_modify(|state| {
            state.end.get_or_insert(end);
        });
    }
}

/// The way into the log; cheap to clone. The log closes when the last one is gone.
#[derive(Debug, Clone)]
pub struct Appender {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Appender {
    pub(super) fn new(queue: Arc<Queue>, shared: Arc<Shared>) -> Self {
        Self { handle: Arc::new(Handle { queue, shared }) }
    }

    /// Hands over entries in order; waits while too many bytes are on their way (I5) and while the
    /// disk is full (OUT-5). The order of calls of one clone is the order in the log.
    ///
    /// Cancel safety: dropped while it waits, nothing was handed over, unless the entries take more
    /// than 16 MiB; those go in portions, of which the first may have gone.
    ///
    /// # Errors
    /// [`LogError::Closed`] after [`Self::close`], [`LogError::Fatal`] when the log has failed or an
    /// entry is longer than a record may be. Nothing of the call is in the log then.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<(), LogError> {
        self.handle.queue.append(entries).await
    }

    /// Waits while hosts are not to be read: the disk is full (OUT-5), or the log waits for a
    /// checkpoint (DESIGN 10.5). What was read already may be appended meanwhile. Returns when the
    /// log fails, so that [`Self::append`] can say why.
    pub async fn ready(&self) {
        if self.handle.shared.is_ready() {
            return;
        }
        let mut health = self.handle.shared.health();
        let waits = |health: &LogHealth| {
            matches!(health, LogHealth::DiskFull | LogHealth::AwaitingCheckpoint)
        };
        // The sender lives in `shared`, which this handle keeps.
        drop(health.wait_for(|health| !waits(health)).await);
    }

    /// Waits until all that was appended before is durable; gives the head then.
    ///
    /// # Errors
    /// As [`Self::append`], when the log ended before.
    pub async fn barrier(&self) -> Result<Seq, LogError> {
        self.handle.queue.barrier().await?;
        Ok(Seq(self.handle.shared.head()))
    }

    /// Replay of the daemon's state starts after this: retention never passes it (DESIGN 10.5).
    /// Before the first call nothing is removed.
    pub fn set_checkpoint(&self, position: Seq) {
        self.handle.shared.checkpoint.fetch_max(position.0, std::sync::atomic::Ordering::AcqRel);
    }

    /// Waits for everything on its way, syncs, closes. While the disk is full nothing is waited
    /// for: what was not durable was not acknowledged to any host.
    pub async fn close(&self) {
        self.handle.queue.close();
        self.handle.queue.closed().await;
    }
}
