//! The metrics of the index, their handles kept.

use std::sync::Arc;

use metrics::{Counter, Gauge, counter, gauge};

use super::{Counts, disk, segment::Segment};
use crate::telemetry::metrics as catalogue;

#[derive(Debug, Clone)]
pub(super) struct Measures {
    proven: Gauge,
    believed: Gauge,
    complete: Gauge,
    unsure: Gauge,
    gone: Gauge,
    names: Gauge,
    segments: Gauge,
    disk_bytes: Gauge,
    lists_bytes: Gauge,
    journal_bytes: Gauge,
    memory_bytes: Gauge,
    flushes: Counter,
    joins: Counter,
    joined_bytes: Counter,
}

impl Measures {
    pub(super) fn new(active_bytes_max: usize) -> Self {
        gauge!(catalogue::COLLECTIONS_MEMORY_LIMIT).set(float(disk::length(active_bytes_max)));
        let accounts = |whole| gauge!(catalogue::COLLECTIONS_ACCOUNTS, "status" => whole);
        let pairs = |state| gauge!(catalogue::COLLECTIONS_PAIRS, "status" => state);
        Self {
            proven: pairs("proven"),
            believed: pairs("believed"),
            complete: accounts("complete"),
            unsure: accounts("unsure"),
            gone: accounts("gone"),
            names: gauge!(catalogue::COLLECTIONS_NAMES),
            segments: gauge!(catalogue::COLLECTIONS_SEGMENTS),
            disk_bytes: gauge!(catalogue::COLLECTIONS_DISK_BYTES),
            lists_bytes: gauge!(catalogue::COLLECTIONS_LISTS_BYTES),
            journal_bytes: gauge!(catalogue::COLLECTIONS_JOURNAL_BYTES),
            memory_bytes: gauge!(catalogue::COLLECTIONS_MEMORY_DEPTH),
            flushes: counter!(catalogue::COLLECTIONS_FLUSHES),
            joins: counter!(catalogue::COLLECTIONS_COMPACTIONS),
            joined_bytes: counter!(catalogue::COLLECTIONS_COMPACTED_BYTES),
        }
    }

    pub(super) fn counts(&self, counts: Counts) {
        self.proven.set(float(counts.proven));
        self.believed.set(float(counts.believed));
        self.complete.set(float(counts.complete));
        self.unsure.set(float(counts.unsure));
        self.gone.set(float(counts.gone));
        self.names.set(float(counts.collections));
    }

    pub(super) fn segments(&self, segments: &[Arc<Segment>]) {
        self.segments.set(float(disk::length(segments.len())));
        let lists = segments.iter().map(|segment| segment.memory()).sum();
        self.lists_bytes.set(float(disk::length(lists)));
        self.disk_bytes.set(float(segments.iter().map(|segment| segment.bytes).sum()));
    }

    pub(super) fn journaled(&self, bytes: u64) {
        self.journal_bytes.set(float(bytes));
    }

    pub(super) fn active(&self, bytes: usize) {
        self.memory_bytes.set(float(disk::length(bytes)));
    }

    pub(super) fn flushed(&self) {
        self.flushes.increment(1);
    }

    pub(super) fn joined(&self, bytes: u64) {
        self.joins.increment(1);
        self.joined_bytes.increment(bytes);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
