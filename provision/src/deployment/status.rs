//! How a relay and its host are, at one glance: asked of the host in one go, and of the public name from
//! here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Deployment, Host, rows};
use crate::{
    doctor::{self, State},
    feed, moment, ssh,
    told::harmless,
};

/// Asks the host; Python is there, because Ansible needs it too.
const SCRIPT: &str = include_str!("../../assets/status.py");
/// Units that every relay has; its cluster of Postgres has the version in its name.
const UNITS: [&str; 3] = ["relay.service", "caddy.service", "prometheus.service"];

/// A part of the host that answered, or why it did not.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Part<T> {
    /// It did not.
    Silent {
        /// Why.
        error: String,
    },
    /// What it said.
    Said(T),
}

impl<T> Part<T> {
    /// What it said, if it did.
    pub const fn said(&self) -> Option<&T> {
        match self {
            Self::Said(value) => Some(value),
            Self::Silent { .. } => None,
        }
    }
}

/// A unit of systemd.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Unit {
    /// `active`, `inactive`, `failed`, `activating`.
    pub active: String,
    /// The same more exactly.
    pub sub: String,
    /// How it ended last.
    pub result: String,
    /// How often systemd started it anew.
    pub restarts: Option<u64>,
    /// Its memory, bytes.
    pub memory: Option<u64>,
    /// Since when it is active, s since 1970.
    pub since: Option<u64>,
}

/// The relay's program.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Program {
    /// The first digits of the digest of the one that runs.
    pub current: Option<String>,
    /// Of the one to which a rollback goes.
    pub previous: Option<String>,
    /// What it calls itself.
    pub version: Option<String>,
}

/// What the relay says of its health.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Health {
    /// `ok`, or something else.
    pub status: String,
    /// What is wrong.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// Hosts of the relay.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct Hosts {
    /// Those that it knows.
    pub known: u64,
    /// Those that it is connected to.
    pub connected: u64,
}

/// A file system.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Its size.
    pub bytes: u64,
    /// What is free of it.
    pub free: u64,
    /// By how many bytes a second its free space became less in the last hours.
    pub grows: Part<Option<f64>>,
}

/// The memory of the machine.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Memory {
    /// All of it.
    pub bytes: u64,
    /// What is free, or can be made free.
    pub free: u64,
}

/// The newest backup on the host.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Backup {
    /// Its name.
    pub name: Option<String>,
    /// When it was made, s since 1970.
    pub made: Option<u64>,
    /// When one was last restored on trial.
    pub verified: Option<u64>,
}

/// An alert that fires.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// `page` is now, `ticket` is this week.
    pub severity: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What is so.
    pub summary: String,
    /// What to do.
    pub action: String,
}

/// What the host says.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct There {
    /// Its time, s since 1970.
    pub at: u64,
    /// Why the relay's settings cannot be read.
    pub settings: Option<String>,
    /// Its units.
    pub units: Part<BTreeMap<String, Unit>>,
    /// Units that failed.
    pub failed: Part<Vec<String>>,
    /// The relay's program.
    pub program: Part<Program>,
    /// The relay's health.
    pub health: Part<Health>,
    /// Hosts of the relay.
    pub hosts: Part<Hosts>,
    /// Some of the relay's metrics; those with labels are summed up.
    pub metrics: Part<BTreeMap<String, f64>>,
    /// Events a second.
    pub rate: Part<Option<f64>>,
    /// Its file systems.
    pub disks: Part<Vec<Disk>>,
    /// Its memory.
    pub memory: Part<Memory>,
    /// Its newest backup.
    pub backup: Part<Backup>,
    /// Alerts that fire.
    pub alerts: Part<Vec<Alert>>,
}

/// What the public name says from here.
#[derive(Debug, Clone, Serialize)]
pub struct Outside {
    /// How long its answer took, ms.
    pub answered_ms: Option<u64>,
    /// Why there is none.
    pub trouble: Option<String>,
    /// Its certificate in words.
    pub certificate: String,
    /// How good that is.
    pub certificate_state: State,
    /// Until when it is valid, ms since 1970.
    pub certificate_until_ms: Option<u64>,
}

/// One line of what is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The part.
    pub part: String,
    /// How it is.
    pub state: State,
    /// In words.
    pub what: String,
    /// What to do; empty when nothing is to be done.
    pub todo: String,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The deployment.
    pub name: String,
    /// Its public name.
    pub hostname: String,
    /// Where it is, as ssh gets there.
    pub destination: String,
    /// What is so, part by part.
    pub rows: Vec<Row>,
    /// What the host said; `None` when it cannot be reached.
    pub host: Option<There>,
    /// What is seen from here.
    pub outside: Outside,
}

impl Status {
    /// The worst of all parts.
    #[must_use]
    pub fn worst(&self) -> State {
        self.rows.iter().map(|row| row.state).max().unwrap_or(State::Ok)
    }
}

/// Looks, from both sides at the same time.
///
/// # Errors
/// When the deployment has no host. A host that cannot be reached is a row.
pub async fn look(deployment: &Deployment) -> Result<Status> {
    let host = deployment.host()?;
    let remote = deployment.remote()?;
    let script = SCRIPT.replacen("ASKED = {}", &format!("ASKED = {}", places(&host)), 1);
    let patient = super::checkup::patient(deployment, &host)?;
    let (there, outside) =
        tokio::join!(ssh::script(remote.command(&["python3", "-"]), &script), outside(&patient));
    let there = there.and_then(|said| {
        if said.code != 0 {
            anyhow::bail!("{} ({})", harmless(said.last_line(), 300), remote.advice(&said));
        }
        serde_json::from_str::<There>(&said.out).context("read what the host says")
    });
    let mut rows = rows::of_outside(&host.hostname, &outside, moment::now_ms());
    let there = match there {
        Ok(there) => {
            rows::of_host(&there, &mut rows);
            Some(there)
        }
        Err(error) => {
            rows.insert(0, rows::unreachable(remote.destination(), &error));
            None
        }
    };
    Ok(Status {
        name: deployment.name().to_owned(),
        hostname: host.hostname.clone(),
        destination: remote.destination().to_owned(),
        rows,
        host: there,
        outside,
    })
}

/// Where things are on the host, unless the inventory has them elsewhere.
fn places(host: &Host) -> Value {
    let place = |variable: &str, usual: &str| host.text(variable).unwrap_or(usual).to_owned();
    json!({
        "etc": place("relay_etc", "/etc/relay"),
        "programs": place("relay_programs", "/opt/relay"),
        "backups": place("backup_directory", "/var/backups/relay"),
        "exported": place("backup_metrics", "/var/lib/prometheus/node-exporter"),
        "prometheus": place("status_prometheus", "127.0.0.1:9090"),
        "units": UNITS,
    })
}

async fn outside(patient: &doctor::Patient) -> Outside {
    let url = patient.address.http("/xrpc/_health");
    let began = moment::timer();
    let asked = async {
        let asked = feed::client()?.get(&url).timeout(doctor::STEP_MAX).send().await;
        let answer = asked.with_context(|| format!("ask {url}"))?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{url} answered {status}");
        Ok(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
    };
    let (asked, (line, until)) = tokio::join!(asked, doctor::certificate(patient));
    let (answered_ms, trouble) = match asked {
        Ok(took) => (Some(took), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Outside {
        answered_ms,
        trouble,
        certificate: if line.cause.is_empty() {
            line.what
        } else {
            format!("{}: {}", line.what, line.cause)
        },
        certificate_state: line.state,
        certificate_until_ms: until,
    }
}
