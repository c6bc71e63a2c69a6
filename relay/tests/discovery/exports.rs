//! Hosts that do not describe accounts are asked for the repositories themselves.

use std::collections::BTreeMap;

use relay_simnet::Ipld;
use serde_json::json;

use crate::{
    backfill::{NOTE, POST, fill, known, known_as, proven, quiet_host, send, status_until, walked},
    process::until,
    relay::Relay,
};

const DESCRIBE: &str = "describeRepo";
const EXPORT: &str = "getRepo";

/// Accounts of a host without `describeRepo` become complete with exactly what they have. The host is not
/// asked for the missing method once per account, and a comparison with it finds nothing wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_describes_no_account_is_asked_for_its_repositories() {
    let relay = Relay::start().await;
    let pds = relay.net.pds("plain").await.unwrap();
    let mut accounts = Vec::new();
    let record = || Ipld::Map(BTreeMap::new());
    for name in ["one", "two", "three"] {
        let account = pds.account(name).await.unwrap();
        account.post("long ago").await.unwrap();
        account.create(NOTE, "one", record()).await.unwrap();
        accounts.push(account);
    }
    accounts[1].delete(&format!("{NOTE}/one")).await.unwrap();
    for number in 0..300 {
        accounts[2].create("com.example.many", &format!("{number:03}"), record()).await.unwrap();
    }
    pds.forget_events();
    relay.running.hosts.admit(&pds.hostname(), true).await.unwrap();
    pds.connected().await.unwrap();
    pds.answer_path(DESCRIBE, Some(501));
    walked(&relay, &pds).await;

    assert_eq!(fill(&relay, json!({})).await.status, 200);

    known_as(&relay, &accounts[0], proven(&[POST, NOTE])).await;
    known_as(&relay, &accounts[1], proven(&[POST])).await;
    known_as(&relay, &accounts[2], proven(&[POST, "com.example.many", NOTE])).await;
    assert_eq!((pds.requests(DESCRIBE), pds.requests(EXPORT)), (1, 3));
    let status = status_until(&relay, |status| status["totals"]["unsure"] == 0).await;
    assert_eq!(status["hosts"][0]["method"], "getRepo");
    assert_eq!(status["totals"]["complete"], 3);

    let verify = send(&relay, "/admin/v1/collections/verify", json!({ "sample": 3 })).await;
    assert_eq!(verify.status, 200, "{}", verify.body);
    let verified =
        async || relay.admin("/admin/v1/collections/verify").await.json()["verification"].clone();
    until("it is compared", async || verified().await["status"] == "finished").await;
    let found = verified().await;
    assert_eq!((&found["checked"], &found["wrongShare"]), (&json!(3), &json!(0.0)), "{found}");
    assert_eq!(pds.requests(EXPORT), 6);
    relay.stop().await;
}

/// A host that has neither method, or gives something else than the repository, takes nothing away and
/// makes nothing certain.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_repository_of_the_account_says_nothing() {
    let relay = Relay::start().await;
    let (pds, accounts) = quiet_host(&relay, "plain", &["one"]).await;
    walked(&relay, &pds).await;
    pds.answer_path(DESCRIBE, Some(501));
    pds.answer_path(EXPORT, Some(501));

    fill(&relay, json!({})).await;

    let said = |status: &serde_json::Value, words: &str| {
        status["hosts"][0]["lastError"].as_str().is_some_and(|error| error.contains(words))
    };
    let both = "describeRepo answered 501 Scripted, getRepo answered 501 Scripted";
    let status = status_until(&relay, |status| said(status, both)).await;
    assert_eq!(status["hosts"][0]["method"], "describeRepo", "it may have been updated");
    pds.answer_path_with(EXPORT, "no repository");
    fill(&relay, json!({})).await;
    status_until(&relay, |status| said(status, "getRepo: ")).await;
    assert_eq!(known(&relay, accounts[0].did()).await, ("unsure".to_owned(), Vec::new()));

    // It learns both.
    pds.answer_path(EXPORT, None);
    fill(&relay, json!({})).await;
    known_as(&relay, &accounts[0], proven(&[POST, NOTE])).await;
    relay.stop().await;
}
