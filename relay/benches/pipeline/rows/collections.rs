//! What the index of collections costs: import, disk, pages, every day's commits, memory.
//!
//! The index runs in this process, alone; its figures are those of the whole process.

mod filled;
mod listing;
mod taking;
mod world;

use std::{fs, path::Path, process};

use anyhow::{Context as _, Result};
use relay::{
    collections::index::{Batch, Index, Options},
    domain::{AccountNo, Seq},
};
use rustix::fs::Advice;
use tokio::time::Instant;

use self::world::{Dice, World};
use super::Measured;
use crate::{
    meter::{CpuTime, float, percentile, resident_bytes},
    options::Options as Wanted,
    table::{Must, Row},
};

/// As the setting is by default.
const MEMORY_BYTES: u64 = 256 << 20;
/// Accounts of a page.
const PAGE: usize = 2_000;
/// Pairs that are imported in random order, of all.
const SHUFFLED_SHARE: u64 = 4;
/// Pages that are read warm and cold.
const PAGES: (usize, usize) = (2_000, 40);
/// Events of one batch, once a second.
const EVENTS: u64 = 1_000;
/// Such batches before those that are measured, and those.
const SECONDS: (u64, u64) = (20, 40);

/// One index that grows, and what it grew from.
struct Ground {
    dir: tempfile::TempDir,
    index: Index,
    world: World,
    seq: u64,
    resident: u64,
}

/// What one step of growth came to.
struct Step {
    pairs: u64,
    seconds: f64,
    cpu: f64,
    disk_bytes: u64,
    warm_ms: f64,
    cold_ms: f64,
    /// Of a core, at a thousand events a second.
    live_percent: f64,
    memory_mb: f64,
    open_ms: f64,
}

/// The rows of one size.
pub(super) fn measure(options: &Wanted, measured: &mut Measured) -> Result<()> {
    let mut ground = Ground::new()?;
    let step = ground.step(options.size.pairs)?;
    let what = format!("{:.1} million pairs", float(step.pairs) / 1e6);
    let row = Row::new("collections", format!("import of {what}, durable"), "/s");
    let raw = format!("{:.1} s, {:.2} us of CPU each", step.seconds, step.cpu_us());
    let rate = float(step.pairs) / step.seconds;
    measured.add(row.must(Must::AtLeast(500_000.0), 1e6).is(rate, raw));
    measured.add(shuffled(options.size.pairs / SHUFFLED_SHARE)?);
    let row = Row::new("collections", "disk, in both orders, of a pair", "B");
    let raw = format!("{:.1} MB in all, journal included", float(step.disk_bytes) / 1e6);
    measured.add(row.must(Must::AtMost(12.0), 6.0).is(step.bytes_per_pair(), raw));
    let row = Row::new("collections", "a page of 2,000 accounts, p99", "ms");
    measured.add(row.must(Must::AtMost(5.0), 1.0).is(step.warm_ms, "from the page cache"));
    let row = Row::new("collections", "the same from the disk, slowest", "ms");
    let raw = "page cache dropped before each; the list of blocks is in memory";
    measured.add(row.must(Must::AtMost(200.0), 50.0).is(step.cold_ms, raw));
    let row = Row::new("collections", "of a core, 1,000 events/s of every day, index only", "%");
    measured.add(row.must(Must::AtMost(3.0), 1.0).is(step.live_percent, "one batch a second"));
    let row = Row::new("collections", "memory of all that, at the default of 256 MB", "MB");
    let raw = format!("opens in {:.0} ms", step.open_ms);
    measured.add(row.must(Must::AtMost(256.0), 200.0).is(step.memory_mb, raw));
    Ok(())
}

/// The rows of whole answers of a relay, with its accounts in either database.
pub(super) async fn lists(options: &Wanted, measured: &mut Measured) -> Result<()> {
    Box::pin(listing::measure(options, measured)).await
}

/// The same at ever more pairs, a line each.
pub(super) fn growth(options: &Wanted, measured: &mut Measured) -> Result<()> {
    let mut ground = Ground::new()?;
    for pairs in options.size.growth {
        let step = ground.step(*pairs)?;
        let what = format!("grown to {:.1} million pairs", float(step.pairs) / 1e6);
        let row = Row::new("growth", format!("{what}, page p99"), "ms");
        let raw = format!(
            "import {:.0}/s at {:.2} us of CPU; {:.2} B each; cold {:.1} ms; live {:.2} %; {:.0} MB; opens \
             in {:.0} ms",
            float(step.pairs) / step.seconds,
            step.cpu_us(),
            step.bytes_per_pair(),
            step.cold_ms,
            step.live_percent,
            step.memory_mb,
            step.open_ms
        );
        measured.add(row.must(Must::AtMost(5.0), 1.0).is(step.warm_ms, raw));
    }
    Ok(())
}

