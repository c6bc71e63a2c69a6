//! Crashes at any operation of the disk, in any order of lives: nothing that was durable is lost,
//! changed, doubled, or given another seq.
//!
//! A world is a disk, a log on it, and a list of what every reader may rely on. It does random
//! things, goes down, comes up, and compares. The same worlds on a disk that leaves out one kind of
//! sync must be caught lying. `SEED=n` runs one seed only.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use super::support::{entry, is_same, options, read_to_head, tuning};
use crate::clock::Clock;
use crate::crash::{self, Point};
use crate::domain::Seq;
use crate::eventlog::{
    Durable, Entry, LogHealth, LogOptions, Reader,
    compression::{choose, compress},
    creation::Trouble,
    files::sim::{Dice, Disk, Left, Skip},
    prepare,
    writer::Writer,
};

/// What went wrong, for a person.
pub(super) type Wrong = String;

pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) dice: Dice,
    clock: Clock,
    runtime: tokio::runtime::Runtime,
    /// Number of the event with seq `index + 1`: durable or seen by a reader, so never to change.
    known: Vec<u64>,
    /// Numbers of the batch that was being written; a beginning of it may survive.
    in_flight: VecDeque<u64>,
    next_number: u64,
    told: Arc<Mutex<Vec<Durable>>>,
    checkpoint: u64,
    /// Segments that were compressed.
    compressed: usize,
}

impl World {
    pub(super) fn new(seed: u64, skip: Option<Skip>) -> Self {
        Self {
            disk: Disk::skipping(skip),
            dice: Dice::new(seed),
            clock: Clock::manual(1_000_000),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            known: Vec::new(),
            in_flight: VecDeque::new(),
            next_number: 0,
            told: Arc::default(),
            checkpoint: 0,
            compressed: 0,
        }
    }

    /// Opens the log. An error only counts when the machine did not go down meanwhile.
    fn open(&self) -> Result<Option<Writer>, Wrong> {
        let options = LogOptions { bytes_max: Some(14_000), segment_bytes: 3_000, ..options() };
        let told = Arc::clone(&self.told);
        let on_durable = Box::new(move |batch: &[Durable]| told.lock().extend_from_slice(batch));
        let files = Arc::new(self.disk.clone());
        match prepare(files, (options, tuning()), self.clock.clone(), on_durable) {
            Ok(writer) if self.disk.is_down() => {
                drop(writer);
                Ok(None)
            }
            Ok(writer) => Ok(Some(writer)),
            Err(_) if self.disk.is_down() || self.disk.has_struck() => Ok(None),
            Err(error) => Err(format!("the log does not open: {error}")),
        }
    }

    /// Compares the whole log with what must be in it, and takes note of what can be seen now.
    fn check(&mut self, writer: &Writer) -> Result<(), Wrong> {
        let reader = Reader::new(Arc::clone(&writer.shared));
        let window = reader.window();
        let known = self.known.len() as u64;
        if window.oldest.0 > self.checkpoint + 1 {
            return Err(format!("{window:?} begins behind checkpoint {}", self.checkpoint));
        }
        if let LogHealth::Damaged(why) = &*reader.health().borrow() {
            return Err(format!("no crash damages anything, but {why}"));
        }
        let mut position = reader.after(Seq(window.oldest.0 - 1));
        let events = self
            .runtime
            .block_on(read_to_head(&mut position, 1_000))
            .map_err(|error| format!("{window:?} cannot be read: {error}"))?;
        if window.head.0 < known {
            return Err(format!("{window:?} has lost events up to {known}"));
        }
        let seqs = events.iter().map(|event| event.seq.0);
        if !seqs.eq(window.oldest.0..=window.head.0) {
            return Err(format!("{window:?} does not give its events"));
        }
        for event in &events {
            let number = match self.known.get(size(event.seq.0 - 1)) {
                Some(number) => *number,
                None => self.in_flight.pop_front().ok_or(format!("{} is new", event.seq))?,
            };
            if !is_same(event, &entry(number)) {
                return Err(format!("{} is not event {number}: {event:?}", event.seq));
            }
            if event.seq.0 > self.known.len() as u64 {
                self.known.push(number);
            }
        }
        self.in_flight.clear();
        Ok(())
    }

