//! What can be known of a pair and of an account, and how much of it is.

/// How well a pair is known that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PairState {
    /// By a verified commit, or by the answer of the account's host.
    Proven,
    /// Imported from somebody else's list.
    Believed,
}

/// Why pairs of an account may be missing or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// It had records before we saw its first commit.
    OlderRecords,
    /// A commit did not follow the one before it.
    Discontinuity,
    /// A `#sync` replaced its state.
    Sync,
    /// A commit was passed on whose inversion proves nothing.
    Lenient,
    /// The event log does not reach back to where the index was.
    LogLost,
    /// Only somebody else's list names it.
    Imported,
    /// It is not active: deactivated, suspended, taken down, here or by its host. Nobody lists it, its
    /// host does not tell, and nobody is asked until it returns.
    Inactive,
    /// It came to another host, and what the one before said last may not have been heard.
    Moved,
    /// The index had no room for the name of a collection of its own.
    NoRoom,
}

impl Doubt {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OlderRecords,
        Self::Discontinuity,
        Self::Sync,
        Self::Lenient,
        Self::LogLost,
        Self::Imported,
        Self::Inactive,
        Self::Moved,
        Self::NoRoom,
    ];

    /// The name in answers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OlderRecords => "older_records",
            Self::Discontinuity => "discontinuity",
            Self::Sync => "sync",
            Self::Lenient => "lenient",
            Self::LogLost => "log_lost",
            Self::Imported => "imported",
            Self::Inactive => "inactive",
            Self::Moved => "moved",
            Self::NoRoom => "no_room",
        }
    }

    /// Whether the records of the account have to be found out: it is neither believed nor inactive.
    pub const fn is_uncertain(self) -> bool {
        !matches!(self, Self::Imported | Self::Inactive)
    }
}

/// What is known of all pairs of an account together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Whole {
    /// Nothing was said about it.
    #[default]
    Unmarked,
    /// Every pair is proven and none is missing.
    Complete,
    /// Some may be missing or wrong, until its host was asked.
    Unsure(Doubt),
    /// It was deleted and has none.
    Gone,
}

/// Rows of one collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectionCount {
    /// Accounts that have it by proof.
    pub proven: u64,
    /// Accounts that have it by somebody else's list.
    pub believed: u64,
}

impl CollectionCount {
    /// All rows.
    pub fn rows(self) -> u64 {
        self.proven.saturating_add(self.believed)
    }
}

/// Totals, maintained with each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Known collections, those without rows included.
    pub collections: u64,
    /// Proven pairs.
    pub proven: u64,
    /// Believed pairs.
    pub believed: u64,
    /// Accounts marked [`Whole::Complete`].
    pub complete: u64,
    /// Accounts marked [`Whole::Unsure`].
    pub unsure: u64,
    /// The same for each reason, in the order of [`Doubt::ALL`].
    pub doubts: [u64; Doubt::ALL.len()],
    /// Accounts marked [`Whole::Gone`].
    pub gone: u64,
}

impl Counts {
    /// Accounts that are unsure for this reason.
    pub fn doubted(self, doubt: Doubt) -> u64 {
        self.by_doubt().find(|(one, _)| *one == doubt).map_or(0, |(_, accounts)| accounts)
    }

    /// Accounts that are unsure, for each reason.
    pub fn by_doubt(self) -> impl Iterator<Item = (Doubt, u64)> {
        Doubt::ALL.into_iter().zip(self.doubts)
    }

    /// Accounts whose records have to be found out; the measure of how well the index knows them.
    pub fn uncertain(self) -> u64 {
        self.by_doubt()
            .filter(|(doubt, _)| doubt.is_uncertain())
            .map(|(_, accounts)| accounts)
            .sum()
    }

    /// Accounts that hosts are to be asked about: uncertain ones, and those that are only believed.
    pub fn to_ask(self) -> u64 {
        self.uncertain().saturating_add(self.doubted(Doubt::Imported))
    }

    /// Accounts that can be listed, of which the others are shares: inactive and deleted ones are none.
    pub fn listable(self) -> u64 {
        self.complete.saturating_add(self.to_ask())
    }
}
