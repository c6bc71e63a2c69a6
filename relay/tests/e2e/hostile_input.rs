//! I5, I6: whatever hosts send, nothing panics and nothing grows without a limit.

use anyhow::{Context, Result};
use relay::domain::DropReason;
use relay_simnet::{
    AccountOptions, Answer, Consumer, Ipld, Kind, Net, Start, Write, records::post_record,
};

use crate::{support::Relay, watch::held_clock};

/// I6: a commit with a good signature whose blocks were changed in hundreds of places: cut, flipped,
/// swollen. Each copy is dropped for a reason, none makes the relay fail; the whole one passes.
#[tokio::test]
async fn no_input_panics() -> Result<()> {
    let net = Net::seeded(100).await?;
    let (alpha, other) = (net.pds("alpha").await?, net.pds("other").await?);
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    net.oracle().ignore(&alice);
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    alice.apply((0..30).map(post).collect()).await?;
    relay.news(&net, &mut watch).await?;

    // What alice would say next, taken from a host that the relay does not believe.
    alice.through(&other).apply((30..60).map(post).collect()).await?;
    let mut stream = Consumer::connect(&other.stream_url(), Start::After(0)).await?;
    let commit = stream.next().await?.payload()?;
    let Some(Ipld::Bytes(blocks)) = commit.get("blocks") else { anyhow::bail!("no blocks") };
    let mut wrong = 0_u64;
    for at in (0..blocks.len()).step_by(blocks.len() / 150) {
        let mut flipped = blocks.clone();
        flipped[at] ^= 0x41;
        let swollen = [&blocks[..at], &[0x9b, 0xff, 0xff], &blocks[at..]].concat();
        for blocks in [flipped, blocks[..at].to_vec(), swollen] {
            let mut commit = commit.clone();
            commit.insert("blocks".to_owned(), Ipld::Bytes(blocks));
            alpha.send_payload(Kind::Commit, commit);
            wrong += 1;
        }
        bob.post("not concerned").await?;
    }
    alpha.send_payload(Kind::Commit, commit);

    relay.settled(&net).await?;
    relay.news(&net, &mut watch).await?;
    let drops = relay.running.drops.totals();
    let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
    assert!(dropped >= wrong, "{dropped} of {wrong}: {drops:?}");
    assert_eq!(relay.dropped_total(DropReason::Internal), 0);
    assert!(relay.running.ingest.failures().is_empty());
    let last = watch.of(&alice).last().cloned().context("something of alice came")?;
    assert_eq!((last.as_str(), watch.of(&alice).len()), ("commit", 5), "the whole one passed");
    net.oracle().check(&watch.seen).clean()?;
    Ok(())
}

fn post(number: usize) -> Write {
    let record = post_record(&format!("record {number}"), 0);
    Write::create(format!("app.bsky.feed.post/{number:04}"), record)
}

/// I5, DESIGN 10.6, 10.7, SEC-4: thousands of events of accounts whose identity nobody tells. What
/// waits stays within its limits, other hosts are read all the while, and all goes on afterwards.
#[tokio::test]
async fn every_queue_cache_buffer_and_label_set_has_a_limit() -> Result<()> {
    let (net, clock) = (Net::seeded(101).await?, held_clock());
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let bob = beta.account("bob").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    let mut accounts = Vec::new();
    for number in 0..90 {
        let account = alpha.account_with(&format!("user-{number}"), silent).await?;
        net.plc().answer(&account, Answer::Status(503));
        accounts.push(account);
    }

    for number in 0..60 {
        for account in &accounts {
            account.post(&format!("who am I? {number}")).await?;
        }
    }
    relay
        .until("all is read or the host is no longer read", || {
            clock.advance_us(10_000);
            let view = relay.running.hosts.view(&alpha.hostname());
            alpha.undelivered() == 0 || view.is_some_and(|view| view.unsettled == 4_096)
        })
        .await?;
    let view = relay.running.hosts.view(&alpha.hostname()).context("a known host")?;
    assert!(view.unsettled <= 4_096, "{view:?}");
    assert!(relay.running.ingest.depth() <= 4_096 + 64, "{}", relay.running.ingest.depth());
    for number in 0..20 {
        bob.post(&format!("beta goes on {number}")).await?;
    }
    watch.take(20).await?;
    assert!(watch.seen.iter().all(|event| event.did == bob.did()), "nothing passed unverified");

    for account in &accounts {
        net.plc().answer(account, Answer::Document);
    }
    relay.settled_in_time(&net, &clock).await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}
