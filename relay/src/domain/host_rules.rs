//! What may be decided about a host, and the record of it. Pure values.

use super::Actor;

/// Changes that are kept of one host; older ones make room.
pub const HOST_CHANGES_MAX: u64 = 100;

/// Limits that an operator or the policy file set for one host; `None` leaves a limit to the rules
/// that hold for all hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnLimits {
    /// Live accounts.
    pub accounts: Option<u64>,
    /// Events per second.
    pub per_second: Option<u64>,
    /// Events per hour.
    pub per_hour: Option<u64>,
    /// Events per day.
    pub per_day: Option<u64>,
}

/// How events of one host are validated (DESIGN 10.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// As the settings say.
    #[default]
    Default,
    /// Strict, whatever the settings say.
    Strict,
    /// Spared until a time, ms since 1970, unless it has ratcheted. `u64::MAX` is without an end.
    LenientUntil(u64),
}

impl Strictness {
    /// The word for the store and for people.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::LenientUntil(_) => "lenient",
        }
    }

    /// Reverse of [`Self::as_text`] with the time that belongs to it.
    pub fn from_text(text: &str, until_ms: u64) -> Option<Self> {
        match text {
            "default" => Some(Self::Default),
            "strict" => Some(Self::Strict),
            "lenient" => Some(Self::LenientUntil(until_ms)),
            _ => None,
        }
    }

    /// The time that goes with it, ms since 1970; 0 = none.
    pub const fn until_ms(self) -> u64 {
        match self {
            Self::LenientUntil(until_ms) => until_ms,
            Self::Default | Self::Strict => 0,
        }
    }
}

/// What of a host was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostChangeKind {
    /// Its status (HOST-1), bans of its domain included.
    Status,
    /// Limits of accounts and events.
    Limits,
    /// How strictly it is validated.
    Strictness,
    /// Until when alerts about it are silenced.
    Alerts,
    /// Its cursor was reset.
    Cursor,
    /// Somebody asked for a connection to be made.
    Connection,
}

impl HostChangeKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Status,
        Self::Limits,
        Self::Strictness,
        Self::Alerts,
        Self::Cursor,
        Self::Connection,
    ];

    /// The word for the store and for people.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Limits => "limits",
            Self::Strictness => "strictness",
            Self::Alerts => "alerts",
            Self::Cursor => "cursor",
            Self::Connection => "connection",
        }
    }

    /// Reverse of [`Self::as_text`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_text() == text)
    }
}

/// One line of a host's history: what changed, why, and who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostChange {
    /// When, ms since 1970.
    pub at_ms: u64,
    /// What.
    pub kind: HostChangeKind,
    /// How it was before, in words.
    pub before: String,
    /// How it is since, in words.
    pub after: String,
    /// Why, in words; empty when nobody said.
    pub reason: String,
    /// Who.
    pub actor: Actor,
}

/// A domain whose hosts are not read: the domain itself and everything below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainBan {
    /// The domain, normalised: `example.com`, or `top` for all of a top-level domain.
    pub domain: String,
    /// Since when, ms since 1970.
    pub at_ms: u64,
    /// Who banned it; [`Actor::Policy`] when it stands in the policy file.
    pub actor: Actor,
    /// Why, in words; may be empty.
    pub note: String,
}
