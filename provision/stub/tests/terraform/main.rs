//! The Terraform of this project, run for real by Terraform against providers that stand in for the
//! real ones: formatted, valid, planned, applied, changed and destroyed.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says why")]

mod documents;
mod examples;
mod facts;
mod ground;
mod modules;
mod refusals;
mod rented;
mod state;
