//! The index of collections is filled with what the stream cannot show.

use std::time::Duration;

use relay_simnet::{Account, Ipld, Limiter, Pds};
use serde_json::{Value, json};

use crate::{
    directory::Directory,
    http::{Answer, post},
    process::until,
    relay::{PASSWORD, Relay},
};

pub(crate) const POST: &str = "app.bsky.feed.post";
const LIKE: &str = "app.bsky.feed.like";
pub(crate) const NOTE: &str = "com.example.note";

pub(crate) async fn send(relay: &Relay, path: &str, body: Value) -> Answer {
    let password = format!("Authorization: Bearer {PASSWORD}");
    post(relay.running.admin, path, &[&password], &body.to_string()).await
}

pub(crate) async fn fill(relay: &Relay, body: Value) -> Answer {
    send(relay, "/admin/v1/collections/backfill", body).await
}

/// What the index says of an account: how it is known, and its collections with their states.
pub(crate) async fn known(relay: &Relay, did: &str) -> (String, Vec<(String, String)>) {
    let answer = relay.admin(&format!("/admin/v1/collections/account?did={did}")).await;
    if answer.status == 404 {
        return ("unknown".to_owned(), Vec::new());
    }
    let json = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = json["collections"].as_array().unwrap().iter();
    let pairs = pairs.map(|pair| (text(&pair["collection"]), text(&pair["state"])));
    (text(&json["known"]), pairs.collect())
}

pub(crate) fn proven(names: &[&str]) -> (String, Vec<(String, String)>) {
    let pairs = names.iter().map(|name| ((*name).to_owned(), "proven".to_owned()));
    ("complete".to_owned(), pairs.collect())
}

/// Waits until the index says this of an account.
pub(crate) async fn known_as(
    relay: &Relay,
    account: &Account,
    expected: (String, Vec<(String, String)>),
) {
    let mut last = None;
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let now = known(relay, account.did()).await;
            if now == expected {
                return;
            }
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let in_time = waited.await.is_ok();
    assert!(in_time, "{}: {last:?} is not {expected:?}", account.did());
}

/// The status of the backfill, once `holds` is true of it.
pub(crate) async fn status_until(relay: &Relay, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let status = relay.admin("/admin/v1/collections/backfill").await.json();
            if holds(&status) {
                return status;
            }
            last = status;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.map_err(|_late| last.to_string()).unwrap()
}

fn finished(status: &Value) -> bool {
    status["imports"][0]["status"] == "finished"
}

/// A host that the relay reads, and accounts on it that wrote before it was read and whose events the
/// host has forgotten.
pub(crate) async fn quiet_host(
    relay: &Relay,
    name: &str,
    accounts: &[&str],
) -> (Pds, Vec<Account>) {
    let pds = relay.net.pds(name).await.unwrap();
    let mut made = Vec::new();
    for account in accounts {
        let account = pds.account(account).await.unwrap();
        account.post("long ago").await.unwrap();
        account.create(NOTE, "one", Ipld::Map(std::collections::BTreeMap::new())).await.unwrap();
        made.push(account);
    }
    pds.forget_events();
    relay.running.hosts.admit(&pds.hostname(), true).await.unwrap();
    pds.connected().await.unwrap();
    (pds, made)
}

pub(crate) async fn walked(relay: &Relay, pds: &Pds) {
    let body = json!({ "hostnames": [pds.hostname()] });
    assert_eq!(send(relay, "/admin/v1/resync", body).await.status, 200);
    let path = format!("/admin/v1/resync?host={}", pds.hostname());
    let is_read = async || relay.admin(&path).await.json()["walks"][0]["status"] == "finished";
    until("the list of accounts is read", is_read).await;
    // Rows that only the shards have are found when they are written.
    relay.running.checkpoint().await.unwrap();
}

/// Accounts that never write while the relay looks are in the lists of their collections, once their
/// host was asked; what it is asked costs one call each.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_never_write_are_asked_about_at_their_host() {
    let relay = Relay::start().await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one", "two"]).await;
    walked(&relay, &pds).await;
    assert_eq!(
        known(&relay, accounts[0].did()).await.1,
        [],
        "control: nothing told of its records"
    );

    assert_eq!(fill(&relay, json!({})).await.status, 200);

    for account in &accounts {
        known_as(&relay, account, proven(&[POST, NOTE])).await;
    }
    let status = status_until(&relay, |status| status["totals"]["unsure"] == 0).await;
    assert_eq!(status["hosts"][0]["hostname"], json!(pds.hostname()));
    assert_eq!(
        (&status["hosts"][0]["resolved"], &status["totals"]["complete"]),
        (&2.into(), &2.into())
    );
    assert_eq!(pds.requests("describeRepo"), 2);
    let list = relay.admin("/admin/v1/collections?prefix=com.").await.json();
    assert_eq!(list["collections"][0]["collection"], NOTE);
    assert_eq!(list["collections"][0]["proven"], 2);
    relay.stop().await;
}

