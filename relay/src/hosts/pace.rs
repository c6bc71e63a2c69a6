//! How fast the events of one host are taken (HOST-7, HOST-9, VAL-14). Pure: the caller brings time.
//!
//! One level per span: each event raises it by one, and it sinks by the limit over the span. An event
//! that would raise it above the limit waits. So a host may send a span's number at once and then as
//! much as sinks; over any span it is at most twice its limit.

use std::time::Duration;

use super::limits::Limits;

/// How long a host may be slowed down by its limit of an hour or a day before it is disconnected.
const DELAYED_US_MAX: u64 = 60_000_000;

/// A level below this part of the limit ends the delay.
const CALM: f64 = 0.9;

/// A host that was disconnected is read again when its level has sunk to this part of the limit, and
/// after an hour in any case, far inside of the day for which hosts keep their events.
const RESUME: f64 = 0.75;
const RESUME_US_MAX: f64 = 3_600_000_000.0;

/// How long one reading of the limits counts: they depend on settings that change at run time.
const LIMITS_US: u64 = 1_000_000;

/// Part of a limit above which an operator wants to know (HOST-8).
pub(super) const NEAR: f64 = 0.8;

/// Which limit holds a host up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Events per second; it only slows a host down.
    Second,
    /// Events per hour.
    Hour,
    /// Events per day.
    Day,
}

impl Span {
    const ALL: [Self; 3] = [Self::Second, Self::Hour, Self::Day];

    /// The word for people.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// In microseconds.
    fn us(self) -> f64 {
        match self {
            Self::Second => 1e6,
            Self::Hour => 3.6e9,
            Self::Day => 8.64e10,
        }
    }
}

/// What to do with the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Take it; it is counted.
    Now,
    /// Ask again after this time.
    After(Duration),
    /// Do not read the host for this time.
    Rest(Span, Duration),
}

/// The levels of one host.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the levels were brought up to date; 0 before the first event.
    at_us: u64,
    used: [f64; 3],
    /// The limits, and until when this reading of them counts.
    limits: Option<([f64; 3], u64)>,
    /// Since when an hour's or a day's limit slows it down.
    delayed_since_us: Option<u64>,
}

impl Pace {
    /// Counts one event if it may come now.
    ///
    /// * `now_us` – of a clock that nobody sets
    /// * `limits` – asked at most once a second
    pub(super) fn turn(&mut self, now_us: u64, limits: impl FnOnce() -> Limits) -> Turn {
        let limits = self.brought_to(now_us, limits);
        let mut slowest = (0.0, Span::Second);
        let mut is_calm = true;
        for (span, (used, limit)) in Span::ALL.into_iter().zip(self.used.iter().zip(limits)) {
            let wait_us = (used + 1.0 - limit) * span.us() / limit;
            if wait_us > slowest.0 {
                slowest = (wait_us, span);
            }
            is_calm &= span == Span::Second || *used < limit * CALM;
        }
        if is_calm {
            self.delayed_since_us = None;
        }
        let (wait_us, span) = slowest;
        if wait_us <= 0.0 {
            for used in &mut self.used {
                *used += 1.0;
            }
            return Turn::Now;
        }
        if span != Span::Second {
            let since_us = *self.delayed_since_us.get_or_insert(now_us);
            let left_us = DELAYED_US_MAX.saturating_sub(now_us.saturating_sub(since_us));
            if left_us == 0 {
                self.delayed_since_us = None;
                return Turn::Rest(span, self.rest(limits));
            }
            return Turn::After(duration(wait_us.ceil().min(float(left_us))));
        }
        // Never less than the clock can show: who waits for nothing would ask again and again.
        Turn::After(duration(wait_us.ceil()))
    }

    /// The limits are others now.
    pub(super) fn forget_limits(&mut self) {
        self.limits = None;
    }

    /// Takes one event out of the levels of an hour and a day again. That of a second stays: it keeps
    /// the relay itself from too much work.
    pub(super) fn give_back(&mut self) {
        for (used, span) in self.used.iter_mut().zip(Span::ALL) {
            if span != Span::Second {
                *used = (*used - 1.0).max(0.0);
            }
        }
    }

    /// How long a host that was disconnected still has to wait; zero when it may be read again.
    pub(super) fn resume_in(&mut self, now_us: u64, limits: Limits) -> Duration {
        self.forget_limits();
        let limits = self.brought_to(now_us, || limits);
        self.rest(limits)
    }

    fn rest(&self, limits: [f64; 3]) -> Duration {
        let waits = Span::ALL
            .into_iter()
            .zip(self.used.iter().zip(limits))
            .map(|(span, (used, limit))| (used - limit * RESUME) * span.us() / limit);
        duration(waits.fold(0.0, f64::max).min(RESUME_US_MAX))
    }

