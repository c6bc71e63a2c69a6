//! `#account` and the status that consumers are told (ACC-1…6, table 9.2).

use anyhow::Result;
use relay_simnet::{Fault, Ipld};

use super::scene::{
    Event, Scene,
    Told::{Drops, Passes},
};
use crate::domain::{DropReason, EventKind, LocalStatus, UpstreamStatus};

/// An `#account` with these words.
async fn says(scene: &mut Scene, active: bool, status: Option<&str>) -> Result<Event> {
    scene.alice.announce_status(active, status).await?;
    scene.next_of(EventKind::Account).await
}

/// `active` and `status` that come out.
fn sent(scene: &Scene, event: &Event) -> (bool, Option<String>) {
    let pass = scene.judge(event).unwrap();
    let mut sent = event.sent(&pass);
    let status = match sent.remove("status") {
        None => None,
        Some(Ipld::String(status)) => Some(status),
        other => panic!("{other:?}"),
    };
    (sent["active"] == Ipld::Bool(true), status)
}

type Status = Option<&'static str>;
type Row = (bool, Status, &'static str, bool, Status);

/// What a host may say, what is kept of it, and what is told when nothing was decided here.
const HOST_SAYS: &[Row] = &[
    (true, None, "active", true, None),
    (true, Some("desynchronized"), "active+desynchronized", true, Some("desynchronized")),
    (true, Some("throttled"), "active+throttled", true, Some("throttled")),
    (true, Some("deactivated"), "active", true, None),
    (true, Some("frozen"), "active", true, None),
    (true, Some(""), "active", true, None),
    (false, Some("takendown"), "takendown", false, Some("takendown")),
    (false, Some("suspended"), "suspended", false, Some("suspended")),
    (false, Some("deleted"), "deleted", false, Some("deleted")),
    (false, Some("deactivated"), "deactivated", false, Some("deactivated")),
    (false, Some("desynchronized"), "desynchronized", false, Some("desynchronized")),
    (false, Some("throttled"), "throttled", false, Some("throttled")),
    (false, Some("frozen"), "frozen", false, Some("frozen")),
    (false, Some("active"), "inactive", false, None),
    (false, Some(""), "inactive", false, None),
    (false, None, "inactive", false, None),
];

/// ACC-5, 9.2: without a decision of ours the host's word is told, apart from what has no meaning.
#[tokio::test]
async fn the_word_of_the_host_is_told_as_far_as_it_means_something() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (active, status, kept, told_active, told_status) in HOST_SAYS {
        let event = says(&mut scene, *active, *status).await?;
        let upstream = scene.judge(&event).unwrap().upstream.expect("a status");
        assert_eq!(upstream.as_text(), *kept, "{active} {status:?}");
        let told = (*told_active, told_status.map(str::to_owned));
        assert_eq!(sent(&scene, &event), told, "{active} {status:?}");
    }
    Ok(())
}

/// ACC-2, 9.2, A14: a decision of ours is told instead of whatever the host says, except that what is
/// deleted is deleted. The host's word is kept for the time after.
#[tokio::test]
async fn a_local_decision_is_told_before_the_hosts_word() -> Result<()> {
    let mut scene = Scene::new().await?;
    for local in [LocalStatus::Takendown, LocalStatus::Suspended, LocalStatus::Throttled] {
        scene.row().local = local;
        for (active, status, kept, ..) in HOST_SAYS {
            let event = says(&mut scene, *active, *status).await?;
            let upstream = scene.judge(&event).unwrap().upstream.expect("a status");
            assert_eq!(upstream.as_text(), *kept);
            let told =
                if upstream == UpstreamStatus::Deleted { "deleted" } else { local.as_text() };
            let case = format!("{local:?} over {active} {status:?}");
            assert_eq!(sent(&scene, &event), (false, Some(told.to_owned())), "{case}");
        }
    }
    Ok(())
}

