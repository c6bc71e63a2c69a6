//! Clients behind a proxy: whose limits are taken, and whose word counts (SEC-7).
//!
//! The proxy is this test: it connects from 127.0.0.1 and writes the header, as Caddy does. That a real
//! Caddy writes it so is tested with the Caddyfile.

use crate::{
    http::{open, post, send},
    relay::{PASSWORD, Relay},
};

const FIREHOSE: &str = "/xrpc/com.atproto.sync.subscribeRepos";
const CRAWL: &str = "/xrpc/com.atproto.sync.requestCrawl";
/// Wrong passwords that cost nothing; the next one must wait.
const FREE_FAILURES: usize = 6;
/// Calls of requestCrawl per client and minute.
const CRAWLS_PER_MINUTE: usize = 10;
/// Consumers of one client.
const PER_CLIENT_MAX: usize = 50;

fn forwarded(chain: &str) -> String {
    format!("X-Forwarded-For: {chain}")
}

/// One try at the admin API.
async fn login(relay: &Relay, password: &str, chain: &str) -> u16 {
    let (password, chain) = (format!("Authorization: Bearer {password}"), forwarded(chain));
    send(relay.running.admin, "GET", "/admin/v1/status", &[&password, &chain]).await.status
}

async fn crawl(relay: &Relay, chain: &str) -> u16 {
    // Refused for its name, after it was counted.
    let body = "{\"hostname\":\"user@example.com\"}";
    post(relay.api(), CRAWL, &[&forwarded(chain)], body).await.status
}

/// Setting `trusted_proxies`, SEC-7: one client who guesses passwords, asks for crawls or opens streams
/// without end keeps nobody out who comes through the same proxy.
#[tokio::test]
async fn a_client_is_counted_by_the_address_that_a_proxy_names() {
    let relay = Relay::start_with(&[("RELAY_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")]).await;
    let (guest, other) = ("203.0.113.1", "203.0.113.2, 10.7.7.7");

    for _ in 0..FREE_FAILURES {
        assert_eq!(login(&relay, "wrong", guest).await, 401);
    }
    assert_eq!(login(&relay, PASSWORD, guest).await, 429);
    // What a client writes itself stands left of its own address, and changes nothing.
    assert_eq!(login(&relay, PASSWORD, &format!("192.0.2.9, {guest}")).await, 429);
    assert_eq!(login(&relay, PASSWORD, other).await, 200, "the next one is not touched");

    for _ in 0..CRAWLS_PER_MINUTE {
        assert_eq!(crawl(&relay, guest).await, 400);
    }
    assert_eq!(crawl(&relay, guest).await, 429);
    assert_eq!(crawl(&relay, other).await, 400);

    let mut open_streams = Vec::new();
    for _ in 0..PER_CLIENT_MAX {
        let (answer, socket) = stream(&relay, guest).await;
        assert_eq!(answer, 101);
        open_streams.push(socket);
    }
    assert_eq!(stream(&relay, guest).await.0, 429);
    let (answer, _socket) = stream(&relay, other).await;
    assert_eq!(answer, 101);
    relay.until("all are there", || relay.running.firehose.count() == PER_CLIENT_MAX + 1).await;
    let shown = relay.admin("/admin/consumers/list").await.json();
    let addresses: Vec<_> =
        shown.as_array().unwrap().iter().map(|row| row["remote_addr"].clone()).collect();
    let of = |address: &str| addresses.iter().filter(|shown| *shown == address).count();
    assert_eq!((of(guest), of("203.0.113.2")), (PER_CLIENT_MAX, 1), "{addresses:?}");
    relay.stop().await;
}

/// Setting `max_consumers_per_client`: one client cannot take the places of all.
#[tokio::test]
async fn a_client_has_as_many_streams_as_the_settings_say() {
    let relay = Relay::start_with(&[
        ("RELAY_TRUSTED_PROXIES", "127.0.0.1"),
        ("RELAY_MAX_CONSUMERS_PER_CLIENT", "2"),
    ])
    .await;
    let mut open_streams = Vec::new();
    for (client, status) in
        [("203.0.113.1", 101), ("203.0.113.1", 101), ("203.0.113.1", 429), ("203.0.113.2", 101)]
    {
        let (answer, socket) = stream(&relay, client).await;
        assert_eq!(answer, status, "{client}");
        open_streams.push(socket);
    }
    relay.stop().await;
}

/// The status of an attempt to become a consumer, and its socket.
async fn stream(relay: &Relay, chain: &str) -> (u16, tokio::net::TcpStream) {
    let request = format!(
        "GET {FIREHOSE} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n\r\n",
        forwarded(chain)
    );
    let (answer, socket) = open(relay.api(), &request).await;
    (answer.status, socket)
}

/// SEC-7: a stranger who invents an address for each guess is still one client, whether the header is
/// ignored altogether or only taken from others.
#[tokio::test]
async fn inventing_addresses_does_not_help_a_stranger() {
    for trusted in ["", "192.0.2.0/24,::1"] {
        let relay = Relay::start_with(&[("RELAY_TRUSTED_PROXIES", trusted)]).await;
        for number in 0..FREE_FAILURES {
            let invented = format!("203.0.113.{number}");
            assert_eq!(login(&relay, "wrong", &invented).await, 401);
        }
        assert_eq!(login(&relay, "wrong", "203.0.113.99").await, 429, "{trusted:?}");

        let (answer, _socket) = stream(&relay, "203.0.113.99").await;
        assert_eq!(answer, 101);
        relay.until("it is there", || relay.running.firehose.count() == 1).await;
        let shown = relay.admin("/admin/consumers/list").await;
        assert_eq!(shown.status, 429, "the guesser has this address");
        let consumers = relay.running.firehose.consumers();
        assert_eq!(consumers[0].address.to_string(), "127.0.0.1", "{consumers:?}");
        relay.stop().await;
    }
}

/// A proxy whose header nobody can read is itself the client, as without the setting; a local one of
/// these stands for many and is not cut off.
#[tokio::test]
async fn a_header_that_cannot_be_read_counts_as_none() {
    let relay = Relay::start_with(&[("RELAY_TRUSTED_PROXIES", "127.0.0.1")]).await;
    for chain in ["unknown", "203.0.113.1,", "\u{e9}", "127.0.0.1", "[::1"] {
        for _ in 0..CRAWLS_PER_MINUTE {
            let status = crawl(&relay, chain).await;
            assert_eq!(status, 400, "{chain}");
        }
    }
    for number in 0..FREE_FAILURES {
        assert_eq!(login(&relay, "wrong", &format!("unknown{number}")).await, 401);
    }
    assert_eq!(login(&relay, "wrong", "unknown").await, 429, "they are one client");
    relay.stop().await;
}
