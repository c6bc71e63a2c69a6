//! Hosts and directory answer as their scripts say.

use crate::{
    block::{cid_text, read_car},
    *,
};
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A plain HTTP request; the answer as text.
async fn get(base: &str, path: &str) -> Result<String> {
    Ok(String::from_utf8(get_bytes(base, path).await?)?)
}

async fn get_bytes(base: &str, path: &str) -> Result<Vec<u8>> {
    let authority = base.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(&authority).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &str) -> Result<Value> {
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
    Ok(serde_json::from_str(body)?)
}

/// CUR-1 to CUR-6: exclusive cursors, error and info frames as the reference PDS sends them.
#[tokio::test]
async fn cursors_are_exclusive_and_judged() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let url = alpha.stream_url();

    let mut middle = Consumer::connect(&url, Start::After(3)).await?;
    assert_eq!(middle.next().await?.seq, 4);
    let mut head = Consumer::connect(&url, Start::After(4)).await?;
    head.silent_for(Duration::from_millis(30)).await?;
    alice.post("five").await?;
    assert_eq!(head.next().await?.seq, 5);

    let mut future = Consumer::connect(&url, Start::After(6)).await?;
    let error = "FutureCursor".to_owned();
    let message = "Cursor in the future.".to_owned();
    assert_eq!(future.next_item().await?, Item::Error { error: error.clone(), message });
    assert_eq!(future.next_item().await?, Item::Closed { code: Some(1008), reason: error });

    alpha.retain(2, 1 << 20);
    let mut old = Consumer::connect(&url, Start::After(1)).await?;
    assert_eq!(old.next().await?.seq, 4);
    assert_eq!(old.infos()[0].0, "OutdatedCursor");

    let mut wrong = Consumer::connect_query(&url, "cursor=abc").await?.expect("101");
    assert!(
        matches!(wrong.next_item().await?, Item::Error { error, .. } if error == "InvalidRequest")
    );
    Ok(())
}

/// UP-6: after a reset the numbers start again, and old cursors lie in the future.
#[tokio::test]
async fn a_reset_sequence_starts_again() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
    stream.take(4).await?;

    alpha.reset_sequence();

    assert!(matches!(stream.next_item().await?, Item::Closed { code: None, .. }));
    assert_eq!(alice.post("again").await?.seq, 1);
    alpha.skip_seq(10);
    assert_eq!(alice.post("after a gap").await?.seq, 12);
    let mut old = Consumer::connect(&alpha.stream_url(), Start::After(40)).await?;
    assert!(matches!(old.next_item().await?, Item::Error { error, .. } if error == "FutureCursor"));
    Ok(())
}

/// UP-5, T20: refusals, HTML, silence and cuts, and the same port after a restart.
#[tokio::test]
async fn a_host_fails_as_it_is_told() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let url = alpha.stream_url();

    alpha.answer_next(Upgrade::Status { status: 502, retry_after: None, html: true });
    let refused = Consumer::connect_query(&url, "").await?.expect_err("502");
    assert_eq!(refused.status, 502);
    alpha.answer_next(Upgrade::Status { status: 429, retry_after: Some(3), html: false });
    assert_eq!(Consumer::connect_query(&url, "").await?.expect_err("429").status, 429);
    alpha.answer_next(Upgrade::Silence);
    let hanging = Consumer::connect(&url, Start::Live);
    assert!(tokio::time::timeout(Duration::from_millis(50), hanging).await.is_err());

    let mut stream = Consumer::connect(&url, Start::After(4)).await?.reconnecting();
    alice.post("one").await?;
    assert_eq!(stream.next().await?.text(), "one");
    alpha.down();
    assert!(Consumer::connect(&url, Start::Live).await.is_err());
    alice.post("two").await?;
    alpha.up().await?;
    assert_eq!(stream.next().await?.text(), "two");
    assert_eq!(stream.reconnections(), 1);
    alpha.cut();
    alice.post("three").await?;
    assert_eq!(stream.next().await?.text(), "three");
    Ok(())
}

