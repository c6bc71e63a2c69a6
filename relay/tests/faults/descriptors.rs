//! A relay that may open few files.

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Consumer, LoadOptions, Start};
use tokio::task::JoinSet;

use crate::{
    process::Setup,
    scene::{Scene, traffic},
};

/// Files that the process may have open.
const LIMIT: u64 = 200;
const HOSTS: usize = 50;
/// Clients that come at once; the limit leaves room for a few of them.
const CLIENTS: usize = 500;

/// SEC-7, OUT-5, I5: 50 hosts and 500 consumers at a relay that may open 200 files: the hosts are read,
/// the log begins new files, those for whom there is no room are told so, the log says what to raise,
/// and when the consumers have left there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_with_few_file_descriptors_reads_its_hosts_and_refuses_clients_in_words()
-> Result<()> {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let settings = [("RELAY_SEGMENT_BYTES", "64KiB")];
    let setup = Setup { settings: &settings, under: &["prlimit", &limit], ..Setup::default() };
    let options = LoadOptions { hosts: HOSTS, ..traffic() };
    let mut scene = Scene::start(441, options, setup).await?;
    let files = scene.relay.segments()?;

    let mut knocking = JoinSet::new();
    for _ in 0..CLIENTS {
        let url = scene.relay.url();
        knocking.spawn(async move { Consumer::connect_query(&url, "").await });
    }
    let (mut seated, mut refused) = (Vec::new(), 0);
    while let Some(answer) = knocking.join_next().await {
        match answer?.context("neither let in nor told why not")? {
            Ok(consumer) => seated.push(consumer),
            Err(told) => {
                ensure!(told.status == 503 && told.server.starts_with("relay/"), "{told:?}");
                refused += 1;
            }
        }
    }
    println!("{} let in, {refused} refused", seated.len());
    ensure!(!seated.is_empty() && refused > CLIENTS / 2, "{} let in", seated.len());
    ensure!(scene.relay.open_files()? < LIMIT, "all files are open");

    scene.net.cut_all();
    scene.flows(400).await?;
    for host in scene.net.hosts() {
        host.connected().await.context("a host found no place beside the consumers")?;
    }
    ensure!(scene.relay.segments()? > files, "the log began no file meanwhile");
    let told = scene.relay.log().matches("raise the limit of open files").count();
    ensure!((1..=20).contains(&told), "the log says {told} times what to raise");

    drop(seated);
    let came = async {
        while Consumer::connect_query(&scene.relay.url(), "").await?.is_err() {}
        anyhow::Ok(())
    };
    came.await?;
    let mut late = Consumer::connect(&scene.relay.url(), Start::Live).await?;
    late.take(20).await?;
    scene.end().await?.counted().await
}
