//! `#sync` (SYNC-1…8).

use anyhow::Result;
use relay_protocol::VerifyingKey;
use relay_simnet::{
    AccountOptions, Consumer, Fault, Start, block::cid_of_nothing, clock::tid_text,
};

use super::{
    forge::{Parts, to},
    scene::{
        BETA, Event, Scene,
        Told::{Asks, Drops, Passes},
        signing_key,
    },
};
use crate::{
    accounts::limits::Recent,
    domain::{DropReason, EventKind},
    ingest::verdict::{Ask, Continuity},
};

async fn synced(scene: &mut Scene) -> Result<Event> {
    scene.alice.sync().await?;
    scene.next_of(EventKind::Sync).await
}

async fn synced_again(scene: &mut Scene) -> Result<Event> {
    scene.alice.sync_again().await?;
    scene.next_of(EventKind::Sync).await
}

/// SYNC-1, SYNC-3, T16: a newer rev passes and is the state, also over unchanged data; the next
/// commit builds on it.
#[tokio::test]
async fn a_sync_with_a_new_rev_is_the_state() -> Result<()> {
    let mut scene = Scene::new().await?;
    let post = scene.post("hello").await?;
    assert_eq!(scene.take(&post), Passes);
    let before = scene.repo().expect("a state");

    let sync = synced(&mut scene).await?;
    let pass = scene.judge(&sync).unwrap();
    assert!(!pass.repeats && pass.continuity.is_none());
    assert_eq!(scene.take(&sync), Passes);

    let after = scene.repo().expect("a state");
    assert!(after.rev > before.rev && after.commit != before.commit);
    assert_eq!(after.data, before.data);
    let next = scene.post("next").await?;
    assert_eq!(scene.judge(&next).unwrap().continuity, Some(Continuity::Continuous));
    Ok(())
}

/// SYNC-3, VAL-19: a sync may be the first that is seen of a repo, and may leave a gap behind.
#[tokio::test]
async fn a_sync_needs_no_state_before_it() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.alice.post_in_silence("nobody is told").await?;
    let sync = synced(&mut scene).await?;
    assert_eq!(scene.told(&sync), Passes, "over another state");
    scene.row().repo = None;
    assert_eq!(scene.take(&sync), Passes, "over none");
    assert_eq!(scene.repo().map(|repo| repo.rev), Some(sync.rev()));
    Ok(())
}

/// SYNC-4, T16: the known state repeated passes once, and again only after the account was away and
/// came back, at most once a minute.
#[tokio::test]
async fn a_sync_of_the_known_state_passes_once_per_return() -> Result<()> {
    let mut scene = Scene::new().await?;
    let post = scene.post("hello").await?;
    assert_eq!(scene.take(&post), Passes);
    let before = scene.repo();
    scene.recent = Recent::new(false);
    let again = synced_again(&mut scene).await?;
    assert_eq!(scene.take(&again), Drops(DropReason::SyncUnchanged), "just created");

    scene.recent.account_passed(1, true, scene.now_us / 1000);
    assert!(scene.judge(&again).unwrap().repeats);
    assert_eq!(scene.take(&again), Passes, "after its return");
    assert_eq!(scene.take(&again), Drops(DropReason::SyncUnchanged), "a second time");
    scene.recent.account_passed(2, true, scene.now_us / 1000);
    assert_eq!(scene.take(&again), Drops(DropReason::SyncUnchanged), "within a minute");
    scene.now_us += 60_000_000;
    assert_eq!(scene.take(&again), Passes, "control: a minute later");
    assert_eq!(scene.repo(), before, "nothing changed");
    Ok(())
}

/// SYNC-5, T16: the known rev with another commit is a fork.
#[tokio::test]
async fn another_commit_of_the_known_rev_is_a_fork() -> Result<()> {
    let mut scene = Scene::new().await?;
    let post = scene.post("hello").await?;
    assert_eq!(scene.take(&post), Passes);
    let before = scene.repo();

    scene.alice.with(Fault::Fork).sync().await?;
    let fork = scene.next_of(EventKind::Sync).await?;
    assert_eq!(scene.take(&fork), Drops(DropReason::Fork));
    assert_eq!(scene.repo(), before);
    let known = before.map(|repo| repo.commit.to_string()).unwrap_or_default();
    assert!(scene.detail(&fork).contains(&known));

    let next = synced(&mut scene).await?;
    assert_eq!(scene.take(&next), Passes, "control: a higher rev");
    Ok(())
}

/// SYNC-6, T16: no sync takes a repo back.
#[tokio::test]
async fn an_older_sync_is_stale() -> Result<()> {
    let mut scene = Scene::new().await?;
    let old = synced(&mut scene).await?;
    let post = scene.post("hello").await?;
    assert_eq!(scene.take(&post), Passes);
    assert_eq!(scene.take(&old), Drops(DropReason::Stale));
    scene.alice.with(Fault::StaleRev).sync().await?;
    let stale = scene.next_of(EventKind::Sync).await?;
    assert_eq!(scene.take(&stale), Drops(DropReason::Stale));
    let next = synced(&mut scene).await?;
    assert_eq!(scene.take(&next), Passes, "control");
    Ok(())
}

