//! The firehose through Caddy: the same bytes at the same time, and through reloads.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Consumer, Item, Start};

use crate::{
    binaries,
    door::{OPERATOR, Scene},
    process::PASSWORD,
};

/// Consumers that are connected while Caddy reloads.
const CONSUMERS: usize = 50;
/// What delays every event by as much as this would be noticed by a person.
const LATE: Duration = Duration::from_millis(500);

/// Events reach a consumer behind TLS as they reach one at the relay: one by one, byte for byte,
/// nothing held back until more of them come.
#[tokio::test]
async fn frames_pass_at_once_and_unchanged() -> Result<()> {
    let Some(scene) = Scene::start(121, &[]).await? else { return Ok(()) };
    let alpha = scene.net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    scene.relay.crawl(&scene.net).await?;
    let mut direct = Consumer::connect(&scene.relay.url(), Start::After(0)).await?;
    let mut through = scene.door.consume(Start::After(0)).await?;
    ensure!(through.server_header().starts_with("relay/"), "{}", through.server_header());

    let mut delays = Vec::new();
    for number in 0..40 {
        let text = format!("post {number}");
        alice.post(&text).await?;
        // The next post is not sent before: what waits for company would wait for ever.
        let here = loop {
            let event = direct.next_for(&alice).await?;
            if event.text() == text {
                break event;
            }
        };
        let since = now();
        let there = loop {
            let event = through.next_for(&alice).await?;
            if event.text() == text {
                break event;
            }
        };
        delays.push(since.elapsed());
        ensure!(here.frame == there.frame, "the frame was changed on its way: {there:?}");
    }
    delays.sort();
    let median = delays[delays.len() / 2];
    println!("through TLS a frame comes {median:?} after it has come directly (median of 40)");
    ensure!(median < LATE, "events come {median:?} late");
    Ok(())
}

/// A change of the settings cuts nobody off: no storm of consumers that come back at once.
#[tokio::test]
async fn a_reload_cuts_none_of_fifty_consumers() -> Result<()> {
    let Some(scene) = Scene::start(122, &[]).await? else { return Ok(()) };
    let cut = cut_by_a_reload(&scene).await?;
    assert_eq!(cut, 0, "of {CONSUMERS}");
    Ok(())
}

/// The proof that the test above would notice: without its one line, the same reload cuts all.
#[tokio::test]
async fn without_the_delay_a_reload_cuts_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = fs::read_to_string(binaries::root().join("Caddyfile"))?;
    let without = text.replace("\t\t\tstream_close_delay 24h\n", "");
    ensure!(without != text, "the Caddyfile has no line with the delay");
    let path = dir.path().join("Caddyfile");
    fs::write(&path, without)?;
    let Some(scene) = Scene::start_with(123, &[], path).await? else { return Ok(()) };
    let cut = cut_by_a_reload(&scene).await?;
    assert_eq!(cut, CONSUMERS);
    Ok(())
}

/// How many consumers a reload cuts off; the others get the event that comes after it.
async fn cut_by_a_reload(scene: &Scene) -> Result<usize> {
    let alpha = scene.net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    scene.relay.crawl(&scene.net).await?;
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        consumers.push(scene.door.consume(Start::Live).await?);
    }
    alice.post("before").await?;
    for consumer in &mut consumers {
        while consumer.next_for(&alice).await?.text() != "before" {}
    }

    scene.door.reload("RELAY_ADMIN_ALLOW", "127.0.0.2")?;
    let operator = scene.door.client(OPERATOR)?;
    let status = operator.get(scene.door.url("/admin/v1/status")).bearer_auth(PASSWORD);
    ensure!(status.send().await?.status() == 200, "the reload changed nothing");
    alice.post("after").await?;

    let mut cut = 0;
    for consumer in &mut consumers {
        match consumer.next_item().await.context("after the reload")? {
            Item::Event(event) => ensure!(event.text() == "after", "{event:?}"),
            Item::Closed { .. } => cut += 1,
            other => anyhow::bail!("after the reload: {other:?}"),
        }
    }
    Ok(cut)
}

#[expect(clippy::disallowed_methods, reason = "the rule is for the relay; this measures Caddy")]
fn now() -> Instant {
    Instant::now()
}
