//! Which hosts and accounts strict validation would touch if leniency ended now (DESIGN 10.14).

use std::sync::atomic::Ordering;

use super::{Host, Hosts, host::RATCHET_COMMITS};
use crate::{
    domain::DropReason,
    drops::{Dropped, Drops},
};

/// One host that is not strict for good yet.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Its name.
    pub hostname: String,
    /// Strict validation applies to it now.
    pub strict: bool,
    /// Until when it is spared, ms since 1970; 0 = it is not, `u64::MAX` = without an end.
    pub spared_until_ms: u64,
    /// Provable commits in a row; after [`Self::clean_commits_needed`] it is strict for good.
    pub clean_commits: u64,
    /// How many that takes.
    pub clean_commits_needed: u64,
    /// Events that passed since the start and that strict validation would have dropped, by reason.
    pub would_drop: Vec<(DropReason, u64)>,
    /// The last of them, newest first, each with its account and what was wrong.
    pub examples: Vec<Dropped>,
}

impl Readiness {
    /// Events that strict validation would have dropped.
    pub fn total(&self) -> u64 {
        self.would_drop.iter().map(|(_, count)| *count).fold(0, u64::saturating_add)
    }
}

impl Hosts {
    /// Hosts that are not strict for good, those of which most would be dropped first. One that is
    /// spared, sends commits, and is absent from the top of this list, is ready.
    pub fn readiness(&self, drops: &Drops) -> Vec<Readiness> {
        let open = |host: &std::sync::Arc<Host>| !host.strict_for_good.load(Ordering::Relaxed);
        let mut found: Vec<_> =
            self.all().into_iter().filter(open).map(|host| of(&host, drops)).collect();
        found.sort_by_key(|readiness| std::cmp::Reverse(readiness.total()));
        found
    }
}

fn of(host: &Host, drops: &Drops) -> Readiness {
    let mut would_drop = drops.lenient_host_totals(host.id());
    would_drop.retain(|(_, count)| *count > 0);
    Readiness {
        hostname: host.hostname().as_str().to_owned(),
        strict: host.is_strict(),
        spared_until_ms: host.spared_until_ms.load(Ordering::Relaxed),
        clean_commits: host.clean_commits.load(Ordering::Relaxed),
        clean_commits_needed: RATCHET_COMMITS,
        would_drop,
        examples: drops.lenient_of_host(host.id()),
    }
}
