//! A connection to the database that is cut in the middle of a transaction, at a chosen byte.

use anyhow::{Context as _, Result, ensure};
use relay::config::Secret;
use relay_simnet::{Load, LoadOptions, Net};

use crate::{
    postgres_cluster::Cluster,
    proxy::{Fall, Proxy},
    support::Relay,
};

/// HOST-10: what the relay counts at its hosts, which has to be what is there.
fn counted(relay: &Relay) -> u64 {
    relay.running.hosts.all().iter().map(|host| host.account_count()).sum()
}

/// I3, DESIGN 10.5: a checkpoint is written whole or not at all, wherever its connection is cut; also
/// when the cut hides that it was written, nothing is counted twice. Then all goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_cut_off_anywhere_is_written_once() -> Result<()> {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    cluster.database("cut");
    let proxy = Proxy::start(cluster.socket()).await;
    let url = Cluster::url_through(proxy.port(), "cut");
    let net = Net::seeded(411).await?;
    let options = LoadOptions { hosts: 3, accounts: 300, records: 3, ..LoadOptions::default() };
    let mut load = Load::prepare(&net, options).await?;
    let relay = Relay::join_with(&net, move |config, _| {
        config.database_url = Secret::new(url.clone());
    })
    .await?;
    let mut watch = relay.watch().await?;
    let falls: [(&[u8], Fall); 7] = [
        (b"BEGIN", Fall::Behind(0)),
        (b"BEGIN", Fall::Unanswered),
        (b"INSERT INTO relay_account", Fall::Behind(300)),
        (b"INSERT INTO relay_account", Fall::Unanswered),
        (b"COMMIT", Fall::Behind(0)),
        (b"COMMIT", Fall::Behind(3)),
        (b"COMMIT", Fall::Unanswered),
    ];

    for (word, fall) in falls {
        load.send(120).await?;
        relay.settled(&net).await?;
        let what = String::from_utf8_lossy(word).into_owned();
        loop {
            let before = proxy.fallen();
            proxy.fall(word, fall);
            let cut = relay.running.checkpoint().await;
            ensure!(proxy.fallen() > before, "{what} {fall:?}: nothing was cut");
            if cut.is_err() {
                break;
            }
            // The marks that are written every few seconds said the word first.
        }
        load.send(20).await?;
        relay.settled(&net).await?;
        let again = relay.running.checkpoint().await;
        again.with_context(|| format!("the checkpoint after {what} {fall:?}"))?;
    }

    relay.proved(&net, &mut watch).await?;
    relay.running.checkpoint().await?;
    let rows = cluster.sql("cut", "SELECT count(*) FROM relay_account");
    let kept = cluster.sql("cut", "SELECT sum(account_count) FROM relay_host");
    ensure!(rows == kept, "{rows} accounts, {kept} counted");
    ensure!(counted(&relay).to_string() == rows, "{} in memory, {rows} rows", counted(&relay));
    relay.stop().await?;
    Ok(())
}
