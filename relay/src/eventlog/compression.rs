//! Sealed segments are compressed beside everything else (DESIGN 10.11).
//!
//! ```text
//!  this thread: plain segment ─read, verify─► blocks ─write, sync─► base.tmp ─► Finished
//!  the writer, among its chores:      rename over base.log, sync the directory ◄──┘
//! ```
//!
//! Only the writer changes names, so that retention cannot remove what is being replaced. A crash
//! before the rename leaves the plain file, and a temporary one that the next start removes; after it
//! the compressed one, which is whole. The newest two segments stay plain: consumers near the head
//! never wait for a block.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::{
    block::{BLOCK_BYTES, Compressor},
    creation::{Trouble, seal},
    files::{File, length, read_up_to},
    index::{Index, Mark},
    scan::{Block, Step},
    segment::{CODEC_BLOCKS, HEADER, Header, Trailer},
    shared::{Finished, Footer, Layout, Segment, Shared},
};

/// Segments at the end of the log that stay as they were written: the one being written and the one
/// before it.
const PLAIN_AT_END: usize = 2;
/// The lowest priority that a thread can have.
const NICE: i32 = 19;

/// Why a segment was not compressed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The log is being closed.
    Stopped,
    /// A record is damaged: what a reader would find.
    Damaged { offset: u64, why: &'static str },
    /// The sentence says what went wrong; the plain file stays.
    Trouble(String),
}

/// The newest segment that may be compressed and is not: the longer a segment still stays, the more
/// it gives.
///
/// * `given_up` – bases of segments that are not tried again
/// * `room` – free bytes that must be left while a copy is made
pub(super) fn choose(shared: &Shared, given_up: &[u64], room: u64) -> Option<Arc<Segment>> {
    let segments = shared.segments();
    let behind = segments.len().saturating_sub(PLAIN_AT_END);
    let lost = shared.lost();
    let mut old = segments.into_iter().take(behind).rev();
    let segment = old.find(|segment| {
        segment.is_sealed()
            && segment.extent().last > lost
            && !segment.is_compressed()
            && !given_up.contains(&segment.base)
    })?;
    let needed = room.saturating_add(segment.extent().bytes);
    shared.files.free_bytes(&shared.dir).is_ok_and(|free| free > needed).then_some(segment)
}

/// Writes a compressed copy of a segment beside it.
///
/// * `pace` – called after each block; false = stop
pub(super) fn compress(
    shared: &Shared,
    segment: &Segment,
    level: i32,
    pace: &mut dyn FnMut() -> bool,
) -> Result<Finished, Failed> {
    let path = segment.path.with_extension("tmp");
    let copied = copy(shared, segment, &path, level, pace);
    if copied.is_err()
        && let Err(error) = shared.files.remove(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        // The next attempt empties it, the next start removes it.
        tracing::debug!(path = %path.display(), %error, "a temporary file stays");
    }
    shared.unfinished_bytes.store(0, Ordering::Relaxed);
    copied
}

fn copy(
    shared: &Shared,
    segment: &Segment,
    path: &PathBuf,
    level: i32,
    pace: &mut dyn FnMut() -> bool,
) -> Result<Finished, Failed> {
    let trouble = |what: &str, error: &io::Error| {
        Failed::Trouble(format!("{} cannot be {what}: {error}", segment.path.display()))
    };
    let read = |error: io::Error| trouble("read", &error);
    let write = |error: io::Error| trouble("compressed", &error);
    let (source, layout) = segment.open(&*shared.files).map_err(read)?;
    let head = read_up_to(&*source, 0, HEADER).map_err(read)?;
    let (Ok(header), Layout::Plain) = (Header::decode(&head), layout) else {
        return Err(Failed::Damaged { offset: 0, why: "no whole header" });
    };
    let file = shared.files.create(path).map_err(write)?;
    let header = Header { codec: CODEC_BLOCKS, ..header };
    file.write_all_at(&header.encode(), 0).map_err(write)?;

    let mut copy = Copy::new(segment, &*source);
    let mut compressor = Compressor::new(level).map_err(write)?;
    while let Some(some) = copy.next(&read)? {
        let block = compressor.block(&some.bytes, (some.first, some.count), segment.salt);
        let block = block.map_err(write)?;
        file.write_all_at(&block, copy.to).map_err(write)?;
        let mark = Mark { seq: some.first, time_us: some.time_us, offset: copy.to };
        copy.index.note(mark, 0);
        copy.to += length(block.len());
        shared.unfinished_bytes.store(copy.to, Ordering::Relaxed);
        if !pace() {
            return Err(Failed::Stopped);
        }
    }
    finish(segment, (&*file, path), &copy)
}

