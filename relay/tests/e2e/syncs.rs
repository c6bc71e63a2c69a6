//! `#sync` declares a state: newer ones pass, everything else is dropped for a reason (spec 8.3).

use anyhow::Result;
use relay::domain::DropReason;
use relay_simnet::{Account, Fault, Kind, Net};

use crate::{
    support::Relay,
    watch::{Watch, advance, held_clock},
};

async fn one_account(seed: u64) -> Result<(Net, Account, Relay, Watch)> {
    let net = Net::seeded(seed).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    Ok((net, alice, relay, watch))
}

/// T16, SYNC-3: a new rev passes also over the same data, and the next commit follows it.
#[tokio::test]
async fn a_sync_with_a_new_rev_passes_and_becomes_the_state() -> Result<()> {
    let (net, alice, relay, mut watch) = one_account(30).await?;

    let sync = alice.sync().await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["sync"]);
    let (_, told) =
        relay.get(&format!("com.atproto.sync.getLatestCommit?did={}", alice.did())).await?;
    assert_eq!(told["rev"], sync.rev.as_str());
    assert_eq!(told["cid"], sync.commit.as_str());
    alice.post("after the sync").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    assert_eq!(relay.drops(&alice), []);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T16, SYNC-4: the known state repeated passes once after each return of the account to activity.
#[tokio::test]
async fn a_sync_that_repeats_the_state_passes_once_after_a_reactivation() -> Result<()> {
    let net = Net::seeded(31).await?;
    let clock = held_clock();
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    alice.sync_again().await?;
    assert_eq!(relay.news(&net, &mut watch).await?, [""; 0], "the first commit said the same");
    for round in 0..2 {
        alice.deactivate().await?;
        alice.activate().await?;
        let told = relay.news(&net, &mut watch).await?;
        assert_eq!(
            told,
            ["account deactivated", "account active", "identity alice.test", "sync"],
            "round {round}"
        );
        alice.sync_again().await?;
        assert_eq!(relay.news(&net, &mut watch).await?, [""; 0], "round {round}");
        advance(&clock, 61);
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T16, SYNC-2, SYNC-5, SYNC-6, MSG-1, COM-4: each wrong `#sync` is dropped under its reason and
/// changes nothing.
#[tokio::test]
async fn a_wrong_sync_is_dropped_and_changes_nothing() -> Result<()> {
    let net = Net::seeded(32).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    let faults = Fault::ALL.iter().filter(|fault| fault.strikes(Kind::Sync));

    let mut victims = Vec::new();
    for (number, fault) in faults.enumerate() {
        let account = alpha.account(&format!("user-{number}")).await?;
        let good = account.post("good").await?;
        account.with(*fault).sync().await?;
        victims.push((account, *fault, good.rev));
    }
    // The last sync has a number that is not its own, so another event has to end the stream.
    alpha.account("last").await?;
    relay.proved(&net, &mut watch).await?;

    for (account, fault, rev) in victims {
        let drops: Vec<_> = relay.drops(&account).iter().map(|reason| reason.label()).collect();
        if fault.reasons().is_empty() {
            assert!(drops.is_empty(), "{fault:?}: {drops:?}");
            continue;
        }
        let expected = fault.reasons();
        assert!(drops.len() == 1 && expected.contains(&drops[0]), "{fault:?}: {drops:?}");
        let method = format!("com.atproto.sync.getRepoStatus?did={}", account.did());
        assert_eq!(relay.get(&method).await?.1["rev"], rev, "{fault:?}");
    }
    Ok(())
}

/// T16, SYNC-7: ten at once and then five a minute; the account's commits are not concerned.
#[tokio::test]
async fn a_flood_of_syncs_is_cut_to_its_rate() -> Result<()> {
    let (net, clock) = (Net::seeded(33).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    for _ in 0..15 {
        alice.sync().await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, ["sync"; 10]);
    alice.post("in the middle of it").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    advance(&clock, 25);
    for _ in 0..5 {
        alice.sync().await?;
    }

    assert_eq!(relay.news(&net, &mut watch).await?, ["sync"; 2]);
    assert_eq!(relay.dropped_total(DropReason::RateLimited), 5 + 3);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}
