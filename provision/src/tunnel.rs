//! Ways to what listens on the loopback of another machine, through the `ssh` of this one.
//!
//! The near end is a socket in a directory of one's own, so that nobody else on this machine goes
//! through. `ssh` finds user, keys and port as it does for a person; it never asks, because nobody may
//! be there.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::told::harmless;

/// How long it may take until the way is open; `ssh` itself gives up a connection before.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How `ssh` is told to behave; what is written here wins over a person's configuration. At a lower level
/// of words it does not say that nothing listens at the far end.
const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=2",
    "ControlPath=none",
    "LogLevel=INFO",
];

/// Open ways to one machine. They are closed when this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    to: String,
    far: String,
    dir: TempDir,
    /// Killed with the value.
    ssh: Child,
}

impl Tunnel {
    /// Opens one.
    ///
    /// * `to` – `USER@HOST`, or a name of `ssh`'s configuration
    /// * `config` – another configuration than a person's own
    /// * `far` – where it ends, as that machine sees it: `127.0.0.1:2472`
    ///
    /// # Errors
    /// When there is no `ssh`, it cannot log in, or it takes too long.
    pub async fn open(to: &str, config: Option<&Path>, far: &str) -> Result<Self> {
        ensure!(
            !to.is_empty() && !to.starts_with('-') && !to.contains(char::is_whitespace),
            "`{}` is no destination for ssh; write USER@HOST",
            harmless(to, 100)
        );
        let mut words = Vec::new();
        if let Some(config) = config {
            words.extend(["-F".to_owned(), config.display().to_string()]);
        }
        Self::with(to, &words, &[far]).await
    }

    /// Opens several to one machine, through one connection.
    ///
    /// * `words` – more options of `ssh`
    /// * `far` – where they end, at least one
    ///
    /// # Errors
    /// See [`Tunnel::open`].
    pub async fn with(to: &str, words: &[String], far: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a directory for the sockets")?;
        let said = File::create(dir.path().join("said")).context("make a file for ssh's words")?;
        let mut command = Command::new("ssh");
        command.args(["-N", "-T"]);
        command.args(OPTIONS.iter().flat_map(|option| ["-o", option])).args(words);
        for (index, far) in far.iter().enumerate() {
            command.arg("-L").arg(format!("{}:{far}", socket(dir.path(), index).display()));
        }
        command.args(["--", to]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).kill_on_drop(true);
        let mut ssh = match command.spawn() {
            Ok(ssh) => ssh,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("there is no program `ssh` here; it is in the package openssh-client")
            }
            Err(error) => return Err(error).context("start ssh"),
        };
        // They are made in this order.
        let last = socket(dir.path(), far.len().saturating_sub(1));
        let opened = async {
            while !last.exists() {
                if ssh.try_wait().context("look at ssh")?.is_some() {
                    return Ok(false);
                }
                sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(true)
        };
        let opened = timeout(OPEN_MAX, opened).await;
        let (to, far) = (to.to_owned(), far.join(", "));
        let tunnel = Self { to, far, dir, ssh };
        match opened {
            Ok(Ok(true)) => Ok(tunnel),
            Ok(Ok(false)) => bail!("{}", tunnel.failed()?),
            Ok(Err(error)) => Err(error),
            Err(_late) => bail!(
                "ssh to {} is not there after {} s; try `ssh {}` by hand",
                tunnel.to,
                OPEN_MAX.as_secs(),
                tunnel.to
            ),
        }
    }

    /// The near end of the first one.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.near(0)
    }

    /// The near end of one, in the order in which they were asked for.
    #[must_use]
    pub fn near(&self, index: usize) -> PathBuf {
        socket(self.dir.path(), index)
    }

    /// Waits until the connection is lost.
    ///
    /// # Errors
    /// When `ssh` cannot be waited for.
    pub async fn lost(&mut self) -> Result<()> {
        self.ssh.wait().await.map(drop).context("wait for ssh")
    }

    /// Why what was asked through it got no answer, as far as `ssh` knows.
    ///
    /// # Errors
    /// When `ssh`'s words cannot be read.
    pub fn trouble(&self) -> Result<Option<String>> {
        let said = self.said()?;
        let closed = said.contains("open failed");
        Ok(closed.then(|| {
            format!(
                "nothing answers on {} of {}; is the relay running there, and is this its admin address \
                 (--admin)?",
                self.far, self.to
            )
        }))
    }

    /// Why it was not opened, and what to do.
    fn failed(&self) -> Result<String> {
        let said = self.said()?;
        let words = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        let to = &self.to;
        let advice = if said.contains("Host key verification failed") {
            format!("its key is not known here: type `ssh {to}` once and compare it")
        } else if said.contains("Permission denied") {
            format!("it takes no key of yours: see that `ssh -o BatchMode=yes {to}` works")
        } else {
            format!("see that `ssh {to}` works")
        };
        Ok(format!("ssh to {to} failed ({}); {advice}", harmless(words, 200)))
    }

    fn said(&self) -> Result<String> {
        let bytes = std::fs::read(self.dir.path().join("said")).context("read ssh's words")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn socket(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("socket{index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A destination is never taken for an option, which could start any program.
    #[tokio::test]
    async fn an_option_is_no_destination() {
        for to in ["-oProxyCommand=touch /x", "", "a b"] {
            let refused = Tunnel::open(to, None, "127.0.0.1:1").await.expect_err(to);
            assert!(refused.to_string().contains("no destination"), "{refused:#}");
        }
    }
}