/// UP-5: a subscriber that lags behind the live edge is told so; one that catches up is not.
#[tokio::test]
async fn a_slow_subscriber_is_told_so() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    alpha.set_lag_max(Some(2));
    let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
    stream.take(4).await?;

    alpha.send_consumer_too_slow();
    let item = stream.next_item().await?;
    assert!(matches!(&item, Item::Error { error, .. } if error == "ConsumerTooSlow"), "{item:?}");
    assert!(matches!(stream.next_item().await?, Item::Closed { code: Some(1008), .. }));

    let mut again = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
    alice.post("five").await?;
    assert_eq!(again.take(5).await?.len(), 5);
    Ok(())
}

/// HOST-3, ACC-10: describeServer, listRepos with limit 1, getRepoStatus and getLatestCommit.
#[tokio::test]
async fn a_host_answers_what_a_relay_asks() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    bob.deactivate().await?;
    let (rev, commit) = alice.latest_commit().await?;
    let url = alpha.url();
    alpha.set_server_header("elsewhere (atproto-relay)");

    let answer = get(&url, "/xrpc/com.atproto.server.describeServer").await?;
    assert!(answer.contains("server: elsewhere (atproto-relay)"), "{answer}");
    assert!(body(&answer)?["did"].is_string());

    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = format!("/xrpc/com.atproto.sync.listRepos?limit=1{cursor}");
        let page = body(&get(&url, &page).await?)?;
        listed.extend(page["repos"].as_array().cloned().unwrap_or_default());
        match page["cursor"].as_str() {
            Some(last) => cursor = format!("&cursor={last}"),
            None => break,
        }
    }
    assert_eq!(listed.len(), 2);
    let listed_alice = listed.iter().find(|repo| repo["did"] == alice.did()).context("alice")?;
    assert_eq!(
        (&listed_alice["rev"], &listed_alice["head"]),
        (&rev.clone().into(), &commit.clone().into())
    );

    let ask = |method: &str, account: &Account| {
        format!("/xrpc/com.atproto.sync.{method}?did={}", account.did())
    };
    let status = body(&get(&url, &ask("getRepoStatus", &alice)).await?)?;
    assert_eq!((&status["active"], &status["rev"]), (&true.into(), &rev.into()));
    let status = body(&get(&url, &ask("getRepoStatus", &bob)).await?)?;
    assert_eq!(status["status"], "deactivated");
    assert_eq!(body(&get(&url, &ask("getLatestCommit", &alice)).await?)?["cid"], commit);
    let latest = get(&url, &ask("getLatestCommit", &bob)).await?;
    assert!(latest.starts_with("HTTP/1.1 400") && latest.contains("RepoDeactivated"));
    let exported = get_bytes(&url, &ask("getRepo", &alice)).await?;
    let end = exported.windows(4).position(|four| four == b"\r\n\r\n").context("a body")?;
    let car = read_car(exported.get(end + 4..).unwrap_or_default())?;
    assert_eq!(car.roots.first().map(cid_text), Some(commit));
    assert!(car.blocks.len() >= 2, "a commit and the nodes of a tree");
    for refused in [ask("getRepo", &bob), "/xrpc/com.atproto.sync.getRepo?did=x".to_owned()] {
        assert!(get(&url, &refused).await?.starts_with("HTTP/1.1 400"), "{refused}");
    }
    assert!(get(&url, "/xrpc/com.atproto.sync.getBlocks?did=x").await?.contains("501"));
    assert_eq!(alpha.requests("getRepo"), 3);
    assert_eq!(alpha.requests("getRepoStatus"), 2);
    assert_eq!(alpha.cursors(), [""; 0]);
    Ok(())
}

