//! Writing: a batch is encoded, written, synced, and only then shown (I1). Runs on one thread.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::{
    Durable, Entry, LogError, LogOptions, OnDurable, Tuning,
    chores::Reserve,
    creation::{Trouble, create, seal},
    files::{File, length},
    index::{Index, Mark},
    measures::Measures,
    recent::Chunk,
    segment::{CODEC_PLAIN, HEADER, Header, RECORD, Trailer, encode_record},
    shared::{Extent, Marks, Segment, Shared},
};
use crate::{
    clock::Clock,
    crash::{self, Point},
    domain::Seq,
};

/// A segment is sealed at this part of the replay window's age at the latest, so that retention by
/// age is about this exact on a quiet relay.
const SEGMENTS_PER_WINDOW: u32 = 8;

/// How far seq jumps above what the database remembers when the log ends before it. Chosen because
/// a checkpoint is at most minutes old, and the full network makes some thousand events per second
/// (CUR-9, DESIGN 10.18).
const LOST_TAIL_JUMP: u64 = 1_000_000_000;

/// Owns the end of the log.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) options: LogOptions,
    pub(super) tuning: Tuning,
    pub(super) clock: Clock,
    pub(super) reserve: Reserve,
    pub(super) measures: Measures,
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    /// Seq to give out next; `head + 1`.
    next: u64,
    /// Newest seq that the log should hold and does not, 0 = none: found at start.
    lost_tail: u64,
    /// Time of the newest record: times never go back, whatever the clock does.
    time_us: u64,
    on_durable: OnDurable,
    /// Reused for each batch.
    durable: Vec<Durable>,
    /// Damaged files that wait for a person, and until when (µs since 1970).
    pub(super) set_aside: Vec<SetAside>,
    /// The disk had less room than the reserve when last looked at.
    pub(super) is_low: bool,
    /// The log is over its limit for want of a checkpoint.
    pub(super) is_held: bool,
    /// A segment has ended since this was last looked at: something may go, or must.
    pub(super) has_rolled: bool,
}

/// A damaged file, kept for a person to look at until the space or the time is over.
#[derive(Debug)]
pub(super) struct SetAside {
    pub(super) path: std::path::PathBuf,
    pub(super) bytes: u64,
    pub(super) until_us: u64,
}

impl Writer {
    /// * `file` – of the last segment of `shared`
    pub(super) fn new(
        shared: Arc<Shared>,
        file: Arc<dyn File>,
        (options, tuning): (LogOptions, Tuning),
        (clock, reserve): (Clock, Reserve),
        on_durable: OnDurable,
    ) -> Result<Self, LogError> {
        let segments = shared.segments();
        let Some(segment) = segments.last() else {
            return Err(LogError::Fatal("the event log has no segment".to_owned()));
        };
        let time_us = segments.iter().map(|segment| segment.extent().last_us).max();
        // The clock may have been set back while nobody ran.
        clock.was_us(time_us.unwrap_or(0));
        let next = segment.extent().last + 1;
        let mut writer = Self {
            segment: Arc::clone(segment),
            file,
            next,
            lost_tail: 0,
            time_us: time_us.unwrap_or(0),
            on_durable,
            durable: Vec::new(),
            set_aside: Vec::new(),
            is_low: false,
            is_held: false,
            has_rolled: false,
            measures: Measures::default(),
            shared,
            options,
            tuning,
            clock,
            reserve,
        };
        writer.jump()?;
        Ok(writer)
    }

    /// Raises the next seq to the configured floor, and above all that may have been seen when the
    /// end of the log is lost (CUR-9, DESIGN 10.18).
    fn jump(&mut self) -> Result<(), LogError> {
        let known = self.options.known_seq.0;
        if known >= self.next {
            let to = known.saturating_add(LOST_TAIL_JUMP);
            tracing::error!(
                dir = %self.shared.dir.display(), end = self.next - 1, known, next = to,
                "the event log ends before what the database remembers: events are lost, and seq \
                 jumps far above them so that none is used twice"
            );
            (self.lost_tail, self.next) = (known, to);
        }
        let floor = self.options.initial_seq.0;
        if floor > self.next {
            tracing::info!(from = self.next, to = floor, "the seq jumps to the configured floor");
            self.next = floor;
        }
        self.check_seqs(1)?;
        if self.must_roll(self.clock.now_us()) {
            self.roll()?;
        }
        Ok(())
    }

