//! The metrics of the index, their handles kept.

use std::sync::Arc;

use metrics::{Counter, Gauge, counter, gauge};

use super::{Counts, Doubt, disk, segment::Segment};
use crate::telemetry::metrics as catalogue;

#[derive(Debug, Clone)]
pub(super) struct Measures {
    proven: Gauge,
    believed: Gauge,
    complete: Gauge,
    uncertain: Gauge,
    imported: Gauge,
    inactive: Gauge,
    gone: Gauge,
    doubts: [Gauge; Doubt::ALL.len()],
    names: Gauge,
    segments: Gauge,
    disk_bytes: Gauge,
    lists_bytes: Gauge,
    journal_bytes: Gauge,
    memory_bytes: Gauge,
    flushes: Counter,
    joins: Counter,
    joined_bytes: Counter,
    stopped: Gauge,
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
            uncertain: accounts("uncertain"),
            imported: accounts("believed"),
            inactive: accounts("inactive"),
            gone: accounts("gone"),
            doubts: Doubt::ALL
                .map(|doubt| gauge!(catalogue::COLLECTIONS_UNSURE, "reason" => doubt.name())),
            names: gauge!(catalogue::COLLECTIONS_NAMES),
            segments: gauge!(catalogue::COLLECTIONS_SEGMENTS),
            disk_bytes: gauge!(catalogue::COLLECTIONS_DISK_BYTES),
            lists_bytes: gauge!(catalogue::COLLECTIONS_LISTS_BYTES),
            journal_bytes: gauge!(catalogue::COLLECTIONS_JOURNAL_BYTES),
            memory_bytes: gauge!(catalogue::COLLECTIONS_MEMORY_DEPTH),
            flushes: counter!(catalogue::COLLECTIONS_FLUSHES),
            joins: counter!(catalogue::COLLECTIONS_COMPACTIONS),
            joined_bytes: counter!(catalogue::COLLECTIONS_COMPACTED_BYTES),
            stopped: gauge!(catalogue::COLLECTIONS_STOPPED),
        }
    }

    pub(super) fn counts(&self, counts: Counts) {
        self.proven.set(float(counts.proven));
        self.believed.set(float(counts.believed));
        self.complete.set(float(counts.complete));
        self.uncertain.set(float(counts.uncertain()));
        self.imported.set(float(counts.doubted(Doubt::Imported)));
        self.inactive.set(float(counts.doubted(Doubt::Inactive)));
        self.gone.set(float(counts.gone));
        self.names.set(float(counts.collections));
        for (gauge, accounts) in self.doubts.iter().zip(counts.doubts) {
            gauge.set(float(accounts));
        }
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

    pub(super) fn stopped(&self) {
        self.stopped.set(1.0);
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
