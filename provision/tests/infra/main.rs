//! What makes hosts: `provision infra`, which runs Terraform, and `provision robot`.
//!
//! The Robot web service is as it is documented, and its server a machine with a real sshd whose rescue
//! system writes down what it is told.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says why")]

mod deployments;
mod installing;
mod machine;
mod requests;
