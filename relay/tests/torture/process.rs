//! The built relay as a process on a directory and ports that outlive it.

use std::{
    fs::File,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use relay_simnet::Net;
use tempfile::TempDir;

/// Longest that a start or the catching up may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "torture-password";

pub(crate) struct RelayProcess {
    child: Child,
    dir: TempDir,
    plc: String,
    ports: [u16; 3],
    client: reqwest::Client,
}

impl RelayProcess {
    pub(crate) async fn start(net: &Net) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let plc = net.plc().url();
        let child = spawn(&dir, &plc, ports)?;
        let relay = Self { child, dir, plc, ports, client: reqwest::Client::new() };
        relay.answers().await?;
        Ok(relay)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Process id, for its CPU time and memory.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn crawl(&self, net: &Net) -> Result<()> {
        let names: Vec<_> = net.hosts().iter().map(relay_simnet::Pds::hostname).collect();
        let answer = self
            .client
            .post(format!("http://127.0.0.1:{}/admin/v1/hosts", self.ports[1]))
            .basic_auth("admin", Some(PASSWORD))
            .json(&serde_json::json!({ "hostnames": names }))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        ensure!(status.signal() == Some(9), "the relay had ended before by itself: {status}");
        Ok(())
    }

    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.dir, &self.plc, self.ports)?;
        self.answers().await
    }

    /// SIGTERM; the exit code must be 0.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = tokio::task::spawn_blocking(move || self.child.wait()).await??;
        ensure!(status.success(), "exit of a clean stop: {status}");
        Ok(())
    }

    /// Waits until the low-water mark of every host has reached what the host sent.
    pub(crate) async fn reach(&self, net: &Net) -> Result<()> {
        let reached = async {
            loop {
                let url = format!("{}/xrpc/com.atproto.sync.listHosts?limit=1000", self.url());
                let hosts: serde_json::Value = self.client.get(url).send().await?.json().await?;
                let behind = net.hosts().iter().any(|host| {
                    let name = host.hostname();
                    let known = hosts["hosts"].as_array().into_iter().flatten();
                    let seq = known
                        .filter(|row| row["hostname"] == name.as_str())
                        .find_map(|row| row["seq"].as_u64());
                    seq.unwrap_or(0) < host.head()
                });
                if !behind {
                    return Ok::<_, anyhow::Error>(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.context("the relay does not catch up")?
    }

    async fn answers(&self) -> Result<()> {
        let url = format!("{}/xrpc/_health", self.url());
        let answered = async {
            while !self
                .client
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, answered).await.is_err() {
            bail!("the relay does not answer; its log:\n{}", self.log());
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) && self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

fn spawn(dir: &TempDir, plc: &str, ports: [u16; 3]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(dir.path().join("log"))?;
    let bind = |port: u16| format!("127.0.0.1:{port}");
    Command::new(env!("CARGO_BIN_EXE_relay"))
        .args(["serve", "--dev"])
        .env_clear()
        .env("RUST_BACKTRACE", "1")
        .env("RELAY_DATA_DIR", dir.path().join("data"))
        .env("RELAY_PLC_HOST", plc)
        .env("RELAY_PLC_RATE", "100000")
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