    /// Which part of its limits the host uses, per second, hour and day.
    pub(super) fn shares(&mut self, now_us: u64, limits: Limits) -> [f64; 3] {
        let limits = self.brought_to(now_us, || limits);
        let mut shares = self.used;
        for (share, limit) in shares.iter_mut().zip(limits) {
            *share /= limit;
        }
        shares
    }

    fn brought_to(&mut self, now_us: u64, limits: impl FnOnce() -> Limits) -> [f64; 3] {
        let limits = match self.limits {
            Some((limits, until_us)) if now_us < until_us => limits,
            _ => {
                let Limits { per_second, per_hour, per_day, .. } = limits();
                let limits = [per_second, per_hour, per_day].map(|limit| float(limit.max(1)));
                self.limits = Some((limits, now_us.saturating_add(LIMITS_US)));
                limits
            }
        };
        let passed_us = float(now_us.saturating_sub(self.at_us));
        self.at_us = self.at_us.max(now_us);
        for ((used, limit), span) in self.used.iter_mut().zip(limits).zip(Span::ALL) {
            *used = (*used - passed_us * limit / span.us()).max(0.0);
        }
        limits
    }
}

/// Exact up to 2^52, which is a hundred years of microseconds; more is as good as that.
#[expect(clippy::cast_precision_loss, reason = "cut to what a float holds exactly")]
fn float(number: u64) -> f64 {
    number.min(1 << 52) as f64
}