/// PLC answers: document, stale, 404, 410, 429, HTML, wrong id, tombstone, down; counted.
#[tokio::test]
async fn the_directory_answers_as_it_is_told() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let plc = net.plc();
    let path = format!("/{}", alice.did());
    let document = body(&get(&plc.url(), &path).await?)?;
    assert_eq!(document["id"], alice.did());
    assert_eq!(document["service"][0]["serviceEndpoint"], alpha.url());
    let key = document["verificationMethod"][0]["publicKeyMultibase"].clone();

    plc.answer(&alice, Answer::Stale);
    alice.rotate_key(false).await?;
    let stale = body(&get(&plc.url(), &path).await?)?;
    assert_eq!(stale["verificationMethod"][0]["publicKeyMultibase"], key);
    plc.answer(&alice, Answer::Document);
    let fresh = body(&get(&plc.url(), &path).await?)?;
    assert_ne!(fresh["verificationMethod"][0]["publicKeyMultibase"], key);

    for (answer, part) in [
        (Answer::NotFound, "HTTP/1.1 404"),
        (Answer::Gone, "HTTP/1.1 410"),
        (Answer::TooMany { retry_after: 7 }, "retry-after: 7"),
        (Answer::Status(503), "HTTP/1.1 503"),
        (Answer::Html, "<title>"),
        (Answer::WrongId, "did:plc:zzzz"),
        (Answer::NoHost, "\"service\":[]"),
    ] {
        plc.answer(&alice, answer.clone());
        let got = get(&plc.url(), &path).await?;
        assert!(got.contains(part), "{answer:?}: {got}");
    }
    assert_eq!(plc.lookups(&alice), 10);
    plc.answer(&alice, Answer::Document);
    plc.down();
    assert!(get(&plc.url(), &path).await.is_err());
    plc.up().await?;
    assert!(get(&plc.url(), &path).await?.contains("200 OK"));
    assert!(get(&plc.url(), "/did:plc:unknown").await?.contains("404"));
    assert_eq!((plc.lookups(&alice), plc.total_lookups()), (11, 12));
    plc.tombstone(&alice);
    assert!(get(&plc.url(), &path).await?.contains("DID not available"));
    assert!(get(&plc.url(), &format!("{path}/log/last")).await?.contains("plc_tombstone"));
    Ok(())
}

/// A did:web account has a document on a port of its own, in every form of the key.
#[tokio::test]
async fn a_web_account_serves_its_document() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    for (name, key_form) in [
        ("one", KeyForm::Multikey),
        ("two", KeyForm::LegacyCompressed),
        ("three", KeyForm::LegacyUncompressed),
    ] {
        let options = AccountOptions { web: true, key_form, curve: Curve::P256, announced: true };
        let account = alpha.account_with(name, options).await?;
        let web = account.web().context("a web account")?;
        let authority = account.did().trim_start_matches("did:web:").replace("%3A", ":");
        let document = body(&get(&authority, "/.well-known/did.json").await?)?;
        assert_eq!(document["id"], account.did());
        assert_eq!(web.lookups(), 1);
        web.answer(Answer::NotFound);
        assert!(get(&authority, "/.well-known/did.json").await?.contains("404"));
    }
    Ok(())
}

/// 9.3 delete: a replay from 0 does not hold the events of a deleted account.
#[tokio::test]
async fn a_deleted_account_leaves_a_gap() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);

    alice.delete_account().await?;

    let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
    let events = stream.take(5).await?;
    assert!(events[..4].iter().all(|event| event.did == bob.did()));
    assert_eq!((events[0].seq, events[4].seq), (5, 9));
    assert_eq!((events[4].active(), events[4].status().as_str()), (false, "deleted"));
    Ok(())
}

/// Nothing goes on listening after the last handle is dropped.
#[tokio::test]
async fn servers_stop_with_their_network() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let (host, plc) = (alpha.url(), net.plc().url());
    let mut stream = Consumer::connect(&alpha.stream_url(), Start::Live).await?;
    drop((alpha, net));

    assert!(matches!(stream.next_item().await?, Item::Closed { .. }));
    for url in [host, plc] {
        let mut refused = false;
        for _ in 0..200 {
            refused = get(&url, "/_health").await.is_err();
            if refused {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(refused, "{url} still answers");
    }
    Ok(())
}
