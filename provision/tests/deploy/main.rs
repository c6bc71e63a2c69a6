//! What Ansible makes of a machine: disks, alerts, and a whole blank host.
//!
//! Most of it needs root, loop devices, Ansible or a container engine, so it is ignored unless asked
//! for: `just stage build,deploy`.

#![expect(clippy::print_stderr, reason = "a failing test shows what it did")]

mod ansible;
mod authority;
mod blank_host;
mod container;
mod debian_13;
mod deployment;
mod disks;
mod guest;
mod host;
mod mirrors;
mod operating;
mod person;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../relay/tests/support/process.rs"]
mod process;
mod rules;
mod second_host;
mod storage;
mod tasks;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
