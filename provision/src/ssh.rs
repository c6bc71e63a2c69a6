//! Scripts on another machine by the `ssh` of this one.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// ssh's own exit code for a connection that was not made, or was lost.
const NO_CONNECTION: i32 = 255;
/// What to say where there is no `ssh`.
pub const NO_SSH: &str = "there is no program `ssh` here; it is in the package openssh-client";

/// What a script said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Exit code of the script, or ssh's own 255.
    pub code: i32,
    /// What it wrote to stdout, trimmed.
    pub out: String,
    /// What it and `ssh` wrote to stderr, trimmed.
    pub err: String,
}

impl Said {
    /// Whether there was no connection, or it was lost.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.code == NO_CONNECTION
    }

    /// Both streams, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}{}", self.out, if self.out.is_empty() { "" } else { "\n" }, self.err)
    }

    /// The last line that was said, for a sentence.
    #[must_use]
    pub fn last_line(&self) -> &str {
        let mut lines = self.out.lines().chain(self.err.lines());
        lines.rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
    }
}

/// Hands a script to `ssh`, whose far side reads it from stdin, and waits for its end. Dropped before, it
/// ends `ssh`.
///
/// * `command` – `ssh` with everything that it needs, the far program included
///
/// # Errors
/// When `ssh` cannot be started.
pub async fn script(mut command: Command, script: &str) -> Result<Said> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(NO_SSH),
        Err(error) => return Err(error).context("start ssh"),
    };
    if let Some(mut input) = child.stdin.take() {
        // Who ends before it has read the script says why on the other side.
        if input.write_all(script.as_bytes()).await.is_err() {}
    }
    let output = child.wait_with_output().await.context("wait for ssh")?;
    let [out, err] = [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    Ok(Said { code: output.status.code().unwrap_or(NO_CONNECTION), out, err })
}
