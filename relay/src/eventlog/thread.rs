//! The writer's thread: takes what waits, commits it, waits for the next.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::trace_span;

use super::{
    Entry, compression::Worker, creation::Trouble, queue::Queue, shared::Shared, writer::Writer,
};
use crate::telemetry::SPANS;

/// Events of a sync up to which the next may start as soon as the interval is over: at 4 ms, as many as
/// come at 4,000 per second.
const FEW_EVENTS: u32 = 16;
/// Events of a sync up to which the wait grows with each: 10 ms after a sync at 4 ms.
const MANY_EVENTS: u32 = 40;
/// Events of a sync from which on the wait grows further: as many as come within 10 ms at 8,000 per
/// second, which keeps a third of a core busy.
const FLOOD_EVENTS: u32 = 2 * MANY_EVENTS;
/// Events of a sync from which on the wait does not grow any more, at 20 ms.
const MOST_EVENTS: u32 = 2 * FLOOD_EVENTS;

/// Ends the log if the thread dies: nobody may wait for it for ever.
struct Guard {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the event log's writer has panicked; this is a bug";
            self.shared.set_failed(why.to_owned());
            self.queue.end(Some(why.to_owned()));
        }
    }
}

/// Runs until the log is closed or fails.
pub(super) fn run(mut writer: Writer, queue: &Arc<Queue>) {
    let guard = Guard { queue: Arc::clone(queue), shared: Arc::clone(&writer.shared) };
    let compression = writer.options.compression;
    let pace = (writer.reserve.shrink, writer.tuning.chores_interval);
    let worker = Worker::start(Arc::clone(&writer.shared), compression, pace);
    let served = match worker {
        Ok(mut worker) => {
            let served = serve(&mut writer, queue);
            // Before the log counts as closed: nothing of it may touch the directory then.
            worker.stop();
            served
        }
        Err(error) => Err(format!("the event log cannot start its compression: {error}")),
    };
    match served {
        Ok(()) => queue.end(None),
        Err(why) => {
            tracing::error!("{why}");
            writer.shared.set_failed(why.clone());
            queue.end(Some(why));
        }
    }
    drop(guard);
}

/// Gives an error when the process must stop.
fn serve(writer: &mut Writer, queue: &Queue) -> Result<(), String> {
    let mut interval = Duration::ZERO;
    let mut batch = Vec::new();
    let mut synced: Option<Instant> = None;
    let mut chores_at = Instant::now();
    loop {
        if Instant::now() >= chores_at {
            chores(writer, queue)?;
            chores_at = Instant::now() + writer.tuning.chores_interval;
        }
        if queue.sleep(chores_at.saturating_duration_since(Instant::now())) {
            // Syncs start `interval` apart: what arrives until then shares this one.
            let wait = synced.map_or(Duration::ZERO, |synced| {
                (synced + interval).saturating_duration_since(Instant::now())
            });
            queue.sleep_until(writer.tuning.batch_bytes, wait);
            let bytes = queue.take(&mut batch, writer.tuning.batch_bytes);
            synced = Some(Instant::now());
            let readers = writer.shared.readers();
            interval = pause(writer.options.sync_interval, batch.len(), readers);
            if !commit(writer, queue, &batch)? {
                return Ok(());
            }
            queue.settle(batch.len(), bytes);
            batch.clear();
            if std::mem::take(&mut writer.has_rolled) {
                // The limits hold to a segment, however fast events come.
                chores_at = Instant::now();
            }
        } else if queue.is_closing() {
            return finish(writer);
        }
    }
}

