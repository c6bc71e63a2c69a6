//! What Ansible makes of a machine: disks and alerts.
//!
//! Most of it needs root, loop devices and Ansible, so it is ignored unless asked
//! for: `just stage build,deploy`.

#![expect(clippy::print_stderr, reason = "a failing test shows what it did")]

mod ansible;
mod disks;
mod rules;
mod storage;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
