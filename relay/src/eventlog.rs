//! The ordered log of output frames: append, sync, then show (I1, I4). Knows nothing of commits.
//!
//! ```text
//!  shards ──Appender──► queue ──► thread ─► writer ──► newest segment ─sync─► head, recent
//!           waits while           one       seq, record,                        │
//!           64 MiB are            batch     one write                           ▼
//!           on their way                                Reader ─► Position: recent, then segments
//! ```
//!
//! `segment` is the format. `recovery` makes a sound log of what a crash left. `chores` and
//! `retention` keep it within age, bytes and free space. Every access to the disk goes through `files`,
//! which tests replace by a disk that forgets what was not synced.
//!
//! `compression` makes sealed segments smaller, `cache` shares what was read of files among readers.
//!
//! Bounds (I5): 64 MiB on their way, `recent_bytes` and 64 MiB of blocks in memory, eight reads of
//! files at once, `bytes_max` on disk.
//!
//! Source: OUT-1…6, CUR-9, CUR-11; DESIGN 10.1, 10.5, 10.9…11, 10.18.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use relay_protocol::Unsequenced;

use self::{
    chores::Reserve,
    measures::Measures,
    queue::Queue,
    recovery::{Recovered, recover},
    shared::Shared,
    writer::Writer,
};

use crate::{
    clock::Clock,
    domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq},
};

mod block;
mod cache;
mod chores;
mod compression;
mod creation;
mod files;
mod index;
mod inspect;
mod loading;
mod measures;
mod queue;
mod reader;
mod recent;
mod recovery;
mod repair;
mod retention;
mod scan;
mod segment;
mod shared;
mod tail;
mod thread;
mod writer;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use files::sim;
pub use files::{File, Files, Machine};
pub use inspect::{Fault, FaultKind, FileReport, Span};
pub use queue::Appender;
pub use reader::{Position, Reader};
pub use repair::{LogReport, Loss, Step};

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
    /// Newest seq that the database remembers, 0 = none. A log that ends before it has lost events
    /// that consumers saw: seq jumps far above them (CUR-9, I4).
    pub known_seq: Seq,
    /// Size at which a segment is sealed.
    pub segment_bytes: u64,
    /// Least time between two sync starts (DESIGN 10.9); two and a half times as long while many events
    /// come, five times in a flood.
    pub sync_interval: Duration,
    /// Bytes of newest records that readers find in memory.
    pub recent_bytes: usize,
    /// Level of zstd for sealed segments (`RELAY_LOG_COMPRESSION`); 0 = they stay plain.
    pub compression: i32,
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

/// Called with each batch after it has become visible.
pub type OnDurable = Box<dyn FnMut(&[Durable]) + Send>;

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
    /// The log should shrink and may not, because the last checkpoint is too old: hosts are not
    /// read until there is a newer one (DESIGN 10.5).
    AwaitingCheckpoint,
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

/// Only whole segments are removed, so that a small log has smaller ones than configured: an eighth
/// of its limit, but not less than this.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Sizes that only tests change.
#[derive(Debug, Clone, Copy)]
struct Tuning {
    /// Bytes on their way from `append` to the disk, entries' own memory included. Chosen: two
    /// seconds of the full network at ten times its usual rate.
    queue_bytes: usize,
    /// Bytes that share one sync at most, so that a slow disk still moves the head.
    batch_bytes: usize,
    /// Bytes of one piece of shared memory: a consumer that still sends one event holds the whole.
    chunk_bytes: usize,
    /// Bytes of records between two marks of the index.
    index_distance: u64,
    /// Room on the disk; `None` = by its size.
    reserve: Option<Reserve>,
    /// Between two looks at age, bytes, and free space.
    chores_interval: Duration,
    /// Between two attempts to write to a full disk.
    retry_interval: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            queue_bytes: 64 << 20,
            batch_bytes: 8 << 20,
            chunk_bytes: 512 << 10,
            index_distance: index::DISTANCE,
            reserve: None,
            chores_interval: Duration::from_secs(1),
            retry_interval: Duration::from_millis(250),
        }
    }
}

