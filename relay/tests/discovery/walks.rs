//! Lists of accounts of hosts, compared with what is known here.

use relay::clock::Clock;
use relay_simnet::{Account, Limiter, Pds};
use serde_json::{Value, json};

use crate::{
    http::{Answer, post},
    relay::{PASSWORD, Relay},
};

async fn resync(relay: &Relay, hosts: &[&Pds]) -> Answer {
    let password = format!("Authorization: Bearer {PASSWORD}");
    let names: Vec<String> = hosts.iter().map(|pds| pds.hostname()).collect();
    let body = json!({ "hostnames": names }).to_string();
    post(relay.running.admin, "/admin/v1/resync", &[&password], &body).await
}

/// The walk through the list of this host, once `holds` is true of it.
async fn walk_until(relay: &Relay, pds: &Pds, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let walks = relay.admin(&format!("/admin/v1/resync?host={}", pds.hostname())).await.json();
        if let Some(walk) = walks["walks"].get(0).filter(|walk| holds(walk)) {
            return walk.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |walk| walk["status"] == status
}

async fn status(relay: &Relay, account: &Account) -> (u16, Value) {
    let answer = relay.sync(&format!("getRepoStatus?did={}", account.did())).await;
    (answer.status, answer.json())
}

/// The DIDs of our own listRepos.
async fn listed(relay: &Relay) -> Vec<String> {
    let repos = relay.sync("listRepos").await.json();
    let repos = repos["repos"].as_array().unwrap().iter();
    repos.map(|repo| repo["did"].as_str().unwrap().to_owned()).collect()
}

/// Accounts that wrote something before the relay came, whose events are gone.
async fn old_accounts(pds: &Pds, names: &[&str]) -> Vec<Account> {
    let mut accounts = Vec::new();
    for name in names {
        let account = pds.account(name).await.unwrap();
        account.post("long ago").await.unwrap();
        accounts.push(account);
    }
    pds.forget_events();
    accounts
}

/// ACC-10: accounts that write nothing are known once their host was asked for its list; their revs,
/// which nobody signed, are not, so that our own list has none of them before they write (spec 12).
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_never_write_are_found_in_the_list_of_their_host() {
    let relay = Relay::start().await;
    let pds = relay.net.pds("quiet").await.unwrap();
    let accounts = old_accounts(&pds, &["one", "two"]).await;
    accounts[1].set_status_in_silence(false, Some("deactivated")).await.unwrap();
    relay.running.hosts.admit(&pds.hostname(), true).await.unwrap();
    pds.connected().await.unwrap();
    assert_eq!(status(&relay, &accounts[0]).await.0, 404, "control: nothing told of it yet");

    assert_eq!(resync(&relay, &[&pds]).await.status, 200);

    let walk = walk_until(&relay, &pds, is("finished")).await;
    assert_eq!(
        (&walk["listed"], &walk["added"], &walk["refused"]),
        (&json!(2), &json!(2), &json!(0))
    );
    let (code, body) = status(&relay, &accounts[0]).await;
    assert_eq!((code, &body["active"], &body["rev"]), (200, &json!(true), &Value::Null));
    assert_eq!(status(&relay, &accounts[1]).await.1["status"], "deactivated");
    let hosts = relay.admin("/admin/v1/hosts").await.json();
    assert_eq!(hosts["hosts"][0]["accountCount"], 2, "HOST-10");
    assert_eq!(listed(&relay).await, Vec::<String>::new());
    accounts[0].post("at last").await.unwrap();
    relay.settled().await;
    assert!(status(&relay, &accounts[0]).await.1["rev"].is_string(), "its events pass as before");
    assert_eq!(listed(&relay).await, [accounts[0].did()]);
    relay.stop().await;
}

/// ACC-10, indigo#1161: an account that this relay takes for inactive, because its host's word about it
/// was lost, is active again, and consumers are told.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_wrongly_inactive_is_active_again() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let account = relay.account(&pds, "alice").await;
    account.set_status(false, Some("deactivated")).await.unwrap();
    relay.settled().await;
    assert_eq!(status(&relay, &account).await.1["status"], "deactivated", "control");
    account.set_status_in_silence(true, None).await.unwrap();
    let head = relay.running.log.window().head;

    resync(&relay, &[&pds]).await;

    let walk = walk_until(&relay, &pds, is("finished")).await;
    assert_eq!((&walk["changed"], &walk["added"]), (&json!(1), &json!(0)));
    assert_eq!(status(&relay, &account).await.1["active"], true);
    relay.until("it is announced", || relay.running.log.window().head > head).await;
    relay.stop().await;
}

