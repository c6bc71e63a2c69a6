//! Caddy before a relay, and who comes to it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use relay_simnet::{Consumer, Net, Refused, Start, Trust};
use tempfile::TempDir;

use crate::{
    binaries,
    process::{RelayProcess, Setup, free_port},
};

/// Longest that a start or a change may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks at a condition.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An address that tests call an operator's.
pub(crate) const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// An address that nobody knows.
pub(crate) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// A running Caddy with the repository's Caddyfile. Ends when it is dropped.
pub(crate) struct Door {
    program: PathBuf,
    caddy: Child,
    dir: TempDir,
    caddyfile: PathBuf,
    settings: Vec<(String, String)>,
    https: u16,
    http: u16,
    metrics: u16,
    pub(crate) trust: Trust,
}

/// Names and values of an environment.
type Settings<'a> = &'a [(&'a str, &'a str)];

/// A network, a relay and Caddy before it.
pub(crate) struct Scene {
    pub(crate) net: Net,
    pub(crate) relay: RelayProcess,
    pub(crate) door: Door,
}

impl Scene {
    /// Starts all with more settings for Caddy; `None` when there is no Caddy.
    pub(crate) async fn start(seed: u64, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let caddyfile = binaries::root().join("Caddyfile");
        Self::start_with(seed, settings, caddyfile).await
    }

    /// The same with another Caddyfile.
    pub(crate) async fn start_with(
        seed: u64,
        settings: &[(&str, &str)],
        caddyfile: PathBuf,
    ) -> Result<Option<Self>> {
        Self::start_all(seed, (settings, &[]), caddyfile).await
    }

    /// The same with the Caddyfile of the repository and more settings for both.
    pub(crate) async fn start_both(
        seed: u64,
        caddys: &[(&str, &str)],
        relays: &[(&str, &str)],
    ) -> Result<Option<Self>> {
        let caddyfile = binaries::root().join("Caddyfile");
        Self::start_all(seed, (caddys, relays), caddyfile).await
    }

    async fn start_all(
        seed: u64,
        (caddys, relays): (Settings<'_>, Settings<'_>),
        caddyfile: PathBuf,
    ) -> Result<Option<Self>> {
        let Some(program) = binaries::caddy() else { return Ok(None) };
        let net = Net::seeded(seed).await?;
        let binary = Some(binaries::relay()?);
        let setup = Setup { binary, settings: relays, ..Setup::default() };
        let relay = RelayProcess::start(&net, setup).await?;
        let door = Door::start(program, &relay, caddys, caddyfile).await?;
        Ok(Some(Self { net, relay, door }))
    }
}

impl Door {
    async fn start(
        program: PathBuf,
        relay: &RelayProcess,
        more: &[(&str, &str)],
        caddyfile: PathBuf,
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [https, http, metrics, admin] =
            [free_port()?, free_port()?, free_port()?, free_port()?];
        let path = |name: &str| dir.path().join(name).display().to_string();
        let settings: Vec<_> = [
            ("RELAY_SITE", "localhost".to_owned()),
            ("RELAY_TLS_ISSUER", "internal".to_owned()),
            ("RELAY_UPSTREAM", relay.url().replace("http://", "")),
            ("RELAY_ADMIN_UPSTREAM", relay.admin_address()),
            ("RELAY_CADDY_BIND", "127.0.0.1".to_owned()),
            ("RELAY_HTTPS_PORT", https.to_string()),
            ("RELAY_HTTP_PORT", http.to_string()),
            ("RELAY_CADDY_METRICS_PORT", metrics.to_string()),
            ("RELAY_CADDY_ADMIN", format!("127.0.0.1:{admin}")),
            ("RELAY_CADDY_LOG", path("access.log")),
            ("XDG_DATA_HOME", path("data")),
            ("XDG_CONFIG_HOME", path("config")),
            ("HOME", path("home")),
        ]
        .into_iter()
        .chain(more.iter().map(|(name, value)| (*name, (*value).to_owned())))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let log = File::create(dir.path().join("log"))?;
        let caddy = command(&program, &caddyfile, &settings, "run")
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start Caddy")?;
        let trust = Trust::from(&relay_simnet::Authority::new()?);
        let mut door =
            Self { program, caddy, dir, caddyfile, settings, https, http, metrics, trust };
        let started = tokio::time::timeout(PATIENCE, door.answers()).await;
        match started.context("Caddy does not answer") {
            Ok(Ok(())) => Ok(door),
            Ok(Err(error)) | Err(error) => Err(error.context(door.log())),
        }
    }

