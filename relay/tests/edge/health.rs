//! Health as the outside sees it: 503 while something keeps the relay from its work, and why (OUT-5,
//! DESIGN 10.9, 10.10).

use std::{fs, io, os::unix::fs::symlink, path::PathBuf, time::Duration};

use relay_simnet::{Account, Answer::Silence, Consumer, Sent, Start};

use crate::{
    http::{post, send},
    postgres_cluster::Cluster,
    relay::Relay,
};

const PATHS: [&str; 2] = ["/_health", "/xrpc/_health"];

/// The status of both paths and of the metrics listener, which must agree, and the public reasons.
async fn health(relay: &Relay) -> (u16, Vec<String>) {
    let mut told = Vec::new();
    for path in PATHS {
        let answer = send(relay.api(), "GET", path, &[]).await;
        let json = answer.json();
        let reasons = json["reasons"].as_array().into_iter().flatten();
        let reasons: Vec<_> = reasons.map(|one| one.as_str().unwrap().to_owned()).collect();
        let status = if reasons.is_empty() { "ok" } else { "degraded" };
        assert_eq!(json["status"], status, "{answer:?}");
        assert!(json["version"].as_str().unwrap().starts_with("relay/"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        told.push((answer.status, reasons));
    }
    told.swap_remove(0)
}

/// Waits until health says this and nothing else; empty is well.
async fn until(relay: &Relay, reason: &str) {
    let expected: Vec<&str> = [reason].into_iter().filter(|reason| !reason.is_empty()).collect();
    let status = if expected.is_empty() { 200 } else { 503 };
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while health(relay).await != (status, expected.iter().map(ToString::to_string).collect()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited for {reason:?}, it is {:?}", health(relay).await);
}

/// What operators read, with paths and causes.
async fn detail(relay: &Relay) -> String {
    send(relay.running.metrics, "GET", "/_health", &[]).await.body
}

async fn long_post(account: &Account) {
    account.post(&"x".repeat(70_000)).await.unwrap();
}

/// The database goes and comes back: told within a second or two, questions that need it are 503 with
/// `Retry-After`, the others are answered, and nothing has to be restarted.
#[tokio::test]
async fn a_database_that_is_gone_is_told_and_found_again() {
    let Some(cluster) = Cluster::start() else { return };
    let url = cluster.database("relay");
    let relay = Relay::start_with(&[("DATABASE_URL", &url)]).await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let other = relay.net.pds("beta").await.unwrap();
    until(&relay, "").await;

    cluster.stop();
    until(&relay, "the database does not answer").await;

    assert!(!detail(&relay).await.contains("secret-relay"), "I8");
    let repos = relay.sync("listRepos").await;
    assert_eq!((repos.status, repos.error().as_str()), (503, "ServiceUnavailable"));
    assert_eq!(repos.header("retry-after"), Some("10"));
    let body = serde_json::json!({ "hostname": other.hostname() }).to_string();
    let crawl = "/xrpc/com.atproto.sync.requestCrawl";
    assert_eq!(post(relay.api(), crawl, &[], &body).await.status, 503);
    assert_eq!(relay.sync("listHosts").await.status, 200, "what is in memory is told");
    let before = relay.running.log.window().head;
    alice.post("meanwhile").await.unwrap();
    relay.until("known accounts go on", || relay.running.log.window().head > before).await;
    cluster.resume();
    until(&relay, "").await;

    assert_eq!(relay.sync("listRepos").await.status, 200);
    assert_eq!(post(relay.api(), crawl, &[], &body).await.status, 200);
    other.connected().await.unwrap();
    relay.stop().await;
}

/// OUT-5, DESIGN 10.9: a log that cannot be written ends the relay; until it has ended, health says so.
#[tokio::test]
async fn a_log_that_cannot_be_written_is_told_and_fatal() {
    let relay = Relay::start_with(&[("RELAY_SEGMENT_BYTES", "64KiB")]).await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let events = relay.data().join("persist");
    until(&relay, "").await;

    fs::remove_dir_all(&events).unwrap();
    for _ in 0..3 {
        long_post(&alice).await;
    }

    let fatal = relay.running.failed().await.to_string();
    assert!(fatal.contains(&events.display().to_string()), "{fatal}");
    until(&relay, "the event log cannot be written").await;
    assert!(detail(&relay).await.contains(&events.display().to_string()));
    let stopped = relay.running.stop().await.unwrap_err().to_string();
    assert_eq!(stopped, fatal);
}

const FULL: &str = "the disk is full: new events wait, the firehose is served";

/// Puts a device that is always full where the file of the log that begins with `base` is going to be.
/// The log takes it away when it could not write to it.
fn fill(relay: &Relay, base: u64) {
    let file: PathBuf = relay.data().join("persist").join(format!("{base:020}.tmp"));
    if let Err(error) = symlink("/dev/full", file) {
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
    }
}

/// Posts until there is no room for a post, and gives that post and the head before it.
async fn fill_the_disk(relay: &Relay, account: &Account) -> (Sent, u64) {
    loop {
        let head = relay.running.log.window().head.0;
        // This one fills the file, the one after it begins another.
        let base = head + 2;
        fill(relay, base);
        long_post(account).await;
        relay.settled().await;
        fill(relay, base);
        let sent = account.post("for which there is no room").await.unwrap();
        while relay.running.log.window().head.0 < base {
            fill(relay, base);
            if health(relay).await == (503, vec![FULL.to_owned()]) {
                return (sent, head + 1);
            }
        }
        // The log looked for its next file while there was none of ours.
    }
}

/// OUT-5: while the disk is full health says so, consumers are served, and it goes on by itself.
#[tokio::test]
async fn a_full_disk_is_told_while_consumers_are_served() {
    let relay = Relay::start_with(&[("RELAY_SEGMENT_BYTES", "64KiB")]).await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    until(&relay, "").await;

    let filling = fill_the_disk(&relay, &alice);
    let filled = tokio::time::timeout(Duration::from_mins(1), filling).await;
    let (last, head) = filled.unwrap();
    fill(&relay, head + 1);

    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    consumer.take(usize::try_from(head).unwrap()).await.unwrap();
    assert_eq!(relay.sync("listRepos").await.status, 200);
    until(&relay, "").await;

    let after = consumer.next().await.unwrap();
    assert_eq!(after.rev.as_deref(), Some(last.rev.as_str()), "nothing was lost");
    relay.stop().await;
}

/// DESIGN 10.10: a part of the window that turned bad on the disk is told, and the relay goes on.
#[tokio::test]
async fn a_damaged_part_of_the_window_is_told_while_the_relay_goes_on() {
    let relay = Relay::start_with(&[("RELAY_SEGMENT_BYTES", "64KiB")]).await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    // More than what is kept in memory would hide the disk; the first file is read from the disk.
    for _ in 0..3 {
        long_post(&alice).await;
        relay.settled().await;
    }
    relay.running.checkpoint().await.unwrap();
    let data = relay.data();
    let running = relay.restarted().await;
    let first = data.join("persist").join(format!("{:020}.log", 1));
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, bytes).unwrap();
    until(&running, "").await;

    let url = format!("http://{}", running.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    until(&running, "a part of the replay window is damaged and was skipped").await;

    drop(consumer.next_item().await);
    let before = running.running.log.window();
    assert!(before.oldest.0 > 1, "{before:?}");
    pds.connected().await.unwrap();
    alice.post("ingest goes on").await.unwrap();
    running.until("it is durable", || running.running.log.window().head > before.head).await;
    running.stop().await;
}

/// OUT-7: while the relay drains, health says so, and whoever balances load sends nobody any more.
#[tokio::test]
async fn a_relay_that_drains_is_told_before_it_is_gone() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    relay.net.plc().answer_all(Some(Silence));
    pds.account("alice").await.unwrap();
    relay.until("an event waits for its identity", || relay.running.ingest.depth() > 0).await;
    let api = relay.api();
    let ask = async || send(api, "GET", "/_health", &[]).await;
    assert_eq!(ask().await.status, 200);

    let told = async {
        loop {
            let answer = ask().await;
            if answer.status == 503 {
                return answer.json()["reasons"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let (stopped, reasons) = tokio::join!(relay.running.stop(), told);

    stopped.unwrap();
    assert_eq!(reasons, serde_json::json!(["the relay is shutting down"]));
}
