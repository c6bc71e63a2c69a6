//! The built program as a process, with nothing in its environment but what a test sets.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use relay_simnet::Net;
use tempfile::TempDir;

use crate::http::{Answer, post, send};

/// Longest that a start or an end may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Opens the admin API unless a test sets another one.
pub(crate) const PASSWORD: &str = "settings-password";

/// What to start, in a directory of its own; clones share the directory.
#[derive(Clone)]
pub(crate) struct Program {
    dir: Arc<TempDir>,
    env: BTreeMap<String, String>,
    arguments: Vec<String>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// On free ports, with a password, and nothing else set.
    pub(crate) fn new() -> Self {
        let env = [
            ("RELAY_API_BIND", "127.0.0.1:0"),
            ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
            ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
            ("RELAY_ADMIN_PASSWORD", PASSWORD),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self { dir, env: env.into(), arguments: Vec::new() }
    }

    /// In development mode, with the directory of a simulated network.
    pub(crate) fn beside(net: &Net) -> Self {
        Self::new().set("RELAY_PLC_HOST", &net.plc().url()).argument("--dev")
    }

    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    #[must_use]
    pub(crate) fn argument(mut self, text: &str) -> Self {
        self.arguments.push(text.to_owned());
        self
    }

    /// The same in the same directory, with a command.
    pub(crate) fn again(&self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        Self { dir: Arc::clone(&self.dir), env: self.env.clone(), arguments }
    }

    /// Working directory; the data directory lies below unless set otherwise.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the relay and waits until it answers.
    pub(crate) async fn start(&self) -> Process {
        let log = self.dir().join("log");
        let stderr = File::create(&log).unwrap();
        let child = self.command().stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut process = Process { child, log, _dir: Arc::clone(&self.dir), at: None };
        let fixed = ["RELAY_API_BIND", "RELAY_ADMIN_BIND", "RELAY_METRICS_LISTEN"]
            .map(|name| self.env.get(name)?.parse::<SocketAddr>().ok());
        let fixed = match fixed {
            [Some(api), Some(admin), Some(metrics)] if api.port() > 0 => {
                Some(Addresses { api, admin, metrics })
            }
            _ => None,
        };
        let found = async {
            loop {
                let found = fixed.or_else(|| Addresses::from_log(&process.log()));
                // Addresses are taken before anything is served there.
                if let Some(found) = found
                    && tokio::net::TcpStream::connect(found.api).await.is_ok()
                    && send(found.api, "GET", "/_health", &[]).await.status == 200
                {
                    return found;
                }
                let ended = process.child.try_wait().unwrap();
                assert!(ended.is_none(), "ended with {ended:?}: {}", process.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        assert!(found.is_ok(), "the relay does not answer: {}", process.log());
        process.at = found.ok();
        process
    }

    /// Runs to its end, which must come by itself.
    pub(crate) async fn run(&self) -> Ended {
        let (out, err) = (self.dir().join("stdout"), self.dir().join("stderr"));
        let mut child = self
            .command()
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let ended = tokio::time::timeout(PATIENCE, ended(&mut child)).await;
        if ended.is_err() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let (stdout, stderr) = (read(&out), read(&err));
        assert!(ended.is_ok(), "it runs although it should not: {stderr}");
        Ended { code: ended.ok().flatten(), stdout, stderr }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command.args(&self.arguments).env_clear().envs(&self.env);
        command.current_dir(self.dir()).stdin(Stdio::null());
        command
    }
}

/// Where a process listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) api: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Addresses {
    /// What the relay says at its start.
    fn from_log(log: &str) -> Option<Self> {
        let after = |mark: &str, end: &str| {
            log.split_once(mark)?.1.split_once(end)?.0.parse::<SocketAddr>().ok()
        };
        Some(Self {
            api: after("the firehose is at ws://", "/xrpc")?,
            admin: after("admin API on http://", ",")?,
            metrics: after(", metrics on http://", "/metrics")?,
        })
    }
}

/// A running relay.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    _dir: Arc<TempDir>,
    at: Option<Addresses>,
}

impl Process {
    pub(crate) fn at(&self) -> Addresses {
        self.at.unwrap()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// What a person reads at `/`.
    pub(crate) async fn home(&self) -> String {
        send(self.at().api, "GET", "/", &[]).await.body
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let password = format!("Authorization: Bearer {PASSWORD}");
        send(self.at().admin, "GET", path, &[&password]).await
    }

    /// Adds a host as the operator.
    pub(crate) async fn crawl(&self, hostname: &str) -> Answer {
        let password = format!("Authorization: Bearer {PASSWORD}");
        let body = serde_json::json!({ "hostname": hostname }).to_string();
        post(self.at().admin, "/admin/pds/requestCrawl", &[&password], &body).await
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<String> {
        let metrics = send(self.at().metrics, "GET", "/metrics", &[]).await.body;
        let mut lines = metrics.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives the whole log.
    pub(crate) async fn stop(mut self) -> String {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let code = tokio::time::timeout(PATIENCE, ended(&mut self.child)).await;
        assert_eq!(code, Ok(Some(0)), "{}", self.log());
        self.log()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

async fn ended(child: &mut Child) -> Option<i32> {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Addresses that were free a moment ago.
pub(crate) fn free_addresses() -> [String; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

/// Waits for a condition, never for a time.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited {PATIENCE:?} for: {what}");
}
