//! What consumers send next, put into frames once for all who stand at the same place.
//!
//! A server does not mask (RFC 6455 5.1), so that the bytes of a batch are the same for every consumer
//! behind the same event. All that keep up stand together; one further back makes its own batches, and
//! nobody else looks for them.
//!
//! Bounds (I5): eight batches are kept, each of about 64 KiB or one frame; a consumer holds one.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::line::{Part, framed};
use crate::{accounts::hidden::Hidden, domain::Seq, eventlog::Event};

/// Batches that are kept: those of the last two syncs of a busy log.
const KEPT_MAX: usize = 8;
/// A batch that ends so many events before the head is of somebody who does not keep up.
const NEAR_EVENTS: u64 = 1_000;

/// A batch of events as it goes over a socket.
#[derive(Debug)]
pub(super) struct Reel {
    /// The event before the first.
    after: Seq,
    /// State of the hidden accounts that it was made by.
    version: u64,
    /// The last event, sent or hidden.
    pub(super) last: Seq,
    /// Events in it.
    pub(super) events: u64,
    pub(super) parts: Vec<Part>,
}

impl Reel {
    /// Puts events behind `after` into frames; `None` when there are none.
    ///
    /// * `version` – of `hidden`, taken before
    pub(super) fn of(
        (after, version): (Seq, u64),
        events: &[Event],
        hidden: &Hidden,
    ) -> Option<Self> {
        let last = events.last()?.seq;
        let shown = events.iter().filter(|event| !hidden.hides(event.account, event.kind));
        let frames: Vec<_> = shown.map(|event| &event.frame).collect();
        let events = u64::try_from(frames.len()).unwrap_or(u64::MAX);
        let parts = framed(&frames);
        Some(Self { after, version, last, events, parts })
    }
}

/// The newest batches.
#[derive(Debug, Default)]
pub(super) struct Reels {
    kept: Mutex<VecDeque<Arc<Reel>>>,
}

impl Reels {
    /// The batch behind this event, if somebody has made it and nobody was hidden or shown since.
    pub(super) fn find(&self, after: Seq, version: u64) -> Option<Arc<Reel>> {
        let kept = self.kept.lock();
        kept.iter().rev().find(|reel| reel.after == after && reel.version == version).cloned()
    }

    /// Keeps a batch for the others, if it is near the head.
    pub(super) fn keep(&self, reel: &Arc<Reel>, head: Seq) {
        if head.0.saturating_sub(reel.last.0) > NEAR_EVENTS {
            return;
        }
        let mut kept = self.kept.lock();
        let oldest = if kept.len() < KEPT_MAX { None } else { kept.pop_front() };
        kept.push_back(Arc::clone(reel));
        // Memory is given back after the lock.
        drop(kept);
        drop(oldest);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::{AccountNo, Epoch, EventKind, HostId, HostSeq};

    fn event(seq: u64) -> Event {
        Event {
            seq: Seq(seq),
            time_us: 0,
            kind: EventKind::Commit,
            account: AccountNo(seq),
            host: HostId(1),
            epoch: Epoch(1),
            host_seq: HostSeq(seq),
            note: Bytes::new(),
            frame: Bytes::from(vec![b'x'; 100]),
        }
    }

    fn reel(after: u64, hidden: &Hidden) -> Arc<Reel> {
        let events = [event(after + 1), event(after + 2)];
        Arc::new(Reel::of((Seq(after), hidden.version()), &events, hidden).unwrap())
    }

    /// WS-8: who stands at the same place finds the batch of the first; who stands elsewhere does not.
    #[test]
    fn a_batch_is_found_by_who_stands_before_it() {
        let (reels, hidden) = (Reels::default(), Hidden::default());
        let made = reel(10, &hidden);
        reels.keep(&made, Seq(12));
        let found = reels.find(Seq(10), hidden.version()).unwrap();
        assert!(Arc::ptr_eq(&found, &made));
        assert_eq!((found.last, found.events), (Seq(12), 2));
        for elsewhere in [0, 9, 11, 12] {
            assert!(reels.find(Seq(elsewhere), hidden.version()).is_none(), "{elsewhere}");
        }
    }

    /// ACC-12: after a takedown no batch from before is sent to anyone.
    #[test]
    fn a_takedown_outdates_the_kept_batches() {
        let (reels, hidden) = (Reels::default(), Hidden::default());
        reels.keep(&reel(10, &hidden), Seq(12));
        hidden.set(AccountNo(11), true);
        assert!(reels.find(Seq(10), hidden.version()).is_none());
        let without = reel(10, &hidden);
        assert_eq!(
            (without.last, without.events),
            (Seq(12), 1),
            "its place is passed all the same"
        );
        reels.keep(&without, Seq(12));
        assert!(reels.find(Seq(10), hidden.version()).is_some());
    }

    /// I5: few are kept, the newest, and none of a consumer that is far behind.
    #[test]
    fn only_few_batches_near_the_head_are_kept() {
        let (reels, hidden) = (Reels::default(), Hidden::default());
        for after in 0..20 {
            reels.keep(&reel(after, &hidden), Seq(22));
        }
        assert_eq!(reels.kept.lock().len(), KEPT_MAX);
        assert!(reels.find(Seq(19), 0).is_some() && reels.find(Seq(11), 0).is_none());
        reels.keep(&reel(30, &hidden), Seq(32 + NEAR_EVENTS + 1));
        assert!(reels.find(Seq(30), 0).is_none());
    }
}