fn duration(us: f64) -> Duration {
    Duration::try_from_secs_f64(us.max(0.0) / 1e6).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000_000_000;
    const SECOND: u64 = 1_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const LIMITS: Limits =
        Limits { accounts: 100, per_second: 50, per_hour: 2_600, per_day: 21_000 };

    /// Sends as fast as it is let, up to a time; gives how many events passed and what ended it.
    fn send(pace: &mut Pace, from_us: u64, until_us: u64) -> (u64, Option<(Span, Duration, u64)>) {
        let (mut now_us, mut passed) = (from_us, 0);
        while now_us < until_us {
            match pace.turn(now_us, || LIMITS) {
                Turn::Now => passed += 1,
                Turn::After(wait) => now_us += u64::try_from(wait.as_micros()).unwrap().max(1),
                Turn::Rest(span, rest) => return (passed, Some((span, rest, now_us))),
            }
        }
        (passed, None)
    }

    /// HOST-7: fifty at once, then fifty a second.
    #[test]
    fn a_second_lets_its_number_through_and_then_its_rate() {
        let mut pace = Pace::default();
        assert_eq!(send(&mut pace, START, START + 1), (50, None));
        assert_eq!(pace.turn(START, || LIMITS), Turn::After(Duration::from_millis(20)));
        let (passed, end) = send(&mut pace, START, START + 10 * SECOND);
        assert!(end.is_none() && (495..=500).contains(&passed), "{passed} {end:?}");
        // After silence the whole number again, and no more than that.
        assert_eq!(send(&mut pace, START + HOUR, START + HOUR + 1).0, 50);
    }

    /// HOST-7, SEC-5: however the numbers come out, a host waits for a time that a clock can show, and
    /// has its turn soon after it: a wait of nothing would be a loop that does nothing else.
    #[test]
    fn a_wait_is_never_shorter_than_the_clock_can_show() {
        for per_second in [3, 7, 11, 977] {
            let limits = Limits { per_second, ..LIMITS };
            let (mut pace, mut now_us, mut waits) = (Pace::default(), START, 0);
            for _ in 0..2_000 {
                match pace.turn(now_us, || limits) {
                    Turn::Now => waits = 0,
                    Turn::After(wait) => {
                        assert!(wait >= Duration::from_micros(1), "{wait:?}");
                        now_us += u64::try_from(wait.as_micros()).unwrap();
                        waits += 1;
                    }
                    Turn::Rest(..) => now_us += HOUR,
                }
                assert!(waits < 3, "{per_second} in a second: {waits} waits for one turn");
            }
        }
    }

    /// HOST-9: over the hour's limit a host is slowed down for a minute, then left alone until a
    /// quarter of the hour's number is free.
    #[test]
    fn over_the_hours_limit_a_host_is_slowed_down_and_then_left_alone() {
        let mut pace = Pace::default();
        let (passed, end) = send(&mut pace, START, START + HOUR);
        let (span, rest, at_us) = end.unwrap();
        assert_eq!(span, Span::Hour);
        // 2,600 at 50 a second take 52 s, in which 37 sink; then a minute at 0.72 a second.
        assert!((2_675..2_690).contains(&passed), "{passed}");
        assert!((110 * SECOND..116 * SECOND).contains(&(at_us - START)), "{}", at_us - START);
        assert!((895..=901).contains(&rest.as_secs()), "{rest:?}");
        assert!(pace.resume_in(at_us + 10 * SECOND, LIMITS) > Duration::from_secs(880));
        let later_us = at_us + 901 * SECOND;
        assert_eq!(pace.resume_in(later_us, LIMITS), Duration::ZERO);
        let (passed, _) = send(&mut pace, later_us, later_us + HOUR);
        assert!((650..800).contains(&passed), "a quarter, and what sinks meanwhile: {passed}");
    }

    /// HOST-9: a limit so small that one event takes more than a minute holds no connection open for
    /// longer than that minute.
    #[test]
    fn a_host_with_a_small_limit_is_left_alone_after_a_minute_too() {
        let limits = Limits { per_day: 20, ..LIMITS };
        let (mut pace, mut now_us, mut passed) = (Pace::default(), START, 0);
        let span = loop {
            match pace.turn(now_us, || limits) {
                Turn::Now => passed += 1,
                Turn::After(wait) => now_us += u64::try_from(wait.as_micros()).unwrap(),
                Turn::Rest(span, _) => break span,
            }
        };
        assert_eq!((span, passed, now_us - START), (Span::Day, 20, 60 * SECOND));
    }

    /// HOST-9: no pause is longer than an hour, so that a host is read well inside its own retention.
    #[test]
    fn a_day_over_the_limit_is_a_day_of_short_pauses() {
        let mut pace = Pace::default();
        let (mut now_us, mut passed, mut pauses) = (START, 0, Vec::new());
        let until_us = START + 48 * HOUR;
        while now_us < until_us {
            let (some, end) = send(&mut pace, now_us, until_us);
            passed += some;
            let Some((_, rest, at_us)) = end else { break };
            pauses.push(rest.as_secs());
            now_us = at_us + u64::try_from(rest.as_micros()).unwrap();
        }
        assert!(pauses.iter().all(|pause| *pause <= 3_600), "{pauses:?}");
        // The first day's number at once, then what sinks in two days.
        assert!((55_000..=63_000).contains(&passed), "{passed}");
    }

    /// HOST-9: a limit per second only slows down, however long: so a large host catches up.
    #[test]
    fn a_host_that_catches_up_is_slowed_down_and_not_sent_away() {
        let trusted = Limits { per_second: 5_000, per_hour: 50_000_000, ..LIMITS };
        let trusted = Limits { per_day: 500_000_000, ..trusted };
        let mut pace = Pace::default();
        let (mut now_us, mut passed) = (START, 0_u64);
        while now_us < START + 300 * SECOND {
            match pace.turn(now_us, || trusted) {
                Turn::Now => passed += 1,
                Turn::After(wait) => now_us += u64::try_from(wait.as_micros()).unwrap().max(1),
                Turn::Rest(..) => panic!("sent away after {passed}"),
            }
        }
        assert!((1_500_000..1_510_000).contains(&passed), "{passed}");
    }

    /// HOST-12: events that came to nothing for their account's sake use up the host's second alone.
    #[test]
    fn events_given_back_leave_the_hour_to_others() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            assert_eq!(pace.turn(START, || LIMITS), Turn::Now);
            pace.give_back();
        }
        assert_eq!(pace.turn(START, || LIMITS), Turn::After(Duration::from_millis(20)));
        let [_, hour, day] = pace.shares(START, LIMITS);
        assert!(hour.max(day) < 0.001, "{hour} {day}");
    }

    /// HOST-7: a limit that is raised lets a host go on at once; a clock that stands still or goes back
    /// gives nothing away.
    #[test]
    fn raised_limits_count_at_once() {
        let mut pace = Pace::default();
        let (_, end) = send(&mut pace, START, START + HOUR);
        let (_, _, at_us) = end.unwrap();
        let raised = Limits { per_hour: 26_000, ..LIMITS };
        let mut other = Pace::default();
        assert_eq!(other.turn(at_us, || raised), Turn::Now);
        let lowered = Limits { per_second: 1, ..LIMITS };
        assert_eq!(other.turn(at_us, || lowered), Turn::Now, "one reading counts for a second");
        other.forget_limits();
        assert!(matches!(other.turn(at_us, || lowered), Turn::After(_)));
        assert_eq!(pace.resume_in(at_us, raised), Duration::ZERO);
        assert_eq!(pace.turn(at_us, || raised), Turn::Now);
        assert!(pace.resume_in(START, LIMITS) > Duration::ZERO);
        let [_, hour, day] = pace.shares(at_us, raised);
        assert!((0.09..0.11).contains(&hour) && (0.12..0.13).contains(&day), "{hour} {day}");
    }
}
