//! Events that are made before they are sent.

use super::{BACKLOG_PAUSE, ROUND, STEP, due};
use crate::{account::Stock, oracle::SentEvent, pds::Shared, server::lock};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// Events that are ready to be sent, in the order in which they were made.
#[derive(Debug)]
pub struct Pregenerated {
    /// Where events wait while they are made.
    pub(super) stock: Stock,
    /// Number of the last event of each host.
    numbers: BTreeMap<u32, u64>,
    /// The next one is the last.
    ready: Vec<(Arc<Shared>, Bytes, SentEvent)>,
    backlog_max: u64,
}

impl Pregenerated {
    pub(super) fn new(backlog_max: u64) -> Self {
        Self { stock: Stock::default(), numbers: BTreeMap::new(), ready: Vec::new(), backlog_max }
    }

    /// Numbers what was made.
    pub(super) fn take_stock(&mut self) {
        for (host, outgoing) in lock(&self.stock).drain(..) {
            let number = self.numbers.entry(host.number()).or_insert_with(|| host.head());
            *number += 1;
            let (frame, event) = outgoing.prepare(*number);
            self.ready.push((host, frame, event));
        }
    }

    pub(super) fn reversed(mut self) -> Self {
        self.ready.reverse();
        self
    }

    /// Events left.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether all were sent.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Bytes of all frames left.
    pub fn bytes(&self) -> u64 {
        self.ready.iter().map(|(_, frame, _)| frame.len() as u64).sum()
    }

    /// Hands over so many events as fast as the subscribed relays permit; returns how many there
    /// still were.
    pub async fn play(&mut self, events: u64) -> u64 {
        let mut played = 0;
        while played < events {
            let Some((host, frame, event)) = self.ready.pop() else { break };
            while host.was_asked() && host.undelivered() > self.backlog_max {
                tokio::time::sleep(BACKLOG_PAUSE).await;
            }
            host.send_prepared([(frame, event)]);
            played += 1;
            if played % ROUND == 0 {
                tokio::task::yield_now().await;
            }
        }
        played
    }

    /// Hands over all events at a rate; returns how many.
    pub async fn play_at(&mut self, events_per_second: u32) -> u64 {
        let begin = Instant::now();
        let mut played = 0;
        let mut ticks = tokio::time::interval(STEP);
        while !self.ready.is_empty() {
            ticks.tick().await;
            let missing = due(begin.elapsed(), events_per_second).saturating_sub(played);
            played += self.play(missing).await;
        }
        played
    }
}
