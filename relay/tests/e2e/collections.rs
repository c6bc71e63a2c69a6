//! Who has records of a kind, as the relay lists it from what its hosts send.

mod at_rest;
mod lost;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay::{clock::Clock, domain::LocalStatus};
use relay_protocol::Did;
use relay_simnet::{Account, Ipld, Net, Write, clock::START_MICROS};
use tokio::time::Instant;

use crate::support::Relay;

const METHOD: &str = "com.atproto.sync.listReposByCollection";
/// Longest that a list may take to follow the stream.
const PATIENCE: Duration = Duration::from_secs(30);

fn record() -> Ipld {
    Ipld::Map(BTreeMap::new())
}

/// One page, and its cursor.
async fn page(relay: &Relay, query: &str) -> Result<(Vec<String>, Option<String>)> {
    let (status, answer) = relay.get(&format!("{METHOD}?{query}")).await?;
    ensure!(status == 200, "{query}: {status} {answer}");
    let repos = answer["repos"].as_array().context("no repos")?;
    let dids = repos.iter().filter_map(|repo| repo["did"].as_str().map(str::to_owned)).collect();
    Ok((dids, answer["cursor"].as_str().map(str::to_owned)))
}

/// The whole list, in pages of this size.
async fn list(relay: &Relay, collection: &str, limit: usize) -> Result<Vec<String>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let query = format!("collection={collection}&limit={limit}{after}");
        let (dids, cursor) = page(relay, &query).await?;
        ensure!(dids.len() <= limit);
        all.extend(dids);
        match cursor {
            Some(cursor) => after = format!("&cursor={cursor}"),
            None => return Ok(all),
        }
    }
}

