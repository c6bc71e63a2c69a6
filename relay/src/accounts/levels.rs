//! How much of its limits one account has used, and how often its commits did not follow (HOST-12, VAL-20).
//!
//! Pure: time is a parameter, ms of the steady clock. In memory only: a start begins anew, which at
//! worst gives an account its limits once more.

use super::limits::{Bucket, Rate};
use crate::domain::AccountLimits;

/// Seconds' worth of events that may come at once.
const BURST_SECONDS: u64 = 5;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// VAL-20: so many of the last commits are looked at, and more than half of them are too many.
const WATCHED: u32 = 100;
const WATCHED_MASK: u128 = (1 << WATCHED) - 1;

/// Whether the next event of an account may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountTurn {
    /// It may.
    Now,
    /// Not before this time has passed, ms.
    After(u64),
    /// Not for long: the limit, in words as `5000 events per hour`.
    Over(Exceeded),
}

/// A limit that an account went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// So many.
    pub limit: u64,
    /// In this span.
    pub span: &'static str,
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events per {}", self.limit, self.span)
    }
}

/// What an account used of its limits of a second, an hour and a day.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    second: Bucket,
    hour: Bucket,
    day: Bucket,
}

impl Levels {
    /// Whether one more event fits; it is not counted.
    pub fn turn(&self, limits: AccountLimits, now_ms: u64) -> AccountTurn {
        let spans = [
            (self.hour, limits.per_hour, hour(limits), "hour"),
            (self.day, limits.per_day, day(limits), "day"),
        ];
        for (bucket, limit, rate, span) in spans {
            if limit > 0 && !bucket.has(rate, now_ms) {
                return AccountTurn::Over(Exceeded { limit, span });
            }
        }
        if limits.per_second == 0 {
            return AccountTurn::Now;
        }
        match self.second.wait_ms(second(limits), now_ms) {
            0 => AccountTurn::Now,
            wait_ms => AccountTurn::After(wait_ms),
        }
    }

    /// Counts one event.
    pub fn take(&mut self, limits: AccountLimits, now_ms: u64) {
        if limits.per_second > 0 {
            self.second.take(second(limits), now_ms);
        }
        if limits.per_hour > 0 {
            self.hour.take(hour(limits), now_ms);
        }
        if limits.per_day > 0 {
            self.day.take(day(limits), now_ms);
        }
    }

    /// Events counted in the levels of an hour and a day as they are now.
    pub fn used(&self, limits: AccountLimits, now_ms: u64) -> [u64; 2] {
        let used = |bucket: Bucket, limit: u64, rate: Rate| {
            if limit == 0 { 0 } else { bucket.used(rate, now_ms) }
        };
        [
            used(self.hour, limits.per_hour, hour(limits)),
            used(self.day, limits.per_day, day(limits)),
        ]
    }

    /// Time until a quarter of the limits of an hour and of a day is free, ms.
    pub fn calm_in_ms(&self, limits: AccountLimits, now_ms: u64) -> u64 {
        let spans =
            [(self.hour, limits.per_hour, hour(limits)), (self.day, limits.per_day, day(limits))];
        let waits =
            spans.into_iter().filter(|(_, limit, _)| *limit > 0).map(|(bucket, limit, rate)| {
                let free = limit.saturating_sub(limit / 4);
                bucket.used(rate, now_ms).saturating_sub(free).saturating_mul(rate.period_ms)
            });
        waits.max().unwrap_or(0)
    }
}

/// Which of the last commits of an account did not follow the one before; before the first of them all did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discontinuities {
    last: u128,
    day: Bucket,
}

impl Discontinuities {
    /// None, ever.
    pub const fn none() -> Self {
        Self { last: 0, day: Bucket::empty() }
    }

    /// Notes one commit; gives whether they are too many now (VAL-20).
    pub fn note(&mut self, broken: bool, limits: AccountLimits, now_ms: u64) -> bool {
        self.last = ((self.last << 1) | u128::from(broken)) & WATCHED_MASK;
        let limit = limits.discontinuities_per_day;
        if !broken || limit == 0 {
            return false;
        }
        let rate = Rate { burst: limit, period_ms: DAY_MS.checked_div(limit).unwrap_or(0) };
        let fits = self.day.has(rate, now_ms);
        self.day.take(rate, now_ms);
        !fits || self.last.count_ones() > WATCHED / 2
    }

    /// Of the last hundred commits so many did not follow.
    pub fn of_last(&self) -> u32 {
        self.last.count_ones()
    }

    /// The account was held for it: what it did before is paid for.
    pub fn forgive(&mut self) {
        self.last = 0;
    }
}

fn second(limits: AccountLimits) -> Rate {
    let per_second = limits.per_second.max(1);
    Rate {
        burst: per_second.saturating_mul(BURST_SECONDS),
        period_ms: 1_000_u64.checked_div(per_second).unwrap_or(0),
    }
}

