//! What clients of the reference relay's directory of collections ask, at the addresses that they know.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_simnet::{Account, Ipld, Pds};
use serde_json::{Value, json};

use crate::{
    http::{post, send},
    relay::{PASSWORD, Relay},
};

const POST: &str = "app.bsky.feed.post";
const NOTE: &str = "com.example.note";
const OTHER: &str = "com.example.other";

async fn get(relay: &Relay, path: &str) -> Value {
    let answer = send(relay.api(), "GET", path, &[]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// Waits until an answer is this.
async fn becomes(relay: &Relay, path: &str, expected: &Value) {
    let mut last = Value::Null;
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            last = get(relay, path).await;
            if last == *expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let in_time = waited.await.is_ok();
    assert!(in_time, "{path}: {last} is not {expected}");
}

async fn note(account: &Account, collection: &str) {
    account.create(collection, "one", Ipld::Map(BTreeMap::new())).await.unwrap();
}

/// A relay with five accounts that post; some have notes, too.
async fn world() -> (Relay, Pds, Vec<Account>) {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let mut accounts = Vec::new();
    for number in 0..5 {
        accounts.push(relay.account(&pds, &format!("account{number}")).await);
    }
    for account in &accounts[..2] {
        note(account, NOTE).await;
    }
    note(&accounts[0], OTHER).await;
    let counts = json!({ "collections": { POST: 5, NOTE: 2, OTHER: 1 } });
    becomes(&relay, "/v1/listCollections", &counts).await;
    (relay, pds, accounts)
}

/// Every page of a list of accounts, one after the other.
async fn walk(relay: &Relay, collection: &str, limit: usize) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = "/v1/getDidsForCollection";
        let path = format!("{path}?collection={collection}&limit={limit}&cursor={cursor}");
        let page = get(relay, &path).await;
        let repos = page["repos"].as_array().unwrap().iter();
        pages.push(repos.map(|repo| repo["did"].as_str().unwrap().to_owned()).collect());
        let Some(next) = page["cursor"].as_str() else { return pages };
        next.clone_into(&mut cursor);
    }
}

/// Who asks for counts of collections gets them in pages, or of those alone that it names, with whatever
/// limit it was used to send.
#[tokio::test]
async fn counts_of_collections_come_in_pages_or_by_name() {
    let (relay, _pds, accounts) = world().await;
    let all = json!({ "collections": { POST: 5, NOTE: 2, OTHER: 1 } });

    for limit in ["1000", "1001", "10000", "99999999999999999999", "x", "", "-", "1e3"] {
        let path = format!("/v1/listCollections?limit={limit}");
        assert_eq!(get(&relay, &path).await, all, "limit {limit}");
    }
    for limit in ["0", "-1", "1", "-99999999999999999999"] {
        let path = format!("/v1/listCollections?limit={limit}");
        let first = json!({ "collections": { POST: 5 }, "cursor": POST });
        assert_eq!(get(&relay, &path).await, first, "limit {limit}");
    }
    let next = get(&relay, &format!("/v1/listCollections?limit=2&cursor={POST}")).await;
    assert_eq!(next, json!({ "collections": { NOTE: 2, OTHER: 1 }, "cursor": OTHER }));
    let last = get(&relay, &format!("/v1/listCollections?limit=2&cursor={OTHER}")).await;
    assert_eq!(last, json!({ "collections": {} }));
    for cursor in ["zzz", "%00", "%F0%9F%98%80"] {
        let after_all = get(&relay, &format!("/v1/listCollections?cursor={cursor}")).await;
        assert!(after_all["collections"].as_object().unwrap().len() <= 3, "{after_all}");
    }
    let named =
        format!("/v1/listCollections?c={NOTE}&c=com.example.unknown&c={NOTE}&c=no%20name&c=");
    let counts = json!({ NOTE: 2, "com.example.unknown": 0, "no name": 0 });
    assert_eq!(get(&relay, &named).await, json!({ "collections": counts }));

    accounts[0].delete(&format!("{OTHER}/one")).await.unwrap();

    let left = json!({ "collections": { POST: 5, NOTE: 2 } });
    becomes(&relay, "/v1/listCollections", &left).await;
    let of_it = get(&relay, &format!("/v1/listCollections?c={OTHER}")).await;
    assert_eq!(of_it, json!({ "collections": { OTHER: 0 } }));
    relay.stop().await;
}

/// Accounts of a collection come in pages of any limit, in the order of their first sight; what is no name
/// of a collection, or no cursor of this list, is refused in words.
#[tokio::test]
async fn accounts_of_a_collection_come_in_pages() {
    let (relay, _pds, accounts) = world().await;
    let dids: Vec<&str> = accounts.iter().map(Account::did).collect();

    for limit in [1, 2, 4, 5, 6, 2_000, 10_000] {
        let pages = walk(&relay, POST, limit).await;
        assert_eq!(pages.concat(), dids, "limit {limit}");
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit), "limit {limit}");
    }
    let path = |rest: &str| format!("/v1/getDidsForCollection?{rest}");
    for limit in ["x", "", "99999999999999999999"] {
        let page = get(&relay, &path(&format!("collection={NOTE}&limit={limit}"))).await;
        let both = json!({ "repos": [{ "did": dids[0] }, { "did": dids[1] }] });
        assert_eq!(page, both, "limit {limit}");
    }
    for limit in ["0", "-7"] {
        let page = get(&relay, &path(&format!("collection={NOTE}&limit={limit}"))).await;
        assert_eq!(page["repos"], json!([{ "did": dids[0] }]), "limit {limit}");
    }
    let unknown = get(&relay, &path("collection=com.example.unknown")).await;
    assert_eq!(unknown, json!({ "repos": [] }));
    let other = get(&relay, &path(&format!("collection={POST}&limit=1"))).await;
    let other = other["cursor"].as_str().unwrap();
    for wrong in [
        String::new(),
        "collection=".to_owned(),
        "collection=post".to_owned(),
        "collection=app.bsky.feed.*".to_owned(),
        "collection=%00".to_owned(),
        format!("collection={NOTE}&cursor=1"),
        format!("collection={NOTE}&cursor={other}"),
    ] {
        let answer = send(relay.api(), "GET", &path(&wrong), &[]).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "InvalidRequest"), "{wrong}");
    }
    // The method of the lexicon is as strict as the others.
    let method = format!("listReposByCollection?collection={NOTE}&limit=2001");
    assert_eq!(relay.sync(&method).await.status, 400);
    relay.stop().await;
}

