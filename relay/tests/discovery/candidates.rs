//! Hosts that nobody told us of, found in DID documents.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::Query, response::IntoResponse as _, routing::get};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    http::{Answer, post, send},
    relay::{PASSWORD, Relay},
};

async fn scan(relay: &Relay, add: bool) -> Answer {
    let password = format!("Authorization: Bearer {PASSWORD}");
    let body = json!({ "rate": 10, "add": add }).to_string();
    post(relay.running.admin, "/admin/v1/scanDirectory", &[&password], &body).await
}

async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn candidate(relay: &Relay, hostname: &str) -> Option<Value> {
    let all = relay.admin("/admin/v1/candidates").await.json();
    let all = all["candidates"].as_array().unwrap();
    all.iter().find(|row| row["hostname"] == hostname).cloned()
}

/// Setting `host_candidates`: an account moves to a host that nobody told us of; an operator sees that
/// host, or it is admitted as if it had asked, or nothing comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_a_document_names_is_ignored_listed_or_admitted() {
    for mode in ["off", "list", "add"] {
        let relay = Relay::start_with(&[("RELAY_HOST_CANDIDATES", mode)]).await;
        let home = relay.host("home").await;
        let away = relay.net.pds("away").await.unwrap();
        let account = relay.account(&home, "alice").await;
        account.migrate_to(&away).await.unwrap();
        account.through(&home).identity(None).await.unwrap();
        let known = relay.running.hosts.by_name(&home.hostname()).unwrap();
        let is_judged = || known.mark().is_some_and(|(_, mark)| mark.0 >= home.head());
        relay.until("the old host's word is judged", is_judged).await;
        match mode {
            "off" => assert_eq!(candidate(&relay, &away.hostname()).await, None),
            "list" => {
                let found = until(async || candidate(&relay, &away.hostname()).await).await;
                assert_eq!(
                    (&found["did"], &found["wanted"]),
                    (&account.did().into(), &false.into())
                );
                assert!(relay.running.hosts.by_name(&away.hostname()).is_none());
            }
            _ => {
                away.connected().await.unwrap();
                assert_eq!(away.requests("describeServer"), 1, "it was asked like any other");
            }
        }
        relay.stop().await;
    }
}

/// What the second page of the directory's export is.
#[derive(Clone, Copy, PartialEq)]
enum Second {
    Refused,
    Silent,
    There,
}

/// The export of a directory with two pages, each of which names one host.
struct Export {
    url: String,
    listener: Option<TcpListener>,
    /// The places that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    second: Arc<Mutex<Second>>,
    server: Option<tokio::task::JoinHandle<()>>,
}

impl Export {
    async fn bind(second: Second) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let second = Arc::new(Mutex::new(second));
        Self { url, listener: Some(listener), asked: Arc::default(), second, server: None }
    }

    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
    fn serve(&mut self, urls: [String; 2]) {
        let (asked, second) = (Arc::clone(&self.asked), Arc::clone(&self.second));
        let export = move |Query(query): Query<BTreeMap<String, String>>| async move {
            asked.lock().unwrap().push(query["after"].clone());
            let after: u64 = query["after"].parse().unwrap();
            let second = *second.lock().unwrap();
            if after > 0 && second == Second::Refused {
                return StatusCode::BAD_REQUEST.into_response();
            }
            if after > 0 && second == Second::Silent {
                std::future::pending::<()>().await;
            }
            let lines = (after + 1..=1_500).take(1_000).map(|seq| {
                let host = &urls[usize::from(seq > 1_000)];
                let did = format!("did:plc:{}", "a".repeat(24));
                let operation = json!({
                    "type": "plc_operation",
                    "services": { "atproto_pds": { "type": "x", "endpoint": host } },
                });
                json!({ "type": "sequenced_op", "seq": seq, "did": did, "operation": operation })
                    .to_string()
            });
            lines.collect::<Vec<_>>().join("\n").into_response()
        };
        let listener = self.listener.take().unwrap();
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/export", get(export))).await.unwrap();
        }));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// The run through the directory, in this state.
async fn scanned(relay: &Relay, state: &str) -> Value {
    until(async || {
        let pulls = relay.admin("/admin/v1/pull").await.json();
        let mut pulls = pulls["pulls"].as_array().unwrap().iter();
        pulls.find(|pull| pull["from"] == "directory" && pull["status"] == state).cloned()
    })
    .await
}

/// PLC-1, PLC-4: an operator has the directory's operations read; it goes on where it was, also after a
/// restart, and the hosts that it found are admitted or listed.
#[tokio::test(flavor = "multi_thread")]
async fn the_operations_of_the_directory_name_hosts() {
    let mut export = Export::bind(Second::Refused).await;
    let relay = Relay::start_with(&[("RELAY_PLC_HOST", export.url.as_str())]).await;
    let (one, two) = (relay.net.pds("one").await.unwrap(), relay.net.pds("two").await.unwrap());
    export.serve([one.url(), two.url()]);

    assert_eq!(scan(&relay, false).await.status, 200);
    scanned(&relay, "stopped").await;
    assert!(candidate(&relay, &one.hostname()).await.is_some());
    until(async || relay.running.hosts.all().is_empty().then_some(())).await;
    let relay = relay.restarted().await;
    *export.second.lock().unwrap() = Second::There;
    scan(&relay, true).await;
    let done = scanned(&relay, "finished").await;

    assert_eq!((&done["listed"], &done["added"]), (&json!(500), &json!(1)));
    assert_eq!(export.asked(), ["0", "1000", "1000"]);
    two.connected().await.unwrap();
    assert!(relay.running.hosts.by_name(&one.hostname()).is_none(), "it was only listed");
    assert_eq!(scan(&relay, true).await.status, 200, "what is new since is read from there on");
    relay.stop().await;
}

/// PLC-1: a run that a restart came into goes on by itself from where it was, and still admits what it
/// finds; metrics say how far it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_through_the_directory_goes_on_by_itself_after_a_restart() {
    let mut export = Export::bind(Second::Silent).await;
    let relay = Relay::start_with(&[("RELAY_PLC_HOST", export.url.as_str())]).await;
    let (one, two) = (relay.net.pds("one").await.unwrap(), relay.net.pds("two").await.unwrap());
    export.serve([one.url(), two.url()]);
    assert_eq!(scan(&relay, true).await.status, 200);
    relay.until("the second page is asked for", || export.asked() == ["0", "1000"]).await;
    let metrics = send(relay.running.metrics, "GET", "/metrics", &[]).await.body;
    for line in [
        "relay_discovery_running{list=\"directory\"} 1",
        "relay_discovery_pages_total{list=\"directory\",outcome=\"read\"}",
        "relay_discovery_candidates_limit 20000",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    let relay = relay.restarted().await;
    relay.until("it is asked for again", || export.asked().len() > 2).await;
    assert_eq!(export.asked()[2], "1000");
    *export.second.lock().unwrap() = Second::There;
    let relay = relay.restarted().await;

    let done = scanned(&relay, "finished").await;
    assert_eq!(done["listed"], 1_500, "both pages belong to one run");
    two.connected().await.unwrap();
    one.connected().await.unwrap();
    let relay = relay.restarted().await;
    assert_eq!(scanned(&relay, "finished").await["listed"], 1_500);
    assert_eq!(export.asked().len(), 4, "what was finished is not read again by itself");
    relay.stop().await;
}