/// ACC-10, VAL-3: a host that lists accounts of others gets none of them.
#[tokio::test(flavor = "multi_thread")]
async fn claims_that_the_did_documents_do_not_confirm_are_refused() {
    let relay = Relay::start().await;
    let (home, thief) = (relay.host("home").await, relay.host("thief").await);
    let away = relay.net.pds("away").await.unwrap();
    let known = relay.account(&home, "alice").await;
    let unknown = old_accounts(&away, &["bob"]).await;
    let repos: Vec<Value> = [known.did(), unknown[0].did()]
        .iter()
        .map(|did| json!({ "did": did, "head": "x", "rev": "y", "active": false, "status": "deleted" }))
        .chain([json!({ "did": unknown[0].did(), "active": true })])
        .collect();
    thief.answer_path_with("listRepos", &json!({ "repos": repos }).to_string());

    resync(&relay, &[&thief]).await;

    let walk = walk_until(&relay, &thief, is("finished")).await;
    assert_eq!(
        (&walk["added"], &walk["changed"], &walk["refused"]),
        (&json!(0), &json!(0), &json!(2))
    );
    assert_eq!(status(&relay, &known).await.1["active"], true);
    assert_eq!(status(&relay, &unknown[0]).await.0, 404);
    relay.stop().await;
}

/// ACC-10: hosts of one operator are asked one at a time, its 429 is waited for, and all lists are read
/// in the end.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_share_a_budget_are_asked_one_at_a_time() {
    let relay = Relay::start().await;
    let limiter = Limiter::new(2);
    let mut hosts = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let pds = relay.host(name).await;
        relay.account(&pds, name).await;
        pds.limit(&limiter);
        hosts.push(pds);
    }
    let all: Vec<&Pds> = hosts.iter().collect();

    resync(&relay, &all).await;

    for pds in &hosts {
        walk_until(&relay, pds, is("finished")).await;
    }
    assert_eq!(limiter.peak(), 1, "all of them are at one address");
    assert!(limiter.refused() > 0, "the budget was met");
    relay.stop().await;
}

/// ACC-10: a list that is being read when the relay stops is read on from that page after the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_was_cut_goes_on_at_the_same_page() {
    let relay = Relay::start().await;
    let pds = relay.net.pds("long").await.unwrap();
    old_accounts(&pds, &["one", "two"]).await;
    relay.running.hosts.admit(&pds.hostname(), true).await.unwrap();
    pds.connected().await.unwrap();
    pds.page_at_most(1);
    // The second page has to wait for the next second.
    pds.limit(&Limiter::new(1));

    resync(&relay, &[&pds]).await;
    walk_until(&relay, &pds, |walk| walk["listed"] == 1).await;
    let relay = relay.restarted().await;

    let walk = walk_until(&relay, &pds, is("finished")).await;
    assert_eq!((&walk["listed"], &walk["added"]), (&json!(2), &json!(2)));
    let seen = pds.seen();
    let lists = seen.iter().filter(|seen| seen.path.ends_with("listRepos"));
    assert_eq!(lists.filter(|seen| !seen.query.contains("cursor")).count(), 1, "{seen:?}");
    relay.stop().await;
}

/// A person who asks for a host that is not known reads so.
#[tokio::test(flavor = "multi_thread")]
async fn a_resync_of_an_unknown_host_is_refused() {
    let relay = Relay::start().await;
    let other = relay.net.pds("other").await.unwrap();
    let answer = resync(&relay, &[&other]).await;
    assert_eq!((answer.status, answer.error().as_str()), (404, "HostNotFound"));
    relay.stop().await;
}

/// ACC-10: the lists of hosts are read without anybody asking, though not in the first hour, when a
/// relay has enough to do.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_by_themselves_after_the_first_hour() {
    let clock = Clock::manual(1_800_000_000_000_000);
    let relay = Relay::start_at(clock.clone(), &[]).await;
    let pds = relay.net.pds("quiet").await.unwrap();
    let accounts = old_accounts(&pds, &["one"]).await;
    relay.running.hosts.admit(&pds.hostname(), true).await.unwrap();
    pds.connected().await.unwrap();
    let is_connected =
        || relay.running.hosts.view(&pds.hostname()).is_some_and(|view| view.connected);
    relay.until("it counts as connected", is_connected).await;
    assert_eq!(pds.requests("listRepos"), 0, "control");

    clock.advance_us(2 * 3_600_000_000);

    let walk = walk_until(&relay, &pds, is("finished")).await;
    assert_eq!((&walk["asked"], &walk["added"]), (&json!(false), &json!(1)));
    assert_eq!(status(&relay, &accounts[0]).await.0, 200);
    relay.stop().await;
}
