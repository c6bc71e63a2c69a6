//! The built relay as a process on a directory and ports that outlive it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod armed;

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use relay_simnet::{Net, Pds};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest that a start or the catching up may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of the log that a failing test shows.
const LOG_LINES: usize = 40;
/// Opens the admin API.
pub(crate) const PASSWORD: &str = "process-password";

/// How to start one.
#[derive(Debug, Default)]
pub(crate) struct Setup<'a> {
    /// Where it keeps everything; a new directory unless given.
    pub(crate) dir: Option<TempDir>,
    /// Settings besides the usual ones, in the form of environment variables.
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// What it runs under, such as `taskset -c 1`.
    pub(crate) under: &'a [&'a str],
    /// The program, if not the one that was built with the test.
    pub(crate) binary: Option<PathBuf>,
}

/// A running relay.
#[derive(Debug)]
pub(crate) struct RelayProcess {
    child: Child,
    dir: TempDir,
    settings: Vec<(String, String)>,
    /// The program, and what it runs under.
    words: Vec<String>,
    ports: [u16; 3],
    client: reqwest::Client,
}

impl RelayProcess {
    /// Starts one; returns once it answers.
    pub(crate) async fn start(net: &Net, setup: Setup<'_>) -> Result<Self> {
        Self::start_beside(net.plc().url(), setup).await
    }

    /// The same with nothing but the address of a directory.
    pub(crate) async fn start_beside(directory: String, setup: Setup<'_>) -> Result<Self> {
        let dir = setup.dir.map_or_else(tempfile::tempdir, Ok)?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let settings: Vec<_> = usual(directory, ports)
            .into_iter()
            .chain(setup.settings.iter().map(|(name, value)| (*name, (*value).to_owned())))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        // Examples are not told where it lies.
        let built = option_env!("CARGO_BIN_EXE_relay").map(Into::into);
        let binary = setup.binary.as_ref().map(|path| path.to_string_lossy()).or(built);
        let binary = binary.context("which relay?")?;
        let words: Vec<String> =
            setup.under.iter().copied().chain([&*binary]).map(str::to_owned).collect();
        let child = spawn(dir.path(), &settings, &words)?;
        let mut relay = Self { child, dir, settings, words, ports, client };
        relay.answers().await?;
        Ok(relay)
    }

