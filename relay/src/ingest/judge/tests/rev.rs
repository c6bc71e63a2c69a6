//! Revisions go up, and not too far (VAL-7, VAL-8, SEC-8); what was seen does not come again.

use anyhow::Result;
use relay_simnet::{
    AccountOptions, Fault,
    clock::{tid, tid_text},
};

use super::{
    forge::Parts,
    scene::{
        ALPHA, BETA, Event, Scene,
        Told::{Drops, Passes},
        signing_key,
    },
};
use crate::domain::{DropReason, Epoch, EventKind, HostSeq, LastEvent, UpstreamStatus};

/// VAL-7, T17: an equal and a lower rev are stale and change nothing; the next higher one passes.
#[tokio::test]
async fn an_equal_or_lower_rev_is_stale() -> Result<()> {
    let mut scene = Scene::new().await?;
    for fault in [Fault::EqualRev, Fault::StaleRev] {
        let first = scene.post("first").await?;
        assert_eq!(scene.take(&first), Passes);
        let before = scene.repo();

        scene.alice.with(fault).post("too old").await?;
        let stale = scene.next_of(EventKind::Commit).await?;
        assert_eq!(scene.take(&stale), Drops(DropReason::Stale), "{fault:?}");
        assert_eq!(scene.repo(), before);
        assert!(scene.detail(&stale).contains(&first.rev().to_string()));

        let next = scene.post("newer").await?;
        assert_eq!(scene.take(&next), Passes, "control");
    }
    Ok(())
}

/// VAL-7, T17: what a host replays after a reconnect is stale by its rev alone.
#[tokio::test]
async fn a_replayed_commit_is_stale() -> Result<()> {
    let mut scene = Scene::new().await?;
    let first = scene.post("first").await?;
    let second = scene.post("second").await?;
    assert_eq!(scene.take(&first), Passes);
    assert_eq!(scene.take(&first), Drops(DropReason::Stale));
    assert_eq!(scene.take(&second), Passes, "control");
    assert_eq!(scene.take(&first), Drops(DropReason::Stale));
    Ok(())
}

fn at(event: &Event, micros: u64) -> Result<Event> {
    let mut parts = Parts::of(event)?;
    parts.set_rev(&tid_text(tid(micros, 0)));
    Ok(parts.seal(&signing_key(AccountOptions::default(), 0)))
}

/// VAL-8, T17: five minutes ahead of the clock pass, one microsecond more does not; six minutes of
/// the real clock do not either. For commits and syncs.
#[tokio::test]
async fn a_rev_may_lie_five_minutes_ahead() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    scene.alice.sync().await?;
    let sync = scene.next_of(EventKind::Sync).await?;
    let latest = scene.now_us + 5 * 60_000_000;
    for event in [&commit, &sync] {
        assert_eq!(scene.told(&at(event, latest)?), Passes, "{}", event.kind.name());
        let ahead = at(event, latest + 1)?;
        assert_eq!(scene.told(&ahead), Drops(DropReason::FutureRev), "{}", event.kind.name());
        assert!(scene.detail(&ahead).contains("300 s ahead"), "{}", scene.detail(&ahead));
    }

    scene.now_us = relay_simnet::clock::wall_micros();
    scene.row().identity_checked_ms = scene.now_us / 1000;
    scene.alice.with(Fault::FutureRev).post("from the future").await?;
    let ahead = scene.next_of(EventKind::Commit).await?;
    assert_eq!(scene.told(&ahead), Drops(DropReason::FutureRev));
    scene.now_us += 24 * 60 * 60_000_000;
    assert_eq!(scene.told(&ahead), Passes, "control: its time has come near");
    Ok(())
}

/// DESIGN 10.3: an event of the same host and epoch at or below the last accepted one was seen
/// before, whatever its type.
#[tokio::test]
async fn a_host_seq_that_was_accepted_is_stale_for_every_kind() -> Result<()> {
    let mut scene = Scene::new().await?;
    let mut events = vec![scene.post("hello").await?];
    scene.alice.sync().await?;
    scene.alice.identity(None).await?;
    scene.alice.announce_status(true, None).await?;
    for _ in 0..3 {
        events.push(scene.next().await?);
    }
    for event in &events {
        let HostSeq(seq) = event.host_seq;
        for (host, epoch, last_seq, is_seen) in [
            (ALPHA, 0, seq, true),
            (ALPHA, 0, seq + 1, true),
            (ALPHA, 1, 1, true),
            (ALPHA, 0, seq - 1, false),
            (BETA, 0, seq + 1, false),
        ] {
            let host_seq = HostSeq(last_seq);
            scene.row().last = Some(LastEvent { host, epoch: Epoch(epoch), host_seq });
            let expected = if is_seen { Drops(DropReason::Stale) } else { Passes };
            let case = format!("{} {host} {epoch} {last_seq}", event.kind.name());
            assert_eq!(scene.told_at_last(event), expected, "{case}");
        }
        scene.epoch = Epoch(1);
        scene.row().last = Some(LastEvent { host: ALPHA, epoch: Epoch(0), host_seq: HostSeq(99) });
        assert_eq!(
            scene.told_at_last(event),
            Passes,
            "after a cursor reset: {}",
            event.kind.name()
        );
        scene.epoch = Epoch(0);
    }
    Ok(())
}

/// SEC-8: no host can take a repo back, neither the old one nor the one it moved to, neither by a
/// commit nor by a sync.
#[tokio::test]
async fn a_repo_is_never_taken_back_also_across_hosts() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    scene.alice.sync().await?;
    let sync = scene.next_of(EventKind::Sync).await?;
    let later = scene.post("later").await?;
    assert_eq!(scene.take(&later), Passes);

    for host in [ALPHA, BETA] {
        scene.row().host = host;
        scene.from = host;
        assert_eq!(scene.take(&commit), Drops(DropReason::Stale), "{host}");
        assert_eq!(scene.take(&sync), Drops(DropReason::Stale), "{host}");
    }
    let next = scene.post("newer").await?;
    assert_eq!(scene.take(&next), Passes, "control: a higher rev from the new host");
    Ok(())
}

/// ACC-6: a deleted account may come back, but not with what it had before.
#[tokio::test]
async fn an_account_that_returns_cannot_replay_its_past() -> Result<()> {
    let mut scene = Scene::new().await?;
    let old = scene.post("before").await?;
    assert_eq!(scene.take(&old), Passes);
    scene.alice.set_status(false, Some("deleted")).await?;
    let deleted = scene.next_of(EventKind::Account).await?;
    assert_eq!(scene.take(&deleted), Passes);
    assert_eq!(scene.row().upstream, UpstreamStatus::Deleted);
    assert!(scene.repo().is_some(), "the state is kept");

    scene.alice.set_status(true, None).await?;
    let returned = scene.next_of(EventKind::Account).await?;
    assert_eq!(scene.take(&returned), Passes);

    assert_eq!(scene.take(&old), Drops(DropReason::Stale));
    let new = scene.post("after").await?;
    assert_eq!(scene.take(&new), Passes, "control");
    Ok(())
}
