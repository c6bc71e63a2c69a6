//! `#identity` (IDE-1…7, RES-4).

use anyhow::Result;
use relay_simnet::{Fault, Ipld};

use super::scene::{
    ALPHA, BETA, Event, NOTHING_NEW, SAME_HANDLE, Scene,
    Told::{Asks, Drops, Passes},
};
use crate::{
    accounts::limits::Doubt,
    domain::{DropReason, EventKind, LocalStatus, UpstreamStatus},
    ingest::{judge::Fresh, verdict::Ask},
};

async fn announced(scene: &mut Scene, handle: Option<&str>) -> Result<Event> {
    scene.alice.identity(handle).await?;
    scene.next_of(EventKind::Identity).await
}

/// The handle that comes out, `None` when there is none.
fn sent_handle(scene: &Scene, event: &Event) -> Option<String> {
    let pass = scene.judge(event).unwrap();
    match event.sent(&pass).remove("handle") {
        Some(Ipld::String(handle)) => Some(handle),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// IDE-1, SEC-9: an announcement is a hint: the document is asked for before it passes. It passes
/// also when the document cannot be had, or did not change.
#[tokio::test]
async fn an_identity_asks_for_the_document_first() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = announced(&mut scene, None).await?;
    assert_eq!(scene.told(&event), Asks(Ask::Announced));
    for (fresh, unconfirmed) in [
        (NOTHING_NEW, true),
        (Fresh::Document { changed: true, handle: None }, false),
        (Fresh::Nothing("no answer in 30 s"), true),
    ] {
        scene.asked.identity = Some(fresh);
        assert_eq!(scene.told(&event), Passes, "{fresh:?}");
        assert_eq!(scene.judge(&event).unwrap().unconfirmed, unconfirmed, "RES-4: {fresh:?}");
    }
    Ok(())
}

/// IDE-1, IDE-5: a flood of announcements joins what was fetched before instead of asking again.
#[tokio::test]
async fn a_flood_of_announcements_asks_only_now_and_then() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = announced(&mut scene, None).await?;
    for _ in 0..5 {
        assert_eq!(scene.told(&event), Asks(Ask::Announced));
        scene.recent.announcement_followed(scene.now_us / 1000);
    }
    assert_eq!(scene.told(&event), Passes);
    scene.now_us += 20_000_000;
    assert_eq!(scene.told(&event), Asks(Ask::Announced), "control: twenty seconds later");
    Ok(())
}

/// IDE-5, IDE-3: what repeats an announcement that passed with its handle is redundant also when the
/// document may not be asked again; it does not pass a second time without the handle.
#[tokio::test]
async fn a_repetition_is_redundant_also_when_the_document_may_not_be_asked() -> Result<()> {
    let mut scene = Scene::new().await?;
    let first = announced(&mut scene, Some("alice.test")).await?;
    scene.asked.identity = Some(SAME_HANDLE);
    let says = scene.judge(&first).unwrap().says;
    let now_ms = scene.now_us / 1000;
    scene.recent.identity_passed(says, now_ms);
    for _ in 0..5 {
        scene.recent.announcement_followed(now_ms);
    }
    scene.asked.identity = None;

    let again = announced(&mut scene, Some("alice.test")).await?;
    assert_eq!(scene.told(&again), Drops(DropReason::Redundant));
    let other = announced(&mut scene, Some("other.test")).await?;
    assert_eq!(sent_handle(&scene, &other), None);
    assert_eq!(scene.take(&other), Passes, "control: it says something else");
    assert_eq!(scene.told(&other), Drops(DropReason::Redundant));
    let third = announced(&mut scene, Some("third.test")).await?;
    assert_eq!(scene.told(&third), Passes, "what is left out was another handle");
    Ok(())
}

/// IDE-2, T18: another host's announcement passes only if the document changed, without its handle.
/// One that the document names now is the account's host.
#[tokio::test]
async fn an_identity_of_another_host_passes_only_if_it_is_news() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = announced(&mut scene, Some("alice.test")).await?;
    scene.from = BETA;
    assert_eq!(scene.told(&event), Asks(Ask::Announced));

    scene.asked.identity = Some(SAME_HANDLE);
    assert_eq!(scene.told(&event), Drops(DropReason::Redundant));
    assert!(scene.detail(&event).contains("host2.test"));
    let changed = Fresh::Document { changed: true, handle: Some("alice.test") };
    scene.asked.identity = Some(changed);
    assert_eq!(sent_handle(&scene, &event), None, "it changed, but not to this host");
    scene.row().host = BETA;
    assert_eq!(sent_handle(&scene, &event).as_deref(), Some("alice.test"), "it is its host now");
    Ok(())
}

/// IDE-2, SEC-3: another host causes one lookup a minute, within its own budget.
#[tokio::test]
async fn announcements_of_other_hosts_ask_only_within_their_limits() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = announced(&mut scene, None).await?;
    scene.from = BETA;
    scene.host_may_ask = false;
    assert_eq!(scene.told(&event), Drops(DropReason::Redundant), "its budget is used up");
    scene.host_may_ask = true;
    assert_eq!(scene.told(&event), Asks(Ask::Announced), "control");
    scene.recent.refreshed(Doubt::Host, scene.now_us / 1000);
    assert_eq!(scene.told(&event), Drops(DropReason::Redundant), "asked a moment ago");

    scene.from = ALPHA;
    assert_eq!(scene.told(&event), Asks(Ask::Announced), "its own host may ask all the same");
    Ok(())
}

