//! Where keys and hosts come from: the directory and did:web hosts, in all their moods (spec 6.3, 6.4).

use anyhow::{Context, Result};
use relay::domain::DropReason;
use relay_simnet::{Account, AccountOptions, Answer, Net, Pds};
use tokio::time::{Duration, Instant};

use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// An account that a relay meets at its first post, because its creation was not announced.
async fn unannounced(host: &Pds, name: &str, web: bool) -> Result<Account> {
    let options = AccountOptions { announced: false, web, ..AccountOptions::default() };
    host.account_with(name, options).await
}

/// T10, RES-2, DOC-1, DOC-6: a directory or a did:web host that says that there is nothing usable
/// costs the event, and is believed for five minutes before it is asked again.
#[tokio::test]
async fn an_identity_that_does_not_work_costs_its_events_and_few_lookups() -> Result<()> {
    let (net, clock) = (Net::seeded(110).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    let answers = [Answer::NotFound, Answer::Gone, Answer::WrongId, Answer::NoHost, Answer::NoKey];
    let mut accounts = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        for web in [false, true] {
            let account = unannounced(&alpha, &format!("user-{number}-{web}"), web).await?;
            match account.web() {
                Some(web) => web.answer(answer.clone()),
                None => net.plc().answer(&account, answer.clone()),
            }
            accounts.push(account);
        }
    }
    let lookups = |account: &Account| match account.web() {
        Some(web) => web.lookups(),
        None => net.plc().lookups(account),
    };

    for round in 0..3 {
        for account in &accounts {
            account.post(&format!("in vain {round}")).await?;
        }
        assert_eq!(relay.news(&net, &mut watch).await?, [""; 0]);
        advance(&clock, 20);
    }
    for account in &accounts {
        assert_eq!(relay.drops(account), [DropReason::IdentityInvalid; 3], "{}", account.name());
        // Without a key there is an account, whose next commit may ask once more for its key.
        let is_known = account.name().starts_with("user-4");
        assert_eq!(lookups(account), 1 + u64::from(is_known), "{}", account.name());
        match account.web() {
            Some(web) => web.answer(Answer::Document),
            None => net.plc().answer(account, Answer::Document),
        }
    }
    advance(&clock, 301);
    for account in &accounts {
        account.post("repaired").await?;
    }
    assert_eq!(relay.news(&net, &mut watch).await?, vec!["commit"; accounts.len()]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10, RES-5: answers that say nothing hold the events; they come out, in order, when the source
/// answers again.
#[tokio::test]
async fn an_identity_that_cannot_be_told_now_holds_its_events() -> Result<()> {
    let (net, clock) = (Net::seeded(111).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    let mut accounts = Vec::new();
    for (number, answer) in
        [Answer::Status(500), Answer::Oversized, Answer::Status(403)].into_iter().enumerate()
    {
        for web in [false, true] {
            let account = unannounced(&alpha, &format!("user-{number}-{web}"), web).await?;
            match account.web() {
                Some(web) => web.answer(answer.clone()),
                None => net.plc().answer(&account, answer.clone()),
            }
            accounts.push(account);
        }
    }

    for number in 0..3 {
        for account in &accounts {
            account.post(&format!("waits {number}")).await?;
        }
    }
    let all = 3 * accounts.len();
    relay
        .until("all wait", || net.undelivered() == 0 && relay.running.ingest.depth() == all)
        .await?;
    for account in &accounts {
        match account.web() {
            Some(web) => web.answer(Answer::Document),
            None => net.plc().answer(account, Answer::Document),
        }
    }
    relay.settled_in_time(&net, &clock).await?;

    assert_eq!(relay.news(&net, &mut watch).await?, vec!["commit"; all]);
    for account in &accounts {
        assert_eq!(watch.of(account), ["commit"; 3]);
        assert_eq!(relay.drops(account), []);
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10, PLC-3: a directory that asks to wait is left alone for so long; nothing is lost.
#[tokio::test]
async fn a_directory_that_asks_to_wait_is_left_alone() -> Result<()> {
    let net = Net::seeded(112).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    net.plc().answer_all(Some(Answer::TooMany { retry_after: 1 }));
    let start = Instant::now();

    let mut accounts = Vec::new();
    for number in 0..5 {
        let account = unannounced(&alpha, &format!("user-{number}"), false).await?;
        account.post("waits").await?;
        accounts.push(account);
    }
    relay.until("the directory was asked", || net.plc().total_lookups() > 0).await?;
    let asked = net.plc().total_lookups();
    net.plc().answer_all(None);

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"; 5]);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(asked <= 5, "{asked}");
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T10, RES-6, ROLE-7: a slow directory delays new accounts only, and nothing gets out of order.
#[tokio::test]
async fn a_slow_directory_delays_only_those_who_need_it() -> Result<()> {
    let net = Net::seeded(113).await?;
    let alpha = net.pds("alpha").await?;
    let bob = alpha.account("bob").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let from = watch.seen.len();

    net.plc().set_latency(Duration::from_secs(1));
    let alice = alpha.account("alice").await?;
    for number in 0..10 {
        alice.post(&format!("new {number}")).await?;
        bob.post(&format!("known {number}")).await?;
    }
    watch.take(10).await?;
    let first = watch.seen.get(from..).context("bob's posts")?;
    assert!(first.iter().all(|event| event.did == bob.did()), "bob does not wait: {first:?}");

    net.plc().set_latency(Duration::ZERO);
    relay.proved(&net, &mut watch).await?;
    assert_eq!(watch.of(&alice).len(), 3 + 10);
    Ok(())
}

/// RES-6, DESIGN 10.8: a cold start with many unknown accounts keeps to the rate of the directory, and
/// loses nothing by it.
#[tokio::test]
async fn a_cold_start_keeps_to_the_rate_of_the_directory() -> Result<()> {
    let net = Net::seeded(114).await?;
    let alpha = net.pds("alpha").await?;
    let mut accounts = Vec::new();
    for number in 0..60 {
        let account = unannounced(&alpha, &format!("user-{number}"), false).await?;
        account.post("hello").await?;
        accounts.push(account);
    }
    let start = Instant::now();
    let relay = Relay::join_with(&net, |config, _| config.plc_rate = 30).await?;
    let mut watch = relay.watch().await?;

    relay.proved(&net, &mut watch).await?;

    // Thirty at once, thirty more at the rate.
    assert!(start.elapsed() >= Duration::from_millis(950));
    assert_eq!((net.plc().total_lookups(), watch.seen.len()), (60, 60));
    Ok(())
}

/// IDE-1, IDE-2, IDE-3, A19: the handle of an `#identity` passes only when the document says the same;
/// the event itself is a hint and passes from the account's host.
#[tokio::test]
async fn a_handle_passes_only_if_the_document_has_it() -> Result<()> {
    let net = Net::seeded(115).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    alice.identity(Some("not-hers.test")).await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["identity"]);
    alice.change_handle("alicia.test").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["identity alicia.test"]);
    alice.identity(Some("handle.invalid")).await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["identity handle.invalid"]);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// IDE-5, SEC-3: ten `#identity` an hour pass, and a burst of them causes five lookups at most.
#[tokio::test]
async fn a_flood_of_identities_is_cut_to_its_rate() -> Result<()> {
    let (net, clock) = (Net::seeded(116).await?, held_clock());
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    let mut passed = 0;
    for number in 0..20 {
        alice.change_handle(&format!("alice-{number}.test")).await?;
        passed += relay.news(&net, &mut watch).await?.len();
        advance(&clock, 21);
    }
    // Nine besides that of the creation, and one more after six minutes.
    assert_eq!((passed, relay.dropped_total(DropReason::RateLimited)), (10, 10));

    let lookups = net.plc().lookups(&alice);
    for _ in 0..20 {
        alice.identity(None).await?;
    }
    alice.post("not concerned").await?;
    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    assert!((1..=5).contains(&(net.plc().lookups(&alice) - lookups)));
    relay.proved(&net, &mut watch).await?;
    Ok(())
}
