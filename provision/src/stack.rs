//! The whole stack in containers: relay, PDS, PLC directory, Caddy with TLS, and with
//! [`Profile::ProdLike`] Postgres and Prometheus.
//!
//! [`Stack::up`] gives a running stack with addresses, accounts and an admin client; what it made is
//! gone when the value is dropped. Everything is found again by its labels, also after the program that
//! made it has died: [`sweep::down`] and [`sweep::down_all`].
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use provision::stack::{Options, Stack};
//! let stack = Stack::up(Options::named("mine")).await?;
//! let account = stack.account("alice").await?;
//! let record = stack.post(&account, "hello").await?;
//! let mut firehose = stack.firehose(Some(0)).await?;
//! while firehose.next_commit().await?.rev != record.rev {}
//! stack.down().await
//! # }
//! ```

mod compose;
mod containers;
mod firehose;
mod people;
mod plan;
mod ports;
mod secrets;
pub mod sweep;
mod tls;
mod up;

use std::{
    future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

pub use self::{
    compose::{compose, variables},
    containers::Containers,
    firehose::{Commit, Firehose},
    people::{Account, Record},
    plan::{Profile, Service, services},
    secrets::Secrets,
    tls::Trust,
};
use crate::image::{Engine, Say};

/// Label of everything that belongs to a stack; its value is the stack's name.
pub const LABEL: &str = "dev.atproto-relay.stack";
/// The public name of the relay; `localhost` is one too.
pub const RELAY_NAME: &str = "relay.test";
/// The PDS's name among the containers.
pub const PDS_NAME: &str = "pds.test";
/// Longest that a part may take to be well.
const PATIENCE: Duration = Duration::from_mins(3);

/// What to start.
#[derive(Clone)]
pub struct Options {
    /// Names containers, networks and volumes; letters, digits and hyphens.
    pub name: String,
    /// Which parts.
    pub profile: Profile,
    /// Leave it running when the [`Stack`] is dropped, or when the start fails.
    pub keep: bool,
    /// The built relay; `None` = as [`crate::image::built_relay`] finds it.
    pub relay: Option<PathBuf>,
    /// The checkout that images are made from.
    pub checkout: PathBuf,
    /// Where downloads are kept; `None` = [`crate::cache::usual_place`].
    pub cache: Option<PathBuf>,
    /// Settings of the relay besides those that the stack gives it.
    pub settings: Vec<(String, String)>,
    /// Also run a consumer that is not ours, in the container `consumer`.
    pub foreign_consumer: bool,
    /// Size of the relay's data in bytes, kept in memory, to see what happens when it is full; `None`
    /// = as large as the disk.
    pub relay_data_bytes: Option<u64>,
    /// Gets words about the progress.
    pub say: Say,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Options").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Options {
    /// The development profile under a name, removed in the end, silent.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            profile: Profile::Dev,
            keep: false,
            relay: None,
            checkout: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
            cache: None,
            settings: Vec::new(),
            foreign_consumer: false,
            relay_data_bytes: None,
            say: Arc::new(|_| {}),
        }
    }

    fn check(&self) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let starts_well = self.name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if self.name.len() > 40 || !starts_well || !self.name.chars().all(is_plain) {
            bail!(
                "a stack cannot be called `{}`: up to 40 letters, digits and hyphens, a letter or digit first",
                self.name
            );
        }
        Ok(())
    }
}

/// Where the parts are reached from this machine.
#[derive(Debug, Clone, Serialize)]
pub struct Addresses {
    /// The relay through TLS; certificates are of the authority in `ca`.
    pub relay: String,
    /// The same as a firehose.
    pub firehose: String,
    /// The relay's admin API, on the loopback of this machine alone.
    pub admin: String,
    /// The PDS.
    pub pds: String,
    /// The PLC directory.
    pub plc: String,
    /// Prometheus, if the profile has it.
    pub prometheus: Option<String>,
    /// Certificate of the authority that signs the relay's, as PEM.
    pub ca: PathBuf,
    /// Passwords, as JSON, for this user alone.
    pub secrets: PathBuf,
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    name: String,
    profile: Profile,
    keep: bool,
    containers: Containers,
    addresses: Addresses,
    secrets: Secrets,
    trust: Trust,
    client: reqwest::Client,
}

impl Stack {
    /// Starts one; returns once an event of its PDS came out of the relay through TLS and was verified.
    ///
    /// # Errors
    /// When a part does not become well: the text holds the end of its log. What was started is
    /// removed, unless it is to be kept.
    pub async fn up(options: Options) -> Result<Self> {
        let started = Self::up_unless(options, future::pending()).await?;
        started.context("interrupted by nobody")
    }

    /// The same, unless `interrupted` comes to its end before: then nothing of the stack is left, and
    /// it is `None`. To drop the future instead is not enough: the engine may be making something at
    /// that moment.
    ///
    /// # Errors
    /// As [`Self::up`], and when what was started cannot be removed.
    pub async fn up_unless(
        options: Options,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        Box::pin(up::up(options, interrupted)).await
    }

    /// Takes over one that another program started. It is left running in the end.
    ///
    /// # Errors
    /// When there is none of this name, or it does not answer.
    pub async fn attach(name: &str) -> Result<Self> {
        let engine = Engine::connect().await?;
        Box::pin(up::attach(engine, name)).await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Where its parts are reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its passwords.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Its containers, for those who pause, kill and cut.
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// A client that trusts the stack's authority and finds the relay by its name.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Reads the firehose through TLS.
    ///
    /// # Errors
    /// When the certificate, the handshake or the connection fails.
    pub async fn firehose(&self, cursor: Option<u64>) -> Result<Firehose> {
        Firehose::connect(&self.trust, self.trust.port(), cursor).await
    }

    /// Asks the admin API, such as `/admin/v1/status`.
    ///
    /// # Errors
    /// When it does not answer with success.
    pub async fn admin(&self, path: &str) -> Result<serde_json::Value> {
        self.ask_admin(self.client.get(format!("{}{path}", self.addresses.admin))).await
    }

    /// Sends JSON to the admin API.
    ///
    /// # Errors
    /// When it does not answer with success.
    pub async fn tell_admin(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value> {
        let request = self.client.post(format!("{}{path}", self.addresses.admin)).json(body);
        self.ask_admin(request).await
    }

    async fn ask_admin(&self, request: reqwest::RequestBuilder) -> Result<serde_json::Value> {
        let request = request.basic_auth("admin", Some(&self.secrets.relay_admin));
        let answer = request.send().await.context("ask the admin API")?;
        let (status, text) = (answer.status(), answer.text().await?);
        anyhow::ensure!(status.is_success(), "the admin API answered {status}: {text}");
        if text.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_str(&text).context("read what the admin API says")
    }

    /// Ends it: containers, network, volumes and secrets are gone.
    ///
    /// # Errors
    /// When the engine does not remove something.
    pub async fn down(mut self) -> Result<()> {
        self.keep = true;
        sweep::down(self.containers.engine(), &self.name).await
    }

    /// Leaves it running.
    pub fn leave(mut self) {
        self.keep = true;
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let name = self.name.clone();
        // Whatever runtime this is dropped in may be ending, so the work has one of its own.
        let work = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { sweep::down(&Engine::connect().await?, &name).await })
        });
        // Nobody is left to tell; `provision stack down --all` finds what stayed.
        if work.join().is_err() {}
    }
}
