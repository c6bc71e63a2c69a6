//! How long a window the disk holds, and until when.

use std::time::Duration;

use serde::Serialize;

use super::{Database, Wishes, load};
use crate::{facts::Facts, moment};

const GB: u64 = 1_000_000_000;
/// What a file system wants left free to stay fast: a tenth, of large disks not more than this.
const FREE_MAX: u64 = 50 * GB;
/// What a system grows by: its journal, its updates, its caches.
const SYSTEM: u64 = 10 * GB;
/// Hours that are offered when nobody asks for a number.
const OFFERED_HOURS: [u64; 7] = [72, 48, 24, 12, 6, 3, 1];
const HOUR_S: u64 = 3_600;
const MONTH_MS: u64 = 2_629_746_000;
/// Further than this nobody should believe a projection.
const MONTHS_MAX: u64 = 120;

/// The replay window, and the disk under it. Sizes in bytes, times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "it is the window's length, among other things")]
pub struct Window {
    /// What was asked for, or the longest offered one that fits; `None` when not an hour fits.
    pub window_s: Option<u64>,
    /// Whether the disk holds it.
    pub fits: bool,
    /// What a full window takes.
    pub needed_bytes: u64,
    /// What the disk has for it.
    pub available_bytes: u64,
    /// What is kept free of the log, and for whom, in words.
    pub kept_free_bytes: u64,
    /// The parts of that.
    pub kept_free_for: String,
    /// Size of the log at most, whatever the age; what `RELAY_REPLAY_MAX_BYTES` says.
    pub cap_bytes: u64,
    /// Whether the disk, not the window, sets that limit.
    pub capped_by_disk: bool,
    /// The longest window that fits today.
    pub longest_s: u64,
    /// Day on which the log has reached its full length.
    pub full_on: String,
    /// Day on which a growing network reaches the cap, and the window becomes shorter.
    pub cap_reached_on: Option<String>,
    /// Day on which the disk could not hold this window whatever the cap.
    pub disk_full_on: Option<String>,
}

pub(super) fn window(facts: &Facts, wishes: &Wishes) -> Window {
    let (kept_free_bytes, kept_free_for) = kept_free(facts, wishes);
    let disk = &facts.disk;
    let room = disk.free_bytes.saturating_add(disk.log_bytes).min(disk.size_bytes);
    let available_bytes = room.saturating_sub(kept_free_bytes);
    let longest_s = available_bytes.saturating_sub(load::LOG_PLAIN_BYTES) / load::LOG_BYTES_PER_S;
    let offered = || OFFERED_HOURS.into_iter().map(|h| h * HOUR_S).find(|s| *s <= longest_s);
    let window_s = wishes.window.map(|window| window.as_secs()).or_else(offered);
    let needed_bytes = needed(window_s.unwrap_or(HOUR_S));
    // A quarter more: a busy week must not cut the window that consumers were promised.
    let cap_bytes = needed_bytes.saturating_add(needed_bytes / 4).min(available_bytes);
    let begin = wishes.now_ms;
    let full = Duration::from_secs(window_s.unwrap_or(HOUR_S)).as_millis();
    let fits = needed_bytes <= available_bytes;
    let reached = |limit| {
        let months = months_until(needed_bytes, limit, wishes.growth_percent).filter(|_| fits)?;
        Some(moment::day(begin.saturating_add(months * MONTH_MS)))
    };
    Window {
        window_s,
        fits,
        needed_bytes,
        available_bytes,
        kept_free_bytes,
        kept_free_for,
        cap_bytes: whole_gib(cap_bytes),
        capped_by_disk: cap_bytes == available_bytes,
        longest_s,
        full_on: moment::day(begin.saturating_add(u64::try_from(full).unwrap_or(u64::MAX))),
        cap_reached_on: reached(cap_bytes),
        disk_full_on: reached(available_bytes),
    }
}

/// Bytes of the log of so many seconds.
fn needed(seconds: u64) -> u64 {
    seconds.saturating_mul(load::LOG_BYTES_PER_S).saturating_add(load::LOG_PLAIN_BYTES)
}

/// So that the free space of the day does not change what is written.
fn whole_gib(bytes: u64) -> u64 {
    bytes >> 30 << 30
}

fn kept_free(facts: &Facts, wishes: &Wishes) -> (u64, String) {
    let disk = &facts.disk;
    let free = (disk.size_bytes / 10).min(FREE_MAX);
    let database = load::ACCOUNTS * load::ROW_BYTES;
    let mut parts = vec![(free, "the file system")];
    match wishes.database {
        Database::Sqlite => parts.push((database, "the SQLite file")),
        // Postgres keeps its files where the system does.
        Database::Postgres if disk.holds_system => {
            parts.push((database + super::postgres::wal_bytes(facts), "Postgres and its WAL"));
        }
        Database::Postgres | Database::Elsewhere => {}
    }
    if disk.holds_system {
        parts.push((SYSTEM, "the system"));
    }
    let words: Vec<String> = parts
        .iter()
        .map(|(bytes, whom)| format!("{} for {whom}", crate::words::bytes(*bytes)))
        .collect();
    (parts.iter().map(|(bytes, _)| bytes).sum(), words.join(", "))
}

/// Months after which a size has outgrown a limit; `None` when it does not within ten years.
fn months_until(size: u64, limit: u64, percent: u64) -> Option<u64> {
    let (mut size, limit) = (u128::from(size), u128::from(limit));
    (1..=MONTHS_MAX).find(|_| {
        size = size.saturating_mul(100 + u128::from(percent)) / 100;
        size > limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five percent a month double in 15 months.
    #[test]
    fn growth_is_compounded() {
        assert_eq!(months_until(100_000, 200_000, 5), Some(15));
        assert_eq!(months_until(100_000, 100_000, 5), Some(1));
        assert_eq!(months_until(100_000, 200_000, 0), None);
        assert_eq!(months_until(1, u64::MAX, 1), None);
    }

    /// The rate that everything rests on is the one that relays of today report: 8 to 10 GB an hour.
    #[test]
    fn an_hour_of_the_log_takes_what_others_measured() {
        let hour = load::LOG_BYTES_PER_S * HOUR_S;
        assert!((8 * GB..=10 * GB).contains(&hour), "{hour}");
    }
}
