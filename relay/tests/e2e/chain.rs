//! A relay that reads another relay: the same events come out, each once and in order, whatever is
//! restarted, and also when it reads some of the hosts itself.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use relay_protocol::Did;
use relay_simnet::{Account, Consumer, Fault, Net, Start};

use crate::{support::Relay, watch::in_words};

/// A port that is free now, for a relay that keeps it over restarts.
fn free_port() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// All events of an account that the relay keeps, in words with their revs.
async fn told(relay: &Relay, account: &Account) -> Result<Vec<String>> {
    let mut consumer = relay.consume(Start::After(0)).await?;
    let (head, mut told) = (relay.running.log.window().head.0, Vec::new());
    while u64::try_from(consumer.last_seq()).unwrap_or(0) < head {
        let event = consumer.next().await?;
        if event.did == account.did() {
            told.push(format!("{} {}", in_words(&event), event.rev.as_deref().unwrap_or_default()));
        }
    }
    Ok(told)
}

/// Waits until a relay passed this on.
async fn passed(relay: &Relay, rev: &str) -> Result<()> {
    let mut consumer: Consumer = relay.consume(Start::After(0)).await?;
    consumer.until(|event| event.rev.as_deref() == Some(rev)).await?;
    Ok(())
}

/// HOST-13, ROLE-7, I4: relay B reads relay A (`source_relays`), which reads two hosts. All events of
/// their accounts come out of B as out of A, each once and in order; also over restarts of either, and
/// when B reads a host itself from then on. A host that B does not know is known by its DID documents.
#[tokio::test]
async fn a_relay_that_reads_a_relay_loses_and_repeats_nothing() -> Result<()> {
    let net = Net::seeded(350).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    let address = free_port()?;
    let a = Relay::join_with(&net, move |config, _| config.api_bind = address).await?;
    let source = format!("localhost:{}", address.port());
    let b = Relay::beside(net.plc().url(), move |config, _| {
        config.source_relays = vec![source.clone()];
    })
    .await?;

    for number in 0..20 {
        alice.post(&format!("one {number}")).await?;
        bob.post(&format!("two {number}")).await?;
    }
    alice.deactivate().await?;
    alice.activate().await?;
    bob.with(Fault::WrongKey).post("nobody passes this").await?;
    let last = [alice.post("last of the first part").await?, bob.post("and his").await?];
    for sent in &last {
        passed(&b, &sent.rev).await?;
    }
    a.settled(&net).await?;
    for account in [&alice, &bob] {
        let told = told(&a, account).await?;
        assert!(told.len() > 20, "control");
        assert_eq!(self::told(&b, account).await?, told);
    }
    let listed = b.get("com.atproto.sync.listHosts").await?.1;
    assert_eq!(listed["hosts"], serde_json::json!([]), "a source is no host of accounts");

    let b = b.restart().await?;
    alice.post("while B starts").await?;
    let a = a.restart().await?;
    let during = bob.post("while A starts").await?;
    passed(&b, &during.rev).await?;

    let admitted = b.running.hosts.admit(&alpha.hostname(), true).await;
    admitted.map_err(|why| anyhow::anyhow!("{why}"))?;
    let both = alice.post("A and her host both tell B").await?;
    let bobs = bob.post("his host is told of by A alone").await?;
    passed(&b, &both.rev).await?;
    passed(&b, &bobs.rev).await?;
    let direct = b.running.hosts.by_name(&alpha.hostname()).context("alpha is known")?;
    let is_read = || direct.mark().is_some_and(|(_, mark)| mark.0 >= alpha.head());
    b.until("her host was read to its end", is_read).await?;
    a.settled(&net).await?;
    // What a host that is read from its beginning says of status and identity is no repetition to a relay.
    let commits = |told: Vec<String>| -> Vec<String> {
        told.into_iter().filter(|words| words.starts_with("commit")).collect()
    };
    for account in [&alice, &bob] {
        let told = commits(told(&a, account).await?);
        assert_eq!(commits(self::told(&b, account).await?), told);
        let row = b.running.ingest.account(&Did::parse(account.did())?).await?;
        assert!(row.context("an account")?.repo.is_some());
    }
    Ok(())
}
