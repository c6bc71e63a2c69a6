//! What the writer and all readers share: the list of segments, the window, the health.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};

use super::{
    LogHealth,
    cache::Cache,
    files::{File, Files, length, read_up_to},
    index::{Index, MARK, Mark},
    recent::{Chunk, Recent},
    segment::HEADER,
};

/// Bytes of blocks that readers of files share. Chosen: what eight consumers in different places read
/// in a tenth of a second at the rate of the fastest.
const CACHE_BYTES: usize = 64 << 20;
/// Reads of files at once: each holds a thread and the memory of a block. Chosen above the number of
/// disks and cores of any machine that this is for.
const FILE_READS_MAX: usize = 8;

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    /// Seq of its first record.
    pub(super) base: u64,
    /// Last seq before it.
    pub(super) previous: u64,
    pub(super) salt: u32,
    pub(super) path: PathBuf,
    extent: RwLock<Extent>,
    access: Mutex<Access>,
}

/// The file of a segment and how to read it, which change together.
#[derive(Debug)]
struct Access {
    /// Shared by all readers in it, closed with the last of them.
    file: Option<Weak<dyn File>>,
    layout: Layout,
}

/// How the records lie in an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As they were written; the extent says where they end.
    Plain,
    /// In compressed blocks, with this footer.
    Blocks(Footer),
}

/// Where the footer of a sealed file is, and its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) records_end: u64,
    pub(super) marks: u32,
    pub(super) marks_sum: u32,
}

/// A compressed segment that is whole on the disk, under its temporary name.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) base: u64,
    pub(super) path: PathBuf,
    pub(super) footer: Footer,
    /// Of the file.
    pub(super) bytes: u64,
}

/// How far a segment reaches; only the writer changes it. Of a segment that has been compressed since
/// the start all but `bytes` is still that of the plain file, which readers may have open.
#[derive(Debug)]
pub(super) struct Extent {
    /// Last synced record; `base - 1` when there is none.
    pub(super) last: u64,
    pub(super) first_us: u64,
    pub(super) last_us: u64,
    /// Where the synced records end.
    pub(super) records_end: u64,
    /// Length of the file.
    pub(super) bytes: u64,
    pub(super) marks: Marks,
}

/// Where the index of a segment is.
#[derive(Debug)]
pub(super) enum Marks {
    /// Of the segment that is written.
    Memory(Index),
    /// In the footer: read when a reader looks for a place, as all of them could not stay in memory.
    Footer { count: u32, sum: u32 },
}

/// A place in a segment: the record with seq `next` begins at `offset`; with blocks, `within` the
/// decompressed block that begins there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) within: usize,
    pub(super) next: u64,
}

impl Segment {
    pub(super) fn new(
        (base, previous): (u64, u64),
        salt: u32,
        path: PathBuf,
        extent: Extent,
        file: Option<&Arc<dyn File>>,
    ) -> Self {
        let access = Access { file: file.map(Arc::downgrade), layout: Layout::Plain };
        let access = Mutex::new(access);
        Self { base, previous, salt, path, extent: RwLock::new(extent), access }
    }

