//! The two-field status model of accounts and the status of hosts (spec 9.2, HOST-1).

/// Longest status text that is kept from outside (SEC-10).
pub const STATUS_CHARS_MAX: usize = 64;
/// The same in bytes, so that it fits the note of a log record.
const STATUS_BYTES_MAX: usize = 128;

/// What the host of an account last said about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UpstreamStatus {
    /// `active: true` without a status that matters.
    #[default]
    Active,
    /// `active: true, status: "desynchronized"`; commits go on (ACC-4).
    ActiveDesynchronized,
    /// `active: true, status: "throttled"`; commits go on (ACC-4).
    ActiveThrottled,
    /// `active: false, status: "takendown"`
    Takendown,
    /// `active: false, status: "suspended"`
    Suspended,
    /// `active: false, status: "deleted"`, or the DID is tombstoned (ACC-13).
    Deleted,
    /// `active: false, status: "deactivated"`
    Deactivated,
    /// `active: false, status: "desynchronized"`
    Desynchronized,
    /// `active: false, status: "throttled"`
    Throttled,
    /// `active: false` without a status, or with `"active"` (ACC-5).
    Inactive,
    /// `active: false` with a status that we do not know, at most [`STATUS_CHARS_MAX`] characters.
    Other(Box<str>),
}

impl UpstreamStatus {
    /// The status that the two fields of an `#account` message mean (ACC-5).
    pub fn from_wire(active: bool, status: Option<&str>) -> Self {
        match (active, status) {
            (true, Some("desynchronized")) => Self::ActiveDesynchronized,
            (true, Some("throttled")) => Self::ActiveThrottled,
            (true, _) => Self::Active,
            (false, Some("takendown")) => Self::Takendown,
            (false, Some("suspended")) => Self::Suspended,
            (false, Some("deleted")) => Self::Deleted,
            (false, Some("deactivated")) => Self::Deactivated,
            (false, Some("desynchronized")) => Self::Desynchronized,
            (false, Some("throttled")) => Self::Throttled,
            (false, Some("" | "active")) => Self::Inactive,
            (false, Some(other))
                if other.len() <= STATUS_BYTES_MAX && other.chars().count() <= STATUS_CHARS_MAX =>
            {
                Self::Other(other.into())
            }
            (false, _) => Self::Inactive,
        }
    }

    /// Whether commits of the account may pass as far as its host is concerned (ACC-4).
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active | Self::ActiveDesynchronized | Self::ActiveThrottled)
    }

    /// Text form for the store and for log notes: `active`, `active+throttled`, `deleted`, ….
    pub fn as_text(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::ActiveDesynchronized => "active+desynchronized",
            Self::ActiveThrottled => "active+throttled",
            Self::Inactive => "inactive",
            Self::Takendown => "takendown",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
            Self::Deactivated => "deactivated",
            Self::Desynchronized => "desynchronized",
            Self::Throttled => "throttled",
            Self::Other(text) => text,
        }
    }

    /// Reverse of [`Self::as_text`]; any text means something.
    pub fn from_text(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "active+desynchronized" => Self::ActiveDesynchronized,
            "active+throttled" => Self::ActiveThrottled,
            "inactive" => Self::Inactive,
            other => Self::from_wire(false, Some(other)),
        }
    }
}

/// What this relay decided about an account; overrides its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalStatus {
    /// Nothing decided.
    #[default]
    None,
    /// Taken down by an operator.
    Takendown,
    /// Suspended by an operator.
    Suspended,
    /// Over a limit of its host or of its own (ACC-9, VAL-20).
    Throttled,
}

impl LocalStatus {
    /// Text form for the store.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Takendown => "takendown",
            Self::Suspended => "suspended",
            Self::Throttled => "throttled",
        }
    }

    /// Reverse of [`Self::as_text`], `None` for a text that we never wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::None, Self::Takendown, Self::Suspended, Self::Throttled]
            .into_iter()
            .find(|status| status.as_text() == text)
    }
}

