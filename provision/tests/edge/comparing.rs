//! `provision compare` on real relays of which one is made to miss what is known.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::Query,
    http::{StatusCode, Uri},
    routing::get,
};
use relay_simnet::{Consumer, Net, Pds, Start};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    binaries,
    process::{PASSWORD, RelayProcess, Setup},
    program::{self, Running},
};

/// A relay with this directory that reads these hosts.
async fn relay(directory: String, hosts: &[&Pds]) -> Result<RelayProcess> {
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    let relay = RelayProcess::start_beside(directory, setup).await?;
    let names: Vec<_> = hosts.iter().map(|host| host.hostname()).collect();
    relay.add_hosts(&names).await?;
    Ok(relay)
}

/// The directory of the network as somebody sees it who is told that one account is not in it.
async fn directory_without(net: &Net, did: &str) -> Result<String> {
    let (plc, hidden, client) = (net.plc().url(), format!("/{did}"), reqwest::Client::builder());
    let client = client.no_proxy().build()?;
    let answer = move |uri: Uri| async move {
        if uri.path() == hidden {
            return (StatusCode::NOT_FOUND, String::new());
        }
        match client.get(format!("{plc}{uri}")).send().await {
            Ok(answer) => (answer.status(), answer.text().await.unwrap_or_default()),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
        }
    };
    serve(Router::new().fallback(get(answer))).await.map(|address| format!("http://{address}"))
}

/// Serves until the test ends.
async fn serve(router: Router) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(axum::serve(listener, router).into_future());
    serving.detach_all();
    Ok(address)
}

/// The number of a field.
fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or(u64::MAX)
}

/// The operator learns exactly which events the relay did not give, of which hosts, and why, from the
/// relay itself: a host that it does not read, and an account that is not in its directory.
#[tokio::test]
async fn the_report_names_exactly_the_events_that_are_missing_and_why() -> Result<()> {
    let net = Net::seeded(301).await?;
    let [alpha, beta, gamma] =
        [net.pds("alpha").await?, net.pds("beta").await?, net.pds("gamma").await?];
    let [alice, bob] = [alpha.account("alice").await?, beta.account("bob").await?];
    let [dave, carol] = [beta.account("dave").await?, gamma.account("carol").await?];
    let directory = directory_without(&net, dave.as_ref()).await?;
    let ours = relay(directory, &[&alpha, &beta]).await?;
    let theirs = relay(net.plc().url(), &[&alpha, &beta, &gamma]).await?;
    theirs.reach(&net).await?;
    let mut of_ours = Consumer::connect(&ours.url(), Start::After(0)).await?;
    let mut met = BTreeSet::new();
    while met.len() < 2 {
        met.insert(of_ours.next().await?.did);
    }

    let dir = tempfile::tempdir()?;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let (html, prom, history) = (place("a.html"), place("a.prom"), place("a.jsonl"));
    let admin = format!("http://{}", ours.admin_address());
    let (first, second) = (ours.url(), theirs.url());
    let words = ["compare", &first, &second, "--for", "5m", "--settle", "4s", "--json"];
    let files = ["--html", &html, "--prometheus", &prom, "--history", &history, "--admin", &admin];
    let password = [("RELAY_ADMIN_PASSWORD", PASSWORD)];
    let mut compare = Running::start(&[&words[..], &files[..]].concat(), &password)?;
    compare.says("measuring").await?;
    for (account, posts) in [(&dave, 2), (&carol, 3), (&bob, 3), (&alice, 5)] {
        for post in 0..posts {
            account.post(&format!("post {post}")).await?;
        }
    }
    theirs.reach(&net).await?;
    let mut given = 0;
    while given < 8 {
        given += usize::from(of_ours.next().await?.text().starts_with("post "));
    }
    compare.interrupt()?;
    let ended = compare.end().await?;
    let report: Value = serde_json::from_str(&ended.out).with_context(|| format!("{ended:?}"))?;

    assert_eq!(ended.code, Some(1), "not good: {report}");
    assert_eq!(number(&report, "union"), 13);
    let [here, there] = [&report["relays"][0], &report["relays"][1]];
    assert_eq!((number(here, "matched"), number(here, "missing")), (8, 5), "{report}");
    assert_eq!((number(there, "matched"), number(there, "missing")), (13, 0), "{report}");
    assert_eq!(number(there, "onlyHere"), 5);
    assert_eq!((&here["verdict"], &there["verdict"]), (&json!("critical"), &json!("good")));
    assert_eq!(here["reasons"], json!({ "identity_invalid": 2, "unknown_account": 3 }), "{report}");

    let expected = posts(&second, &[dave.as_ref(), carol.as_ref()], 5).await?;
    let missing = report["missing"].as_array().context("a list")?;
    let text = |miss: &Value, field: &str| miss[field].as_str().unwrap_or_default().to_owned();
    let named: BTreeSet<_> =
        missing.iter().map(|miss| (text(miss, "did"), text(miss, "rev"))).collect();
    assert_eq!(named, expected);
    for miss in missing {
        let is_of_dave = miss["did"] == dave.as_ref();
        assert_eq!(miss["host"] == json!(beta.hostname()), is_of_dave, "{miss}");
        assert!(miss["words"].as_str().is_some_and(|words| words.len() > 20), "{miss}");
    }
    let host = |name: String| json!({ "host": name, "events": 5, "matched": [5, 5] });
    let mut partly = host(beta.hostname());
    partly["matched"] = json!([3, 5]);
    assert_eq!(report["hosts"], json!([partly, host(alpha.hostname())]), "the worst comes first");
    files_of(&dir, &ours)
}

