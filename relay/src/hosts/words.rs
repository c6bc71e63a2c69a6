//! A host's rules in words, for its history. Pure.

use std::time::{Duration, UNIX_EPOCH};

use crate::{
    domain::{HostChangeKind, Strictness},
    store::HostRow,
};

/// What a row says about one kind of change.
pub(super) fn of(kind: HostChangeKind, row: &HostRow) -> String {
    match kind {
        HostChangeKind::Status => row.status.as_text().to_owned(),
        HostChangeKind::Limits => limits(row),
        HostChangeKind::Strictness => match row.strictness {
            Strictness::LenientUntil(until_ms) => format!("lenient {}", until(until_ms)),
            other => other.as_text().to_owned(),
        },
        HostChangeKind::Alerts => match row.silenced_until_ms {
            0 => "not silenced".to_owned(),
            until_ms => format!("silenced {}", until(until_ms)),
        },
        HostChangeKind::Cursor => match row.cursor {
            Some(cursor) => format!("{cursor} of epoch {}", row.epoch),
            None => format!("none, epoch {}", row.epoch),
        },
        HostChangeKind::Connection => String::new(),
    }
}

fn limits(row: &HostRow) -> String {
    let own = &row.own_limits;
    let mut parts = match own.accounts {
        Some(accounts) => vec![format!("{accounts} accounts")],
        None => vec![format!("{} accounts by the rules", row.account_limit)],
    };
    let rates = [(own.per_second, "second"), (own.per_hour, "hour"), (own.per_day, "day")];
    parts.extend(
        rates.into_iter().filter_map(|(rate, span)| Some(format!("{} events per {span}", rate?))),
    );
    if row.growth > 0 {
        parts.push(format!("{} % more by good behaviour", row.growth));
    }
    parts.join(", ")
}

/// A time in UTC as a person reads it, to the second.
fn until(ms: u64) -> String {
    const LAST_MS: u64 = 253_402_300_799_000;
    if ms >= LAST_MS {
        return "for good".to_owned();
    }
    let time = UNIX_EPOCH + Duration::from_millis(ms);
    format!("until {}", humantime::format_rfc3339_seconds(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time that no calendar holds is told all the same.
    #[test]
    fn times_are_told_in_words() {
        assert_eq!(until(1_800_000_000_123), "until 2027-01-15T08:00:00Z");
        assert_eq!(until(u64::MAX), "for good");
    }
}