/// An account that has written is asked about when an operator names it, before all others; one that is
/// not known is told.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_an_operator_names_are_asked_about_first() {
    let relay = Relay::start().await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one"]).await;
    walked(&relay, &pds).await;
    let stranger = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

    let answer = fill(&relay, json!({ "dids": [accounts[0].did(), stranger] })).await;

    assert_eq!(answer.json()["unknown"], json!([stranger]));
    known_as(&relay, &accounts[0], proven(&[POST, NOTE])).await;
    let wrong = fill(&relay, json!({ "dids": ["nobody"] })).await;
    assert_eq!((wrong.status, wrong.error().as_str()), (400, "InvalidRequest"));
    let lonely = fill(&relay, json!({ "collections": [POST] })).await;
    assert_eq!(lonely.status, 400, "hosts are not asked about collections");
    relay.stop().await;
}

/// Hosts of one operator are asked one at a time, its 429 is waited for, and all accounts are certain in
/// the end.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_share_a_budget_are_asked_about_collections_one_at_a_time() {
    let relay = Relay::start().await;
    let limiter = Limiter::new(3);
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let (pds, accounts) =
            quiet_host(&relay, name, &[&format!("{name}1"), &format!("{name}2")]).await;
        walked(&relay, &pds).await;
        pds.limit(&limiter);
        all.extend(accounts);
    }

    fill(&relay, json!({})).await;

    for account in &all {
        known_as(&relay, account, proven(&[POST, NOTE])).await;
    }
    assert_eq!(limiter.peak(), 1, "all of them are at one address");
    assert!(limiter.refused() > 0, "the budget was met");
    relay.stop().await;
}

/// What a host said of an account before the account wrote says nothing of what it has now: the host is asked
/// again, and its old answer neither brings back what is gone nor takes away what is new.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_an_event_has_overtaken_does_not_count() {
    let relay = Relay::start().await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one"]).await;
    let account = &accounts[0];
    walked(&relay, &pds).await;
    pds.hold("describeRepo");
    fill(&relay, json!({})).await;
    relay.until("the host has made its answer", || pds.held() == 1).await;

    account.like("at://did:web:example.com/app.bsky.feed.post/x").await.unwrap();
    account.delete(&format!("{NOTE}/one")).await.unwrap();
    relay.settled().await;
    pds.release();

    known_as(&relay, account, proven(&[LIKE, POST])).await;
    let status = status_until(&relay, |status| status["totals"]["unsure"] == 0).await;
    assert_eq!(status["resolving"]["overtaken"], 1, "control: the first answer came too late");
    assert_eq!((pds.requests("describeRepo"), &status["resolving"]["resolved"]), (2, &1.into()));
    relay.stop().await;
}

/// A host that is down or tells nothing empties no list, and is asked again when an operator says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_tells_nothing_takes_nothing_away() {
    let relay = Relay::start().await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one"]).await;
    walked(&relay, &pds).await;
    let directory = Directory::start(&[(POST, vec![accounts[0].did().to_owned()])], 9).await;
    fill(&relay, json!({ "from": [directory.name()] })).await;
    status_until(&relay, finished).await;
    pds.answer_path("describeRepo", Some(500));

    fill(&relay, json!({})).await;

    let status = status_until(&relay, |status| status["hosts"][0]["failed"] == 1).await;
    let error = status["hosts"][0]["lastError"].as_str().unwrap();
    assert!(error.contains("describeRepo answered 500"), "{error}");
    let believed = vec![(POST.to_owned(), "believed".to_owned())];
    assert_eq!(known(&relay, accounts[0].did()).await, ("unsure".to_owned(), believed));
    pds.answer_path("describeRepo", None);
    fill(&relay, json!({})).await;
    known_as(&relay, &accounts[0], proven(&[POST, NOTE])).await;
    relay.stop().await;
}