    /// Writes a batch. False when the writer must stop.
    fn commit(&mut self, writer: &mut Writer) -> Result<bool, Wrong> {
        let count = 1 + self.dice.below(6);
        self.in_flight = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        let batch: Vec<Entry> = self.in_flight.iter().map(|number| entry(*number)).collect();
        self.told.lock().clear();
        let result = writer.commit(&batch);
        let told: Vec<u64> = self.told.lock().iter().map(|event| event.seq.0).collect();
        match result {
            Ok(()) => {
                let first = self.known.len() as u64 + 1;
                if !told.iter().copied().eq(first..first + count) {
                    return Err(format!("told of {told:?} instead of {count} from {first}"));
                }
                self.known.extend(self.in_flight.drain(..));
                Ok(true)
            }
            Err(Trouble::Fatal(_)) if !told.is_empty() => Err(format!("told of {told:?}")),
            Err(Trouble::Fatal(_)) => Ok(false),
            // The fault is over: nothing of the batch is in the log, and it may be tried again.
            Err(Trouble::Full(_)) if self.disk.has_struck() && told.is_empty() => {
                self.write_again(writer, &batch)
            }
            Err(Trouble::Full(why)) => Err(why),
        }
    }

    fn write_again(&mut self, writer: &mut Writer, batch: &[Entry]) -> Result<bool, Wrong> {
        match writer.commit(batch) {
            Ok(()) => {
                self.known.extend(self.in_flight.drain(..));
                Ok(true)
            }
            Err(Trouble::Fatal(_)) if self.disk.is_down() => Ok(false),
            Err(trouble) => Err(format!("with room again: {trouble:?}")),
        }
    }

    /// The process came to this point and is gone: what it had synced stays.
    pub(super) fn died_at(&mut self, point: Point) {
        if matches!(point, Point::AppendAfterSync | Point::AppendAfterHead) {
            self.known.extend(self.in_flight.drain(..));
        }
    }

    /// Compresses a segment, as the thread beside the writer does. False when the writer must stop.
    fn compress(&mut self, writer: &mut Writer) -> bool {
        let shared = Arc::clone(&writer.shared);
        let Some(segment) = choose(&shared, &[], 0) else { return true };
        if let Ok(finished) = compress(&shared, &segment, 1, &mut || true) {
            *shared.finished.lock() = Some(finished);
            self.compressed += 1;
        }
        if self.dice.one_in(2) {
            // Retention may be faster than the one who compresses.
            self.checkpoint = self.known.len() as u64;
            shared.checkpoint.store(self.checkpoint, std::sync::atomic::Ordering::Release);
        }
        writer.do_chores().is_ok()
    }

    /// One life of the process, at most this many steps. False when the machine went down in it.
    pub(super) fn live(&mut self, steps: u64) -> Result<(), Wrong> {
        let Some(mut writer) = self.open()? else { return Ok(()) };
        writer.shared.checkpoint.store(self.checkpoint, std::sync::atomic::Ordering::Release);
        self.check(&writer)?;
        for _ in 0..steps {
            if self.dice.one_in(6) {
                // A checkpoint somewhere behind the head; retention follows it.
                let ahead = self.known.len() as u64 - self.checkpoint;
                crash::at(Point::CheckpointBeforeCommit);
                self.checkpoint += self.dice.below(ahead + 1);
                crash::at(Point::CheckpointAfterCommit);
                let checkpoint = &writer.shared.checkpoint;
                checkpoint.store(self.checkpoint, std::sync::atomic::Ordering::Release);
                if writer.do_chores().is_err() {
                    return Ok(());
                }
            } else if self.dice.one_in(4) {
                if !self.compress(&mut writer) {
                    return Ok(());
                }
            } else if !self.commit(&mut writer)? {
                return Ok(());
            }
        }
        if self.dice.one_in(2) {
            // Clean: sealed by the last act, unless the machine goes down in it.
            drop(writer.close());
        }
        Ok(())
    }

