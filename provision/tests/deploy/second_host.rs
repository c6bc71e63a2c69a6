//! The day on which the machine is lost: another blank host, and a backup of the first one.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    authority::Authority,
    blank_host::Consumer,
    deployment::{CADDY, Deployment, Network, named},
    host::{Host, wait},
};

/// What lies at least between the last number that the first relay can have given, and the next one.
const FLOOR: u64 = 1_000_000;

/// Whoever fetched a backup deploys another host, restores it there, and has hosts and accounts again; numbers go
/// on far above all that were given.
pub(crate) async fn takes_over(first: &Deployment<'_>, network: &Network) -> Result<()> {
    first.person.types(first.host, &["backup", first.name, "--fetch"])?.well()?;
    let backup = newest(first)?;
    let mut host = Host::start()?;
    let authority = Authority::start(&host.mounts, &named("CADDY_BINARY", CADDY)?)?;
    host.trust(&authority.root())?;
    host.reaches(&network.ports(&authority).await?)?;
    first.person.takes(&host.key())?;
    let second = Deployment { name: "second", host: &host, person: first.person };
    second.begin(&network.variables(&authority)?, &network.settings())?;
    second.person.types(&host, &["deploy", second.name])?.well()?;

    let words = ["restore", second.name, &backup, "--confirm", second.name];
    let said = second.person.types(&host, &words)?.well()?;
    ensure!(said.contains("1 hosts and 1 accounts are back"), "{said}");
    let out = second.file("consumed.jsonl");
    let consumer = Consumer::start(&host, out, &network.net.plc().url())?;
    wait("the second host gives events", || Ok(!consumer.events()?.is_empty()))?;
    let seqs: Vec<_> =
        consumer.events()?.iter().filter_map(|event| event["seq"].as_u64()).collect();
    ensure!(seqs.iter().all(|seq| *seq > FLOOR), "{seqs:?}");
    Ok(())
}

/// The path of the backup that was fetched.
fn newest(deployment: &Deployment<'_>) -> Result<String> {
    let place = deployment.file("backups");
    let entries = fs::read_dir(&place).with_context(|| format!("list {}", place.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths.pop().context("a backup was fetched")?.to_string_lossy().into_owned())
}
