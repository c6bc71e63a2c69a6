//! Who may speak for an account (VAL-3, VAL-4, ACC-1, SEC-3).

use anyhow::Result;

use super::scene::{
    ALPHA, BETA, Event, NOTHING_NEW, Scene,
    Told::{Asks, Drops, Passes},
};
use crate::{
    accounts::{NO_HOST, limits::Doubt},
    domain::{DropReason, EventKind},
    ingest::{judge::Fresh, verdict::Ask},
};

/// A commit, a sync and an `#account` of alice, all good.
async fn three_events(scene: &mut Scene) -> Result<[Event; 3]> {
    let commit = scene.post("hello").await?;
    scene.alice.sync().await?;
    let sync = scene.next_of(EventKind::Sync).await?;
    scene.alice.announce_status(true, None).await?;
    Ok([commit, sync, scene.next_of(EventKind::Account).await?])
}

/// VAL-3, IDE-7: the identity of an account that was never seen is asked for, whatever comes first.
#[tokio::test]
async fn the_first_event_of_an_account_asks_for_its_identity() -> Result<()> {
    let mut scene = Scene::new().await?;
    let mut events = three_events(&mut scene).await?.to_vec();
    scene.alice.identity(None).await?;
    events.push(scene.next_of(EventKind::Identity).await?);

    let row = scene.row.take();
    for event in &events {
        assert_eq!(scene.told(event), Asks(Ask::FirstSight), "{}", event.kind.name());
    }

    scene.row = row;
    for event in &events {
        assert_eq!(scene.told_at_last(event), Passes, "control: {}", event.kind.name());
    }
    Ok(())
}

/// VAL-4, ACC-1, T18: events of a host that the document does not name are dropped, after one
/// question; the detail names both hosts.
#[tokio::test]
async fn events_of_another_host_are_dropped_after_one_question() -> Result<()> {
    let mut scene = Scene::new().await?;
    let events = three_events(&mut scene).await?;

    scene.from = BETA;
    for event in &events {
        scene.asked.identity = None;
        assert_eq!(scene.told(event), Asks(Ask::Host), "{}", event.kind.name());
        scene.asked.identity = Some(NOTHING_NEW);
        assert_eq!(scene.told(event), Drops(DropReason::WrongHost), "{}", event.kind.name());
        let detail = scene.detail(event);
        assert!(detail.contains("host1.test") && detail.contains("host2.test"), "{detail}");
    }

    scene.from = ALPHA;
    for event in &events {
        assert_eq!(scene.told(event), Passes, "control: {}", event.kind.name());
    }
    Ok(())
}

/// VAL-4: the question moves the account when the document names the sender now.
#[tokio::test]
async fn events_of_the_new_host_pass_once_the_document_names_it() -> Result<()> {
    let mut scene = Scene::new().await?;
    let events = three_events(&mut scene).await?;
    scene.from = BETA;
    assert_eq!(scene.told(&events[0]), Asks(Ask::Host));

    scene.row().host = BETA;
    scene.asked.identity = Some(Fresh::Document { changed: true, handle: None });

    for event in &events {
        assert_eq!(scene.told(event), Passes, "{}", event.kind.name());
    }
    scene.from = ALPHA;
    assert_eq!(scene.told(&events[0]), Drops(DropReason::WrongHost), "the old host goes on");
    Ok(())
}

/// SEC-3, RES-3, T18: a foreign host causes one lookup per account and minute, and no more than its
/// own budget allows.
#[tokio::test]
async fn a_foreign_host_cannot_cause_lookups_without_end() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    scene.from = BETA;
    let now_ms = scene.now_us / 1000;

    scene.host_may_ask = false;
    assert_eq!(scene.told(&commit), Drops(DropReason::WrongHost), "its budget is used up");
    scene.host_may_ask = true;
    assert_eq!(scene.told(&commit), Asks(Ask::Host), "control");

    scene.recent.refreshed(Doubt::Host, now_ms);
    assert_eq!(scene.told(&commit), Drops(DropReason::WrongHost), "asked a moment ago");
    scene.now_us += 60_000_000;
    assert_eq!(scene.told(&commit), Asks(Ask::Host), "control: a minute later");
    Ok(())
}

/// DOC-6, ACC-13: an account whose document names no host that we know has no authority at all.
#[tokio::test]
async fn an_account_without_a_known_host_has_nobody_to_speak_for_it() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    scene.row().host = NO_HOST;
    assert_eq!(scene.told(&commit), Asks(Ask::Host));

    scene.asked.identity = Some(NOTHING_NEW);
    assert_eq!(scene.told(&commit), Drops(DropReason::IdentityInvalid), "it names none");
    scene.recent.named_host = Some("pds.example.com".into());
    assert_eq!(scene.told(&commit), Drops(DropReason::WrongHost), "it names a stranger");
    assert!(scene.detail(&commit).contains("pds.example.com"));

    scene.row().host = ALPHA;
    assert_eq!(scene.told(&commit), Passes, "control");
    Ok(())
}
