//! Stands in for what providers run, so that what deploys the relay is tested without an account.

pub mod bucket;
pub mod robot;
pub mod terraform;
