//! How much is done at once.

use std::time::Duration;

use relay_simnet::{Account, AccountOptions, Answer, Consumer, Pds, Start};

use crate::{
    process::{Program, until},
    relay::Relay,
};

/// Setting `max_consumers`, SEC-4: who comes when all places are taken is told why and when to come
/// again, is counted, and comes in once somebody has left.
#[tokio::test]
async fn one_consumer_too_many_is_told_to_come_later() {
    let relay = Program::new().set("RELAY_MAX_CONSUMERS", "2").start().await;
    let url = format!("http://{}", relay.at().api);
    let mut first = Consumer::connect(&url, Start::Live).await.unwrap();
    let _second = Consumer::connect(&url, Start::Live).await.unwrap();
    assert_eq!(relay.metric("relay_firehose_consumers_limit").await.as_deref(), Some("2"));

    let third = Consumer::connect_query(&url, "").await.unwrap();

    let refused = third.err().unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("as many consumers as it can serve"), "{refused:?}");
    let counted = relay.metric("relay_firehose_refused_total{reason=\"total_limit\"}").await;
    assert_eq!(counted.as_deref(), Some("1"));
    first.cut();
    until("there is room again", async || Consumer::connect_query(&url, "").await.unwrap().is_ok())
        .await;
    relay.stop().await;
}

/// Setting `collections_memory`: an eighth of it is for what is not in files yet.
#[tokio::test]
async fn the_index_of_collections_has_its_memory() {
    for (memory, rows) in [("32MiB", "4194304"), ("256MiB", "33554432")] {
        let relay = Program::new().set("RELAY_COLLECTIONS_MEMORY", memory).start().await;
        let limit = relay.metric("relay_collections_memory_bytes_limit").await;
        assert_eq!(limit.as_deref(), Some(rows), "{memory}");
        relay.stop().await;
    }
}

/// An account that the relay has not heard of.
async fn stranger(pds: &Pds, name: &str) -> Account {
    let options = AccountOptions { announced: false, ..AccountOptions::default() };
    pds.account_with(name, options).await.unwrap()
}

/// A known and an unknown account post one after the other at each of `hosts` hosts, while the
/// directory takes its time; gives how many of the known came out before the unknown of their host.
async fn overtaken(settings: &[(&str, &str)], hosts: usize) -> usize {
    let relay = Relay::start_with(settings).await;
    let mut pairs = Vec::new();
    for number in 0..hosts {
        let pds = relay.host(&format!("host{number}")).await;
        let known = relay.account(&pds, &format!("known{number}")).await;
        pairs.push((stranger(&pds, &format!("stranger{number}")).await, known));
    }
    let url = format!("http://{}", relay.api());
    let head = relay.running.log.window().head.0;
    let mut consumer = Consumer::connect(&url, Start::After(head)).await.unwrap();
    relay.net.plc().set_latency(Duration::from_secs(2));
    for (stranger, known) in &pairs {
        stranger.post("who are you?").await.unwrap();
        known.post("me first").await.unwrap();
    }

    let seen = consumer.take(2 * hosts).await.unwrap();

    let place = |account: &Account| seen.iter().position(|event| event.did == account.did());
    let first = pairs.iter().filter(|(stranger, known)| place(known) < place(stranger)).count();
    relay.stop().await;
    first
}

/// Setting `host_queue`, DESIGN 10.6: an event that waits for an identity holds a place of its host, and
/// with one place the next event waits too.
#[tokio::test]
async fn a_host_waits_when_its_places_at_a_worker_are_taken() {
    let one = [("RELAY_SHARDS", "1"), ("RELAY_MAX_QUEUE_PER_PDS", "1")];
    let many = [("RELAY_SHARDS", "1"), ("RELAY_MAX_QUEUE_PER_PDS", "64")];
    let (waited, went_on) = tokio::join!(overtaken(&one, 2), overtaken(&many, 2));
    assert_eq!(waited, 0);
    assert_eq!(went_on, 2, "control: with more places the event that can be judged is");
}

