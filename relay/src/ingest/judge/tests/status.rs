//! Which accounts' commits and syncs pass (VAL-5, VAL-6, ACC-4, ACC-7).

use anyhow::Result;

use super::scene::{
    Event, Scene,
    Told::{Asks, Drops, Passes},
};
use crate::{
    domain::{DropReason, EventKind, LocalStatus, UpstreamStatus},
    ingest::verdict::Ask,
};

async fn commit_and_sync(scene: &mut Scene) -> Result<[Event; 2]> {
    let commit = scene.post("hello").await?;
    scene.alice.sync().await?;
    Ok([commit, scene.next_of(EventKind::Sync).await?])
}

/// VAL-5: what this relay took down, suspended or throttled does not pass; no host is asked for it.
#[tokio::test]
async fn a_local_status_stops_commits_and_syncs() -> Result<()> {
    let mut scene = Scene::new().await?;
    for event in commit_and_sync(&mut scene).await? {
        for local in [LocalStatus::Takendown, LocalStatus::Suspended, LocalStatus::Throttled] {
            scene.row().local = local;
            assert_eq!(scene.told(&event), Drops(DropReason::LocallyInactive), "{local:?}");
            assert!(scene.detail(&event).contains(local.as_text()));
        }
        scene.row().local = LocalStatus::None;
        assert_eq!(scene.told(&event), Passes, "control");
    }
    Ok(())
}

fn inactive() -> [UpstreamStatus; 8] {
    use UpstreamStatus as U;
    let other = U::Other("frozen".into());
    [
        U::Takendown,
        U::Suspended,
        U::Deleted,
        U::Deactivated,
        U::Desynchronized,
        U::Throttled,
        U::Inactive,
        other,
    ]
}

/// VAL-6, ACC-4, T19: an inactive account that sends commits is asked about once; it passes if its
/// host now says active, and is dropped if not.
#[tokio::test]
async fn an_inactive_account_that_goes_on_is_asked_about() -> Result<()> {
    let mut scene = Scene::new().await?;
    for event in commit_and_sync(&mut scene).await? {
        for status in inactive() {
            scene.row().upstream = status.clone();
            scene.asked.status = false;
            assert_eq!(scene.told(&event), Asks(Ask::Status), "{status:?}");
            scene.asked.status = true;
            assert_eq!(scene.told(&event), Drops(DropReason::AccountInactive), "{status:?}");
            assert!(scene.detail(&event).contains(status.as_text()));

            scene.row().upstream = UpstreamStatus::Active;
            assert_eq!(scene.told(&event), Passes, "control: the host said active");
        }
    }
    Ok(())
}

/// ACC-4: desynchronized and throttled accounts whose host says active go on.
#[tokio::test]
async fn active_accounts_pass_with_any_status_beside_it() -> Result<()> {
    let mut scene = Scene::new().await?;
    for event in commit_and_sync(&mut scene).await? {
        for (active, status, expected) in [
            (true, Some("desynchronized"), Passes),
            (false, Some("desynchronized"), Asks(Ask::Status)),
            (true, Some("throttled"), Passes),
            (false, Some("throttled"), Asks(Ask::Status)),
            (true, Some("deactivated"), Passes),
            (false, Some("active"), Asks(Ask::Status)),
            (true, None, Passes),
            (false, None, Asks(Ask::Status)),
        ] {
            scene.row().upstream = UpstreamStatus::from_wire(active, status);
            assert_eq!(scene.told(&event), expected, "{active} {status:?}");
        }
    }
    Ok(())
}

/// ACC-11, ACC-7: a host that did not say active is not asked again for five minutes, and the
/// status stays what it was.
#[tokio::test]
async fn a_host_is_not_asked_about_an_account_again_and_again() -> Result<()> {
    let mut scene = Scene::new().await?;
    let commit = scene.post("hello").await?;
    scene.row().upstream = UpstreamStatus::Deactivated;
    scene.recent.probe_was_negative(scene.now_us / 1000);

    assert_eq!(scene.told(&commit), Drops(DropReason::AccountInactive));
    assert!(scene.detail(&commit).contains("a short while ago"));
    scene.now_us += 5 * 60_000_000;
    assert_eq!(scene.told(&commit), Asks(Ask::Status), "control: five minutes later");
    Ok(())
}