    /// The machine or only the process ends.
    pub(super) fn end(&mut self) {
        if self.disk.is_down() || self.dice.one_in(2) {
            self.disk.crash(&mut self.dice);
        } else {
            self.disk.restart();
        }
    }
}

/// Lives of random length that end in random ways; gives the disk as it was at the end, and how many
/// segments were compressed.
fn random_lives(seed: u64, skip: Option<Skip>) -> Result<(Disk, usize), Wrong> {
    let mut world = World::new(seed, skip);
    for _ in 0..8 {
        let now = world.disk.ops();
        let ahead = size(world.dice.below(90));
        match world.dice.below(4) {
            0 => {}
            1 => world.disk.fail_sync_at(now + ahead),
            _ => world.disk.crash_at(now + ahead),
        }
        world.live(20).map_err(|wrong| tell(&world, seed, now, &wrong))?;
        world.end();
    }
    let now = world.disk.ops();
    world.live(1).map_err(|wrong| tell(&world, seed, now, &wrong))?;
    Ok((world.disk, world.compressed))
}

pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn tell(world: &World, seed: u64, from: usize, wrong: &str) -> Wrong {
    format!("seed {seed}: {wrong}\n{}", world.disk.story(from))
}

pub(super) fn seeds(count: u64) -> std::ops::Range<u64> {
    let chosen = std::env::var_os("SEED").and_then(|seed| seed.to_str()?.parse().ok());
    chosen.map_or(0..count, |seed: u64| seed..seed + 1)
}

/// I1, I4, OUT-4, DESIGN 10.9: whatever the disk forgets, and whenever. Every way to forget must have
/// been met, or the seeds prove less than they say.
#[test]
fn nothing_durable_is_lost_changed_or_doubled_by_random_crashes() {
    let mut left: BTreeMap<Left, usize> = BTreeMap::new();
    let mut all_compressed = 0;
    for seed in seeds(400) {
        let (disk, compressed) = random_lives(seed, None).unwrap_or_else(|wrong| panic!("{wrong}"));
        all_compressed += compressed;
        for (how, times) in disk.left() {
            *left.entry(how).or_default() += times;
        }
    }
    println!("seeds {:?}, {all_compressed} compressed, crashes left {left:?}", seeds(400));
    assert!(all_compressed > 400 || seeds(400).count() == 1, "{all_compressed}");
    for how in Left::ALL {
        let met = left.get(&how).copied().unwrap_or(0);
        assert!(met >= 20 || seeds(400).count() == 1, "{how:?} was met {met} times");
    }
}

/// I1, I4, OUT-4: the same life, cut off before each of its operations in turn, each time with
/// several outcomes for what was not synced; then two more lives, as recovery can crash too.
#[test]
fn nothing_durable_is_lost_by_a_crash_at_any_operation() {
    let run = |seed: u64, cut: Option<usize>, outcome: u64| -> Result<usize, Wrong> {
        let mut world = World::new(seed, None);
        world.live(12).map_err(|wrong| tell(&world, seed, 0, &wrong))?;
        world.disk.restart();
        if let Some(cut) = cut {
            world.disk.crash_at(cut);
        }
        world.live(12).map_err(|wrong| tell(&world, seed, 0, &wrong))?;
        let ops = world.disk.ops();
        world.dice = Dice::new(outcome);
        for _ in 0..2 {
            world.disk.crash(&mut world.dice);
            let now = world.disk.ops();
            world.disk.crash_at(now + size(world.dice.below(30)));
            world.live(2).map_err(|wrong| tell(&world, seed, 0, &wrong))?;
        }
        world.disk.crash(&mut world.dice);
        world.live(1).map_err(|wrong| tell(&world, seed, 0, &wrong))?;
        Ok(ops)
    };
    for seed in seeds(3) {
        let ops = run(seed, None, 0).unwrap();
        assert!(ops > 60, "the life must do something: {ops}");
        for cut in 0..ops {
            for outcome in 0..5 {
                if let Err(wrong) = run(seed, Some(cut), outcome) {
                    panic!("crash before operation {cut}, outcome {outcome}: {wrong}");
                }
            }
        }
    }
}