/// Import as from the lists of another relay, whose accounts have another order than ours: a page of one
/// collection a batch, each durable.
fn shuffled(pairs: u64) -> Result<Row> {
    let mut ground = Ground::new()?;
    let (begin, cpu) = (Instant::now(), CpuTime::of(process::id())?.all);
    let pages = ground.world.shuffle(&ground.index, pairs)?;
    let seconds = begin.elapsed().as_secs_f64();
    ground.index.rest()?;
    let cpu = CpuTime::of(process::id())?.all - cpu;
    let pairs = rows(&ground.index);
    let what = format!("the same of {:.1} million in random order, by pages", float(pairs) / 1e6);
    let raw = format!(
        "{pages} pages of at most {} accounts, each synced; {:.2} us of CPU each pair",
        world::SHUFFLED_PAGE,
        cpu * 1e6 / float(pairs)
    );
    let row = Row::new("collections", what, "/s").must(Must::AtLeast(500_000.0), 1e6);
    Ok(row.is(float(pairs) / seconds, raw))
}

impl Step {
    fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / float(self.pairs)
    }

    fn bytes_per_pair(&self) -> f64 {
        float(self.disk_bytes) / float(self.pairs)
    }
}

impl Ground {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let resident = resident_bytes(process::id())?;
        let index = open(dir.path())?;
        let world = World::new(&index)?;
        Ok(Self { dir, index, world, seq: 0, resident })
    }

    /// Grows to so many pairs, then measures all there is to measure. Time and CPU are those of
    /// the growth alone, per pair of all: a step multiplies, so most pairs are new.
    fn step(&mut self, pairs: u64) -> Result<Step> {
        let before = rows(&self.index);
        let (begin, cpu) = (Instant::now(), CpuTime::of(process::id())?.all);
        self.world.grow(&self.index, pairs)?;
        let seconds = begin.elapsed().as_secs_f64();
        self.index.rest()?;
        let cpu = CpuTime::of(process::id())?.all - cpu;
        let pairs = rows(&self.index);
        // As if all had come at this pace.
        let scale = float(pairs) / float(pairs - before);
        let warm_ms = self.pages(PAGES.0, false)?;
        let cold_ms = self.pages(PAGES.1, true)?;
        let live_percent = self.live()?;
        let memory = resident_bytes(process::id())?.saturating_sub(self.resident);
        let open_ms = self.open_anew()?;
        Ok(Step {
            pairs,
            seconds: seconds * scale,
            cpu: cpu * scale,
            disk_bytes: disk_bytes(self.dir.path())?,
            warm_ms,
            cold_ms,
            live_percent,
            memory_mb: float(memory) / 1e6,
            open_ms,
        })
    }

    /// Milliseconds of a page in the middle of a list: of 100 the slowest but one, or of all the slowest.
    fn pages(&self, pages: usize, is_cold: bool) -> Result<f64> {
        let mut dice = Dice::new(self.world.accounts);
        let mut times = Vec::with_capacity(pages);
        for _ in 0..pages {
            if is_cold {
                drop_cache(self.dir.path())?;
            }
            let popular = usize::try_from(dice.below(20))?;
            let collection = *self.world.collections.get(popular).context("a collection")?;
            let after = AccountNo(dice.below(self.world.accounts / 2));
            let begin = Instant::now();
            let page = self.index.page(collection, Some(after), PAGE)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(!page.is_empty(), "an empty page");
        }
        Ok(percentile(times, if is_cold { 100 } else { 99 }))
    }

    /// CPU of a second of every day, as a share of a core.
    fn live(&mut self) -> Result<f64> {
        let mut dice = Dice::new(self.world.accounts);
        let mut cpu = 0.0;
        for second in 0..SECONDS.0 + SECONDS.1 {
            self.seq += EVENTS;
            let changes = self.world.day(&mut dice, EVENTS);
            let batch = Batch { position: Some(Seq(self.seq)), changes, progress: Vec::new() };
            let before = CpuTime::of(process::id())?.all;
            self.index.apply(&batch)?;
            let spent = CpuTime::of(process::id())?.all - before;
            cpu += if second < SECONDS.0 { 0.0 } else { spent };
        }
        Ok(cpu / float(SECONDS.1) * 100.0)
    }

    fn open_anew(&mut self) -> Result<f64> {
        // The directory belongs to one at a time.
        let elsewhere = tempfile::tempdir()?;
        self.index = open(elsewhere.path())?;
        let begin = Instant::now();
        self.index = open(self.dir.path())?;
        let opened = begin.elapsed().as_secs_f64() * 1e3;
        self.index.rest()?;
        Ok(opened)
    }
}

fn open(dir: &Path) -> Result<Index> {
    Ok(Index::open(dir, Options { memory_bytes: MEMORY_BYTES })?)
}

fn rows(index: &Index) -> u64 {
    index.counts().proven + index.counts().believed
}

fn disk_bytes(dir: &Path) -> Result<u64> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// What is on the disk is read from there the next time.
fn drop_cache(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let file = fs::File::open(entry.path())?;
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
