//! Reading: from memory near the head, from files further back, with the same iterator of records.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::watch;

use super::{
    Event, LogHealth, ReadError, ReplayWindow,
    files::{File, is_unreadable},
    scan::{Block, Step},
    shared::{Place, Segment, Shared},
};
use crate::domain::Seq;

/// Least bytes that one read of a file takes: a few events, however few were asked for.
const BLOCK_BYTES_MIN: usize = 16 << 10;
/// Most bytes of one read of a file, as each reader holds one block at a time (I5).
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// The way out of the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What is retained now.
    pub fn window(&self) -> ReplayWindow {
        // Oldest first: it never passes a head that is read later by more than one.
        let oldest = Seq(self.shared.oldest());
        ReplayWindow { oldest, head: Seq(self.shared.head()) }
    }

    /// Whether there were events before the window: retention or damage removed some.
    pub fn has_lost(&self) -> bool {
        self.shared.lost() > 0
    }

    /// First event at or after this time, the one to come next when there is none yet.
    ///
    /// Reads at most one footer and about 128 KiB of a file: not for every event.
    pub fn seq_at(&self, time_us: u64) -> Seq {
        let window = self.window();
        let found = self.shared.segments().into_iter().find(|segment| {
            let extent = segment.extent();
            extent.last >= window.oldest.0 && extent.last_us >= time_us
        });
        let Some(segment) = found else { return Seq(window.head.0 + 1) };
        let seq = first_at(&self.shared, &segment, time_us).unwrap_or(segment.base);
        Seq(seq.clamp(window.oldest.0, window.head.0 + 1))
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.disk_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that are kept at most (OUT-2); as configured, or 60 % of the space there was at start.
    pub fn bytes_max(&self) -> u64 {
        self.shared.bytes_max
    }

    /// Changes of health.
    pub fn health(&self) -> watch::Receiver<LogHealth> {
        self.shared.health()
    }

    /// Reads from the event after `seq` on.
    pub fn after(&self, seq: Seq) -> Position {
        let (shared, heads) = (Arc::clone(&self.shared), self.shared.heads());
        Position { shared, heads, seq: seq.0, open: None }
    }
}

/// A place in the log that moves forward; near the head it reads shared memory, further back files.
#[derive(Debug)]
pub struct Position {
    shared: Arc<Shared>,
    heads: watch::Receiver<u64>,
    seq: u64,
    open: Option<Open>,
}

/// The file that a position is in, and where its next record begins.
#[derive(Debug, Clone)]
struct Open {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    place: Place,
}

impl Position {
    /// Seq of the last event given, or where it started. Where the log jumped (`initial_seq`) it is
    /// the seq before the first one after the jump.
    pub fn seq(&self) -> Seq {
        Seq(self.seq)
    }

    /// The next events, at most about `bytes_max` (at least one event); empty at the head.
    ///
    /// Cancel safety: nothing is lost when dropped.
    ///
    /// # Errors
    /// [`ReadError::Overtaken`] when an event after the position is gone, by retention or damage
    /// (OUT-6); it stays so, the caller starts again at the window. [`ReadError::Io`] when a file
    /// could not be read this time.
    pub async fn read(&mut self, bytes_max: usize) -> Result<Vec<Event>, ReadError> {
        loop {
            let head = self.shared.head();
            if self.seq >= head {
                return Ok(Vec::new());
            }
            if self.seq < self.shared.lost() {
                self.open = None;
                return Err(ReadError::Overtaken);
            }
            if let Some(events) = self.shared.recent.read(self.seq, head, bytes_max)
                && let Some(last) = events.last()
            {
                self.seq = last.seq.0;
                self.open = None;
                return Ok(events);
            }
            let (shared, open, seq) = (Arc::clone(&self.shared), self.open.clone(), self.seq);
            let read = move || read_files(&shared, open, (seq, head), bytes_max);
            let read = tokio::task::spawn_blocking(read)
                .await
                .map_err(|error| ReadError::Io(error.to_string()))??;
            self.seq = read.seq;
            self.open = read.open;
            if !read.events.is_empty() {
                return Ok(read.events);
            }
        }
    }

    /// Returns when there is something to read. Cancel safe.
    pub async fn ready(&mut self) {
        let seq = self.seq;
        if self.heads.wait_for(|head| *head > seq).await.is_err() {
            // Cannot be: the position itself keeps the sender. Waiting is the harmless answer.
            std::future::pending::<()>().await;
        }
    }
}

/// What one visit to the files gave.
#[derive(Debug)]
struct FromFiles {
    events: Vec<Event>,
    seq: u64,
    open: Option<Open>,
}

