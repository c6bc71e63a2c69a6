//! Only the host that the DID document names speaks for an account.

use anyhow::Result;
use relay::domain::DropReason;
use relay_simnet::{Account, AccountOptions, Answer, Net, Pds};

use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// VAL-4, T18: a foreign host's commits are dropped; the own host's go on.
#[tokio::test]
async fn commits_of_a_foreign_host_are_dropped() -> Result<()> {
    let net = Net::seeded(3).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    alice.through(&beta).post("not from here").await?;
    relay.until("the foreign commit is dropped", || !relay.drops(&alice).is_empty()).await?;
    let own = alice.post("from home").await?;

    watch.until(&own).await?;
    assert_eq!(relay.drops(&alice), [DropReason::WrongHost]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// ACC-1, VAL-4, IDE-2: nothing that a foreign host says of an account comes out or changes it.
#[tokio::test]
async fn a_foreign_host_cannot_speak_of_an_account_in_any_kind_of_event() -> Result<()> {
    let net = Net::seeded(4).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    let impostor = alice.through(&beta);
    impostor.announce_status(false, Some("deleted")).await?;
    impostor.announce_status(false, Some("takendown")).await?;
    impostor.identity(Some("mallory.test")).await?;
    impostor.sync().await?;
    impostor.post("not from here").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, [""; 0]);

    alice.post("from home").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    let mut reasons = relay.drops(&alice);
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons, [DropReason::WrongHost, DropReason::Redundant]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// A network of two hosts with an account at the first one.
async fn two_hosts(seed: u64) -> Result<(Net, Pds, Pds, Account)> {
    let net = Net::seeded(seed).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let alice = alpha.account("alice").await?;
    alice.post("on alpha").await?;
    Ok((net, alpha, beta, alice))
}

/// Spec 9.3 migration, T9, SYNC-8: what the new host announces comes out, apart from the bad `#sync`
/// of the reference PDS, which does not advance the state; the last word of the old host is dropped.
#[tokio::test]
async fn a_migration_comes_out_as_the_table_says() -> Result<()> {
    let (net, alpha, beta, alice) = two_hosts(5).await?;
    let mut relay = Relay::join_telling(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    // The old host's word comes second, so that the order of two sockets decides nothing here.
    alpha.down();
    alice.migrate_to(&beta).await?;
    watch.take(3).await?;
    alpha.up().await?;
    assert_eq!(relay.news(&net, &mut watch).await?, [""; 0]);
    alice.post("on beta").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);

    let told = watch.of(&alice);
    let moved = ["identity alice.test", "account active", "identity alice.test", "commit"];
    assert_eq!(told.get(4..), Some(&moved.map(str::to_owned)[..]));
    let drops = [DropReason::CommitMismatch, DropReason::WrongHost];
    assert_eq!(relay.drops(&alice), drops);
    let verdicts = relay.verdicts(&alice);
    let last = verdicts.last().map(|line| (line.dropped, line.detail.contains("does not follow")));
    assert_eq!(last, Some((None, false)), "the chain goes on across the move: {verdicts:?}");
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// Spec 9.3 migration, T9: after the move only the new host speaks, however much the old one writes.
#[tokio::test]
async fn after_a_migration_only_the_new_host_speaks() -> Result<()> {
    let (net, alpha, beta, alice) = two_hosts(6).await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    alice.migrate_to(&beta).await?;
    let moved = alice.post("on beta").await?;
    watch.until(&moved).await?;
    relay.settled(&net).await?;
    let lookups = net.plc().lookups(&alice);
    let left = alice.through(&alpha);
    for number in 0..5 {
        left.post(&format!("alpha goes on writing {number}")).await?;
        left.announce_status(number % 2 == 0, Some("deactivated")).await?;
        alice.post(&format!("beta too {number}")).await?;
    }

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"; 5]);
    assert!(net.plc().lookups(&alice) <= lookups + 1, "one refresh a minute at most");
    assert_eq!(
        relay.dropped_total(DropReason::WrongHost),
        10 + u64::from(!alpha_spoke(&watch, &alice))
    );
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// SEC-3: lookups that one host may cause at once at one shard with events that are not its own.
const BURST: u64 = 60;

/// Events of one host that a shard works on at once: so many lookups may be under way before the
/// first answer says that they were for nothing.
const QUEUE: u64 = 64;

/// Whether the old host's `#account` came before the relay knew of the move: two sockets race there.
fn alpha_spoke(watch: &crate::watch::Watch, account: &Account) -> bool {
    watch.of(account).iter().any(|words| words == "account deactivated")
}

/// T9, RES-4, VAL-6: the directory tells of the move late. Until then the old host is believed, and the
/// new one is not; then the relay finds out by itself, and the account heals with its next commit.
#[tokio::test]
async fn a_migration_that_the_directory_tells_late_heals_by_itself() -> Result<()> {
    let (net, _, beta, alice) = two_hosts(11).await?;
    let clock = held_clock();
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    net.plc().answer(&alice, Answer::Stale);
    alice.migrate_to(&beta).await?;
    alice.post("too early").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["account deactivated"]);
    net.plc().answer(&alice, Answer::Document);
    advance(&clock, 11);
    let moved = || relay.view(&beta).account_count == 1;
    relay.until("the directory was asked again", moved).await?;
    alice.post("on beta").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["account active", "commit"]);
    assert_eq!(beta.requests("getRepoStatus"), 1);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// ACC-6, VAL-4: an account may go back to where it came from.
#[tokio::test]
async fn an_account_may_move_back() -> Result<()> {
    let (net, alpha, beta, alice) = two_hosts(7).await?;
    let clock = held_clock();
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;

    for host in [&beta, &alpha, &beta] {
        relay.news(&net, &mut watch).await?;
        alice.migrate_to(host).await?;
        advance(&clock, 120);
        let post = alice.post(&format!("on {}", host.name())).await?;
        watch.until(&post).await?;
    }

    for (host, accounts) in [(&alpha, 0), (&beta, 1)] {
        assert_eq!(relay.view(host).account_count, accounts, "{}", host.name());
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// VAL-3, VAL-4, HOST-3: an account that moved to a host that nobody has named yet is silent until
/// that host is crawled, and then comes from there.
#[tokio::test]
async fn an_account_that_moved_to_an_unknown_host_waits_for_that_host() -> Result<()> {
    let net = Net::seeded(8).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    let beta = net.pds("beta").await?;
    alice.migrate_to(&beta).await?;
    alice.through(&net.pds("alpha").await?).identity(None).await?;
    relay
        .until("the move is known", || {
            let alpha = relay.running.hosts.by_name(&net.hosts()[0].hostname());
            alpha.is_some_and(|alpha| alpha.account_count() == 0)
        })
        .await?;
    relay.running.hosts.admit(&beta.hostname(), false).await?;
    let post = alice.post("on beta").await?;

    watch.until(&post).await?;
    assert_eq!(relay.view(&beta).account_count, 1);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T18, SEC-3, RES-3: a host that sends events for very many accounts of others buys few lookups
/// with them, and the accounts' own hosts are not hindered.
#[tokio::test]
async fn events_for_many_accounts_of_others_cause_few_lookups() -> Result<()> {
    let (net, clock) = (Net::seeded(9).await?, held_clock());
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let mut accounts = Vec::new();
    for number in 0..150 {
        accounts.push(alpha.account(&format!("user-{number}")).await?);
    }
    let relay = Relay::join_with(&net, {
        let clock = clock.clone();
        move |config, extras| {
            config.shards = 1;
            extras.clock = clock.clone();
        }
    })
    .await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let lookups = net.plc().total_lookups();

    for _ in 0..2 {
        for account in &accounts {
            account.through(&beta).post("not from here").await?;
        }
    }
    relay.settled(&net).await?;

    let caused = net.plc().total_lookups() - lookups;
    assert!((1..=BURST).contains(&caused), "{caused} lookups");
    assert_eq!(relay.dropped_total(DropReason::WrongHost), 300);
    for account in &accounts {
        account.post("from home").await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, vec!["commit"; 150]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T18, SEC-3: the same with accounts that the relay has never seen: they are refused without a
/// lookup once the host has used up its budget, and welcomed when their own host speaks.
#[tokio::test]
async fn events_for_many_unknown_accounts_of_others_cause_few_lookups() -> Result<()> {
    let (net, clock) = (Net::seeded(10).await?, held_clock());
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    let mut accounts = Vec::new();
    for number in 0..150 {
        accounts.push(alpha.account_with(&format!("user-{number}"), silent).await?);
    }
    let relay = Relay::join_with(&net, {
        let clock = clock.clone();
        move |config, extras| {
            config.shards = 1;
            extras.clock = clock.clone();
        }
    })
    .await?;
    let mut watch = relay.watch().await?;

    for _ in 0..2 {
        for account in &accounts {
            account.through(&beta).post("not from here").await?;
        }
    }
    relay.settled(&net).await?;
    let caused = net.plc().total_lookups();
    assert!((1..=BURST + QUEUE).contains(&caused), "{caused} lookups");

    for account in &accounts {
        account.post("from home").await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, vec!["commit"; 150]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}
