//! One event of the network, with what has to become of it.

use crate::{COMMIT_FAULTS, Fault, oracle::Verdict, wire::Kind};
use bytes::Bytes;

/// Kinds by their number in files.
pub(super) const KINDS: [Kind; 4] = [Kind::Commit, Kind::Sync, Kind::Identity, Kind::Account];

/// What has to become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It has to come out.
    Pass,
    /// It has to be dropped for what is wrong with it ([`Fault::reasons`]).
    Faulty,
    /// It has to be dropped because its rev is not above that of an event that passed (VAL-7).
    Stale,
    /// It has to be dropped because another host sends it (VAL-4).
    Foreign,
}

impl Expect {
    /// Every one of them, by its number in files.
    pub(super) const ALL: [Self; 4] = [Self::Pass, Self::Faulty, Self::Stale, Self::Foreign];

    pub(crate) fn verdict(self) -> Verdict {
        if self == Self::Pass { Verdict::Must } else { Verdict::Never }
    }

    /// Labels under which a relay may count it as dropped.
    pub fn reasons(self, fault: Option<Fault>) -> &'static [&'static str] {
        match (self, fault) {
            (Self::Faulty, Some(fault)) => fault.reasons(),
            (Self::Stale, _) => &["stale"],
            // A host that asks much about accounts of others gets no lookups (SEC-3).
            (Self::Foreign, _) => &["wrong_host", "identity_unavailable"],
            _ => &[],
        }
    }
}

/// An event as its host sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number of the account.
    pub account: u32,
    /// Number of the host that sends it.
    pub host: u32,
    /// Number on the host's stream.
    pub number: u64,
    /// Its kind.
    pub kind: Kind,
    /// What is wrong, or unusual, with it.
    pub fault: Option<Fault>,
    /// What has to become of it.
    pub expect: Expect,
    /// TID of `#commit` and `#sync`, else 0.
    pub rev: u64,
    /// Digest of the commit block of `#commit` and `#sync`, else 0.
    pub commit: [u8; 32],
    /// First 64 bits of the digest of the payload that a relay has to send if the event passes;
    /// without `seq`, and for `#identity` without `handle`.
    pub digest: u64,
    /// The frame.
    pub frame: Bytes,
}

impl Event {
    /// Number of a fault in files; 0 for none.
    pub(super) fn fault_number(fault: Option<Fault>) -> u8 {
        let at = fault.and_then(|fault| COMMIT_FAULTS.iter().position(|other| *other == fault));
        at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0)
    }

    pub(super) fn fault_of(number: u8) -> Option<Fault> {
        COMMIT_FAULTS.get(usize::from(number).checked_sub(1)?).copied()
    }
}