    /// Last seq before the segment to come: of the segment before it, or the last one that is lost.
    fn previous(&self) -> u64 {
        let old = &self.segment;
        let previous = if old.is_empty() { old.previous } else { old.extent().last };
        previous.max(self.lost_tail)
    }

    fn check_seqs(&self, count: usize) -> Result<(), Trouble> {
        if self.next.saturating_add(length(count)) - 1 <= Seq::MAX.0 {
            return Ok(());
        }
        Err(Trouble::Fatal(format!(
            "the event log has come to seq {}, the largest that consumers can hold is {}: no event \
             can follow",
            self.next,
            Seq::MAX
        )))
    }

    /// Appends a batch: when this returns `Ok` it is durable and visible. After
    /// [`Trouble::Full`] nothing of it is in the log and it may be tried again.
    pub(super) fn commit(&mut self, batch: &[Entry]) -> Result<(), Trouble> {
        if batch.is_empty() {
            return Ok(());
        }
        self.check_seqs(batch.len())?;
        let time_us = self.clock.now_us().max(self.time_us);
        if self.must_roll(time_us) {
            self.roll()?;
        }
        let chunks = self.encode(batch, time_us);
        let started = Instant::now();
        let end = self.write(&chunks)?;
        crash::at(Point::AppendBeforeSync);
        self.file.sync().map_err(|error| Trouble::sync(&self.segment.path, &error))?;
        crash::at(Point::AppendAfterSync);
        self.measures.synced(started.elapsed(), batch.len());
        self.show(chunks, end, time_us);
        Ok(())
    }

    fn encode(&mut self, batch: &[Entry], time_us: u64) -> Vec<Chunk> {
        let synced = self.next - 1;
        let mut left: usize = batch.iter().map(bytes_of).sum();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut bytes = Vec::with_capacity(left.min(self.tuning.chunk_bytes));
        let mut offsets = Vec::new();
        let mut first = self.next;
        self.durable.clear();
        for (seq, entry) in (self.next..).zip(batch) {
            let needed = bytes_of(entry);
            if bytes.len() + needed > self.tuning.chunk_bytes && !offsets.is_empty() {
                let offsets = std::mem::take(&mut offsets);
                let full = std::mem::replace(
                    &mut bytes,
                    Vec::with_capacity(left.min(self.tuning.chunk_bytes).max(needed)),
                );
                chunks.push(Chunk { first, offsets, bytes: full.into() });
                first = seq;
            }
            left = left.saturating_sub(needed);
            let start = bytes.len();
            offsets.push(u32::try_from(start).unwrap_or(u32::MAX));
            encode_record(entry, (seq, synced), time_us, self.segment.salt, &mut bytes);
            let frame_bytes = bytes.len() - start - RECORD - entry.note.len();
            self.durable.push(Durable {
                seq: Seq(seq),
                kind: entry.kind,
                account: entry.account,
                host: entry.host,
                epoch: entry.epoch,
                host_seq: entry.host_seq,
                frame_bytes: u32::try_from(frame_bytes).unwrap_or(u32::MAX),
            });
        }
        chunks.push(Chunk { first, offsets, bytes: bytes.into() });
        chunks
    }

    /// Writes behind the last record; gives the new end. A partial write is cut away.
    fn write(&self, chunks: &[Chunk]) -> Result<u64, Trouble> {
        let start = self.segment.extent().records_end;
        let mut end = start;
        for chunk in chunks {
            if let Err(error) = self.file.write_all_at(&chunk.bytes, end) {
                self.file
                    .set_len(start)
                    .map_err(|error| Trouble::new("cut", &self.segment.path, &error))?;
                return Err(Trouble::new("write", &self.segment.path, &error));
            }
            end += length(chunk.bytes.len());
        }
        Ok(end)
    }

    /// Makes a synced batch visible.
    fn show(&mut self, chunks: Vec<Chunk>, end: u64, time_us: u64) {
        let head = self.next + length(self.durable.len()) - 1;
        {
            let mut extent = self.segment.extent_mut();
            let Extent { last, first_us, last_us, records_end, bytes, marks } = &mut *extent;
            if *last < self.segment.base {
                *first_us = time_us;
            }
            if let Marks::Memory(index) = marks {
                note_all(index, &chunks, *records_end, time_us, self.tuning.index_distance);
            }
            let written = end - *records_end;
            self.shared.disk_bytes.fetch_add(written, Ordering::Relaxed);
            self.measures.appended(self.durable.len(), written);
            (*last, *last_us, *records_end, *bytes) = (head, time_us, end, end);
        }
        self.next = head + 1;
        self.time_us = time_us;
        self.shared.publish(chunks, head);
        self.measures.head(head);
        crash::at(Point::AppendAfterHead);
        (self.on_durable)(&self.durable);
    }

