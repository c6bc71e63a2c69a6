//! What metrics say of lists that are read.

use metrics::{counter, gauge};

use crate::telemetry::metrics as names;

/// Lists of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Hosts,
    Accounts,
    Directory,
}

impl List {
    const fn label(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Accounts => "accounts",
            Self::Directory => "directory",
        }
    }

    /// A page was read, or not.
    ///
    /// * `found` – what it named and was not known
    pub(super) fn page(self, is_read: bool, found: u64) {
        let outcome = if is_read { "read" } else { "failed" };
        counter!(names::DISCOVERY_PAGES, "list" => self.label(), "outcome" => outcome).increment(1);
        counter!(names::DISCOVERY_FOUND, "list" => self.label()).increment(found);
    }

    /// So many are being read now.
    pub(super) fn running(self, count: usize) {
        gauge!(names::DISCOVERY_RUNNING, "list" => self.label()).set(level(count));
    }
}

/// So many candidates are kept.
pub(super) fn candidates(count: usize, most: usize) {
    gauge!(names::DISCOVERY_CANDIDATES_DEPTH).set(level(count));
    gauge!(names::DISCOVERY_CANDIDATES_LIMIT).set(level(most));
}

fn level(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
