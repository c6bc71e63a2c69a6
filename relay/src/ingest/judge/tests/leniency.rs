//! Strict and lenient validation (VAL-21, LEG-1, LEG-2, DESIGN 10.14).

use anyhow::Result;
use relay_simnet::{AccountOptions, Fault, Ipld, Write, block::map};

use super::{
    forge::Parts,
    scene::{
        Event, Scene,
        Told::{Asks, Drops, Passes},
        signing_key,
    },
};
use crate::{
    domain::{DropReason, EventKind},
    ingest::verdict::Ask,
};

fn path(number: usize) -> String {
    format!("com.example.thing/{number:03}")
}

fn record(words: &str) -> Ipld {
    map([("text", Ipld::String(words.to_owned()))])
}

async fn grown() -> Result<Scene> {
    let mut scene = Scene::new().await?;
    let writes = (0..60).map(|number| Write::create(path(number), record("same"))).collect();
    scene.alice.apply(writes).await?;
    let grown = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.take(&grown), Passes);
    Ok(scene)
}

/// A create, an update and a delete, spoilt by a fault.
async fn spoilt(scene: &mut Scene, fault: Fault, number: usize) -> Result<Event> {
    let writes = vec![
        Write::create(path(100 + number), record("new")),
        Write::update(path(59), record(&format!("changed {number}"))),
        Write::delete(path(number)),
    ];
    scene.alice.with(fault).apply(writes).await?;
    scene.next_of(EventKind::Commit).await
}

/// VAL-21, VAL-12, DESIGN 10.14: a lenient host's commit that cannot be proved passes, becomes the
/// state, and is noted with the reason for which a strict relay drops it.
#[tokio::test]
async fn what_cannot_be_proved_passes_only_leniently_and_is_noted() -> Result<()> {
    let mut scene = grown().await?;
    for (number, fault) in [
        Fault::WrongPrevData,
        Fault::WrongOpPrev,
        Fault::OmittedOp,
        Fault::MissingNode,
        Fault::CorruptNode,
        Fault::OpCidMismatch,
        Fault::DuplicatePath,
        Fault::NoPrevData,
        Fault::Legacy,
    ]
    .into_iter()
    .enumerate()
    {
        let event = spoilt(&mut scene, fault, number).await?;
        scene.strict = true;
        let Drops(reason) = scene.told(&event) else { panic!("strict passes {fault:?}") };
        scene.strict = false;
        let spared = scene.judge(&event).unwrap().spared.map(|(reason, _)| reason);
        assert_eq!(spared, Some(reason), "{fault:?}");
        assert_eq!(scene.take(&event), Passes);
        assert_eq!(scene.repo().map(|repo| repo.rev), Some(event.rev()), "it is the state");
    }
    let faultless = scene.post("faultless").await?;
    assert!(scene.judge(&faultless).unwrap().spared.is_none(), "control");
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// VAL-21: leniency spares the proof and nothing else.
#[tokio::test]
async fn a_lenient_host_is_held_to_everything_but_the_proof() -> Result<()> {
    let mut scene = grown().await?;
    scene.strict = false;
    for (number, (fault, expected)) in [
        (Fault::WrongKey, Asks(Ask::Key)),
        (Fault::HighS, Asks(Ask::Key)),
        (Fault::DidMismatch, Drops(DropReason::CommitMismatch)),
        (Fault::CommitCidMismatch, Drops(DropReason::CommitMismatch)),
        (Fault::WrongVersion, Drops(DropReason::BadCommit)),
        (Fault::TruncatedCar, Drops(DropReason::BadCommit)),
        (Fault::StaleRev, Drops(DropReason::Stale)),
        (Fault::MissingRecord, Drops(DropReason::BadRecord)),
        (Fault::CorruptRecord, Drops(DropReason::BadRecord)),
        (Fault::OpWithoutCid, Drops(DropReason::BadOps)),
        (Fault::TooManyOps, Drops(DropReason::Oversized)),
    ]
    .into_iter()
    .enumerate()
    {
        let event = spoilt(&mut scene, fault, number).await?;
        assert_eq!(scene.take(&event), expected, "{fault:?}");
        let right = scene.post("right").await?;
        assert_eq!(scene.take(&right), Passes, "control after {fault:?}");
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// LEG-1: what a legacy commit says of its own tree is checked also leniently: a created record must
/// be in the tree with its value, a deleted one must not.
#[tokio::test]
async fn a_legacy_commit_must_fit_its_own_tree() -> Result<()> {
    let mut scene = grown().await?;
    let legacy = spoilt(&mut scene, Fault::Legacy, 1).await?;
    let undone = Write::create(path(1), record("same"));
    scene.alice.apply(vec![undone]).await?;
    scene.next_of(EventKind::Commit).await?;
    for strict in [true, false] {
        scene.strict = strict;
        let expected = if strict { Drops(DropReason::Legacy) } else { Passes };
        assert_eq!(scene.told(&legacy), expected, "control");

        let mut not_deleted = Parts::of(&legacy)?;
        let kept = not_deleted.op(1)["path"].clone();
        not_deleted.op(2).insert("path".to_owned(), kept);
        not_deleted.ops().remove(1);
        let mut not_created = Parts::of(&legacy)?;
        let elsewhere = format!("{}x", path(100 + 1));
        not_created.op(0).insert("path".to_owned(), elsewhere.into());
        for (what, parts) in [("not deleted", not_deleted), ("not created", not_created)] {
            let told = scene.told(&parts.wrap());
            let expected = if strict { DropReason::Legacy } else { DropReason::BadTree };
            assert_eq!(told, Drops(expected), "{what}, strict: {strict}");
        }
    }
    Ok(())
}

/// LEG-1, LEG-2: the forms of before Sync v1.1: without prevData, without prev; a real first commit
/// has no prevData either and is none of them.
#[tokio::test]
async fn commits_of_the_time_before_prev_data_are_legacy() -> Result<()> {
    let mut scene = grown().await?;
    let event = scene.post("hello").await?;
    assert_eq!(scene.told(&event), Passes, "control");
    let legacy = Drops(DropReason::Legacy);
    assert_eq!(scene.told(&event.without("prevData")), legacy, "since, but no prevData");
    let neither = event.without("prevData").set("since", Ipld::Null);
    assert_eq!(scene.told(&neither), legacy, "neither, over a known state");

    let mut parts = Parts::of(&spoilt(&mut scene, Fault::OldBlobs, 2).await?)?;
    assert_eq!(scene.told(&parts.clone().wrap()), Passes, "control");
    parts.op(1).remove("prev");
    let sealed = parts.seal(&signing_key(AccountOptions::default(), 0));
    assert_eq!(scene.told(&sealed), legacy, "an update without prev");
    Ok(())
}