fn hour(limits: AccountLimits) -> Rate {
    Rate { burst: limits.per_hour, period_ms: HOUR_MS.checked_div(limits.per_hour).unwrap_or(0) }
}

fn day(limits: AccountLimits) -> Rate {
    Rate { burst: limits.per_day, period_ms: DAY_MS.checked_div(limits.per_day).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn usual() -> AccountLimits {
        AccountLimits::default()
    }

    /// Sends as fast as it may until a time; gives how many passed and what ended it.
    fn send(
        levels: &mut Levels,
        limits: AccountLimits,
        span_ms: u64,
    ) -> (u64, Option<Exceeded>, u64) {
        let (mut now_ms, mut passed) = (NOW, 0);
        while now_ms < NOW + span_ms {
            match levels.turn(limits, now_ms) {
                AccountTurn::Now => {
                    levels.take(limits, now_ms);
                    passed += 1;
                }
                AccountTurn::After(wait_ms) => now_ms += wait_ms,
                AccountTurn::Over(exceeded) => return (passed, Some(exceeded), now_ms),
            }
        }
        (passed, None, now_ms)
    }

    /// HOST-12: fifty at once, then ten a second, until the hour's number is reached.
    #[test]
    fn an_account_sends_a_burst_then_its_rate_then_the_hours_number() {
        let mut levels = Levels::default();
        assert_eq!(send(&mut levels, usual(), 1).0, 50);
        let mut levels = Levels::default();
        assert_eq!(send(&mut levels, usual(), 10_001).0, 150);
        let mut levels = Levels::default();
        let (passed, exceeded, at_ms) = send(&mut levels, usual(), HOUR_MS);
        assert_eq!(exceeded.map(|it| it.to_string()).as_deref(), Some("5000 events per hour"));
        assert!((5_700..5_900).contains(&passed), "5,000 and what sinks meanwhile: {passed}");
        assert!(at_ms - NOW < 600_000);
        let calm_ms = levels.calm_in_ms(usual(), at_ms);
        assert!((890_000..=900_000).contains(&calm_ms), "a quarter of an hour: {calm_ms}");
        assert_eq!(levels.used(usual(), at_ms)[0], 5_000);
        assert_eq!(levels.calm_in_ms(usual(), at_ms + calm_ms), 0);
    }

    /// HOST-12: the day's number holds however slowly the events come.
    #[test]
    fn the_days_number_holds_for_a_slow_sender_too() {
        let limits = AccountLimits { per_hour: 0, ..usual() };
        let mut levels = Levels::default();
        let (passed, exceeded, _) = send(&mut levels, limits, 3 * HOUR_MS);
        assert_eq!(exceeded, Some(Exceeded { limit: 35_000, span: "day" }));
        assert!((35_000..38_000).contains(&passed), "{passed}");
    }

    /// A limit of 0 is none.
    #[test]
    fn an_account_without_limits_sends_what_it_wants() {
        let mut levels = Levels::default();
        for _ in 0..100_000 {
            assert_eq!(levels.turn(AccountLimits::NONE, NOW), AccountTurn::Now);
            levels.take(AccountLimits::NONE, NOW);
        }
        assert_eq!(levels.used(AccountLimits::NONE, NOW), [0, 0]);
    }

    /// VAL-20: more than half of the last hundred commits, counted over a moving window.
    #[test]
    fn more_than_half_of_the_last_hundred_commits_are_too_many() {
        let mut lately = Discontinuities::none();
        for _ in 0..400 {
            assert!(!lately.note(true, usual(), NOW), "every other one is half");
            assert!(!lately.note(false, usual(), NOW));
        }
        assert_eq!(lately.of_last(), 50);
        assert!(!lately.note(true, usual(), NOW), "the oldest of the hundred was one too");
        assert!(lately.note(true, usual(), NOW));
        lately.forgive();
        for _ in 0..50 {
            assert!(!lately.note(true, usual(), NOW));
        }
        assert!(lately.note(true, usual(), NOW));
    }

    /// VAL-20: a thousand in a day are enough, however many commits follow between them.
    #[test]
    fn a_thousand_discontinuities_in_a_day_are_enough() {
        let mut lately = Discontinuities::none();
        let mut noted = 0;
        loop {
            for _ in 0..9 {
                assert!(!lately.note(false, usual(), NOW + noted));
            }
            noted += 1;
            if lately.note(true, usual(), NOW + noted) {
                break;
            }
        }
        assert_eq!(noted, 1_001);
        let off = AccountLimits { discontinuities_per_day: 0, ..usual() };
        let mut lately = Discontinuities::none();
        assert!((0..5_000).all(|_| !lately.note(true, off, NOW)), "0 turns the rule off");
    }
}