/// How far the next sync starts from one of so many events.
///
/// A sync and what follows it, such as the wake-up of every consumer, costs as much CPU time as ten
/// signatures. While few events come that buys a short wait for each of them; while many come, up to
/// two and a half times the interval lets more of them share the cost, and twice that in a flood, which
/// waits longer in queues anyway. Eight readers to be woken weigh as much as one event.
fn pause(interval: Duration, events: usize, readers: usize) -> Duration {
    let weight = u32::try_from(events.saturating_add(readers / 8)).unwrap_or(u32::MAX);
    let weight = match weight {
        ..FLOOD_EVENTS => weight.clamp(FEW_EVENTS, MANY_EVENTS),
        _ => weight.min(MOST_EVENTS) / 2,
    };
    interval * weight / FEW_EVENTS
}

fn finish(writer: &Writer) -> Result<(), String> {
    match writer.close() {
        Ok(()) => Ok(()),
        Err(Trouble::Full(why)) => {
            // Everything is durable; the next start reads the segment instead of its footer.
            tracing::warn!("{why}");
            Ok(())
        }
        Err(Trouble::Fatal(why)) => Err(why),
    }
}

/// Commits a batch, however long the disk is full. False when the log is closed meanwhile.
fn commit(writer: &mut Writer, queue: &Queue, batch: &[Entry]) -> Result<bool, String> {
    let _span = trace_span!(target: SPANS, "eventlog.commit", events = batch.len()).entered();
    let mut was_full = false;
    loop {
        match writer.commit(batch) {
            Ok(()) => {
                if was_full {
                    tracing::info!("the event log writes again");
                    chores(writer, queue)?;
                }
                return Ok(true);
            }
            Err(Trouble::Fatal(why)) => return Err(why),
            Err(Trouble::Full(why)) => {
                if !was_full {
                    tracing::error!("{why}. No event is taken in until there is room");
                    writer.shared.set_space(true, false);
                    queue.set_admitting(false);
                    was_full = true;
                }
            }
        }
        writer.do_chores()?;
        if queue.is_closing() {
            tracing::warn!(events = batch.len(), "closing with a full disk: events stay unwritten");
            return Ok(false);
        }
        queue.rest(writer.tuning.retry_interval);
    }
}

/// Looks after the disk and lets events in or not.
fn chores(writer: &mut Writer, queue: &Queue) -> Result<(), String> {
    let was_low = writer.is_low;
    writer.do_chores()?;
    if writer.is_low && !was_low {
        tracing::error!("the disk of the event log is nearly full; no event is taken in");
    }
    // Held for want of a checkpoint, entries are still taken: a checkpoint waits for those on their
    // way. Hosts are not read meanwhile, see `Appender::ready`.
    writer.shared.set_space(writer.is_low, writer.is_held);
    queue.set_admitting(!writer.is_low);
    let (depth, limit) = queue.depth();
    writer.measures.queue(depth, limit);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN 10.9: a slow trickle is synced every 4 ms, a busy network every 10 ms, a flood every 20 ms,
    /// and the wait settles at one of them because a longer one gathers more events.
    #[test]
    fn the_wait_between_two_syncs_grows_with_their_events() {
        const INTERVAL: Duration = Duration::from_millis(4);
        let settled = |per_second: u32, readers: usize| {
            let mut wait = INTERVAL;
            for _ in 0..100 {
                let events = (wait * per_second).as_secs();
                wait = pause(INTERVAL, usize::try_from(events).unwrap(), readers);
            }
            wait
        };
        assert_eq!(settled(1, 1), INTERVAL);
        assert_eq!(settled(1_000, 10), INTERVAL);
        assert_eq!(settled(3_900, 1), INTERVAL);
        assert_eq!(settled(5_000, 1), Duration::from_millis(10));
        assert_eq!(settled(2_000, 200), Duration::from_millis(10), "many to wake");
        assert_eq!(settled(7_900, 1), Duration::from_millis(10));
        assert_eq!(settled(10_000, 1), Duration::from_millis(20));
        assert_eq!(settled(1_000_000, 1), Duration::from_millis(20));
        assert_eq!(pause(Duration::from_hours(24), 1, 1), Duration::from_hours(24));
        assert_eq!(pause(Duration::ZERO, usize::MAX, 0), Duration::ZERO);
    }
}
