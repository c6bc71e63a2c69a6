//! How fast events are sent.

use std::time::Duration;

/// How fast events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the relay takes them.
    Fast,
    /// At a rate over all hosts.
    PerSecond {
        /// Events per second.
        events: u32,
        /// How much of each second's events comes in one burst at its start.
        burst_percent: u32,
    },
}

impl Pace {
    /// An even rate.
    pub const fn per_second(events: u32) -> Self {
        Self::PerSecond { events, burst_percent: 0 }
    }

    /// How many events are due after this time; `None` for as many as can be sent.
    pub(super) fn due(self, elapsed: Duration) -> Option<u64> {
        let Self::PerSecond { events, burst_percent } = self else { return None };
        let (events, burst) = (u64::from(events), u64::from(burst_percent.min(100)));
        let at_once = events * burst / 100;
        let spread = (events - at_once) * u64::from(elapsed.subsec_micros()) / 1_000_000;
        Some(elapsed.as_secs() * events + at_once + spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A burst moves events to the start of their second and changes nothing in their number.
    #[test]
    fn bursts_keep_the_rate() {
        let at = |pace: Pace, millis| pace.due(Duration::from_millis(millis)).unwrap();
        let (even, burst) =
            (Pace::per_second(1_000), Pace::PerSecond { events: 1_000, burst_percent: 80 });
        assert_eq!([0, 500, 1_000, 2_500].map(|millis| at(even, millis)), [0, 500, 1_000, 2_500]);
        assert_eq!([0, 500, 999, 1_000].map(|millis| at(burst, millis)), [800, 900, 999, 1_800]);
        assert_eq!(Pace::Fast.due(Duration::from_secs(9)), None);
    }
}