/// What consumers and the API are told about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective<'a> {
    /// Whether commits pass.
    pub active: bool,
    /// The `status` on the wire, if any.
    pub status: Option<&'a str>,
}

/// Combines what the host said with what we decided (table of spec 9.2, ACC-2).
pub fn effective(upstream: &UpstreamStatus, local: LocalStatus) -> Effective<'_> {
    let inactive = |status| Effective { active: false, status: Some(status) };
    match (upstream, local) {
        (UpstreamStatus::Deleted, _) => inactive("deleted"),
        (_, LocalStatus::Takendown) => inactive("takendown"),
        (_, LocalStatus::Suspended) => inactive("suspended"),
        (_, LocalStatus::Throttled) => inactive("throttled"),
        (UpstreamStatus::Active, LocalStatus::None) => Effective { active: true, status: None },
        (UpstreamStatus::ActiveDesynchronized, LocalStatus::None) => {
            Effective { active: true, status: Some("desynchronized") }
        }
        (UpstreamStatus::ActiveThrottled, LocalStatus::None) => {
            Effective { active: true, status: Some("throttled") }
        }
        (UpstreamStatus::Inactive, LocalStatus::None) => Effective { active: false, status: None },
        (other, LocalStatus::None) => inactive(other.as_text()),
    }
}

/// Status of a host, as `com.atproto.sync.defs#hostStatus` names it (HOST-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostStatus {
    /// Connected, or reconnecting after a short failure.
    Active,
    /// Disconnected on purpose because nothing happened there.
    Idle,
    /// Repeated failures; tried again for ever, more slowly (UP-10).
    Offline,
    /// Over its quota.
    Throttled,
    /// Banned by an operator.
    Banned,
}

impl HostStatus {
    /// All statuses.
    pub const ALL: [Self; 5] =
        [Self::Active, Self::Idle, Self::Offline, Self::Throttled, Self::Banned];

    /// The name in the lexicon and in the store.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Offline => "offline",
            Self::Throttled => "throttled",
            Self::Banned => "banned",
        }
    }

    /// Reverse of [`Self::as_text`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_text() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec 9.2, the table row by row; A14: deleted wins over a local takedown.
    #[test]
    fn effective_status_follows_the_table() {
        use {LocalStatus as L, UpstreamStatus as U};
        let rows: &[(U, L, bool, Option<&str>)] = &[
            (U::Deleted, L::Takendown, false, Some("deleted")),
            (U::Active, L::Takendown, false, Some("takendown")),
            (U::Deactivated, L::Suspended, false, Some("suspended")),
            (U::Active, L::Throttled, false, Some("throttled")),
            (U::Deactivated, L::None, false, Some("deactivated")),
            (U::Inactive, L::None, false, None),
            (U::Other("frozen".into()), L::None, false, Some("frozen")),
            (U::ActiveDesynchronized, L::None, true, Some("desynchronized")),
            (U::ActiveThrottled, L::None, true, Some("throttled")),
            (U::Active, L::None, true, None),
        ];
        for (upstream, local, active, status) in rows {
            let told = effective(upstream, *local);
            assert_eq!((told.active, told.status), (*active, *status), "{upstream:?} {local:?}");
        }
    }

    /// ACC-5: `active` decides, unknown statuses are tolerated, long ones are not kept.
    #[test]
    fn status_from_the_wire_trusts_active_first() {
        use UpstreamStatus as U;
        assert_eq!(U::from_wire(true, Some("deleted")), U::Active);
        assert_eq!(U::from_wire(false, Some("active")), U::Inactive);
        assert_eq!(U::from_wire(false, Some("frozen")), U::Other("frozen".into()));
        assert_eq!(U::from_wire(false, Some(&"x".repeat(65))), U::Inactive);
        assert_eq!(U::from_wire(false, None), U::Inactive);
        for text in ["active", "active+throttled", "inactive", "deleted", "throttled", "frozen"] {
            assert_eq!(U::from_text(text).as_text(), text);
        }
    }
}
