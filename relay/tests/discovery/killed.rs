//! The process is killed while it reads lists of collections; nothing is lost, nothing is there too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_simnet::{Account, Net, Pds};
use serde_json::{Value, json};

use crate::{
    directory::Directory,
    http::post,
    process::{PASSWORD, Process, Program, until},
};

/// How often it is killed.
const KILLS: usize = 20;
const POST: &str = "app.bsky.feed.post";
const LIKE: &str = "app.bsky.feed.like";
const FOLLOW: &str = "app.bsky.graph.follow";

type Lists = BTreeMap<String, BTreeSet<String>>;

/// Everything that the index holds, from its pages of a dump.
async fn dumped(relay: &Process) -> Lists {
    let mut found = Lists::new();
    let mut cursor = String::new();
    loop {
        let page = relay.admin(&format!("/admin/v1/collections/dump?limit=7{cursor}")).await.json();
        for account in page["accounts"].as_array().unwrap() {
            let names = ["proven", "believed"].iter().filter_map(|key| account[*key].as_array());
            let names = names.flatten().map(|name| name.as_str().unwrap().to_owned());
            let did = account["did"].as_str().unwrap().to_owned();
            assert!(found.insert(did, names.collect()).is_none(), "an account is there twice");
        }
        let Some(next) = page["cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

async fn finished(relay: &Process) -> bool {
    let status = relay.admin("/admin/v1/collections/backfill").await.json();
    status["imports"][0]["status"] == "finished"
}

async fn import(relay: &Process, from: &str) {
    let password = format!("Authorization: Bearer {PASSWORD}");
    let body = json!({ "from": [from] }).to_string();
    let answer =
        post(relay.at().admin, "/admin/v1/collections/backfill", &[&password], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Accounts that wrote before anybody looked.
async fn quiet(pds: &Pds, count: usize) -> Vec<Account> {
    let mut made = Vec::new();
    for n in 0..count {
        let account = pds.account(&format!("quiet{n}")).await.unwrap();
        account.post("long ago").await.unwrap();
        made.push(account);
    }
    pds.forget_events();
    made
}

/// Every page of these lists, one entry each, in the order in which an import reads them.
fn pages(lists: &[(&str, Vec<String>)]) -> Vec<(String, String)> {
    let lists: BTreeMap<&str, usize> =
        lists.iter().map(|(name, dids)| (*name, dids.len())).collect();
    let of = |(name, count): (&str, usize)| {
        let cursor = |page: usize| if page == 0 { String::new() } else { page.to_string() };
        (0..count).map(|page| (name.to_owned(), cursor(page))).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

/// Whether pages were asked for in their order, each once, but for the one that a kill cut off: that is the
/// first one of the next life.
///
/// * `lives` – how many had been asked for at each start
fn assert_no_page_was_read_in_vain(
    asked: &[(String, String)],
    pages: &[(String, String)],
    lives: &[usize],
) {
    let mut place = 0;
    let mut again = BTreeMap::<usize, Vec<usize>>::new();
    for (at, page) in asked.iter().enumerate() {
        if pages.get(place) == Some(page) {
            place += 1;
            continue;
        }
        assert_eq!(
            Some(page),
            place.checked_sub(1).and_then(|last| pages.get(last)),
            "number {at} of all questions goes back, or leaves a page out: {asked:?}"
        );
        let life = lives.iter().filter(|start| **start <= at).count();
        again.entry(life).or_default().push(at);
    }
    assert_eq!(place, pages.len(), "every page of every list");
    for (life, again) in again {
        assert!(life > 0, "a page was asked for again before any kill: {again:?}");
        assert_eq!(again.len(), 1, "pages asked for again after kill {life}: {again:?}, {asked:?}");
    }
}

/// A relay that is killed at any moment of an import ends with exactly what the lists hold, each at the
/// right account, although accounts are new all the time. After each kill it reads the page again that was
/// not finished, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_twenty_times_loses_nothing_and_leaves_no_ghost() {
    let net = Net::seeded(7).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let accounts = quiet(&pds, 24).await;
    let dids: Vec<String> = accounts.iter().map(|account| account.did().to_owned()).collect();
    let some = |skip: usize, step: usize| -> Vec<String> {
        dids.iter().skip(skip).step_by(step).cloned().collect()
    };
    let lists = [(POST, dids.clone()), (LIKE, some(0, 2)), (FOLLOW, some(1, 2))];
    let directory = Directory::start(&lists, 1).await;
    directory.delay(Duration::from_millis(20));
    let program = Program::beside(&net);
    let (mut live, mut lives) = (Vec::new(), Vec::new());
    let mut relay = program.start().await;
    relay.crawl(&pds.hostname()).await;
    import(&relay, &directory.name()).await;

    for kill in 0..KILLS {
        let asked = directory.asked().len();
        until("it reads on", async || directory.asked().len() > asked + kill % 2).await;
        let account = pds.account(&format!("live{kill}")).await.unwrap();
        account.post("just now").await.unwrap();
        live.push(account);
        // At another moment of the page each time.
        tokio::time::sleep(Duration::from_millis(kill as u64 * 3 % 29)).await;
        // What the dead process still has on its way must not be taken for a question of the next one.
        directory.wait(true);
        relay.kill();
        lives.push(directory.asked().len());
        relay = program.start().await;
        directory.wait(false);
    }

    let was_cut = !finished(&relay).await;
    until("the lists are read", async || finished(&relay).await).await;
    let mut expected = Lists::new();
    for (name, dids) in &lists {
        for did in dids {
            expected.entry(did.clone()).or_default().insert((*name).to_owned());
        }
    }
    let mut found = dumped(&relay).await;
    for account in &live {
        let posts = found.remove(account.did()).unwrap_or_default();
        assert!(posts.iter().all(|name| name == POST), "{}: {posts:?}", account.did());
    }
    assert_eq!(found, expected);
    assert!(was_cut, "control: it was read to the end before the last kill");
    assert_no_page_was_read_in_vain(&directory.asked(), &pages(&lists), &lives);
    relay.stop().await;
}

/// All that a relay lists, by collection.
async fn listed(relay: &Process) -> Lists {
    let names = crate::http::send(relay.at().api, "GET", "/v1/listCollections?limit=1000", &[])
        .await
        .json();
    let mut found = Lists::new();
    for name in names["collections"].as_object().unwrap().keys() {
        let mut cursor = String::new();
        loop {
            let path = format!(
                "/xrpc/com.atproto.sync.listReposByCollection?collection={name}&limit=3{cursor}"
            );
            let page = crate::http::send(relay.at().api, "GET", &path, &[]).await.json();
            let dids = page["repos"].as_array().unwrap().iter();
            let dids = dids.map(|repo| repo["did"].as_str().unwrap().to_owned());
            found.entry(name.clone()).or_default().extend(dids);
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
    }
    found
}

/// A second relay takes the lists of the first, then both follow the hosts: what they list stays the same,
/// also when the last record of a kind goes.
#[tokio::test(flavor = "multi_thread")]
async fn two_relays_list_the_same_after_one_has_taken_the_lists_of_the_other() {
    let net = Net::seeded(8).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    let accounts = quiet(&pds, 5).await;
    let (first, second) = (Program::beside(&net), Program::beside(&net));
    let here = first.start().await;
    here.crawl(&pds.hostname()).await;
    let dids: Vec<&str> = accounts.iter().map(Account::did).collect();
    let password = format!("Authorization: Bearer {PASSWORD}");
    let body = json!({ "dids": dids }).to_string();
    post(here.at().admin, "/admin/v1/collections/backfill", &[&password], &body).await;
    until("hosts were asked", async || {
        listed(&here).await.get(POST).is_some_and(|dids| dids.len() == 5)
    })
    .await;
    let there = second.start().await;
    there.crawl(&pds.hostname()).await;
    import(&there, &format!("localhost:{}", here.at().api.port())).await;
    until("the lists are read", async || finished(&there).await).await;
    assert_eq!(listed(&there).await, listed(&here).await);

    let new = pds.account("new").await.unwrap();
    let like = new.like("at://did:web:example.com/app.bsky.feed.post/x").await.unwrap();
    accounts[0].like("at://did:web:example.com/app.bsky.feed.post/x").await.unwrap();
    new.delete(&like.paths[0]).await.unwrap();
    new.post("only this").await.unwrap();

    let expected: Lists = [
        (LIKE.to_owned(), [dids[0].to_owned()].into()),
        (POST.to_owned(), dids.iter().chain(&[new.did()]).map(|did| (*did).to_owned()).collect()),
    ]
    .into();
    for relay in [&here, &there] {
        until("it follows", async || listed(relay).await == expected).await;
    }
    let verify = async |relay: &Process| -> Value {
        let body = json!({ "sample": 100 }).to_string();
        post(relay.at().admin, "/admin/v1/collections/verify", &[&password], &body).await;
        let found = async || {
            relay.admin("/admin/v1/collections/verify").await.json()["verification"].clone()
        };
        until("it was compared", async || found().await["status"] == "finished").await;
        found().await
    };
    for relay in [&here, &there] {
        let found = verify(relay).await;
        assert_eq!(
            (&found["checked"], &found["ghosts"], &found["missing"]),
            (&6.into(), &0.into(), &0.into()),
            "{found}"
        );
    }
    here.stop().await;
    there.stop().await;
}
