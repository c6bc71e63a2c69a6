//! Reading: from memory near the head, from files further back, with the same iterator of records.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::watch;

use super::{
    Event, LogHealth, ReadError, ReplayWindow,
    cache::{Loaded, Unsound},
    files::{File, is_unreadable, length},
    loading::{READ_BYTES, Source, key},
    segment::{Parsed, parse_trusted},
    shared::{Layout, Place, Segment, Shared},
};
use crate::domain::Seq;

/// The way out of the log; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
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
    /// Reads at most one footer and about 1 MiB of a file: not for every event.
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

    /// When the oldest file of the window was begun, µs since 1970; `None` while there is no event.
    pub fn begins_us(&self) -> Option<u64> {
        let window = self.window();
        if window.oldest > window.head {
            return None;
        }
        let segments = self.shared.segments();
        let first = segments.iter().find(|segment| segment.extent().last >= window.oldest.0)?;
        let first_us = first.extent().first_us;
        Some(first_us)
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
    layout: Layout,
    place: Place,
}

impl Open {
    fn source(&self) -> Source<'_> {
        Source { segment: &self.segment, file: &*self.file, layout: self.layout }
    }

    /// The block of the place, if it is in memory.
    fn at_hand(&self, shared: &Shared) -> Option<Arc<Loaded>> {
        shared.cache.find(key(&self.segment, self.layout, self.place.offset))
    }

    /// The block of the place, whatever it takes.
    fn load(&mut self, shared: &Shared) -> Result<Arc<Loaded>, Unsound> {
        if let Some(block) = self.at_hand(shared) {
            return Ok(block);
        }
        if self.layout == Layout::Plain {
            // The block that this place was in is forgotten; a new one begins here.
            self.place.offset += length(self.place.within);
            self.place.within = 0;
        }
        let place = self.place;
        shared
            .cache
            .get(key(&self.segment, self.layout, place.offset), || self.source().load(place))
    }

    /// Events of the block after `seq` up to `head`; moves the place behind them. An error says what
    /// is wrong with the block.
    fn take(
        &mut self,
        block: &Loaded,
        (seq, head): (u64, u64),
        bytes_max: usize,
    ) -> Result<Vec<Event>, &'static str> {
        let Place { offset, mut within, mut next } = self.place;
        let (mut budget, mut events) = (bytes_max, Vec::new());
        while let Some(rest) = block.bytes.get(within..).filter(|rest| !rest.is_empty()) {
            let record = match parse_trusted(rest) {
                Parsed::Whole(record) if record.seq != next => return Err("wrong seq"),
                Parsed::Whole(record) if record.seq > head => break,
                Parsed::Whole(record) => record,
                Parsed::Short(_) => return Err("the block ends inside a record"),
                Parsed::Bad(why) => return Err(why),
            };
            if record.seq > seq {
                if record.length > budget && !events.is_empty() {
                    break;
                }
                budget = budget.saturating_sub(record.length);
                events.push(record.event(&block.bytes, within));
            }
            next += 1;
            within += record.length;
        }
        self.place = if within < block.bytes.len() {
            Place { offset, within, next }
        } else {
            Place { offset: block.after, within: 0, next }
        };
        Ok(events)
    }
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
            if let Some(events) = self.read_at_hand(head, bytes_max).await? {
                return Ok(events);
            }
            let (shared, open, seq) = (Arc::clone(&self.shared), self.open.clone(), self.seq);
            let turn = Arc::clone(&self.shared.turns).acquire_owned().await;
            let read = move || {
                let read = read_files(&shared, open, (seq, head), bytes_max);
                drop(turn);
                read
            };
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

    /// Events of the block that the position is in, if it is in memory.
    async fn read_at_hand(
        &mut self,
        head: u64,
        bytes_max: usize,
    ) -> Result<Option<Vec<Event>>, ReadError> {
        let shared = Arc::clone(&self.shared);
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(block) = open.at_hand(&shared) else { return Ok(None) };
        // Nothing here ever waits: consumers at the head get their turn between two batches.
        tokio::task::yield_now().await;
        if open.place.within == 0 {
            fetch_next(&shared, open, &block);
        }
        let offset = open.place.offset;
        let events = open
            .take(&block, (self.seq, head), bytes_max)
            .map_err(|why| damaged(&shared, &open.segment, offset, why))?;
        let Some(last) = events.last() else { return Ok(None) };
        self.seq = last.seq.0;
        Ok(Some(events))
    }

    /// Moves behind an event that was read elsewhere; never back.
    pub fn pass(&mut self, seq: Seq) {
        if seq.0 > self.seq {
            self.seq = seq.0;
            self.open = None;
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
        let last = open.segment.extent().last;
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
        let offset = open.place.offset;
        let block = open.load(shared).map_err(|why| unsound(shared, &open.segment, offset, why))?;
        let events = open
            .take(&block, (seq, head), bytes_max)
            .map_err(|why| damaged(shared, &open.segment, offset, why))?;
        if let Some(newest) = events.last() {
            let seq = newest.seq.0;
            return Ok(FromFiles { events, seq, open: Some(open) });
        }
    }
}

