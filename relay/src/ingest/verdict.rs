//! What `judge` decides.

use relay_protocol::Edit;

use crate::{
    accounts::levels::Exceeded,
    domain::{DropReason, RepoState, UpstreamStatus},
};

/// The decision about one message: it passes, or it stops for a reason or for a question.
pub(super) type Verdict<'m> = Result<Pass<'m>, Stop>;

/// Why a message does not pass now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Never; the text names what differed.
    Drop(DropReason, String),
    /// Not before this was asked; then the message is judged again.
    Ask(Ask),
    /// Not before this time has passed, ms (HOST-12); then the message is judged again.
    Later(u64),
    /// Never, and the account is held from now on, because it went over this limit (HOST-12).
    Over(Exceeded),
}

impl Stop {
    /// A drop with its detail.
    pub(super) fn drop(reason: DropReason, detail: impl Into<String>) -> Self {
        Self::Drop(reason, detail.into())
    }
}

/// What has to be asked of the network before a message can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The account is not known (VAL-3).
    FirstSight,
    /// The account is at another host as far as we know (VAL-4).
    Host,
    /// The key is unknown, or the signature does not verify (VAL-10).
    Key,
    /// Key and host were confirmed too long ago to be used (RES-2).
    Expired,
    /// The message is an `#identity` (IDE-1).
    Announced,
    /// The account is inactive but sends commits (VAL-6).
    Status,
}

impl Ask {
    /// The label in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::FirstSight => "first_sight",
            Self::Host => "host_mismatch",
            Self::Key => "signature",
            Self::Expired => "expired",
            Self::Announced => "announced",
            Self::Status => "status",
        }
    }
}

/// A message that passes, and what changes with it.
#[derive(Debug, Default)]
pub(super) struct Pass<'m> {
    /// Changes of the frame, apart from `seq` and `time`.
    pub(super) edits: Vec<Edit<'m>>,
    /// `time` is not a datetime and has to be replaced (SYN-9).
    pub(super) bad_time: bool,
    /// New state of the repo.
    pub(super) repo: Option<RepoState>,
    /// New word of the host about the account.
    pub(super) upstream: Option<UpstreamStatus>,
    /// How a commit follows the state before it.
    pub(super) continuity: Option<Continuity>,
    /// What strict validation would have dropped it for (DESIGN 10.14).
    pub(super) spared: Option<(DropReason, String)>,
    /// A `#sync` that repeats the known state (SYNC-4).
    pub(super) repeats: bool,
    /// Hash of what an announcement says, to recognise its repetition.
    pub(super) says: u64,
    /// An `#identity` that the DID document does not bear out yet (RES-4).
    pub(super) unconfirmed: bool,
}

/// How a commit relates to the state of its repo (VAL-13, 16, 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuity {
    /// No state was known (VAL-19).
    First,
    /// prevData and since are ours.
    Continuous,
    /// prevData is ours, since is not (VAL-18).
    SinceMismatch,
    /// prevData is not ours; passes all the same (VAL-16).
    Discontinuous,
}
