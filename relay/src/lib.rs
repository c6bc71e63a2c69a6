//! An atproto relay: subscribes to every host, verifies each commit, serves one ordered firehose.
//!
//! ```text
//! upstream ──► ingest ──► eventlog ──► firehose
//!  one task     sharded     one          one task per consumer,
//!  per host     by DID      writer       reading the log
//!                 │
//!    identity ◄───┤    side rooms: hosts, accounts, collections, drops,
//!    accounts ◄───┘    store, api, config, telemetry; daemon composes them
//! ```
//!
//! `docs/architecture.md` walks through it; `docs/invariants.md` lists what always holds.

pub mod accounts;
pub mod actions;
pub mod alerts;
pub mod api;
pub mod backfill;
pub mod checkpoint;
pub mod clients;
pub mod clock;
pub mod collections;
pub mod commands;
pub mod config;
pub mod crash;
pub mod daemon;
pub mod descriptors;
pub mod discovery;
pub mod domain;
pub mod drops;
pub mod eventlog;
pub mod firehose;
pub mod hosts;
pub mod identity;
pub mod ingest;
pub mod net;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod units;
pub mod upstream;
