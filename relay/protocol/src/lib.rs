//! The atproto sync protocol as pure functions: bytes in, values out.
//!
//! No I/O, no async, no clock, no policy. Every decoder is bounded and gives [`Invalid`] for bad
//! input; nothing here panics on bytes from outside. Requirement IDs in the docs are those of
//! `the relay specification`.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]
#![expect(
    clippy::missing_errors_doc,
    reason = "every function fails with Invalid alone, whose text says which rule was broken"
)]

mod car;
mod cbor;
mod cid;
mod collections;
mod commit;
mod did_doc;
mod frame;
mod invalid;
mod inversion;
mod key;
mod message;
mod mst;
mod ops;
mod repo;
mod sha256;
mod splice;
mod syntax;
mod tid;

pub use car::Blocks;
pub use cbor::{
    Kind, MapEntries, RECORD_BYTES_MAX, Reader, UintBytes, Writer, check_record, encode_uint,
};
pub use cid::{Cid, Codec, CommitCid, DataCid};
pub use collections::Collections;
pub use commit::Commit;
pub use did_doc::{DOCUMENT_BYTES_MAX, DidDocument, Endpoint};
pub use frame::{Envelope, FRAME_BYTES_MAX, FrameKind, error_frame, info_frame};
pub use invalid::Invalid;
pub use inversion::{Inversion, check_applied, invert, invert_and_learn, invert_counted};
pub use key::{Curve, VerifyingKey};
pub use message::{
    Account, COMMIT_BLOCKS_BYTES_MAX, CommitMessage, Identity, Message, OPS_MAX, Op, OpAction,
    SYNC_BLOCKS_BYTES_MAX, Sync,
};
pub use mst::{EMPTY_TREE, key_layer};
pub use ops::{check_ops, check_records, ops_are_legacy};
pub use repo::RepoReader;
pub use splice::{Edit, Unsequenced, account_frame, identity_frame, unsequence};
pub use syntax::{Did, DidMethod, Handle, Hostname, Nsid, is_datetime, is_record_key, repo_path};
pub use tid::Rev;
