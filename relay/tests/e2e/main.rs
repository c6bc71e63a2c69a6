//! The real daemon in this process, a simulated network around it, one file per promise.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host_authority;
mod lifecycle;
mod support;
mod the_log;
