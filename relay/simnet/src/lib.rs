//! A simulated atproto network with its own oracle; shares no code with the relay.
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "every error is a sentence for the failing test, and a broken simulator must stop it"
)]

pub mod account;
pub mod adversary;
pub mod block;
pub mod clock;
pub mod consumer;
pub mod keys;
pub mod mst;
pub mod net;
pub mod oracle;
pub mod pds;
pub mod plc;
pub mod records;
pub mod wire;

mod repo;
mod server;

pub use account::{Account, AccountOptions, Sent};
pub use adversary::{Fault, RawFrame};
pub use consumer::{Consumer, Item, Received, Refused, Start};
pub use keys::{Curve, KeyForm};
pub use net::Net;
pub use oracle::{Checker, Oracle, Report};
pub use pds::{Pds, Upgrade};
pub use plc::{Answer, Plc, Web};
pub use repo::Write;
pub use wire::Kind;

#[cfg(test)]
mod tests;
