//! Time of the simulated network: revisions and `time` fields that depend on the seed alone.

use anyhow::{Context, Result, ensure};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Where every simulation starts: 2026-01-01T00:00:00Z, in µs since 1970.
pub const START_MICROS: u64 = 1_767_225_600_000_000;

/// How far one tick moves the clock. Ticks of different accounts share it, so revisions of the
/// whole network are distinct.
const TICK_MICROS: u64 = 1_000;

const SECOND_MICROS: u64 = 1_000_000;
const DAY_MICROS: u64 = 86_400 * SECOND_MICROS;
const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// A clock that moves only when it is asked for the time.
#[derive(Debug)]
pub struct Clock {
    micros: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { micros: AtomicU64::new(START_MICROS) }
    }
}

impl Clock {
    /// Moves by one tick; returns µs since 1970.
    pub fn tick(&self) -> u64 {
        self.micros.fetch_add(TICK_MICROS, Ordering::Relaxed) + TICK_MICROS
    }

    /// The time of the last tick.
    pub fn now(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }
}

/// The time of the machine in µs since 1970, for revisions that must lie in the future (VAL-8).
#[expect(clippy::disallowed_methods, reason = "the relay compares revisions with the real time")]
pub fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A TID as a number: 53 bits of µs and 10 bits of clock id (SYN-1).
pub fn tid(micros: u64, clock_id: u64) -> u64 {
    (micros << 10) | (clock_id & 0x3ff)
}

/// Text form of a TID.
pub fn tid_text(tid: u64) -> String {
    let digit = |at: u32| {
        let index = usize::try_from((tid >> (60 - 5 * at)) & 31).unwrap_or(0);
        char::from(ALPHABET.get(index).copied().unwrap_or(b'2'))
    };
    (0..13).map(digit).collect()
}

/// Reads the text form of a TID.
pub fn tid_from_text(text: &str) -> Result<u64> {
    ensure!(text.len() == 13, "a TID has 13 characters, not {text:?}");
    text.bytes().try_fold(0_u64, |tid, byte| {
        let digit = ALPHABET.iter().position(|other| *other == byte).context("not a TID digit")?;
        Ok((tid << 5) | u64::try_from(digit)?)
    })
}

/// RFC 3339 with milliseconds and `Z`.
pub fn datetime(micros: u64) -> String {
    let (year, month, day) = civil_date(micros / DAY_MICROS);
    let of_day = micros % DAY_MICROS;
    let seconds = of_day / SECOND_MICROS;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        of_day / 1000 % 1000
    )
}

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // from 0000-03-01, so that leap days end a year
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SYN-1: published TIDs.
    #[test]
    fn tids_agree_with_the_published_ones() {
        let rows = [
            (0, 0, "2222222222222"),
            (1_688_137_381_887_007, 6, "3jzfcijpj2z2a"),
            (START_MICROS, 0, "3mbd3542k2222"),
        ];
        for (micros, clock_id, text) in rows {
            assert_eq!(tid_text(tid(micros, clock_id)), text);
            assert_eq!(tid_from_text(text).unwrap(), tid(micros, clock_id));
        }
        assert!(tid_from_text("3mbd3542k222").is_err());
        assert!(tid_from_text("3mbd3542k2221").is_err());
    }

    /// SYN-9: leap years and the ends of months.
    #[test]
    fn datetimes_follow_the_calendar() {
        assert_eq!(datetime(START_MICROS), "2026-01-01T00:00:00.000Z");
        assert_eq!(datetime(951_782_400_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(datetime(1_709_251_199_999_000), "2024-02-29T23:59:59.999Z");
        assert_eq!(datetime(0), "1970-01-01T00:00:00.000Z");
    }
}
