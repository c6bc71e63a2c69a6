//! How accounts and hosts are found.

use std::time::Duration;

use relay_simnet::{AccountOptions, Answer, Net, Pds};
use tokio::time::Instant;

use crate::{name_server::NameServer, process::until, relay::Relay};

/// Setting `plc_host`.
#[tokio::test]
async fn accounts_are_looked_up_in_the_directory_that_is_named() {
    let other = Net::seeded(9).await.unwrap();
    let relay = Relay::start_with(&[("RELAY_PLC_HOST", &other.plc().url())]).await;
    let pds = relay.host("alpha").await;

    pds.account("alice").await.unwrap();

    until("the directory is asked", async || other.plc().total_lookups() > 0).await;
    assert_eq!(relay.net.plc().total_lookups(), 0, "the other one is not");
    relay.stop().await;
}

/// Six accounts that the relay must look up.
async fn strangers_post(pds: &Pds) {
    for number in 0..6 {
        let options = AccountOptions { announced: false, ..AccountOptions::default() };
        let account = pds.account_with(&format!("a{number}"), options).await.unwrap();
        account.post("hello").await.unwrap();
    }
}

/// Setting `identity_concurrency`, RES-6: with one request at a time the next one waits for the answer,
/// however slow that is; with six a directory that never answers is asked six times.
#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way_at_the_directory() {
    const LATENCY: Duration = Duration::from_millis(400);
    let relay = Relay::start_with(&[("RELAY_IDENTITY_CONCURRENCY", "1")]).await;
    let pds = relay.host("alpha").await;
    relay.net.plc().set_latency(LATENCY);
    let started = Instant::now();
    strangers_post(&pds).await;
    until("four have been asked for", async || {
        let asked = relay.net.plc().total_lookups();
        // Looked at after the count, so that what came in between is no excuse.
        let answered = started.elapsed().as_millis() / LATENCY.as_millis();
        assert!(u128::from(asked) <= 1 + answered, "{asked} while {answered} can be answered");
        asked >= 4
    })
    .await;
    relay.stop().await;

    let relay = Relay::start_with(&[("RELAY_IDENTITY_CONCURRENCY", "6")]).await;
    let pds = relay.host("alpha").await;
    relay.net.plc().answer_all(Some(Answer::Silence));
    strangers_post(&pds).await;
    until("all are asked for", async || relay.net.plc().total_lookups() == 6).await;
}

/// Setting `plc_rate`, RES-6: one per second, however many accounts wait.
#[tokio::test]
async fn the_directory_is_not_asked_faster_than_allowed() {
    let started = Instant::now();
    let relay = Relay::start_with(&[("RELAY_PLC_RATE", "1")]).await;
    let pds = relay.host("alpha").await;
    strangers_post(&pds).await;

    until("three have been asked for", async || {
        let asked = relay.net.plc().total_lookups();
        // Looked at after the count, so that what came in between is no excuse.
        let elapsed = started.elapsed();
        assert!(asked <= 1 + elapsed.as_secs(), "{asked} in {elapsed:?}");
        asked >= 3
    })
    .await;

    assert!(started.elapsed() >= Duration::from_secs(2));
}

/// A relay that reaches its directory under a name that only this server knows.
async fn relay_asking(server: &NameServer, udp_only: &str) -> (Relay, Net) {
    let other = Net::seeded(9).await.unwrap();
    let url = other.plc().url();
    let port = url.rsplit_once(':').unwrap().1;
    let settings = [
        ("RESOLVE_ADDRESS", server.at.to_string()),
        ("FORCE_DNS_UDP", udp_only.to_owned()),
        ("RELAY_PLC_HOST", format!("http://directory.test:{port}")),
    ];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let relay = Relay::start_with(&settings).await;
    (relay, other)
}

/// Setting `resolve_address`: the server that is named is asked, and its answer is used.
#[tokio::test]
async fn names_are_resolved_by_the_server_that_is_named() {
    let server = NameServer::start(false).await;
    let (relay, other) = relay_asking(&server, "false").await;
    assert_eq!(server.asked_over_udp(), 0);
    let pds = relay.host("alpha").await;

    pds.account("alice").await.unwrap();

    until("the directory is found", async || other.plc().total_lookups() > 0).await;
    assert!(server.asked_over_udp() > 0);
    assert_eq!(server.asked_over_tcp(), 0, "there was no need");
    relay.stop().await;
}

/// Whether a directory is found when the server cuts its answers short, and whether TCP was tried.
async fn finds_over_tcp(udp_only: &str) -> (bool, bool) {
    let server = NameServer::start(true).await;
    let (relay, other) = relay_asking(&server, udp_only).await;
    let pds = relay.host("alpha").await;
    pds.account("alice").await.unwrap();
    // A third question shows that the first two are over, and with them a whole attempt.
    until("it is found or asked for again", async || {
        other.plc().total_lookups() > 0 || server.asked_over_udp() > 2
    })
    .await;
    (other.plc().total_lookups() > 0, server.asked_over_tcp() > 0)
}

/// Setting `force_dns_udp`: an answer that does not fit into a datagram is fetched over TCP, or not.
#[tokio::test]
async fn answers_cut_short_are_fetched_over_tcp_unless_forbidden() {
    let (forbidden, allowed) = tokio::join!(finds_over_tcp("true"), finds_over_tcp("false"));
    assert_eq!(forbidden, (false, false));
    assert_eq!(allowed, (true, true));
}