/// SYNC-2, COM-4, VAL-8…10, T16: wrong DID, wrong rev, bad signature, the future, a broken CAR.
#[tokio::test]
async fn syncs_are_checked_like_commits() -> Result<()> {
    let mut scene = Scene::new().await?;
    scene.now_us = relay_simnet::clock::wall_micros();
    scene.row().identity_checked_ms = scene.now_us / 1000;
    for (fault, expected) in [
        (Fault::DidMismatch, Drops(DropReason::CommitMismatch)),
        (Fault::RevMismatch, Drops(DropReason::CommitMismatch)),
        (Fault::WrongVersion, Drops(DropReason::BadCommit)),
        (Fault::NoPrevKey, Drops(DropReason::BadCommit)),
        (Fault::MissingCommitBlock, Drops(DropReason::BadCommit)),
        (Fault::TruncatedCar, Drops(DropReason::BadCommit)),
        (Fault::WrongKey, Asks(Ask::Key)),
        (Fault::FutureRev, Drops(DropReason::FutureRev)),
        (Fault::OversizedBlocks, Drops(DropReason::Oversized)),
        (Fault::MissingField, Drops(DropReason::Malformed)),
        (Fault::UnrelatedBlock, Passes),
        (Fault::ExtraRoot, Passes),
        (Fault::UnknownCommitField, Passes),
        (Fault::UnknownFields, Passes),
        (Fault::BadTime, Passes),
    ] {
        let before = scene.repo();
        scene.alice.with(fault).sync().await?;
        let event = scene.next_of(EventKind::Sync).await?;
        assert_eq!(scene.take(&event), expected, "{fault:?}");
        if expected != Passes {
            assert_eq!(scene.repo(), before, "{fault:?}");
        }
        scene.recent = Recent::new(true);
        let good = synced(&mut scene).await?;
        assert_eq!(scene.take(&good), Passes, "control after {fault:?}");
        scene.recent = Recent::new(true);
    }
    assert_eq!(scene.net.unfired_faults(), [""; 0]);
    Ok(())
}

/// SYNC-7, T16: ten at once, then one every twelve seconds; what is dropped changes nothing.
#[tokio::test]
async fn a_flood_of_syncs_is_cut() -> Result<()> {
    let mut scene = Scene::new().await?;
    for number in 0..10 {
        let sync = synced(&mut scene).await?;
        assert_eq!(scene.take(&sync), Passes, "number {number}");
    }
    let before = scene.repo();
    let eleventh = synced(&mut scene).await?;
    assert_eq!(scene.take(&eleventh), Drops(DropReason::RateLimited));
    assert_eq!(scene.repo(), before);
    scene.now_us += 12_000_000;
    assert_eq!(scene.take(&eleventh), Passes, "control: twelve seconds later");
    Ok(())
}

/// SYNC-8: the sync that the reference PDS sends after a migration has another rev than its commit
/// and the signature of the old key. It is dropped, and the next commit still continues the chain.
#[tokio::test]
async fn the_bad_sync_of_a_migration_breaks_no_chain() -> Result<()> {
    let mut scene = Scene::new().await?;
    let post = scene.post("before").await?;
    assert_eq!(scene.take(&post), Passes);
    let beta = scene.net.pds("beta").await?;
    let mut stream = Consumer::connect(&beta.stream_url(), Start::After(0)).await?;
    scene.alice.migrate_to(&beta).await?;
    scene.alice.post("after").await?;
    let mut events = Vec::new();
    while events.len() < 5 {
        events.push(Event::from(stream.next().await?));
    }
    let [_, _, _, sync, commit] = events.as_slice() else { panic!("five events") };
    let key = signing_key(AccountOptions::default(), 1).multikey();
    (scene.from, scene.row().host) = (BETA, BETA);
    scene.key = Some(VerifyingKey::from_multikey(&key)?);
    let before = scene.repo();

    assert_eq!(scene.take(sync), Drops(DropReason::CommitMismatch));
    assert_eq!(scene.repo(), before);
    let mut agreeing = Parts::of(sync)?;
    agreeing.set("rev", agreeing.object["rev"].clone());
    scene.row().repo = None;
    assert_eq!(scene.told(&agreeing.wrap()), Asks(Ask::Key), "the old key signed it");

    scene.row().repo = before;
    assert_eq!(scene.judge(commit).unwrap().continuity, Some(Continuity::Continuous));
    assert_eq!(scene.take(commit), Passes);
    Ok(())
}

/// SYNC-1: what else lies in the CAR says nothing, but the commit of the message must be its root.
#[tokio::test]
async fn only_the_root_of_a_sync_counts() -> Result<()> {
    let mut scene = Scene::new().await?;
    let sync = synced(&mut scene).await?;
    let mut parts = Parts::of(&sync)?;
    parts.object_set("data", to(&cid_of_nothing(1)));
    let another = parts.clone().seal(&signing_key(AccountOptions::default(), 0));
    assert_eq!(scene.told(&another), Passes, "any tree: it says what the state is");
    assert_eq!(scene.told(&parts.wrap()), Asks(Ask::Key), "but signed");
    let rev = tid_text(sync.rev().to_u64() + 1);
    let renamed = sync.set("rev", rev);
    assert_eq!(scene.told(&renamed), Drops(DropReason::CommitMismatch));
    Ok(())
}