/// DIDs and revisions of so many posts of these accounts.
async fn posts(url: &str, dids: &[&str], count: usize) -> Result<BTreeSet<(String, String)>> {
    let mut stream = Consumer::connect(url, Start::After(0)).await?;
    let mut found = BTreeSet::new();
    while found.len() < count {
        let event = stream.next().await?;
        if dids.contains(&event.did.as_str()) && event.text().starts_with("post ") {
            found.insert((event.did.clone(), event.rev.context("a commit has a rev")?));
        }
    }
    Ok(found)
}

/// What a page, an alert and the next comparison need lies in its files.
fn files_of(dir: &tempfile::TempDir, ours: &RelayProcess) -> Result<()> {
    let read = |name: &str| fs::read_to_string(dir.path().join(name));
    let name = ours.url().replace("http://", "");
    let prom = read("a.prom")?;
    let line = format!("relay_coverage_ratio{{relay=\"{name}\"}} 0.615");
    assert!(prom.contains(&line), "{prom}");
    assert!(prom.contains(&format!("relay_coverage_judged{{relay=\"{name}\"}} 1\n")), "{prom}");
    assert!(prom.contains("relay_coverage_time_seconds "), "{prom}");
    let html = read("a.html")?;
    assert!(html.contains("<svg") && html.contains("61.54 %") && html.contains("unknown_account"));
    let history = read("a.jsonl")?;
    let past: Value = serde_json::from_str(history.trim())?;
    assert_eq!(past["union"], 13);
    assert!(past["coverage"][&name].as_f64().is_some_and(|share| share < 0.7), "{past}");
    Ok(())
}

/// Two relays that read the same hosts give the same, and the one that is judged is good; a third that
/// is away is said to be away and keeps nobody from the answer.
#[tokio::test]
async fn equal_relays_are_good_and_one_that_is_away_is_named() -> Result<()> {
    let net = Net::seeded(302).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let ours = relay(net.plc().url(), &[&alpha]).await?;
    let theirs = relay(net.plc().url(), &[&alpha]).await?;
    for relay in [&ours, &theirs] {
        relay.reach(&net).await?;
    }
    let (first, second, plc) = (ours.url(), theirs.url(), net.plc().url());
    let words = ["compare", &first, &second, "127.0.0.1:1", "--for", "5m", "--settle", "3s"];
    let mut compare = Running::start(&[&words[..], &["--plc", &plc]].concat(), &[])?;
    compare.says("measuring").await?;
    for post in 0..20 {
        alice.post(&format!("post {post}")).await?;
    }
    for relay in [&ours, &theirs] {
        relay.reach(&net).await?;
    }
    compare.interrupt()?;
    let ended = compare.end().await?;

    assert_eq!(ended.code, Some(0), "{ended:?}");
    let row =
        |name: &str| ended.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    for url in [&first, &second] {
        let row = row(&url.replace("http://", ""));
        assert!(row.contains(" 100.00 % ") && row.ends_with("good"), "{}", ended.out);
    }
    assert!(row("127.0.0.1:1 ").ends_with("critical"), "{}", ended.out);
    assert!(row("127.0.0.1:1: ").contains("gives no stream"), "{}", ended.out);
    assert!(ended.out.contains(&alpha.hostname()), "{}", ended.out);
    Ok(())
}

