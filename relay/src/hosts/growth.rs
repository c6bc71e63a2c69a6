//! Limits that grow with good behaviour (HOST-8).
//!
//! Once a day each host that is not trusted is looked at. If at least 99 % of its events of that day
//! were valid, its limits grow by 50 % of what the rules give it, and no further than 50 % for each
//! full week since it was first seen, 900 % at most. If less than 90 % were valid, half of what it
//! earned is gone. A host that sent fewer than 100 events has shown nothing, and keeps what it has.

use std::{sync::Arc, sync::atomic::Ordering};

use super::{Host, Hosts};
use crate::{
    domain::{Actor, HostChangeKind, HostStatus},
    store::{HostRow, StoreError},
};

/// How often hosts are looked at.
const DAY_MS: u64 = 24 * 3_600_000;

/// One step, in percent; also what each week of age allows.
const STEP: u64 = 50;

/// Most that can be earned, in percent.
const MOST: u64 = 900;

/// Events without which a day shows nothing.
const EVENTS_MIN: u64 = 100;

/// Valid events per thousand from which on a day was good, and below which it was bad.
const GOOD: u64 = 990;
const BAD: u64 = 900;

/// What a host has earned after one more day.
///
/// * `growth` – what it had, in percent
/// * `valid`, `refused` – its events of that day
pub(super) fn earned(growth: u64, age_ms: u64, (valid, refused): (u64, u64)) -> u64 {
    let all = valid.saturating_add(refused);
    if all < EVENTS_MIN {
        return growth;
    }
    let share = u128::from(valid) * 1_000 / u128::from(all);
    if share < u128::from(BAD) {
        return growth / 2;
    }
    if share < u128::from(GOOD) {
        return growth;
    }
    let weeks = age_ms / (7 * DAY_MS);
    let allowed = weeks.saturating_mul(STEP).min(MOST);
    growth.max(growth.saturating_add(STEP).min(allowed))
}

impl Hosts {
    /// Looks at all hosts when a day has passed since the last time.
    pub(super) async fn review_growth(&self) -> Result<(), StoreError> {
        let now_ms = self.parts.clock.steady_ms();
        let last_ms = self.parts.grown_ms.load(Ordering::Relaxed);
        if !self.parts.grows || now_ms.saturating_sub(last_ms) < DAY_MS {
            return Ok(());
        }
        self.parts.grown_ms.store(now_ms, Ordering::Relaxed);
        for host in self.all() {
            self.review_one(&host).await?;
        }
        Ok(())
    }

    async fn review_one(&self, host: &Arc<Host>) -> Result<(), StoreError> {
        let day = host.take_day();
        let (valid, refused) = day;
        let row = host.row();
        let age_ms = self.parts.clock.now_ms().saturating_sub(row.first_seen_ms);
        let growth = earned(row.growth, age_ms, day);
        if growth == row.growth || host.is_trusted() || host.status() == HostStatus::Banned {
            return Ok(());
        }
        let why = format!("{valid} of {} events of the last day were valid", valid + refused);
        let grow = |row: &mut HostRow| row.growth = growth;
        self.change(host, HostChangeKind::Limits, (&Actor::Relay, &why), &grow).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: u64 = 7 * DAY_MS;

    /// HOST-8, the formula row by row.
    #[test]
    fn good_days_of_old_hosts_earn_more_and_bad_days_cost_half() {
        let rows = [
            // Growth before, age, valid, refused; growth after.
            (0, WEEK - 1, 1_000, 0, 0),
            (0, WEEK, 1_000, 0, 50),
            (50, WEEK, 1_000, 0, 50),
            (50, 10 * WEEK, 1_000, 0, 100),
            (50, 10 * WEEK, 990, 10, 100),
            (50, 10 * WEEK, 989, 11, 50),
            (50, 10 * WEEK, 90, 10, 50),
            (50, 10 * WEEK, 89, 11, 25),
            (50, 10 * WEEK, 0, 99, 50),
            (900, 1_000 * WEEK, 1_000, 0, 900),
            (1, 0, 0, u64::MAX, 0),
            (u64::MAX, u64::MAX, u64::MAX, 0, u64::MAX),
        ];
        for (before, age, valid, refused, after) in rows {
            assert_eq!(
                earned(before, age, (valid, refused)),
                after,
                "{before} {age} {valid} {refused}"
            );
        }
    }
}
