//! What the log says of hosts that are about to lose events because of their limits (HOST-9).

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;

use super::Host;
use crate::domain::HostId;

/// Hosts that one line names; the metric and the API tell of all.
const NAMED_MAX: usize = 10;

/// Says once of each host that its limits have kept it from being read for too long, all new ones of one
/// look in one line. A host comes back here after another twelve hours behind at the earliest, so that
/// the lines are few however many hosts there are.
pub(super) fn tell(told: &Mutex<BTreeSet<HostId>>, losing: &[&Arc<Host>]) {
    let now: BTreeSet<HostId> = losing.iter().map(|host| host.id()).collect();
    let before = std::mem::replace(&mut *told.lock(), now);
    let new: Vec<_> = losing.iter().filter(|host| !before.contains(&host.id())).collect();
    if new.is_empty() {
        return;
    }
    let names: Vec<_> =
        new.iter().take(NAMED_MAX).map(|host| host.hostname().to_string()).collect();
    tracing::warn!(
        hosts = names.join(", "),
        count = new.len(),
        "limits have kept hosts from being read to their newest event for 12 hours: soon they delete \
         what was not read; raise their limits",
    );
}
