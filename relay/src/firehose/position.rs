//! Where a consumer starts: the cursor of the request against the replay window (CUR-1…7).
//!
//! Pure. Cursors are exclusive: the consumer names the last event it has (CUR-8).

use std::borrow::Cow;

use url::form_urlencoded;

use crate::{domain::Seq, eventlog::ReplayWindow};

/// Where the first event for a consumer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Read the events after this seq.
    After(Seq),
    /// First say that history is missing, then read the events after this seq (CUR-6).
    Outdated(Seq),
    /// The cursor lies ahead of everything: say so and close (CUR-5).
    Future,
}

impl Start {
    /// The label in metrics.
    pub const fn label(self, cursor: Option<Seq>) -> &'static str {
        match (self, cursor) {
            (Self::Future, _) => "future",
            (Self::Outdated(_), _) => "outdated",
            (Self::After(_), Some(_)) => "cursor",
            (Self::After(_), None) => "live",
        }
    }
}

/// The table of CUR-1…6.
///
/// * `cursor` – last seq that the consumer has, `None` for "live from now"
/// * `window` – what the log retains; its head is the last durable seq also right after a restart
/// * `pruned` – whether there were events before the window
///
/// `cursor=0` asks for all there is: only when there was more is it told so (CUR-2). Any other cursor
/// before the window was a seq of ours once, so that something is missing (CUR-6).
pub fn position(cursor: Option<Seq>, window: ReplayWindow, pruned: bool) -> Start {
    let before_oldest = Seq(window.oldest.0.saturating_sub(1));
    match cursor {
        None => Start::After(window.head),
        Some(cursor) if cursor > window.head => Start::Future,
        Some(cursor) if cursor >= before_oldest => Start::After(cursor),
        Some(Seq(0)) if !pruned => Start::After(before_oldest),
        Some(_) => Start::Outdated(before_oldest),
    }
}

/// Reads `cursor` from a query string (CUR-7). Absent and empty are the same; other parameters are
/// ignored (API-7).
///
/// # Errors
/// The value as it was sent, when it is not an integer in 0..2^53.
pub fn cursor_of(query: Option<&str>) -> Result<Option<Seq>, Cow<'_, str>> {
    let value = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find_map(|(name, value)| (name == "cursor").then_some(value));
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    // `parse` alone would take a plus sign.
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(value);
    }
    match value.parse() {
        Ok(number) if number <= Seq::MAX.0 => Ok(Some(Seq(number))),
        _ => Err(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Window and whether something was before it.
    type Log = (ReplayWindow, bool);

    const FULL: Log = (ReplayWindow { oldest: Seq(1), head: Seq(100) }, false);
    const PRUNED: Log = (ReplayWindow { oldest: Seq(51), head: Seq(100) }, true);
    const NEW: Log = (ReplayWindow { oldest: Seq(1), head: Seq(0) }, false);
    const ALL_GONE: Log = (ReplayWindow { oldest: Seq(101), head: Seq(100) }, true);
    /// `RELAY_INITIAL_SEQ_NUMBER` was set: the window starts late, but nothing was before it.
    const FLOOR: Log = (ReplayWindow { oldest: Seq(51), head: Seq(100) }, false);

    /// CUR-1…6 as one table.
    #[test]
    fn the_position_follows_the_table() {
        use Start::{After, Future, Outdated};
        let rows = [
            // CUR-1: no cursor, live from now.
            (None, FULL, After(Seq(100))),
            (None, PRUNED, After(Seq(100))),
            (None, NEW, After(Seq(0))),
            (None, ALL_GONE, After(Seq(100))),
            // CUR-2: 0 is the whole window, with a remark only when there was more.
            (Some(0), FULL, After(Seq(0))),
            (Some(0), NEW, After(Seq(0))),
            (Some(0), FLOOR, After(Seq(50))),
            (Some(0), PRUNED, Outdated(Seq(50))),
            (Some(0), ALL_GONE, Outdated(Seq(100))),
            // CUR-3: in the window, exclusive.
            (Some(1), FULL, After(Seq(1))),
            (Some(99), FULL, After(Seq(99))),
            (Some(51), PRUNED, After(Seq(51))),
            // The next event is the oldest retained one: nothing is missing.
            (Some(50), PRUNED, After(Seq(50))),
            // CUR-4: at the head.
            (Some(100), FULL, After(Seq(100))),
            (Some(100), ALL_GONE, After(Seq(100))),
            // CUR-5: ahead of it; in a new log everything but 0 is.
            (Some(101), FULL, Future),
            (Some(101), ALL_GONE, Future),
            (Some(1), NEW, Future),
            (Some(Seq::MAX.0), FULL, Future),
            // CUR-6: older than the window.
            (Some(49), PRUNED, Outdated(Seq(50))),
            (Some(1), PRUNED, Outdated(Seq(50))),
            (Some(1), FLOOR, Outdated(Seq(50))),
            (Some(99), ALL_GONE, Outdated(Seq(100))),
        ];
        for (cursor, (window, pruned), start) in rows {
            let told = position(cursor.map(Seq), window, pruned);
            assert_eq!(told, start, "{cursor:?} in {window:?}");
        }
    }

    /// CUR-7, with the largest and the smallest cursor as controls.
    #[test]
    fn a_cursor_is_an_integer_below_two_to_the_53() {
        let right = [
            (None, None),
            (Some(""), None),
            (Some("cursor="), None),
            (Some("cursor"), None),
            (Some("other=7"), None),
            (Some("cursor=0"), Some(0)),
            (Some("a=b&cursor=42&c"), Some(42)),
            (Some("cursor=%34%32"), Some(42)),
            (Some("cursor=9007199254740991"), Some(9_007_199_254_740_991)),
        ];
        for (query, cursor) in right {
            assert_eq!(cursor_of(query), Ok(cursor.map(Seq)), "{query:?}");
        }
        let wrong = [
            "abc",
            "-1",
            "1.5",
            "1e3",
            "%2B5",
            "+5",
            "0x10",
            "9007199254740992",
            "99999999999999999999999",
            "5%20",
        ];
        for value in wrong {
            assert!(cursor_of(Some(&format!("cursor={value}"))).is_err(), "{value}");
        }
    }
}
