//! How fast the log is replayed, and what it takes on disk.

use std::{fs, io::Read as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::Measured;
use crate::{
    ground::Ground,
    meter::{CpuTime, float, median},
    options::Options,
    run::Play,
    sinks::{Reads, Sinks},
    table::{Must, Row},
};

/// Replays of the same window; the middle one counts.
const RUNS: usize = 5;
/// Most events of a window, so that a replay takes seconds.
const WINDOW_MAX: u64 = 150_000;
/// Events that make the log begin some new segments.
const TO_SEAL: u64 = 200;
/// The newest segments, which are never compressed.
const ALWAYS_PLAIN: usize = 2;
/// Where a segment says how its records are kept.
const CODEC_AT: usize = 10;
/// Longest wait for one more segment to be compressed.
const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Replays the newest segment while it is open, then everything once it is sealed.
pub(super) async fn measure(
    ground: &mut Ground,
    options: &Options,
    measured: &mut Measured,
) -> Result<()> {
    ground.restart(&[("RELAY_SEGMENT_BYTES", "16GiB")], options.apart).await?;
    ground.receive(Play::Fast(options.size.fill)).await?;
    let segments = segments(ground)?;
    let newest = segments.last().context("a segment")?.base;
    let events = ground.head().await? + 1 - newest;
    let open = replay(ground, newest - 1, events.min(WINDOW_MAX)).await?;
    let row = Row::new("replay", "one consumer, page cache, unsealed", "MB/s");
    measured.add(row.must(Must::AtLeast(400.0), 1_000.0).is(open.speed, open.raw));

    // The next event finds the segment too large, and those after it fill some small ones.
    ground.restart(&[("RELAY_SEGMENT_BYTES", "64KiB")], options.apart).await?;
    let before = CpuTime::of(ground.relay.pid())?.all;
    ground.receive(Play::Fast(TO_SEAL)).await?;
    let compressed = compressed(ground).await?;
    let spent = CpuTime::of(ground.relay.pid())?.all - before;
    let segments = self::segments(ground)?;
    let (first, newest) = (segments.first().context("a segment")?.base, sealed_end(&segments)?);
    let events = newest - first;
    let sealed = replay(ground, first - 1, events.min(WINDOW_MAX)).await?;
    let how = if compressed { "compressed" } else { "not compressed" };
    let row = Row::new("replay", format!("the same, sealed ({how})"), "MB/s");
    let raw = format!("{}; {spent:.1} s of CPU to compress them", sealed.raw);
    measured.add(row.must(Must::AtLeast(300.0), 1_000.0).is(sealed.speed, raw));

    let on_disk: u64 = segments.iter().filter(|it| it.base < newest).map(|it| it.bytes).sum();
    let whole = Sinks::open(&ground.relay.url(), 1, Reads::Window(0, events), 0).await?;
    whole.reach(events).await?;
    let frames: u64 = whole.close()?.iter().map(|tally| tally.bytes()).sum();
    let row = Row::new("disk", "disk per retained event, sealed, frames of simnet", "x");
    let raw = format!(
        "{:.0} bytes of {:.0} per event, {events} events",
        float(on_disk) / float(events),
        float(frames) / float(events)
    );
    measured.add(row.must(Must::AtMost(0.65), 0.5).is(float(on_disk) / float(frames), raw));
    ground.reconnect().await
}

struct Replay {
    /// MB/s.
    speed: f64,
    raw: String,
}

async fn replay(ground: &Ground, cursor: u64, events: u64) -> Result<Replay> {
    let mut speeds = Vec::new();
    let mut costs = Vec::new();
    // The first fills the page cache.
    for run in 0..=RUNS {
        let before = CpuTime::of(ground.relay.pid())?.all;
        let reads = Reads::Window(cursor, events);
        let sinks = Sinks::open(&ground.relay.url(), 1, reads, 0).await?;
        sinks.reach(events).await?;
        let spent = CpuTime::of(ground.relay.pid())?.all - before;
        for tally in sinks.close()? {
            if run > 0 {
                let megabytes = float(tally.bytes()) / 1e6;
                speeds.push(megabytes / tally.seconds());
                costs.push(megabytes / spent);
            }
        }
    }
    let speed = median(speeds);
    let raw = format!("{events} events; {:.0} MB per second of CPU", median(costs));
    Ok(Replay { speed, raw })
}

struct Segment {
    base: u64,
    bytes: u64,
    codec: u8,
}

/// All segments, oldest first.
fn segments(ground: &Ground) -> Result<Vec<Segment>> {
    let directory: PathBuf = ground.relay.data().join("persist");
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        let Some(base) = stem.filter(|_| path.extension().is_some_and(|end| end == "log")) else {
            continue;
        };
        let mut head = [0; CODEC_AT + 1];
        fs::File::open(&path)?.read_exact(&mut head)?;
        let [.., codec] = head;
        segments.push(Segment { base, bytes: fs::metadata(&path)?.len(), codec });
    }
    segments.sort_by_key(|segment| segment.base);
    Ok(segments)
}

/// Seq after the last event that may be compressed.
fn sealed_end(segments: &[Segment]) -> Result<u64> {
    Ok(segments.iter().rev().nth(ALWAYS_PLAIN - 1).context("some segments")?.base)
}

/// Waits until everything sealed is compressed; `false` when this relay does not do so.
pub(super) async fn compressed(ground: &Ground) -> Result<bool> {
    let mut last = (usize::MAX, Instant::now());
    loop {
        let segments = segments(ground)?;
        if segments.len() <= ALWAYS_PLAIN {
            return Ok(true);
        }
        let newest = sealed_end(&segments)?;
        let sealed = segments.iter().filter(|segment| segment.base < newest);
        let plain = sealed.filter(|segment| segment.codec == 0).count();
        if plain == 0 {
            return Ok(true);
        }
        if plain < last.0 {
            last = (plain, Instant::now());
        }
        if last.1.elapsed() > PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
