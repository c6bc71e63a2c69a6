//! Every dropped event, counted by reason and kept as examples per host and per account (I7).

use crate::domain::{DropReason, EventKind, HostId, HostSeq};

/// One dropped event, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// When, in ms since 1970.
    pub at_ms: u64,
    /// Host that sent it.
    pub host: HostId,
    /// Its number there, if known.
    pub host_seq: Option<HostSeq>,
    /// `None` when the frame was too broken to tell.
    pub kind: Option<EventKind>,
    /// DID as sent, escaped and cut to 256 characters; `None` when unknown.
    pub did: Option<String>,
    /// Why.
    pub reason: DropReason,
    /// What was wrong in this case: expected and found CIDs, revs, hosts; cut to 500 characters.
    pub detail: String,
}

/// Counters and the last examples; shared, bounded, in memory only.
#[derive(Debug, Default)]
pub struct Drops {}

impl Drops {
    /// Counts and keeps one.
    pub fn record(&self, _dropped: Dropped) {
        todo!()
    }
    /// Totals since start, in the order of [`DropReason::ALL`].
    pub fn totals(&self) -> Vec<(DropReason, u64)> {
        todo!()
    }
    /// Totals of one host.
    pub fn host_totals(&self, _host: HostId) -> Vec<(DropReason, u64)> {
        todo!()
    }
    /// Last examples of a host, newest first, at most 32.
    pub fn of_host(&self, _host: HostId) -> Vec<Dropped> {
        todo!()
    }
    /// Last examples of a DID, newest first, at most 8.
    pub fn of_did(&self, _did: &str) -> Vec<Dropped> {
        todo!()
    }
}