/// What cannot be compared is said with what to do.
#[tokio::test]
async fn what_cannot_be_compared_is_told() -> Result<()> {
    let net = Net::seeded(303).await?;
    let alone = relay(net.plc().url(), &[]).await?;
    let url = alone.url();
    let dir = tempfile::tempdir()?;
    let empty = dir.path().join("empty");
    fs::write(&empty, "# none\n")?;
    let empty = empty.display().to_string();
    for (words, code, said) in [
        (vec!["compare", &url], 2, "at least two"),
        (vec!["compare", &url, &url], 2, "at least two"),
        (vec!["compare", &url, "127.0.0.1:1"], 1, "1 of 2 relays give a stream"),
        (vec!["compare", &url, "127.0.0.1:1", "--admin", "http://x"], 1, "RELAY_ADMIN_PASSWORD"),
        (vec!["compare", &url, "ftp://x"], 2, "scheme"),
        (vec!["compare", "repos", &url, "127.0.0.1:1"], 1, "ask http://127.0.0.1:1"),
        (vec!["compare", "collections", "--nsids", &empty, &url, &url], 1, "holds no line"),
    ] {
        let ended = program::run(&words).await?;
        assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
        assert!(ended.notes.contains(said), "{words:?}: {ended:?}");
    }
    Ok(())
}

/// An operator sees which accounts the relay does not list, and which it has an older state of.
#[tokio::test]
async fn lists_of_accounts_are_compared() -> Result<()> {
    let net = Net::seeded(304).await?;
    let [alpha, gamma] = [net.pds("alpha").await?, net.pds("gamma").await?];
    let [alice, bob] = [alpha.account("alice").await?, alpha.account("bob").await?];
    let carol = gamma.account("carol").await?;
    let theirs = relay(net.plc().url(), &[&alpha, &gamma]).await?;
    let mut ours = relay(net.plc().url(), &[&alpha]).await?;
    let mut of_ours = Consumer::connect(&ours.url(), Start::After(0)).await?;
    of_ours.next_for(&bob).await?;
    ours.get("com.atproto.sync.listRepos").await?;
    // Ours is away from now on, and after its start it reads no host: what follows it does not see.
    ours.stop().await?;
    alpha.cut();
    alice.post("newer").await?;
    bob.deactivate().await?;
    theirs.reach(&net).await?;
    alpha.down();
    ours.restart().await?;

    let (first, second) = (ours.url(), theirs.url());
    let ended = program::run(&["compare", "repos", &first, &second, "--json"]).await?;
    let found: Value = serde_json::from_str(&ended.out).with_context(|| format!("{ended:?}"))?;
    assert_eq!(found["counts"], json!([2, 3]), "{found}");
    assert_eq!((&found["both"], &found["only"]), (&json!(2), &json!([0, 1])));
    assert_eq!(found["examples"]["only in the second"], json!([carol.as_ref()]));
    assert_eq!(found["examples"]["newer in the second"], json!([alice.as_ref()]), "{found}");
    assert_eq!(found["activeOnly"], json!([1, 0]), "{found}");
    assert_eq!(ended.code, Some(1), "two of three are not enough");

    let same = program::run(&["compare", "repos", &second, &second]).await?;
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.out.contains("lists 100.00 % of all: good"), "{}", same.out);
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Asked {
    collection: String,
    cursor: Option<usize>,
}

/// A service that lists accounts by collection, two on a page; this relay does not serve the method.
async fn service(listed: &'static [(&'static str, &'static [&'static str])]) -> Result<String> {
    let answer = move |Query(asked): Query<Asked>| async move {
        let found = listed.iter().find(|(collection, _)| *collection == asked.collection);
        let all = found.map(|(_, dids)| *dids).unwrap_or_default();
        let from = asked.cursor.unwrap_or(0);
        let page: Vec<_> = all.iter().skip(from).take(2).map(|did| json!({ "did": did })).collect();
        let mut body = json!({ "repos": page });
        if from + 2 < all.len() {
            body["cursor"] = json!((from + 2).to_string());
        }
        Json(body)
    };
    let path = "/xrpc/com.atproto.sync.listReposByCollection";
    serve(Router::new().route(path, get(answer))).await
}

