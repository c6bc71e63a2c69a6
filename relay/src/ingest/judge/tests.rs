//! The decision table row by row (spec 8.1, 8.3, 9): what passes, what is asked, what is dropped and why.
//!
//! Events come from a simulated host that signs real commits over real trees; its faults, and what
//! [`forge`] changes, make them wrong in one respect. Beside each refusal stands the same event
//! without the fault, so that a judge that drops everything fails as well.

mod account;
mod authority;
mod commit;
mod continuity;
mod forge;
mod identity;
mod leniency;
mod messages;
mod mutated;
mod operations;
mod order;
mod records;
mod rev;
mod scene;
mod signature;
mod status;
mod sync;
