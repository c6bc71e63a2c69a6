//! Lists: pages, limits, and freshness (API-2, T23, HOST-11).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::relay::Relay;

/// All items of a list, walked with one limit; checks that pages are full and the last has no cursor.
async fn walk(relay: &Relay, method: &str, field: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = relay.sync(&format!("{method}?limit={limit}&cursor={cursor}")).await.json();
        let items = page[field].as_array().unwrap().clone();
        assert!(items.len() <= limit);
        all.extend(items.iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => {
                assert_eq!(items.len(), limit, "a page before the last is full");
                next.clone_into(&mut cursor);
            }
            None => return all,
        }
    }
}

fn dids(repos: &[Value]) -> Vec<&str> {
    repos.iter().map(|repo| repo["did"].as_str().unwrap()).collect()
}

/// API-2, T23: each limit gives every account once, in order of first sight, with the rev and commit
/// that its host has; before a checkpoint, after it, and with changes on top of it.
#[tokio::test]
async fn list_repos_is_complete_and_fresh_with_every_limit() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let mut accounts = Vec::new();
    for number in 0..4 {
        accounts.push(relay.account(&pds, &format!("early{number}")).await);
    }
    relay.running.checkpoint().await.unwrap();
    for number in 0..3 {
        accounts.push(relay.account(&pds, &format!("late{number}")).await);
    }
    accounts[1].post("changed after the checkpoint").await.unwrap();
    relay.settled().await;

    for limit in [1, 2, 3, 6, 7, 8, 1000] {
        let repos = walk(&relay, "listRepos", "repos", limit).await;
        let expected: Vec<_> = accounts.iter().map(relay_simnet::Account::did).collect();
        assert_eq!(dids(&repos), expected, "limit {limit}");
        for (repo, account) in repos.iter().zip(&accounts) {
            let (rev, head) = account.latest_commit().await.unwrap();
            assert_eq!((&repo["head"], &repo["rev"]), (&head.into(), &rev.into()));
            assert_eq!(repo["active"], true);
            assert_eq!(repo.get("status"), None);
        }
    }
    relay.stop().await;
}

/// T23: a walk during inserts and a checkpoint still meets everyone who was there at its start.
#[tokio::test]
async fn a_walk_during_inserts_misses_nobody() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let mut before = BTreeSet::new();
    for number in 0..5 {
        before.insert(relay.account(&pds, &format!("a{number}")).await.did().to_owned());
    }
    let (mut seen, mut cursor, mut page) = (Vec::new(), String::new(), 0);
    loop {
        let answer = relay.sync(&format!("listRepos?limit=1&cursor={cursor}")).await.json();
        seen.extend(dids(answer["repos"].as_array().unwrap()).into_iter().map(str::to_owned));
        let Some(next) = answer["cursor"].as_str() else { break };
        next.clone_into(&mut cursor);
        if page < 3 {
            relay.account(&pds, &format!("b{page}")).await;
            relay.running.checkpoint().await.unwrap();
        }
        page += 1;
    }
    let distinct: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "nobody twice");
    assert!(distinct.is_superset(&before));
    assert_eq!(seen.len(), 8, "control: who came during the walk comes too");
    relay.stop().await;
}

/// Spec 12: inactive accounts are listed with their status; one without a repository is not.
#[tokio::test]
async fn list_repos_shows_inactive_accounts_and_skips_those_without_a_rev() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let active = relay.account(&pds, "active").await;
    let resting = relay.account(&pds, "resting").await;
    resting.deactivate().await.unwrap();
    let options = relay_simnet::AccountOptions { announced: false, ..Default::default() };
    let silent = pds.account_with("silent", options).await.unwrap();
    silent.identity(None).await.unwrap();
    relay.settled().await;

    let repos = relay.sync("listRepos").await.json();
    let repos = repos["repos"].as_array().unwrap();
    assert_eq!(dids(repos), [active.did(), resting.did()]);
    assert_eq!((&repos[1]["active"], &repos[1]["status"]), (&false.into(), &"deactivated".into()));
    let known = relay.sync(&format!("getRepoStatus?did={}", silent.did())).await;
    assert_eq!(known.status, 200, "control: the account is known");
    relay.stop().await;
}

/// API-2: limits out of range and cursors that are not ours are 400; unknown parameters are nothing.
#[tokio::test]
async fn limits_and_cursors_are_checked() {
    let relay = Relay::start().await;
    for method in ["listRepos", "listHosts"] {
        for query in ["limit=0", "limit=1001", "limit=x", "limit=-1", "cursor=x", "cursor=-1"] {
            let answer = relay.sync(&format!("{method}?{query}")).await;
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (400, "InvalidRequest"),
                "{query}"
            );
        }
        for query in
            ["limit=1", "limit=1000", "limit=&cursor=", "other=1", "cursor=18446744073709551615"]
        {
            let answer = relay.sync(&format!("{method}?{query}")).await;
            assert_eq!(answer.status, 200, "{query}");
            let json = answer.json();
            let field = if method == "listRepos" { "repos" } else { "hosts" };
            assert_eq!(json, serde_json::json!({ field: [] }), "an empty list is []");
        }
    }
    relay.stop().await;
}

/// HOST-11: hosts come oldest first, with seq and count, once they were ever connected.
#[tokio::test]
async fn list_hosts_and_get_host_status_agree() {
    let relay = Relay::start().await;
    let alpha = relay.host("alpha").await;
    relay.account(&alpha, "alice").await;
    relay.account(&alpha, "bob").await;
    // Known, but nobody ever answered there.
    let gone = relay.net.pds("gone").await.unwrap();
    let gone_name = gone.hostname();
    gone.down();
    relay.running.hosts.admit(&gone_name, true).await.unwrap();
    let beta = relay.host("beta").await;
    relay.account(&beta, "carol").await;

    for limit in [1, 2, 3, 1000] {
        let hosts = walk(&relay, "listHosts", "hosts", limit).await;
        let names: Vec<_> = hosts.iter().map(|host| host["hostname"].as_str().unwrap()).collect();
        assert_eq!(names, [alpha.hostname(), beta.hostname()], "limit {limit}");
        for (host, count) in hosts.iter().zip([2, 1]) {
            assert_eq!(host["status"], "active");
            assert_eq!(host["accountCount"], count);
            assert!(host["seq"].as_u64().unwrap() > 0, "{host}");
            let name = host["hostname"].as_str().unwrap();
            let alone = relay.sync(&format!("getHostStatus?hostname={name}")).await;
            assert_eq!(alone.json(), *host);
        }
    }
    let unknown = relay.sync("getHostStatus?hostname=unknown.example.com").await;
    assert_eq!((unknown.status, unknown.error().as_str()), (404, "HostNotFound"));
    for wrong in ["", "hostname=", "hostname=10.0.0.1", "hostname=a%20b"] {
        let answer = relay.sync(&format!("getHostStatus?{wrong}")).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "InvalidRequest"), "{wrong}");
    }
    relay.stop().await;
}
