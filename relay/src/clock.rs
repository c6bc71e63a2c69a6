//! Time, in one place, so that tests can hold and move it.
//!
//! Three readings, because a machine's clock may be set while the relay runs: the wall clock, for what
//! people and other machines read; the steady one, for spans of time, which no correction touches; and
//! the latest, for judging what claims to come from the future: a clock that was set back must not make
//! the whole network look ahead of its time.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

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
    /// How much faster than the machine's clock it goes, counted from when this process first asked.
    speed: Option<NonZeroU32>,
    /// Largest lead of the wall clock over the steady one, in microseconds.
    lead_us: Arc<AtomicI64>,
}

#[derive(Debug)]
struct Manual {
    steady_us: AtomicU64,
    /// Of the wall clock over the steady one.
    lead_us: AtomicI64,
    /// Told when time passed.
    moved: Notify,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now_us` until [`Self::advance_us`] moves it.
    pub fn manual(now_us: u64) -> Self {
        let steady_us = AtomicU64::new(now_us);
        let manual = Manual { steady_us, lead_us: AtomicI64::new(0), moved: Notify::new() };
        Self { manual: Some(Arc::new(manual)), ..Self::default() }
    }

    /// A clock that goes so many times as fast as the machine's: an hour of policy in a minute of a test.
    pub fn fast(factor: NonZeroU32) -> Self {
        Self { speed: Some(factor), ..Self::default() }
    }

    /// Waits until a span has passed by this clock. Beside a manual clock, which may stand still for
    /// ever, the machine's counts too: whichever is the first.
    ///
    /// Cancel safety: nothing is lost.
    pub async fn sleep(&self, span: Duration) {
        let Some(manual) = &self.manual else {
            let factor = self.speed.map_or(1, NonZeroU32::get);
            return tokio::time::sleep(span / factor).await;
        };
        let until_us = manual.steady_us.load(Ordering::Relaxed).saturating_add(micros(span));
        let by_machine = tokio::time::sleep(span);
        tokio::pin!(by_machine);
        loop {
            let moved = manual.moved.notified();
            tokio::pin!(moved);
            // Listens before it looks, so that no time passes unseen.
            moved.as_mut().enable();
            if manual.steady_us.load(Ordering::Relaxed) >= until_us {
                return;
            }
            tokio::select! {
                () = moved => {}
                () = &mut by_machine => return,
            }
        }
    }

    /// Lets time pass on a manual clock; the machine's clock ignores it.
    pub fn advance_us(&self, by_us: u64) {
        if let Some(manual) = &self.manual {
            manual.steady_us.fetch_add(by_us, Ordering::Relaxed);
            manual.moved.notify_waiters();
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
        let Some(manual) = &self.manual else {
            return if self.speed.is_some() { self.steady_us() } else { machine_us() };
        };
        let lead_us = manual.lead_us.load(Ordering::Relaxed);
        manual.steady_us.load(Ordering::Relaxed).saturating_add_signed(lead_us)
    }

    /// Milliseconds since 1970, as the wall clock has it now.
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// Milliseconds for spans: near those since 1970, and never set. Means nothing to another process.
    pub fn steady_ms(&self) -> u64 {
        self.steady_us() / 1000
    }

    /// Microseconds for spans; as [`Self::steady_ms`].
    pub fn steady_us(&self) -> u64 {
        self.manual.as_ref().map_or_else(
            || {
                let (first, at_us) = *FIRST;
                let factor = u64::from(self.speed.map_or(1, NonZeroU32::get));
                at_us.saturating_add(micros(first.elapsed()).saturating_mul(factor))
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

    /// HOST-9: policy can be tested in less time than it takes, and a sleeper wakes when its time has
    /// come by the clock that it was given.
    #[tokio::test]
    async fn sleepers_wake_by_the_clock_that_they_were_given() {
        let fast = Clock::fast(NonZeroU32::new(3_600).unwrap());
        let (before_us, began) = (fast.now_us(), fast.steady_ms());
        fast.sleep(Duration::from_mins(1)).await;
        let slept_ms = fast.steady_ms() - began;
        assert!((60_000..3_600_000).contains(&slept_ms), "{slept_ms}");
        assert!(fast.now_us() - before_us >= 60_000_000);

        let manual = Clock::manual(NOON);
        let sleeper = manual.sleep(Duration::from_hours(2));
        let passing = async {
            for _ in 0..2 {
                tokio::task::yield_now().await;
                manual.advance_us(HOUR);
            }
        };
        tokio::join!(sleeper, passing);
        assert_eq!(manual.now_us(), NOON + 2 * HOUR);
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
