//! How often hosts are asked about collections, and whether the relay does so by itself.

use std::time::Duration;

use relay::clock::Clock;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    backfill::{NOTE, POST, fill, known, known_as, proven, quiet_host, status_until, walked},
    relay::Relay,
};

const DESCRIBE: &str = "describeRepo";

/// Setting `collections_questions`: so many a second at one operator; with 0 only what an operator names.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_asked_as_often_as_the_settings_say() {
    let clock = Clock::manual(1_800_000_000_000_000);
    let setting = |number| [("RELAY_COLLECTIONS_QUESTIONS", number)];
    let relay = Relay::start_at(clock.clone(), &setting("0")).await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one", "two", "three"]).await;
    walked(&relay, &pds).await;
    // Long after the quiet time of a start.
    clock.advance_us(600_000_000);
    fill(&relay, json!({ "dids": [accounts[0].did()] })).await;
    known_as(&relay, &accounts[0], proven(&[POST, NOTE])).await;
    let status = status_until(&relay, |status| status["totals"]["unsure"] == 2).await;
    assert_eq!(status["resolving"]["running"], false, "{status}");
    assert_eq!(known(&relay, accounts[1].did()).await.1, []);
    assert_eq!(pds.requests(DESCRIBE), 1, "nothing but what was named");

    fill(&relay, json!({})).await;
    for account in &accounts[1..] {
        known_as(&relay, account, proven(&[POST, NOTE])).await;
    }
    status_until(&relay, |status| status["resolving"]["running"] == false).await;
    relay.stop().await;

    let clock = Clock::manual(1_800_000_000_000_000);
    let relay = Relay::start_at(clock.clone(), &setting("2")).await;
    let (pds, accounts) = quiet_host(&relay, "quiet", &["one", "two", "three"]).await;
    walked(&relay, &pds).await;
    assert_eq!(pds.requests(DESCRIBE), 0, "control: a start is quiet");
    let began = Instant::now();
    clock.advance_us(600_000_000);
    for account in &accounts {
        known_as(&relay, account, proven(&[POST, NOTE])).await;
    }
    // Two pauses between three questions.
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    relay.stop().await;
}
