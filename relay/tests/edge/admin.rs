//! The admin API: who comes in, and what operators read and do (API-6, I7, DESIGN 10.15).

use relay_simnet::{Consumer, Fault, Start};

use crate::{
    http::{post, send},
    relay::{PASSWORD, Relay},
};

/// API-6: 401 asks for a password; wrong ones are slowed down; a right one is the control.
#[tokio::test]
async fn without_the_password_nobody_reads_or_changes_anything() {
    let relay = Relay::start().await;
    let at = relay.running.admin;
    let paths = ["/admin/v1/status", "/admin/v1/why", "/admin/v1/hosts", "/admin/pds/list"];
    for path in paths {
        let answer = send(at, "GET", path, &[]).await;
        assert_eq!((answer.status, answer.error().as_str()), (401, "Unauthorized"), "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
        assert_eq!(relay.admin(path).await.status, 200, "{path}");
    }
    let added = post(at, "/admin/v1/hosts", &[], "{\"hostnames\":[]}").await;
    assert_eq!(added.status, 401);
    // "admin:edge-password"
    let basic = ["Authorization: Basic YWRtaW46ZWRnZS1wYXNzd29yZA=="];
    assert_eq!(send(at, "GET", "/admin/v1/status", &basic).await.status, 200);
    assert_eq!(
        send(relay.api(), "GET", "/admin/v1/status", &basic).await.status,
        404,
        "not public"
    );

    let wrong = ["Authorization: Bearer guess"];
    let mut slowed = 0;
    for _ in 0..10 {
        let answer = send(at, "GET", "/admin/v1/status", &wrong).await;
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
        slowed += usize::from(answer.status == 429 && answer.header("retry-after").is_some());
    }
    assert!(slowed >= 3, "{slowed}");
    relay.stop().await;
}

/// I7, VAL-21: a dropped event is explained by account and by host, in words with details.
#[tokio::test]
async fn why_explains_a_dropped_event() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let bad = alice.with(Fault::HighS).post("bad").await.unwrap();
    relay.settled().await;

    let why = relay.admin(&format!("/admin/v1/why?did={}", alice.did())).await.json();
    let drop = &why["drops"][0];
    assert_eq!(drop["reason"], "bad_signature", "{why}");
    assert!(drop["words"].as_str().unwrap().contains("signature"));
    assert_eq!(drop["host"], pds.hostname());
    assert_eq!(drop["hostSeq"], bad.seq);
    assert_eq!(drop["kind"], "#commit");
    assert!(drop["time"].as_str().unwrap().ends_with('Z'));
    assert!(drop["detail"].is_string());
    assert_eq!(why["account"]["host"], pds.hostname());
    assert_eq!(why["account"]["active"], true);
    assert!(why["account"]["rev"].is_string());

    let why = relay.admin(&format!("/admin/v1/why?host={}", pds.hostname())).await.json();
    assert_eq!(why["totals"]["bad_signature"], 1);
    assert_eq!(why["drops"][0]["did"], alice.did());
    assert_eq!(why["host"]["connected"], true);
    let totals = relay.admin("/admin/v1/why").await.json();
    assert_eq!(totals["totals"]["bad_signature"], 1);

    let stranger = relay.admin("/admin/v1/why?did=did:web:unknown.example.com").await.json();
    assert_eq!((&stranger["account"], &stranger["drops"]), (&().into(), &serde_json::json!([])));
    for (query, status) in [
        ("did=nonsense", 400),
        ("host=a%20b", 400),
        ("host=unknown.example.com", 404),
        ("did=did:web:a.com&host=b.com", 400),
    ] {
        assert_eq!(relay.admin(&format!("/admin/v1/why?{query}")).await.status, status, "{query}");
    }
    relay.stop().await;
}