    /// Base of its public addresses.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Where its admin API listens, `127.0.0.1:PORT`.
    pub(crate) fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    /// Where its metrics are, `127.0.0.1:PORT`.
    pub(crate) fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[2])
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Process id, for its CPU time and memory.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Files of its event log.
    pub(crate) fn segments(&self) -> Result<usize> {
        Ok(fs::read_dir(self.data().join("persist"))?.count())
    }

    /// Adds all hosts and waits until it reads them.
    pub(crate) async fn crawl(&self, net: &Net) -> Result<()> {
        let names: Vec<_> = net.hosts().iter().map(Pds::hostname).collect();
        // Each is asked whether it is one, which takes its time on a busy machine.
        for some in names.chunks(50) {
            self.add_hosts(some).await?;
        }
        for host in net.hosts() {
            host.connected().await?;
        }
        Ok(())
    }

    /// Adds hosts; returns once they are admitted, before they are read.
    pub(crate) async fn add_hosts(&self, names: &[String]) -> Result<()> {
        let answer = self
            .client
            .post(format!("http://127.0.0.1:{}/admin/v1/hosts", self.ports[1]))
            .basic_auth("admin", Some(PASSWORD))
            .json(&serde_json::json!({ "hostnames": names }))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        let answer: Value = answer.json().await?;
        let results = answer["hosts"].as_array().context("no list of hosts")?;
        let refused = results.iter().find(|host| host["id"].is_null());
        ensure!(refused.is_none() && results.len() == names.len(), "not admitted: {answer}");
        Ok(())
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        ensure!(
            status.signal() == Some(9),
            "the relay had ended before by itself: {status}; its log:\n{}",
            self.log()
        );
        Ok(())
    }

    /// SIGTERM; the exit code must be 0.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        signal(self.pid(), Signal::TERM)?;
        let status = self.ended().await?;
        ensure!(status.success(), "exit of a clean stop: {status}; its log:\n{}", self.log());
        Ok(())
    }

    /// Waits until it has ended, for whatever reason.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Ok::<_, anyhow::Error>(status);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.context("it does not end")?
    }

    /// Starts it again; returns once it answers.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.child = spawn(self.dir.path(), &self.settings, &self.words)?;
        self.answers().await
    }

    /// Stops it and starts it again with these settings besides those it has, under other words.
    pub(crate) async fn reborn(&mut self, settings: &[(&str, &str)], under: &[&str]) -> Result<()> {
        self.stop().await?;
        for (name, value) in settings {
            self.settings.retain(|(other, _)| other != name);
            self.settings.push(((*name).to_owned(), (*value).to_owned()));
        }
        let binary = self.words.pop().context("a program")?;
        self.words = under.iter().map(|&word| word.to_owned()).chain([binary]).collect();
        self.restart().await
    }

    /// Starts it again and kills it after this time, however far it came.
    pub(crate) async fn restart_in_vain(&mut self, after: Duration) -> Result<()> {
        self.child = spawn(self.dir.path(), &self.settings, &self.words)?;
        tokio::time::sleep(after).await;
        self.kill()
    }

    /// Waits until the low-water mark of every host has reached what the host sent.
    pub(crate) async fn reach(&self, net: &Net) -> Result<()> {
        let reached = async {
            while self.is_behind(net).await? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::time::timeout(PATIENCE, reached).await.context("the relay does not catch up")?
    }

    async fn is_behind(&self, net: &Net) -> Result<bool> {
        let url = format!("{}/xrpc/com.atproto.sync.listHosts?limit=1000", self.url());
        let answer = self.client.get(url).send().await?;
        let hosts: Value = answer.error_for_status()?.json().await?;
        let hosts = hosts["hosts"].as_array().context("no list of hosts")?;
        Ok(net.hosts().iter().any(|host| {
            let name = host.hostname();
            let row = hosts.iter().find(|row| row["hostname"] == name.as_str());
            row.and_then(|row| row["seq"].as_u64()).unwrap_or(0) < host.head()
        }))
    }

    /// The text of its metrics.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.ports[2]);
        Ok(self.client.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// For a test that fails: the end of the log, and what the relay says of its hosts.
    pub(crate) async fn situation(&self) -> String {
        let url = format!("http://127.0.0.1:{}/admin/v1/hosts?limit=100", self.ports[1]);
        let asked = self.client.get(url).basic_auth("admin", Some(PASSWORD)).send().await;
        let hosts = match asked {
            Ok(answer) => answer.text().await.unwrap_or_else(|error| error.to_string()),
            Err(error) => error.to_string(),
        };
        let log = self.log();
        let lines: Vec<_> = log.lines().rev().take(LOG_LINES).collect();
        let tail: Vec<_> = lines.into_iter().rev().collect();
        format!("hosts: {hosts}\nlog:\n{}", tail.join("\n"))
    }

    /// Status and JSON of a GET below `/xrpc/`.
    pub(crate) async fn get(&self, method: &str) -> Result<(u16, Value)> {
        let answer = self.client.get(format!("{}/xrpc/{method}", self.url())).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    /// Waits until `/xrpc/_health` answers with this status; gives its body.
    pub(crate) async fn health(&self, wanted: u16) -> Result<Value> {
        let reached = async {
            loop {
                if let Ok((status, body)) = self.get("_health").await
                    && status == wanted
                {
                    return body;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.with_context(|| format!("health is never {wanted}; its log:\n{}", self.log()))
    }

    /// Waits until its log holds these words.
    pub(crate) async fn says(&self, words: &str) -> Result<()> {
        let said = async {
            while !self.log().contains(words) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        said.with_context(|| format!("{words:?} is not in its log:\n{}", self.log()))
    }

    async fn answers(&mut self) -> Result<()> {
        let url = format!("{}/xrpc/_health", self.url());
        let answered = async {
            while self.client.get(&url).send().await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("it ended: {status}");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        answered
            .context("it does not answer")
            .and_then(|answered| answered)
            .with_context(|| format!("the relay does not start; its log:\n{}", self.log()))
    }

    /// All that it logged, over all starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What it needs to know of the network and of the ports.
fn usual(directory: String, ports: [u16; 3]) -> [(&'static str, String); 6] {
    let bind = |port: u16| format!("127.0.0.1:{port}");
    [
        ("RELAY_PLC_HOST", directory),
        ("RELAY_PLC_RATE", "10000".to_owned()),
        ("RELAY_API_BIND", bind(ports[0])),
        ("RELAY_ADMIN_BIND", bind(ports[1])),
        ("RELAY_METRICS_LISTEN", bind(ports[2])),
        ("RELAY_ADMIN_PASSWORD", PASSWORD.to_owned()),
    ]
}

fn spawn(dir: &Path, settings: &[(String, String)], words: &[String]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let (program, rest) = words.split_first().context("a program")?;
    Command::new(program)
        .args(rest)
        .args(["serve", "--dev"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_BACKTRACE", "1")
        .env("RELAY_DATA_DIR", dir.join("data"))
        .envs(settings.iter().cloned())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start the built relay")
}

/// Lets a process stand still, as a machine without CPU time would.
pub(crate) fn stand(pid: u32) -> Result<()> {
    signal(pid, Signal::STOP)
}

/// Lets it go on.
pub(crate) fn walk(pid: u32) -> Result<()> {
    signal(pid, Signal::CONT)
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("pid")?;
    Ok(kill_process(pid, signal)?)
}

/// A port that was free a moment ago. Below those that the system gives to connections, or one of
/// them would sit on it while the relay is down.
pub(crate) fn free_port() -> Result<u16> {
    for _ in 0..1_000 {
        let port = rand::random_range(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 is free")
}
