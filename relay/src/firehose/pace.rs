//! When a consumer is alive and fast enough (WS-7, DESIGN 10.12). Pure: time is given.

use std::time::Duration;

use tokio::time::Instant;

/// Whether a consumer takes its data.
///
/// While data waits, it must take `bytes_min` within every `within`. Lag alone never counts: a
/// consumer that is hours behind and reads at any such pace stays.
#[derive(Debug)]
pub(super) struct Progress {
    within: Duration,
    bytes_min: u64,
    /// When the present span began and how many bytes had been taken by then.
    span: Option<(Instant, u64)>,
}

impl Progress {
    pub(super) fn new(within: Duration, bytes_min: u64) -> Self {
        Self { within, bytes_min, span: None }
    }

    /// Data waits; `taken` is all that the socket ever took. Gives whether it is too slow by now.
    pub(super) fn waiting(&mut self, now: Instant, taken: u64) -> bool {
        let (since, before) = *self.span.get_or_insert((now, taken));
        if now.duration_since(since) < self.within {
            return false;
        }
        if taken.saturating_sub(before) < self.bytes_min {
            return true;
        }
        self.span = Some((now, taken));
        false
    }

    /// When [`Self::waiting`] must be asked again at the latest.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        self.span.map_or(now, |(since, _)| since) + self.within
    }

    /// Nothing waits: all was taken and the log has no more.
    pub(super) fn caught_up(&mut self) {
        self.span = None;
    }
}

/// What a quiet connection needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing before the deadline.
    Wait,
    /// Ask whether it is there.
    Ping,
    /// It did not answer.
    GiveUp,
}

/// Whether a consumer is there. Asked only while nothing waits to be sent: a ping behind data could
/// not be answered in time by a slow consumer that is nevertheless well.
#[derive(Debug)]
pub(super) struct Pulse {
    ping_every: Duration,
    pong_within: Duration,
    heard: Instant,
    pinged: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(ping_every: Duration, pong_within: Duration, now: Instant) -> Self {
        Self { ping_every, pong_within, heard: now, pinged: None }
    }

    /// Any frame of the consumer is a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// The socket could not take everything at once: an unanswered ping gets its full time again,
    /// because the consumer finds it only behind that data.
    pub(super) fn held_up(&mut self, now: Instant) {
        self.pinged = self.pinged.map(|_| now);
    }

    pub(super) fn deadline(&self) -> Instant {
        self.pinged.map_or_else(|| self.heard + self.ping_every, |at| at + self.pong_within)
    }

    /// What to do now; after [`Care::Ping`] a ping must be sent.
    pub(super) fn check(&mut self, now: Instant) -> Care {
        if now < self.deadline() {
            return Care::Wait;
        }
        if self.pinged.is_some() {
            return Care::GiveUp;
        }
        self.pinged = Some(now);
        Care::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// DESIGN 10.12: just under the pace for one span is too slow, just at it never is.
    #[test]
    fn only_a_span_below_the_pace_is_too_slow() {
        let start = Instant::now();
        let mut steady = Progress::new(60 * SECOND, 1000);
        for minute in 0..100_u32 {
            assert!(!steady.waiting(start + minute * 60 * SECOND, u64::from(minute) * 1000));
        }
        let mut slow = Progress::new(60 * SECOND, 1000);
        assert!(!slow.waiting(start, 500));
        assert!(!slow.waiting(start + 59 * SECOND, 500));
        assert!(!slow.waiting(start + 60 * SECOND, 1500));
        assert!(!slow.waiting(start + 119 * SECOND, 1500));
        assert!(slow.waiting(start + 120 * SECOND, 2499));
    }

    /// A consumer that has everything is not measured, however long the log stays quiet.
    #[test]
    fn a_consumer_at_the_head_is_never_too_slow() {
        let start = Instant::now();
        let mut progress = Progress::new(60 * SECOND, 1000);
        assert!(!progress.waiting(start, 0));
        progress.caught_up();
        assert!(!progress.waiting(start + 3600 * SECOND, 10));
        assert_eq!(progress.deadline(start), start + 3660 * SECOND);
        assert!(progress.waiting(start + 3660 * SECOND, 10), "control: from then on it is");
    }

    /// WS-7.
    #[test]
    fn a_quiet_consumer_is_pinged_and_given_up_without_an_answer() {
        let start = Instant::now();
        let mut pulse = Pulse::new(30 * SECOND, 60 * SECOND, start);
        assert_eq!(pulse.check(start + 29 * SECOND), Care::Wait);
        assert_eq!(pulse.check(start + 30 * SECOND), Care::Ping);
        assert_eq!(pulse.check(start + 89 * SECOND), Care::Wait);
        pulse.heard(start + 89 * SECOND);
        assert_eq!(pulse.check(start + 118 * SECOND), Care::Wait);
        assert_eq!(pulse.check(start + 119 * SECOND), Care::Ping);
        assert_eq!(pulse.check(start + 179 * SECOND), Care::GiveUp);
    }

    /// A ping that stands behind data gets its time after the data went.
    #[test]
    fn a_ping_behind_data_is_not_held_against_the_consumer() {
        let start = Instant::now();
        let mut pulse = Pulse::new(30 * SECOND, 60 * SECOND, start);
        assert_eq!(pulse.check(start + 30 * SECOND), Care::Ping);
        pulse.held_up(start + 80 * SECOND);
        assert_eq!(pulse.check(start + 139 * SECOND), Care::Wait);
        assert_eq!(pulse.check(start + 140 * SECOND), Care::GiveUp);
    }
}
