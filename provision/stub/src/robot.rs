//! Hetzner's Robot web service as it is documented, for one account: it keeps state, refuses what the
//! real one refuses, and can be told to fail.

mod routes;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, runtime::Runtime};

/// Who may use it.
pub const USER: &str = "#ws+stub";
/// With this password.
pub const PASSWORD: &str = "stub-password";
/// Number of the server that there is.
pub const SERVER: u64 = 321;

/// How a request goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, headers and body instead of doing it.
    Answer(u16, Vec<(&'static str, String)>, Json),
    /// Never answered, and not done.
    Silence,
    /// Done, but the answer is lost.
    Lost,
}

/// What there is.
#[derive(Debug, Default)]
struct Account {
    keys: Vec<Json>,
    rescue: Option<Json>,
    host_keys: Vec<String>,
    reverse: BTreeMap<String, String>,
    firewall: Json,
    /// Looks at the firewall until a change is done.
    pending: u32,
    cancelled: bool,
    ipv4: String,
    requests: Vec<String>,
    faults: VecDeque<(String, Fault)>,
    /// The directory of the machine that is restarted; see [`Robot::machine`].
    machine: Option<PathBuf>,
    wrong_logins: u32,
}

/// The service, until it is dropped.
#[derive(Debug)]
pub struct Robot {
    address: SocketAddr,
    account: Arc<Mutex<Account>>,
    _runtime: Runtime,
}

impl Robot {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("find a port")?;
        let address = listener.local_addr().context("find a port")?;
        let account = Account {
            ipv4: "127.0.0.1".to_owned(),
            firewall: json!({"status": "disabled", "rules": {"input": [], "output": []}}),
            ..Account::default()
        };
        let account = Arc::new(Mutex::new(account));
        let routes = routes::all(Arc::clone(&account));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, account, _runtime: runtime })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request whose line (`POST /reset/321`) begins like this goes wrong.
    pub fn fail(&self, request: &str, fault: Fault) {
        self.account.lock().faults.push_back((request.to_owned(), fault));
    }

    /// The server is this machine: a file `phase` in the directory says what runs on it, and becomes
    /// `rescue` when it is restarted while the rescue system is prepared.
    ///
    /// * `host_keys` – fingerprints that the rescue system will show
    pub fn machine(&self, directory: PathBuf, host_keys: &[&str]) {
        let mut account = self.account.lock();
        account.machine = Some(directory);
        account.host_keys = host_keys.iter().map(|key| (*key).to_owned()).collect();
    }

    /// The server has this address instead of that of this machine.
    pub fn address(&self, ipv4: &str) {
        ipv4.clone_into(&mut self.account.lock().ipv4);
    }

    /// The contract of the server ends.
    pub fn cancel(&self) {
        self.account.lock().cancelled = true;
    }

    /// All request lines since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.account.lock().requests)
    }

    /// The names that addresses lead back to.
    pub fn reverse(&self) -> BTreeMap<String, String> {
        self.account.lock().reverse.clone()
    }

    /// The firewall as it was set.
    pub fn firewall(&self) -> Json {
        self.account.lock().firewall.clone()
    }
}

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_hours(1);
