//! Subscriptions: one task per host that dials, reads, peeks, and hands over (UP-1…12).
//!
//! In: frames of hosts. Out: [`Arrival`]s, each noted at its host before. Of a frame only the
//! envelope is read here. A shard that is full is not handed more, and the socket is not read
//! meanwhile; nothing queues up here (I5). A panic in one subscription ends that connection only.

mod backoff;
mod link;
mod lost_sequence;
mod outgrown;
mod reading;
mod subscription;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use metrics::gauge;
use tokio::{
    sync::{Notify, Semaphore, broadcast, watch},
    time::{MissedTickBehavior, interval},
};

use self::{reading::Meters, subscription::Subscription};
use crate::{
    clock::Clock,
    descriptors,
    domain::{HostId, HostStatus},
    drops::{Dropped, Drops},
    hosts::{Host, Hosts},
    ingest::{Arrival, Ingest, Stopped},
    net::{HANDSHAKE_MAX, Net},
    tasks::Tasks,
    telemetry::metrics as names,
};

/// Pause between two subscriptions that are started: thousands of hosts at once would be a storm for
/// name servers and for our own handshakes.
const START_PACE: Duration = Duration::from_millis(5);

/// Where frames go: the shards, or a stand-in of a test.
pub trait Inlet: Clone + Send + Sync + 'static {
    /// Hands over one frame; waits while there is no room. An error means shutdown.
    fn offer(&self, arrival: Arrival) -> impl Future<Output = Result<(), Stopped>> + Send;

    /// A frame was dropped before it could be handed over, and was counted.
    fn refused(&self, _host: &Host, _dropped: &Dropped) {}
}

impl Inlet for Ingest {
    async fn offer(&self, arrival: Arrival) -> Result<(), Stopped> {
        Self::offer(self, arrival).await
    }

    fn refused(&self, host: &Host, dropped: &Dropped) {
        Self::refused(self, host, dropped);
    }
}

/// How hosts are dialled and watched.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamOptions {
    /// Handshakes at once.
    pub handshakes_max: usize,
    /// Longest wait for name, TCP, TLS and upgrade together (UP-1).
    pub handshake_max: Duration,
    /// Wait after the first failure; doubles with each further one (UP-10).
    pub first_retry: Duration,
    /// Time between two pings (UP-2).
    pub ping_interval: Duration,
    /// Silence after which a connection counts as dead (UP-2).
    pub dead_after: Duration,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self {
            handshakes_max: 64,
            handshake_max: HANDSHAKE_MAX,
            first_retry: Duration::from_secs(1),
            ping_interval: Duration::from_secs(30),
            dead_after: Duration::from_mins(1),
        }
    }
}

/// What the subscriptions are built from.
#[derive(Debug, Clone)]
pub struct UpstreamParts<I> {
    /// Hosts.
    pub hosts: Hosts,
    /// Shards.
    pub inlet: I,
    /// Dials.
    pub net: Net,
    /// Reasons.
    pub drops: Arc<Drops>,
    /// Clock.
    pub clock: Clock,
    /// Times and limits.
    pub options: UpstreamOptions,
}

/// What all subscriptions share.
#[derive(Debug)]
struct Common<I> {
    parts: UpstreamParts<I>,
    tasks: Tasks,
    handshakes: Semaphore,
    /// Sockets that there are file descriptors for.
    sockets: Semaphore,
    meters: Meters,
    /// Open sockets.
    connected: watch::Sender<usize>,
    /// Subscriptions that have not ended.
    running: watch::Sender<usize>,
}

/// The running subscriptions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    tasks: Tasks,
    connected: watch::Receiver<usize>,
    running: watch::Receiver<usize>,
}

