//! The built relay as a process on a directory and ports that outlive it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use relay_simnet::{Net, Pds};
use tempfile::TempDir;

/// Longest that a start or the catching up may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of the log that a failing test shows.
const LOG_LINES: usize = 40;
const PASSWORD: &str = "process-password";

/// A running relay.
#[derive(Debug)]
pub(crate) struct RelayProcess {
    child: Child,
    dir: TempDir,
    plc: String,
    ports: [u16; 3],
    client: reqwest::Client,
    /// What it runs under, such as `taskset -c 1`.
    under: Vec<String>,
}

impl RelayProcess {
    /// Starts one on a new directory; returns once it answers.
    pub(crate) async fn start(net: &Net, under: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let plc = net.plc().url();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let under: Vec<String> = under.iter().map(|&word| word.to_owned()).collect();
        let child = spawn(&dir, &plc, ports, &under)?;
        let relay = Self { child, dir, plc, ports, client, under };
        relay.answers().await?;
        Ok(relay)
    }

    /// Base of its public addresses.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
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

    /// Adds all hosts.
    pub(crate) async fn crawl(&self, net: &Net) -> Result<()> {
        let names: Vec<_> = net.hosts().iter().map(Pds::hostname).collect();
        let answer = self
            .client
            .post(format!("http://127.0.0.1:{}/admin/v1/hosts", self.ports[1]))
            .basic_auth("admin", Some(PASSWORD))
            .json(&serde_json::json!({ "hostnames": names }))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        let answer: serde_json::Value = answer.json().await?;
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
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid())?).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Ok::<_, anyhow::Error>(status);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.context("it does not stop")??;
        ensure!(status.success(), "exit of a clean stop: {status}; its log:\n{}", self.log());
        Ok(())
    }

    /// Starts it again; returns once it answers.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.dir, &self.plc, self.ports, &self.under)?;
        self.answers().await
    }

    /// Starts it again and kills it after this time, however far it came.
    pub(crate) async fn restart_in_vain(&mut self, after: Duration) -> Result<()> {
        self.child = spawn(&self.dir, &self.plc, self.ports, &self.under)?;
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
        let hosts: serde_json::Value = answer.error_for_status()?.json().await?;
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

    async fn answers(&self) -> Result<()> {
        let url = format!("{}/xrpc/_health", self.url());
        let answered = async {
            while !self.client.get(&url).send().await.is_ok_and(|a| a.status().is_success()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(PATIENCE, answered).await.is_err() {
            bail!("the relay does not answer; its log:\n{}", self.log());
        }
        Ok(())
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

fn spawn(dir: &TempDir, plc: &str, ports: [u16; 3], under: &[String]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(dir.path().join("log"))?;
    let bind = |port: u16| format!("127.0.0.1:{port}");
    let binary = env!("CARGO_BIN_EXE_relay").to_owned();
    let words: Vec<String> = under.iter().cloned().chain([binary]).collect();
    let (program, rest) = words.split_first().context("a program")?;
    Command::new(program)
        .args(rest)
        .args(["serve", "--dev"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("RUST_BACKTRACE", "1")
        .env("RELAY_DATA_DIR", dir.path().join("data"))
        .env("RELAY_PLC_HOST", plc)
        .env("RELAY_PLC_RATE", "10000")
        .env("RELAY_API_BIND", bind(ports[0]))
        .env("RELAY_ADMIN_BIND", bind(ports[1]))
        .env("RELAY_METRICS_LISTEN", bind(ports[2]))
        .env("RELAY_ADMIN_PASSWORD", PASSWORD)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start the built relay")
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
