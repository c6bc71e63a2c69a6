//! The protocol against official vectors, tables of its own, an independent codec and mutations.
//!
//! One binary, so that it is linked once. `vectors` finds the official files; every fact that a
//! decoder stands on is restated in our tables, so that a lone checkout tests all of them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says why it skips"
)]

mod build;
mod cars;
mod documents;
mod encoding;
mod frames;
mod messages;
mod mutations;
mod splicing;
mod syntax;
mod vectors;