/// Setting `shards`: with one place per worker, the second event of a host goes on at another worker.
/// Which worker an account has is by chance, so one of several hosts is enough.
#[tokio::test]
async fn one_worker_waits_where_many_go_on() {
    let one = [("RELAY_SHARDS", "1"), ("RELAY_MAX_QUEUE_PER_PDS", "1")];
    let many = [("RELAY_SHARDS", "64"), ("RELAY_MAX_QUEUE_PER_PDS", "1")];
    let (waited, went_on) = tokio::join!(overtaken(&one, 4), overtaken(&many, 4));
    assert_eq!(waited, 0);
    assert!(went_on > 0);
}

/// Accounts that the directory does not answer for, and posts of each.
const UNKNOWN: (usize, usize) = (5, 40);

/// Fills a host with events that wait for their identities until `most` of them are open; checks that it
/// stays at that while others are read.
async fn fills_up_to(setting: &str, most: usize) {
    let (accounts, posts) = UNKNOWN;
    let relay = Relay::start_with(&[("RELAY_HOST_CONCURRENCY", setting)]).await;
    let (pds, other) = (relay.host("alpha").await, relay.host("beta").await);
    let bob = relay.account(&other, "bob").await;
    relay.net.plc().answer_all(Some(Answer::Silence));
    for number in 0..accounts {
        let account = stranger(&pds, &format!("a{number}")).await;
        for post in 0..posts {
            account.post(&format!("{post}")).await.unwrap();
        }
    }
    let open = || relay.running.hosts.view(&pds.hostname()).unwrap().unsettled;

    relay.until("all that may be open is", || open() >= most).await;

    let before = relay.running.log.window().head;
    bob.post("others are read").await.unwrap();
    relay.until("it is judged", || relay.running.log.window().head > before).await;
    assert_eq!(open(), most, "host_concurrency {setting}");
}

/// Setting `host_concurrency`, DESIGN 10.7: one unit stands for 102 events that wait for a verdict; with
/// so many the host is not read, and others are.
#[tokio::test]
async fn a_host_with_too_many_open_events_is_not_read() {
    tokio::join!(fills_up_to("1", 102), fills_up_to("40", UNKNOWN.0 * UNKNOWN.1));
}

/// Setting `account_cache`, DESIGN 10.4: the others are known to the database, and events of all of
/// them go on; a small cache is written out often enough for that.
#[tokio::test]
async fn accounts_in_memory_stay_within_the_cache() {
    const ACCOUNTS: usize = 2_200;
    let settings = [("RELAY_ACCOUNT_CACHE", "1000"), ("RELAY_SHARDS", "1")];
    let relay = Relay::start_with(&settings).await;
    let pds = relay.host("alpha").await;
    let mut first = None;
    for number in 0..ACCOUNTS {
        let account = stranger(&pds, &format!("a{number}")).await;
        account.post("hello").await.unwrap();
        first.get_or_insert(account);
    }
    let first = first.unwrap();
    let mut most = 0;
    until("all are judged", async || {
        most = most.max(relay.running.ingest.accounts_in_memory());
        relay.running.log.window().head.0 >= u64::try_from(ACCOUNTS).unwrap()
    })
    .await;

    // Events are taken in batches, and what a batch brings is made room for afterwards.
    assert!((900..=1_100).contains(&most), "{most}");
    first.post("again").await.unwrap();
    relay.settled().await;
    let (rev, _) = first.latest_commit().await.unwrap();
    let known = relay.sync(&format!("getLatestCommit?did={}", first.did())).await.json();
    assert_eq!(known["rev"], rev, "control: one that was forgotten is known");
    let status = relay.admin("/admin/v1/status").await.json();
    assert!(status["accounts"]["inMemory"].as_u64().unwrap() <= 1_100, "{status}");
    relay.stop().await;
}
