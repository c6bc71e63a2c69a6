//! The PLC directory is gone, or slow.

use std::time::Duration;

use anyhow::{Result, ensure};
use relay_simnet::{Account, AccountOptions, Pds};

use crate::{
    process::Setup,
    scene::{Scene, traffic},
};

/// Accounts that the relay does not know yet, with an event each.
async fn strangers(host: &Pds, names: std::ops::Range<u32>) -> Result<Vec<Account>> {
    let mut accounts = Vec::new();
    for number in names {
        let silent = AccountOptions { announced: false, ..AccountOptions::default() };
        let account = host.account_with(&format!("stranger-{number}"), silent).await?;
        account.post("hello").await?;
        accounts.push(account);
    }
    Ok(accounts)
}

/// RES-2, RES-6, DESIGN 10.4, 10.7: no directory for a whole run, over a restart: accounts that are known
/// go on and nobody is asked for them; events of others wait, up to ten minutes, and none of them is
/// lost or dropped when the directory comes back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_directory_known_accounts_go_on_and_others_wait() -> Result<()> {
    let mut scene = Scene::start(461, traffic(), Setup::default()).await?;
    // Everybody in the traffic has been met before the directory goes.
    scene.flows(1_500).await?;
    scene.net.plc().down();
    let lookups = scene.net.plc().total_lookups();
    let host = scene.net.pds("load-0000").await?;
    let waiting = strangers(&host, 0..20).await?;
    scene.flows(300).await?;

    scene.relay.stop().await?;
    scene.relay.restart().await?;
    scene.flows(300).await?;
    let more = strangers(&host, 20..30).await?;
    scene.flows(300).await?;
    scene.relay.health(200).await?;
    ensure!(scene.net.plc().total_lookups() == lookups, "somebody was asked for");

    scene.net.plc().up().await?;
    let ended = scene.end().await?;
    for account in waiting.iter().chain(&more) {
        ensure!(ended.net.plc().lookups(account) > 0, "{} was not looked up", account.name());
    }
    Ok(())
}

/// RES-6: answers that take two seconds delay those who need them and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_directory_delays_only_those_who_are_new() -> Result<()> {
    let mut scene = Scene::start(462, traffic(), Setup::default()).await?;
    scene.flows(1_000).await?;
    scene.net.plc().set_latency(Duration::from_secs(2));
    let host = scene.net.pds("load-0001").await?;
    strangers(&host, 0..100).await?;

    scene.flows(600).await?;

    scene.end().await?.counted().await
}