/// Reads events after `seq` up to `head`; gives none only when `seq` has moved (over a jump).
fn read_files(
    shared: &Arc<Shared>,
    open: Option<Open>,
    (mut seq, head): (u64, u64),
    bytes_max: usize,
) -> Result<FromFiles, ReadError> {
    let mut open = match open {
        Some(open) => open,
        None => find(shared, seq)?,
    };
    // Nothing lies between a jump of the seq and the segment behind it.
    seq = seq.max(open.segment.base - 1);
    if seq >= head {
        return Ok(FromFiles { events: Vec::new(), seq, open: Some(open) });
    }
    loop {
        let (last, end) = {
            let extent = open.segment.extent();
            (extent.last, extent.records_end)
        };
        if open.place.next > last {
            let Some(next) = shared.segment_after(&open.segment) else {
                // The head has moved since: not reached unless seq and segments disagree.
                return Err(ReadError::Io("the log has no segment for its head".to_owned()));
            };
            if next.previous > seq.max(last) {
                return Err(ReadError::Overtaken);
            }
            seq = seq.max(next.base - 1);
            open = enter(shared, &next)?;
            if seq >= head {
                return Ok(FromFiles { events: Vec::new(), seq, open: Some(open) });
            }
            continue;
        }
        let events = read_block(shared, &mut open, end, (seq, head), bytes_max)?;
        if let Some(newest) = events.last() {
            let seq = newest.seq.0;
            return Ok(FromFiles { events, seq, open: Some(open) });
        }
    }
}

/// Reads one block of a segment; moves the place behind it.
fn read_block(
    shared: &Shared,
    open: &mut Open,
    end: u64,
    (seq, head): (u64, u64),
    bytes_max: usize,
) -> Result<Vec<Event>, ReadError> {
    let Place { offset, mut next } = open.place;
    let block_bytes = bytes_max.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
    let mut budget = bytes_max;
    let segment = &open.segment;
    let mut block = Block::read(&*open.file, segment.salt, (offset, end), block_bytes)
        .map_err(|error| unreadable(shared, segment, offset, &error))?;
    let mut events = Vec::new();
    let mut used = 0;
    loop {
        match block.step() {
            Step::Record(_, record) if record.seq > head => break,
            Step::Record(at, record) if record.seq == next => {
                if record.seq > seq {
                    if record.length > budget && !events.is_empty() {
                        break;
                    }
                    budget = budget.saturating_sub(record.length);
                    events.push(record.event(&block.bytes, at));
                }
                next += 1;
                used = block.used();
            }
            // What was whole is given; the next read meets the damage first.
            Step::Record(..) | Step::Bad(_) | Step::End if used > 0 => break,
            Step::Bad(why) => return Err(damaged(shared, segment, offset, why)),
            Step::Record(..) => return Err(damaged(shared, segment, offset, "wrong seq")),
            Step::End => return Err(damaged(shared, segment, offset, "the file is too short")),
        }
    }
    open.place = Place { offset: offset + used, next };
    Ok(events)
}

fn damaged(shared: &Shared, segment: &Arc<Segment>, offset: u64, why: &str) -> ReadError {
    shared.damage(segment, offset, why);
    ReadError::Overtaken
}

/// An error of a file: gone by retention, damaged, or something that may pass.
fn unreadable(
    shared: &Shared,
    segment: &Arc<Segment>,
    offset: u64,
    error: &io::Error,
) -> ReadError {
    if shared.lost() >= segment.extent().last {
        ReadError::Overtaken
    } else if is_unreadable(error) || error.kind() == io::ErrorKind::NotFound {
        damaged(shared, segment, offset, &error.to_string())
    } else {
        ReadError::Io(format!("{} at byte {offset}: {error}", segment.path.display()))
    }
}

/// The place of the record after `seq`, or before it in the same segment.
fn find(shared: &Shared, seq: u64) -> Result<Open, ReadError> {
    let Some(segment) = shared.segment_for(seq) else {
        return Err(ReadError::Io("the log has no segments".to_owned()));
    };
    if segment.base > seq + 1 && segment.previous > seq {
        return Err(ReadError::Overtaken);
    }
    let mut open = enter(shared, &segment)?;
    let (last, records_end) = {
        let extent = segment.extent();
        (extent.last, extent.records_end)
    };
    if seq >= last {
        open.place = Place { offset: records_end, next: last + 1 };
    } else if seq >= segment.base {
        open.place = segment
            .place_of_seq(seq + 1, &*open.file)
            .map_err(|error| unreadable(shared, &segment, 0, &error))?;
    }
    Ok(open)
}

fn enter(shared: &Shared, segment: &Arc<Segment>) -> Result<Open, ReadError> {
    let file =
        segment.open(&*shared.files).map_err(|error| unreadable(shared, segment, 0, &error))?;
    Ok(Open { segment: Arc::clone(segment), file, place: segment.start() })
}

/// Seq of the first record of a segment at or after a time.
fn first_at(shared: &Shared, segment: &Arc<Segment>, time_us: u64) -> io::Result<u64> {
    let file = segment.open(&*shared.files)?;
    let mut place = segment.place_of_time(time_us, &*file)?;
    let end = segment.extent().records_end;
    while place.offset < end {
        let mut block = Block::read(&*file, segment.salt, (place.offset, end), BLOCK_BYTES_MIN)?;
        while let Step::Record(_, record) = block.step() {
            if record.time_us >= time_us {
                return Ok(record.seq);
            }
            place.next = record.seq + 1;
        }
        if block.used() == 0 {
            break;
        }
        place.offset += block.used();
    }
    Ok(place.next)
}
