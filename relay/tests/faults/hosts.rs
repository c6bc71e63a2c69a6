//! All hosts go at once and come back.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use relay_simnet::{Load, LoadOptions, Net, Upgrade};
use tokio::time::Instant;

use crate::{
    process::{RelayProcess, Setup},
    scene::{Scene, traffic},
};

const HOSTS: usize = 300;
/// What the relay is set to.
const HANDSHAKES_MAX: usize = 16;
/// How long each takes, so that they would pile up.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// Most handshakes under way at once, as the hosts saw them; each has begin and end.
fn at_once(net: &Net, since: Instant) -> usize {
    let mut changes = Vec::new();
    for (begin, end) in net.hosts().iter().flat_map(relay_simnet::Pds::handshakes) {
        if begin >= since {
            changes.extend([(begin, true), (end, false)]);
        }
    }
    changes.sort();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in changes {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// UP-1, UP-9, UP-10, SEC-5: 300 hosts are cut at once, and refuse everybody for a while: they are
/// dialled again never more at once than the setting says, each is asked once when it is there, and
/// read on from its cursor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_are_all_cut_at_once_are_dialled_in_turn_and_read_on() -> Result<()> {
    let net = Net::seeded(431).await?;
    let options = LoadOptions { hosts: HOSTS, accounts: HOSTS, records: 2, ..traffic() };
    let load = Load::prepare(&net, options).await?;
    for host in net.hosts() {
        host.answer_all(Upgrade::Late(HANDSHAKE));
    }
    let most = HANDSHAKES_MAX.to_string();
    let settings = [("RELAY_HANDSHAKES_MAX", most.as_str())];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    relay.crawl(&net).await?;
    let mut scene = Scene::join(net, relay, load).await?;
    let before: Vec<_> = scene.net.hosts().iter().map(|host| host.cursors().len()).collect();

    for round in 1..=2 {
        let since = Instant::now();
        scene.net.cut_all();
        for (host, before) in scene.net.hosts().iter().zip(&before) {
            host.asked(before + round).await?;
            if let Err(error) = host.connected().await {
                bail!("{} {error}: {}", host.hostname(), scene.relay.situation().await);
            }
        }
        let most = at_once(&scene.net, since);
        println!("round {round}: {most} handshakes at once, all back in {:?}", since.elapsed());
        ensure!(most <= HANDSHAKES_MAX, "{most} handshakes at once");
        ensure!(most > HANDSHAKES_MAX / 2, "only {most} handshakes at once: this proves nothing");
        scene.flows(300).await?;
    }
    for (host, before) in scene.net.hosts().iter().zip(before) {
        let asked = host.cursors();
        ensure!(asked.len() == before + 2, "{}: asked with {asked:?}", host.name());
    }

    scene.end().await?.counted().await
}
