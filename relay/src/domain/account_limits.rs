//! How much one account may send, and why one is held (HOST-12, VAL-20, ACC-9). Pure values.

use relay_protocol::Did;

/// What one account may send; 0 stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimits {
    /// Events per second in the long run; five seconds' worth at once.
    pub per_second: u64,
    /// Events per hour.
    pub per_hour: u64,
    /// Events per day.
    pub per_day: u64,
    /// Commits per day that do not follow the one before (VAL-13).
    pub discontinuities_per_day: u64,
}

impl AccountLimits {
    /// No limit at all.
    pub const NONE: Self =
        Self { per_second: 0, per_hour: 0, per_day: 0, discontinuities_per_day: 0 };
}

impl Default for AccountLimits {
    /// HOST-12: above what the limits of hosts let a person's programs write.
    fn default() -> Self {
        Self { per_second: 10, per_hour: 5_000, per_day: 35_000, discontinuities_per_day: 1_000 }
    }
}

/// Why the relay itself holds an account as throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldFor {
    /// Its host has more accounts than it may (ACC-9).
    HostFull,
    /// It sent more events than one account may (HOST-12).
    Rate,
    /// Too many of its commits did not follow the one before (VAL-20).
    Discontinuities,
}

impl HeldFor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HostFull, Self::Rate, Self::Discontinuities];

    /// The label in metrics and in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::HostFull => "host_full",
            Self::Rate => "rate",
            Self::Discontinuities => "discontinuities",
        }
    }

    /// One sentence for a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::HostFull => {
                "Its host has more accounts than it may; it is released when there is room."
            }
            Self::Rate => "It sent more events than one account may; it is released by itself.",
            Self::Discontinuities => {
                "Too many of its commits did not follow the one before; it is released by itself."
            }
        }
    }

    /// The number for the store; 0 is no hold.
    pub const fn code(self) -> u64 {
        match self {
            Self::HostFull => 1,
            Self::Rate => 2,
            Self::Discontinuities => 3,
        }
    }

    /// Reverse of [`Self::code`].
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|held| held.code() == code)
    }
}

/// An account is to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which.
    pub did: Did,
    /// Why.
    pub why: HeldFor,
    /// When it is released by itself, ms since 1970; 0 = when its host has room.
    pub until_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hold reads as it was written.
    #[test]
    fn the_reason_of_a_hold_survives_the_store() {
        for held in HeldFor::ALL {
            assert_eq!(HeldFor::from_code(held.code()), Some(held));
            assert!(held.words().ends_with('.'));
        }
        assert_eq!(HeldFor::from_code(0), None);
    }
}
