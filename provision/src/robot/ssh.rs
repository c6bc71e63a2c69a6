//! Commands on a server by `ssh`.

use std::{net::IpAddr, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    ssh::Said,
    told::{Tell, Told},
};

/// How long a connection may take to be made, in seconds.
const CONNECT_MAX: u32 = 10;
/// Between two attempts to reach a server that starts.
const AGAIN: Duration = Duration::from_secs(5);

/// How to log in as root.
#[derive(Debug, Clone)]
pub struct Login {
    /// The server.
    pub address: IpAddr,
    /// Port of its sshd.
    pub port: u16,
    /// Private key; `None` takes those of the agent and of `~/.ssh`.
    pub identity: Option<PathBuf>,
    /// Where the keys of hosts are kept during this installation.
    pub known_hosts: PathBuf,
    /// Between two attempts; [`None`] is five seconds.
    pub pause: Option<Duration>,
}

impl Login {
    /// Between two looks at the server.
    pub(super) fn pause(&self) -> Duration {
        self.pause.unwrap_or(AGAIN)
    }

    /// Forgets the keys of hosts: another system, with other keys, starts.
    pub(super) fn forget(&self) -> Result<()> {
        match std::fs::remove_file(&self.known_hosts) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.known_hosts.display()))
            }
            _ => Ok(()),
        }
    }

    /// Runs a script of `sh`, which gets `words` as its arguments. The words must need no quotes.
    pub(super) async fn run(&self, script: &str, words: &[String]) -> Result<Said> {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-T", "-l", "root", "-p", &self.port.to_string()])
            .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"])
            .args(["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"])
            .args(["-o", &format!("ConnectTimeout={CONNECT_MAX}")])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        if let Some(identity) = &self.identity {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(identity);
        }
        command.arg(self.address.to_string()).args(["sh", "-s", "--"]).args(words);
        crate::ssh::script(command, script).await
    }

    /// The fingerprint (MD5, as Robot shows it) of the key by which the server showed itself.
    pub(super) async fn host_keys(&self) -> Result<Vec<String>> {
        let mut show = Command::new("ssh-keygen");
        show.args(["-l", "-E", "md5", "-f"]).arg(&self.known_hosts).stdin(Stdio::null());
        let output = show.output().await.context("start ssh-keygen")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |line: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix("MD5:")).map(ToOwned::to_owned)
        };
        Ok(text.lines().filter_map(of).collect())
    }

    /// Waits until the script ends well on the server; its last words are in the error when it does not.
    /// Meanwhile another system with another key may answer.
    pub(super) async fn until(
        &self,
        what: &str,
        script: &str,
        wait_max: Duration,
        tell: &mut Tell<'_>,
    ) -> Result<String> {
        let began = Instant::now();
        let mut told = began;
        loop {
            self.forget()?;
            let said = self.run(script, &[]).await?;
            if said.code == 0 {
                return Ok(said.out);
            }
            if began.elapsed() > wait_max {
                let last = crate::told::harmless(said.last_line(), 200);
                bail!(
                    "{what}: not after {} s ({last}); run this again, it goes on where it was",
                    began.elapsed().as_secs()
                );
            }
            if told.elapsed() > Duration::from_secs(30) {
                told = Instant::now();
                tell(Told::Note(format!("waiting: {what} ({} s)", began.elapsed().as_secs())));
            }
            sleep(self.pause()).await;
        }
    }
}
