//! The ordered log of output frames: append, sync, then show (I1, I4). Knows nothing of commits.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_protocol::Unsequenced;

use crate::{
    clock::Clock,
    domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq},
};

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Directory of the segments; created if missing.
    pub dir: PathBuf,
    /// Id shared with the database; a log with another one is refused (DESIGN 10.18).
    pub instance_id: String,
    /// Age that is kept (`RELAY_REPLAY_WINDOW`).
    pub replay_window: Duration,
    /// Bytes that are kept (`RELAY_REPLAY_MAX_BYTES`); `None` = 60 % of the free space at start.
    pub bytes_max: Option<u64>,
    /// Lowest seq to give out next (`RELAY_INITIAL_SEQ_NUMBER`).
    pub initial_seq: Seq,
    /// Size at which a segment is sealed.
    pub segment_bytes: u64,
    /// Least time between two sync starts (DESIGN 10.9).
    pub sync_interval: Duration,
    /// Bytes of newest records that readers find in memory.
    pub recent_bytes: usize,
}

/// A judged event on its way into the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Kind.
    pub kind: EventKind,
    /// Account.
    pub account: AccountNo,
    /// Host it came from, [`HostId::RELAY`] for our own.
    pub host: HostId,
    /// Epoch of that host.
    pub epoch: Epoch,
    /// Number at that host, 0 for our own.
    pub host_seq: HostSeq,
    /// Opaque to the log, given back on replay; at most 255 bytes.
    pub note: Bytes,
    /// The frame, its seq still open.
    pub frame: Unsequenced,
}

/// A durable event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Our seq.
    pub seq: Seq,
    /// When it was appended, µs since 1970.
    pub time_us: u64,
    /// Kind.
    pub kind: EventKind,
    /// Account.
    pub account: AccountNo,
    /// Host.
    pub host: HostId,
    /// Epoch.
    pub epoch: Epoch,
    /// Number at that host.
    pub host_seq: HostSeq,
    /// As appended.
    pub note: Bytes,
    /// The whole output frame; shares the memory of its neighbours.
    pub frame: Bytes,
}

/// Told after a batch became durable and visible.
#[derive(Debug, Clone, Copy)]
pub struct Durable {
    /// Our seq.
    pub seq: Seq,
    /// Kind.
    pub kind: EventKind,
    /// Account.
    pub account: AccountNo,
    /// Host.
    pub host: HostId,
    /// Epoch.
    pub epoch: Epoch,
    /// Number at that host.
    pub host_seq: HostSeq,
    /// Length of the frame.
    pub frame_bytes: u32,
}

/// Retained events: `oldest..=head`; empty when `oldest > head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayWindow {
    /// First retained seq.
    pub oldest: Seq,
    /// Newest durable seq, or the one before the first to come.
    pub head: Seq,
}

/// Whether the log takes events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogHealth {
    /// Yes.
    Writing,
    /// The disk is full; ingest waits, replay goes on (OUT-5).
    DiskFull,
    /// A sealed segment was damaged and skipped; the sentence says which (DESIGN 10.10).
    Damaged(String),
    /// Sync or write failed: the process must stop (DESIGN 10.9).
    Failed(String),
}

/// Fatal trouble with the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A sentence for the operator: what, where, what to do.
    #[error("{0}")]
    Fatal(String),
    /// The writer has stopped.
    #[error("the event log is closed")]
    Closed,
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Retention or damage removed what was to come next; the window has moved on.
    #[error("the replay window moved past the position")]
    Overtaken,
    /// The file could not be read.
    #[error("{0}")]
    Io(String),
}

/// Opens, recovers (cuts a torn tail, I1, OUT-4) and starts the writer thread.
///
/// `on_durable` runs on the writer thread after each batch has become visible; it must not block.
///
/// # Errors
/// [`LogError::Fatal`] on damage in the unsealed tail, a foreign instance id, an unusable directory.
pub fn open(
    _options: LogOptions,
    _clock: Clock,
    _on_durable: Box<dyn FnMut(&[Durable]) + Send>,
) -> Result<(Appender, Reader), LogError> {
    todo!()
}

/// The way into the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct Appender {}

impl Appender {
    /// Hands over entries in order; waits while too many bytes are on their way (I5). The order of
    /// calls of one clone is the order in the log.
    pub async fn append(&self, _entries: Vec<Entry>) -> Result<(), LogError> {
        todo!()
    }
    /// Waits until all that was appended before is durable; gives the head then.
    pub async fn barrier(&self) -> Result<Seq, LogError> {
        todo!()
    }
    /// Replay of the daemon's state starts after this: retention never passes it (DESIGN 10.5).
    pub fn set_checkpoint(&self, _position: Seq) {
        todo!()
    }
    /// Waits for everything on its way, syncs, closes.
    pub async fn close(&self) {
        todo!()
    }
}

/// The way out of the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {}

impl Reader {
    /// What is retained now.
    pub fn window(&self) -> ReplayWindow {
        todo!()
    }
    /// First event at or after this time.
    pub fn seq_at(&self, _time_us: u64) -> Seq {
        todo!()
    }
    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        todo!()
    }
    /// Changes of health.
    pub fn health(&self) -> tokio::sync::watch::Receiver<LogHealth> {
        todo!()
    }
    /// Reads from the event after `seq` on.
    pub fn after(&self, _seq: Seq) -> Position {
        todo!()
    }
}

/// A place in the log that moves forward; near the head it reads shared memory, further back files.
#[derive(Debug)]
pub struct Position {}

impl Position {
    /// Seq of the last event given, or where it started.
    pub fn seq(&self) -> Seq {
        todo!()
    }
    /// The next events, at most about `bytes_max` (at least one event); empty at the head.
    ///
    /// Cancel safety: nothing is lost when dropped.
    pub async fn read(&mut self, _bytes_max: usize) -> Result<Vec<Event>, ReadError> {
        todo!()
    }
    /// Returns when there is something to read. Cancel safe.
    pub async fn ready(&mut self) {
        todo!()
    }
}

#[expect(unused, reason = "skeleton")]
fn skeleton(_: Arc<()>) {}
