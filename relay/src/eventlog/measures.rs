//! The metrics of the log, their handles kept.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::telemetry::metrics as catalogue;

/// Handles; made when the writer starts, after the recorder was installed.
#[derive(Debug, Clone)]
pub(super) struct Measures {
    events: Counter,
    bytes: Counter,
    sync_seconds: Histogram,
    batch_events: Histogram,
    queue_depth: Gauge,
    queue_limit: Gauge,
    head: Gauge,
    oldest: Gauge,
    disk_bytes: Gauge,
    window_seconds: Gauge,
    free_bytes: Gauge,
    removed_segments: Counter,
    compressed_segments: Counter,
    saved_bytes: Counter,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            events: counter!(catalogue::EVENTLOG_APPENDED_EVENTS),
            bytes: counter!(catalogue::EVENTLOG_APPENDED_BYTES),
            sync_seconds: histogram!(catalogue::EVENTLOG_SYNC_SECONDS),
            batch_events: histogram!(catalogue::EVENTLOG_BATCH_EVENTS),
            queue_depth: gauge!(catalogue::EVENTLOG_QUEUE_DEPTH),
            queue_limit: gauge!(catalogue::EVENTLOG_QUEUE_LIMIT),
            head: gauge!(catalogue::EVENTLOG_HEAD_SEQ),
            oldest: gauge!(catalogue::EVENTLOG_OLDEST_SEQ),
            disk_bytes: gauge!(catalogue::EVENTLOG_DISK_BYTES),
            window_seconds: gauge!(catalogue::EVENTLOG_WINDOW_SECONDS),
            free_bytes: gauge!(catalogue::EVENTLOG_DISK_FREE_BYTES),
            removed_segments: counter!(catalogue::EVENTLOG_REMOVED_SEGMENTS),
            compressed_segments: counter!(catalogue::EVENTLOG_COMPRESSED_SEGMENTS),
            saved_bytes: counter!(catalogue::EVENTLOG_COMPRESSION_SAVED_BYTES),
        }
    }
}

impl Measures {
    pub(super) fn synced(&self, took: Duration, events: usize) {
        self.sync_seconds.record(took.as_secs_f64());
        self.batch_events.record(float(super::files::length(events)));
    }

    pub(super) fn appended(&self, events: usize, bytes: u64) {
        self.events.increment(super::files::length(events));
        self.bytes.increment(bytes);
    }

    pub(super) fn compressed(&self, before: u64, after: u64) {
        self.compressed_segments.increment(1);
        self.saved_bytes.increment(before.saturating_sub(after));
    }

    pub(super) fn head(&self, head: u64) {
        self.head.set(float(head));
    }

    pub(super) fn queue(&self, depth: usize, limit: usize) {
        self.queue_depth.set(float(super::files::length(depth)));
        self.queue_limit.set(float(super::files::length(limit)));
    }

    /// What the settings permit.
    pub(super) fn limits(bytes_max: u64, window: Duration) {
        gauge!(catalogue::EVENTLOG_DISK_BYTES_MAX).set(float(bytes_max));
        gauge!(catalogue::EVENTLOG_WINDOW_TARGET_SECONDS).set(window);
    }

    pub(super) fn removed(&self) {
        self.removed_segments.increment(1);
    }

    pub(super) fn free(&self, bytes: u64) {
        self.free_bytes.set(float(bytes));
    }

    pub(super) fn window(&self, oldest: u64, disk_bytes: u64, window_us: u64) {
        self.oldest.set(float(oldest));
        self.disk_bytes.set(float(disk_bytes));
        self.window_seconds.set(float(window_us / 1_000_000));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; seqs stay below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