/// Writes the footer and syncs.
fn finish(
    segment: &Segment,
    (file, path): (&dyn File, &PathBuf),
    copy: &Copy<'_>,
) -> Result<Finished, Failed> {
    let mut trailer = {
        let extent = segment.extent();
        Trailer {
            base: segment.base,
            last: extent.last,
            first_us: extent.first_us,
            last_us: extent.last_us,
            records_end: copy.to,
            marks: 0,
            marks_sum: 0,
        }
    };
    let bytes = match seal(file, path, segment.salt, &mut trailer, &copy.index) {
        Ok(bytes) => bytes,
        Err(Trouble::Full(why) | Trouble::Fatal(why)) => return Err(Failed::Trouble(why)),
    };
    let footer = Footer {
        records_end: trailer.records_end,
        marks: trailer.marks,
        marks_sum: trailer.marks_sum,
    };
    Ok(Finished { base: segment.base, path: path.clone(), footer, bytes })
}

/// Records of one block to be.
struct Records {
    bytes: bytes::Bytes,
    first: u64,
    count: u32,
    time_us: u64,
}

/// Walks over the plain file and fills the new one.
struct Copy<'a> {
    source: &'a dyn File,
    salt: u32,
    /// Where the next record is in the plain file, and where all end.
    from: u64,
    end: u64,
    next: u64,
    last: u64,
    /// End of the new file.
    to: u64,
    index: Index,
}

impl<'a> Copy<'a> {
    fn new(segment: &Segment, source: &'a dyn File) -> Self {
        let extent = segment.extent();
        Self {
            source,
            salt: segment.salt,
            from: length(HEADER),
            end: extent.records_end,
            next: segment.base,
            last: extent.last,
            to: length(HEADER),
            index: Index::default(),
        }
    }

    /// Whole records, verified one by one: what is damaged must not get a checksum that says it is
    /// sound.
    fn next(
        &mut self,
        unreadable: &dyn Fn(io::Error) -> Failed,
    ) -> Result<Option<Records>, Failed> {
        if self.next > self.last {
            return Ok(None);
        }
        let mut block = Block::read(self.source, self.salt, (self.from, self.end), BLOCK_BYTES)
            .map_err(unreadable)?;
        let (first, mut count, mut time_us) = (self.next, 0_u32, 0);
        let why = loop {
            match block.step() {
                Step::Record(_, record) if record.seq == self.next => {
                    if count == 0 {
                        time_us = record.time_us;
                    }
                    count += 1;
                    self.next += 1;
                }
                Step::Record(..) => break "wrong seq",
                Step::Bad(why) => break why,
                Step::End if count == 0 => break "the file is too short",
                Step::End => {
                    let used = block.used();
                    self.from += used;
                    let bytes = block.whole();
                    return Ok(Some(Records { bytes, first, count, time_us }));
                }
            }
        };
        Err(Failed::Damaged { offset: self.from + block.used(), why })
    }
}

/// The thread; ends when it is told to.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Worked>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Worked {
    is_stopping: Mutex<bool>,
    stopping: Condvar,
}

impl Worked {
    /// Waits; false when it is to stop.
    fn rest(&self, pause: Duration) -> bool {
        let mut stopping = self.is_stopping.lock();
        if !*stopping {
            self.stopping.wait_for(&mut stopping, pause);
        }
        !*stopping
    }
}

impl Worker {
    /// Compresses what there is to compress, at most one half of the time; `level` 0 = never.
    ///
    /// * `room` – free bytes that must be left while a copy is made
    /// * `interval` – between two looks for work
    pub(super) fn start(
        shared: Arc<Shared>,
        level: i32,
        (room, interval): (u64, Duration),
    ) -> io::Result<Self> {
        let worked = Arc::new(Worked::default());
        let thread = if level == 0 {
            None
        } else {
            let worked = Arc::clone(&worked);
            let run = move || run(&shared, &worked, level, (room, interval));
            Some(std::thread::Builder::new().name("compression".to_owned()).spawn(run)?)
        };
        Ok(Self { shared: worked, thread })
    }

    /// Ends the thread; what it was making is thrown away.
    pub(super) fn stop(&mut self) {
        *self.shared.is_stopping.lock() = true;
        self.shared.stopping.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the compression of the event log has panicked; this is a bug");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared, worked: &Worked, level: i32, (room, interval): (u64, Duration)) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the compression of the event log has no lower priority");
    }
    let mut given_up = Vec::new();
    while worked.rest(interval) {
        // The writer renames it within a second.
        if shared.finished.lock().is_some() {
            continue;
        }
        let Some(segment) = choose(shared, &given_up, room) else { continue };
        let mut began = Instant::now();
        // As long as it took, so that half of a core is left even with nothing but old segments.
        let mut pace = || {
            let goes_on = worked.rest(began.elapsed());
            began = Instant::now();
            goes_on
        };
        match compress(shared, &segment, level, &mut pace) {
            Ok(finished) => *shared.finished.lock() = Some(finished),
            Err(Failed::Stopped) => return,
            Err(Failed::Damaged { offset, why }) => shared.damage(&segment, offset, why),
            Err(Failed::Trouble(why)) => {
                tracing::warn!("{why}. It stays as it is until the next start");
                given_up.push(segment.base);
            }
        }
    }
}
