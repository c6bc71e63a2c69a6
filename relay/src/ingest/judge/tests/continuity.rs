//! How a commit follows the known state: what differs from it passes, what is wrong in itself does
//! not (VAL-13, VAL-16…19, INV-6).

use anyhow::Result;
use relay_protocol::DataCid;
use relay_simnet::{AccountOptions, Fault, Ipld, block::cid_of_nothing};

use super::{
    forge::to,
    scene::{
        Event, Scene,
        Told::{Drops, Passes},
    },
};
use crate::{
    domain::{DropReason, EventKind, RepoState},
    ingest::verdict::Continuity,
};

fn continuity(scene: &Scene, event: &Event) -> Option<Continuity> {
    scene.judge(event).unwrap().continuity
}

/// VAL-13, VAL-19: the first commit seen, and those that follow it one by one; each becomes the
/// state.
#[tokio::test]
async fn commits_in_a_row_are_continuous() -> Result<()> {
    let mut scene = Scene::before_the_first_commit(AccountOptions::default()).await?;
    let first = scene.next_of(EventKind::Commit).await?;
    assert_eq!(continuity(&scene, &first), Some(Continuity::First));
    assert_eq!(scene.take(&first), Passes);
    scene.next_of(EventKind::Sync).await?;
    for number in 0..5 {
        let event = scene.post(&format!("post {number}")).await?;
        assert_eq!(continuity(&scene, &event), Some(Continuity::Continuous));
        assert_eq!(scene.take(&event), Passes);
        let state = scene.repo().expect("a state");
        let (rev, commit) = scene.alice.latest_commit().await?;
        assert_eq!((state.rev.to_string(), state.commit.to_string()), (rev, commit));
    }
    Ok(())
}

/// VAL-16, VAL-13, T14: after a gap the next commit passes, is counted as discontinuous, and is what
/// the one after it builds on.
#[tokio::test]
async fn a_commit_after_a_gap_passes_and_becomes_the_state() -> Result<()> {
    let mut scene = Scene::new().await?;
    let before = scene.post("before").await?;
    assert_eq!(scene.take(&before), Passes);
    scene.alice.post_in_silence("nobody is told").await?;

    let after = scene.post("after").await?;
    assert_eq!(continuity(&scene, &after), Some(Continuity::Discontinuous));
    assert_eq!(scene.take(&after), Passes);

    let next = scene.post("next").await?;
    assert_eq!(continuity(&scene, &next), Some(Continuity::Continuous), "control");
    Ok(())
}

/// VAL-16, VAL-17, T15: an invalid commit does not move the state; the valid one behind it passes
/// as discontinuous.
#[tokio::test]
async fn a_valid_commit_after_an_invalid_one_passes() -> Result<()> {
    let mut scene = Scene::new().await?;
    let before = scene.repo();
    scene.alice.with(Fault::WrongPrevData).post("invalid").await?;
    let invalid = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.take(&invalid), Drops(DropReason::ProofMismatch));
    assert_eq!(scene.repo(), before);

    let valid = scene.post("valid").await?;
    assert_eq!(continuity(&scene, &valid), Some(Continuity::Discontinuous));
    assert_eq!(scene.take(&valid), Passes);
    assert_ne!(scene.repo(), before);
    Ok(())
}

/// VAL-18: a `since` that is wrong or null beside the right prevData is continuous all the same.
#[tokio::test]
async fn a_wrong_since_with_the_right_prev_data_is_continuous() -> Result<()> {
    let mut scene = Scene::new().await?;
    let event = scene.post("hello").await?;
    assert_eq!(continuity(&scene, &event), Some(Continuity::Continuous), "control");
    for since in [Ipld::Null, "2222222222222".into()] {
        let event = event.set("since", since);
        assert_eq!(continuity(&scene, &event), Some(Continuity::SinceMismatch));
    }
    Ok(())
}

/// VAL-19: an account that was never seen needs no state, but every proof.
#[tokio::test]
async fn without_a_state_only_the_comparison_with_it_falls_away() -> Result<()> {
    let mut scene = Scene::new().await?;
    for number in 0..3 {
        scene.post(&format!("post {number}")).await?;
    }
    let event = scene.post("first seen").await?;
    scene.row().repo = None;
    assert_eq!(continuity(&scene, &event), Some(Continuity::First));
    let wrong = event.set("prevData", to(&cid_of_nothing(3)));
    assert_eq!(scene.told(&wrong), Drops(DropReason::ProofMismatch));
    assert_eq!(scene.told(&event.without("prevData")), Drops(DropReason::Legacy));
    Ok(())
}

/// INV-6: the first commit may have operations; undoing them must lead to the empty tree. The same
/// commit over a known state is a repo made anew: discontinuous.
#[tokio::test]
async fn a_first_commit_is_undone_to_the_empty_tree() -> Result<()> {
    let mut scene = Scene::new().await?;
    let on_empty = scene.post("on the empty tree").await?;
    let on_more = scene.post("on more").await?;
    let as_first = |event: &Event| event.without("prevData").set("since", Ipld::Null);
    let known = scene.row().repo.take();

    assert_eq!(continuity(&scene, &as_first(&on_empty)), Some(Continuity::First));
    assert_eq!(scene.told(&as_first(&on_more)), Drops(DropReason::ProofMismatch));

    let known = known.map(|state| RepoState { data: DataCid([1; 32]), ..state });
    scene.row().repo = known;
    assert_eq!(continuity(&scene, &as_first(&on_empty)), Some(Continuity::Discontinuous));
    assert_eq!(scene.told(&as_first(&on_more)), Drops(DropReason::Legacy), "no new beginning");
    assert_eq!(scene.told(&on_more), Passes, "control");
    Ok(())
}
