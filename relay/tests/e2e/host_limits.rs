//! Hosts that send or hold more than they may: slowed down, left alone for a while, and read on in full;
//! accounts over the limit held and released in order. What an operator decides is felt at once.

use anyhow::{Context, Result};
use relay::{
    domain::{Actor, DropReason, HostStatus},
    hosts::{Edit, LimitsEdit},
};
use relay_simnet::{Account, Net, Pds};

use crate::{
    support::Relay,
    watch::{Watch, advance, held_clock},
};

/// Longest that a condition may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn ann() -> Actor {
    Actor::admin("ann")
}

async fn set(relay: &Relay, host: &Pds, edit: LimitsEdit) -> Result<()> {
    relay.running.hosts.set_limits(&host.hostname(), edit, &ann(), "test").await?;
    Ok(())
}

/// HOST-9, VAL-14, T20: a host over its limit of an hour is slowed down, then throttled and left alone;
/// others go on meanwhile; when its time has come it is read on from where it was, and nothing is lost.
#[tokio::test]
async fn a_throttled_host_is_read_on_later_and_loses_nothing() -> Result<()> {
    let (net, clock) = (Net::seeded(210).await?, held_clock());
    let (loud, other) = (net.pds("loud").await?, net.pds("other").await?);
    let (alice, bob) = (loud.account("alice").await?, other.account("bob").await?);
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    set(&relay, &loud, LimitsEdit { per_hour: Edit::Set(40), ..LimitsEdit::default() }).await?;

    for number in 0..120 {
        alice.post(&format!("much {number}")).await?;
    }
    let throttled = || {
        // Time passes, a second in each look: soon the host was slowed down for a minute.
        advance(&clock, 1);
        relay.view(&loud).status == HostStatus::Throttled
    };
    relay.until("the host is throttled", throttled).await?;
    loud.disconnected().await?;
    let view = relay.view(&loud);
    assert!(view.status_reason.as_deref().is_some_and(|why| why.contains("40 events per hour")));
    let by_bob = bob.post("not concerned").await?;
    watch.until(&by_bob).await?;
    let asked = relay.request_crawl(&loud.hostname()).await?;
    assert_eq!(asked.0, 200);
    relay.until("it is left alone", || relay.view(&loud).doing.contains("over its limits")).await?;

    let caught_up = || {
        advance(&clock, 60);
        relay.is_settled(&net)
    };
    relay.until("the host is read to its end", caught_up).await?;
    let quiet = || {
        let view = relay.view(&loud);
        view.status == HostStatus::Active && view.usage.behind_ms == 0
    };
    relay.until("it is within its limits again", quiet).await?;
    relay.proved(&net, &mut watch).await?;
    let history = relay.running.hosts.history(&loud.hostname()).await?;
    assert!(history.iter().any(|change| change.after == "throttled"), "{history:?}");
    Ok(())
}

