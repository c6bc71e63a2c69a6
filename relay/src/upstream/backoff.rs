//! When to try a host again (UP-10). Pure: the caller brings time and chance.

use std::time::Duration;

/// Longest wait while the host counts as active.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// A stream that lived so long was healthy: what came before is forgotten.
pub(super) const HEALTHY: Duration = Duration::from_mins(1);

/// Failures in a row, or time spent failing, after which the host counts as offline.
const FAILURES_MAX: u32 = 15;
const FAILING_MAX: Duration = Duration::from_hours(1);

/// Time between two probes of an offline host, for ever.
const PROBE_MIN: Duration = Duration::from_mins(30);
const PROBE_MAX: Duration = Duration::from_hours(1);

/// The failures of one host since it was last healthy.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    failures: u32,
    failing_since_ms: Option<u64>,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    /// Time until the next try.
    pub(super) wait: Duration,
    /// Number of the failure, from 1.
    pub(super) attempt: u32,
    /// Whether the host counts as offline.
    pub(super) offline: bool,
}

impl Backoff {
    /// No failure so far; after the first one the wait is about `first`.
    pub(super) fn new(first: Duration) -> Self {
        Self { first, failures: 0, failing_since_ms: None }
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.first);
    }

    /// Notes a failed dial or an ended stream.
    ///
    /// * `now_ms` – by a clock that nobody sets
    /// * `healthy` – how long the stream had been open, zero when it was never
    /// * `chance` – uniform in 0..1; spreads the waits so that hosts that fail together do not come
    ///   back together
    pub(super) fn failed(&mut self, now_ms: u64, healthy: Duration, chance: f64) -> Pause {
        if healthy >= HEALTHY {
            self.reset();
        }
        self.failures = self.failures.saturating_add(1);
        let since_ms = *self.failing_since_ms.get_or_insert(now_ms);
        let failing = Duration::from_millis(now_ms.saturating_sub(since_ms));
        let offline = self.failures >= FAILURES_MAX || failing >= FAILING_MAX;
        let wait = if offline {
            PROBE_MIN + PROBE_MAX.saturating_sub(PROBE_MIN).mul_f64(chance)
        } else {
            let doubled = 2_u32.saturating_pow(self.failures - 1);
            let full = self.first.saturating_mul(doubled).min(WAIT_MAX);
            full / 2 + (full / 2).mul_f64(chance)
        };
        Pause { wait, attempt: self.failures, offline }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits(failures: usize, chance: f64) -> Vec<(u64, bool)> {
        let mut backoff = Backoff::new(SECOND);
        let pause = |_| backoff.failed(1, Duration::ZERO, chance);
        (0..failures).map(pause).map(|pause| (pause.wait.as_secs(), pause.offline)).collect()
    }

    /// UP-10: 1 s doubling to 5 min; after 15 failures offline, probed every 30 to 60 min for ever.
    #[test]
    fn waits_double_up_to_five_minutes_and_then_probing_never_ends() {
        let longest = waits(40, 1.0);
        let seconds: Vec<u64> = longest.iter().map(|(wait, _)| *wait).collect();
        assert_eq!(
            seconds.get(..15),
            Some(&[1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300, 3600][..])
        );
        assert!(longest.iter().take(14).all(|(_, offline)| !offline));
        assert!(longest.iter().skip(14).all(|pause| *pause == (3600, true)));
        let shortest = waits(40, 0.0);
        assert_eq!(shortest.get(9), Some(&(150, false)));
        assert!(shortest.iter().skip(14).all(|pause| *pause == (1800, true)));
    }

    /// UP-10: an hour of failures means offline, however few they were.
    #[test]
    fn an_hour_of_failures_means_offline() {
        let mut backoff = Backoff::new(SECOND);
        assert!(!backoff.failed(1_000, Duration::ZERO, 0.5).offline);
        assert!(!backoff.failed(3_600_000, Duration::ZERO, 0.5).offline);
        assert!(backoff.failed(3_601_000, Duration::ZERO, 0.5).offline);
    }

    /// UP-10: 60 s of a healthy stream end the row of failures; 59 s do not (a host that closes every
    /// stream at once must not be dialled in a tight loop).
    #[test]
    fn only_a_healthy_stream_ends_the_row_of_failures() {
        let mut backoff = Backoff::new(SECOND);
        for attempt in 1..=5 {
            assert_eq!(backoff.failed(1, Duration::from_secs(59), 0.5).attempt, attempt);
        }
        assert_eq!(backoff.failed(1, HEALTHY, 0.5).attempt, 1);
        backoff.failed(1, Duration::ZERO, 0.5);
        backoff.reset();
        assert_eq!(backoff.failed(1, Duration::ZERO, 0.5).attempt, 1);
    }
}
