//! The built relay as a process of its own, to be killed, on a directory and ports that outlive it.

use std::{
    fs::File,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use relay_simnet::Net;
use serde_json::Value;
use tempfile::TempDir;

/// Longest that a start or a condition may take; far above what a slow machine needs.
const PATIENCE: Duration = Duration::from_mins(1);
const PASSWORD: &str = "child-password";

/// A running relay.
pub(crate) struct Process {
    child: Child,
    dir: TempDir,
    settings: Vec<(String, String)>,
    /// Program and arguments that start the relay, such as in a file system of its own.
    wrapper: Vec<String>,
    ports: [u16; 2],
    client: reqwest::Client,
}

impl Process {
    /// Starts it with settings besides the usual ones, in the form of environment variables.
    pub(crate) async fn start(net: &Net, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, net, settings, &[]).await
    }

    pub(crate) async fn start_in(
        dir: TempDir,
        net: &Net,
        settings: &[(&str, &str)],
        wrapper: &[&str],
    ) -> Result<Self> {
        let ports = [free_port()?, free_port()?];
        let bind = |port: u16| format!("127.0.0.1:{port}");
        let usual = [
            ("RELAY_PLC_HOST", net.plc().url()),
            ("RELAY_PLC_RATE", "10000".to_owned()),
            ("RELAY_API_BIND", bind(ports[0])),
            ("RELAY_ADMIN_BIND", bind(ports[1])),
            ("RELAY_METRICS_LISTEN", bind(0)),
            ("RELAY_ADMIN_PASSWORD", PASSWORD.to_owned()),
        ];
        let settings: Vec<_> = usual
            .into_iter()
            .chain(settings.iter().map(|(name, value)| (*name, (*value).to_owned())))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let wrapper: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        let child = spawn(dir.path(), &settings, &wrapper)?;
        let client = reqwest::Client::builder().build()?;
        let mut relay = Self { child, dir, settings, wrapper, ports, client };
        relay.answers().await?;
        Ok(relay)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Adds all hosts of the network and waits until it reads them.
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
        for host in net.hosts() {
            host.connected().await?;
        }
        Ok(())
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
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.with_context(|| format!("health is never {wanted}; the log:\n{}", self.log()))
    }

    /// Waits until its log holds these words.
    pub(crate) async fn says(&self, words: &str) -> Result<()> {
        let said = async {
            while !self.log().contains(words) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        said.with_context(|| format!("{words:?} is not in its log:\n{}", self.log()))
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        ensure!(status.signal() == Some(9), "it had ended before by itself: {status}");
        Ok(())
    }

    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.child = spawn(self.dir.path(), &self.settings, &self.wrapper)?;
        self.answers().await
    }

    async fn answers(&mut self) -> Result<()> {
        let url = format!("{}/xrpc/_health", self.url());
        let answered = async {
            while self.client.get(&url).send().await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("it ended: {status}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        answered
            .context("it does not answer")
            .and_then(|answered| answered)
            .with_context(|| format!("the relay does not start; its log:\n{}", self.log()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

fn spawn(dir: &Path, settings: &[(String, String)], wrapper: &[String]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let relay = env!("CARGO_BIN_EXE_relay").to_owned();
    let words = [relay, "serve".to_owned(), "--dev".to_owned()];
    let words: Vec<&String> = wrapper.iter().chain(&words).collect();
    Command::new(words[0])
        .args(&words[1..])
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
