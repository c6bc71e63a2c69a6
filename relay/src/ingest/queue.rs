//! The bounded way into the shards: places per host and shard, the queue, and the count of what is inside.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, mpsc::error::TrySendError};

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

/// Free places in a queue for which one more of those that wait is woken.
const TURN: usize = 16;

/// A bounded queue whose writers are woken for a turn instead of a place.
///
/// While it is full, a queue that hands each free place to the next in line wakes a task for each frame, and
/// that task finds its host's state and buffer out of the caches. Here few are woken, and each
/// writes as long as it has frames and there is room.
///
/// Nobody waits for ever: each taking wakes at least one, who then writes, which leads to the next taking.
pub(super) fn line<T>(places: usize) -> (LineIn<T>, LineOut<T>) {
    let (sender, receiver) = mpsc::channel(places);
    let waiting = Arc::new(Waiting::default());
    (LineIn { sender, waiting: Arc::clone(&waiting) }, LineOut { receiver, waiting })
}

#[derive(Debug, Default)]
struct Waiting {
    room: Notify,
    /// How many wait, about.
    writers: AtomicUsize,
}

/// Counts a writer while it waits.
struct Writer<'a>(&'a Waiting);

impl<'a> Writer<'a> {
    fn new(waiting: &'a Waiting) -> Self {
        waiting.writers.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a line begins.
#[derive(Debug)]
pub(super) struct LineIn<T> {
    sender: mpsc::Sender<T>,
    waiting: Arc<Waiting>,
}

impl<T> LineIn<T> {
    /// Puts one in; waits while the line is full. Gives `false` when nobody takes any more.
    ///
    /// Cancel safety: what was to be put in is lost.
    pub(super) async fn send(&self, one: T) -> bool {
        let mut one = match self.sender.try_send(one) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(one)) => one,
        };
        let _writer = Writer::new(&self.waiting);
        loop {
            let mut room = std::pin::pin!(self.waiting.room.notified());
            // Listens before it looks again, so that room made in between is not missed.
            room.as_mut().enable();
            one = match self.sender.try_send(one) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(one)) => one,
            };
            room.await;
        }
    }
}

/// Where a line ends.
#[derive(Debug)]
pub(super) struct LineOut<T> {
    receiver: mpsc::Receiver<T>,
    waiting: Arc<Waiting>,
}

impl<T> LineOut<T> {
    /// Takes up to `limit`; waits for the first. Gives 0 when none can come any more.
    ///
    /// Cancel safe: nothing is taken when dropped.
    pub(super) async fn recv_many(&mut self, into: &mut Vec<T>, limit: usize) -> usize {
        let taken = self.receiver.recv_many(into, limit).await;
        let free = self.receiver.max_capacity().saturating_sub(self.receiver.len());
        let writers = self.waiting.writers.load(Ordering::Relaxed);
        // One in any case: the count may be late.
        for _ in 0..(free / TURN).min(writers).max(1) {
            self.waiting.room.notify_one();
        }
        taken
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
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
    use futures_util::{
        FutureExt as _,
        future::{join, join_all},
    };

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

    const WRITERS: usize = 40;
    const EACH: usize = 200;

    async fn write_all(entrance: &LineIn<(usize, usize)>, writer: usize) {
        for number in 0..EACH {
            assert!(entrance.send((writer, number)).await);
        }
    }

    fn check_order(next: &mut [usize; WRITERS], batch: &mut Vec<(usize, usize)>) {
        for (writer, number) in batch.drain(..) {
            assert_eq!(next[writer], number, "the order of {writer}");
            next[writer] += 1;
        }
    }

    /// I5: however many hosts press against a full queue, all their frames get through, each host's in order.
    #[tokio::test]
    async fn all_that_wait_before_a_full_line_get_in() {
        let (entrance, mut exit) = line(8);
        let writing = join_all((0..WRITERS).map(|writer| write_all(&entrance, writer)));
        let reading = async {
            let (mut next, mut batch) = ([0; WRITERS], Vec::new());
            while next != [EACH; WRITERS] {
                assert!(exit.recv_many(&mut batch, 3).await > 0);
                check_order(&mut next, &mut batch);
            }
        };
        join(writing, reading).await;
    }

    /// A connection that ends while it waits takes no turn from the others.
    #[tokio::test]
    async fn one_that_gives_up_waiting_passes_its_turn_on() {
        let (entrance, mut exit) = line(1);
        assert!(entrance.send(1).await);
        let mut second = Box::pin(entrance.send(2));
        let mut third = Box::pin(entrance.send(3));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        let mut taken = Vec::new();
        assert_eq!(exit.recv_many(&mut taken, 1).await, 1);
        drop(second);
        assert!(third.await);
        assert_eq!(exit.recv_many(&mut taken, 1).await, 1);
        assert_eq!(taken, [1, 3]);
        drop(exit);
        assert!(!entrance.send(4).await, "nobody takes it");
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
