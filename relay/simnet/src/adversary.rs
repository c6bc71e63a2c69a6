//! What a host can do wrong, one named fault at a time.
//!
//! A fault is put on an account with [`crate::Account::with`] and strikes at its next event that it
//! can strike. Most of them no real PDS produces, which is why they are made here.

use crate::wire::Kind;

mod catalogue;
pub mod deep;
pub(crate) mod spoil;

pub(crate) use catalogue::PathAnswer;
pub use catalogue::{Adversary, CheckTrick, HandshakeTrick, IdentityTrick, StreamTrick};

/// Where a relay meets a fault; the checks of the decision table come in this order (spec 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before anything is looked up: VAL-1, VAL-2, UP-7.
    Decode,
    /// After authority, status and staleness: VAL-8.
    Rev,
    /// The content: VAL-9 to VAL-12.
    Content,
    /// Not at all: the event has to pass.
    Passes,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident: $stage:ident, $kinds:ident, [$($reason:literal),*];)*) => {
        /// Something wrong, or unusual, with one event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Where a relay meets it.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$name => Stage::$stage,)* }
            }

            /// The reasons under which the event may be counted as dropped; the first one is the
            /// most exact. Empty when the event has to pass.
            pub const fn reasons(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($reason),*],)* }
            }

            /// Whether it can strike events of this kind.
            pub fn strikes(self, kind: Kind) -> bool {
                match self { $(Self::$name => $kinds.contains(&kind),)* }
            }
        }
    };
}

const COMMIT: &[Kind] = &[Kind::Commit];
const SYNC: &[Kind] = &[Kind::Sync];
const SIGNED: &[Kind] = &[Kind::Commit, Kind::Sync];
const ANY: &[Kind] = &[Kind::Commit, Kind::Sync, Kind::Identity, Kind::Account];

faults! {
    /// Signed with a key that the account never had (KEY-1).
    WrongKey: Content, SIGNED, ["bad_signature"];
    /// Signed with the key before the last rotation, or an unknown one if there was none (RES-3).
    RetiredKey: Content, SIGNED, ["bad_signature"];
    /// The right signature with `n − s` (KEY-2).
    HighS: Content, SIGNED, ["bad_signature"];
    /// The right signature in DER (KEY-1).
    DerSignature: Content, SIGNED, ["bad_signature", "bad_commit"];
    /// One bit of the signature flipped.
    FlippedSignature: Content, SIGNED, ["bad_signature"];
    /// `version` 2 in the commit object (COM-1).
    WrongVersion: Content, SIGNED, ["bad_commit"];
    /// No `prev` key in the commit object (COM-1).
    NoPrevKey: Content, SIGNED, ["bad_commit"];
    /// An unknown key in the commit object, which is signed with it (COM-2).
    UnknownCommitField: Passes, SIGNED, [];
    /// The commit object names another DID (COM-4).
    DidMismatch: Content, SIGNED, ["commit_mismatch"];
    /// The commit object has another rev (COM-4).
    RevMismatch: Content, SIGNED, ["commit_mismatch"];
    /// The message names another commit CID than the first root (COM-4).
    CommitCidMismatch: Content, COMMIT, ["commit_mismatch"];
    /// The rev of the event before (VAL-7).
    EqualRev: Rev, COMMIT, ["stale"];
    /// A rev below that of the event before (VAL-7, SYNC-6).
    StaleRev: Rev, SIGNED, ["stale"];
    /// A rev a day ahead of the real time (VAL-8).
    FutureRev: Rev, SIGNED, ["future_rev"];
    /// `prevData` is not the root before the operations (VAL-12).
    WrongPrevData: Content, COMMIT, ["proof_mismatch"];
    /// No `prevData` although there is a commit before (LEG-1).
    NoPrevData: Content, COMMIT, ["legacy"];
    /// Neither `prevData` nor `prev` in the operations, as before Sync v1.1 (LEG-1).
    Legacy: Content, COMMIT, ["legacy"];
    /// A node on the path of an operation is missing (INV-1 PARTIAL).
    MissingNode: Content, COMMIT, ["proof_incomplete", "bad_tree", "bad_ops"];
    /// A node whose bytes do not have its CID (ENC-13).
    CorruptNode: Content, COMMIT, ["bad_tree", "bad_commit", "proof_incomplete"];
    /// An operation that happened is not listed (INV-10).
    OmittedOp: Content, COMMIT, ["proof_mismatch", "bad_record", "proof_incomplete"];
    /// A create that did not happen is listed (INV-10).
    ExtraCreate: Content, COMMIT, ["bad_tree", "proof_mismatch", "bad_ops", "proof_incomplete", "bad_record"];
    /// A `prev` of an update or delete that was not the value before (INV-10).
    WrongOpPrev: Content, COMMIT, ["proof_mismatch"];
    /// The CID of an operation is not the one in the tree (VAL-11).
    OpCidMismatch: Content, COMMIT, ["bad_tree", "bad_ops", "proof_mismatch"];
    /// One path twice (INV-7).
    DuplicatePath: Content, COMMIT, ["bad_ops", "bad_tree"];
    /// A create without a CID (VAL-11).
    OpWithoutCid: Content, COMMIT, ["bad_ops", "malformed"];
    /// An action that does not exist (VAL-11).
    UnknownAction: Content, COMMIT, ["bad_ops", "malformed"];
    /// A path that is not `collection/key` (SYN-8).
    BadPath: Content, COMMIT, ["bad_ops", "malformed"];
    /// The block of a created or updated record is missing (INV-4).
    MissingRecord: Content, COMMIT, ["bad_record"];
    /// The block of a record does not have its CID (ENC-13).
    CorruptRecord: Content, COMMIT, ["bad_record", "bad_commit"];
    /// A record block above 1,000,000 bytes (MSG-1).
    OversizedRecord: Content, COMMIT, ["bad_record", "oversized"];
    /// `blocks` above 2,000,000 bytes, or above 10,000 in a `#sync` (MSG-1).
    OversizedBlocks: Decode, SIGNED, ["oversized"];
    /// 201 operations (MSG-1).
    TooManyOps: Decode, COMMIT, ["oversized", "bad_ops"];
    /// The CAR does not hold the commit block (ENC-15).
    MissingCommitBlock: Content, SIGNED, ["bad_commit"];
    /// The CAR ends in the middle of a section (ENC-14).
    TruncatedCar: Content, SIGNED, ["bad_commit"];
    /// The CAR has a second root that does not exist (ENC-15).
    ExtraRoot: Passes, SIGNED, [];
    /// Every block twice (ENC-16).
    DuplicateBlocks: Passes, COMMIT, [];
    /// A block that nothing refers to (ENC-16).
    UnrelatedBlock: Passes, SIGNED, [];
    /// The commit object of the same rev, but another one (SYNC-5).
    Fork: Content, SYNC, ["fork"];
    /// A well signed `#sync` of an older rev that says the repository is empty (SYNC-6).
    SyncRollback: Rev, SYNC, ["stale"];
    /// One of many `#sync` events in a row, each of which would have a repository fetched (SYNC-7).
    SyncFlood: Passes, SYNC, [];
    /// Operations on keys that make the tree fifteen nodes deep, or flat again; see [`deep`].
    DeepTree: Passes, COMMIT, [];
    /// A root below hundreds of nodes without entries, deeper than any key could make it (MST-4).
    HollowTower: Content, COMMIT, ["bad_tree", "proof_incomplete"];
    /// A required field is missing (MSG-4).
    MissingField: Decode, SIGNED, ["malformed"];
    /// A required field has the wrong type (MSG-4).
    WrongFieldType: Decode, ANY, ["malformed"];
    /// Unknown fields, which have to survive (ENC-10).
    UnknownFields: Passes, ANY, [];
    /// No `rebase`, `tooBig` and `blobs`, which have to be filled in (DESIGN 10.2).
    MissingDefaults: Passes, COMMIT, [];
    /// `tooBig: true` on a commit that is complete (A5).
    TooBig: Passes, COMMIT, [];
    /// A `blobs` list as older servers send it (A20).
    OldBlobs: Passes, COMMIT, [];
    /// A `time` that is none (SYN-9).
    BadTime: Passes, ANY, [];
    /// The seq of the frame before (UP-7).
    SeqRepeated: Decode, ANY, ["host_seq_not_increasing"];
    /// A seq below that of the frame before (UP-7).
    SeqBackwards: Decode, ANY, ["host_seq_not_increasing"];
}

