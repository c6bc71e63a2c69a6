//! A relay in this process, on free ports and in a directory of its own, joined to a simulated network.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use relay::{
    clock::Clock,
    config::{Config, Flags},
    daemon::{Daemon, Extras, Running},
    domain::DropReason,
    drops::Dropped,
    upstream::UpstreamOptions,
};
use relay_simnet::{Account, Consumer, Net, Start};
use tempfile::TempDir;

/// Longest that a condition may take; far above what it takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// First pause after a lost connection; doubles as usual. The usual second would only make tests slow.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(40);

/// Opens the admin API of every relay started here.
pub(crate) const PASSWORD: &str = "end-to-end-password";

pub(crate) struct Relay {
    pub(crate) running: Running,
    dir: Arc<TempDir>,
    plc: String,
    tweak: Tweak,
}

type Tweak = Arc<dyn Fn(&mut Config, &mut Extras) + Send + Sync>;

impl Relay {
    /// Starts a relay that knows all hosts of `net` and waits until it is connected to them.
    pub(crate) async fn join(net: &Net) -> Result<Self> {
        Self::join_with(net, |_, _| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn join_with(
        net: &Net,
        tweak: impl Fn(&mut Config, &mut Extras) + Send + Sync + 'static,
    ) -> Result<Self> {
        let relay = Self::alone(net, tweak).await?;
        for host in net.hosts() {
            relay
                .running
                .hosts
                .admit(&host.hostname(), true)
                .await
                .map_err(|why| anyhow!("{}: {why}", host.hostname()))?;
        }
        for host in net.hosts() {
            host.connected().await?;
        }
        Ok(relay)
    }

    /// Starts a relay that knows the directory of `net` and no host.
    pub(crate) async fn alone(
        net: &Net,
        tweak: impl Fn(&mut Config, &mut Extras) + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::beside(net.plc().url(), tweak).await
    }

    /// Starts a relay that knows a directory and no host.
    pub(crate) async fn beside(
        directory: String,
        tweak: impl Fn(&mut Config, &mut Extras) + Send + Sync + 'static,
    ) -> Result<Self> {
        let dir = Arc::new(tempfile::tempdir().context("make a directory")?);
        Self::start(dir, directory, Arc::new(tweak)).await
    }

    async fn start(dir: Arc<TempDir>, plc: String, tweak: Tweak) -> Result<Self> {
        let mut config = config(dir.path(), &plc)?;
        let upstream = UpstreamOptions { first_retry: FIRST_RETRY, ..UpstreamOptions::default() };
        let mut extras = Extras { clock: Clock::system(), upstream, ..Extras::default() };
        tweak(&mut config, &mut extras);
        let running = Daemon::start(config, extras).await?;
        Ok(Self { running, dir, plc, tweak })
    }

    /// Stops it as SIGTERM does, and starts it again on the same data.
    pub(crate) async fn restart(self) -> Result<Self> {
        let Self { running, dir, plc, tweak } = self;
        running.stop().await?;
        Self::start(dir, plc, tweak).await
    }

    /// Stops it, lets `between` change what it left in its data directory, and starts it again.
    pub(crate) async fn restart_after(
        self,
        between: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let Self { running, dir, plc, tweak } = self;
        running.stop().await?;
        between(&dir.path().join("data")).await?;
        Self::start(dir, plc, tweak).await
    }

    /// Waits until it must stop, stops it as the program does, lets `between` mend what was wrong,
    /// and starts it again; gives the sentence that it stopped with as well.
    pub(crate) async fn restart_after_failure(
        self,
        between: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<(String, Self)> {
        let Self { running, dir, plc, tweak } = self;
        let failed = tokio::time::timeout(PATIENCE, running.failed()).await;
        let failed = failed.context("it goes on")?.to_string();
        // It ends with the same sentence once more.
        let stopped = running.stop().await;
        anyhow::ensure!(stopped.is_err(), "a stop after {failed:?} is no success");
        between(&dir.path().join("data")).await?;
        Ok((failed, Self::start(dir, plc, tweak).await?))
    }

    /// Stops it and starts it again, although something is wrong with its disk: what a stop cannot
    /// write the next start finds out, and a start may take several attempts.
    pub(crate) async fn restart_until_it_runs(self) -> Result<Self> {
        const ATTEMPTS: u32 = 3;
        let Self { running, dir, plc, tweak } = self;
        drop(running.stop().await);
        let mut attempt = 1;
        loop {
            match Self::start(Arc::clone(&dir), plc.clone(), Arc::clone(&tweak)).await {
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                started => return started,
            }
        }
    }

    /// Where it keeps everything.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) async fn stop(self) -> Result<Arc<TempDir>> {
        self.running.stop().await?;
        Ok(self.dir)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.running.api)
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.running.admin)
    }

