//! A log on a simulated disk, and what should be in it.

use std::path::PathBuf;

use crate::eventlog::{
    Appender, Durable, Entry, Event, LogError, LogOptions, Position, ReadError, Reader, Reserve,
    Tuning,
    files::{Files, sim::Disk},
    open_with,
};
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use relay_protocol::Unsequenced;

use crate::clock::Clock;
use crate::domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq};

pub(super) const DIR: &str = "/log";

/// A day, so that nothing ages by accident.
pub(super) const DAY: Duration = Duration::from_hours(24);

/// Segments of about 4 KB, so that a few events cross their edges.
pub(super) fn options() -> LogOptions {
    LogOptions {
        dir: PathBuf::from(DIR),
        instance_id: "here".to_owned(),
        replay_window: DAY,
        bytes_max: Some(1 << 30),
        initial_seq: Seq(1),
        known_seq: Seq(0),
        segment_bytes: 4_000,
        sync_interval: Duration::ZERO,
        recent_bytes: 2_000,
        compression: 0,
    }
}

pub(super) fn tuning() -> Tuning {
    Tuning {
        queue_bytes: 1 << 20,
        batch_bytes: 64 << 10,
        chunk_bytes: 1_000,
        index_distance: 600,
        reserve: Some(Reserve { shrink: 0, stop: 0 }),
        chores_interval: Duration::from_millis(1),
        retry_interval: Duration::from_millis(1),
    }
}

/// An event that says its number in every field.
pub(super) fn entry(number: u64) -> Entry {
    let length = 20 + usize::try_from(number * 37 % 400).unwrap();
    let note = vec![u8::try_from(number % 256).unwrap(); usize::try_from(number % 5).unwrap()];
    Entry {
        kind: EventKind::ALL[usize::try_from(number % 4).unwrap()],
        account: AccountNo(number + 1),
        host: HostId(u32::try_from(number % 1000).unwrap()),
        epoch: Epoch(7),
        host_seq: HostSeq(number * 3),
        note: note.into(),
        frame: Unsequenced {
            before: Bytes::from(format!("event {number} has seq ")),
            after: Bytes::from(vec![b'x'; length]),
        },
    }
}

/// The event that this entry must have become.
pub(super) fn is_same(event: &Event, entry: &Entry) -> bool {
    event.kind == entry.kind
        && event.account == entry.account
        && event.host == entry.host
        && event.epoch == entry.epoch
        && event.host_seq == entry.host_seq
        && event.note == entry.note
        && event.frame == entry.frame.with_seq(event.seq.0)
}

/// The whole log with its thread.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) appender: Appender,
    pub(super) reader: Reader,
    pub(super) clock: Clock,
    pub(super) durable: Arc<Mutex<Vec<Durable>>>,
}

impl Log {
    pub(super) fn open(disk: &Disk, options: LogOptions) -> Result<Self, LogError> {
        Self::open_with(Arc::new(disk.clone()), options, tuning())
    }

    pub(super) fn open_with(
        files: Arc<dyn Files>,
        options: LogOptions,
        tuning: Tuning,
    ) -> Result<Self, LogError> {
        let clock = Clock::manual(1_000_000_000);
        let durable = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&durable);
        let on_durable = Box::new(move |batch: &[Durable]| told.lock().extend_from_slice(batch));
        let (appender, reader) = open_with(files, (options, tuning), clock.clone(), on_durable)?;
        Ok(Self { appender, reader, clock, durable })
    }

    /// Appends events with these numbers, three at a time, and waits until they are durable.
    pub(super) async fn append(&self, numbers: std::ops::Range<u64>) -> Result<(), LogError> {
        let entries: Vec<Entry> = numbers.map(entry).collect();
        for some in entries.chunks(3) {
            self.appender.append(some.to_vec()).await?;
            self.appender.barrier().await?;
        }
        Ok(())
    }

    pub(super) async fn all_after(&self, seq: u64) -> Result<Vec<Event>, ReadError> {
        read_to_head(&mut self.reader.after(Seq(seq)), 1_500).await
    }

    /// Waits for a state that the writer reaches by itself.
    pub(super) async fn until(&self, what: &str, reached: impl Fn(&Reader) -> bool) {
        let waiting = async {
            while !reached(&self.reader) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "never came: {what}");
    }
}

pub(super) async fn read_to_head(
    position: &mut Position,
    bytes_max: usize,
) -> Result<Vec<Event>, ReadError> {
    let mut all = Vec::new();
    loop {
        let some = position.read(bytes_max).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

/// Asserts that these are exactly the events with seqs `first..=last`, where the event with seq `s`
/// has number `s - 1`.
pub(super) fn assert_events(events: &[Event], first: u64, last: u64) {
    let seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, (first..=last).collect::<Vec<_>>());
    for event in events {
        assert!(is_same(event, &entry(event.seq.0 - 1)), "{event:?}");
    }
}

/// Paths of segments, oldest first.
pub(super) fn segments(disk: &Disk) -> Vec<PathBuf> {
    let mut paths = disk.paths();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths
}
