//! A steady rate with a burst, first come, first served. Pure: the caller brings the time.

use std::time::Duration;

use tokio::time::Instant;

/// Hands out start times. Keeps one number however long the queue is: the time at which a request
/// would start if all before it were evenly spaced (generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// How far ahead of its even spacing a request may start.
    tolerance: Duration,
    next: Instant,
}

impl Rate {
    /// `per_second` on average, the first `burst` at once; zeros count as one.
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, tolerance: interval * (burst.max(1) - 1), next: now }
    }

    /// Takes the next turn: how long to wait for it. `None` when that is longer than `wait_max`;
    /// then nothing is taken.
    pub(super) fn take(&mut self, now: Instant, wait_max: Duration) -> Option<Duration> {
        let next = self.next.max(now);
        let wait = next.saturating_duration_since(now).saturating_sub(self.tolerance);
        if wait > wait_max {
            return None;
        }
        self.next = next + self.interval;
        Some(wait)
    }

    /// Gives no turn for a while, because the other side asked for it.
    pub(super) fn pause(&mut self, now: Instant, pause: Duration) {
        self.next = self.next.max(now + pause + self.tolerance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// RES-6, PLC-3: a burst at once, then evenly spaced, and the burst comes back with time.
    #[test]
    fn turns_come_in_a_burst_and_then_evenly() {
        let start = Instant::now();
        let mut rate = Rate::new(10, 3, start);
        let rows = [(0, 0), (0, 0), (0, 0), (0, 100), (0, 200), (50, 250), (1_000, 0), (1_000, 0)];
        for (at, wait) in rows {
            assert_eq!(rate.take(start + ms(at), LONG), Some(ms(wait)), "at {at} ms");
        }
    }

    /// RES-6: who would wait too long takes no turn from the others.
    #[test]
    fn a_turn_too_far_away_is_not_taken() {
        let start = Instant::now();
        let mut rate = Rate::new(1, 1, start);
        assert_eq!(rate.take(start, ms(0)), Some(ms(0)));
        assert_eq!(rate.take(start, ms(999)), None);
        assert_eq!(rate.take(start, ms(999)), None);
        assert_eq!(rate.take(start, ms(1_000)), Some(ms(1_000)));
    }

    /// PLC-3: after a 429 nobody asks before the time is over, and there is no burst then.
    #[test]
    fn a_pause_holds_everybody_back() {
        let start = Instant::now();
        let mut rate = Rate::new(10, 5, start);
        rate.pause(start, ms(3_000));
        assert_eq!(rate.take(start, ms(2_999)), None);
        assert_eq!(rate.take(start + ms(1_000), LONG), Some(ms(2_000)));
        assert_eq!(rate.take(start + ms(3_000), LONG), Some(ms(100)));
    }

    /// In any second no more than rate plus burst start, whatever the pattern of calls.
    #[test]
    fn no_window_holds_more_than_rate_plus_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(20, 5, start);
        let mut starts = Vec::new();
        for call in 0..500_u64 {
            let at = start + ms(call * 37 % 400 + call * 3);
            if let Some(wait) = rate.take(at, ms(300)) {
                starts.push(at + wait);
            }
        }
        starts.sort();
        assert!(starts.len() > 30, "the pattern leaves room for turns");
        for first in &starts {
            let within = starts.iter().filter(|s| **s >= *first && **s < *first + ms(1_000));
            assert!(within.count() <= 25);
        }
    }
}
