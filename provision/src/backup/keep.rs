//! What backups are called, and which of them are kept. Pure.
//!
//! Each rule keeps some, a backup goes when none keeps it, and the newest good one stays whatever the
//! rules say.

use serde::Serialize;

use super::PREFIX;
use crate::moment;

/// A day, in ms.
const DAY_MS: u64 = 86_400_000;
/// From a Monday to the day on which the clocks of computers begin, a Thursday.
const DAYS_SINCE_MONDAY: u64 = 3;
/// What was not finished so long after its begin will never be.
pub(super) const UNFINISHED_MS: u64 = DAY_MS;

/// How many are kept, by each rule. The default keeps the newest alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest ones.
    pub last: usize,
    /// The newest of each of so many days (UTC) that have one.
    pub daily: usize,
    /// The newest of each of so many weeks, from Monday, that have one.
    pub weekly: usize,
    /// The newest of each of so many months that have one.
    pub monthly: usize,
}

/// A backup as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// When it was begun, ms since 1970.
    pub made_ms: u64,
    /// Its name.
    pub name: String,
    /// Whether it came to its end; one that did not is no backup.
    pub finished: bool,
    /// Bytes of its files.
    pub bytes: u64,
}

/// The name of a backup that is begun at this moment. Names sort by time.
pub(super) fn name_of(made_ms: u64) -> String {
    format!("{PREFIX}{made_ms:015}")
}

/// When a backup of this name was begun; `None` for what is none.
pub(super) fn made_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fate {
    /// Its name.
    pub name: String,
    /// Whether it stays.
    pub kept: bool,
    /// Why.
    pub why: String,
}

/// What becomes of each, newest first.
///
/// * `good` – the newest one that is known to be whole; without one nothing goes
pub(super) fn fates(all: &[Listed], policy: Policy, good: Option<&str>, now_ms: u64) -> Vec<Fate> {
    let mut all: Vec<&Listed> = all.iter().collect();
    all.sort();
    all.reverse();
    let finished: Vec<&Listed> = all.iter().copied().filter(|backup| backup.finished).collect();
    let day = |backup: &Listed| moment::day(backup.made_ms);
    let month = |backup: &Listed| moment::day(backup.made_ms).chars().take(7).collect::<String>();
    let rules = [
        (policy.last, "last", periods(&finished, |backup| backup.name.clone())),
        (policy.daily, "daily", periods(&finished, day)),
        (policy.weekly, "weekly", periods(&finished, week)),
        (policy.monthly, "monthly", periods(&finished, month)),
    ];
    let fate = |backup: &&Listed| {
        let (kept, why) = match (good, backup.finished) {
            (Some(good), _) if good == backup.name => (true, "the newest good one".to_owned()),
            (None, _) => (true, "no good one is known".to_owned()),
            (Some(_), false) => unfinished(backup, now_ms),
            (Some(_), true) => by_rules(&rules, backup),
        };
        Fate { name: backup.name.clone(), kept, why }
    };
    all.iter().map(fate).collect()
}

/// The newest backup of each period, newest first, and the period's name.
fn periods<'a>(
    all: &[&'a Listed],
    period: impl Fn(&Listed) -> String,
) -> Vec<(&'a Listed, String)> {
    let mut found: Vec<(&Listed, String)> = Vec::new();
    for backup in all {
        let name = period(backup);
        if found.last().is_none_or(|(_, last)| *last != name) {
            found.push((backup, name));
        }
    }
    found
}

/// The Monday with which the week of a backup begins.
fn week(backup: &Listed) -> String {
    let days = backup.made_ms / DAY_MS;
    let since = (days + DAYS_SINCE_MONDAY) % 7;
    format!("the week of {}", moment::day(days.saturating_sub(since) * DAY_MS))
}

