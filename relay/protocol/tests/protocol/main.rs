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

mod agreement;
mod build;
mod cars;
mod change;
mod commits;
mod documents;
mod encoding;
mod forge;
mod frames;
mod hosts;
mod inversion;
mod learned;
mod limits;
mod messages;
mod mutations;
mod proofs;
mod repos;
mod seed;
mod signatures;
mod splicing;
mod syntax;
mod tree;
mod vectors;
