//! The edge of the relay over real sockets: what the outside may ask and what it is told.
//!
//! Requests are written by hand, byte for byte, so that also wrong ones can be sent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod admin;
mod alerting;
mod corpus;
mod crawling;
mod crowds;
mod dash;
mod dash_collections;
mod dash_forms;
mod defects;
mod dressing;
mod forwarded;
#[path = "../../fuzz/examples/fuzz/daemon.rs"]
mod fuzz_daemon;
mod garbage;
mod health;
mod http;
mod listening;
mod lists;
mod methods;
mod metrics;
mod moderation;
mod openapi;
mod operators;
#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod postgres_cluster;
mod reference;
mod relay;
mod sidecar;
mod sockets;
mod steering;
mod upgrade;
