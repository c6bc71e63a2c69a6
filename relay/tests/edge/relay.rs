//! A whole relay in this process beside a simulated network.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use relay::{
    clock::Clock,
    config::{Config, Flags},
    daemon::{Daemon, Extras, Running},
};
use relay_simnet::{Account, Net, Pds};

use crate::http::{Answer, send};

/// Opens the admin API.
pub(crate) const PASSWORD: &str = "edge-password";

/// Longest that a condition may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The relay and its world.
pub(crate) struct Relay {
    pub(crate) running: Running,
    pub(crate) net: Net,
    dir: tempfile::TempDir,
    config: Config,
}

impl Relay {
    /// Starts with a network of no hosts.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more settings, in the form of environment variables.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_at(Clock::system(), settings).await
    }

    /// The same with another clock.
    pub(crate) async fn start_at(clock: Clock, settings: &[(&str, &str)]) -> Self {
        Self::start_from(Extras { clock, ..Extras::default() }, settings).await
    }

    /// The same with whatever else may be replaced.
    pub(crate) async fn start_from(extras: Extras, settings: &[(&str, &str)]) -> Self {
        let net = Net::seeded(5).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        let plc = net.plc().url();
        let usual = [
            ("RELAY_DATA_DIR", data.as_str()),
            ("RELAY_PLC_HOST", plc.as_str()),
            ("RELAY_PLC_RATE", "10000"),
            ("RELAY_API_BIND", "127.0.0.1:0"),
            ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
            ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
            ("RELAY_ADMIN_PASSWORD", PASSWORD),
            ("RELAY_ALLOW_INSECURE_HOSTS", "true"),
        ];
        let env: Vec<_> = usual
            .iter()
            .filter(|(name, _)| settings.iter().all(|(other, _)| other != name))
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = Config::load(&Flags::default(), &env, dir.path()).unwrap();
        let running = Box::pin(Daemon::start(config.clone(), extras)).await.unwrap();
        Self { running, net, dir, config }
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restarted(self) -> Self {
        // Boxed: a whole relay is on the way, and tests hold it.
        let Self { running, net, dir, config } = self;
        Box::pin(running.stop()).await.unwrap();
        let running = Box::pin(Daemon::start(config.clone(), Extras::default())).await.unwrap();
        Self { running, net, dir, config }
    }

    /// A new host that the relay is connected to.
    pub(crate) async fn host(&self, name: &str) -> Pds {
        let pds = self.net.pds(name).await.unwrap();
        self.running.hosts.admit(&pds.hostname(), true).await.unwrap();
        pds.connected().await.unwrap();
        self.until("the host counts as connected", || {
            self.running.hosts.view(&pds.hostname()).is_some_and(|view| view.ever_connected)
        })
        .await;
        pds
    }

    /// A new account with one post.
    pub(crate) async fn account(&self, pds: &Pds, name: &str) -> Account {
        let account = pds.account(name).await.unwrap();
        account.post("hello").await.unwrap();
        self.settled().await;
        account
    }

    /// Waits until everything that the hosts have sent is judged and durable.
    pub(crate) async fn settled(&self) {
        self.until("every host seq is settled", || {
            self.net.undelivered() == 0
                && self.net.hosts().iter().all(|host| {
                    self.running.hosts.by_name(&host.hostname()).is_none_or(|known| {
                        known.mark().map_or(0, |(_, mark)| mark.0) >= host.head()
                    })
                })
        })
        .await;
    }

    /// Waits for a condition, never for a time.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited {PATIENCE:?} for: {what}");
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.running.api
    }

    /// GET of an xrpc method of the sync lexicons.
    pub(crate) async fn sync(&self, method: &str) -> Answer {
        send(self.api(), "GET", &format!("/xrpc/com.atproto.sync.{method}"), &[]).await
    }

    /// GET with the admin password.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let header = format!("Authorization: Bearer {PASSWORD}");
        send(self.running.admin, "GET", path, &[&header]).await
    }

    pub(crate) async fn stop(self) {
        // Every test waits for this, and the relay with its settings is a large thing to wait with.
        Box::pin(self.running.stop()).await.unwrap();
    }
}
