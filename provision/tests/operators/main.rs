//! The operators' verbs as people run them: the built program, real files, a real Postgres.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says why")]

mod begin;
#[path = "../edge/binaries.rs"]
mod binaries;
mod deployments;
mod doctor;
#[path = "../edge/door.rs"]
#[expect(dead_code, reason = "shared with the tests of what stands before the relay")]
mod door;
mod long;
mod machines;
#[path = "../../../relay/tests/support/postgres.rs"]
#[expect(dead_code, reason = "the relay's tests use more of it")]
mod postgres;
#[path = "../../../relay/tests/support/process.rs"]
#[expect(dead_code, reason = "shared with the tests of the relay")]
mod process;
mod program;
mod roster;
mod screens;
mod snapshots;
mod ssh;
mod tuning;
