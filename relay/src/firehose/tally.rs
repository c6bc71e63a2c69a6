//! What is known of each connected consumer.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::ConsumerView;
use crate::{domain::Seq, telemetry::escape};

/// Longest user agent that is kept (SEC-10).
const USER_AGENT_CHARS_MAX: usize = 200;

/// The running numbers of one consumer; written by its task, read by the API.
#[derive(Debug)]
pub(super) struct Tally {
    id: u64,
    address: IpAddr,
    user_agent: String,
    since_ms: u64,
    /// Cancelled when an operator closes it.
    dismissed: CancellationToken,
    begun: AtomicBool,
    seq: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Notes that a start was chosen; gives whether one was before.
    pub(super) fn begin(&self) -> bool {
        self.begun.swap(true, Ordering::Relaxed)
    }

    /// Cancelled when an operator closes the consumer.
    pub(super) fn dismissed(&self) -> CancellationToken {
        self.dismissed.clone()
    }

    /// Notes what was sent.
    pub(super) fn sent(&self, last: Seq, events: u64, bytes: u64) {
        self.seq.store(last.0, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn view(&self) -> ConsumerView {
        ConsumerView {
            id: self.id,
            address: self.address,
            user_agent: self.user_agent.clone(),
            seq: self.seq.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            since_ms: self.since_ms,
        }
    }
}

/// All connected consumers, as many as there are seats.
#[derive(Debug, Default)]
pub(super) struct Register {
    next: AtomicU64,
    /// Events sent to those that have left.
    sent_before: AtomicU64,
    present: Mutex<BTreeMap<u64, Arc<Tally>>>,
}

impl Register {
    /// Enters a consumer; [`Self::leave`] with its id takes it out.
    pub(super) fn enter(
        &self,
        address: IpAddr,
        user_agent: &str,
        since_ms: u64,
        start: Seq,
    ) -> (u64, Arc<Tally>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let tally = Arc::new(Tally {
            id,
            address,
            user_agent: escape(user_agent, USER_AGENT_CHARS_MAX),
            since_ms,
            dismissed: CancellationToken::new(),
            begun: AtomicBool::new(false),
            seq: AtomicU64::new(start.0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        self.present.lock().insert(id, Arc::clone(&tally));
        (id, tally)
    }

    pub(super) fn leave(&self, id: u64) {
        let mut present = self.present.lock();
        if let Some(gone) = present.remove(&id) {
            self.sent_before.fetch_add(gone.events.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Events sent since the start, to all.
    pub(super) fn sent(&self) -> u64 {
        let present = self.present.lock();
        let sent = present.values().map(|tally| tally.events.load(Ordering::Relaxed));
        sent.fold(self.sent_before.load(Ordering::Relaxed), u64::saturating_add)
    }

    /// Asks a consumer to go; gives what was known of it, `None` when there is none with this id.
    pub(super) fn dismiss(&self, id: u64) -> Option<ConsumerView> {
        let tally = Arc::clone(self.present.lock().get(&id)?);
        tally.dismissed.cancel();
        Some(tally.view())
    }

    pub(super) fn len(&self) -> usize {
        self.present.lock().len()
    }

    /// In order of arrival.
    pub(super) fn views(&self) -> Vec<ConsumerView> {
        self.present.lock().values().map(|tally| tally.view()).collect()
    }
}
