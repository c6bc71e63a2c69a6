//! What the consumer saw.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use anyhow::{Result, ensure};
use relay_simnet::{Checker, Received};

/// The consumer's events: compared with what the hosts sent, and kept by seq as a hash of the frame.
pub(crate) struct Seen {
    pub(crate) checker: Checker,
    frames: BTreeMap<u64, u64>,
}

impl Seen {
    pub(crate) fn new(checker: Checker) -> Self {
        Self { checker, frames: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, event: &Received) -> Result<()> {
        self.checker.observe(event);
        let before = self.frames.insert(u64::try_from(event.seq)?, hash(&event.frame));
        ensure!(before.is_none(), "seq {} came twice", event.seq);
        Ok(())
    }

    /// Newest seq.
    pub(crate) fn head(&self) -> u64 {
        self.frames.keys().next_back().copied().unwrap_or(0)
    }

    /// What a replay from this cursor has to give.
    pub(crate) fn after(&self, cursor: u64) -> Rest<'_> {
        Rest { cursor, frames: self.frames.range(cursor + 1..) }
    }
}

/// Events that a replay still has to give.
pub(crate) struct Rest<'a> {
    cursor: u64,
    frames: std::collections::btree_map::Range<'a, u64, u64>,
}

impl Rest<'_> {
    /// Compares the next event of the replay.
    pub(crate) fn check(&mut self, seq: u64, frame: &[u8]) -> Result<()> {
        let cursor = self.cursor;
        let Some((expected, known)) = self.frames.next() else {
            anyhow::bail!("cursor {cursor}: seq {seq} came after the last event");
        };
        ensure!(seq == *expected, "cursor {cursor}: seq {seq} instead of {expected}");
        ensure!(hash(frame) == *known, "cursor {cursor}: seq {seq} has other bytes than before");
        Ok(())
    }

    /// Whether all were given.
    pub(crate) fn is_over(&self) -> bool {
        self.frames.clone().next().is_none()
    }
}

fn hash(frame: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    hasher.finish()
}
