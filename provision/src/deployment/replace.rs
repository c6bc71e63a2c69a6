//! Another relay in place of the one that runs, and back: by Ansible, with what changed and how long it
//! took.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

use super::{
    Deployment, Host, Remote,
    deploy::{self, Order},
    lines::quoted,
    playbook::{self, Played},
    stop::Stop,
};
use crate::{
    moment,
    told::{Tell, Told},
};

/// Asks which relay runs.
const ASK: &str = r#"set -eu
[ -L "$programs/current" ] || exit 0
echo "program=$(basename "$(readlink "$programs/current")")"
echo "version=$("$programs/current/relay" --version)"
echo "since=$(systemctl show --timestamp=unix -P ActiveEnterTimestamp relay | tr -d @)"
"#;

/// The relay that runs on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// The first digits of its digest; empty when there is none.
    pub program: String,
    /// What it calls itself.
    pub version: String,
    /// Since when, s since 1970.
    pub since: u64,
}

/// What a replacement did.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// What ran before.
    pub before: Runs,
    /// What runs now.
    pub after: Runs,
    /// What Ansible did.
    pub played: Played,
    /// How long it took.
    pub took: Duration,
}

/// Which relay runs.
///
/// # Errors
/// When the host cannot be asked.
pub async fn runs(remote: &Remote, host: &Host) -> Result<Runs> {
    let programs = host.text("relay_programs").unwrap_or("/opt/relay");
    let script = format!("programs={}\n{ASK}", quoted(programs));
    let said = remote.done("ask which relay runs", &script, &[]).await?;
    let mut runs = Runs::default();
    for (name, value) in said.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "program" => value.clone_into(&mut runs.program),
            "version" => value.clone_into(&mut runs.version),
            "since" => runs.since = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    Ok(runs)
}

/// Puts another program in place of the one that runs. What is not well is taken back.
///
/// * `relay` – a program of this side; otherwise that of the inventory, or one that is built
///
/// # Errors
/// When there is no program, the host cannot be asked, or Ansible not be started; a run that failed is no
/// error.
pub async fn upgrade(
    deployment: &Deployment,
    relay: Option<PathBuf>,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Replaced> {
    let order = Order { relay, ..Order::default() };
    tell(Told::Doing("having the program of the relay".to_owned()));
    let program = deploy::programs(deployment, &order).await?;
    tell(Told::Note(format!("installing {program}")));
    let mut words = deploy::programs_for(deployment, &order)?;
    if order.relay.is_some() {
        words.extend(["--extra-vars".to_owned(), json!({ "relay_source": "local" }).to_string()]);
    }
    replace(deployment, "upgrade.yml", &words, stop, tell).await
}

/// Puts the program that ran before in place of the one that runs.
///
/// # Errors
/// See [`upgrade`].
pub async fn rollback(
    deployment: &Deployment,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Replaced> {
    let words = deploy::programs_for(deployment, &Order::default())?;
    replace(deployment, "rollback.yml", &words, stop, tell).await
}

async fn replace(
    deployment: &Deployment,
    book: &str,
    words: &[String],
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Replaced> {
    let (remote, host) = (deployment.remote()?, deployment.host()?);
    let began = moment::timer();
    let before = runs(&remote, &host).await?;
    let played = playbook::play(deployment, book, words, stop, tell).await?;
    let after = runs(&remote, &host).await?;
    Ok(Replaced { before, after, played, took: began.elapsed() })
}

/// Puts a backup in place of what the relay has.
///
/// * `from` – the backup, on this side
/// * `identity` – a file with the key of age, on this side
///
/// # Errors
/// When Ansible cannot be started; a run that failed is no error.
pub async fn restore(
    deployment: &Deployment,
    from: &Path,
    identity: Option<&Path>,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Played> {
    let mut words = deploy::programs_for(deployment, &Order::default())?;
    words.extend(["--extra-vars".to_owned(), json!({ "restore_from": from }).to_string()]);
    if let Some(identity) = identity {
        let whole = identity.canonicalize();
        let whole = whole.with_context(|| format!("find the key {}", identity.display()))?;
        words.extend([
            "--extra-vars".to_owned(),
            json!({ "restore_age_identity": whole }).to_string(),
        ]);
    }
    playbook::play(deployment, "restore.yml", &words, stop, tell).await
}
