//! The built program as a person meets it: what it prints, how it ends, with which exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dev;
mod ending;
mod half_started;
mod hostile_text;
mod log_files;
mod logs;
mod program;
mod secrets;
mod service;
mod starting;
mod traces;
mod wrong;
