//! Commands on the host of a deployment.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{Deployment, Host};
use crate::{
    ssh::{self, Said},
    told::{Tell, Told, harmless},
};

/// Between two attempts to reach a host that starts.
const AGAIN: Duration = Duration::from_secs(3);
/// How `ssh` is told to behave where nobody may be asked.
const QUIET: [&str; 4] =
    ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=10", "ServerAliveCountMax=3"];

/// The way to a host: who logs in where, and with which keys.
#[derive(Debug, Clone)]
pub struct Remote {
    destination: String,
    port: u16,
    is_root: bool,
    /// Words for `ssh`, as Ansible gets them.
    words: Vec<String>,
}

impl Remote {
    pub(super) fn new(deployment: &Deployment, host: &Host) -> Self {
        let mut words: Vec<String> = match host.text("ansible_ssh_common_args") {
            Some(own) => own.split_whitespace().map(str::to_owned).collect(),
            None => deployment.ssh_words(),
        };
        if let Some(key) = host.text("ansible_ssh_private_key_file") {
            words.extend(["-i".to_owned(), key.to_owned()]);
        }
        let known = Self::to(deployment, &host.ssh_user, &host.address, host.ssh_port);
        Self { words, ..known }
    }

    /// The way to a host of which no more is known.
    pub(super) fn to(deployment: &Deployment, user: &str, host: &str, port: u16) -> Self {
        Self {
            destination: format!("{user}@{host}"),
            port,
            is_root: user == "root",
            words: deployment.ssh_words(),
        }
    }

    /// `USER@ADDRESS`.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Words with which `ssh` gets there: `ssh`, options, no destination.
    ///
    /// * `asks` – whether a person is there to answer
    #[must_use]
    pub fn ssh(&self, asks: bool) -> Vec<String> {
        let mut all = vec!["ssh".to_owned(), "-p".to_owned(), self.port.to_string()];
        all.extend(self.words.iter().cloned());
        if !asks {
            all.extend(QUIET.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        }
        all
    }

    /// A program on the host as root, with arguments that need no quotes; its stdin, stdout and stderr
    /// are those of the command.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let ssh = self.ssh(false);
        let mut command = Command::new("ssh");
        command.args(ssh.get(1..).unwrap_or_default()).args(["-T", "--", &self.destination]);
        if !self.is_root {
            command.args(["sudo", "-n"]);
        }
        command.args(words).kill_on_drop(true);
        command
    }

    /// Runs a script of `sh` on the host as root, which gets `words` as its arguments. The words must
    /// need no quotes.
    ///
    /// # Errors
    /// When there is no `ssh`.
    pub async fn run(&self, script: &str, words: &[&str]) -> Result<Said> {
        let all = [&["sh", "-s", "--"], words].concat();
        ssh::script(self.command(&all), script).await
    }

    /// The same for a script that has to end well; gives what it wrote to stdout.
    ///
    /// # Errors
    /// What it said last otherwise.
    pub async fn done(&self, what: &str, script: &str, words: &[&str]) -> Result<String> {
        let said = self.run(script, words).await?;
        if said.code != 0 {
            bail!("{what}: {} ({})", harmless(said.last_line(), 300), self.advice(&said));
        }
        Ok(said.out)
    }

    /// Waits until a login works and may become root.
    ///
    /// # Errors
    /// What is in the way, when it is nothing that passes with time, or did not pass in time.
    pub async fn wait(&self, wait_max: Duration, tell: &mut Tell<'_>) -> Result<()> {
        let began = Instant::now();
        loop {
            let said = self.run("[ \"$(id -u)\" = 0 ]", &[]).await?;
            if said.code == 0 {
                return Ok(());
            }
            let lasts = !said.is_cut() || !passes(&said.err);
            if lasts || began.elapsed() > wait_max {
                let last = harmless(said.last_line(), 300);
                bail!("no way to {}: {last} ({})", self.destination, self.advice(&said));
            }
            let seconds = began.elapsed().as_secs();
            tell(Told::Doing(format!("waiting for ssh of {} ({seconds} s)", self.destination)));
            sleep(AGAIN).await;
        }
    }

    pub(super) fn advice(&self, said: &Said) -> String {
        let (to, port) = (&self.destination, self.port);
        let err = &said.err;
        if err.contains("Host key verification failed")
            || err.contains("IDENTIFICATION HAS CHANGED")
        {
            "it shows another key than before; when that is right, because its system is new, remove known_hosts \
             from the directory of the deployment"
                .to_owned()
        } else if err.contains("Permission denied") {
            format!(
                "it takes no key of yours: see that `ssh -p {port} {to}` works without a question"
            )
        } else if err.contains("password is required") || err.contains("sudoers") {
            format!("{} needs sudo without a password there", to.split('@').next().unwrap_or(to))
        } else if said.is_cut() {
            format!("see that `ssh -p {port} {to}` works from here")
        } else {
            format!("look there: `ssh -p {port} {to}`")
        }
    }
}

/// Whether what `ssh` says is that of a host that is still starting.
fn passes(said: &str) -> bool {
    [
        "Permission denied",
        "Host key verification",
        "Could not resolve",
        "Bad configuration",
        "no such identity",
    ]
    .iter()
    .all(|lasting| !said.contains(lasting))
}

impl Deployment {
    /// How `ssh` is told where the keys of this host are kept: the first one that it shows is taken.
    #[must_use]
    pub fn ssh_words(&self) -> Vec<String> {
        let known = format!("UserKnownHostsFile={}", self.file("known_hosts").display());
        ["-o", &known, "-o", "StrictHostKeyChecking=accept-new"].map(str::to_owned).to_vec()
    }
}
