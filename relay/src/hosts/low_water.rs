//! What of a host's stream is settled (UP-9, DESIGN 10.7). Pure.

use std::collections::BTreeMap;

use crate::domain::HostSeq;

/// A received event that is neither durable nor dropped yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Length of its frame.
    pub(super) bytes: u32,
    /// Whether it counts against the limit over all hosts.
    pub(super) shared: bool,
}

/// The unsettled events of one host in one epoch.
///
/// The low-water mark is one below the lowest unsettled seq, or the highest received one when
/// nothing is unsettled. It never falls, because seqs are received in increasing order.
#[derive(Debug, Default)]
pub(super) struct LowWater {
    /// Highest seq received, or the cursor we started with.
    highest: Option<HostSeq>,
    /// Where we started; the mark when even the first event is unsettled and has seq 0.
    start: Option<HostSeq>,
    unsettled: BTreeMap<HostSeq, Held>,
    bytes: u64,
}

impl LowWater {
    /// Everything up to `start` is settled.
    pub(super) fn starting_at(start: Option<HostSeq>) -> Self {
        Self { highest: start, start, ..Self::default() }
    }

    /// Notes an event. Gives `false` and notes nothing when its seq is not higher than all before.
    pub(super) fn receive(&mut self, host_seq: HostSeq, held: Held) -> bool {
        if self.highest.is_some_and(|highest| host_seq <= highest) {
            return false;
        }
        self.highest = Some(host_seq);
        self.bytes += u64::from(held.bytes);
        self.unsettled.insert(host_seq, held);
        true
    }

    /// Settles an event; `None` when it was not unsettled.
    pub(super) fn settle(&mut self, host_seq: HostSeq) -> Option<Held> {
        let held = self.unsettled.remove(&host_seq)?;
        self.bytes -= u64::from(held.bytes);
        Some(held)
    }

    /// All at or below is settled; `None` when there is no such seq yet.
    pub(super) fn mark(&self) -> Option<HostSeq> {
        match self.unsettled.first_key_value() {
            None => self.highest,
            Some((lowest, _)) => lowest.0.checked_sub(1).map(HostSeq).max(self.start),
        }
    }

    /// Highest seq received so far, settled or not.
    pub(super) fn highest(&self) -> Option<HostSeq> {
        self.highest
    }

    /// Unsettled events.
    pub(super) fn events(&self) -> usize {
        self.unsettled.len()
    }

    /// Bytes of the unsettled events.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that count against the limit over all hosts.
    pub(super) fn shared_bytes(&self) -> usize {
        let shared = self.unsettled.values().filter(|held| held.shared);
        shared.map(|held| held.bytes as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn held(bytes: u32) -> Held {
        Held { bytes, shared: true }
    }

    fn receive(water: &mut LowWater, seqs: &[u64]) {
        for seq in seqs {
            assert!(water.receive(HostSeq(*seq), held(10)), "{seq}");
        }
    }

    fn marks(water: &mut LowWater, settled: &[u64]) -> Vec<Option<u64>> {
        let settle = |seq: &u64| {
            assert!(water.settle(HostSeq(*seq)).is_some(), "{seq}");
            water.mark().map(|mark| mark.0)
        };
        settled.iter().map(settle).collect()
    }

    /// UP-9, I2: the mark moves only over what is settled, in whatever order that happens.
    #[test]
    fn the_mark_stays_below_the_lowest_unsettled_event() {
        let mut water = LowWater::starting_at(Some(HostSeq(4)));
        assert_eq!(water.mark(), Some(HostSeq(4)));
        receive(&mut water, &[5, 7, 10]);
        assert_eq!(water.mark(), Some(HostSeq(4)));
        assert_eq!(marks(&mut water, &[7, 5, 10]), [Some(4), Some(9), Some(10)]);
        assert_eq!((water.events(), water.bytes()), (0, 0));
    }

    /// UP-8: a new host has no mark before its first event is settled.
    #[test]
    fn a_new_host_has_no_mark() {
        let mut water = LowWater::default();
        assert_eq!(water.mark(), None);
        receive(&mut water, &[0, 1]);
        assert_eq!(water.mark(), None);
        assert_eq!(marks(&mut water, &[1, 0]), [None, Some(1)]);
    }

    /// UP-7: what does not increase is not noted, so that it cannot be settled twice.
    #[test]
    fn only_increasing_seqs_are_noted() {
        let mut water = LowWater::starting_at(Some(HostSeq(3)));
        assert!(!water.receive(HostSeq(3), held(1)) && !water.receive(HostSeq(1), held(1)));
        receive(&mut water, &[9]);
        assert!(!water.receive(HostSeq(9), held(1)));
        assert_eq!((water.events(), water.bytes()), (1, 10));
        assert_eq!(water.settle(HostSeq(8)), None);
        assert_eq!(water.settle(HostSeq(9)), Some(held(10)));
        assert_eq!(water.settle(HostSeq(9)), None);
    }

    /// The plainest possible statement of what a mark is.
    fn naive_mark(start: u64, received: &BTreeSet<u64>, unsettled: &BTreeSet<u64>) -> u64 {
        let lowest = unsettled.first().copied();
        let highest = received.last().copied().unwrap_or(start).max(start);
        (start..=highest)
            .take_while(|seq| lowest.is_none_or(|lowest| *seq < lowest))
            .last()
            .unwrap_or(start)
    }

    proptest! {
        /// UP-9: agrees with a naive model under any order of receiving and settling, never falls,
        /// and never passes an unsettled event.
        #[test]
        fn the_mark_agrees_with_a_naive_model(
            start in 0_u64..5,
            steps in prop::collection::vec((any::<bool>(), 0_u64..6, any::<prop::sample::Index>()), 0..120),
        ) {
            let mut water = LowWater::starting_at(Some(HostSeq(start)));
            let (mut received, mut unsettled) = (BTreeSet::new(), BTreeSet::new());
            let (mut next, mut last_mark) = (start, start);
            for (is_receive, step, pick) in steps {
                if is_receive {
                    next += step;
                    let new = next > start && !received.contains(&next);
                    prop_assert_eq!(water.receive(HostSeq(next), held(7)), new);
                    if new {
                        received.insert(next);
                        unsettled.insert(next);
                    }
                } else if !unsettled.is_empty() {
                    let seq = *pick.get(&unsettled.iter().copied().collect::<Vec<_>>());
                    unsettled.remove(&seq);
                    prop_assert_eq!(water.settle(HostSeq(seq)), Some(held(7)));
                }
                let mark = water.mark().map_or(0, |mark| mark.0);
                prop_assert_eq!(mark, naive_mark(start, &received, &unsettled));
                prop_assert!(mark >= last_mark);
                last_mark = mark;
                prop_assert_eq!(water.events(), unsettled.len());
                prop_assert_eq!(water.bytes(), 7 * unsettled.len() as u64);
            }
        }
    }
}