/// Waits until the list is of these accounts and no others, each once.
async fn listed(relay: &Relay, collection: &str, accounts: &[&Account]) -> Result<()> {
    let expected: BTreeSet<String> =
        accounts.iter().map(|account| account.did().to_owned()).collect();
    let begin = Instant::now();
    loop {
        let found = list(relay, collection, 500).await?;
        if found.len() == expected.len() && found.iter().all(|did| expected.contains(did)) {
            return Ok(());
        }
        ensure!(begin.elapsed() < PATIENCE, "{collection}: {found:?}, expected {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An app finds those who use it: from their first record on, until their last one is deleted, each
/// collection by itself, also when one commit does several things.
#[tokio::test]
async fn accounts_are_listed_while_they_have_records_of_a_kind() -> Result<()> {
    let net = Net::seeded(611).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let relay = Relay::join(&net).await?;
    let [one, two] = ["com.example.one", "com.example.two"];

    alice.create(one, "a", record()).await?;
    bob.create(one, "a", record()).await?;
    bob.create(two, "a", record()).await?;
    listed(&relay, one, &[&alice, &bob]).await?;
    listed(&relay, two, &[&bob]).await?;

    alice.create(one, "b", record()).await?;
    alice.delete("com.example.one/a").await?;
    bob.apply(vec![
        Write::delete("com.example.one/a"),
        Write::create("com.example.three/a", record()),
    ])
    .await?;
    listed(&relay, "com.example.three", &[&bob]).await?;
    listed(&relay, one, &[&alice]).await?;

    alice.delete("com.example.one/b").await?;
    bob.delete("com.example.two/a").await?;
    for empty in [one, two, "com.example.unheard.of"] {
        listed(&relay, empty, &[]).await?;
    }
    listed(&relay, "com.example.three", &[&bob]).await?;
    Ok(())
}

/// API-2: every limit meets everybody once, in the same order, also while others come and go; wrong
/// parameters are told apart from an empty list.
#[tokio::test]
async fn pages_meet_every_account_once_and_refuse_what_is_wrong() -> Result<()> {
    let net = Net::seeded(612).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join(&net).await?;
    let mut accounts = Vec::new();
    for number in 0..12 {
        let account = alpha.account(&format!("account-{number}")).await?;
        account.create("com.example.one", "a", record()).await?;
        account.create("com.example.two", "a", record()).await?;
        accounts.push(account);
    }
    let all: Vec<&Account> = accounts.iter().collect();
    listed(&relay, "com.example.one", &all).await?;
    listed(&relay, "com.example.two", &all).await?;
    let whole = list(&relay, "com.example.one", 2_000).await?;
    for limit in [1, 2, 5, 11, 12, 13] {
        assert_eq!(list(&relay, "com.example.one", limit).await?, whole, "limit {limit}");
    }

    // Those that a page has not reached yet may go, those that it has may stay or go.
    let (first, cursor) = page(&relay, "collection=com.example.one&limit=4").await?;
    let cursor = cursor.context("more pages")?;
    assert_eq!(first, whole[..4]);
    let by_did = |did: &str| accounts.iter().find(|account| account.did() == did).unwrap();
    for gone in [&whole[1], &whole[5]] {
        by_did(gone).delete("com.example.one/a").await?;
    }
    let left = all
        .iter()
        .copied()
        .filter(|account| account.did() != whole[1] && account.did() != whole[5]);
    listed(&relay, "com.example.one", &left.collect::<Vec<_>>()).await?;
    let rest = page(&relay, &format!("collection=com.example.one&cursor={cursor}")).await?;
    assert_eq!(rest, ([&whole[4..5], &whole[6..]].concat(), None));

    for (wrong, what) in [
        (String::new(), "collection is missing"),
        ("collection=com.example".to_owned(), "collection com.example is not valid"),
        ("collection=com.example.*".to_owned(), "collection com.example.* is not valid"),
        ("collection=com.example.one&limit=0".to_owned(), "limit must be"),
        ("collection=com.example.one&limit=2001".to_owned(), "limit must be"),
        ("collection=com.example.one&cursor=4".to_owned(), "cursor is not one"),
        (format!("collection=com.example.two&cursor={cursor}"), "cursor is not one"),
    ] {
        let (status, answer) = relay.get(&format!("{METHOD}?{wrong}")).await?;
        assert_eq!((status, answer["error"].as_str()), (400, Some("InvalidRequest")), "{wrong}");
        assert!(answer["message"].as_str().unwrap_or_default().contains(what), "{answer}");
    }
    let (status, answer) = relay.get(&format!("{METHOD}?collection=com.example.none")).await?;
    assert_eq!((status, answer), (200, serde_json::json!({ "repos": [] })));
    Ok(())
}

/// ACC-12: who is taken down, away or deleted is not listed; who comes back is, without a new record.
#[tokio::test]
async fn accounts_that_are_not_served_leave_the_lists_until_they_return() -> Result<()> {
    let net = Net::seeded(613).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let carol = alpha.account("carol").await?;
    let relay = Relay::join(&net).await?;
    let one = "com.example.one";
    for account in [&alice, &bob, &carol] {
        account.create(one, "a", record()).await?;
    }
    listed(&relay, one, &[&alice, &bob, &carol]).await?;

    let did = Did::parse(alice.did())?;
    relay.running.ingest.set_local_status(&did, LocalStatus::Takendown).await?;
    bob.deactivate().await?;
    carol.delete_account().await?;
    listed(&relay, one, &[]).await?;

    relay.running.ingest.set_local_status(&did, LocalStatus::None).await?;
    bob.activate().await?;
    listed(&relay, one, &[&alice, &bob]).await
}

/// Setting `collections_host_away`: accounts of a host that has been away for longer leave the lists
/// and return with it.
#[tokio::test]
async fn accounts_of_a_host_that_is_away_for_long_leave_the_lists_and_return() -> Result<()> {
    let (net, clock) = (Net::seeded(614).await?, Clock::manual(START_MICROS + 60_000_000));
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    let by = clock.clone();
    let relay = Relay::join_with(&net, move |config, extras| {
        config.collections_host_away = Duration::from_hours(48);
        extras.clock = by.clone();
    })
    .await?;
    let one = "com.example.one";
    alice.create(one, "a", record()).await?;
    bob.create(one, "a", record()).await?;
    listed(&relay, one, &[&alice, &bob]).await?;

    let hours = |hours: u64| clock.advance_us(hours * 3_600_000_000);
    beta.down();
    let host = relay.running.hosts.by_name(&beta.hostname()).context("a known host")?;
    let begin = Instant::now();
    while host.away_since_ms().is_none() {
        ensure!(begin.elapsed() < PATIENCE, "{} is still awaited", beta.hostname());
        hours(1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hours(47);
    listed(&relay, one, &[&alice, &bob]).await?;
    hours(2);
    listed(&relay, one, &[&alice]).await?;

    beta.up().await?;
    let begin = Instant::now();
    while !host.is_connected() {
        ensure!(begin.elapsed() < PATIENCE, "{} is not read again", beta.hostname());
        hours(1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    listed(&relay, one, &[&alice, &bob]).await
}
