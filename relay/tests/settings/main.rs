//! Every setting changes what the running relay does (DESIGN 6); `table.rs` holds which test shows it.
//!
//! Most tests start a relay in this process, on settings as the environment gives them. Where the
//! program itself matters (files, flags, logs, exit codes) the built one is started.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../edge/http.rs"]
#[expect(dead_code, reason = "shared with the tests of the edge")]
mod http;
#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store")]
mod postgres_cluster;
#[path = "../edge/relay.rs"]
#[expect(dead_code, reason = "shared with the tests of the edge")]
mod relay;

mod addresses;
mod hosts;
mod load;
mod logs;
mod name_server;
mod names;
mod places;
mod policy;
#[expect(dead_code, reason = "shared with the tests of discovery")]
mod process;
mod rules;
mod runbook;
mod table;
mod window;
