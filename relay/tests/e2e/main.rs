//! The real daemon in this process, a simulated network around it, one file per promise.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod child;
mod cursors;
mod disk;
mod host_authority;
mod lifecycle;
mod recorded;
mod released_data;
mod restart;
mod support;
mod the_log;
