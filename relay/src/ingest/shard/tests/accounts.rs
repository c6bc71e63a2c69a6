//! What becomes of accounts: probes, decisions, tombstones, counts (VAL-6, ACC-3, ACC-8, ACC-13, 10.13).

use anyhow::Result;
use relay_protocol::Did;
use relay_simnet::Account as Simulated;

use super::bench::{Bench, Setting};
use crate::{
    accounts::NO_HOST,
    domain::{DropReason, LocalStatus, UpstreamStatus},
};

async fn decide(bench: &Bench, account: &Simulated, status: LocalStatus) -> Result<bool> {
    Ok(bench.ingest().set_local_status(&Did::parse(account.did())?, status).await?)
}

/// VAL-6, ACC-3, T19: an inactive account sends commits, its host says active when it is asked: an
/// `#account` of our own comes before the commit. ROLE-3, T14: no repo is ever fetched.
#[tokio::test]
async fn an_account_heals_when_its_host_says_active() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    alice.deactivate().await?;
    alice.post("while inactive").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.drops(&alice), [DropReason::AccountInactive]);
    assert_eq!(alpha.requests("getRepoStatus"), 1);

    alice.set_status_in_silence(true, None).await?;
    alice.post("not asked again yet").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.drops(&alice), [DropReason::AccountInactive; 2], "ACC-11: asked a moment ago");
    bench.clock.advance_us(5 * 60_000_000);
    let healed = alice.post("and asked").await?;
    bench.settle(&alpha).await?;

    let told = bench.told(&alice).await?;
    let expected = [
        "account deactivated".to_owned(),
        "account active".to_owned(),
        format!("commit {}", healed.rev),
    ];
    assert_eq!(told[1..], expected);
    assert_eq!((alpha.requests("getRepoStatus"), alpha.requests("getRepo")), (2, 0));
    Ok(())
}

/// ACC-7, VAL-6: a host that cannot be asked changes nothing.
#[tokio::test]
async fn an_unreachable_host_leaves_the_status_alone() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    alice.deactivate().await?;
    alice.set_status_in_silence(true, None).await?;
    alice.post("while its host does not answer").await?;
    alpha.answer_path("getRepoStatus", Some(503));
    bench.settle(&alpha).await?;
    assert_eq!(bench.drops(&alice), [DropReason::AccountInactive]);
    let row = bench.row(&alice).await?.map(|row| row.upstream);
    assert_eq!(row, Some(UpstreamStatus::Deactivated));

    alpha.answer_path("getRepoStatus", None);
    bench.clock.advance_us(5 * 60_000_000);
    alice.post("once it answers").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.told(&alice).await?.len(), 4, "control");
    Ok(())
}

/// ACC-2, ACC-3, 9.2: each decision is announced as the effective status, once; what the host says
/// meanwhile is told as ours, and comes back when ours ends.
#[tokio::test]
async fn decisions_are_announced_as_the_effective_status() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;

    assert!(decide(&bench, &alice, LocalStatus::Takendown).await?);
    assert!(decide(&bench, &alice, LocalStatus::Takendown).await?, "once more, and nothing is new");
    alice.post("while taken down").await?;
    alice.set_status(true, None).await?;
    bench.settle(&alpha).await?;
    assert!(decide(&bench, &alice, LocalStatus::Suspended).await?);
    alice.set_status(false, Some("deactivated")).await?;
    bench.settle(&alpha).await?;
    assert!(decide(&bench, &alice, LocalStatus::None).await?);

    let told = bench.told(&alice).await?;
    let expected = [
        "account takendown",
        "account takendown",
        "account suspended",
        "account suspended",
        "account deactivated",
    ];
    assert_eq!(told[1..], expected);
    assert_eq!(bench.drops(&alice), [DropReason::LocallyInactive]);
    Ok(())
}

/// ACC-3: also an account that is not in memory is announced, and one that was never seen is decided
/// about for its first event.
#[tokio::test]
async fn decisions_reach_accounts_that_are_not_in_memory() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let bob = bench.account(&alpha, "bob").await?;
    bench.checkpoint().await?;
    bench.crash().await?;

    assert!(decide(&bench, &alice, LocalStatus::Takendown).await?);
    assert_eq!(bench.told(&alice).await?.last().map(String::as_str), Some("account takendown"));

    assert!(!decide(&bench, &bob, LocalStatus::Suspended).await?, "never seen");
    bob.post("the first that is seen of him").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.drops(&bob), [DropReason::LocallyInactive]);
    assert!(decide(&bench, &bob, LocalStatus::None).await?);
    bob.post("and the second").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.told(&bob).await?.len(), 2, "control");
    Ok(())
}

