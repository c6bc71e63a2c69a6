//! Numbers with a meaning; there is no `From` between any two of them.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

number! {
    /// Our number of an event: 1 ≤ seq < 2^53, strictly increasing, never reused (CUR-9, I4).
    Seq(u64)
}
number! {
    /// The number a host gave an event on its own stream.
    HostSeq(u64)
}
number! {
    /// How often the cursor of a host was reset; host seqs of two epochs cannot be compared.
    Epoch(u32)
}
number! {
    /// Number of a host from first sight. 0 is this relay itself, for events of its own making.
    HostId(u32)
}
number! {
    /// Number of an account from first sight; later accounts have higher ones.
    AccountNo(u64)
}

impl HostId {
    /// The relay itself: `#account` events of its own making carry it.
    pub const RELAY: Self = Self(0);
}

impl Seq {
    /// Largest seq that a JSON consumer can hold (CUR-9).
    pub const MAX: Self = Self((1 << 53) - 1);
}

/// What kind of event a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// `#commit`
    Commit = 1,
    /// `#sync`
    Sync = 2,
    /// `#identity`
    Identity = 3,
    /// `#account`
    Account = 4,
}

impl EventKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Commit, Self::Sync, Self::Identity, Self::Account];

    /// The kind with this code in a log record, `None` for an unknown one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The code in a log record.
    pub const fn code(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Sync => 2,
            Self::Identity => 3,
            Self::Account => 4,
        }
    }

    /// The name as the wire spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "#commit",
            Self::Sync => "#sync",
            Self::Identity => "#identity",
            Self::Account => "#account",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN 10.1: a kind comes back from its code in a record; other codes are nothing.
    #[test]
    fn kinds_come_back_from_their_codes() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_code(kind.code()), Some(kind));
        }
        for code in [0, 5, 255] {
            assert_eq!(EventKind::from_code(code), None);
        }
    }
}