type Rule<'a> = (usize, &'static str, Vec<(&'a Listed, String)>);

fn by_rules(rules: &[Rule<'_>], backup: &Listed) -> (bool, String) {
    let mut reasons = Vec::new();
    for (count, rule, periods) in rules {
        let place = periods.iter().take(*count).position(|(kept, _)| kept.name == backup.name);
        if let Some((place, (_, period))) =
            place.and_then(|place| Some((place, periods.get(place)?)))
        {
            let of = if *rule == "last" { String::new() } else { format!(", {period}") };
            reasons.push(format!("{rule} {} of {count}{of}", place + 1));
        }
    }
    if reasons.is_empty() {
        return (false, format!("made on {}, no rule keeps it", moment::day(backup.made_ms)));
    }
    (true, reasons.join("; "))
}

/// A copy that is being made is left alone.
fn unfinished(backup: &Listed, now_ms: u64) -> (bool, String) {
    let hours = now_ms.saturating_sub(backup.made_ms) / 3_600_000;
    if now_ms.saturating_sub(backup.made_ms) < UNFINISHED_MS {
        return (true, "not finished; it may be in the making".to_owned());
    }
    (false, format!("begun {hours} hours ago and never finished"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27, a Friday, at noon.
    const NOW: u64 = 1_795_780_800_000;

    /// A backup so many hours ago.
    fn ago(hours: u64) -> Listed {
        let made_ms = NOW - hours * 3_600_000;
        Listed { made_ms, name: format!("relay-{made_ms:015}"), finished: true, bytes: 1 }
    }

    fn kept(all: &[Listed], policy: Policy) -> Vec<u64> {
        let newest = all.iter().max().map(|backup| backup.name.clone());
        let fates = fates(all, policy, newest.as_deref(), NOW);
        let of = |fate: &Fate| all.iter().find(|backup| backup.name == fate.name).map(hours);
        fates.iter().filter(|fate| fate.kept).filter_map(of).collect()
    }

    fn hours(backup: &Listed) -> u64 {
        (NOW - backup.made_ms) / 3_600_000
    }

    #[test]
    fn the_day_that_is_today_in_these_tests_is_a_friday() {
        assert_eq!(moment::day_and_time(NOW), "2026-11-27T12:00:00Z");
        assert_eq!(week(&ago(0)), "the week of 2026-11-23");
        assert_eq!(week(&ago(4 * 24)), "the week of 2026-11-23");
        assert_eq!(week(&ago(5 * 24)), "the week of 2026-11-16");
        let first = Listed { made_ms: 0, ..ago(0) };
        assert_eq!(week(&first), "the week of 1970-01-01");
    }

    /// The newest of a day is what is kept of it; a day without a backup does not count.
    #[test]
    fn days_weeks_and_months_keep_their_newest() {
        let all: Vec<Listed> = [0, 6, 24, 30, 72, 200, 400, 800, 2_000].map(ago).into();
        let none = Policy::default();
        assert_eq!(kept(&all, none), [0]);
        assert_eq!(kept(&all, Policy { last: 3, ..none }), [0, 6, 24]);
        assert_eq!(kept(&all, Policy { daily: 3, ..none }), [0, 24, 72]);
        assert_eq!(kept(&all, Policy { weekly: 3, ..none }), [0, 200, 400]);
        assert_eq!(kept(&all, Policy { monthly: 2, ..none }), [0, 800]);
        let both = Policy { last: 2, monthly: 3, ..none };
        assert_eq!(kept(&all, both), [0, 6, 800, 2_000]);
    }

    /// Backups of a year, one a day: what is left is bounded, and is never the wrong end.
    #[test]
    fn a_year_of_backups_becomes_two_dozen() {
        let all: Vec<Listed> = (0..365).map(|day| ago(day * 24)).collect();
        let policy = Policy { last: 3, daily: 7, weekly: 5, monthly: 12 };
        let kept = kept(&all, policy);
        assert!(kept.contains(&0) && kept.contains(&(6 * 24)), "{kept:?}");
        assert!((15..=24).contains(&kept.len()), "{kept:?}");
        assert!(kept.iter().max() > Some(&(330 * 24)), "{kept:?}");
    }

    /// A run of failures does not eat the last good backup, however old it is.
    #[test]
    fn the_newest_good_one_stays_whatever_the_rules_say() {
        let all = [ago(0), ago(24), ago(48), ago(2_000)];
        let policy = Policy { last: 2, ..Policy::default() };
        let fates = fates(&all, policy, Some(&all[3].name), NOW);
        let kept: Vec<bool> = fates.iter().map(|fate| fate.kept).collect();
        assert_eq!(kept, [true, true, false, true], "{fates:?}");
        assert_eq!(fates[3].why, "the newest good one");
        let nothing_good = super::fates(&all, policy, None, NOW);
        assert!(nothing_good.iter().all(|fate| fate.kept), "{nothing_good:?}");
    }

    /// What was cut off counts for no rule, goes after a day, and not while it may be in the making.
    #[test]
    fn what_was_never_finished_is_no_backup_and_goes() {
        let half = |hours| Listed { finished: false, ..ago(hours) };
        let all = [half(0), ago(1), half(25), ago(48)];
        let policy = Policy { last: 2, ..Policy::default() };
        let fates = fates(&all, policy, Some(&all[1].name), NOW);
        let kept: Vec<bool> = fates.iter().map(|fate| fate.kept).collect();
        assert_eq!(kept, [true, true, false, true], "{fates:?}");
        assert!(fates[2].why.contains("25 hours ago"), "{fates:?}");
    }
}
