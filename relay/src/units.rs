//! Units in settings and in words for people: sizes and durations with their suffixes, days. Pure.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

/// Suffixes of sizes, longest first where one ends with another; one letter alone is binary.
const SIZES: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("B", 1),
];

/// Suffixes that a size is written with.
const WRITTEN: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a size such as `500GiB`, `1.5 TB`, `64M` or `4096`; `None` for anything else.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let (number, unit) = SIZES
        .iter()
        .find_map(|(suffix, unit)| Some((upper.strip_suffix(&suffix.to_ascii_uppercase())?, *unit)))
        .unwrap_or((&upper, 1));
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u128>().ok()?.checked_mul(unit.into())? / scale;
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// Writes a size for people, with one digit after the point where it is not whole: `1.5 TiB`.
pub fn bytes(size: u64) -> String {
    WRITTEN.iter().find(|(_, unit)| size >= *unit).map_or_else(
        || format!("{size} B"),
        |(suffix, unit)| {
            let (whole, tenths) = (size / unit, size % unit * 10 / unit);
            if tenths == 0 {
                format!("{whole} {suffix}")
            } else {
                format!("{whole}.{tenths} {suffix}")
            }
        },
    )
}

/// Writes a size so that [`parse_bytes`] gives exactly it: `64MiB`, `1000000B`.
pub fn exact_bytes(size: u64) -> String {
    WRITTEN
        .iter()
        .find(|(_, unit)| size >= *unit && size.is_multiple_of(*unit))
        .map_or_else(|| format!("{size}B"), |(suffix, unit)| format!("{}{suffix}", size / unit))
}

/// Reads a duration such as `72h`, `90m`, `1h30m` or `500ms`; a number needs its unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

/// Writes a duration in its largest unit up to hours that holds it exactly: `72h`, `90m`, `1500ms`.
pub fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    [("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit))
        .map_or_else(|| format!("{ms}ms"), |(suffix, unit)| format!("{}{suffix}", ms / unit))
}

/// The beginning of a day of the calendar in UTC, as settings write it: `2027-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    begin_ms: u64,
}

impl Day {
    /// Reads a day; `None` for anything else, and for days before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let begin = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok()?;
        let since = begin.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { begin_ms: u64::try_from(since.as_millis()).ok()? })
    }

    /// When it begins, ms since 1970.
    pub fn begin_ms(self) -> u64 {
        self.begin_ms
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_millis(self.begin_ms);
        let text = humantime::format_rfc3339_seconds(time).to_string();
        out.write_str(text.split('T').next().unwrap_or_default())
    }
}

/// A time as JSON shows it, `2026-01-01T00:00:00.000Z`.
pub fn time_text(ms: u64) -> String {
    /// The last millisecond of the year 9999, after which the format has no text.
    const LAST_MS: u64 = 253_402_300_799_999;
    let since = Duration::from_millis(ms.min(LAST_MS));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN 6: sizes as `500GiB`.
    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("500GiB", Some(500 << 30)),
            ("500 gib", Some(500 << 30)),
            ("64M", Some(64 << 20)),
            ("1.5KiB", Some(1536)),
            ("2TB", Some(2_000_000_000_000)),
            ("4096", Some(4096)),
            ("7B", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999TiB", None),
            ("-1", None),
            ("1.", None),
            (".5G", None),
            ("1e9", None),
            ("GiB", None),
            ("many", None),
            ("", None),
        ] {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
    }

    /// What is shown can be typed.
    #[test]
    fn exact_sizes_are_read_as_they_were_written() {
        for size in [0, 1, 1000, 1024, 1 << 20, (1 << 30) + 1, 3 << 40, u64::MAX] {
            assert_eq!(parse_bytes(&exact_bytes(size)), Some(size));
        }
        assert_eq!(bytes(3 << 39), "1.5 TiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(999), "999 B");
    }

    /// DESIGN 6: durations as `72h`; what is shown can be typed.
    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in [
            ("72h", Some(259_200)),
            ("1h30m", Some(5400)),
            ("3days", Some(259_200)),
            ("90", None),
            ("3 apples", None),
            ("-1h", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["72h", "90m", "61s", "1500ms"] {
            assert_eq!(duration(parse_duration(text).unwrap()), text);
        }
    }

    /// DESIGN 10.14: days are read and written alike, and nothing but a day is one.
    #[test]
    fn days_begin_at_midnight_utc() {
        for (text, begin_ms) in [
            ("1970-01-01", 0),
            ("2026-01-01", 1_767_225_600_000),
            ("2024-02-29", 1_709_164_800_000),
        ] {
            let day = Day::parse(text).unwrap();
            assert_eq!((day.begin_ms(), day.to_string().as_str()), (begin_ms, text));
        }
        for text in ["", "2026-13-01", "2023-02-29", "2026-1-1", "1969-12-31", "2026-01-01 "] {
            assert_eq!(Day::parse(text), None, "{text:?}");
        }
    }
}
