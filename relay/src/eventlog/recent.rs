//! The newest records in memory, shared by all readers near the head.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{
    Event,
    segment::{Parsed, parse_trusted},
};

/// Records that were written together; one block of memory.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Seq of the first record.
    pub(super) first: u64,
    /// Where each record begins.
    pub(super) offsets: Vec<u32>,
    /// As in the file.
    pub(super) bytes: Bytes,
}

impl Chunk {
    /// Seq after the last record.
    fn next(&self) -> u64 {
        self.first + super::files::length(self.offsets.len())
    }

    /// Adds events after `after` up to `head` while `budget` lasts.
    fn copy_to(&self, after: u64, head: u64, budget: &mut usize, events: &mut Vec<Event>) {
        let skip = usize::try_from((after + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        for at in self.offsets.iter().skip(skip).filter_map(|at| usize::try_from(*at).ok()) {
            let bytes = self.bytes.get(at..).unwrap_or_default();
            let Parsed::Whole(record) = parse_trusted(bytes) else { return };
            if record.seq > head || (record.length > *budget && !events.is_empty()) {
                *budget = 0;
                return;
            }
            *budget = budget.saturating_sub(record.length);
            events.push(record.event(&self.bytes, at));
        }
    }
}

/// The newest chunks, without a gap between them.
#[derive(Debug)]
pub(super) struct Recent {
    chunks: RwLock<Chunks>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Chunks {
    queue: VecDeque<Arc<Chunk>>,
    bytes: usize,
}

impl Recent {
    /// Keeps about `bytes_max` bytes, at least the newest chunk.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { chunks: RwLock::default(), bytes_max }
    }

    /// Adds durable chunks behind the others and forgets the oldest.
    pub(super) fn push(&self, new: Vec<Chunk>) {
        let mut forgotten = Vec::new();
        let mut chunks = self.chunks.write();
        for chunk in new {
            if chunks.queue.back().is_some_and(|last| last.next() != chunk.first) {
                // A jump of the seq: what lies before it is read from the files.
                forgotten.extend(chunks.queue.drain(..));
                chunks.bytes = 0;
            }
            chunks.bytes += chunk.bytes.len();
            chunks.queue.push_back(Arc::new(chunk));
        }
        while chunks.bytes > self.bytes_max && chunks.queue.len() > 1 {
            if let Some(oldest) = chunks.queue.pop_front() {
                chunks.bytes = chunks.bytes.saturating_sub(oldest.bytes.len());
                forgotten.push(oldest);
            }
        }
        // Memory is given back after the lock.
        drop(chunks);
        drop(forgotten);
    }

    /// Events after `after` up to `head`, about `bytes_max` bytes but at least one; `None` when the
    /// next one is not in memory.
    pub(super) fn read(&self, after: u64, head: u64, bytes_max: usize) -> Option<Vec<Event>> {
        let mut budget = bytes_max;
        let mut needed = Vec::new();
        {
            let chunks = self.chunks.read();
            let start = chunks.queue.partition_point(|chunk| chunk.next() <= after + 1);
            let first = chunks.queue.get(start).filter(|chunk| chunk.first <= after + 1)?;
            let mut bytes = 0;
            needed.push(Arc::clone(first));
            for chunk in chunks.queue.range(start + 1..) {
                // The first one may be needed for its last record only.
                if bytes >= bytes_max {
                    break;
                }
                bytes += chunk.bytes.len();
                needed.push(Arc::clone(chunk));
            }
        }
        let mut events = Vec::new();
        for chunk in &needed {
            if budget == 0 && !events.is_empty() {
                break;
            }
            chunk.copy_to(after, head, &mut budget, &mut events);
        }
        Some(events)
    }
}
