//! Accounts that send more than one account may: slowed down, then held for a while and released; the
//! others of their host never feel it.

use anyhow::{Context, Result};
use relay::{
    clock::Clock,
    domain::{AccountLimits, DropReason},
};
use relay_simnet::{Account, Net};

use crate::{
    support::Relay,
    watch::{Watch, advance, held_clock},
};

/// A relay with these limits and a clock that the test moves; alice and bob at one host.
async fn scene(
    seed: u64,
    limits: AccountLimits,
) -> Result<(Net, Clock, [Account; 2], Relay, Watch)> {
    let (net, clock) = (Net::seeded(seed).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let accounts = [alpha.account("alice").await?, alpha.account("bob").await?];
    let held = clock.clone();
    let relay = Relay::join_with(&net, move |config, extras| {
        config.account_limits = limits;
        extras.clock = held.clone();
    })
    .await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    Ok((net, clock, accounts, relay, watch))
}

async fn posts(account: &Account, count: u32) -> Result<()> {
    for number in 0..count {
        account.post(&format!("much {number}")).await?;
    }
    Ok(())
}

fn commits(watch: &Watch, account: &Account) -> usize {
    watch.of(account).iter().filter(|words| *words == "commit").count()
}

/// Reads on until consumers are told this of the account.
async fn hears(watch: &mut Watch, account: &Account, words: &str) -> Result<()> {
    while watch.of(account).last().is_none_or(|last| last != words) {
        watch.take(1).await.with_context(|| format!("waits for: {words}"))?;
    }
    Ok(())
}

/// Setting `account_events_per_second`, HOST-12, VAL-14: an account in a hurry is slowed down to its rate
/// and loses nothing; another one of the same host is not slowed down.
#[tokio::test]
async fn an_account_in_a_hurry_is_slowed_down_and_its_neighbour_is_not() -> Result<()> {
    let limits = AccountLimits { per_second: 2, ..AccountLimits::NONE };
    let (net, clock, [alice, bob], relay, mut watch) = scene(330, limits).await?;
    posts(&alice, 40).await?;
    let by_bob = bob.post("not in a hurry").await?;
    watch.until(&by_bob).await?;
    assert_eq!(
        commits(&watch, &alice),
        9,
        "five seconds' worth at once, her `#account` among them"
    );

    advance(&clock, 3);
    while commits(&watch, &alice) < 15 {
        watch.take(1).await?;
    }
    let later = bob.post("and again").await?;
    watch.until(&later).await?;
    assert_eq!(commits(&watch, &alice), 15, "two for each second that passed");

    relay.settled_in_time(&net, &clock).await?;
    relay.proved(&net, &mut watch).await?;
    assert_eq!(commits(&watch, &alice), 41);
    assert_eq!(relay.drops(&alice), []);
    Ok(())
}

/// HOST-12, I5: an account that goes on for longer than its events can wait is held.
#[tokio::test]
async fn an_account_that_does_not_slow_down_is_held() -> Result<()> {
    let limits = AccountLimits { per_second: 1, ..AccountLimits::NONE };
    let (net, clock, [alice, bob], relay, mut watch) = scene(331, limits).await?;
    posts(&alice, 100).await?;
    hears(&mut watch, &alice, "account throttled").await?;
    let by_bob = bob.post("not concerned").await?;
    watch.until(&by_bob).await?;

    relay.settled_in_time(&net, &clock).await?;
    assert_eq!(commits(&watch, &alice), 4);
    let first = relay.running.drops.of_host(relay.view(&net.hosts()[0]).id).pop();
    let first = first.context("a drop")?;
    assert!(matches!(first.reason, DropReason::RateLimited | DropReason::LocallyInactive));
    assert_eq!(relay.dropped_total(DropReason::RateLimited), 1, "it is held from then on");
    Ok(())
}

/// Settings `account_events_per_hour` and `account_events_per_day`, HOST-12: an account over its limit is
/// held, consumers and operators are told, the hold survives a restart and ends by itself.
#[tokio::test]
async fn an_account_over_its_limit_is_held_and_released_by_itself() -> Result<()> {
    for (limits, held_s, words) in [
        (AccountLimits { per_hour: 20, ..AccountLimits::NONE }, 901, "20 events per hour"),
        (AccountLimits { per_day: 20, ..AccountLimits::NONE }, 21_601, "20 events per day"),
    ] {
        let (net, clock, [alice, bob], relay, mut watch) = scene(332, limits).await?;
        posts(&alice, 25).await?;
        let by_bob = bob.post("not concerned").await?;
        watch.until(&by_bob).await?;
        hears(&mut watch, &alice, "account throttled").await?;
        relay.settled(&net).await?;
        assert_eq!(commits(&watch, &alice), 19);
        let examples = relay.examples(&alice);
        let over = examples.iter().find(|drop| drop.reason == DropReason::RateLimited);
        assert!(over.context("a drop")?.detail.contains(words), "{examples:?}");
        let (_, why) = relay.why(&format!("did={}", alice.did())).await?;
        assert_eq!(why["held"]["reason"], "rate", "{why}");
        assert!(why["held"]["until"].is_string() && why["held"]["words"].is_string(), "{why}");
        assert_eq!(why["account"]["status"], "throttled");
        let used = &why["usage"];
        assert_eq!(
            (&used["perHour"], &used["perDay"]),
            (&limits.per_hour.into(), &limits.per_day.into())
        );
        assert!(used["inHour"] == 20 || used["inDay"] == 20, "{used}");
        let asked = format!("com.atproto.sync.getRepoStatus?did={}", alice.did());
        assert_eq!(relay.get(&asked).await?.1["status"], "throttled");

        let relay = relay.restart().await?;
        let mut watch = relay.watch().await?;
        alice.post("still held").await?;
        relay.news(&net, &mut watch).await?;
        assert_eq!(relay.drops(&alice), [DropReason::LocallyInactive]);

        advance(&clock, held_s);
        hears(&mut watch, &alice, "account active").await?;
        let passes = alice.post("at last").await?;
        watch.until(&passes).await?;
        let (_, why) = relay.why(&format!("did={}", alice.did())).await?;
        assert!(why["held"].is_null(), "{why}");
        relay.stop().await?;
    }
    Ok(())
}

/// Setting `account_discontinuities_per_day`, VAL-20: an account whose commits keep not following is held,
/// because each of them makes consumers fetch its whole repo; it is released by itself.
#[tokio::test]
async fn an_account_whose_commits_do_not_follow_is_held() -> Result<()> {
    let limits = AccountLimits { discontinuities_per_day: 5, ..AccountLimits::NONE };
    let (net, clock, [alice, bob], relay, mut watch) = scene(333, limits).await?;
    let mut last = None;
    for number in 0..6 {
        alice.post_in_silence(&format!("nobody hears {number}")).await?;
        last = Some(alice.post(&format!("does not follow {number}")).await?);
    }
    watch.until(&last.context("six")?).await?;
    hears(&mut watch, &alice, "account throttled").await?;
    alice.post("while held").await?;
    let by_bob = bob.post("not concerned").await?;
    watch.until(&by_bob).await?;
    assert_eq!(relay.drops(&alice), [DropReason::LocallyInactive]);
    let (_, why) = relay.why(&format!("did={}", alice.did())).await?;
    assert_eq!(why["held"]["reason"], "discontinuities", "{why}");

    advance(&clock, 6 * 3_600 + 1);
    hears(&mut watch, &alice, "account active").await?;
    let passes = alice.post("at last").await?;
    watch.until(&passes).await?;
    relay.settled(&net).await?;
    Ok(())
}
