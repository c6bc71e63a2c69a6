//! The nouns of the relay: numbers that must not be mixed, statuses, reasons.
//!
//! Pure values with no behaviour beyond their own rules, so that every other module can name them.
//! Owns nothing, bounds nothing; strings that came from outside are cut where a type says so.

mod account;
mod account_limits;
mod actor;
mod host_rules;
mod numbers;
mod reasons;
mod status;

pub use account::{Account, LastEvent, RepoState, Standing};
pub use account_limits::{AccountLimits, HeldFor, Hold};
pub use actor::Actor;
pub use host_rules::{
    DomainBan, HOST_CHANGES_MAX, HostChange, HostChangeKind, OwnLimits, Strictness,
};
pub use numbers::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq};
pub use reasons::{CloseReason, DropReason};
pub use status::{Effective, HostStatus, LocalStatus, STATUS_CHARS_MAX, UpstreamStatus, effective};