/// A frame that is no event; see [`crate::Pds::send_raw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RawFrame {
    /// A text message: connection error (UP-3).
    Text,
    /// Bytes that are no CBOR: connection error (UP-3).
    Garbage,
    /// A whole event and then one byte more: connection error (ENC-7).
    TrailingByte,
    /// An event whose payload keys are not sorted: connection error (ENC-2).
    UnsortedKeys,
    /// An event with a key twice: connection error (ENC-2).
    DuplicateKey,
    /// An event with a map of indefinite length: connection error (ENC-1).
    IndefiniteLength,
    /// An event with a number that is longer than needed: connection error (ENC-1).
    LongInteger,
    /// A frame that ends in its payload: connection error (ENC-7).
    Truncated,
    /// A frame above 5,000,000 bytes: connection error (MSG-1).
    Oversized,
    /// An unknown `t`: to be ignored (UP-3).
    UnknownType,
    /// An unknown `op`: to be ignored (UP-3).
    UnknownOp,
    /// The removed `#handle` message: to be ignored (LEG-4).
    OldHandle,
    /// An `#info` that no one knows: to be ignored (UP-4).
    UnknownInfo,
}

impl RawFrame {
    /// Every raw frame.
    pub const ALL: &'static [Self] = &[
        Self::Text,
        Self::Garbage,
        Self::TrailingByte,
        Self::UnsortedKeys,
        Self::DuplicateKey,
        Self::IndefiniteLength,
        Self::LongInteger,
        Self::Truncated,
        Self::Oversized,
        Self::UnknownType,
        Self::UnknownOp,
        Self::OldHandle,
        Self::UnknownInfo,
    ];

    /// Whether the connection has to be dropped for it; otherwise the frame is ignored.
    pub const fn breaks_connection(self) -> bool {
        self.reason().is_some()
    }

    /// The reason under which a relay may count it as dropped; `None` when it is to be ignored.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::UnknownType | Self::UnknownOp | Self::OldHandle | Self::UnknownInfo => None,
            Self::Oversized => Some("oversized"),
            _ => Some("malformed"),
        }
    }
}