/// HOST-9: limits that are raised let a throttled host go on at once.
#[tokio::test]
async fn raised_limits_bring_a_throttled_host_back_at_once() -> Result<()> {
    let (net, clock) = (Net::seeded(211).await?, held_clock());
    let loud = net.pds("loud").await?;
    let alice = loud.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    set(&relay, &loud, LimitsEdit { per_day: Edit::Set(20), ..LimitsEdit::default() }).await?;
    for number in 0..60 {
        alice.post(&format!("much {number}")).await?;
    }
    let throttled = || {
        advance(&clock, 1);
        relay.view(&loud).status == HostStatus::Throttled
    };
    relay.until("the host is throttled", throttled).await?;

    set(&relay, &loud, LimitsEdit { per_day: Edit::Clear, ..LimitsEdit::default() }).await?;

    relay.settled(&net).await?;
    assert_eq!(relay.view(&loud).status, HostStatus::Active);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// The two hosts and one account at each.
async fn two_hosts(seed: u64) -> Result<(Net, [Pds; 2], [Account; 2], Relay, Watch)> {
    let net = Net::seeded(seed).await?;
    let (bad, good) = (net.pds("bad").await?, net.pds("good").await?);
    let (alice, bob) = (bad.account("alice").await?, good.account("bob").await?);
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    Ok((net, [bad, good], [alice, bob], relay, watch))
}

/// Defects of the reference: a ban left the connection open and was undone by the next cursor, and the
/// end of a ban did not bring the host back.
#[tokio::test]
async fn a_ban_of_a_live_host_is_felt_at_once_and_its_end_too() -> Result<()> {
    let (net, [bad, _good], [alice, bob], relay, mut watch) = two_hosts(212).await?;

    relay.running.hosts.ban(&bad.hostname(), &ann(), "spam").await?;

    bad.disconnected().await?;
    alice.post("from a banned host").await?;
    let by_bob = bob.post("from another").await?;
    watch.until(&by_bob).await?;
    assert_eq!(relay.request_crawl(&bad.hostname()).await?.0, 403);
    let relay = relay.restart().await?;
    let mut watch = relay.watch().await?;
    assert_eq!((relay.view(&bad).status, bad.subscribers()), (HostStatus::Banned, 0));

    relay.running.hosts.unban(&bad.hostname(), &ann(), "sorry").await?;

    bad.connected().await?;
    relay.proved(&net, &mut watch).await?;
    assert_eq!(relay.view(&bad).status, HostStatus::Active);
    Ok(())
}

/// Defect of the reference: bans of domains did not reach connections that were open, nor those that a
/// start makes.
#[tokio::test]
async fn a_ban_of_a_domain_ends_live_connections_and_counts_at_the_start() -> Result<()> {
    let (net, hosts, [alice, _bob], relay, _) = two_hosts(213).await?;

    relay.running.hosts.ban_domain("localhost", &ann(), "all of it").await?;

    for host in &hosts {
        host.disconnected().await?;
        let asked = format!("com.atproto.sync.getHostStatus?hostname={}", host.hostname());
        assert_eq!(relay.get(&asked).await?.1["status"], "banned");
    }
    alice.post("nobody hears this yet").await?;
    assert_eq!(relay.request_crawl(&hosts[0].hostname()).await?.0, 403);
    let relay = relay.restart().await?;
    assert_eq!(hosts.each_ref().map(Pds::subscribers), [0, 0]);

    assert!(relay.running.hosts.unban_domain("localhost", &ann(), "").await?);

    for host in &hosts {
        host.connected().await?;
    }
    let mut watch = relay.watch().await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// HOST-1: a host that is disconnected by hand stays away until somebody asks for it.
#[tokio::test]
async fn a_host_that_was_disconnected_comes_back_when_it_asks() -> Result<()> {
    let (net, [bad, _good], [alice, _bob], relay, mut watch) = two_hosts(214).await?;
    relay.running.hosts.disconnect(&bad.hostname(), &ann(), "restarting it").await?;
    bad.disconnected().await?;
    assert_eq!(relay.view(&bad).status, HostStatus::Idle);
    alice.post("while it is away").await?;

    assert_eq!(relay.request_crawl(&bad.hostname()).await?.0, 200);

    bad.connected().await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// The last word on an account that a consumer got.
fn last_word(watch: &Watch, account: &Account) -> Option<String> {
    watch.of(account).into_iter().rfind(|event| event.starts_with("account"))
}

/// T22, ACC-8, ACC-9, HOST-7: the accounts after the last that a host may have are held and told as
/// throttled; when others leave they are released, the oldest first, and when the limit is raised all
/// are; counts are right, also after a restart.
#[tokio::test]
async fn accounts_over_the_limit_are_held_and_released_in_order() -> Result<()> {
    let (net, clock) = (Net::seeded(215).await?, held_clock());
    let host = net.pds("full").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    set(&relay, &host, LimitsEdit { accounts: Edit::Set(3), ..LimitsEdit::default() }).await?;
    let mut accounts = Vec::new();
    for number in 0..6 {
        let account = host.account(&format!("account{number}")).await?;
        account.post("first").await?;
        relay.settled(&net).await?;
        accounts.push(account);
    }
    let mut watch = relay.watch().await?;
    let told = async |relay: &Relay, watch: &mut Watch, expected: [&str; 6]| -> Result<()> {
        let wanted: Vec<_> = expected.iter().map(|word| Some(format!("account {word}"))).collect();
        for _ in 0..1_000 {
            // A review comes every few seconds of the clock, and finds what a checkpoint has written.
            advance(&clock, 5);
            relay.running.checkpoint().await?;
            relay.news(&net, watch).await?;
            let words: Vec<_> = accounts.iter().map(|account| last_word(watch, account)).collect();
            if words == wanted {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let words: Vec<_> = accounts.iter().map(|account| last_word(watch, account)).collect();
        anyhow::bail!("{words:?} instead of {wanted:?}")
    };
    let (yes, no) = ("active", "throttled");
    told(&relay, &mut watch, [yes, yes, yes, no, no, no]).await?;
    let view = relay.view(&host);
    assert_eq!((view.account_count, view.held_accounts), (6, 3));
    assert!(relay.drops(&accounts[4]).contains(&DropReason::LocallyInactive));
    let (_, status) =
        relay.get(&format!("com.atproto.sync.getRepoStatus?did={}", accounts[4].did())).await?;
    assert_eq!((&status["active"], &status["status"]), (&false.into(), &"throttled".into()));

    accounts[0].delete_account().await?;
    told(&relay, &mut watch, ["deleted", yes, yes, yes, no, no]).await?;
    let relay = relay.restart().await?;
    let mut watch = relay.watch().await?;
    let view = relay.view(&host);
    assert_eq!(view.account_count, 5);
    told(&relay, &mut watch, ["deleted", yes, yes, yes, no, no]).await?;

    set(&relay, &host, LimitsEdit { accounts: Edit::Set(5), ..LimitsEdit::default() }).await?;
    told(&relay, &mut watch, ["deleted", yes, yes, yes, yes, yes]).await?;
    let sent = accounts[5].post("released").await?;
    watch.until(&sent).await.context("its commits pass again")?;
    relay.until("nobody is held", || relay.view(&host).held_accounts == 0).await?;
    assert_eq!(relay.view(&host).account_count, 5);
    Ok(())
}

/// ACC-9, T22, T24: an operator who restores an account that is held lets it in over the limit of its
/// host, whether it was taken down meanwhile or not: its commits pass, nothing holds it again, and the
/// others that are held stay so. After a restart it is the same.
#[tokio::test]
async fn an_account_that_is_held_passes_when_an_operator_restores_it() -> Result<()> {
    let (net, clock) = (Net::seeded(216).await?, held_clock());
    let host = net.pds("full").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    set(&relay, &host, LimitsEdit { accounts: Edit::Set(1), ..LimitsEdit::default() }).await?;
    let mut accounts = Vec::new();
    for name in ["first", "restored", "punished", "held"] {
        let account = host.account(name).await?;
        account.post("hello").await?;
        relay.settled(&net).await?;
        accounts.push(account);
    }
    let [first, restored, punished, held] = &accounts[..] else { anyhow::bail!("four accounts") };
    let mut watch = relay.watch().await?;
    let all_held = async |relay: &Relay, watch: &mut Watch| -> Result<()> {
        let is_held = |watch: &Watch, account| {
            last_word(watch, account).as_deref() == Some("account throttled")
        };
        while !accounts.iter().skip(1).all(|account| is_held(watch, account)) {
            relay.news(&net, watch).await?;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, all_held(&relay, &mut watch)).await.context("not held")??;
    let decide = async |relay: &Relay, what: &str, account: &Account| -> Result<()> {
        let body = serde_json::json!({ "did": account.did(), "note": "test" });
        let (status, answer) = relay.command(&format!("accounts/{what}"), &body).await?;
        anyhow::ensure!(status == 200, "{what}: {status} {answer}");
        Ok(())
    };

    decide(&relay, "restore", restored).await?;
    decide(&relay, "takeDown", punished).await?;
    decide(&relay, "restore", punished).await?;

    let passes = async |relay: &Relay, watch: &mut Watch| -> Result<()> {
        for account in [first, restored, punished] {
            let sent = account.post("it passes").await?;
            watch.until(&sent).await.with_context(|| format!("{} is held", account.name()))?;
            assert_eq!(last_word(watch, account).as_deref(), Some("account active"));
        }
        held.post("it does not").await?;
        relay.settled(&net).await?;
        assert!(relay.drops(held).contains(&DropReason::LocallyInactive));
        let (_, status) =
            relay.get(&format!("com.atproto.sync.getRepoStatus?did={}", held.did())).await?;
        assert_eq!(status["status"], "throttled");
        Ok(())
    };
    passes(&relay, &mut watch).await?;
    let one_held = || {
        advance(&clock, 5);
        relay.view(&host).held_accounts == 1
    };
    relay.running.checkpoint().await?;
    relay.until("one account is counted as held", one_held).await?;
    assert_eq!(relay.view(&host).account_count, 4);

    let relay = relay.restart().await?;
    let mut watch = relay.watch().await?;
    for _ in 0..4 {
        advance(&clock, 60);
        relay.running.checkpoint().await?;
        passes(&relay, &mut watch).await?;
    }
    assert_eq!(relay.view(&host).held_accounts, 1);
    Ok(())
}
