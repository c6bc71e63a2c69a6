//! The package, the image and the NixOS modules, as far as a machine without nixpkgs sees them: Nix itself
//! evaluates every module, and what comes out runs in the real programs.
//!
//! They need Nix, so they are ignored unless asked for: `just stage build,nix`. With `NIXPKGS_LIB=PATH`
//! (the directory `lib` of a checkout of nixpkgs) everything is also evaluated with the module system of
//! nixpkgs instead of the stand-in for it.

#![expect(clippy::print_stdout, reason = "a test that is skipped says why")]

mod beside;
#[path = "../edge/binaries.rs"]
mod binaries;
mod cases;
mod deploying;
mod evaluator;
mod package;
mod page;
#[path = "../../../relay/tests/support/postgres.rs"]
#[expect(dead_code, reason = "the relay's tests use more of it")]
mod postgres;
#[path = "../../../relay/tests/support/process.rs"]
#[expect(dead_code, reason = "shared with the tests of the relay")]
mod process;
mod programs;
mod sandbox;
mod unit;