/// Waits until posts are listed without the one account and with the other.
async fn changed(relay: &Relay, goes: &str, comes: &str) {
    let changed = async {
        loop {
            let now = walk(relay, POST, 100).await.concat();
            let has = |wanted: &str| now.iter().any(|did| did == wanted);
            if !has(goes) && has(comes) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), changed).await.unwrap();
}

/// Pages are stable: an account that has the collection for the whole walk is listed once, whoever comes and
/// goes between two pages.
#[tokio::test]
async fn a_walk_meets_everybody_once_while_others_come_and_go() {
    let (relay, pds, accounts) = world().await;
    let (mut seen, mut cursor, mut page) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/v1/getDidsForCollection?collection={POST}&limit=1&cursor={cursor}");
        let answer = get(&relay, &path).await;
        let repos = answer["repos"].as_array().unwrap();
        seen.extend(repos.iter().map(|repo| repo["did"].as_str().unwrap().to_owned()));
        let Some(next) = answer["cursor"].as_str() else { break };
        next.clone_into(&mut cursor);
        page += 1;
        // The one that was listed last goes, and so does the one that would be listed last of all.
        let goes = match page {
            2 => &accounts[1],
            3 => &accounts[4],
            _ => continue,
        };
        goes.deactivate().await.unwrap();
        let came = relay.account(&pds, &format!("new{page}")).await;
        changed(&relay, goes.did(), came.did()).await;
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "nobody twice: {seen:?}");
    for stayed in [0, 2, 3] {
        assert!(seen.iter().any(|did| did == accounts[stayed].did()), "{stayed}: {seen:?}");
    }
    assert!(seen.iter().all(|did| did != accounts[4].did()), "it was gone before its page");
    assert_eq!(seen.len(), 6, "control: who came during the walk comes too");
    relay.stop().await;
}

/// A person who had the sidecar crawl hosts does so here with the same request, sees which hosts are being
/// read, and finds the accounts that never wrote while the relay looked.
#[tokio::test]
async fn hosts_are_crawled_as_the_sidecar_was_told_to() {
    let relay = Relay::start().await;
    let mut hosts = Vec::new();
    for name in ["alpha", "beta"] {
        let pds = relay.net.pds(name).await.unwrap();
        let account = pds.account(name).await.unwrap();
        account.post("long ago").await.unwrap();
        pds.forget_events();
        hosts.push((pds, account));
    }
    let [(alpha, alice), (beta, _bob)] = hosts.try_into().ok().unwrap();
    beta.answer_path("listRepos", Some(503));
    let password = format!("Authorization: Bearer {PASSWORD}");
    let crawl = "/admin/pds/requestCrawl";
    let body = json!({ "hosts": [alpha.hostname(), beta.hostname()] }).to_string();

    let stranger = post(relay.running.admin, crawl, &[], &body).await;
    let asked = post(relay.running.admin, crawl, &[&password], &body).await;

    assert!([401, 403].contains(&stranger.status), "{}", stranger.status);
    assert_eq!((asked.status, asked.json()), (200, json!({ "message": "ok" })));
    let status = async || relay.admin("/admin/crawlStatus").await.json();
    let reading = |status: &Value| -> Vec<String> {
        status["host_starts"].as_object().unwrap().keys().cloned().collect()
    };
    let alone = async {
        while reading(&status().await) != [beta.hostname()] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), alone).await.unwrap();
    let status = status().await;
    let row = &status["host_starts"][beta.hostname()];
    assert_eq!(row["seen"], 0);
    for time in [&row["start"], &status["server_time"]] {
        assert!(time.as_str().unwrap().ends_with('Z'), "{status}");
    }
    let path = format!("{crawl}?host={}", alpha.hostname());
    let one = post(relay.running.admin, &path, &[&password], "").await;
    assert_eq!(one.json(), json!({ "message": "ok" }));
    // Its accounts are known by now: what they have is asked at once, not in a minute.
    let listed = json!({ "repos": [{ "did": alice.did() }] });
    becomes(&relay, &format!("/v1/getDidsForCollection?collection={POST}"), &listed).await;
    for wrong in [r#"{"hosts":"alpha"}"#, r#"{"hosts":[7]}"#, "{}", "[]", "x"] {
        let answer = post(relay.running.admin, crawl, &[&password], wrong).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "InvalidRequest"), "{wrong}");
    }
    relay.stop().await;
}
