//! Status of a host and what it is doing, for the API and for a person (HOST-1, UP-10). Pure.

use std::collections::VecDeque;

use crate::{
    domain::{Actor, HostChange, HostChangeKind, HostStatus},
    net::printable,
    store::HostRow,
};

/// Longest error text that is kept.
pub(super) const ERROR_CHARS_MAX: usize = 480;

/// Changes that wait to be written; of more the oldest are forgotten.
const CHANGES_MAX: usize = 20;

/// What the subscription does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the first try.
    Queued,
    /// Handshake under way.
    Dialling,
    /// Socket open.
    Connected {
        /// Since when, ms since 1970.
        since_ms: u64,
    },
    /// Socket open without cursor (UP-6).
    Confirming,
    /// Backoff.
    Waiting {
        /// When the next try is, ms since 1970.
        at_ms: u64,
        /// Which try that is, from 1 after a healthy stream.
        attempt: u32,
    },
    /// Left alone because it was over its limits (HOST-9).
    Resting {
        /// Until when, ms since 1970.
        until_ms: u64,
    },
    /// Nothing: banned, disconnected on purpose, or the relay stops.
    AtRest,
}

impl Phase {
    pub(super) fn is_connected(self) -> bool {
        matches!(self, Self::Connected { .. } | Self::Confirming)
    }

    /// In words, at this time.
    pub(super) fn in_words(self, now_ms: u64) -> String {
        match self {
            Self::Queued => "waiting for its first try".to_owned(),
            Self::Dialling => "connecting".to_owned(),
            Self::Connected { since_ms } => {
                format!("connected for {}", span(now_ms.saturating_sub(since_ms)))
            }
            Self::Confirming => {
                "connected without cursor, to see whether the host lost its sequence".to_owned()
            }
            Self::Waiting { at_ms, attempt } => {
                let left = span(at_ms.saturating_sub(now_ms));
                format!("next try in {left} (attempt {attempt})")
            }
            Self::Resting { until_ms } => {
                let left = span(until_ms.saturating_sub(now_ms));
                format!("over its limits, read again in {left}")
            }
            Self::AtRest => "not subscribed".to_owned(),
        }
    }
}

/// The part of a host that changes when something happens to its connection.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) status: HostStatus,
    pub(super) phase: Phase,
    pub(super) ever_connected: bool,
    pub(super) last_error: Option<String>,
    pub(super) last_error_ms: Option<u64>,
    pub(super) gap_ms: Option<u64>,
    pub(super) cursor_reset_ms: u64,
    pub(super) status_reason: Option<String>,
    pub(super) status_since_ms: u64,
    /// The ban of a domain that covers the host; its own status is kept meanwhile.
    pub(super) domain_ban: Option<String>,
    /// Changes that are not in the store yet, oldest first.
    pub(super) changes: VecDeque<HostChange>,
}

impl Life {
    pub(super) fn new(row: &HostRow) -> Self {
        Self {
            status: row.status,
            phase: Phase::Queued,
            ever_connected: row.ever_connected,
            last_error: row.last_error.clone(),
            last_error_ms: None,
            gap_ms: None,
            cursor_reset_ms: row.cursor_reset_ms,
            status_reason: row.status_reason.clone(),
            status_since_ms: row.status_since_ms,
            domain_ban: None,
            changes: VecDeque::new(),
        }
    }

    /// Status as all see it: a banned domain is stronger than what the host has of its own.
    pub(super) fn status(&self) -> HostStatus {
        if self.domain_ban.is_some() { HostStatus::Banned } else { self.status }
    }

    /// Why it has that status.
    pub(super) fn status_reason(&self) -> Option<String> {
        match &self.domain_ban {
            Some(domain) => Some(format!("the domain {domain} is banned")),
            None => self.status_reason.clone(),
        }
    }

    /// Gives whether something changed that the store keeps.
    pub(super) fn connected(&mut self, now_ms: u64) -> bool {
        self.phase = Phase::Connected { since_ms: now_ms };
        let is_first = !self.ever_connected;
        self.ever_connected = true;
        let changes = self.may_change_to(HostStatus::Active);
        if changes {
            self.turn(HostStatus::Active, None, now_ms);
        }
        is_first || changes
    }

    /// The host was over its limits for too long.
    pub(super) fn throttle(&mut self, why: String, now_ms: u64) {
        // What an operator decided meanwhile stays.
        if matches!(self.status, HostStatus::Active | HostStatus::Offline) {
            self.turn(HostStatus::Throttled, Some(why), now_ms);
        }
    }

