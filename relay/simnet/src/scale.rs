//! The network at its real size: thousands of hosts and hundreds of thousands of accounts.
//!
//! [`crate::Net`] keeps a whole tree per account and runs a scriptable server per host, which is
//! right for a test and too much for 500,000 accounts. Here an account is a number. Its DID, key,
//! handle and first records follow from the seed ([`Population`]); stored is what changed since.
//! Trees are real: all nodes are hashed from all records, and what a commit shows is a proof
//! by the same rules as of [`crate::mst::Tree`].
//!
//! A [`Plan`] says what happens. A [`Generator`] makes its events, each a fresh valid commit unless
//! a fault was asked for. They go into a file ([`mod@file`]) or straight to a [`Fleet`], which serves
//! the hosts and the directory. Its [`Ledger`] holds what has to come out of a relay; any number of
//! [`Checker`]s compare what consumers get.
//!
//! # How a run reads
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! use relay_simnet::scale::{Fleet, FleetOptions, Pace, Plan, Source};
//!
//! let plan = Plan { hosts: 3, accounts: 30, events: 50, ..Plan::default() };
//! let fleet = Fleet::start(&plan, FleetOptions::default()).await?;
//! // Here the relay under test joins: `fleet.addresses()`, `fleet.plc_url()`; then a consumer.
//! let checker = fleet.ledger().checker();
//! let mut source = Source::live(&plan)?;
//! assert_eq!(fleet.play(&mut source, u64::MAX, Pace::Fast).await?, plan.total());
//! // `checker.settle(&mut consumer)`; nothing has come here.
//! assert_eq!(checker.report().lost, fleet.ledger().must());
//! # Ok(()) }
//! ```
//! A relay permits 100 accounts of a new host unless told otherwise; 3,000 hosts of 500,000 have 167.

pub mod file;

mod checker;
mod commit;
mod encode;
mod event;
mod fleet;
mod generator;
mod leaves;
mod ledger;
mod pace;
mod plan;
mod population;
mod source;
mod tree;
mod universe;

#[cfg(test)]
mod tests;

pub use checker::Checker;
pub use event::{Event, Expect};
pub use fleet::{Fleet, FleetOptions};
pub use generator::Generator;
pub use ledger::Ledger;
pub use pace::Pace;
pub use plan::Plan;
pub use population::{Population, RECORDS_MAX};
pub use source::Source;