    /// The same with its records in blocks.
    pub(super) fn in_blocks(self, footer: Footer) -> Self {
        self.access.lock().layout = Layout::Blocks(footer);
        self
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.access.lock().layout, Layout::Blocks(_))
    }

    /// Puts a compressed file in the place of the plain one. Who has that one open reads on in it.
    ///
    /// * `rename` – gives the new file the name of this segment
    pub(super) fn compress(
        &self,
        (footer, bytes): (Footer, u64),
        rename: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut access = self.access.lock();
        rename()?;
        *access = Access { file: None, layout: Layout::Blocks(footer) };
        self.extent.write().bytes = bytes;
        Ok(())
    }

    pub(super) fn extent(&self) -> parking_lot::RwLockReadGuard<'_, Extent> {
        self.extent.read()
    }

    pub(super) fn extent_mut(&self) -> parking_lot::RwLockWriteGuard<'_, Extent> {
        self.extent.write()
    }

    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.extent.read().marks, Marks::Footer { .. })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.extent.read().last < self.base
    }

    /// The file for reading, and how.
    pub(super) fn open(&self, files: &dyn Files) -> io::Result<(Arc<dyn File>, Layout)> {
        let mut access = self.access.lock();
        if let Some(file) = access.file.as_ref().and_then(Weak::upgrade) {
            return Ok((file, access.layout));
        }
        let file = files.open(&self.path, false)?;
        access.file = Some(Arc::downgrade(&file));
        Ok((file, access.layout))
    }

    /// Where the records end in a file with this layout.
    pub(super) fn records_end(&self, layout: Layout) -> u64 {
        match layout {
            Layout::Plain => self.extent.read().records_end,
            Layout::Blocks(footer) => footer.records_end,
        }
    }

    /// The first record.
    pub(super) fn start(&self) -> Place {
        Place { offset: length(HEADER), within: 0, next: self.base }
    }

    /// A record at or before `seq`.
    pub(super) fn place_of_seq(
        &self,
        seq: u64,
        (file, layout): (&dyn File, Layout),
    ) -> io::Result<Place> {
        self.place((file, layout), |index| index.at_seq(seq))
    }

    /// A record before which nothing is as late as `time_us`.
    pub(super) fn place_of_time(
        &self,
        time_us: u64,
        (file, layout): (&dyn File, Layout),
    ) -> io::Result<Place> {
        self.place((file, layout), |index| index.before_time(time_us))
    }

    fn place(
        &self,
        (file, layout): (&dyn File, Layout),
        find: impl Fn(&Index) -> Option<Mark>,
    ) -> io::Result<Place> {
        let footer = match layout {
            Layout::Blocks(footer) => footer,
            Layout::Plain => {
                let extent = self.extent.read();
                match &extent.marks {
                    Marks::Memory(index) => return Ok(self.place_or_start(find(index))),
                    Marks::Footer { count, sum } => {
                        Footer { records_end: extent.records_end, marks: *count, marks_sum: *sum }
                    }
                }
            }
        };
        let bytes = usize::try_from(footer.marks).unwrap_or(0).saturating_mul(MARK);
        let marks = read_up_to(file, footer.records_end, bytes)?;
        // Without its index a segment is still read, from its start.
        let index = Index::decode(&marks, self.salt, footer.marks_sum).unwrap_or_default();
        Ok(self.place_or_start(find(&index)))
    }

    fn place_or_start(&self, mark: Option<Mark>) -> Place {
        mark.map_or(self.start(), |mark| Place { offset: mark.offset, within: 0, next: mark.seq })
    }
}

/// Why the log is not well; the worst counts.
#[derive(Debug, Default)]
struct Troubles {
    failed: Option<String>,
    full: bool,
    held: bool,
    damaged: Option<String>,
}

/// What the writer and all readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) dir: PathBuf,
    /// Oldest first; the last one is written.
    segments: RwLock<Vec<Arc<Segment>>>,
    pub(super) recent: Recent,
    pub(super) cache: Cache,
    /// Turns at the files.
    pub(super) turns: Arc<Semaphore>,
    /// A compressed segment on its way from the one who made it to the writer.
    pub(super) finished: Mutex<Option<Finished>>,
    /// Bytes of the compressed file that is being made.
    pub(super) unfinished_bytes: AtomicU64,
    head: AtomicU64,
    head_moved: watch::Sender<u64>,
    /// Highest seq that was there and can no longer be read.
    lost: AtomicU64,
    oldest: AtomicU64,
    /// Retention stops here (DESIGN 10.5).
    pub(super) checkpoint: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) bytes_max: u64,
    troubles: Mutex<Troubles>,
    health: watch::Sender<LogHealth>,
    /// Whether hosts may be read: asked for every event, so not by way of the lock of `health`.
    is_ready: AtomicBool,
    /// Found damaged by readers, to be set aside by the writer.
    damaged: Mutex<Vec<Arc<Segment>>>,
}

impl Shared {
    /// * `segments` – at least one, oldest first
    pub(super) fn new(
        files: Arc<dyn Files>,
        dir: &Path,
        segments: Vec<Arc<Segment>>,
        recent_bytes: usize,
        bytes_max: u64,
    ) -> Self {
        let head = segments.last().map_or(0, |last| last.extent().last);
        let lost = segments.first().map_or(0, |first| first.previous);
        let shared = Self {
            files,
            dir: dir.to_path_buf(),
            segments: RwLock::new(segments),
            recent: Recent::new(recent_bytes),
            cache: Cache::new(CACHE_BYTES),
            turns: Arc::new(Semaphore::new(FILE_READS_MAX)),
            finished: Mutex::default(),
            unfinished_bytes: AtomicU64::new(0),
            head: AtomicU64::new(head),
            head_moved: watch::Sender::new(head),
            lost: AtomicU64::new(lost),
            oldest: AtomicU64::new(0),
            checkpoint: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
            bytes_max,
            troubles: Mutex::default(),
            health: watch::Sender::new(LogHealth::Writing),
            is_ready: AtomicBool::new(true),
            damaged: Mutex::default(),
        };
        shared.lose(lost);
        shared
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn heads(&self) -> watch::Receiver<u64> {
        self.head_moved.subscribe()
    }

    /// How many wait for the head, or will: positions of consumers.
    pub(super) fn readers(&self) -> usize {
        self.head_moved.receiver_count()
    }

    pub(super) fn health(&self) -> watch::Receiver<LogHealth> {
        self.health.subscribe()
    }

    /// Whether the log takes what hosts send.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Makes synced chunks visible. The head moves last: who sees it finds the records (I1).
    pub(super) fn publish(&self, chunks: Vec<Chunk>, head: u64) {
        self.recent.push(chunks);
        self.set_head(head);
    }

    /// Moves the head without a record: the seq jumped.
    pub(super) fn set_head(&self, head: u64) {
        self.head.store(head, Ordering::Release);
        self.head_moved.send_replace(head);
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }

    /// The segment that would hold the record after `seq`: the last one that begins at or before it,
    /// or the first of all.
    pub(super) fn segment_for(&self, seq: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.base <= seq + 1);
        segments.get(after.saturating_sub(1)).cloned()
    }

