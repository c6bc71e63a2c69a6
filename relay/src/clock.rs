//! Time, in one place, so that tests can hold and move it.
//!
//! Three readings, because a machine's clock may be set while the relay runs: the wall clock, for what
//! people and other machines read; the steady one, for spans of time, which no correction touches; and
//! the latest, for judging what claims to come from the future: a clock that was set back must not make
//! the whole network look ahead of its time.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What was known before may lie so far ahead of the wall clock; more says that it was wrong itself.
const BELIEVED_US: i64 = 24 * 3_600 * 1_000_000;

/// When this process first asked, by both clocks of the machine.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
static FIRST: LazyLock<(Instant, u64)> = LazyLock::new(|| (Instant::now(), machine_us()));

/// Gives the time; cheap to clone, and clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Set by a test; `None` for the machine's clock.
    manual: Option<Arc<Manual>>,
    /// Largest lead of the wall clock over the steady one, in microseconds.
    lead_us: Arc<AtomicI64>,
}

#[derive(Debug)]
struct Manual {
    steady_us: AtomicU64,
    /// Of the wall clock over the steady one.
    lead_us: AtomicI64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now_us` until [`Self::advance_us`] moves it.
    pub fn manual(now_us: u64) -> Self {
        let manual = Manual { steady_us: AtomicU64::new(now_us), lead_us: AtomicI64::new(0) };
        Self { manual: Some(Arc::new(manual)), lead_us: Arc::default() }
    }

    /// Lets time pass on a manual clock; the machine's clock ignores it.
    pub fn advance_us(&self, by_us: u64) {
        if let Some(manual) = &self.manual {
            manual.steady_us.fetch_add(by_us, Ordering::Relaxed);
        }
    }

    /// Sets a manual clock forward or back without any time passing, as a person or a time server
    /// does; the machine's clock ignores it.
    pub fn jump_us(&self, by_us: i64) {
        if let Some(manual) = &self.manual {
            manual.lead_us.fetch_add(by_us, Ordering::Relaxed);
        }
    }

    /// Microseconds since 1970, as the wall clock has it now.
    pub fn now_us(&self) -> u64 {
        self.manual.as_ref().map_or_else(machine_us, |manual| {
            let lead_us = manual.lead_us.load(Ordering::Relaxed);
            manual.steady_us.load(Ordering::Relaxed).saturating_add_signed(lead_us)
        })
    }

    /// Milliseconds since 1970, as the wall clock has it now.
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// Milliseconds for spans: near those since 1970, and never set. Means nothing to another process.
    pub fn steady_ms(&self) -> u64 {
        self.steady_us() / 1000
    }

    fn steady_us(&self) -> u64 {
        self.manual.as_ref().map_or_else(
            || {
                let (first, at_us) = *FIRST;
                at_us.saturating_add(micros(first.elapsed()))
            },
            |manual| manual.steady_us.load(Ordering::Relaxed),
        )
    }

    /// Microseconds since 1970 by the most advanced that the wall clock ever was, and the time since.
    pub fn latest_us(&self) -> u64 {
        let (now_us, steady_us) = (self.now_us(), self.steady_us());
        let lead_us = now_us.cast_signed().saturating_sub(steady_us.cast_signed());
        let before_us = self.lead_us.fetch_max(lead_us, Ordering::Relaxed);
        steady_us.saturating_add_signed(before_us.max(lead_us))
    }

    /// Takes note of a time that was true before this process began, as the event log has it: the
    /// clock may have been set back since.
    pub fn was_us(&self, past_us: u64) {
        let ahead_us = past_us.cast_signed().saturating_sub(self.now_us().cast_signed());
        if ahead_us <= BELIEVED_US {
            let lead_us = past_us.cast_signed().saturating_sub(self.steady_us().cast_signed());
            self.lead_us.fetch_max(lead_us, Ordering::Relaxed);
        }
    }

    /// The time as the wire writes it, `2026-01-01T00:00:00.000Z` (SYN-9).
    pub fn now_text(&self) -> String {
        let now = std::time::UNIX_EPOCH + Duration::from_micros(self.now_us());
        humantime::format_rfc3339_millis(now).to_string()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn machine_us() -> u64 {
    micros(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000_000_000;
    const HOUR: u64 = 3_600_000_000;

    /// VAL-8: spans do not see a clock that is set; what is latest follows it forward and never back.
    #[test]
    fn a_clock_that_is_set_moves_the_wall_and_no_span() {
        let clock = Clock::manual(NOON);
        assert_eq!((clock.now_us(), clock.latest_us()), (NOON, NOON));
        clock.jump_us(-HOUR.cast_signed());
        assert_eq!((clock.now_us(), clock.latest_us()), (NOON - HOUR, NOON));
        clock.advance_us(HOUR / 2);
        assert_eq!(clock.latest_us(), NOON + HOUR / 2, "it goes on with the time that passes");
        assert_eq!(clock.steady_ms(), (NOON + HOUR / 2) / 1000);
        clock.jump_us(3 * HOUR.cast_signed());
        assert_eq!(clock.latest_us(), NOON + 5 * HOUR / 2);
        assert_eq!(clock.steady_ms(), (NOON + HOUR / 2) / 1000);
    }

    /// VAL-8: what the log says of the past counts, unless the clock must have been wrong then.
    #[test]
    fn a_time_before_the_start_is_believed_within_a_day() {
        let clock = Clock::manual(NOON);
        clock.was_us(NOON + 25 * HOUR);
        assert_eq!(clock.latest_us(), NOON);
        clock.was_us(NOON - HOUR);
        assert_eq!(clock.latest_us(), NOON);
        clock.was_us(NOON + HOUR);
        assert_eq!(clock.latest_us(), NOON + HOUR);
    }

    /// The machine's three readings agree while nobody sets its clock.
    #[test]
    fn the_clock_of_the_machine_goes() {
        let clock = Clock::system();
        let (now, latest) = (clock.now_us(), clock.latest_us());
        assert!(latest >= now && latest - now < HOUR, "{now} {latest}");
        assert!(clock.steady_ms().abs_diff(now / 1000) < HOUR / 1000);
    }
}
