//! The bounded way into the shards: places per host and shard, and the count of what is inside.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::domain::HostId;

/// DESIGN 10.6: 64 frames or 2 MiB, so a frame takes one place for each 32 KiB begun.
const BYTES_PER_PLACE: usize = 32 * 1024;

/// The places that each host has at each shard.
#[derive(Debug)]
pub(super) struct Places {
    per_queue: u32,
    shards: usize,
    hosts: RwLock<HashMap<HostId, Arc<[Arc<Semaphore>]>>>,
}

impl Places {
    /// `per_queue` places for each host at each of the `shards`.
    pub(super) fn new(per_queue: usize, shards: usize) -> Self {
        let per_queue = u32::try_from(per_queue).unwrap_or(u32::MAX).max(1);
        Self { per_queue, shards, hosts: RwLock::default() }
    }

    /// Waits for places for a frame. A frame larger than all places takes all.
    ///
    /// Cancel safe: nothing is taken when dropped.
    pub(super) async fn take(
        &self,
        host: HostId,
        shard: usize,
        frame_bytes: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(frame_bytes.div_ceil(BYTES_PER_PLACE)).unwrap_or(u32::MAX);
        let gate = self.gate(host, shard)?;
        gate.acquire_many_owned(wanted.clamp(1, self.per_queue)).await.ok()
    }

    fn gate(&self, host: HostId, shard: usize) -> Option<Arc<Semaphore>> {
        if let Some(gates) = self.hosts.read().get(&host) {
            return gates.get(shard).map(Arc::clone);
        }
        let places = usize::try_from(self.per_queue).unwrap_or(usize::MAX);
        let new = || (0..self.shards).map(|_| Arc::new(Semaphore::new(places))).collect();
        self.hosts.write().entry(host).or_insert_with(new).get(shard).map(Arc::clone)
    }
}

/// How many events are inside, and who waits for none.
#[derive(Debug, Default)]
pub(super) struct Inside {
    events: AtomicUsize,
    emptied: Notify,
}

impl Inside {
    /// One event was offered.
    pub(super) fn enter(&self) {
        self.events.fetch_add(1, Ordering::AcqRel);
    }

    /// So many have left.
    pub(super) fn leave(&self, events: usize) {
        if events > 0 && self.events.fetch_sub(events, Ordering::AcqRel) == events {
            self.emptied.notify_waiters();
        }
    }

    /// Events inside now.
    pub(super) fn depth(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }

    /// Returns when none is inside.
    pub(super) async fn emptied(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.depth() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// DESIGN 10.6: a host that filled its queue at one shard waits there, and only there.
    #[tokio::test]
    async fn a_host_waits_when_its_places_at_a_shard_are_taken() {
        let places = Places::new(2, 2);
        let first = places.take(HostId(1), 0, 100).await;
        let second = places.take(HostId(1), 0, BYTES_PER_PLACE).await;
        assert!(first.is_some() && second.is_some());
        assert!(places.take(HostId(1), 0, 1).now_or_never().is_none(), "no place left");
        assert!(places.take(HostId(1), 1, 1).now_or_never().is_some(), "another shard");
        assert!(places.take(HostId(2), 0, 1).now_or_never().is_some(), "another host");
        drop(first);
        assert!(places.take(HostId(1), 0, 1).now_or_never().is_some(), "a place came back");
    }

    /// DESIGN 10.6: large frames take more of the queue, and the largest still fits.
    #[tokio::test]
    async fn a_large_frame_takes_as_many_places_as_it_has_bytes() {
        let places = Places::new(4, 1);
        let large = places.take(HostId(1), 0, 3 * BYTES_PER_PLACE).await;
        assert_eq!(large.map(|permit| permit.num_permits()), Some(3));
        let largest = places.take(HostId(1), 0, 5_000_000).now_or_never();
        assert_eq!(largest.flatten().map(|permit| permit.num_permits()), Some(4));
    }

    /// The barrier of tests and shutdown.
    #[tokio::test]
    async fn emptied_returns_when_the_last_event_has_left() {
        let inside = Inside::default();
        assert!(inside.emptied().now_or_never().is_some());
        inside.enter();
        inside.enter();
        let mut emptied = std::pin::pin!(inside.emptied());
        assert!(emptied.as_mut().now_or_never().is_none());
        inside.leave(1);
        assert!(emptied.as_mut().now_or_never().is_none());
        inside.leave(1);
        emptied.await;
    }
}
