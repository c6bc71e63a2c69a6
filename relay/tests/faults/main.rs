//! What the surroundings of a relay can do to it: each fault under live traffic, judged by the oracle.
//!
//! The relay is the built program, the network is simulated in this process, and a consumer follows
//! from the first event on. A fault may delay; it may not lose, repeat, invent, renumber or panic, and
//! when it is over the relay is well again by itself. `docs/faults.md` lists them.
#![expect(clippy::print_stdout, reason = "the figures are for a person too")]

mod consumers;
mod descriptors;
mod directory;
mod hosts;
mod postgres;
mod scene;
mod sqlite;

#[path = "../support/postgres.rs"]
mod postgres_cluster;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "shared with the bench and other tests")]
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
