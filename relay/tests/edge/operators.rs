//! Rules that hold for every endpoint of operators, found by walking the router (API-6).

use relay_simnet::{Consumer, Start};
use serde_json::{Value, json};

use crate::{
    http::{post, send},
    relay::{PASSWORD, Relay},
};

fn password() -> String {
    format!("Authorization: Bearer {PASSWORD}")
}

/// API-6, SEC-6: every endpoint that there is answers 401 without a password and with an empty one, and
/// a change that was asked for did not happen.
#[tokio::test]
async fn no_endpoint_of_operators_answers_without_a_password() {
    let relay = Relay::start().await;
    let at = relay.running.admin;
    let routes = relay::api::admin_routes();
    assert!(routes.len() > 15 && routes.iter().all(|(_, path)| path.starts_with("/admin/")));
    // An empty password belongs to a client that gives none: neither is slowed down as a guess is.
    for (method, path) in &routes {
        for headers in [&[][..], &["Authorization: Bearer "], &["Authorization: Basic !"]] {
            let answer = send(at, method, path, headers).await;
            assert_eq!((answer.status, answer.error().as_str()), (401, "Unauthorized"), "{path}");
        }
        let known = send(at, method, path, &[&password()]).await;
        assert_ne!(known.status, 401, "control: {method} {path}");
        assert_ne!(known.status, 404, "control: {method} {path} is there: {known:?}");
    }
    relay.stop().await;
}

/// DESIGN 10.15: on the public listener there is no trace of any of them, with the password or without,
/// unless the operator put both on one address.
#[tokio::test]
async fn no_endpoint_of_operators_is_on_the_public_listener() {
    let relay = Relay::start().await;
    for (method, path) in relay::api::admin_routes() {
        for headers in [vec![], vec![password()]] {
            let headers: Vec<_> = headers.iter().map(String::as_str).collect();
            let answer = send(relay.api(), method, path, &headers).await;
            assert_eq!((answer.status, answer.error().as_str()), (404, "NotFound"), "{path}");
        }
    }
    relay.stop().await;

    let free =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let relay = Relay::start_with(&[("RELAY_API_BIND", &free), ("RELAY_ADMIN_BIND", &free)]).await;
    for (method, path) in relay::api::admin_routes() {
        assert_eq!(send(relay.api(), method, path, &[]).await.status, 401, "{method} {path}");
    }
    relay.stop().await;
}

/// API-6: a hundred changes at once are all done, each is in the log once, and each row tells the state
/// that the one before it left.
#[tokio::test]
async fn a_hundred_changes_at_once_lose_none() {
    // On one address with the public API, where a client may have so many connections.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let relay = Relay::start_with(&[("RELAY_API_BIND", &free), ("RELAY_ADMIN_BIND", &free)]).await;
    let at = relay.running.admin;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let body = json!({ "did": format!("did:web:h{n}.example.com") }).to_string();
        calls.spawn(async move { post(at, "/admin/repo/takeDown", &[&password()], &body).await });
        let body = json!({ "did": "did:web:one.example.com", "note": n.to_string() }).to_string();
        let verb = if n % 2 == 0 { "suspend" } else { "takeDown" };
        let path = format!("/admin/v1/accounts/{verb}");
        calls.spawn(async move { post(at, &path, &[&password()], &body).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }

    let takedowns = relay.admin("/admin/repo/takedowns").await.json();
    let dids = takedowns["dids"].as_array().unwrap();
    let of_many = dids.iter().filter(|did| *did != "did:web:one.example.com").count();
    assert_eq!(of_many, 50, "{takedowns}");
    let audit = relay.admin("/admin/v1/audit?limit=1000").await.json();
    let rows = audit["audit"].as_array().unwrap();
    assert_eq!(rows.len(), 100);
    assert!(rows.iter().all(|row| row["outcome"] == "done" && row["client"] == "127.0.0.1"));
    let one: Vec<&Value> =
        rows.iter().rev().filter(|row| row["subject"] == "did:web:one.example.com").collect();
    let mut state = json!("none");
    for row in &one {
        assert_eq!(row["before"]["localStatus"], state, "{row}");
        state = row["after"]["localStatus"].clone();
    }
    let shown = relay.admin("/admin/v1/accounts?did=did:web:one.example.com").await.json();
    assert_eq!((one.len(), &shown["decided"]), (50, &state));
    relay.stop().await;
}

/// An operator closes one consumer; it is told, the others go on, and a stranger's number is a 404.
#[tokio::test]
async fn an_operator_closes_one_consumer() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let url = format!("ws://{}", relay.api());
    let mut first = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("the first is there", || relay.running.firehose.count() == 1).await;
    let mut second = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("both are there", || relay.running.firehose.count() == 2).await;
    let shown = relay.admin("/admin/v1/consumers").await.json();
    let id = shown["consumers"][0]["id"].clone();

    let close = async |id: &Value| {
        let body = json!({ "id": id, "note": "too many connections" }).to_string();
        post(relay.running.admin, "/admin/v1/consumers/disconnect", &[&password()], &body).await
    };
    let closed = close(&id).await;
    assert_eq!((closed.status, &closed.json()["after"]["connected"]), (200, &false.into()));
    let ended = first.until(|_| false).await.unwrap_err().to_string();
    assert!(ended.contains("closed by the operator"), "{ended}");
    alice.post("for those who stay").await.unwrap();
    assert_eq!(second.take(1).await.unwrap().len(), 1);
    relay.until("it is gone", || relay.running.firehose.count() == 1).await;
    let unknown = close(&json!(999)).await;
    assert_eq!((unknown.status, unknown.error().as_str()), (404, "ConsumerNotFound"));
    relay.stop().await;
}

/// Whether strangers may ask for their hosts is switched while the relay runs, and holds over a restart.
#[tokio::test]
async fn requests_to_crawl_are_switched_off_and_on() {
    let relay = Relay::start().await;
    let set = async |relay: &Relay, to: &str| {
        let path = format!("/admin/subs/setEnabled?enabled={to}");
        post(relay.running.admin, &path, &[&password()], "").await
    };
    let crawl = async |relay: &Relay| {
        let path = "/xrpc/com.atproto.sync.requestCrawl";
        post(relay.api(), path, &[], "{\"hostname\":\"10.0.0.1\"}").await.status
    };
    assert_eq!(relay.admin("/admin/subs/getEnabled").await.json(), json!({ "enabled": true }));
    assert_eq!(crawl(&relay).await, 400, "control: it is looked at");

    let done = set(&relay, "false").await;
    assert_eq!((done.status, done.json()), (200, json!({ "success": "true" })));
    assert_eq!(crawl(&relay).await, 403);
    let relay = relay.restarted().await;
    assert_eq!(relay.admin("/admin/subs/getEnabled").await.json(), json!({ "enabled": false }));
    assert_eq!(crawl(&relay).await, 403, "after a restart");
    assert_eq!(set(&relay, "1").await.status, 200);
    assert_eq!(crawl(&relay).await, 400);
    for wrong in ["", "maybe"] {
        assert_eq!(set(&relay, wrong).await.error(), "InvalidRequest", "{wrong}");
    }
    relay.stop().await;
}
