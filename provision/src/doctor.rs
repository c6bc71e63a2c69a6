//! Looks at a machine and its relay as a person would who is asked why it does not work: each line
//! says what is so, and when something is wrong, why that matters and what to do.
//!
//! Nothing is changed, and nothing is sent but what any client sends.

mod backups;
mod clock;
mod disk;
mod front;
mod kernel;
mod live;
mod names;
mod own;
mod ports;
mod postgres;
mod settings;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use relay::config::Config;
use serde::{Deserialize, Serialize};

use crate::{
    env_file::EnvFile,
    facts::{self, Facts, Place},
    feed::Address,
    sizing::{self, Database, Plan, Wishes},
};

pub(crate) use ports::near;

/// How long one step over a network may take.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(10);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and could be better or soon will not.
    Warn,
    /// It does not work, or is not safe.
    Fail,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The check.
    pub check: &'static str,
    /// How it ended.
    pub state: State,
    /// What is so.
    pub what: String,
    /// Why, or why it matters; empty when all is well.
    pub cause: String,
    /// What to do; empty when all is well.
    pub fix: String,
}

impl Line {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        let (cause, fix) = (String::new(), String::new());
        Self { check, state: State::Ok, what: what.into(), cause, fix }
    }

    fn warn(
        check: &'static str,
        what: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (what, cause, fix) = (what.into(), cause.into(), fix.into());
        Self { check, state: State::Warn, what, cause, fix }
    }

    fn fail(
        check: &'static str,
        what: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { state: State::Fail, ..Self::warn(check, what, cause, fix) }
    }
}

/// When one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the relay is there: is the machine ready for it?
    Before,
    /// When it runs: does it do its work, seen from its public name?
    After,
}

/// Who is looked at.
#[derive(Debug, Clone)]
pub struct Patient {
    /// The public name.
    pub address: Address,
    /// When one looks.
    pub stage: Stage,
    /// What holds `proc`, `sys` and `etc`.
    pub root: PathBuf,
    /// Files of settings, secrets last.
    pub files: Vec<PathBuf>,
    /// Their lines.
    pub env: EnvFile,
    /// Name server to ask; `None` = the first of this machine.
    pub name_server: Option<SocketAddr>,
    /// Addresses that the name should have; empty = not known.
    pub addresses: Vec<IpAddr>,
    /// Port of plain HTTP.
    pub http_port: u16,
    /// Whose `Date` the clock is compared with: a URL.
    pub time_from: String,
    /// Where backups lie: a directory, or `s3://BUCKET/PREFIX`.
    pub backups: Option<PathBuf>,
    /// How old the newest of them may be.
    pub backup_age_max: Duration,
    /// How long to listen for events.
    pub listen: Duration,
    /// Speed of the link in Mbit/s, where the machine does not tell.
    pub link_mbit: Option<u64>,
    /// The time, ms since 1970.
    pub now_ms: u64,
}

/// A check: name, what it looks at, and whether it is for before, for after.
pub type Row = (&'static str, &'static str, [bool; 2]);

const BOTH: [bool; 2] = [true, true];
const AFTER: [bool; 2] = [false, true];

/// All checks, in the order in which they are made.
pub const CHECKS: [Row; 16] = [
    ("settings", "the relay takes its settings; nobody else reads its secrets", BOTH),
    ("dns", "A, AAAA and PTR of the public name", BOTH),
    ("ports", "public ports are free or Caddy's; private ones are closed", BOTH),
    ("clock", "the time of this machine", BOTH),
    ("machine", "cores, memory, link, and the window on the disk", BOTH),
    ("disk", "file system, mount options, free space", BOTH),
    ("limits", "open files", BOTH),
    ("kernel", "settings of the kernel", BOTH),
    ("postgres", "it answers, is safe and tuned", BOTH),
    ("tls", "chain of certificates, and until when they are valid", AFTER),
    ("websocket", "the firehose through the proxy", AFTER),
    ("admin", "admin API and metrics are closed to the public", AFTER),
    ("live", "events come from the public name, and are right", AFTER),
    ("window", "the relay is well, and its window as long as promised", AFTER),
    ("consumers", "how many there are, and what the link holds", AFTER),
    ("backups", "there is one, and it is new", AFTER),
];