/// DESIGN 10.13: a crash between a decision and its announcement loses neither; what was announced is
/// not announced again.
#[tokio::test]
async fn a_pending_announcement_is_made_at_the_next_start() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let bob = bench.known_account(&alpha, "bob").await?;
    assert!(decide(&bench, &bob, LocalStatus::Suspended).await?);
    // The first half of a decision; the crash comes before the second.
    bench.store().set_local_status(&Did::parse(alice.did())?, LocalStatus::Takendown).await?;
    bench.crash().await?;

    bench.ingest().announce_pending().await?;
    bench.crash().await?;
    bench.ingest().announce_pending().await?;

    assert_eq!(bench.told(&alice).await?[1..], ["account takendown"]);
    assert_eq!(bench.told(&bob).await?[1..], ["account suspended"]);
    alice.post("while taken down").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.drops(&alice).last(), Some(&DropReason::LocallyInactive));
    Ok(())
}

/// A decision about an account whose first event waits for its identity holds for that event.
#[tokio::test]
async fn a_decision_holds_for_an_account_that_is_just_being_looked_up() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.account(&alpha, "alice").await?;
    bench.net.plc().answer(&alice, relay_simnet::Answer::Status(503));
    alice.post("the first").await?;
    bench.pass_on(&alpha).await?;
    bench.until("it was asked for", |bench| bench.net.plc().lookups(&alice) == 1).await?;

    assert!(!decide(&bench, &alice, LocalStatus::Takendown).await?);
    bench.net.plc().answer(&alice, relay_simnet::Answer::Document);
    bench.forget_failure(&alice).await?;
    bench.settle_in_time().await?;

    assert_eq!(bench.drops(&alice), [DropReason::LocallyInactive]);
    assert_eq!(bench.head(), 0);
    Ok(())
}

/// ACC-13, ACC-8, A15: a tombstoned DID is deleted, whatever its host says; its host has one less.
#[tokio::test]
async fn a_tombstoned_account_is_announced_as_deleted() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let bob = bench.known_account(&alpha, "bob").await?;
    assert_eq!(bench.known_host(&alpha).account_count(), 2);

    bench.net.plc().tombstone(&alice);
    bench.net.plc().answer(&bob, relay_simnet::Answer::NotFound);
    for account in [&alice, &bob] {
        account.identity(None).await?;
        account.post("afterwards").await?;
    }
    bench.settle(&alpha).await?;

    let told = bench.told(&alice).await?;
    assert_eq!(told[1], "account deleted", "{told:?}");
    assert!(bench.drops(&alice).contains(&DropReason::IdentityInvalid));
    let row = bench.row(&alice).await?.expect("a row");
    assert_eq!((row.host, row.upstream), (NO_HOST, UpstreamStatus::Deleted));
    let told = bench.told(&bob).await?;
    assert_eq!((told.len(), told[1].as_str()), (3, "identity -"), "a plain 404 proves nothing");
    assert_eq!(bench.known_host(&alpha).account_count(), 1);
    Ok(())
}

/// ACC-8, HOST-10, IDE-1: live accounts are counted where they live, through creation, migration,
/// deletion and return.
#[tokio::test]
async fn hosts_count_the_accounts_that_live_there() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let counts = |bench: &Bench| [&alpha, &beta].map(|pds| bench.known_host(pds).account_count());
    let alice = bench.known_account(&alpha, "alice").await?;
    bench.known_account(&alpha, "bob").await?;
    assert_eq!(counts(&bench), [2, 0]);

    alice.migrate_to(&beta).await?;
    bench.settle(&beta).await?;
    bench.settle(&alpha).await?;
    assert_eq!(counts(&bench), [1, 1]);
    assert_eq!(bench.drops(&alice), [DropReason::CommitMismatch, DropReason::WrongHost], "9.3");

    alice.set_status(false, Some("deleted")).await?;
    bench.settle(&beta).await?;
    assert_eq!(counts(&bench), [1, 0]);
    alice.set_status(true, None).await?;
    bench.settle(&beta).await?;
    assert_eq!(counts(&bench), [1, 1]);

    bench.checkpoint().await?;
    bench.crash().await?;
    assert_eq!(counts(&bench), [1, 1], "and the store has them too");
    Ok(())
}

/// DESIGN 10.14, VAL-21: a lenient host's unprovable commits pass and are counted, and break its row; a
/// thousand proofs in a row make it strict for good.
#[tokio::test]
async fn a_lenient_host_becomes_strict_by_a_thousand_proofs() -> Result<()> {
    let mut bench = Bench::with(Setting { lenient: true, ..Setting::default() }).await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let fault = relay_simnet::Fault::WrongPrevData;
    alice.with(fault).post("cannot be proved").await?;
    bench.settle(&alpha).await?;
    assert_eq!((bench.head(), bench.spared(DropReason::ProofMismatch)), (2, 1));
    assert_eq!(bench.dropped(DropReason::ProofMismatch), 0);

    for _ in 0..999 {
        alice.empty_commit().await?;
    }
    bench.settle(&alpha).await?;
    assert!(!bench.known_host(&alpha).is_strict(), "999, and the one before broke the row");
    alice.empty_commit().await?;
    bench.settle(&alpha).await?;
    assert!(bench.known_host(&alpha).is_strict());

    alice.with(fault).post("cannot be proved").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.dropped(DropReason::ProofMismatch), 1);
    assert_eq!(bench.spared(DropReason::ProofMismatch), 1);
    Ok(())
}