/// Which accounts of a collection one service knows and the other does not, over several pages.
#[tokio::test]
async fn lists_of_collections_are_compared() -> Result<()> {
    let posts = "app.bsky.feed.post";
    let first = service(&[
        ("app.bsky.feed.post", &["did:web:a.example", "did:web:b.example", "did:web:c.example"]),
        ("com.example.thing", &["did:web:a.example"]),
    ])
    .await?;
    let second = service(&[
        ("app.bsky.feed.post", &["did:web:b.example", "did:web:c.example", "did:web:d.example"]),
        ("com.example.thing", &["did:web:a.example"]),
    ])
    .await?;
    let dir = tempfile::tempdir()?;
    let nsids = dir.path().join("nsids");
    fs::write(&nsids, format!("{posts}\ncom.example.thing # ours\n"))?;
    let nsids = shown(&nsids);

    let words = ["compare", "collections", "--nsids", &nsids, &first, &second, "--json"];
    let ended = program::run(&words).await?;
    let rows: Vec<Value> =
        ended.out.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("JSON")?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(rows[0]["collection"], posts);
    let found = &rows[0]["difference"];
    assert_eq!((&found["counts"], &found["only"]), (&json!([3, 3]), &json!([1, 1])), "{found}");
    assert_eq!(found["examples"]["only in the second"], json!(["did:web:d.example"]));
    assert_eq!(rows[1]["difference"]["coverage"], 1.0);
    Ok(())
}

/// Two relays that read the same hosts list the same accounts by collection, from the time on at which the
/// second has taken the lists of the first.
#[tokio::test]
async fn two_relays_list_the_same_accounts_by_collection() -> Result<()> {
    let net = Net::seeded(305).await?;
    let alpha = net.pds("alpha").await?;
    let old = alpha.account("old").await?;
    old.post("long ago").await?;
    alpha.forget_events();
    let ours = relay(net.plc().url(), &[&alpha]).await?;
    let theirs = relay(net.plc().url(), &[&alpha]).await?;
    let dir = tempfile::tempdir()?;
    let nsids = dir.path().join("nsids");
    fs::write(&nsids, "app.bsky.feed.post\napp.bsky.feed.like\n")?;
    let nsids = shown(&nsids);
    let (first, second) = (ours.url(), theirs.url());
    let words = ["compare", "collections", "--nsids", &nsids, &first, &second, "--json"];
    let same = async || -> Result<bool> {
        let ended = program::run(&words).await?;
        let rows: Vec<Value> =
            ended.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(rows.len() == 2
            && rows.iter().all(|row| row["difference"]["only"] == json!([0, 0]))
            && rows[0]["difference"]["both"] == 2
            && rows[1]["difference"]["both"] == 1)
    };
    fill(&theirs, json!({ "dids": [old.as_ref()] })).await?;
    let new = alpha.account("new").await?;
    new.post("hello").await?;
    new.like("at://did:web:example.com/app.bsky.feed.post/x").await?;
    assert!(!same().await?, "control: ours was told of one account alone");

    let from = theirs.url().replace("http://", "");
    fill(&ours, json!({ "from": [from.replace("127.0.0.1", "localhost")] })).await?;

    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while !same().await? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    });
    waited.await.context("they still differ")??;
    Ok(())
}

/// Has the index of collections of a relay filled.
async fn fill(relay: &RelayProcess, body: Value) -> Result<()> {
    let url = format!("http://{}/admin/v1/collections/backfill", relay.admin_address());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let asked = client.post(url).basic_auth("admin", Some(PASSWORD)).json(&body).send().await?;
    assert!(asked.status().is_success(), "{}", asked.text().await?);
    Ok(())
}

/// One relay, also when it is named twice, is compared with nothing: wrong usage, told at once.
#[tokio::test]
async fn one_relay_is_not_compared() -> Result<()> {
    for words in [&["compare", "relay.example.com"][..], &["compare", "a.example", "a.example"]] {
        let ended = program::run(words).await?;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.notes.contains("at least two"), "{ended:?}");
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
