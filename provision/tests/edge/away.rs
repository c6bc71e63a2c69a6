//! What the public sees while the relay is away, and that nobody has to mend anything afterwards.

use anyhow::{Context as _, Result};
use relay_simnet::Start;
use serde_json::Value;

use crate::{
    door::{Door, LOOK_EVERY, PATIENCE, STRANGER, Scene},
    process::{stand, walk},
};

/// Asks until the answer has this status; gives its `Retry-After` and body.
async fn until(door: &Door, status: u16) -> Result<(Option<String>, Value)> {
    let client = door.client(STRANGER)?;
    let asked = async {
        loop {
            let answer = client.get(door.url("/xrpc/com.atproto.sync.listHosts")).send().await?;
            if answer.status() == status {
                let later = answer.headers().get("retry-after");
                let later = later.and_then(|value| value.to_str().ok()).map(str::to_owned);
                return anyhow::Ok((later, answer.json().await?));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.with_context(|| format!("never {status}"))?
}

/// During an upgrade, consumers and hosts are told to come back, in words that programs read; when
/// the relay is there again it is there for all.
#[tokio::test]
async fn a_stopped_relay_leaves_a_maintenance_answer() -> Result<()> {
    let Some(mut scene) = Scene::start(111, &[]).await? else { return Ok(()) };
    let alpha = scene.net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    scene.relay.crawl(&scene.net).await?;
    let mut before = scene.door.consume(Start::After(0)).await?;
    alice.post("before").await?;
    while before.next_for(&alice).await?.text() != "before" {}
    scene.relay.stop().await?;

    let (later, body) = until(&scene.door, 503).await?;
    assert_eq!(later.as_deref(), Some("10"));
    assert_eq!(body["error"], "ServiceUnavailable");
    assert!(body["message"].as_str().is_some_and(|text| text.contains("cursor")), "{body}");
    let refused = scene.door.try_consume(Start::Live).await?;
    let refused = refused.err().context("a stream without a relay")?;
    assert_eq!(refused.status, 503);

    scene.relay.restart().await?;
    until(&scene.door, 200).await?;
    alice.post("after").await?;
    let mut after = scene.door.consume(Start::After(u64::try_from(before.last_seq())?)).await?;
    while after.next_for(&alice).await?.text() != "after" {}
    Ok(())
}

/// A relay that hangs would hang everyone who asks; instead they are told so at once.
#[tokio::test]
async fn a_stuck_relay_is_out_until_it_answers_again() -> Result<()> {
    let Some(scene) = Scene::start(112, &[]).await? else { return Ok(()) };
    until(&scene.door, 200).await?;
    stand(scene.relay.pid())?;
    let stuck = until(&scene.door, 503).await;
    walk(scene.relay.pid())?;
    assert_eq!(stuck?.1["error"], "ServiceUnavailable");
    until(&scene.door, 200).await?;
    Ok(())
}
