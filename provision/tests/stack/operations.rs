//! What operators do to a running stack, and a disk that fills up, under live traffic.

use std::{fs, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use provision::{
    image::{built_relay, relay},
    stack::{Containers, Profile, Stack, services},
};
use tokio::time::{Instant, sleep};

use crate::{named_relay, options, say, traffic::Traffic};

/// Consumers that a reload of Caddy must not disturb.
const CONSUMERS: usize = 50;
/// The relay's data in the test of a full disk.
const SMALL_DISK: u64 = 512 << 20;
/// Longest that the relay may take to notice something.
const PATIENCE: Duration = Duration::from_mins(2);

/// Consumers who read through Caddy do not notice that its settings were loaded again.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn a_reload_of_caddy_cuts_none_of_fifty_consumers() -> Result<()> {
    let stack = Stack::up(options("reload", Profile::Dev)).await?;
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        consumers.push(Box::pin(stack.firehose(None)).await?);
    }
    let reload = ["/usr/bin/caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile"];
    stack.containers().exec("caddy", &reload).await?;
    let account = stack.account("alice").await?;
    let record = stack.post(&account, "after the reload").await?;
    for consumer in &mut consumers {
        let commit = consumer.next_commit().await.context("a consumer was cut")?;
        assert_eq!((commit.did, commit.rev), (account.did.clone(), record.rev.clone()));
    }
    stack.down().await
}

/// A newer image takes the place of the relay on the same volume: consumers come back with their
/// cursors and miss nothing, and the time without a relay is told.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn an_upgrade_of_the_relay_loses_nothing() -> Result<()> {
    let stack = Arc::new(Stack::up(options("upgrade", Profile::ProdLike)).await?);
    let containers = stack.containers();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let (mut image, _work) = relay(&built_relay(named_relay())?, &root)?;
    image.settings.labels.push(("org.opencontainers.image.version".to_owned(), "next".to_owned()));
    let next = containers.engine().load(image).await?;

    let mut traffic = Traffic::start(&stack).await?;
    let list = services(Profile::ProdLike, stack.secrets(), &[]);
    let service = list.iter().find(|one| one.name == "relay").context("no relay")?;
    let began = Instant::now();
    containers.replace(service, &next.name, Profile::ProdLike).await?;
    traffic.flows().await?;
    let away = began.elapsed().as_secs_f64();
    containers.well("relay", &say()).await?;
    let outcome = traffic.end().await?;
    ensure!(outcome.reconnections > 0, "the relay was not replaced");
    eprintln!(
        "upgrade: events flow again {away:.1} s after the old relay was told to stop; {outcome:?}"
    );
    Arc::into_inner(stack).context("traffic still runs")?.down().await
}

/// Something else fills the disk of the event log: the relay says so and serves on; when there is room
/// again it goes on by itself, and every event of the meantime comes.
#[tokio::test]
#[ignore = "needs a container engine and root: just stage build,stack"]
async fn a_full_disk_loses_nothing_and_heals_by_itself() -> Result<()> {
    let mut options = options("disk", Profile::ProdLike);
    options.relay_data_bytes = Some(SMALL_DISK);
    let stack = Arc::new(Stack::up(options).await?);
    let mut traffic = Traffic::start(&stack).await?;
    let ballast = place(stack.containers()).await?.join("ballast");
    fill(&ballast)?;
    let told =
        health(&stack, |status, body| status == 503 && body.contains("the disk is full")).await;
    fs::remove_file(&ballast)?;
    let told = told?;
    let began = Instant::now();
    traffic.flows().await?;
    health(&stack, |status, _| status == 200).await?;
    let seconds = began.elapsed().as_secs_f64();
    let outcome = traffic.end().await?;
    eprintln!("full disk: {told}; well {seconds:.1} s after there was room; {outcome:?}");
    Arc::into_inner(stack).context("traffic still runs")?.down().await
}

/// Where the relay's data lies on this machine.
pub(crate) async fn place(containers: &Containers) -> Result<PathBuf> {
    let volume = containers.engine().docker().inspect_volume(&containers.id("relay")).await?;
    Ok(PathBuf::from(volume.mountpoint))
}

/// Writes until nothing fits.
fn fill(file: &std::path::Path) -> Result<()> {
    let mut file =
        fs::File::create(file).context("write beside the relay's data; are you root?")?;
    for size in [1 << 20, 1 << 12, 1] {
        let block = vec![0_u8; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// Waits until the relay's public health is as wanted; gives what it said.
pub(crate) async fn health(stack: &Stack, wanted: impl Fn(u16, &str) -> bool) -> Result<String> {
    let began = Instant::now();
    let url = format!("{}/xrpc/_health", stack.addresses().relay);
    loop {
        let answer = stack.client().get(&url).send().await?;
        let (status, body) = (answer.status().as_u16(), answer.text().await?);
        if wanted(status, &body) {
            return Ok(body);
        }
        ensure!(began.elapsed() < PATIENCE, "health stays {status}: {body}");
        sleep(Duration::from_millis(100)).await;
    }
}