/// IDE-3, A19: a handle passes from the account's host if the document has it; the placeholder may
/// always pass; otherwise it is taken out and the announcement passes without it.
#[tokio::test]
async fn a_handle_passes_only_if_the_document_has_it() -> Result<()> {
    let mut scene = Scene::new().await?;
    let document = |handle| Fresh::Document { changed: false, handle };
    for (said, fresh, sent) in [
        (Some("alice.test"), document(Some("alice.test")), Some("alice.test")),
        (Some("Alice.Test"), document(Some("alice.test")), Some("Alice.Test")),
        (Some("mallory.test"), document(Some("alice.test")), None),
        (Some("alice.test"), document(None), None),
        (Some("alice.test"), Fresh::Nothing("unreachable"), None),
        (Some("not a handle"), document(Some("alice.test")), None),
        (Some("handle.invalid"), document(Some("alice.test")), Some("handle.invalid")),
        (Some("handle.invalid"), Fresh::Nothing("unreachable"), Some("handle.invalid")),
        (None, document(Some("alice.test")), None),
    ] {
        let event = announced(&mut scene, said).await?;
        scene.asked.identity = Some(fresh);
        assert_eq!(sent_handle(&scene, &event).as_deref(), sent, "{said:?} {fresh:?}");
    }
    Ok(())
}

/// 5.2: an optional field is absent or has a value; null never comes out.
#[tokio::test]
async fn a_null_handle_is_taken_out() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = announced(&mut scene, Some("alice.test")).await?;
    scene.asked.identity = Some(SAME_HANDLE);
    assert_eq!(sent_handle(&scene, &event).as_deref(), Some("alice.test"), "control");
    assert_eq!(sent_handle(&scene, &event.set("handle", Ipld::Null)), None);
    Ok(())
}

/// IDE-4: neither status nor rev stops an announcement.
#[tokio::test]
async fn an_identity_passes_whatever_the_status() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    let event = announced(&mut scene, None).await?;
    scene.asked.identity = Some(NOTHING_NEW);
    scene.asked.status = true;
    scene.row().upstream = UpstreamStatus::Takendown;
    assert_eq!(scene.told(&commit), Drops(DropReason::AccountInactive));
    assert_eq!(scene.told(&event), Passes);
    scene.row().local = LocalStatus::Takendown;
    assert_eq!(scene.told(&commit), Drops(DropReason::LocallyInactive));
    assert_eq!(scene.told(&event), Passes);
    Ok(())
}

/// IDE-5: the same words within a minute are redundant, other words or a changed document are not.
#[tokio::test]
async fn a_repeated_announcement_is_redundant_for_a_minute() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.asked.identity = Some(SAME_HANDLE);
    let first = announced(&mut scene, Some("alice.test")).await?;
    let second = announced(&mut scene, Some("alice.test")).await?;
    let other = announced(&mut scene, None).await?;
    assert_eq!(scene.take(&first), Passes);
    assert_eq!(scene.told(&second), Drops(DropReason::Redundant));
    assert_eq!(scene.told(&other), Passes, "other words");
    scene.asked.identity = Some(Fresh::Document { changed: true, handle: Some("alice.test") });
    assert_eq!(scene.told(&second), Passes, "the document changed");
    scene.asked.identity = Some(SAME_HANDLE);
    scene.now_us += 60_000_000;
    assert_eq!(scene.told(&second), Passes, "control: a minute later");
    Ok(())
}

/// IDE-5: ten an hour pass.
#[tokio::test]
async fn the_eleventh_announcement_in_an_hour_is_dropped() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.asked.identity = Some(Fresh::Document { changed: true, handle: None });
    for number in 0..10 {
        let event = announced(&mut scene, None).await?;
        assert_eq!(scene.take(&event), Passes, "number {number}");
    }
    let event = announced(&mut scene, None).await?;
    assert_eq!(scene.take(&event), Drops(DropReason::RateLimited));
    scene.now_us += 6 * 60_000_000;
    assert_eq!(scene.take(&event), Passes, "control: six minutes later");
    Ok(())
}

/// MSG-4, ENC-10, SYN-9: fields of the wrong type, unknown fields, a bad time.
#[tokio::test]
async fn identities_are_decoded_like_other_messages() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.asked.identity = Some(NOTHING_NEW);
    for (fault, expected) in [
        (Fault::WrongFieldType, Drops(DropReason::Malformed)),
        (Fault::UnknownFields, Passes),
        (Fault::BadTime, Passes),
    ] {
        let _armed = scene.alice.with(fault);
        let event = announced(&mut scene, Some("alice.test")).await?;
        assert_eq!(scene.told(&event), expected, "{fault:?}");
        if let Ok(pass) = scene.judge(&event) {
            assert_eq!(pass.bad_time, fault == Fault::BadTime);
        }
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}
