//! Where events wait while the network is asked about their DID (DESIGN 10.6, 10.7).
//!
//! One queue per DID, so that its events stay in order. An event keeps its place in its host's queue
//! while an answer is expected soon: so a cold start paces itself by reading more slowly. When the
//! source does not answer, the events give their places back, within the limits below, so that one
//! unreachable identity does not silence a host.

use std::collections::{HashMap, VecDeque};

use relay_protocol::Did;
use tokio::sync::OwnedSemaphorePermit;

use super::{Arrival, commands::Order, verdict::Ask};
use crate::domain::LocalStatus;

/// Events of one DID that wait without an answer in sight.
const DID_EVENTS_MAX: usize = 64;
/// Their bytes; one event may be larger.
const DID_BYTES_MAX: usize = 1024 * 1024;
/// Events of one shard that wait without a place in their host's queue.
pub(super) const SHARD_EVENTS_MAX: usize = 4096;
/// Their bytes.
const SHARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long an event may wait for an identity (DESIGN 10.7).
pub(super) const WAIT_MS_MAX: u64 = 10 * 60_000;

/// An event on its way through the shard.
#[derive(Debug)]
pub(super) struct Queued {
    /// The event.
    pub(super) arrival: Arrival,
    /// Its place in the queue of its host; given back when the event leaves.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// Since when it waits, ms since 1970; 0 when it does not.
    pub(super) since_ms: u64,
}

/// What waits in the order of a DID.
#[derive(Debug)]
pub(super) enum Item {
    /// An event.
    Event(Queued),
    /// A command that needs the account.
    Order(Order),
}

/// What a queue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// The row from the store.
    Row,
    /// An answer under way.
    Answer(Ask),
    /// The time to ask again.
    Retry(Ask),
    /// Its account may send one more after this time, ms (HOST-12).
    Turn(u64),
}

impl On {
    /// No answer is in sight, so that events give their places back.
    fn is_long(self) -> bool {
        matches!(self, Self::Retry(_) | Self::Turn(_))
    }
}

/// The queue of one DID.
#[derive(Debug)]
pub(super) struct Waiting {
    /// In order of arrival.
    pub(super) items: VecDeque<Item>,
    /// What for.
    pub(super) on: On,
    /// How often it was asked in vain.
    pub(super) attempt: u32,
    /// Only events of hosts without authority wait here; those of the account's host go on.
    pub(super) only_foreign: bool,
    /// Tells timers of an earlier wait from those of this one.
    pub(super) serial: u64,
    /// What was decided about a DID that has no row yet.
    pub(super) local: LocalStatus,
    bytes: usize,
}

/// All queues of a shard.
#[derive(Debug, Default)]
pub(super) struct Parking {
    queues: HashMap<Did, Waiting>,
    serial: u64,
    /// Events without a place in their host's queue.
    loose: usize,
    loose_bytes: usize,
}

impl Parking {
    /// The queue of a DID, if it has to wait.
    pub(super) fn get(&mut self, did: &Did) -> Option<&mut Waiting> {
        if self.queues.is_empty() {
            return None;
        }
        self.queues.get_mut(did)
    }

    /// Starts a queue with a first item.
    pub(super) fn open(&mut self, did: Did, on: On, item: Item) {
        self.serial = self.serial.wrapping_add(1);
        let bytes = item.bytes();
        let waiting = Waiting {
            items: VecDeque::from([item]),
            on,
            attempt: 0,
            only_foreign: false,
            serial: self.serial,
            local: LocalStatus::None,
            bytes,
        };
        self.queues.insert(did, waiting);
    }

    /// Appends an event to the queue of its DID; gives it back when the queue is full.
    pub(super) fn push(&mut self, mut queued: Queued, now_ms: u64) -> Result<(), Queued> {
        let Some(waiting) = self.queues.get_mut(&queued.arrival.did) else { return Err(queued) };
        let bytes = queued.arrival.frame.len();
        let in_retry = waiting.on.is_long();
        if in_retry && !waiting.has_room_for(bytes) {
            return Err(queued);
        }
        queued.since_ms = now_ms;
        waiting.bytes = waiting.bytes.saturating_add(bytes);
        if in_retry {
            loosen(&mut queued, &mut self.loose, &mut self.loose_bytes);
        }
        waiting.items.push_back(Item::Event(queued));
        Ok(())
    }

    /// Appends a command to the queue of its DID.
    pub(super) fn push_order(&mut self, did: &Did, order: Order) -> Result<(), Order> {
        match self.queues.get_mut(did) {
            Some(waiting) => {
                waiting.items.push_back(Item::Order(order));
                Ok(())
            }
            None => Err(order),
        }
    }

    /// What the queue of a DID waits for. Look before [`Self::take`]: a queue that is put back has a
    /// new serial, so that a timer of its wait would find it no more.
    pub(super) fn waits_on(&self, did: &Did) -> Option<On> {
        self.queues.get(did).map(|waiting| waiting.on)
    }

    /// Takes a queue out, to go on with its items.
    pub(super) fn take(&mut self, did: &Did) -> Option<Waiting> {
        let waiting = self.queues.remove(did)?;
        for item in &waiting.items {
            self.forget(item);
        }
        Some(waiting)
    }

    /// Puts back what has to wait on. The first item gave the reason.
    pub(super) fn put_back(&mut self, did: Did, mut waiting: Waiting) {
        self.serial = self.serial.wrapping_add(1);
        waiting.serial = self.serial;
        waiting.bytes = waiting.items.iter().map(Item::bytes).fold(0, usize::saturating_add);
        for item in &waiting.items {
            if let Item::Event(Queued { place: None, arrival, .. }) = item {
                self.loose = self.loose.saturating_add(1);
                self.loose_bytes = self.loose_bytes.saturating_add(arrival.frame.len());
            }
        }
        if waiting.on.is_long() {
            for item in waiting.items.iter_mut().take(DID_EVENTS_MAX) {
                if let Item::Event(queued) = item {
                    loosen(queued, &mut self.loose, &mut self.loose_bytes);
                }
            }
        }
        self.queues.insert(did, waiting);
    }

    /// Events without a place in their host's queue.
    pub(super) fn loose(&self) -> usize {
        self.loose
    }

    fn forget(&mut self, item: &Item) {
        if let Item::Event(Queued { place: None, arrival, .. }) = item {
            self.loose = self.loose.saturating_sub(1);
            self.loose_bytes = self.loose_bytes.saturating_sub(arrival.frame.len());
        }
    }
}

impl Waiting {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.items.is_empty()
            || (self.items.len() < DID_EVENTS_MAX
                && self.bytes.saturating_add(bytes) <= DID_BYTES_MAX)
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Event(queued) => queued.arrival.frame.len(),
            Self::Order(_) => 0,
        }
    }
}

/// Gives an event's place back to its host, if the shard has room for one more without.
fn loosen(queued: &mut Queued, loose: &mut usize, loose_bytes: &mut usize) {
    let bytes = queued.arrival.frame.len();
    let fits = *loose < SHARD_EVENTS_MAX && loose_bytes.saturating_add(bytes) <= SHARD_BYTES_MAX;
    if fits && queued.place.take().is_some() {
        *loose = loose.saturating_add(1);
        *loose_bytes = loose_bytes.saturating_add(bytes);
    }
}
