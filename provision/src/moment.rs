//! The time of day, and how long something takes. Everything else is given the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the clock of this machine; 0 before.
#[expect(clippy::disallowed_methods, reason = "the rule is for the relay, whose clock is injected")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment from which to measure.
#[expect(clippy::disallowed_methods, reason = "the rule is for the relay; this measures a machine")]
pub fn timer() -> Instant {
    Instant::now()
}

/// The day of a moment, in UTC: `2027-01-31`.
pub fn day(ms: u64) -> String {
    day_and_time(ms).split('T').next().unwrap_or_default().to_owned()
}

/// A moment in UTC: `2027-01-31T23:59:59Z`.
pub fn day_and_time(ms: u64) -> String {
    // The last day that four digits of a year can write.
    let ms = ms.min(253_402_300_799_000);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
