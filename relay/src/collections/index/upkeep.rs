//! What goes on beside the batches: frozen rows become a segment, several segments become one.
//!
//! The files that count are those that the manifest names. So each step writes new files, then the
//! manifest, then removes old files; a crash in between leaves files that nobody names, which the next
//! start removes.

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::MutexGuard;

use super::{
    IndexError, disk, journal,
    key::{NONE, Order},
    ledger::Ledger,
    manifest::Manifest,
    merge::{Cursor, Merge},
    segment::{self, Segment, SegmentWriter},
    store::{Store, Trouble, Work},
};
use crate::eventlog::Files;

/// Between two attempts to write to a full disk.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Segments that are read at once at most, so that memory and open blocks stay bounded.
const MERGED_MAX: usize = 12;
/// A segment joins newer ones that are at least half as many rows together.
const RATIO: u64 = 2;
/// When one row of so many only hides another, all segments become one without such rows.
const HIDING_SHARE: u64 = 8;
/// Rows between two looks whether the index is being closed.
const LOOK_ROWS: u64 = 1 << 16;
/// Room that has to be left beside what a joined segment may take: the event log comes first.
const ROOM_LEFT_BYTES: u64 = 256 << 20;

/// Rows on their way to a segment are those in [`super::view::View::frozen`]; this is the rest.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    /// The first journal whose batches are not among them.
    pub(super) journal: u64,
    /// Names that were durable.
    pub(super) names: usize,
    /// As of the last batch among them.
    pub(super) ledger: Ledger,
}

/// Owns the manifest.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) manifest: Manifest,
    pub(super) next_segment: u64,
}

/// What there is to do.
enum Task {
    Flush(Box<Frozen>),
    Join(Vec<Arc<Segment>>),
    Nothing,
}

impl Upkeep {
    /// Runs until the store is closed, or there is no use in going on.
    pub(super) fn run(mut self, store: &Store) {
        loop {
            let outcome = self.step(store);
            let mut work = store.work.lock();
            if work.stop {
                return;
            }
            match outcome {
                Ok(true) => {}
                Ok(false) if work.frozen.is_some() => {}
                Ok(false) => {
                    work.rests = true;
                    store.changed.notify_all();
                    store.changed.wait(&mut work);
                }
                Err(error) => {
                    if !report(store, &mut work, &error) {
                        return;
                    }
                }
            }
        }
    }

    /// Does one thing if there is one to do.
    pub(super) fn step(&mut self, store: &Store) -> Result<bool, IndexError> {
        match Self::task(store) {
            Task::Flush(frozen) => self.flush(store, *frozen)?,
            Task::Join(segments) => self.join(store, &segments)?,
            Task::Nothing => return Ok(false),
        }
        Ok(true)
    }

    fn task(store: &Store) -> Task {
        let work = store.work.lock();
        if work.stop {
            return Task::Nothing;
        }
        if let Some(frozen) = &work.frozen {
            return Task::Flush(Box::new(frozen.clone()));
        }
        drop(work);
        let segments = &store.view().segments;
        let rows: Vec<_> = segments.iter().map(|segment| (segment.rows, segment.hiding)).collect();
        let joined = joined(&rows);
        let chosen: Vec<_> = segments.iter().take(joined).map(Arc::clone).collect();
        if chosen.is_empty() || !has_room(store, &chosen) {
            Task::Nothing
        } else {
            Task::Join(chosen)
        }
    }

    /// Frozen rows become the newest segment.
    fn flush(&mut self, store: &Store, frozen: Frozen) -> Result<(), IndexError> {
        let runs = store.view().frozen.clone();
        let sources = |order| runs.iter().rev().map(|run| Cursor::of_run(run, order)).collect();
        let is_oldest = self.manifest.segments.is_empty();
        let number = self.write(store, is_oldest, sources)?;
        let mut next = self.manifest.clone();
        next.journal = frozen.journal;
        next.segments.insert(0, number);
        next.names = store.names.read().first(frozen.names);
        next.ledger = frozen.ledger;
        let segment = self.adopt(store, next, number)?;
        store.set_view(|view| {
            view.frozen.clear();
            view.segments.insert(0, Arc::new(segment));
        });
        let mut work = store.work.lock();
        (work.frozen, work.trouble) = (None, None);
        drop(work);
        store.changed.notify_all();
        store.measures.flushed();
        store.show();
        remove_journals(&*store.files, &store.dir, frozen.journal)
    }

    /// Some of the newest segments become one.
    fn join(&mut self, store: &Store, segments: &[Arc<Segment>]) -> Result<(), IndexError> {
        let ahead = store.sizes.ahead;
        let sources = |order| {
            segments.iter().map(|segment| Cursor::of_segment(segment, order, ahead)).collect()
        };
        let is_oldest = segments.len() == self.manifest.segments.len();
        let number = self.write(store, is_oldest, sources)?;
        let mut next = self.manifest.clone();
        next.segments.drain(..segments.len());
        next.segments.insert(0, number);
        let joined = self.adopt(store, next, number)?;
        let bytes = joined.bytes;
        store.set_view(|view| {
            view.segments.drain(..segments.len());
            view.segments.insert(0, Arc::new(joined));
        });
        store.measures.joined(bytes);
        store.show();
        for old in segments {
            remove(&*store.files, old.path());
        }
        Ok(())
    }