/// Whether a log on a disk that leaves out this kind of sync is caught losing something.
fn is_caught(skip: Skip) -> bool {
    let mut skipped = 0;
    let caught = seeds(200).any(|seed| match random_lives(seed, Some(skip)) {
        Ok((disk, _)) => {
            skipped += disk.skipped();
            false
        }
        Err(wrong) => {
            println!("{skip:?}: {}", wrong.lines().next().unwrap_or_default());
            true
        }
    });
    assert!(caught || skipped > 100, "{skip:?} was left out {skipped} times: nothing is shown");
    caught
}

/// I1: proves that the crashes above can find a missing sync of a batch.
#[test]
fn a_writer_that_skips_the_sync_of_records_is_caught() {
    assert!(is_caught(Skip::Batch));
}

/// I1: the same for a new segment, whose header must be there before its name.
#[test]
fn a_writer_that_skips_the_sync_of_a_new_segment_is_caught() {
    assert!(is_caught(Skip::NewFile));
}

/// I1: the same for the directory entry of a new file.
#[test]
fn a_writer_that_skips_the_sync_of_a_new_name_is_caught() {
    assert!(is_caught(Skip::NewName));
}

/// OUT-6: the same for the directory entry of a removed file: a newer one must not be missing while
/// an older one is back.
#[test]
fn a_writer_that_skips_the_sync_of_a_removal_is_caught() {
    assert!(is_caught(Skip::OldName));
}

/// DESIGN 10.9: the same for the new file of what recovery copied.
#[test]
fn a_recovery_that_skips_the_sync_of_its_new_file_is_caught() {
    assert!(is_caught(Skip::Recovery));
}

/// DESIGN 10.11: the same for a compressed segment before it takes the place of the plain one.
#[test]
fn a_compression_that_skips_the_sync_of_its_file_is_caught() {
    assert!(is_caught(Skip::Compressed));
}

/// DESIGN 10.1: a footer is a help, not the truth: without its sync nothing is lost either. The
/// writer syncs it all the same, so that the next start need not read the segment.
#[test]
fn a_footer_that_was_not_synced_loses_nothing() {
    assert!(!is_caught(Skip::Footer));
}

/// DESIGN 10.9: a sync fails, the process starts again while the cache still shows the batch, a
/// reader sees it, then the power goes: it must be on the disk by then.
#[test]
fn what_recovery_shows_after_a_failed_sync_survives_the_next_crash() {
    let mut seen = 0;
    for seed in 0..50 {
        let mut world = World::new(seed, None);
        world.live(4).unwrap();
        world.disk.restart();
        let mut writer = world.open().unwrap().unwrap();
        world.check(&writer).unwrap();
        world.disk.fail_sync_at(world.disk.ops());
        let before = world.known.len();
        assert!(!world.commit(&mut writer).unwrap(), "a failed sync must stop the writer");
        assert_eq!(writer.shared.head(), before as u64);
        drop(writer);

        world.disk.restart();
        let writer = world.open().unwrap().unwrap();
        world.check(&writer).unwrap();
        seen += world.known.len() - before;
        drop(writer);
        world.disk.crash(&mut world.dice);

        let writer = world.open().unwrap().unwrap();
        world.check(&writer).unwrap();
    }
    assert!(seen > 0, "no batch came back, so the test has shown nothing");
}
