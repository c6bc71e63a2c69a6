//! Runs the built program.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// What a run said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("the answer is JSON")
    }

    /// Both streams, for what must not be in either.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs it without a terminal.
pub(crate) fn provision(arguments: &[&str]) -> Said {
    provision_with(&[], arguments)
}

/// The same with more in its environment.
pub(crate) fn provision_with(env: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    command.args(arguments).envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().expect("start provision");
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A file of the checkout.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("a workspace").join(path)
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// Compares a committed text with what it should be, or writes it anew with `UPDATE=1`.
pub(crate) fn compare(path: &Path, wanted: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, wanted).expect("write it anew");
        return;
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    let line = differs.map_or(found.lines().count().min(wanted.lines().count()), |line| line) + 1;
    assert!(
        found == wanted,
        "{}:{line} is not what the program says now; look at the change, then type `just screens`",
        path.display()
    );
}