/// The checks of a stage, or those of them that were asked for by name.
///
/// # Errors
/// A name that is none, in words.
pub fn chosen(stage: Stage, only: &[String]) -> Result<Vec<&'static str>, String> {
    let names: Vec<&str> = CHECKS.iter().map(|(name, ..)| *name).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no check `{unknown}`; there are {}", names.join(", ")));
    }
    let index = usize::from(stage == Stage::After);
    let of_stage = |row: &&Row| only.is_empty() && row.2.get(index) == Some(&true);
    let by_name = |row: &&Row| only.iter().any(|name| name == row.0);
    Ok(CHECKS.iter().filter(|row| of_stage(row) || by_name(row)).map(|row| row.0).collect())
}

/// Makes one check.
pub async fn examine(patient: &Patient, check: &'static str) -> Vec<Line> {
    match check {
        "settings" => settings::check(patient),
        "dns" => names::check(patient).await,
        "ports" => ports::check(patient).await,
        "clock" => vec![clock::check(patient).await],
        "machine" => disk::machine(patient),
        "disk" => disk::check(patient),
        "limits" => vec![kernel::limits(patient)],
        "kernel" => kernel::check(patient),
        "postgres" => postgres::check(patient).await,
        "tls" => vec![tls::check(patient).await],
        "websocket" => front::websocket(patient).await,
        "admin" => front::admin(patient).await,
        "live" => live::check(patient).await,
        "window" => own::window(patient).await,
        "consumers" => vec![own::consumers(patient).await],
        "backups" => vec![backups::check(patient).await],
        _ => Vec::new(),
    }
}

/// The check `tls`, and until when the certificate is valid, ms since 1970.
pub(crate) async fn certificate(patient: &Patient) -> (Line, Option<u64>) {
    tls::look(patient).await
}

impl Patient {
    /// The relay's settings as it would read them.
    fn config(&self) -> Result<Config, String> {
        let near = self.files.first().and_then(|path| path.parent()).unwrap_or(&self.root);
        self.env.config(near).map_err(|error| error.to_string())
    }

    /// What the machine is, its disk not written to.
    fn facts(&self) -> Result<Facts, String> {
        let data = self.config().map(|config| config.persist_dir)?;
        let place = Place { root: self.root.clone(), data, probe: false };
        let mut facts = facts::measure(&place).map_err(|error| error.to_string())?;
        facts.network.link_mbit = self.link_mbit.or(facts.network.link_mbit);
        Ok(facts)
    }

    /// What `tune` would say.
    fn plan(&self) -> Result<(Facts, Plan), String> {
        let (facts, config) = (self.facts()?, self.config()?);
        let named = self.env.value("PROVISION_DATABASE").map(|entry| entry.value);
        let is_postgres = config.database_url.expose().starts_with("postgres");
        let database = match named.as_deref() {
            Some("elsewhere") => Database::Elsewhere,
            _ if is_postgres => Database::Postgres,
            _ => Database::Sqlite,
        };
        let wishes = Wishes {
            window: Some(config.replay_window),
            database,
            hosts: sizing::HOSTS,
            growth_percent: 0,
            now_ms: self.now_ms,
        };
        let plan = sizing::plan(&facts, &wishes);
        Ok((facts, plan))
    }

    /// Host and port of the public name.
    fn public(&self) -> (String, u16) {
        let parsed = url::Url::parse(&self.address.http("/"));
        let port = parsed.as_ref().ok().and_then(url::Url::port_or_known_default).unwrap_or(443);
        let host = parsed.ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
        (host.unwrap_or_default().trim_matches(['[', ']']).to_owned(), port)
    }
}
