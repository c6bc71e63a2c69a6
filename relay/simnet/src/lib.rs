//! A simulated atproto network with its own oracle; shares no code with the relay.
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "every error is a sentence for the failing test, and a broken simulator must stop it"
)]

pub mod block;
pub mod mst;