/// Has the block behind this one read while this one is being sent, if nobody waits for a turn.
fn fetch_next(shared: &Arc<Shared>, open: &Open, block: &Loaded) {
    let left = open.segment.records_end(open.layout).saturating_sub(block.after);
    // The end of the segment that is written is still growing.
    let is_whole = open.layout != Layout::Plain || left >= length(READ_BYTES);
    let key = key(&open.segment, open.layout, block.after);
    if left == 0 || !is_whole || shared.cache.find(key).is_some() {
        return;
    }
    let Ok(turn) = Arc::clone(&shared.turns).try_acquire_owned() else { return };
    let place = Place { offset: block.after, within: 0, next: block.last + 1 };
    let (shared, open) = (Arc::clone(shared), open.clone());
    tokio::task::spawn_blocking(move || {
        let read = shared.cache.get(key, || open.source().load(place));
        drop(turn);
        if let Err(why) = read {
            // Who needs it meets the same, and says so.
            tracing::debug!(?why, path = %open.segment.path.display(), "a block could not be read");
        }
    });
}

fn unsound(shared: &Shared, segment: &Arc<Segment>, offset: u64, why: Unsound) -> ReadError {
    match why {
        Unsound::Damaged(why) => damaged(shared, segment, offset, why),
        Unsound::Io(error) => unreadable(shared, segment, offset, &error),
    }
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
    let last = segment.extent().last;
    if seq >= last {
        let offset = segment.records_end(open.layout);
        open.place = Place { offset, within: 0, next: last + 1 };
    } else if seq >= segment.base {
        open.place = segment
            .place_of_seq(seq + 1, (&*open.file, open.layout))
            .map_err(|error| unreadable(shared, &segment, 0, &error))?;
    }
    Ok(open)
}

fn enter(shared: &Shared, segment: &Arc<Segment>) -> Result<Open, ReadError> {
    let (file, layout) =
        segment.open(&*shared.files).map_err(|error| unreadable(shared, segment, 0, &error))?;
    Ok(Open { segment: Arc::clone(segment), file, layout, place: segment.start() })
}

/// Seq of the first record of a segment at or after a time.
fn first_at(shared: &Shared, segment: &Arc<Segment>, time_us: u64) -> io::Result<u64> {
    let (file, layout) = segment.open(&*shared.files)?;
    let place = segment.place_of_time(time_us, (&*file, layout))?;
    let mut open = Open { segment: Arc::clone(segment), file, layout, place };
    let last = segment.extent().last;
    while open.place.next <= last {
        let Ok(block) = open.load(shared) else { break };
        let mut rest = block.bytes.get(open.place.within..).unwrap_or_default();
        while let Parsed::Whole(record) = parse_trusted(rest) {
            if record.time_us >= time_us {
                return Ok(record.seq);
            }
            rest = rest.get(record.length..).unwrap_or_default();
        }
        open.place = Place { offset: block.after, within: 0, next: block.last + 1 };
    }
    Ok(open.place.next)
}