/// Lists of another relay are taken page by page, accounts that were not known become known, and what the
/// other would not list or nobody has is told.
#[tokio::test(flavor = "multi_thread")]
async fn lists_of_another_relay_are_believed_until_hosts_are_asked() {
    let relay = Relay::start().await;
    let (_pds, accounts) = quiet_host(&relay, "quiet", &["one", "two", "three"]).await;
    let dids: Vec<String> = accounts.iter().map(|account| account.did().to_owned()).collect();
    let stranger = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    let posts = [dids.clone(), vec![stranger]].concat();
    let lists = [
        (LIKE, dids[..1].to_vec()),
        (POST, posts),
        ("com.example.empty", Vec::new()),
        ("com.example.secret", Vec::new()),
    ];
    let directory = Directory::start(&lists, 2).await;
    directory.refuse("com.example.secret");
    directory.busy(1);

    assert_eq!(fill(&relay, json!({ "from": [directory.name()] })).await.status, 200);

    let status = status_until(&relay, finished).await;
    let import = &status["imports"][0];
    assert_eq!(
        (&import["pairs"], &import["new"], &import["unknown"]),
        (&4.into(), &3.into(), &1.into())
    );
    assert_eq!((&import["collections"], &import["done"]), (&4.into(), &4.into()));
    assert_eq!(import["refused"], json!(["com.example.secret"]));
    assert_eq!(import["withoutRows"], json!(["com.example.empty", "com.example.secret"]));
    let pages = directory.asked().into_iter().filter(|(collection, _)| collection == POST);
    assert_eq!(pages.map(|(_, cursor)| cursor).collect::<Vec<_>>(), ["", "2"]);
    let believed = |name: &str| (name.to_owned(), "believed".to_owned());
    let expected = ("unsure".to_owned(), vec![believed(LIKE), believed(POST)]);
    assert_eq!(known(&relay, &dids[0]).await, expected);
    let empty = relay.admin("/admin/v1/collections?empty=true").await.json();
    assert_eq!(empty["collections"], json!([]), "names without rows were never used here");

    fill(&relay, json!({})).await;

    // The host says that the likes are gone.
    known_as(&relay, &accounts[0], proven(&[POST, NOTE])).await;
    relay.stop().await;
}

/// An import that was cut goes on with the page after the last that was taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_cut_goes_on_at_the_same_page() {
    let relay = Relay::start().await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one", "two", "three"]).await;
    walked(&relay, &pds).await;
    let dids: Vec<String> = accounts.iter().map(|account| account.did().to_owned()).collect();
    let directory = Directory::start(&[(POST, dids.clone()), (LIKE, dids.clone())], 1).await;
    directory.delay(Duration::from_millis(100));

    fill(&relay, json!({ "from": [directory.name()] })).await;
    status_until(&relay, |status| status["imports"][0]["pages"] == 2).await;
    let relay = relay.restarted().await;

    let status = status_until(&relay, finished).await;
    assert_eq!(
        (&status["imports"][0]["pages"], &status["imports"][0]["pairs"]),
        (&6.into(), &6.into())
    );
    let mut asked = directory.asked();
    assert!(asked.len() <= 7, "one page is read again at most: {asked:?}");
    asked.dedup();
    assert_eq!(asked.len(), 6, "{asked:?}");
    // Named once more it is read anew, for what changed since.
    fill(&relay, json!({ "from": [directory.name()], "collections": [POST] })).await;
    let status =
        status_until(&relay, |status| finished(status) && status["imports"][0]["pages"] == 3).await;
    assert_eq!(status["imports"][0]["collections"], 1);
    relay.stop().await;
}

/// What operators ask for stands in the audit log, and what makes no sense is refused in words.
#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let relay = Relay::start().await;
    for (path, body, said) in [
        ("backfill", json!({ "from": ["no relay"] }), "is no relay"),
        ("backfill", json!({ "from": ["localhost:1"], "collections": ["x"] }), "is no collection"),
        ("verify", json!({ "sample": 0 }), "sample must be from 1 to"),
        ("dump", json!({ "dump": "", "place": 1, "accounts": [] }), "the name of a dump"),
    ] {
        let answer = send(&relay, &format!("/admin/v1/collections/{path}"), body).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains(said), "{path}: {}", answer.body);
    }
    fill(&relay, json!({})).await;
    let audit = relay.admin("/admin/v1/audit?limit=1").await.json();
    assert_eq!(audit["audit"][0]["action"], "collections.backfill");
    relay.stop().await;
}
