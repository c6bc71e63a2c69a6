//! What stands before the relay, and what looks at it from outside. The Caddyfile of the repository,
//! unchanged, runs in a real Caddy before the built relay; the verbs of `provision` that read streams read
//! those of built relays.
//!
//! Caddy makes certificates of an authority of its own, which the clients trust; everything listens
//! on free ports of 127.0.0.1. An address that is somebody else's is another address of 127.0.0.0/8.
#![expect(clippy::print_stdout, reason = "a test that is skipped says why, and figures are told")]

mod acme;
mod admission;
mod away;
mod backups;
mod binaries;
mod bucket;
mod caddyfile;
mod clients;
mod comparing;
mod dashboard;
mod door;
mod judging;
mod program;
mod routes;
mod storage;
mod streams;
mod upgrading;
mod watching;

#[path = "../../../relay/tests/support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the relay")]
mod postgres_cluster;
#[path = "../../../relay/tests/support/process.rs"]
#[expect(dead_code, reason = "shared with the tests of the relay")]
mod process;