    /// Waits until its authority is there and it answers with a certificate of it.
    async fn answers(&mut self) -> Result<()> {
        loop {
            if let Ok(pem) = self.pem()
                && let Ok(trust) = Trust::in_pem(&pem)
                && trust.exchange(&self.authority(), b"GET / HTTP/1.0\r\n\r\n").await.is_ok()
            {
                self.trust = trust;
                return Ok(());
            }
            if let Some(status) = self.caddy.try_wait()? {
                bail!("Caddy ended: {status}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn pem(&self) -> Result<String> {
        Ok(fs::read_to_string(self.root())?)
    }

    /// The certificate of its authority.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("data/caddy/pki/authorities/local/root.crt")
    }

    /// Where it answers without TLS.
    pub(crate) fn http_port(&self) -> u16 {
        self.http
    }

    /// `localhost:PORT` of the site.
    pub(crate) fn authority(&self) -> String {
        format!("localhost:{}", self.https)
    }

    /// An address of the site.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority())
    }

    /// The same without TLS.
    pub(crate) fn plain_url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.http_port())
    }

    /// Where Prometheus asks.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics)
    }

    /// A client that comes from this address, trusts Caddy's authority and follows no redirects.
    pub(crate) fn client(&self, from: IpAddr) -> Result<reqwest::Client> {
        let root = reqwest::Certificate::from_pem(self.pem()?.as_bytes())?;
        Ok(reqwest::Client::builder()
            // A stream is opened by an upgrade, which HTTP/2 does not have.
            .http1_only()
            .tls_certs_only([root])
            .local_address(from)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()?)
    }

    /// A consumer behind TLS, or the answer that it got instead of a stream.
    pub(crate) async fn try_consume(&self, start: Start) -> Result<Result<Consumer, Refused>> {
        let base = format!("wss://{}", self.authority());
        Consumer::connect_trusting(&base, start, &self.trust).await
    }

    /// The same when a stream must come.
    pub(crate) async fn consume(&self, start: Start) -> Result<Consumer> {
        match self.try_consume(start).await? {
            Ok(consumer) => Ok(consumer),
            Err(refused) => bail!("the stream was refused: {refused:?}"),
        }
    }

    /// `caddy reload` with one setting changed; returns when Caddy has taken it.
    pub(crate) fn reload(&self, name: &str, value: &str) -> Result<()> {
        let mut settings = self.settings.clone();
        settings.retain(|(other, _)| other != name);
        settings.push((name.to_owned(), value.to_owned()));
        let output = command(&self.program, &self.caddyfile, &settings, "reload").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "caddy reload: {said}");
        Ok(())
    }

    /// What it logged of requests.
    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }

    /// What it said of itself.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.caddy.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.caddy.kill().unwrap();
            self.caddy.wait().unwrap();
        }
    }
}

/// A verb of Caddy on a Caddyfile, with these settings as its whole environment.
pub(crate) fn command(
    program: &Path,
    caddyfile: &Path,
    settings: &[(String, String)],
    verb: &str,
) -> Command {
    let mut command = Command::new(program);
    command
        .args([verb, "--config"])
        .arg(caddyfile)
        .args(["--adapter", "caddyfile"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(settings.iter().cloned())
        .stdin(Stdio::null());
    command
}
