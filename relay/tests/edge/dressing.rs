//! What all answers have in common: `Server`, CORS, JSON errors (API-1, WS-11), and what they do not
//! have.

use crate::{
    http::{open, post, send},
    relay::Relay,
};

const SUBSCRIBE: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// WS-11: every answer, also errors and the 101, names the software and the mark of a relay.
#[tokio::test]
async fn every_answer_names_the_software_and_is_open_to_browsers() {
    let relay = Relay::start().await;
    let at = relay.api();
    let long = format!("/{}", "x".repeat(9_000));
    let rows = [
        (send(at, "GET", "/", &[]).await, 200),
        (send(at, "HEAD", "/", &[]).await, 200),
        (send(at, "GET", "/xrpc/_health", &[]).await, 200),
        (send(at, "GET", "/nothing", &[]).await, 404),
        (send(at, "GET", &long, &[]).await, 414),
        (send(at, "POST", "/", &[]).await, 405),
        (send(at, "GET", "/xrpc/com.example.unknown", &[]).await, 501),
        (send(at, "GET", "/xrpc/com.atproto.sync.requestCrawl", &[]).await, 405),
        (send(at, "GET", "/xrpc/com.atproto.sync.getRepo", &[]).await, 400),
        (send(at, "GET", SUBSCRIBE, &[]).await, 426),
        (send(at, "POST", SUBSCRIBE, &[]).await, 405),
        (send(at, "GET", &format!("{SUBSCRIBE}?cursor=x"), &[]).await, 400),
        (post(at, "/xrpc/com.atproto.sync.requestCrawl", &[], "{}").await, 400),
    ];
    let expected = format!("relay/{} (atproto-relay)", env!("CARGO_PKG_VERSION"));
    for (answer, status) in &rows {
        assert_eq!(answer.status, *status, "{answer:?}");
        assert_eq!(answer.header("server"), Some(expected.as_str()), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
    }
    for answer in [&rows[3].0, &rows[4].0, &rows[5].0, &rows[6].0, &rows[7].0] {
        assert!(!answer.error().is_empty(), "API-1: {answer:?}");
    }
    assert_eq!(rows[7].0.header("allow"), Some("POST"));

    let request = format!(
        "GET {SUBSCRIBE} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (switched, socket) = open(at, &request).await;
    assert_eq!(switched.status, 101);
    assert_eq!(switched.header("server"), Some(expected.as_str()));
    drop(socket);
    relay.stop().await;
}

/// WS-9: compression that a consumer offers is not taken up.
#[tokio::test]
async fn no_compression_is_agreed_to() {
    let relay = Relay::start().await;
    let request = format!(
        "GET {SUBSCRIBE} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    );
    let (switched, socket) = open(relay.api(), &request).await;
    assert_eq!(switched.status, 101);
    assert!(switched.header("sec-websocket-accept").is_some(), "control: {switched:?}");
    assert_eq!(switched.header("sec-websocket-extensions"), None);
    drop(socket);
    relay.stop().await;
}

/// API-5: the header by which app views tell how fresh they are is none of a relay's.
#[tokio::test]
async fn the_header_of_app_views_is_not_sent() {
    let relay = Relay::start().await;
    for method in ["listRepos", "listHosts", "getLatestCommit?did=did:web:example.com"] {
        let answer = relay.sync(method).await;
        assert!(answer.header("server").is_some(), "control: {answer:?}");
        assert_eq!(answer.header("atproto-repo-rev"), None, "{answer:?}");
    }
    relay.stop().await;
}

/// API-1: a browser may ask before it sends JSON; the admin API is not for browsers of others.
#[tokio::test]
async fn browsers_are_let_in_to_xrpc_and_not_to_the_admin_api() {
    let relay = Relay::start().await;
    let ask = ["Origin: https://example.net", "Access-Control-Request-Method: POST"];
    let crawl = "/xrpc/com.atproto.sync.requestCrawl";

    let let_in = send(relay.api(), "OPTIONS", crawl, &ask).await;
    assert_eq!(let_in.status, 204);
    assert!(let_in.header("access-control-allow-methods").unwrap().contains("POST"));

    let kept_out = send(relay.running.admin, "OPTIONS", "/admin/pds/requestCrawl", &ask).await;
    assert_ne!(kept_out.status, 204);
    assert_eq!(kept_out.header("access-control-allow-origin"), None);
    relay.stop().await;
}

/// Spec 12: deprecated and foreign methods are 501 and say what to do instead.
#[tokio::test]
async fn methods_that_a_relay_does_not_serve_are_501_with_a_hint() {
    let relay = Relay::start().await;
    let rows = [
        ("getHead?did=did:web:example.com", "getLatestCommit"),
        ("getCheckout", "getRepo"),
        ("notifyOfUpdate", "requestCrawl"),
        ("getRecord", "host"),
        ("getBlob", "host"),
        ("listBlobs", "host"),
        ("getBlocks", "host"),
    ];
    for (method, hint) in rows {
        let answer = relay.sync(method).await;
        assert_eq!((answer.status, answer.error().as_str()), (501, "MethodNotImplemented"));
        assert!(answer.body.contains(hint), "{}", answer.body);
    }
    relay.stop().await;
}

/// Spec 12: `/` is for people, health for machines, metrics for the third listener only.
#[tokio::test]
async fn home_health_and_metrics_are_where_they_belong() {
    let relay = Relay::start_with(&[("RELAY_CONTACT", "mailto:relay@example.com")]).await;
    let home = send(relay.api(), "GET", "/", &[]).await;
    for part in ["atproto relay", "mailto:relay@example.com", SUBSCRIBE] {
        assert!(home.body.contains(part), "{}", home.body);
    }
    for path in ["/_health", "/xrpc/_health"] {
        let health = send(relay.api(), "GET", path, &[]).await;
        assert_eq!((health.status, &health.json()["status"]), (200, &"ok".into()));
        assert_eq!(health.header("cache-control"), Some("no-store"));
    }
    assert_eq!(send(relay.running.metrics, "GET", "/_health", &[]).await.status, 200);

    let metrics = send(relay.running.metrics, "GET", "/metrics", &[]).await;
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for part in [
        "# HELP relay_firehose_consumers_depth ",
        "relay_process_resident_bytes ",
        "relay_eventlog_head_seq ",
        "relay_api_requests_total{route=\"/_health\",class=\"2xx\"}",
    ] {
        assert!(metrics.body.contains(part), "{part} is missing");
    }
    assert_eq!(send(relay.api(), "GET", "/metrics", &[]).await.status, 404);
    relay.stop().await;
}
