//! What the writer does besides writing: retention, room on the disk, damaged files, gauges.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::{
    creation::Trouble,
    files::has_no_descriptor,
    retention::{Limits, Sealed, Verdict, judge},
    shared::Segment,
    writer::{SetAside, Writer},
};
use crate::crash::{self, Point};

/// How much room the disk must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserve {
    /// Below this the log shrinks.
    pub(super) shrink: u64,
    /// Below this nothing more is taken in: what is on its way and the database still find room.
    pub(super) stop: u64,
}

impl Reserve {
    /// For a disk on which the log can have at most `available` bytes. Shares of it, so that a
    /// small disk can be used, up to what is enough for any; `stop` is above the 64 MiB that can be
    /// on their way.
    pub(super) fn of(available: u64) -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            shrink: (available / 10).clamp(256 * MIB, 2048 * MIB),
            stop: (available / 50).clamp(96 * MIB, 256 * MIB),
        }
    }
}

impl Writer {
    /// Runs about once a second and while there is no room. An error says why the process must stop.
    pub(super) fn do_chores(&mut self) -> Result<(), String> {
        let now_us = self.clock.now_us();
        match self.set_damaged_aside(now_us).and_then(|()| self.roll_if_old(now_us)) {
            // The next batch meets the full disk and waits; retention may help now.
            Ok(()) | Err(Trouble::Full(_)) => {}
            Err(Trouble::Fatal(why)) => return Err(why),
        }
        self.replace_compressed()?;
        self.retain(now_us);
        self.measure(now_us);
        Ok(())
    }

    fn roll_if_old(&mut self, now_us: u64) -> Result<(), Trouble> {
        if self.must_roll(now_us) { self.roll() } else { Ok(()) }
    }

    /// Removes what is too old or too much, and looks at the room that is left.
    fn retain(&mut self, now_us: u64) {
        let free = self.free_bytes();
        let window_us = u64::try_from(self.options.replay_window.as_micros()).unwrap_or(u64::MAX);
        let reserve = self.reserve;
        let excess = |bytes: u64, free: u64| bytes > self.shared.bytes_max || free < reserve.shrink;
        // Files that nobody can read any more go before any that can be replayed.
        let (mut bytes, mut freed) = (self.count_bytes(), 0);
        let mut gone = Vec::new();
        self.set_aside.retain(|file| {
            let stays = file.until_us > now_us && !excess(bytes, free + freed);
            if !stays {
                bytes = bytes.saturating_sub(file.bytes);
                freed += file.bytes;
                gone.push(file.path.clone());
            }
            stays
        });
        for path in &gone {
            self.remove_file(path);
        }
        if !gone.is_empty() && self.set_aside.is_empty() {
            self.shared.set_damaged(None);
        }

        let segments = self.shared.segments();
        let sealed: Vec<Sealed> = segments.iter().filter_map(sealed).collect();
        let limits = Limits {
            keep_since_us: now_us.saturating_sub(window_us),
            bytes,
            bytes_max: self.shared.bytes_max,
            free: free.saturating_add(freed),
            free_wanted: reserve.shrink,
            free_needed: reserve.stop.midpoint(reserve.shrink),
            checkpoint: self.shared.checkpoint.load(Ordering::Acquire),
        };
        let Verdict { remove, is_held } = judge(&sealed, &limits);
        for segment in segments.iter().take(remove) {
            // Readers learn that it is gone before it is: no silent gap (OUT-6).
            self.shared.lose(segment.extent().last);
            self.shared.remove_segment(segment);
            crash::at(Point::RetentionBeforeRemoval);
            if !self.remove_file(&segment.path) {
                // Nor may a newer one go before it; the next round tries again.
                self.shared.put_back(Arc::clone(segment));
                break;
            }
            self.measures.removed();
            crash::at(Point::RetentionAfterRemoval);
        }
        self.shared.disk_bytes.store(self.count_bytes(), Ordering::Relaxed);
        self.is_held = is_held;
        let free = if remove > 0 || freed > 0 { self.free_bytes() } else { free };
        self.measures.free(free);
        // Open again a quarter above the mark, or it would open and shut by turns.
        let mark = if self.is_low { reserve.stop + reserve.stop / 4 } else { reserve.stop };
        self.is_low = free < mark;
    }