    fn write(
        &mut self,
        store: &Store,
        is_oldest: bool,
        sources: impl Fn(Order) -> Vec<Cursor>,
    ) -> Result<u64, IndexError> {
        let number = self.next_segment;
        let place = (&*store.files, store.dir.as_path());
        write(place, (number, is_oldest), sources, || store.work.lock().stop)?;
        self.next_segment += 1;
        Ok(number)
    }

    /// From here on the manifest names the new segment.
    fn adopt(&mut self, store: &Store, next: Manifest, number: u64) -> Result<Segment, IndexError> {
        let segment = Segment::open(&*store.files, &store.dir, number)?;
        next.store(&*store.files, &store.dir)?;
        self.manifest = next;
        Ok(segment)
    }
}

/// Tells what went wrong, and waits before the next attempt. Returns false when there is no use in one.
fn report(store: &Store, work: &mut MutexGuard<'_, Work>, error: &IndexError) -> bool {
    let goes_on = matches!(error, IndexError::Full(_));
    if goes_on {
        tracing::warn!("{error}");
        work.trouble = Some(Trouble::Full(error.to_string()));
    } else {
        tracing::error!("{error}");
        store.stop(&error.to_string());
        work.trouble = Some(Trouble::Failed(error.to_string()));
    }
    // Batches that wait for room get this error.
    store.changed.notify_all();
    if goes_on {
        store.changed.wait_for(work, RETRY_INTERVAL);
    }
    goes_on
}

/// How many of the newest segments become one, 0 for none: so that each row is written again a few
/// times only, and a page looks into few segments.
///
/// * `segments` – rows, and those of them that hide one, of each
fn joined(segments: &[(u64, u64)]) -> usize {
    let (rows, hiding) =
        segments.iter().fold((0, 0), |sum, (rows, hiding)| (sum.0 + rows, sum.1 + hiding));
    if segments.len() > 1 && hiding > rows / HIDING_SHARE {
        return segments.len();
    }
    let mut newer = 0_u64;
    let mut count = 0;
    for (rows, _) in segments.iter().take(MERGED_MAX) {
        if count > 0 && *rows > newer.saturating_mul(RATIO) {
            break;
        }
        newer = newer.saturating_add(*rows);
        count += 1;
    }
    if count > 1 { count } else { 0 }
}

fn has_room(store: &Store, segments: &[Arc<Segment>]) -> bool {
    let needed: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let free = store.files.free_bytes(&store.dir);
    // Where nobody can tell, the attempt will.
    free.map_or(true, |free| free >= needed.saturating_add(ROOM_LEFT_BYTES))
}

/// Removes journals whose batches are in segments.
pub(super) fn remove_journals(files: &dyn Files, dir: &Path, first: u64) -> Result<(), IndexError> {
    let listed = files.list(dir).map_err(|error| disk::unreadable(dir, &error))?;
    for (name, _) in listed {
        if name.starts_with("journal-") && name < journal::name(first) {
            remove(files, &dir.join(name));
        }
    }
    Ok(())
}

/// Removes a file that nobody names. One that stays takes room until the next start.
pub(super) fn remove(files: &dyn Files, path: &Path) {
    match files.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

/// Writes a segment, durable with its name.
///
/// * `is_oldest` – rows that hide one have nothing to hide
/// * `sources` – of rows in an order, the newest first
/// * `is_closing` – asked now and then; true gives it up
pub(super) fn write(
    (files, dir): (&dyn Files, &Path),
    (number, is_oldest): (u64, bool),
    sources: impl Fn(Order) -> Vec<Cursor>,
    is_closing: impl Fn() -> bool,
) -> Result<(), IndexError> {
    let written = (|| {
        let mut writer = SegmentWriter::create(files, dir, number)?;
        let mut rows = (0, 0);
        for order in [Order::Collection, Order::Account] {
            if order == Order::Account {
                rows = writer.turn()?;
            }
            let mut merge = Merge::new(sources(order), (0, u64::MAX))?;
            let mut seen = 0_u64;
            while let Some((key, tag)) = merge.next()? {
                if tag != NONE || !is_oldest {
                    writer.add(key, tag)?;
                }
                seen += 1;
                if seen.is_multiple_of(LOOK_ROWS) && is_closing() {
                    return Err(IndexError::Failed("the index is being closed".to_owned()));
                }
            }
        }
        writer.finish(rows)?;
        files.sync_dir(dir).map_err(|error| disk::unsynced(dir, &error))
    })();
    if written.is_err() {
        remove(files, &dir.join(segment::name(number)));
    }
    written
}
