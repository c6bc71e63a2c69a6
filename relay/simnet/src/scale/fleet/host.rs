//! One host: its frames, and who reads them.

use super::World;
use crate::server::{Connections, lock};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// The frames that a host keeps.
#[derive(Debug, Default)]
pub(super) struct Stream {
    frames: VecDeque<Bytes>,
    /// Number of the newest event; numbers have no gaps.
    head: u64,
    /// Number of the newest event that a relay was given.
    delivered: u64,
}

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// After this number; `outdated` when events after the cursor are gone (CUR-6).
    After { number: u64, outdated: bool },
    /// The cursor lies ahead (CUR-5).
    Future,
}

impl Stream {
    /// Number of the newest event that is gone.
    fn gone(&self) -> u64 {
        self.head - self.frames.len() as u64
    }

    pub(super) fn start(&self, cursor: Option<u64>) -> Start {
        match cursor {
            None => Start::After { number: self.head, outdated: false },
            Some(cursor) if cursor > self.head => Start::Future,
            Some(cursor) => {
                Start::After { number: cursor.max(self.gone()), outdated: cursor < self.gone() }
            }
        }
    }

    /// Frames after a number, at most so many; `None` when some of them are gone.
    pub(super) fn after(&self, number: u64, count: usize) -> Option<Vec<Bytes>> {
        let skip = usize::try_from(number.checked_sub(self.gone())?).unwrap_or(usize::MAX);
        Some(self.frames.iter().skip(skip).take(count).cloned().collect())
    }
}

/// A host of the fleet.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) number: u32,
    pub(super) world: Arc<World>,
    pub(super) connections: Connections,
    pub(super) stream: Mutex<Stream>,
    /// Number of the newest event, for those who wait.
    pub(super) news: watch::Sender<u64>,
    /// Whether a relay ever asked for the stream.
    asked: AtomicBool,
}

impl Host {
    pub(super) fn new(number: u32, world: Arc<World>, connections: Connections) -> Self {
        Self {
            number,
            world,
            connections,
            stream: Mutex::default(),
            news: watch::Sender::new(0),
            asked: AtomicBool::new(false),
        }
    }

    pub(super) fn head(&self) -> u64 {
        lock(&self.stream).head
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Events that a relay was not given yet.
    pub(super) fn owed(&self) -> u64 {
        let stream = lock(&self.stream);
        stream.head - stream.delivered
    }

    /// From now on the ledger waits until a relay was given everything.
    pub(super) fn owe_to_a_relay(&self) {
        let stream = lock(&self.stream);
        if !self.asked.swap(true, Ordering::Relaxed) {
            let owed = stream.head - stream.delivered;
            self.world.ledger.owed.fetch_add(owed, Ordering::Relaxed);
        }
    }

    pub(super) fn push(&self, number: u64, frame: Bytes) {
        let mut stream = lock(&self.stream);
        stream.frames.push_back(frame);
        stream.head = number;
        if self.was_asked() {
            self.world.ledger.owed.fetch_add(1, Ordering::Relaxed);
        }
        drop(stream);
        self.news.send_replace(number);
    }

    /// A relay is given the frames up to a number, the first of them after `before`.
    pub(super) fn deliver(&self, before: u64, number: u64) {
        let mut stream = lock(&self.stream);
        let again = stream.delivered.min(number).saturating_sub(before);
        let fresh = number.saturating_sub(stream.delivered);
        stream.delivered = stream.delivered.max(number);
        drop(stream);
        self.world.ledger.owed.fetch_sub(fresh, Ordering::Relaxed);
        if again > 0 {
            self.world.ledger.again(again);
        }
    }

    /// Forgets the oldest frame unless a relay that reads the host was not given it yet; gives its
    /// length.
    pub(super) fn forget_oldest(&self) -> Option<usize> {
        let mut stream = lock(&self.stream);
        if self.was_asked() && stream.gone() >= stream.delivered {
            return None;
        }
        let frame = stream.frames.pop_front()?;
        let oldest = stream.gone();
        // Nobody asked: what is gone was never owed to anyone.
        stream.delivered = stream.delivered.max(oldest);
        Some(frame.len())
    }
}
