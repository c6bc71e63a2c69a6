//! Scripts on the host whose lines are read as they come.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Child,
};

use super::remote::Remote;
use crate::ssh::{NO_SSH, Said};

/// Bytes of what went wrong that are kept; a stream lives for days.
const TROUBLE_BYTES_MAX: u64 = 64 << 10;

/// Takes a line; `false` when no more are wanted.
pub(super) type Take<'a> = dyn FnMut(&str) -> bool + Send + 'a;

/// How a script ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself, or with the connection. What went to stdout is not in it.
    There(Said),
    /// Nobody wanted more.
    Enough,
}

/// Runs a script of `sh` on the host as root, and hands its lines over as they come. Dropped before, it
/// ends `ssh`.
///
/// # Errors
/// When there is no `ssh`.
pub(super) async fn read(remote: &Remote, script: &str, take: &mut Take<'_>) -> Result<Ended> {
    let mut command = remote.command(&["sh", "-s", "--"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(NO_SSH),
        Err(error) => return Err(error).context("start ssh"),
    };
    if let Some(mut input) = child.stdin.take() {
        // Who ends before it has read the script says why on the other side.
        if input.write_all(script.as_bytes()).await.is_err() {}
    }
    let trouble = child.stderr.take().context("stderr of ssh")?;
    let mut err = Vec::new();
    let mut kept = trouble.take(TROUBLE_BYTES_MAX);
    let (wanted, _) = tokio::join!(lines(&mut child, take), async {
        let read = kept.read_to_end(&mut err).await;
        // What does not fit is read all the same, so that `ssh` never waits for us.
        let rest = tokio::io::copy(&mut kept.into_inner(), &mut tokio::io::sink()).await;
        read.and(rest.map(|_| 0))
    });
    if !wanted? {
        return Ok(Ended::Enough);
    }
    let status = child.wait().await.context("wait for ssh")?;
    let err = String::from_utf8_lossy(&err).trim().to_owned();
    // `ssh` that was killed has lost its connection.
    Ok(Ended::There(Said { code: status.code().unwrap_or(255), out: String::new(), err }))
}

/// Reads to the end; `false` when nobody wanted more.
async fn lines(child: &mut Child, take: &mut Take<'_>) -> Result<bool> {
    let mut lines = BufReader::new(child.stdout.take().context("stdout of ssh")?).split(b'\n');
    while let Some(line) = lines.next_segment().await.context("read from ssh")? {
        if !take(&String::from_utf8_lossy(&line)) {
            // Its other streams end with it.
            child.start_kill().context("end ssh")?;
            child.wait().await.context("wait for ssh")?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// A word of `sh` that means the text and nothing else.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person types is never a command on the host.
    #[test]
    fn a_quote_in_a_word_ends_nothing() -> Result<()> {
        for text in ["plain", "it's", "'; rm -rf /; '", "$(id)", "a\nb", ""] {
            let script = format!("printf %s {}", quoted(text));
            let said = std::process::Command::new("sh").args(["-c", &script]).output()?;
            assert_eq!(String::from_utf8_lossy(&said.stdout), text);
        }
        Ok(())
    }
}
