//! `provision watch` on relays and hosts.

use anyhow::{Context as _, Result};
use relay_simnet::{Fault, Net};

use crate::{
    binaries,
    process::{RelayProcess, Setup},
    program::{self, Running},
};

async fn relay(net: &Net) -> Result<RelayProcess> {
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    RelayProcess::start(net, setup).await
}

/// Who starts a relay and looks at it is told that it works and only knows nobody yet; Ctrl-C ends
/// the view without an error.
#[tokio::test]
async fn an_empty_relay_is_said_to_be_empty() -> Result<()> {
    let net = Net::seeded(201).await?;
    let relay = relay(&net).await?;
    let mut watch = Running::start(&["watch", &relay.url()], &[])?;

    let said = watch.says("connected").await?;
    assert!(said.starts_with("connected, 0 hosts"), "{said}");
    assert!(said.contains("relay/"), "{said}");
    watch.interrupt()?;
    let ended = watch.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.notes.contains("0 events"), "{ended:?}");
    assert_eq!(ended.out, "");
    Ok(())
}

/// A line has what happened, and the filters leave the rest out.
#[tokio::test]
async fn events_are_shown_and_filtered() -> Result<()> {
    let net = Net::seeded(202).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let relay = relay(&net).await?;
    relay.crawl(&net).await?;
    bob.post("from bob").await?;
    alice.post("from alice").await?;
    alice.deactivate().await?;
    relay.reach(&net).await?;

    let url = relay.url();
    let posts = ["watch", &url, "--cursor", "0", "--json", "--collection", "app.bsky.feed.*"];
    let did = ["--did", alice.as_ref(), "--limit", "1"];
    let ended = program::run(&[&posts[..], &did[..]].concat()).await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let event: serde_json::Value = serde_json::from_str(ended.out.trim())?;
    assert_eq!(event["type"], "commit");
    assert_eq!(event["did"], alice.as_ref());
    assert_eq!(event["ops"][0]["action"], "create");
    let path = event["ops"][0]["path"].as_str().context("a path")?;
    assert!(path.starts_with("app.bsky.feed.post/"), "{event}");
    assert!(event["seq"].is_u64() && event["rev"].is_string() && event["bytes"].is_u64());

    let accounts = ["watch", &url, "--cursor", "0", "--type", "account", "--did", alice.as_ref()];
    let mut watch = Running::start(&accounts, &[])?;
    let first = watch.line().await?;
    assert!(first.contains("account") && first.ends_with(" active"), "{first}");
    let second = watch.line().await?;
    assert!(second.ends_with("inactive deactivated"), "{second}");
    Ok(())
}

/// Over a restart of the relay the view goes on where it was: no event is missing and none is there
/// twice.
#[tokio::test]
async fn a_lost_connection_goes_on_from_its_cursor() -> Result<()> {
    let net = Net::seeded(203).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let mut relay = relay(&net).await?;
    relay.crawl(&net).await?;
    let words = ["watch", &relay.url(), "--cursor", "0", "--json", "--type", "commit"];
    let mut watch = Running::start(&words, &[])?;
    let first = watch.json().await?;
    alice.post("before").await?;
    let before = watch.json().await?;

    relay.stop().await?;
    watch.says("lost: ").await?;
    alice.post("meanwhile").await?;
    relay.restart().await?;
    let meanwhile = watch.json().await?;
    alice.post("after").await?;
    let after = watch.json().await?;

    for (event, last) in [(&before, &first), (&meanwhile, &before), (&after, &meanwhile)] {
        assert_eq!(event["since"], last["rev"], "{event} after {last}");
        assert!(event["seq"].as_u64() > last["seq"].as_u64());
    }
    watch.interrupt()?;
    let ended = watch.end().await?;
    let hint = format!("--cursor {}", after["seq"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.notes.contains(&hint), "{ended:?}");
    Ok(())
}

/// An operator who suspects a host sees which of its events are wrong, and why; a script sees it from
/// the exit code.
#[tokio::test]
async fn verification_tells_right_from_wrong() -> Result<()> {
    let net = Net::seeded(204).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let (url, plc) = (alpha.stream_url(), net.plc().url());
    let words = ["watch", &url, "--json", "--verify", "--plc", &plc];
    let limits = ["--type", "commit", "--limit", "3"];
    let mut watch = Running::start(&[&words[..], &limits[..]].concat(), &[])?;
    watch.says("connected").await?;

    alice.post("right").await?;
    assert_eq!(watch.json().await?["verified"], "right");
    alice.with(Fault::WrongKey).post("by somebody else").await?;
    let wrong = watch.json().await?["verified"]["wrong"].clone();
    assert!(wrong.as_str().is_some_and(|why| why.contains("signature")), "{wrong}");
    alice.rotate_key(true).await?;
    alice.post("with the new key").await?;
    assert_eq!(watch.json().await?["verified"], "right");
    assert_eq!(watch.end().await?.code, Some(1), "a finding");
    Ok(())
}

/// A server is believed because of its certificate, and for no other reason.
#[tokio::test]
async fn a_stream_with_tls_is_read_when_its_authority_is_trusted() -> Result<()> {
    let net = Net::seeded(205).await?;
    let alpha = net.secure_pds("alpha").await?;
    alpha.account("alice").await?;
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root.pem");
    net.authority()?.write(&root)?;
    let root = root.display().to_string();
    let address = alpha.address();
    let words = ["watch", &address, "--cursor", "0", "--limit", "1", "--json"];

    let mut watch = Running::start(&words, &[("SSL_CERT_FILE", &root)])?;
    assert!(watch.json().await?["seq"].is_u64());
    assert_eq!(watch.end().await?.code, Some(0));

    let ended = program::run(&words).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.notes.contains("gives no stream"), "{ended:?}");
    Ok(())
}

/// What cannot work is said at once, with its reason.
#[tokio::test]
async fn what_cannot_be_watched_is_told() -> Result<()> {
    let net = Net::seeded(206).await?;
    let relay = relay(&net).await?;
    for (words, code, said) in [
        (vec!["watch", "ftp://x.example"], 2, "scheme"),
        (vec!["watch", "localhost:1", "--collection", "posts"], 2, "no collection"),
        (vec!["watch", "localhost:1", "--did", "alice"], 2, "no DID"),
        (vec!["watch", "localhost:1", "--for", "soon"], 2, "no time"),
        (vec!["watch", "127.0.0.1:1"], 1, "connect to 127.0.0.1, port 1"),
        (vec!["watch", &relay.admin_address()], 1, "it answered 501"),
        (vec!["watch", &relay.url(), "--cursor", "99"], 1, "ahead of its stream"),
    ] {
        let ended = program::run(&words).await?;
        assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
        assert!(ended.notes.contains(said), "{words:?}: {ended:?}");
        assert_eq!(ended.out, "", "{words:?}");
    }
    Ok(())
}