    /// Changes the status by a rule of the relay itself, and notes that.
    pub(super) fn turn(&mut self, status: HostStatus, why: Option<String>, now_ms: u64) {
        let before = self.status.as_text().to_owned();
        self.status = status;
        self.status_since_ms = now_ms;
        self.status_reason.clone_from(&why);
        self.note(HostChange {
            at_ms: now_ms,
            kind: HostChangeKind::Status,
            before,
            after: status.as_text().to_owned(),
            reason: why.unwrap_or_default(),
            actor: Actor::Relay,
        });
    }

    /// Keeps a change until it is written.
    pub(super) fn note(&mut self, change: HostChange) {
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    pub(super) fn failed(&mut self, why: &str, now_ms: u64) {
        self.last_error = Some(printable(why, ERROR_CHARS_MAX));
        self.last_error_ms = Some(now_ms);
    }

    /// Gives whether the status changed.
    pub(super) fn set_offline(&mut self, offline: bool, now_ms: u64) -> bool {
        let status = if offline { HostStatus::Offline } else { self.status };
        let changes = self.may_change_to(status);
        if changes {
            self.turn(status, self.last_error.clone(), now_ms);
        }
        changes
    }

    /// What an operator or a quota decided is not undone by a connection.
    fn may_change_to(&self, status: HostStatus) -> bool {
        let free =
            matches!(self.status, HostStatus::Active | HostStatus::Idle | HostStatus::Offline);
        free && self.status != status
    }
}

/// A span of time as a person says it, rounded down.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_read_as_sentences() {
        let rows = [
            (Phase::Connected { since_ms: 10_000 }, "connected for 3 min"),
            (Phase::Waiting { at_ms: 230_000, attempt: 7 }, "next try in 40 s (attempt 7)"),
            (Phase::Resting { until_ms: 8_000_000 }, "over its limits, read again in 2 h"),
            (Phase::Waiting { at_ms: 1, attempt: 1 }, "next try in 0 s (attempt 1)"),
            (Phase::Waiting { at_ms: 8_000_000, attempt: 1 }, "next try in 2 h (attempt 1)"),
        ];
        for (phase, words) in rows {
            assert_eq!(phase.in_words(190_000), words);
        }
        assert_eq!(span(86_400_000 * 3), "3 days");
    }

    fn life(status: HostStatus) -> Life {
        Life {
            status,
            phase: Phase::Queued,
            ever_connected: true,
            last_error: None,
            last_error_ms: None,
            gap_ms: None,
            cursor_reset_ms: 0,
            status_reason: None,
            status_since_ms: 0,
            domain_ban: None,
            changes: VecDeque::new(),
        }
    }

    /// HOST-1: a connection moves a host between active and offline, but undoes no decision.
    #[test]
    fn a_connection_changes_only_what_connections_decide() {
        use HostStatus as S;
        let rows = [
            (S::Active, S::Offline, S::Active),
            (S::Idle, S::Offline, S::Active),
            (S::Offline, S::Offline, S::Active),
            (S::Throttled, S::Throttled, S::Throttled),
            (S::Banned, S::Banned, S::Banned),
        ];
        for (before, after_failures, after_connect) in rows {
            let mut host = life(before);
            assert_eq!(host.set_offline(true, 1), before != after_failures);
            assert_eq!(host.status, after_failures, "{before:?}");
            assert_eq!(host.connected(1), after_failures != after_connect);
            assert_eq!(host.status, after_connect, "{before:?}");
        }
    }

    /// HOST-1: each change of status says why, and a host that flaps holds no memory for it.
    #[test]
    fn changes_of_status_are_noted_with_their_reason() {
        let mut host = life(HostStatus::Active);
        host.failed("refused", 4);
        host.set_offline(true, 5);
        assert_eq!((host.status_reason().as_deref(), host.status_since_ms), (Some("refused"), 5));
        let change = host.changes.back().unwrap();
        assert_eq!(
            [&*change.before, &change.after, &change.reason],
            ["active", "offline", "refused"]
        );
        for now_ms in 6..100 {
            host.connected(now_ms);
            host.set_offline(true, now_ms);
        }
        assert_eq!(host.changes.len(), CHANGES_MAX);
        assert_eq!(host.changes.back().unwrap().at_ms, 99);
    }

    /// HOST-3: while its domain is banned, what the host has of its own is kept.
    #[test]
    fn a_banned_domain_hides_the_own_status() {
        let mut host = life(HostStatus::Throttled);
        host.domain_ban = Some("example.com".to_owned());
        assert_eq!(host.status(), HostStatus::Banned);
        assert!(host.status_reason().unwrap().contains("example.com"));
        host.domain_ban = None;
        assert_eq!(host.status(), HostStatus::Throttled);
    }

    /// UP-10: a failure or two do not make a host offline.
    #[test]
    fn a_short_failure_leaves_the_status_alone() {
        let mut host = life(HostStatus::Active);
        assert!(!host.set_offline(false, 1));
        assert_eq!(host.status, HostStatus::Active);
        assert!(host.set_offline(true, 1));
    }
}
