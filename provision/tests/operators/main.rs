//! The operators' verbs as people run them: the built program, real files, a real Postgres.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod begin;
mod machines;
#[path = "../../../relay/tests/support/postgres.rs"]
#[expect(dead_code, reason = "the relay's tests use more of it")]
mod postgres;
mod program;
mod tuning;
