//! What fuzzing tries on everything that reads bytes from outside.
//!
//! A [`Target`] takes any bytes and fails when the protocol crate panics, or disagrees with what an
//! independent codec, tree or rule says of the same bytes. Three things run the targets: libFuzzer,
//! which searches for bytes that reach new code (`just fuzz`); an ordinary test over the inputs that
//! such a search left in `corpus`; and a regression test for whatever it finds.
//!
//! The targets of the daemon's own decoders are beside the program, in `examples/fuzz/daemon.rs`, so
//! that this library can be used by the daemon's tests.
#![expect(clippy::expect_used, clippy::panic, reason = "a target says by a panic what it found")]

mod choices;
mod codec;
mod identity;
mod tree;
mod wire;

pub use choices::Choices;

/// One thing to be tried with any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name on the command line, and of the directory of its inputs.
    pub name: &'static str,
    /// Fails by a panic when the bytes show a mistake.
    pub run: fn(&[u8]),
}

/// The targets of the protocol crate.
pub const TARGETS: [Target; 9] = [
    Target { name: "encoding", run: codec::encoding },
    Target { name: "commit", run: codec::commit },
    Target { name: "frame", run: wire::frame },
    Target { name: "car", run: wire::car },
    Target { name: "node", run: tree::node },
    Target { name: "inversion", run: tree::inversion },
    Target { name: "document", run: identity::document },
    Target { name: "hostname", run: identity::hostname },
    Target { name: "identifiers", run: identity::identifiers },
];