impl Upstream {
    /// Connects to all hosts that are not banned, at most `handshakes_max` at once, and to those that
    /// [`Hosts::wake_ups`] names.
    pub fn start<I: Inlet>(parts: UpstreamParts<I>, tasks: &Tasks) -> Self {
        let tasks = tasks.child();
        let handshakes_max = parts.options.handshakes_max.max(1);
        gauge!(names::UPSTREAM_DIALS_LIMIT)
            .set(f64::from(u32::try_from(handshakes_max).unwrap_or(u32::MAX)));
        // Subscribed before the hosts are listed, so that none is missed in between.
        let wake_ups = parts.hosts.wake_ups();
        let common = Common {
            parts,
            tasks: tasks.clone(),
            handshakes: Semaphore::new(handshakes_max),
            sockets: Semaphore::new(descriptors::for_hosts().min(Semaphore::MAX_PERMITS)),
            meters: Meters::new(),
            connected: watch::Sender::new(0),
            running: watch::Sender::new(0),
        };
        let upstream = Self {
            tasks: tasks.clone(),
            connected: common.connected.subscribe(),
            running: common.running.subscribe(),
        };
        let mut starter =
            Starter { common: Arc::new(common), running: HashMap::new(), queue: VecDeque::new() };
        starter.queue_all();
        // Counted from here on, so that a stop right after the start waits for it.
        let running = Counted::new(&starter.common.running);
        tasks.start(starter.run(wake_ups, running));
        upstream
    }

    /// Open sockets now.
    pub fn connected(&self) -> usize {
        *self.connected.borrow()
    }

    /// Changes of the number of open sockets.
    pub fn watch_connected(&self) -> watch::Receiver<usize> {
        self.connected.clone()
    }

    /// Stops reading all hosts (shutdown); what was read goes on.
    pub async fn stop(&self) {
        self.tasks.stopping().cancel();
        let mut running = self.running.clone();
        if running.wait_for(|running| *running == 0).await.is_err() {
            tracing::debug!("the subscriptions had ended before");
        }
    }
}

/// Adds one while it lives.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Adds one to a gauge while it lives.
struct Gauged(metrics::Gauge);

impl Gauged {
    fn new(name: &'static str) -> Self {
        let gauge = gauge!(name);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Starts a task for each host, evenly paced, and passes on wake-ups.
struct Starter<I> {
    common: Arc<Common<I>>,
    /// How to wake the subscription of a host that waits for its next try.
    running: HashMap<HostId, Arc<Notify>>,
    queue: VecDeque<HostId>,
}

impl<I: Inlet> Starter<I> {
    async fn run(mut self, mut wake_ups: broadcast::Receiver<HostId>, _running: Counted) {
        let stopping = self.common.tasks.stopping().clone();
        let mut pace = interval(START_PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                woken = wake_ups.recv() => match woken {
                    Ok(id) => self.wake(id),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.look_at_all(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = pace.tick(), if !self.queue.is_empty() => self.start_next(),
            }
        }
    }

    /// Queues every host that has no subscription yet.
    fn queue_all(&mut self) {
        for host in self.common.parts.hosts.all() {
            let known = self.running.contains_key(&host.id()) || self.queue.contains(&host.id());
            let is_wanted = !matches!(host.status(), HostStatus::Banned | HostStatus::Idle);
            if !known && is_wanted {
                self.queue.push_back(host.id());
            }
        }
    }

    /// Some wake-ups were lost, as when a list of thousands is read: whoever waits for its next try may
    /// have been among them.
    fn look_at_all(&mut self) {
        self.queue_all();
        for host in self.common.parts.hosts.all() {
            if !host.is_connected()
                && let Some(waiting) = self.running.get(&host.id())
            {
                waiting.notify_one();
            }
        }
    }

    fn wake(&mut self, id: HostId) {
        match self.running.get(&id) {
            // Kept when the subscription is not waiting at this moment.
            Some(waiting) => waiting.notify_one(),
            // Somebody asked for it, so it goes first.
            None => self.queue.push_front(id),
        }
    }

    fn start_next(&mut self) {
        let Some(id) = self.queue.pop_front() else { return };
        let Some(host) = self.common.parts.hosts.get(id) else { return };
        if self.running.contains_key(&id) {
            return;
        }
        let wake = Arc::new(Notify::new());
        self.running.insert(id, Arc::clone(&wake));
        let running = Counted::new(&self.common.running);
        let subscription = Subscription::new(Arc::clone(&self.common), host, wake);
        self.common.tasks.start(async move {
            subscription.run().await;
            drop(running);
        });
    }
}

#[cfg(test)]
mod tests;