    pub(crate) async fn consume(&self, from: Start) -> Result<Consumer> {
        Consumer::connect(&self.url(), from).await
    }

    /// Waits until everything that the hosts of `net` have sent is judged and durable.
    pub(crate) async fn settled(&self, net: &Net) -> Result<()> {
        self.until("everything sent was received", || net.undelivered() == 0).await?;
        self.until("every host seq is settled", || self.is_settled(net)).await
    }

    /// Whether everything that the hosts of `net` have sent is judged and durable.
    pub(crate) fn is_settled(&self, net: &Net) -> bool {
        net.undelivered() == 0
            && net.hosts().iter().all(|host| {
                self.running
                    .hosts
                    .by_name(&host.hostname())
                    .is_some_and(|known| known.mark().map_or(0, |(_, mark)| mark.0) >= host.head())
            })
    }

    /// Waits for a condition, never for a time.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.map_err(|_elapsed| anyhow!("waited {PATIENCE:?} for: {what}"))
    }

    /// Reasons of the last dropped events of an account, oldest first. The `#sync` that hosts send
    /// after an account's creation repeats its first commit and is dropped each time (SYNC-4).
    pub(crate) fn drops(&self, account: &Account) -> Vec<DropReason> {
        let reasons = self.examples(account).into_iter().map(|dropped| dropped.reason);
        reasons.filter(|reason| *reason != DropReason::SyncUnchanged).collect()
    }

    pub(crate) fn examples(&self, account: &Account) -> Vec<Dropped> {
        let mut examples = self.running.drops.of_did(account.did());
        examples.reverse();
        examples
    }

    pub(crate) fn dropped_total(&self, reason: DropReason) -> u64 {
        let totals = self.running.drops.totals();
        totals.into_iter().find(|(found, _)| *found == reason).map_or(0, |(_, count)| count)
    }

    /// Status and JSON of a GET below `/xrpc/`.
    pub(crate) async fn get(&self, method: &str) -> Result<(u16, serde_json::Value)> {
        let url = format!("{}/xrpc/{method}", self.url());
        answer(http()?.get(url)).await
    }

    /// The same for `/admin/v1/why`, with the password.
    pub(crate) async fn why(&self, query: &str) -> Result<(u16, serde_json::Value)> {
        self.admin(&format!("why?{query}")).await
    }

    /// A GET of the admin API.
    pub(crate) async fn admin(&self, path: &str) -> Result<(u16, serde_json::Value)> {
        let url = format!("{}/admin/v1/{path}", self.admin_url());
        answer(http()?.get(url).bearer_auth(PASSWORD)).await
    }

    /// A command of the admin API.
    pub(crate) async fn command(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(u16, serde_json::Value)> {
        let url = format!("{}/admin/v1/{path}", self.admin_url());
        answer(http()?.post(url).bearer_auth(PASSWORD).json(body)).await
    }

    /// Asks the relay to crawl a host, as that host would.
    pub(crate) async fn request_crawl(&self, hostname: &str) -> Result<(u16, serde_json::Value)> {
        let url = format!("{}/xrpc/com.atproto.sync.requestCrawl", self.url());
        let body = serde_json::json!({ "hostname": hostname });
        answer(http()?.post(url).json(&body)).await
    }
}

fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?)
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, serde_json::Value)> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))))
}

fn config(dir: &Path, plc: &str) -> Result<Config> {
    let data = dir.join("data").display().to_string();
    let env = [
        ("RELAY_DATA_DIR", data.as_str()),
        ("RELAY_PLC_HOST", plc),
        ("RELAY_PLC_RATE", "10000"),
        ("RELAY_API_BIND", "127.0.0.1:0"),
        ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
        ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
        ("RELAY_ADMIN_PASSWORD", PASSWORD),
        ("RELAY_ALLOW_INSECURE_HOSTS", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Config::load(&Flags::default(), &env, dir)?)
}