    /// True when the next record belongs into another segment.
    pub(super) fn must_roll(&self, now_us: u64) -> bool {
        let extent = self.segment.extent();
        let is_empty = extent.last < self.segment.base;
        let age_us = now_us.saturating_sub(extent.first_us);
        let age_max = self.options.replay_window / SEGMENTS_PER_WINDOW;
        matches!(extent.marks, Marks::Footer { .. })
            || self.next != extent.last + 1
            || (!is_empty
                && (extent.records_end >= self.options.segment_bytes
                    || u128::from(age_us) > age_max.as_micros()))
    }

    /// Seals the segment, if it holds anything, and begins the next one.
    pub(super) fn roll(&mut self) -> Result<(), Trouble> {
        let old = Arc::clone(&self.segment);
        let is_empty = old.is_empty();
        if !is_empty && !old.is_sealed() {
            crash::at(Point::RollBeforeSeal);
            self.seal()?;
            crash::at(Point::RollAfterSeal);
        }
        if is_empty && old.base == self.next {
            return Ok(());
        }
        let header = Header {
            codec: CODEC_PLAIN,
            salt: rand::random(),
            base: self.next,
            previous: self.previous(),
            created_us: self.clock.now_us(),
            instance_id: self.options.instance_id.clone(),
        };
        let files = Arc::clone(&self.shared.files);
        let (path, file) = create(&*files, &self.shared.dir, &header, None)?;
        crash::at(Point::RollAfterCreate);
        let extent = Extent {
            last: header.base - 1,
            first_us: header.created_us,
            last_us: self.time_us,
            records_end: length(HEADER),
            bytes: length(HEADER),
            marks: Marks::Memory(Index::default()),
        };
        let seqs = (header.base, header.previous);
        self.segment = Arc::new(Segment::new(seqs, header.salt, path, extent, Some(&file)));
        self.file = file;
        if is_empty {
            self.shared.replace_last(Arc::clone(&self.segment));
            self.remove_file(&old.path);
        } else {
            self.shared.push_segment(Arc::clone(&self.segment));
        }
        // A jump moves the head as well: a cursor below the floor is not one of the future.
        if self.shared.head() < self.next - 1 {
            self.shared.set_head(self.next - 1);
        }
        self.shared.lose(self.shared.lost().max(self.lost_tail));
        self.has_rolled = true;
        Ok(())
    }

    /// Writes the footer, so that the next start need not read the segment.
    pub(super) fn seal(&self) -> Result<(), Trouble> {
        let segment = &self.segment;
        let (mut trailer, index) = {
            let extent = segment.extent();
            let Marks::Memory(index) = &extent.marks else { return Ok(()) };
            let trailer = Trailer {
                base: segment.base,
                last: extent.last,
                first_us: extent.first_us,
                last_us: extent.last_us,
                records_end: extent.records_end,
                marks: 0,
                marks_sum: 0,
            };
            (trailer, index.clone())
        };
        let bytes = seal(&*self.file, &segment.path, segment.salt, &mut trailer, &index)?;
        let mut extent = segment.extent_mut();
        extent.bytes = bytes;
        extent.marks = Marks::Footer { count: trailer.marks, sum: trailer.marks_sum };
        Ok(())
    }

    /// The last act: seals what was written.
    pub(super) fn close(&self) -> Result<(), Trouble> {
        if self.segment.is_empty() { Ok(()) } else { self.seal() }
    }

    /// The segment that is written.
    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }
}

fn note_all(index: &mut Index, chunks: &[Chunk], mut start: u64, time_us: u64, distance: u64) {
    for chunk in chunks {
        for (seq, at) in (chunk.first..).zip(&chunk.offsets) {
            index.note(Mark { seq, time_us, offset: start + u64::from(*at) }, distance);
        }
        start += length(chunk.bytes.len());
    }
}

/// Upper bound of the record's length; the seq takes at most 9 bytes of CBOR.
pub(super) fn bytes_of(entry: &Entry) -> usize {
    RECORD + entry.note.len() + entry.frame.before.len() + 9 + entry.frame.after.len()
}
