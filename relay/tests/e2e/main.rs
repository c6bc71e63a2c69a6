//! The real daemon in this process, a simulated network around it, one file per promise.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account_limits;
mod account_status;
mod adversaries;
mod at_scale;
mod chain;
mod clocks;
mod collections;
mod commit_validation;
mod crawl_requests;
mod cursors;
mod damaged_log;
mod database_cuts;
mod disk;
mod drop_reasons;
mod failing_hosts;
#[path = "../support/faulty.rs"]
mod faulty;
mod file_faults;
mod following;
mod host_authority;
mod host_limits;
mod hostile_input;
mod identities;
mod lifecycle;
mod low_water;
mod new_hosts;
mod policy;
#[expect(dead_code, reason = "these tests use a part of it")]
#[path = "../support/postgres.rs"]
mod postgres_cluster;
#[expect(dead_code, reason = "these tests use a part of it")]
#[path = "../support/process.rs"]
mod process;
#[expect(dead_code, reason = "these tests use a part of it")]
#[path = "../support/proxy.rs"]
mod proxy;
mod reconnecting;
mod recorded;
mod released_data;
mod restart;
mod siblings;
mod signing_keys;
mod stream_rules;
mod strictness;
mod support;
mod syncs;
mod takedown;
mod the_log;
mod upgrades;
mod watch;
mod whole_network;
mod why;
mod wrong_documents;