/// ACC-5, SEC-10: a status of more than 64 characters is neither kept nor told.
#[tokio::test]
async fn a_long_status_is_left_out() -> Result<()> {
    let mut scene = Scene::new().await?;
    let long = "x".repeat(64);
    let event = says(&mut scene, false, Some(&long)).await?;
    assert_eq!(sent(&scene, &event), (false, Some(long.clone())), "control");
    let event = says(&mut scene, false, Some(&format!("{long}x"))).await?;
    assert_eq!(sent(&scene, &event), (false, None));
    Ok(())
}

/// 5.2: an optional field is absent or has a value; null never comes out.
#[tokio::test]
async fn a_null_status_is_taken_out() -> Result<()> {
    let mut scene = Scene::new().await?;
    for active in [true, false] {
        let event = says(&mut scene, active, None).await?.set("status", Ipld::Null);
        assert_eq!(sent(&scene, &event), (active, None));
    }
    Ok(())
}

/// ACC-3: the exact repetition within a minute is redundant; a change is told at once, also back and
/// forth.
#[tokio::test]
async fn repetitions_are_redundant_and_changes_are_not() -> Result<()> {
    let mut scene = Scene::new().await?;
    let mut told = Vec::new();
    for (active, status) in [
        (true, None),
        (true, None),
        (false, Some("deactivated")),
        (false, Some("deactivated")),
        (false, Some("takendown")),
        (true, None),
    ] {
        let event = says(&mut scene, active, status).await?;
        told.push(scene.take(&event));
    }
    let redundant = Drops(DropReason::Redundant);
    assert_eq!(told, [Passes, redundant, Passes, redundant, Passes, Passes]);

    let again = says(&mut scene, true, None).await?;
    assert_eq!(scene.told(&again), redundant);
    scene.now_us += 60_000_000;
    assert_eq!(scene.told(&again), Passes, "control: a minute later");
    Ok(())
}

/// ACC-3, ACC-2: after a decision of ours the host's same word is told anew, because it means
/// something else now.
#[tokio::test]
async fn the_same_word_under_another_decision_is_no_repetition() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = says(&mut scene, true, None).await?;
    assert_eq!(scene.take(&event), Passes);
    assert_eq!(scene.told(&event), Drops(DropReason::Redundant), "control");
    scene.row().local = LocalStatus::Suspended;
    assert_eq!(scene.told(&event), Passes);
    Ok(())
}

/// ACC-6: every transition is free, also back from deletion; the repo's state is not touched.
#[tokio::test]
async fn an_account_may_come_back_from_every_status() -> Result<()> {
    let mut scene = Scene::new().await?;
    let repo = scene.repo();
    for status in ["deleted", "takendown", "suspended", "deactivated", "frozen"] {
        let gone = says(&mut scene, false, Some(status)).await?;
        assert_eq!(scene.take(&gone), Passes, "{status}");
        assert!(!scene.row().upstream.is_active());
        let back = says(&mut scene, true, None).await?;
        assert_eq!(scene.take(&back), Passes, "back from {status}");
        assert_eq!(scene.row().upstream, UpstreamStatus::Active);
    }
    assert_eq!(scene.repo(), repo);
    Ok(())
}

/// MSG-4, ENC-10, SYN-9: fields of the wrong type, unknown fields, a bad time.
#[tokio::test]
async fn accounts_are_decoded_like_other_messages() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (fault, expected) in [
        (Fault::WrongFieldType, Drops(DropReason::Malformed)),
        (Fault::UnknownFields, Passes),
        (Fault::BadTime, Passes),
    ] {
        let _armed = scene.alice.with(fault);
        let event = says(&mut scene, true, None).await?;
        assert_eq!(scene.told(&event), expected, "{fault:?}");
        if let Ok(pass) = scene.judge(&event) {
            assert_eq!(pass.bad_time, fault == Fault::BadTime);
        }
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}