    /// The one behind this.
    pub(super) fn segment_after(&self, segment: &Segment) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        segments.get(segments.partition_point(|other| other.base <= segment.base)).cloned()
    }

    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        self.segments.write().push(segment);
    }

    /// Puts a segment in the place of the last one, which is empty.
    pub(super) fn replace_last(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        segments.pop();
        segments.push(segment);
    }

    pub(super) fn remove_segment(&self, segment: &Segment) {
        self.segments.write().retain(|other| other.base != segment.base);
    }

    /// The oldest segment, which [`Self::remove_segment`] took: its file is still there.
    pub(super) fn put_back(&self, oldest: Arc<Segment>) {
        self.segments.write().insert(0, oldest);
    }

    /// What lies at or below `last` can no longer be read; the window moves past it.
    pub(super) fn lose(&self, last: u64) {
        let gone = self.lost.fetch_max(last, Ordering::AcqRel).max(last);
        let oldest = self
            .segments
            .read()
            .iter()
            .find(|segment| segment.extent().last > gone)
            .map_or_else(|| self.head() + 1, |segment| segment.base.max(gone + 1));
        self.oldest.fetch_max(oldest, Ordering::AcqRel);
    }

    /// A reader found a segment unreadable: the window moves past it (DESIGN 10.10).
    pub(super) fn damage(&self, segment: &Arc<Segment>, offset: u64, why: &str) {
        let last = segment.extent().last;
        let known = self.lost() >= last;
        self.lose(last);
        if known {
            return;
        }
        self.damaged.lock().push(Arc::clone(segment));
        let sentence = format!(
            "{} is damaged at byte {offset} ({why}); events up to {last} can no longer be replayed",
            segment.path.display()
        );
        tracing::error!(path = %segment.path.display(), offset, why, last, "{sentence}");
        self.set_damaged(Some(sentence));
    }

    pub(super) fn take_damaged(&self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.damaged.lock())
    }

    /// They could not be set aside yet.
    pub(super) fn return_damaged(&self, segments: Vec<Arc<Segment>>) {
        self.damaged.lock().extend(segments);
    }

    /// * `sentence` – which file is damaged; `None` when none is left
    pub(super) fn set_damaged(&self, sentence: Option<String>) {
        self.change_health(|troubles| troubles.damaged = sentence);
    }

    /// * `full` – nothing can be written, or soon
    /// * `held` – the log may not shrink before the next checkpoint
    pub(super) fn set_space(&self, full: bool, held: bool) {
        self.change_health(|troubles| (troubles.full, troubles.held) = (full, held));
    }

    pub(super) fn set_failed(&self, why: String) {
        self.change_health(|troubles| troubles.failed = Some(why));
    }

    fn change_health(&self, change: impl FnOnce(&mut Troubles)) {
        let mut troubles = self.troubles.lock();
        change(&mut troubles);
        let health = match &*troubles {
            Troubles { failed: Some(why), .. } => LogHealth::Failed(why.clone()),
            Troubles { full: true, .. } => LogHealth::DiskFull,
            Troubles { held: true, .. } => LogHealth::AwaitingCheckpoint,
            Troubles { damaged: Some(why), .. } => LogHealth::Damaged(why.clone()),
            Troubles { .. } => LogHealth::Writing,
        };
        self.is_ready.store(!troubles.full && !troubles.held, Ordering::Release);
        self.health.send_if_modified(|now| {
            let changed = *now != health;
            *now = health;
            changed
        });
    }
}
