//! How the relay learns of hosts and accounts besides events, and takes over from another relay.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../edge/http.rs"]
#[expect(dead_code, reason = "shared with the tests of the edge")]
mod http;
#[path = "../settings/process.rs"]
#[expect(dead_code, reason = "shared with the tests of the settings")]
mod process;
#[path = "../edge/relay.rs"]
#[expect(dead_code, reason = "shared with the tests of the edge")]
mod relay;

mod backfill;
mod candidates;
mod commands;
mod directory;
mod dumps;
mod exports;
mod killed;
mod pace;
#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod postgres_cluster;
mod pulls;
mod served;
mod stand_in;
mod takeovers;
mod walks;