/// A batch has one result per name, in order; one wrong name spoils nothing.
#[tokio::test]
async fn hosts_are_added_in_batches_with_a_result_each() {
    let relay = Relay::start().await;
    let (alpha, beta) =
        (relay.net.pds("alpha").await.unwrap(), relay.net.pds("beta").await.unwrap());
    let password = format!("Authorization: Bearer {PASSWORD}");
    let add = async |body: String| {
        post(relay.running.admin, "/admin/v1/hosts", &[&password], &body).await
    };

    let names = serde_json::json!({ "hostnames": [alpha.hostname(), "10.0.0.1", beta.hostname()] });
    let answer = add(names.to_string()).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()["hosts"].clone();
    assert_eq!((&results[0]["hostname"], &results[0]["id"]), (&alpha.hostname().into(), &1.into()));
    assert_eq!(
        (&results[1]["hostname"], &results[1]["error"]),
        (&"10.0.0.1".into(), &"InvalidRequest".into())
    );
    assert_eq!(results[2]["hostname"], beta.hostname());
    alpha.connected().await.unwrap();
    beta.connected().await.unwrap();

    let many = serde_json::json!({ "hostnames": vec!["a.example.com"; 1_001] });
    assert_eq!(add(many.to_string()).await.status, 400);
    assert_eq!(add("{\"hostnames\":\"a.example.com\"}".to_owned()).await.status, 400);
    relay.stop().await;
}

/// Lists for operators and for scripts of the reference relay show the same hosts and consumers.
#[tokio::test]
async fn operators_see_hosts_and_consumers() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    relay.account(&pds, "alice").await;
    let url = format!("ws://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    let events = consumer.take(2).await.unwrap();
    relay
        .until("the consumer is at the head", || {
            relay
                .running
                .firehose
                .consumers()
                .iter()
                .any(|one| one.seq == relay.running.log.window().head.0)
        })
        .await;

    let hosts = relay.admin("/admin/v1/hosts").await.json();
    assert_eq!(hosts.get("cursor"), None);
    assert_eq!(hosts["hosts"][0]["hostname"], pds.hostname());
    assert_eq!(hosts["hosts"][0]["accountCount"], 1);
    let reference = relay.admin("/admin/pds/list").await.json();
    assert_eq!(
        (&reference[0]["Host"], &reference[0]["SSL"]),
        (&pds.hostname().into(), &false.into())
    );
    assert_eq!(reference[0]["HasActiveConnection"], true);
    let connected = relay.admin("/admin/subs/getUpstreamConns").await.json();
    assert_eq!(connected, serde_json::json!([pds.hostname()]));

    let consumers = relay.admin("/admin/consumers/list").await.json();
    assert_eq!(consumers.as_array().unwrap().len(), 1);
    assert_eq!(consumers[0]["remote_addr"], "127.0.0.1");
    assert_eq!(consumers[0]["events_behind"], 0);
    assert!(consumers[0]["events_consumed"].as_u64().unwrap() >= events.len() as u64);
    let status = relay.admin("/admin/v1/status").await.json();
    assert_eq!(status["hosts"], serde_json::json!({ "known": 1, "connected": 1 }));
    assert_eq!((&status["consumers"], &status["troubles"]), (&1.into(), &serde_json::json!([])));
    relay.stop().await;
}

/// DESIGN 10.15: both on one address, like the reference relay.
#[tokio::test]
async fn public_and_admin_may_share_an_address() {
    // Free a moment ago; the relay must be told one address twice.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let relay = Relay::start_with(&[("RELAY_API_BIND", &free), ("RELAY_ADMIN_BIND", &free)]).await;
    assert_eq!(relay.api(), relay.running.admin);

    assert_eq!(relay.admin("/admin/v1/status").await.status, 200);
    let outside = send(relay.api(), "GET", "/admin/v1/status", &[]).await;
    assert_eq!(outside.status, 401);
    assert_eq!(outside.header("access-control-allow-origin"), None, "no CORS for admin");
    let public = relay.sync("listHosts").await;
    assert_eq!((public.status, public.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(relay.sync("nothing").await.error(), "MethodNotImplemented");
    assert_eq!(send(relay.api(), "GET", "/nothing", &[]).await.error(), "NotFound");
    relay.stop().await;
}
