//! A person with a checkout and a key, who types the verbs of `provision deployment`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use provision::run;

use crate::{
    disks::run as done,
    host::{Host, wait, wait_within},
    root,
};

/// What of the repository the verbs read.
const PARTS: [&str; 5] = ["ansible", "terraform", "provision", "Caddyfile", "Cargo.toml"];

/// How long the packages of a machine may take to be installed.
const PATIENCE: Duration = Duration::from_mins(10);

/// Exit code, and all that was said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Said {
    /// It went well.
    pub(crate) fn well(self) -> Result<String> {
        ensure!(self.code == Some(0), "exit code {:?}: {}", self.code, self.text);
        Ok(self.text)
    }

    /// It failed, with these words.
    pub(crate) fn failed(&self, words: &str) -> Result<()> {
        ensure!(self.code == Some(1), "exit code {:?}: {}", self.code, self.text);
        ensure!(self.text.contains(words), "nothing of `{words}` in: {}", self.text);
        Ok(())
    }
}

/// The person. The agent with the key ends when it is dropped.
pub(crate) struct Person {
    checkout: tempfile::TempDir,
    agent: Child,
}

impl Person {
    /// With the key that the host lets in.
    pub(crate) fn with_key(key: &Path) -> Result<Self> {
        let checkout = tempfile::tempdir()?;
        for part in PARTS {
            symlink(root().join(part), checkout.path().join(part))?;
        }
        let socket = checkout.path().join("agent");
        let mut agent = Command::new("ssh-agent");
        agent.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let person = Self { checkout, agent: agent.spawn().context("start ssh-agent")? };
        wait("the agent listens", || Ok(socket.exists()))?;
        person.takes(key)?;
        Ok(person)
    }

    /// Gets another key.
    pub(crate) fn takes(&self, key: &Path) -> Result<()> {
        let mut add = run::program(&root(), &["ssh-add", "-q", &key.to_string_lossy()]);
        add.env("SSH_AUTH_SOCK", self.checkout.path().join("agent"));
        run::quiet(add).map(drop)
    }

    /// The directory of a deployment.
    pub(crate) fn deployment(&self, name: &str) -> PathBuf {
        self.checkout.path().join("deployments").join(name)
    }

    /// A verb, where the public names of the host are known.
    pub(crate) fn verb(&self, host: &Host, words: &[&str]) -> Command {
        let enter = host.mounts.enter();
        let checkout = self.checkout.path().to_string_lossy();
        let program = [env!("CARGO_BIN_EXE_provision"), "deployment", "--checkout", &checkout];
        let all: Vec<_> =
            enter.iter().map(String::as_str).chain(program).chain(words.iter().copied()).collect();
        let mut command = run::program(&root(), &all);
        command.env("SSH_AUTH_SOCK", self.checkout.path().join("agent"));
        command
    }

    /// Types a verb, and tells what was said.
    pub(crate) fn types(&self, host: &Host, words: &[&str]) -> Result<Said> {
        let (code, text) = run::coded(self.verb(host, words))?;
        eprintln!("$ provision deployment {}\n{text}", words.join(" "));
        Ok(Said { code, text })
    }

    /// The last log of Ansible for a deployment; empty when there is none.
    pub(crate) fn log(&self, name: &str) -> Result<String> {
        let Ok(entries) = fs::read_dir(self.deployment(name).join("logs")) else {
            return Ok(String::new());
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort_unstable();
        paths.last().map_or_else(|| Ok(String::new()), |path| Ok(fs::read_to_string(path)?))
    }

    /// Types a verb, and interrupts it as soon as its log of Ansible has these words.
    pub(crate) fn interrupts(&self, host: &Host, words: &[&str], at: (&str, &str)) -> Result<Said> {
        let out = self.checkout.path().join("said");
        let file = fs::File::create(&out)?;
        let mut command = self.verb(host, words);
        let mut child = Ended(command.stdout(file.try_clone()?).stderr(file).spawn()?);
        let (name, task) = at;
        wait_within(PATIENCE, &format!("Ansible is at {task}"), || {
            ensure!(child.0.try_wait()?.is_none(), "it ended: {}", fs::read_to_string(&out)?);
            Ok(self.log(name)?.contains(task))
        })?;
        done(&["kill", "-TERM", &child.0.id().to_string()])?;
        let code = child.0.wait()?.code();
        Ok(Said { code, text: fs::read_to_string(&out)? })
    }
}

/// A program that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Err(error) = self.agent.kill().and_then(|()| self.agent.wait()) {
            eprintln!("the agent did not end: {error}");
        }
    }
}
