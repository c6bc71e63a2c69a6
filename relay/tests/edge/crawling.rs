//! `requestCrawl`: who may be added, and what the others are told (HOST-2…4).

use crate::{
    http::post,
    relay::{PASSWORD, Relay},
};

const CRAWL: &str = "/xrpc/com.atproto.sync.requestCrawl";

/// HOST-3: a host that answers is added and read; the answer has no body.
#[tokio::test]
async fn a_host_that_answers_is_added_and_read() {
    let relay = Relay::start().await;
    let pds = relay.net.pds("alpha").await.unwrap();
    let body = format!("{{\"hostname\":\"{}\"}}", pds.hostname());

    let answer = post(relay.api(), CRAWL, &["Content-Type: application/json"], &body).await;

    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    pds.connected().await.unwrap();
    let again = post(relay.api(), CRAWL, &[], &body).await;
    assert_eq!(again.status, 200, "already connected");
    relay.stop().await;
}

/// HOST-2, spec 12: each refusal has its status and name.
#[tokio::test]
async fn wrong_requests_are_refused_with_their_names() {
    let relay = Relay::start().await;
    let down = relay.net.pds("down").await.unwrap();
    let unreachable = format!("{{\"hostname\":\"{}\"}}", down.hostname());
    down.down();
    let large = format!("{{\"hostname\":\"{}\"}}", "x".repeat(17_000));
    let rows = [
        ("", 400, "InvalidRequest"),
        ("{}", 400, "InvalidRequest"),
        ("[]", 400, "InvalidRequest"),
        ("{\"hostname\":7}", 400, "InvalidRequest"),
        ("{\"hostname\":\"\"}", 400, "InvalidRequest"),
        ("{\"hostname\":\"10.0.0.1\"}", 400, "InvalidRequest"),
        ("{\"hostname\":\"user@example.com\"}", 400, "InvalidRequest"),
        ("{\"hostname\":\"example.com:8080\"}", 400, "InvalidRequest"),
        ("{\"hostname\":\"ftp://example.com\"}", 400, "InvalidRequest"),
        (unreachable.as_str(), 400, "HostNotFound"),
        (large.as_str(), 413, "InvalidRequest"),
    ];
    for (body, status, name) in rows {
        let answer = post(relay.api(), CRAWL, &[], body).await;
        let shown = body.get(..60).unwrap_or(body);
        assert_eq!((answer.status, answer.error().as_str()), (status, name), "{shown}");
    }
    assert!(relay.running.hosts.all().is_empty(), "nobody was added");
    relay.stop().await;
}

/// Setting `disable_request_crawl`: strangers are refused, the operator is not.
#[tokio::test]
async fn a_relay_that_adds_by_hand_refuses_strangers_only() {
    let relay = Relay::start_with(&[("RELAY_DISABLE_REQUEST_CRAWL", "true")]).await;
    let pds = relay.net.pds("alpha").await.unwrap();
    let body = format!("{{\"hostname\":\"{}\"}}", pds.hostname());

    let stranger = post(relay.api(), CRAWL, &[], &body).await;
    assert_eq!((stranger.status, stranger.error().as_str()), (403, "Forbidden"));
    assert!(relay.running.hosts.all().is_empty());

    let password = format!("Authorization: Bearer {PASSWORD}");
    let path = "/admin/pds/requestCrawl";
    let operator = post(relay.running.admin, path, &[&password], &body).await;
    assert_eq!((operator.status, operator.body.as_str()), (200, ""));
    pds.connected().await.unwrap();
    relay.stop().await;
}
