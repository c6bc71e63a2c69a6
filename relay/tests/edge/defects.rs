//! Defects of the reference relay that are seen at the edge; docs/reference-defects.md has them all.

use std::{collections::BTreeMap, time::Duration};

use relay::domain::HostStatus;
use relay_simnet::{AccountOptions, Consumer, Ipld, Kind, Pds, Start};
use serde_json::json;

use crate::{
    http::{post, send},
    relay::{PASSWORD, Relay},
};

/// Defect 18: a program that walks a list need not know that there may be none.
#[tokio::test]
async fn an_empty_list_is_a_list() {
    let relay = Relay::start().await;
    for path in ["/admin/pds/list", "/admin/consumers/list"] {
        assert_eq!(relay.admin(path).await.json(), json!([]), "{path}");
    }
    for (method, list) in [("listRepos", "repos"), ("listHosts", "hosts")] {
        assert_eq!(relay.sync(method).await.json()[list], json!([]), "{method}");
    }
    assert_eq!(relay.admin("/admin/v1/hosts").await.json()["hosts"], json!([]));
    relay.stop().await;
}

/// Defect 14: a host that an operator disconnected is not dialled by the next start, but when it asks.
#[tokio::test]
async fn a_host_that_was_disconnected_stays_so_over_a_restart() {
    let relay = Relay::start().await;
    let (alpha, beta) = (relay.host("alpha").await, relay.host("beta").await);
    let kill = format!("/admin/subs/killUpstream?host={}", alpha.hostname());
    let password = format!("Authorization: Bearer {PASSWORD}");
    assert_eq!(post(relay.running.admin, &kill, &[&password], "").await.status, 200);
    alpha.disconnected().await.unwrap();

    let relay = relay.restarted().await;

    let view = |pds: &Pds| relay.running.hosts.view(&pds.hostname()).unwrap();
    relay.until("the other host is read again", || view(&beta).connected).await;
    assert_eq!((view(&alpha).status, view(&alpha).connected), (HostStatus::Idle, false));
    let body = json!({ "hostname": alpha.hostname() }).to_string();
    let crawl = "/xrpc/com.atproto.sync.requestCrawl";
    assert_eq!(post(relay.api(), crawl, &[], &body).await.status, 200);
    alpha.connected().await.unwrap();
    relay.stop().await;
}

/// Defect 20: whoever runs a host reads in each line of its log which relay asks and whom to write to.
#[tokio::test]
async fn every_request_to_a_host_says_who_asks() {
    let contact = "https://relay.example.com/contact";
    let relay = Relay::start_with(&[("RELAY_CONTACT", contact)]).await;
    let pds = relay.net.pds("alpha").await.unwrap();
    let body = json!({ "hostname": pds.hostname() }).to_string();
    let crawl = "/xrpc/com.atproto.sync.requestCrawl";
    assert_eq!(post(relay.api(), crawl, &[], &body).await.status, 200);
    pds.connected().await.unwrap();
    let alice = relay.account(&pds, "alice").await;
    // The relay asks for its status when the account writes although it said that it would not.
    alice.deactivate().await.unwrap();
    alice.set_status_in_silence(true, None).await.unwrap();
    alice.post("back").await.unwrap();
    relay.settled().await;

    let seen = pds.seen();
    for method in ["describeServer", "subscribeRepos", "getRepoStatus"] {
        let asked = seen.iter().filter(|request| request.path.ends_with(method));
        let agents: Vec<_> = asked.map(|request| request.user_agent.as_str()).collect();
        assert!(!agents.is_empty(), "{method} was not asked for");
        for agent in agents {
            assert!(agent.starts_with("relay/"), "{method}: {agent}");
            assert!(agent.contains("(atproto-relay)") && agent.contains(contact), "{agent}");
        }
    }
    relay.stop().await;
}

/// Defect 21: who changes the handle of an account that has never written is seen by consumers.
#[tokio::test]
async fn an_identity_of_an_account_never_seen_before_comes_out() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    let alice = pds.account_with("alice", silent).await.unwrap();

    alice.identity(Some("alice.test")).await.unwrap();

    let told = consumer.next_for(&alice).await.unwrap();
    assert_eq!((told.kind, told.handle().as_str()), (Kind::Identity, "alice.test"));
    relay.stop().await;
}

/// Defect 22: who lists collections with a limit gets so many at once, and all of them in the end.
#[tokio::test]
async fn a_list_of_collections_keeps_its_limit() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    for name in ["com.example.note", "com.example.other"] {
        alice.create(name, "one", Ipld::Map(BTreeMap::new())).await.unwrap();
    }
    relay.settled().await;
    relay.running.checkpoint().await.unwrap();
    let body = json!({ "dids": [alice.did()] }).to_string();
    let password = format!("Authorization: Bearer {PASSWORD}");
    let fill = "/admin/v1/collections/backfill";
    assert_eq!(post(relay.running.admin, fill, &[&password], &body).await.status, 200);
    let list = async |query: &str| {
        send(relay.api(), "GET", &format!("/v1/listCollections?{query}"), &[]).await.json()
    };
    let filled = async { while list("").await["collections"].as_object().unwrap().len() < 3 {} };
    tokio::time::timeout(Duration::from_secs(30), filled).await.unwrap();

    for limit in 1..=3 {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = list(&format!("limit={limit}{cursor}")).await;
            let names = page["collections"].as_object().unwrap();
            assert!(names.len() <= limit, "{page}");
            found.extend(names.keys().cloned());
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, ["app.bsky.feed.post", "com.example.note", "com.example.other"]);
    }
    relay.stop().await;
}