    /// Puts a segment that was compressed in the place of the plain one, if that is still there.
    pub(super) fn replace_compressed(&mut self) -> Result<(), String> {
        let Some(finished) = self.shared.finished.lock().take() else { return Ok(()) };
        let segments = self.shared.segments();
        let lost = self.shared.lost();
        let plain = segments.iter().find(|segment| {
            segment.base == finished.base
                && segment.extent().last > lost
                && !segment.is_compressed()
        });
        let Some(plain) = plain else {
            self.remove_file(&finished.path);
            return Ok(());
        };
        let files = Arc::clone(&self.shared.files);
        let before = plain.extent().bytes;
        crash::at(Point::CompressBeforeRename);
        let renamed = plain.compress((finished.footer, finished.bytes), || {
            files.rename(&finished.path, &plain.path)
        });
        if let Err(error) = renamed {
            tracing::warn!(path = %finished.path.display(), %error, "a compressed part of the \
                event log cannot take the place of the plain one");
            self.remove_file(&finished.path);
            return Ok(());
        }
        crash::at(Point::CompressAfterRename);
        if let Err(error) = files.sync_dir(&self.shared.dir)
            // Either file is whole, and a later sync of the names makes it certain which one stays.
            && !has_no_descriptor(&error)
        {
            return match Trouble::sync(&self.shared.dir, &error) {
                Trouble::Full(why) | Trouble::Fatal(why) => Err(why),
            };
        }
        self.measures.compressed(before, finished.bytes);
        Ok(())
    }

    fn free_bytes(&self) -> u64 {
        self.shared.files.free_bytes(&self.shared.dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "the free space of the event log's disk is not known");
            u64::MAX
        })
    }

    fn count_bytes(&self) -> u64 {
        let segments = self.shared.segments();
        let unfinished = match &*self.shared.finished.lock() {
            Some(finished) => finished.bytes,
            None => self.shared.unfinished_bytes.load(Ordering::Relaxed),
        };
        unfinished
            + segments.iter().map(|segment| segment.extent().bytes).sum::<u64>()
            + self.set_aside.iter().map(|file| file.bytes).sum::<u64>()
    }

    /// Gives segments that readers found damaged, and all older ones, another name: the next start
    /// sees that they are not to be read (DESIGN 10.10).
    fn set_damaged_aside(&mut self, now_us: u64) -> Result<(), Trouble> {
        let damaged = self.shared.take_damaged();
        let Some(newest) = damaged.iter().map(|segment| segment.base).max() else { return Ok(()) };
        if newest >= self.segment().base {
            // The segment that is written: end it, so that new events go to a sound file. Its
            // readable part was shown already and the rest is lost, so sealing it is harmless.
            if let Err(trouble) = self.roll() {
                self.shared.return_damaged(damaged);
                return Err(trouble);
            }
        }
        for segment in self.shared.segments() {
            if segment.base <= newest && segment.base < self.segment().base {
                self.set_segment_aside(&segment, now_us)?;
            }
        }
        Ok(())
    }

    fn set_segment_aside(&mut self, segment: &Arc<Segment>, now_us: u64) -> Result<(), Trouble> {
        let (last, bytes) = (segment.extent().last, segment.extent().bytes);
        self.shared.lose(last);
        let to = segment.path.with_extension("damaged");
        let dir = Arc::clone(&self.shared);
        self.shared
            .files
            .rename(&segment.path, &to)
            .map_err(|error| Trouble::new("rename", &segment.path, &error))?;
        self.shared.files.sync_dir(&dir.dir).map_err(|error| Trouble::sync(&dir.dir, &error))?;
        self.shared.remove_segment(segment);
        self.keep_aside(to, bytes, now_us);
        Ok(())
    }

    /// Takes note of a damaged file; it is kept as long as an event would be.
    pub(super) fn keep_aside(&mut self, path: std::path::PathBuf, bytes: u64, now_us: u64) {
        let window_us = u64::try_from(self.options.replay_window.as_micros()).unwrap_or(u64::MAX);
        self.set_aside.push(SetAside { path, bytes, until_us: now_us.saturating_add(window_us) });
    }

    /// Removes a file and makes that durable, one at a time: after a crash no newer file may be
    /// missing while an older one is back. False when it could not be done.
    pub(super) fn remove_file(&self, path: &Path) -> bool {
        let files = &self.shared.files;
        let removed = match files.remove(path) {
            // An earlier attempt came as far as this.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        if let Err(error) = removed.and_then(|()| files.sync_dir(&self.shared.dir)) {
            tracing::warn!(path = %path.display(), %error,
                "a file of the event log that is no longer needed cannot be removed");
            return false;
        }
        true
    }

    fn measure(&self, now_us: u64) {
        let segments = self.shared.segments();
        let oldest = self.shared.oldest();
        let first = segments.iter().find(|segment| segment.extent().last >= oldest);
        let window_us = first.map_or(0, |first| now_us.saturating_sub(first.extent().first_us));
        let disk_bytes = self.shared.disk_bytes.load(Ordering::Relaxed);
        self.measures.window(oldest, disk_bytes, window_us);
    }
}

fn sealed(segment: &Arc<Segment>) -> Option<Sealed> {
    let is_sealed = segment.is_sealed();
    let extent = segment.extent();
    is_sealed.then_some(Sealed { last: extent.last, last_us: extent.last_us, bytes: extent.bytes })
}
