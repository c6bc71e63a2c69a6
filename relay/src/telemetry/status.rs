//! The status line: live on a terminal, a log line every 30 s elsewhere.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Screen;

/// How often a terminal is redrawn.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// How often a log line is written where nobody watches.
const LOG_EVERY: Duration = Duration::from_secs(30);
/// Drop reasons that are named in the line; the rest is in the sum.
const REASONS_SHOWN: usize = 3;

/// What the line is made of; totals count from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusFacts {
    /// Hosts with an open socket.
    pub hosts_connected: usize,
    /// Hosts known.
    pub hosts_known: usize,
    /// Events that became ours: verified and in the log.
    pub verified: u64,
    /// Dropped events by label of the reason; zeros may be left out.
    pub dropped: Vec<(&'static str, u64)>,
    /// Newest seq.
    pub head: u64,
    /// Retained events.
    pub window_events: u64,
    /// Bytes of the log on disk.
    pub window_bytes: u64,
    /// Connected consumers.
    pub consumers: usize,
}

impl StatusFacts {
    fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }
}

/// Turns facts into lines; keeps the last facts for the rate.
#[derive(Debug, Default)]
pub struct StatusLine {
    before: Option<(Instant, u64)>,
}

impl StatusLine {
    /// The line for these facts. The rate is what arrived since the call before.
    pub fn render(&mut self, facts: &StatusFacts, now: Instant) -> String {
        let arrived = facts.verified.saturating_add(facts.dropped_total());
        let rate = self.before.replace((now, arrived)).map_or(0, |(then, count)| {
            let millis = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX);
            arrived.saturating_sub(count).saturating_mul(1000) / millis.max(1)
        });
        // A narrow terminal cuts the end off: what a person looks for first comes first.
        format!(
            "hosts {}/{} | {} events/s | verified {} | dropped {} | consumers {} | head {} | window {} events, {}{}",
            facts.hosts_connected,
            facts.hosts_known,
            grouped(rate),
            grouped(facts.verified),
            grouped(facts.dropped_total()),
            facts.consumers,
            grouped(facts.head),
            grouped(facts.window_events),
            bytes(facts.window_bytes),
            reasons(&facts.dropped),
        )
    }
}

/// ` | dropped as bad_signature 7, stale 5, …`, the most frequent first.
fn reasons(dropped: &[(&'static str, u64)]) -> String {
    let mut shown: Vec<_> = dropped.iter().filter(|(_, count)| *count > 0).collect();
    if shown.is_empty() {
        return String::new();
    }
    shown.sort_by_key(|(label, count)| (std::cmp::Reverse(*count), *label));
    let more = if shown.len() > REASONS_SHOWN { ", …" } else { "" };
    let names: Vec<_> = shown
        .iter()
        .take(REASONS_SHOWN)
        .map(|(label, count)| format!("{label} {}", grouped(*count)))
        .collect();
    format!(" | dropped as {}{more}", names.join(", "))
}

/// A number as people read it, `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 GB`, decimal like the limits of the protocol.
fn bytes(count: u64) -> String {
    let mut scaled = count;
    let mut tenths = 0;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if scaled < 1000 {
            break;
        }
        tenths = scaled % 1000 / 100;
        scaled /= 1000;
        unit = next;
    }
    if unit == "B" { format!("{scaled} B") } else { format!("{scaled}.{tenths} {unit}") }
}

/// Shows the line until `stopping` is cancelled: once per second on a terminal, else as a log entry
/// every 30 s. `facts` is asked each time and must not block.
///
/// Cancel safety: may be dropped at any time; the last live line then stays on the terminal.
pub async fn status_line(
    screen: Screen,
    mut facts: impl FnMut() -> StatusFacts,
    stopping: CancellationToken,
) {
    let every = if screen.is_terminal() { LIVE_EVERY } else { LOG_EVERY };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut line = StatusLine::default();
    // The first tick is at once: it only takes the base of the rate.
    ticks.tick().await;
    line.render(&facts(), Instant::now());
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let text = line.render(&facts(), Instant::now());
        if screen.is_terminal() {
            screen.set_live(&text);
        } else {
            tracing::info!("{text}");
        }
    }
    screen.set_live("");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::screen::tests::Captured;

    fn facts() -> StatusFacts {
        StatusFacts {
            hosts_connected: 23,
            hosts_known: 25,
            verified: 12_345,
            dropped: vec![("stale", 5), ("bad_signature", 70), ("legacy", 0), ("fork", 5)],
            head: 12_345,
            window_events: 12_345,
            window_bytes: 61_700_000,
            consumers: 2,
        }
    }

    #[test]
    fn the_line_names_hosts_rate_reasons_window_and_consumers() {
        let mut line = StatusLine::default();
        let start = Instant::now();
        let mut now = facts();
        line.render(&now, start);
        now.verified += 2_500;

        let text = line.render(&now, start + Duration::from_secs(2));

        assert_eq!(
            text,
            "hosts 23/25 | 1,250 events/s | verified 14,845 | dropped 80 | consumers 2 | \
             head 12,345 | window 12,345 events, 61.7 MB | \
             dropped as bad_signature 70, fork 5, stale 5"
        );
    }

    #[test]
    fn numbers_are_grouped_and_sizes_are_decimal() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(20_000_000_000), "20,000,000,000");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(1_999_999), "1.9 MB");
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
    }

    /// Paused time: the line appears each second and leaves when the relay stops.
    #[tokio::test(start_paused = true)]
    async fn on_a_terminal_the_line_is_redrawn_and_taken_away_at_the_end() {
        let seen = Captured::default();
        let screen = Screen::new(Box::new(seen.clone()), true);
        let stopping = CancellationToken::new();
        let shown = status_line(screen, facts, stopping.clone());
        tokio::pin!(shown);

        tokio::select! {
            () = &mut shown => panic!("it ended by itself"),
            () = tokio::time::sleep(Duration::from_millis(2_500)) => {}
        }
        assert_eq!(seen.take().matches("hosts 23/25").count(), 2);
        stopping.cancel();
        shown.await;
        assert!(seen.take().ends_with("\r\x1b[2K"));
    }
}
