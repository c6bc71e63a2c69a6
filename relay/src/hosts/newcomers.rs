//! How many hosts strangers may add in a day (HOST-3). The store knows which were added so, hence the
//! quota survives a restart.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::{CommandError, Hosts, Refusal};
use crate::store::{HostRow, Store, StoreError};

/// Hosts that strangers may add in 24 hours unless the settings say otherwise.
pub(super) const PER_DAY: u64 = 50;

/// Largest quota that may be set.
const PER_DAY_MAX: u64 = 1_000_000;

/// The span of the quota.
const DAY_MS: u64 = 24 * 3_600_000;

/// Name of the rule in the store: the quota, and what the setting said when it was made.
const RULE: &str = "new_hosts_per_day";

/// Those of the last day.
#[derive(Debug)]
pub(super) struct Newcomers {
    per_day: AtomicU64,
    /// What the setting says.
    setting: u64,
    /// When each came, ms since 1970, oldest first.
    times: Mutex<VecDeque<u64>>,
}

impl Newcomers {
    /// What an operator set at run time counts, unless the setting was changed since: the last word
    /// does.
    pub(super) async fn load(
        store: &Store,
        rows: &[HostRow],
        setting: u64,
    ) -> Result<Self, StoreError> {
        let kept = store.rule(RULE).await?;
        let kept = kept.as_deref().and_then(|text| text.split_once(' '));
        let per_day = match kept {
            Some((kept, made_under)) if made_under == setting.to_string() => kept.parse().ok(),
            _ => None,
        };
        let mut times: Vec<u64> =
            rows.iter().filter(|row| row.by_request).map(|row| row.first_seen_ms).collect();
        times.sort_unstable();
        let per_day = AtomicU64::new(per_day.unwrap_or(setting));
        Ok(Self { per_day, setting, times: Mutex::new(times.into()) })
    }

    /// Takes one place of the day, or says in how many seconds the next is free.
    fn take(&self, now_ms: u64) -> Result<(), u64> {
        let per_day = self.per_day.load(Ordering::Relaxed);
        let mut times = self.times.lock();
        while times.front().is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) >= DAY_MS) {
            times.pop_front();
        }
        let used = times.len() as u64;
        if used < per_day {
            times.push_back(now_ms);
            return Ok(());
        }
        // The one whose end leaves room; with a quota of 0 there is none.
        let next = usize::try_from(used - per_day).ok().and_then(|at| times.get(at)).copied();
        let free_ms = next.unwrap_or(now_ms).saturating_add(DAY_MS);
        Err(free_ms.saturating_sub(now_ms).div_ceil(1_000))
    }

    /// The host was not added after all.
    fn give_back(&self) {
        self.times.lock().pop_back();
    }

    fn used(&self, now_ms: u64) -> u64 {
        let times = self.times.lock();
        times.iter().filter(|at_ms| now_ms.saturating_sub(**at_ms) < DAY_MS).count() as u64
    }
}

impl Hosts {
    /// Hosts that strangers may add in 24 hours, and how many they have added in the last 24.
    pub fn new_hosts_per_day(&self) -> (u64, u64) {
        let newcomers = &self.parts.newcomers;
        let now_ms = self.parts.clock.now_ms();
        (newcomers.per_day.load(Ordering::Relaxed), newcomers.used(now_ms))
    }

    /// Sets how many hosts strangers may add in 24 hours; 0 lets none in. Durable; holds until the
    /// setting is changed.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was changed then.
    pub async fn set_new_hosts_per_day(&self, per_day: u64) -> Result<(), CommandError> {
        if per_day > PER_DAY_MAX {
            let why = format!("new hosts per day are a number from 0 to {PER_DAY_MAX}");
            return Err(CommandError::BadValue(why));
        }
        let newcomers = &self.parts.newcomers;
        let _writing = self.parts.writing.lock().await;
        let kept = format!("{per_day} {}", newcomers.setting);
        self.parts.store.set_rule(RULE, &kept).await?;
        newcomers.per_day.store(per_day, Ordering::Relaxed);
        Ok(())
    }

    /// A place in the quota for a host that a stranger asks for; to be kept until it is stored.
    pub(super) fn take_place(&self) -> Result<Place<'_>, Refusal> {
        let newcomers = &self.parts.newcomers;
        newcomers.take(self.parts.clock.now_ms()).map_err(|wait_s| Refusal::TooManyNew {
            per_day: newcomers.per_day.load(Ordering::Relaxed),
            wait_s,
        })?;
        Ok(Place(Some(newcomers)))
    }
}

/// A place that is given back unless it is used.
#[derive(Debug)]
pub(super) struct Place<'a>(Option<&'a Newcomers>);

impl Place<'_> {
    pub(super) fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(newcomers) = self.0 {
            newcomers.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn newcomers(per_day: u64) -> Newcomers {
        Newcomers { per_day: AtomicU64::new(per_day), setting: per_day, times: Mutex::default() }
    }

    /// HOST-3: so many in any 24 hours, and the answer says when the next place is free.
    #[test]
    fn places_of_a_day_become_free_a_day_later() {
        let some = newcomers(2);
        assert_eq!([some.take(NOW), some.take(NOW + 1_000)], [Ok(()), Ok(())]);
        assert_eq!(some.take(NOW + 2_000), Err(86_398));
        assert_eq!(some.take(NOW + DAY_MS - 1), Err(1));
        assert_eq!(some.take(NOW + DAY_MS), Ok(()));
        assert_eq!(some.take(NOW + DAY_MS), Err(1));
        some.give_back();
        assert_eq!((some.take(NOW + DAY_MS), some.used(NOW + DAY_MS)), (Ok(()), 2));
        assert_eq!(newcomers(0).take(NOW), Err(86_400));
        some.per_day.store(1, Ordering::Relaxed);
        assert_eq!(some.take(NOW + DAY_MS + 999), Err(86_400), "the quota was lowered meanwhile");
    }
}
