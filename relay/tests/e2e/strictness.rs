//! DESIGN 10.14, VAL-21: leniency validates everything, passes what cannot be proved, says what
//! strictness would have dropped, and ends for good where a host has shown that it can prove.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use relay::{clock::Clock, domain::DropReason, units::Day};
use relay_simnet::{Fault, Net};

use crate::{
    support::Relay,
    watch::{Watch, advance},
};

async fn lenient(net: &Net) -> Result<(Relay, Watch)> {
    let relay = Relay::join_with(net, |config, _| config.lenient = true).await?;
    let watch = relay.watch().await?;
    Ok((relay, watch))
}

fn spared(relay: &Relay, reason: DropReason) -> u64 {
    let totals = relay.running.drops.lenient_totals();
    totals.into_iter().find(|(found, _)| *found == reason).map_or(0, |(_, count)| count)
}

/// LEG-1, VAL-12: what only strictness drops passes a lenient relay, counted with examples; what is
/// wrong in itself is dropped all the same.
#[tokio::test]
async fn a_lenient_relay_passes_what_cannot_be_proved_and_nothing_else() -> Result<()> {
    let net = Net::seeded(95).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    net.oracle().ignore(&alice);
    let bob = net.pds("alpha").await?.account("bob").await?;
    let (relay, mut watch) = lenient(&net).await?;
    relay.news(&net, &mut watch).await?;

    for fault in [Fault::Legacy, Fault::NoPrevData, Fault::WrongPrevData] {
        alice.with(fault).post("cannot be proved").await?;
        assert_eq!(relay.news(&net, &mut watch).await?, ["commit"], "{fault:?}");
    }
    for fault in [Fault::WrongKey, Fault::CommitCidMismatch, Fault::MissingRecord] {
        alice.with(fault).post("wrong").await?;
        bob.with(fault).post("wrong").await?;
    }
    alice.post("right").await?;
    bob.post("right").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit", "commit"]);

    assert_eq!(spared(&relay, DropReason::Legacy), 2);
    assert_eq!(spared(&relay, DropReason::ProofMismatch), 1);
    let (_, why) = relay.why(&format!("did={}", alice.did())).await?;
    assert_eq!(why["lenient"].as_array().map(Vec::len), Some(3), "{why}");
    let expected =
        vec![DropReason::BadSignature, DropReason::CommitMismatch, DropReason::BadRecord];
    assert_eq!((relay.drops(&alice), relay.drops(&bob)), (expected.clone(), expected));
    net.oracle().check(&watch.seen).clean()?;
    Ok(())
}

/// The strict relay beside it, as a control: the same commits are dropped.
#[tokio::test]
async fn a_strict_relay_drops_what_cannot_be_proved() -> Result<()> {
    let net = Net::seeded(96).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    for fault in [Fault::Legacy, Fault::NoPrevData, Fault::WrongPrevData] {
        alice.with(fault).post("cannot be proved").await?;
    }
    alice.post("right").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    let expected = [DropReason::Legacy, DropReason::Legacy, DropReason::ProofMismatch];
    assert_eq!(relay.drops(&alice), expected);
    assert_eq!(spared(&relay, DropReason::Legacy), 0);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// DESIGN 10.14: after a thousand proved commits in a row a host is held to strictness for good, also
/// after a restart; its neighbours are not, and one that cannot be proved begins the row anew.
#[tokio::test]
async fn a_host_that_proved_a_thousand_commits_is_strict_for_good() -> Result<()> {
    let net = Net::seeded(97).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    for account in [&alice, &bob] {
        net.oracle().ignore(account);
    }
    let (relay, mut watch) = lenient(&net).await?;
    let is_strict = |relay: &Relay, host: &relay_simnet::Pds| {
        relay.running.hosts.view(&host.hostname()).is_some_and(|view| view.strict)
    };

    for number in 0..600 {
        bob.post(&format!("proved {number}")).await?;
    }
    bob.with(Fault::Legacy).post("not proved").await?;
    for number in 0..600 {
        bob.post(&format!("proved again {number}")).await?;
    }
    for number in 0..999 {
        alice.post(&format!("proved {number}")).await?;
    }
    relay.news(&net, &mut watch).await?;
    assert!(is_strict(&relay, &alpha) && !is_strict(&relay, &beta));
    for account in [&alice, &bob] {
        account.with(Fault::Legacy).post("cannot be proved").await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"], "bob's");
    assert_eq!(relay.drops(&alice), [DropReason::Legacy]);

    let relay = relay.restart().await?;
    assert!(is_strict(&relay, &alpha) && !is_strict(&relay, &beta), "after a restart");
    Ok(())
}

/// 2026-06-01, in µs since 1970; later than all that the simulated network ever says.
const FIRST_OF_JUNE: u64 = 1_780_272_000_000_000;

const DAY: u64 = 24 * 3_600;

/// DESIGN 10.14, setting `lenient_hosts`: a host is spared until its day comes, and no other is.
#[tokio::test]
async fn a_host_is_spared_until_its_day_and_no_other_is() -> Result<()> {
    let (net, clock) = (Net::seeded(98).await?, Clock::manual(FIRST_OF_JUNE));
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    net.oracle().ignore(&alice);
    let spared = vec![(alpha.hostname(), Day::parse("2026-06-03").context("a day")?)];
    let relay = Relay::join_with(&net, {
        let clock = clock.clone();
        move |config, extras| {
            config.lenient_hosts.clone_from(&spared);
            extras.clock = clock.clone();
        }
    })
    .await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    for account in [&alice, &bob] {
        account.with(Fault::Legacy).post("cannot be proved").await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"], "alice's");
    assert_eq!(relay.drops(&bob), [DropReason::Legacy]);
    advance(&clock, 2 * DAY);
    alice.with(Fault::Legacy).post("too late").await?;
    bob.post("proved").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"], "bob's");
    assert_eq!(relay.drops(&alice), [DropReason::Legacy]);
    net.oracle().check(&watch.seen).clean()?;
    Ok(())
}

/// DESIGN 10.14, setting `strict_since`: in a relay that is lenient to all, hosts first seen since that
/// day are strict at once, and stay so whatever the settings say later.
#[tokio::test]
async fn hosts_first_seen_since_a_day_are_strict_at_once() -> Result<()> {
    let (net, clock) = (Net::seeded(99).await?, Clock::manual(FIRST_OF_JUNE));
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    for account in [&alice, &bob] {
        net.oracle().ignore(account);
    }
    let since = Arc::new(Mutex::new(Day::parse("2026-06-02")));
    let relay = Relay::alone(&net, {
        let (clock, since) = (clock.clone(), Arc::clone(&since));
        move |config, extras| {
            config.lenient = true;
            config.strict_since = *since.lock().unwrap();
            extras.clock = clock.clone();
        }
    })
    .await?;
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    advance(&clock, DAY);
    relay.running.hosts.admit(&beta.hostname(), true).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    assert_eq!([&alpha, &beta].map(|host| relay.view(host).strict), [false, true]);

    for account in [&alice, &bob] {
        account.with(Fault::Legacy).post("cannot be proved").await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"], "alice's");
    assert_eq!(relay.drops(&bob), [DropReason::Legacy]);
    *since.lock().unwrap() = None;
    let relay = relay.restart().await?;
    assert_eq!([&alpha, &beta].map(|host| relay.view(host).strict), [false, true], "for good");
    net.oracle().check(&watch.seen).clean()?;
    Ok(())
}
