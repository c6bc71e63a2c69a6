//! Numbers and times as people read them. Pure.

use maud::{Markup, html};

use crate::{api::time_text, domain::HostStatus, hosts::HostView, telemetry::grouped};

/// Longest detail that is shown in a row of a table.
const BRIEF_CHARS_MAX: usize = 90;

/// Events per second: `0`, `0.4`, `12.5`, `1,234`.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 0.05 {
        return if per_second > 0.0 { "< 0.1".to_owned() } else { "0".to_owned() };
    }
    if per_second < 99.95 {
        return format!("{per_second:.1}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive rate, and a cast of floats saturates"
    )]
    let whole = per_second.round() as u64;
    grouped(whole)
}

/// A count.
pub(super) fn count(number: usize) -> String {
    grouped(u64::try_from(number).unwrap_or(u64::MAX))
}

/// `1 host`, `2,000 hosts`.
pub(super) fn several(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", grouped(number))
}

/// A span of time in its largest unit, rounded down: `40 s`, `3 min`, `5 h`, `12 days`.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long ago, with the exact time for those who want it.
pub(super) fn ago(at_ms: u64, now_ms: u64) -> Markup {
    let exact = time_text(at_ms);
    html! { time datetime=(exact) title=(exact) { (span(now_ms.saturating_sub(at_ms))) " ago" } }
}

/// `87 %`, of nothing 0.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

/// The beginning of a long text; the rest is shown where there is room for it.
pub(super) fn brief(text: &str) -> String {
    let mut kept: String = text.chars().take(BRIEF_CHARS_MAX).collect();
    if text.chars().nth(BRIEF_CHARS_MAX).is_some() {
        kept.push('…');
    }
    kept
}

/// A link to a host's page or an account's: the value is encoded.
pub(super) fn link(page: &str, name: &str, value: &str) -> String {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    format!("/dash/{page}?{query}")
}

/// How well a host is: one that should be connected and is not wants to be looked at.
pub(super) fn health(view: &HostView) -> Markup {
    let waits = view.status == HostStatus::Active && !view.connected;
    pill(if waits { "warn" } else { tone(view.status) }, view.status.as_text())
}

/// How well a status is.
pub(super) const fn tone(status: HostStatus) -> &'static str {
    match status {
        HostStatus::Active => "ok",
        HostStatus::Idle => "dim",
        HostStatus::Throttled => "warn",
        HostStatus::Offline | HostStatus::Banned => "bad",
    }
}

/// A status as a dot and a word.
pub(super) fn pill(tone: &str, word: &str) -> Markup {
    html! { span class=(format!("pill {tone}")) { (word) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_short() {
        let rates = [0.0, 0.01, 0.05, 0.44, 12.34, 99.96, 1_234.4];
        let shown = rates.map(rate);
        assert_eq!(shown, ["0", "< 0.1", "0.1", "0.4", "12.3", "100", "1,234"]);
        assert_eq!([1, 2_000].map(|n| several(n, "host")), ["1 host", "2,000 hosts"]);
        assert_eq!(
            [119_000, 120_000, 7_200_000, 172_800_000].map(span),
            ["119 s", "2 min", "2 h", "2 days"]
        );
        assert_eq!((percent(1, 3), percent(1, 0)), (33, 0));
        assert_eq!(brief(&"x".repeat(91)).chars().count(), 91);
        assert_eq!(link("host", "name", "a b&c=\"d"), "/dash/host?name=a+b%26c%3D%22d");
    }

    /// SEC-10: what a stranger wrote is text, wherever it stands.
    #[test]
    fn hostile_text_is_escaped_in_elements_and_attributes() {
        let hostile = "\"><script>alert(1)</script>'&";
        let page = html! { a href=(hostile) title=(hostile) { (hostile) } }.into_string();
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches('"').count(), 4, "{page}");
        assert!(pill("ok", hostile).into_string().contains("&lt;script&gt;"));
    }
}
