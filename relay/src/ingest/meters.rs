//! The handles of a shard's metrics, looked up once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::verdict::Continuity;
use crate::{
    domain::EventKind,
    telemetry::metrics::{
        INGEST_ACCOUNTS_DEPTH, INGEST_BATCH_SECONDS, INGEST_DIRTY_DEPTH,
        INGEST_DISCONTINUOUS_TOTAL, INGEST_EVENTS_TOTAL, INGEST_LAG_SECONDS,
        INGEST_NEW_ACCOUNTS_TOTAL, INGEST_PANICS_TOTAL, INGEST_PARKED_DEPTH, INGEST_QUEUE_DEPTH,
        INGEST_SINCE_MISMATCH_TOTAL, INGEST_STALL_MS_MAX, INGEST_STALL_SECONDS,
    },
};

/// Shorter waits are the ordinary change of turns.
const STALL_MIN: Duration = Duration::from_millis(1);

/// Metrics of one shard. The gauges add up over the shards: each adds how its own value changed.
pub(super) struct Meters {
    passed: [Counter; 4],
    dropped: [Counter; 4],
    discontinuous: Counter,
    since_mismatch: Counter,
    panics: Counter,
    accounts: Depth,
    dirty: Depth,
    parked: Depth,
    queue: Gauge,
    new_accounts: Counter,
    batches: Histogram,
    lag: Histogram,
    stalls: Histogram,
    stall_max: Gauge,
}

struct Depth {
    gauge: Gauge,
    shown: usize,
}

impl Meters {
    pub(super) fn new() -> Self {
        let of = |outcome: &'static str| {
            EventKind::ALL.map(
                |kind| counter!(INGEST_EVENTS_TOTAL, "kind" => kind.name(), "outcome" => outcome),
            )
        };
        Self {
            passed: of("passed"),
            dropped: of("dropped"),
            discontinuous: counter!(INGEST_DISCONTINUOUS_TOTAL),
            since_mismatch: counter!(INGEST_SINCE_MISMATCH_TOTAL),
            panics: counter!(INGEST_PANICS_TOTAL),
            accounts: Depth::new(gauge!(INGEST_ACCOUNTS_DEPTH)),
            dirty: Depth::new(gauge!(INGEST_DIRTY_DEPTH)),
            parked: Depth::new(gauge!(INGEST_PARKED_DEPTH)),
            queue: gauge!(INGEST_QUEUE_DEPTH),
            new_accounts: counter!(INGEST_NEW_ACCOUNTS_TOTAL),
            batches: histogram!(INGEST_BATCH_SECONDS),
            lag: histogram!(INGEST_LAG_SECONDS),
            stalls: histogram!(INGEST_STALL_SECONDS),
            stall_max: gauge!(INGEST_STALL_MS_MAX),
        }
    }

    pub(super) fn passed(&self, kind: EventKind, continuity: Option<Continuity>) {
        increment(&self.passed, kind);
        match continuity {
            Some(Continuity::Discontinuous) => self.discontinuous.increment(1),
            Some(Continuity::SinceMismatch) => self.since_mismatch.increment(1),
            Some(Continuity::First | Continuity::Continuous) | None => {}
        }
    }

    pub(super) fn dropped(&self, kind: EventKind) {
        increment(&self.dropped, kind);
    }

    /// A commit passed.
    ///
    /// * `rev_us`, `now_us` – when its account wrote it and when that is now, by their own clocks
    pub(super) fn lag(&self, rev_us: u64, now_us: u64) {
        self.lag.record(Duration::from_micros(now_us.saturating_sub(rev_us)));
    }

    /// All that was taken from the queue at once is judged.
    pub(super) fn judged(&self, took: Duration) {
        self.batches.record(took);
    }

    pub(super) fn created(&self) {
        self.new_accounts.increment(1);
    }

    pub(super) fn panicked(&self) {
        self.panics.increment(1);
    }

    /// Frames waited so long while the shard did something else.
    ///
    /// * `longest_us` – the longest time of all shards
    pub(super) fn stalled(&self, took: Duration, longest_us: &AtomicU64) {
        if took < STALL_MIN {
            return;
        }
        self.stalls.record(took.as_secs_f64());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if longest_us.fetch_max(took_us, Ordering::Relaxed) < took_us {
            self.stall_max.set(took.as_secs_f64() * 1e3);
        }
    }

    /// Shows how many events are inside all shards; one of them does it for all.
    pub(super) fn show_queue(&self, inside: usize) {
        self.queue.set(float(inside));
    }

    /// Shows the sizes of the shard as they are now.
    pub(super) fn show(&mut self, accounts: usize, dirty: usize, parked: usize) {
        self.accounts.show(accounts);
        self.dirty.show(dirty);
        self.parked.show(parked);
    }
}

impl Depth {
    fn new(gauge: Gauge) -> Self {
        Self { gauge, shown: 0 }
    }

    fn show(&mut self, now: usize) {
        if now != self.shown {
            self.gauge.increment(float(now) - float(self.shown));
            self.shown = now;
        }
    }
}

/// A count for a gauge.
pub(super) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn increment(counters: &[Counter; 4], kind: EventKind) {
    if let Some(counter) = counters.get(usize::from(kind.code()).saturating_sub(1)) {
        counter.increment(1);
    }
}
