//! The relay in front of many hosts at once: three consumers of the same stream, one of which joins
//! late and one of which loses its connection again and again, and streams with TLS.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use relay_simnet::{
    Consumer, Item, Net, Start, Terminator,
    scale::{Checker, Fleet, FleetOptions, Pace, Plan, Source},
};

use crate::{
    process::{RelayProcess, Setup},
    support::Relay,
};

/// 100 hosts, 5,000 accounts; of the events after the introductions nearly a third are faulty, one
/// hundredth of each kind.
const PLAN: Plan = Plan {
    seed: 11,
    hosts: 100,
    accounts: 5_000,
    records: 20,
    introduce: true,
    events: 5_000,
    announcements_per_mille: 10,
    each_fault_per_mille: 10,
    foreign_per_mille: 10,
};

/// Events after which the forgetful consumer loses its connection.
const STAY: u64 = 700;

/// I1–I4, VAL-1 to VAL-13, CUR-2, CUR-3: of 10,000 events of 100 hosts everything comes out that has
/// to, in order, once, under the same seq for all consumers, and every drop has its reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_hosts_and_three_consumers() -> Result<()> {
    let fleet = Fleet::start(&PLAN, FleetOptions::default()).await?;
    let relay = Relay::beside(fleet.plc_url(), |_, _| {}).await?;
    for address in fleet.addresses() {
        let admitted = relay.running.hosts.admit(&address, true).await;
        admitted.map_err(|why| anyhow::anyhow!("{address}: {why}"))?;
    }
    fleet.connected().await?;
    let ledger = fleet.ledger();
    let mut source = Source::live(&PLAN)?;

    let mut steady = (ledger.checker(), relay.consume(Start::After(0)).await?);
    let mut forgetful = (ledger.checker(), relay.consume(Start::After(0)).await?.reconnecting());
    fleet.play(&mut source, u64::from(PLAN.accounts), Pace::Fast).await?;
    follow(&mut steady, u64::from(PLAN.accounts)).await?;

    // Everything that the steady one has seen is durable, so the late one may ask for a part of it.
    let middle = i64::from(PLAN.accounts) / 2;
    let cursor = Start::After(u64::try_from(middle)?);
    let mut late = (ledger.checker_after(middle), relay.consume(cursor).await?);
    let (played, reports) = tokio::join!(
        fleet.play(&mut source, u64::MAX, Pace::Fast),
        settle_all(&mut steady, &mut forgetful, &mut late)
    );
    ensure!(played? == PLAN.events, "the plan was not played to its end");
    reports?;

    let unfired = ledger.unfired_faults();
    ensure!(unfired.is_empty(), "faults that never struck: {unfired:?}");
    let drops = relay.running.drops.totals();
    let differences =
        ledger.compare_drops(drops.into_iter().map(|(reason, count)| (reason.label(), count)));
    ensure!(differences.is_empty(), "the drops differ: {differences:#?}");
    assert!(forgetful.1.reconnections() > 5, "{} reconnections", forgetful.1.reconnections());
    assert_eq!(steady.0.handles_left_out(), 0);
    Ok(())
}

/// Longest that a condition may take, and the pause between two looks at it.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

type Watched = (Checker, Consumer);

/// Reads until so many events have come.
async fn follow((checker, consumer): &mut Watched, events: u64) -> Result<()> {
    for _ in 0..events {
        let event = consumer.next().await.with_context(|| checker.report().to_string())?;
        checker.observe(&event);
    }
    Ok(())
}

/// All three to the end, each of them clean.
async fn settle_all(
    steady: &mut Watched,
    forgetful: &mut Watched,
    late: &mut Watched,
) -> Result<()> {
    let losing = async {
        let (checker, consumer) = forgetful;
        let mut seen = 0_u64;
        while checker.outstanding() > 0 {
            if let Item::Event(event) = consumer.next_item().await? {
                checker.observe(&event);
                seen += 1;
                if seen.is_multiple_of(STAY) {
                    consumer.cut();
                }
            }
        }
        checker.settle(consumer).await
    };
    let (steady, late) = (steady.0.settle(&mut steady.1), late.0.settle(&mut late.1));
    let (steady, forgetful, late) = tokio::join!(steady, losing, late);
    for (name, report) in [("steady", steady), ("forgetful", forgetful), ("late", late)] {
        let report = report.and_then(relay_simnet::Report::clean);
        let report = report.with_context(|| format!("the {name} consumer"))?;
        ensure!(report.matched > PLAN.events / 2, "the {name} consumer: {report}");
    }
    Ok(())
}

/// The roots that a relay of a run trusts, in a file that vanishes with the directory.
fn trusting(authority: &relay_simnet::Authority) -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("authority.pem");
    authority.write(&file)?;
    Ok((dir, file))
}

/// UP-1, WS-1: a relay reads hosts over wss, checks their certificates, and serves a consumer through
/// a web server that takes TLS off.
#[tokio::test]
async fn streams_are_encrypted_in_and_out() -> Result<()> {
    let net = Net::seeded(12).await?;
    let alpha = net.secure_pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let (_dir, roots) = trusting(net.authority()?)?;
    let roots = roots.display().to_string();
    let settings = [("SSL_CERT_FILE", roots.as_str())];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let mut relay = RelayProcess::start(&net, setup).await?;
    relay.add_hosts(&[alpha.address()]).await?;
    alpha.connected().await?;
    let front = Terminator::start(net.authority()?, relay.url().replace("http://", "").parse()?);
    let front = front.await?;

    let mut reader =
        Consumer::connect_secure(&front.url(), Start::After(0), net.authority()?).await?;
    alice.post("encrypted on every way").await?;
    let mut checker = net.oracle().checker();
    reader.settle(&mut checker).await?.clean()?;
    relay.reach(&net).await?;
    relay.stop().await
}

/// SEC-1: a host whose certificate nobody vouches for is not read.
#[tokio::test]
async fn a_host_with_a_foreign_certificate_is_not_read() -> Result<()> {
    let net = Net::seeded(13).await?;
    let (alpha, beta) = (net.secure_pds("alpha").await?, net.pds("beta").await?);
    let (_dir, roots) = trusting(&relay_simnet::Authority::new()?)?;
    let roots = roots.display().to_string();
    let settings = [("SSL_CERT_FILE", roots.as_str())];
    let setup = Setup { settings: &settings, ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    let bob = beta.account("bob").await?;
    relay.add_hosts(&[alpha.address(), beta.address()]).await?;
    beta.connected().await?;
    let mut reader = Consumer::connect(&relay.url(), Start::After(0)).await?;
    bob.post("over a plain stream").await?;
    reader.next_for(&bob).await?;
    // The relay says why, once it has tried.
    let tried = async {
        while !relay.situation().await.contains("TLS failed") {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.context("the certificate is not checked")?;
    assert!(alpha.cursors().is_empty(), "it was asked for its stream");
    Ok(())
}