/// Opens, recovers (cuts a torn tail, I1, OUT-4) and starts the writer thread.
///
/// `on_durable` runs on the writer thread after each batch has become visible; it must not block.
///
/// # Errors
/// [`LogError::Fatal`] on damage in the unsealed tail, a foreign instance id, an unusable directory.
pub fn open(
    options: LogOptions,
    clock: Clock,
    on_durable: OnDurable,
) -> Result<(Appender, Reader), LogError> {
    open_on(Arc::new(Machine), options, clock, on_durable)
}

/// The same on other files than the machine's.
///
/// # Errors
/// As [`open`].
pub fn open_on(
    files: Arc<dyn Files>,
    options: LogOptions,
    clock: Clock,
    on_durable: OnDurable,
) -> Result<(Appender, Reader), LogError> {
    open_with(files, (options, Tuning::default()), clock, on_durable)
}

/// Reads all that is in the directory of a log and says what is wrong and what `repair` would do.
/// Changes nothing; a relay may be running on it.
///
/// # Errors
/// When the directory cannot be listed.
pub fn verify(files: &dyn Files, dir: &Path) -> std::io::Result<LogReport> {
    let reports = inspect::inspect(files, dir)?;
    let instance = inspect::instance(&reports);
    Ok(repair::plan(reports, instance.as_deref()))
}

/// Does what the report says. No relay may be running on the directory.
///
/// # Errors
/// [`LogError::Fatal`] when a step could not be done; what was done before is sound.
pub fn repair(
    files: &dyn Files,
    dir: &Path,
    report: &LogReport,
    clock: &Clock,
) -> Result<(), LogError> {
    repair::act(files, dir, report, clock.now_us())
}

fn open_with(
    files: Arc<dyn Files>,
    (options, tuning): (LogOptions, Tuning),
    clock: Clock,
    on_durable: OnDurable,
) -> Result<(Appender, Reader), LogError> {
    let writer = prepare(files, (options, tuning), clock, on_durable)?;
    let shared = Arc::clone(&writer.shared);
    let queue = Arc::new(Queue::new(tuning.queue_bytes));
    let for_thread = Arc::clone(&queue);
    std::thread::Builder::new()
        .name("eventlog".to_owned())
        .spawn(move || thread::run(writer, &for_thread))
        .map_err(|error| LogError::Fatal(format!("the event log cannot start: {error}")))?;
    Ok((Appender::new(queue, Arc::clone(&shared)), Reader::new(shared)))
}

/// All of [`open_with`] but the thread.
fn prepare(
    files: Arc<dyn Files>,
    (options, tuning): (LogOptions, Tuning),
    clock: Clock,
    on_durable: OnDurable,
) -> Result<Writer, LogError> {
    let now_us = clock.now_us();
    let recovered = recover(&*files, &options, tuning.index_distance, now_us)?;
    let Recovered { segments, file, set_aside } = recovered;
    let own_bytes = segments.iter().map(|segment| segment.extent().bytes).sum::<u64>()
        + set_aside.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let free = files.free_bytes(&options.dir).map_err(|error| {
        LogError::Fatal(format!(
            "the event log cannot ask for the free space of {}: {error}",
            options.dir.display()
        ))
    })?;
    // The log's own bytes count as available, or each restart would shrink the window.
    let available = free.saturating_add(own_bytes);
    let bytes_max = options.bytes_max.unwrap_or(available / 10 * 6);
    let segment_bytes = options.segment_bytes.min((bytes_max / 8).max(SEGMENT_BYTES_MIN));
    let options = LogOptions { segment_bytes, ..options };
    let reserve = tuning.reserve.unwrap_or_else(|| Reserve::of(available));

    let shared = Shared::new(files, &options.dir, segments, options.recent_bytes, bytes_max);
    let shared = Arc::new(shared);
    if let Some((path, _)) = set_aside.first() {
        shared.set_damaged(Some(format!(
            "{} and {} more files of the event log were damaged and are set aside; the replay \
             window begins behind them. Look at the disk, then remove them",
            path.display(),
            set_aside.len() - 1
        )));
    }
    Measures::limits(bytes_max, options.replay_window);
    let mut writer = Writer::new(shared, file, (options, tuning), (clock, reserve), on_durable)?;
    for (path, bytes) in set_aside {
        writer.keep_aside(path, bytes, now_us);
    }
    writer.do_chores().map_err(LogError::Fatal)?;
    Ok(writer)
}
