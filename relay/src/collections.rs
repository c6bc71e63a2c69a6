//! Which account has records in which collection, deletions included.
//!
//! ```text
//! eventlog ──► projection ──┐
//!                           ├─ Batch ──► index ──► pages, counts
//! hosts, relays ─► backfill ┘
//! ```
//!
//! [`index`] is the embedded store of it. It holds what is known of records alone; whether an account
//! is listed (taken down, inactive, its host away) is asked where the list is made.

pub mod index;
