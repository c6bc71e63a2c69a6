//! What takes minutes: `just nightly` runs it, CI does not.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use provision::stack::{Profile, Stack};
use tokio::time::{Instant, sleep};

use crate::{faults::join, options, say, traffic::Traffic};

/// Silence after which the relay gives a host's connection up, and what a busy machine may add.
const NOTICED_MAX: Duration = Duration::from_secs(60 + 30);
/// The relay tries again after 1 s, then after twice as long each time: a host that comes back as soon
/// as its absence is noticed is read again within some seconds.
const BACK_MAX: f64 = 30.0;

/// A host whose machine is cut off says no goodbye: the connection stays as it was, and nothing comes.
/// The relay notices after a minute, and reads the host again soon after it is back; nothing is lost.
#[tokio::test]
#[ignore = "needs a container engine and minutes: just nightly"]
async fn a_host_that_is_cut_off_silently_is_missed_and_read_again() -> Result<()> {
    let stack = Arc::new(Stack::up(options("silent", Profile::Dev)).await?);
    let containers = stack.containers();
    for round in 1..=2 {
        let mut traffic = Traffic::start(&stack).await?;
        let began = Instant::now();
        containers.cut("pds").await?;
        while is_read(&stack).await? {
            ensure!(began.elapsed() < NOTICED_MAX, "the relay does not notice");
            sleep(Duration::from_millis(100)).await;
        }
        let noticed = began.elapsed().as_secs_f64();
        join(containers, "pds").await?;
        let flows = traffic.flows().await?;
        ensure!(flows < BACK_MAX, "events flow again only after {flows:.1} s");
        containers.well("relay", &say()).await?;
        let outcome = traffic.end().await?;
        eprintln!(
            "silent cut {round}: noticed after {noticed:.1} s, flows {flows:.1} s after its end; {outcome:?}"
        );
    }
    Arc::into_inner(stack).context("traffic still runs")?.down().await
}

/// Whether the relay thinks that it reads the host.
async fn is_read(stack: &Stack) -> Result<bool> {
    let hosts = stack.admin("/admin/v1/hosts").await?;
    hosts["hosts"][0]["connected"].as_bool().context("no host")
}
