//! Hosts that go away, refuse, hang, forget or lose their place: the relay comes back to each of them
//! by itself, without a tight loop, and loses nothing that they still have.

use anyhow::{Context, Result};
use relay_simnet::{AccountOptions, Answer, Load, LoadOptions, Net, RawFrame, Upgrade};
use tokio::time::{Duration, Instant};

use crate::{
    support::{FIRST_RETRY, Relay},
    watch::{advance, held_clock},
};

/// T20, UP-9, UP-10: what a host sequenced while it was away comes once, in order.
#[tokio::test]
async fn a_host_that_was_away_is_read_on_from_where_it_was() -> Result<()> {
    let net = Net::seeded(50).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    for round in 0..3 {
        alpha.down();
        for number in 0..20 {
            alice.post(&format!("while away {round} {number}")).await?;
        }
        let by_bob = bob.post("beta is not concerned").await?;
        watch.until(&by_bob).await?;
        alpha.up().await?;
        assert_eq!(relay.news(&net, &mut watch).await?, ["commit"; 20]);
    }

    assert_eq!(net.oracle().redelivered(), 0, "each cursor was the last event");
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T20, UP-4, UP-10, VAL-16: after a day a host has deleted what was missed. The gap is marked, the
/// rest passes as discontinuous, and nothing is fetched.
#[tokio::test]
async fn a_host_that_was_away_for_a_day_is_read_on_over_the_gap() -> Result<()> {
    let (net, clock) = (Net::seeded(51).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    assert_eq!(relay.view(&alpha).gap_ms, None);

    alpha.down();
    alice.post("nobody will see this").await?;
    alpha.forget_events();
    advance(&clock, 24 * 3_600);
    alpha.up().await?;
    alice.post("after the gap").await?;

    assert_eq!(relay.news(&net, &mut watch).await?, ["commit"]);
    assert_eq!(relay.view(&alpha).gap_ms, Some(clock.now_ms()));
    assert_eq!(alpha.requests("getRepo"), 0);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T20, UP-6: a host that restarts its sequence is found out, confirmed by its next event, and read
/// anew from its beginning; at most once a day.
#[tokio::test]
async fn a_host_that_lost_its_sequence_is_read_anew_once_a_day() -> Result<()> {
    let (net, clock) = (Net::seeded(52).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    for number in 0..10 {
        alice.post(&format!("in the first sequence {number}")).await?;
    }
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let before = alpha.head().to_string();

    alpha.reset_sequence();
    relay
        .until("the host is confirmed", || relay.view(&alpha).doing.contains("without cursor"))
        .await?;
    alice.post("in the second sequence").await?;
    let last = alice.post("and one more").await?;
    assert_eq!(watch.until(&last).await?.len(), 2);
    assert_eq!(alpha.cursors(), ["0", &before, "", "0"]);

    alpha.reset_sequence();
    let told = |why: &str| relay.view(&alpha).last_error.is_some_and(|error| error.contains(why));
    relay.until("it is left to a person", || told("already reset in the last 24 hours")).await?;
    advance(&clock, 25 * 3_600);
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    relay
        .until("the host is confirmed", || relay.view(&alpha).doing.contains("without cursor"))
        .await?;
    let last = alice.post("in the third sequence").await?;
    assert_eq!(watch.until(&last).await?.len(), 1);
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// T20, UP-5: a host that calls the relay too slow is asked again from the last event on.
#[tokio::test]
async fn a_host_that_calls_the_relay_too_slow_is_asked_again() -> Result<()> {
    let net = Net::seeded(53).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    for round in 1..=3 {
        alice.post("before").await?;
        relay.settled(&net).await?;
        alpha.send_consumer_too_slow();
        alpha.asked(round + 1).await?;
        alpha.connected().await?;
        alice.post("after").await?;
    }

    relay.proved(&net, &mut watch).await?;
    let error = relay.view(&alpha).last_error.context("no error was noted")?;
    assert!(error.contains("ConsumerTooSlow"), "{error}");
    assert_eq!(net.oracle().redelivered(), 0);
    Ok(())
}

/// T20, UP-10, UP-12: every answer but an upgrade is noted in words, and the host is tried again; a
/// redirect leads nowhere.
#[tokio::test]
async fn answers_without_an_upgrade_are_noted_and_tried_again() -> Result<()> {
    let net = Net::seeded(54).await?;
    let (alpha, elsewhere) = (net.pds("alpha").await?, net.pds("elsewhere").await?);
    let alice = alpha.account("alice").await?;
    let target = format!("{}/xrpc/com.atproto.sync.subscribeRepos", elsewhere.url());
    let answers = [
        (Upgrade::Status { status: 429, retry_after: Some(1), html: false }, "429"),
        (Upgrade::Status { status: 502, retry_after: None, html: true }, "Bad gateway"),
        (Upgrade::Status { status: 200, retry_after: None, html: true }, "200"),
        (Upgrade::status(503), "Scripted: scripted"),
        (Upgrade::Redirect(target), "redirects are not followed"),
    ];
    let relay = Relay::alone(&net, |_, _| {}).await?;
    let mut watch = relay.watch().await?;
    for (answer, _) in &answers {
        alpha.answer_next(answer.clone());
    }

    let start = Instant::now();
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    for (_, words) in &answers {
        let told = || relay.view(&alpha).last_error.is_some_and(|error| error.contains(words));
        relay.until(words, told).await?;
    }
    alpha.connected().await?;
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
    alice.post("hello").await?;

    relay.running.hosts.admit(&elsewhere.hostname(), true).await?;
    elsewhere.connected().await?;
    relay.proved(&net, &mut watch).await?;
    assert_eq!(alpha.cursors(), ["0"; 6], "one request for each answer");
    assert_eq!(elsewhere.cursors(), ["0"], "asked once, when it was named itself");
    Ok(())
}

/// T20, UP-1, SEC-5: a handshake that never ends is given up, and delays nobody else.
#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() -> Result<()> {
    let net = Net::seeded(55).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    alpha.answer_next(Upgrade::Silence);
    let limit = Duration::from_secs(2);
    let relay = Relay::alone(&net, move |_, extras| extras.upstream.handshake_max = limit).await?;
    let mut watch = relay.watch().await?;
    for host in [&alpha, &beta] {
        relay.running.hosts.admit(&host.hostname(), true).await?;
    }

    alpha.asked(1).await?;
    let by_bob = bob.post("meanwhile").await?;
    watch.until(&by_bob).await?;
    assert!(watch.of(&alice).is_empty() && alpha.cursors().len() == 1);
    alpha.connected().await?;

    relay.proved(&net, &mut watch).await?;
    let error = relay.view(&alpha).last_error.context("no error was noted")?;
    assert!(error.contains("the handshake did not end"), "{error}");
    Ok(())
}

/// T20, UP-10: a host that refuses for ever is asked ever more slowly; one that asks to be crawled is
/// tried at once.
#[tokio::test]
async fn a_host_that_refuses_for_ever_is_asked_ever_more_slowly() -> Result<()> {
    let net = Net::seeded(56).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    alpha.answer_all(Upgrade::status(500));
    let relay = Relay::alone(&net, |_, _| {}).await?;
    let mut watch = relay.watch().await?;

    let start = Instant::now();
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    alpha.asked(6).await?;
    // The pauses double from the first one on, and jitter takes away half of each at most.
    assert!(start.elapsed() >= (1 + 2 + 4 + 8 + 16) * FIRST_RETRY / 2);
    relay
        .until("it waits for the seventh try", || relay.view(&alpha).doing.contains("attempt 6"))
        .await?;

    alpha.answer_all(Upgrade::Accept);
    assert_eq!(relay.request_crawl(&alpha.hostname()).await?.0, 200);
    alpha.connected().await?;
    alice.post("hello").await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// ENC-9, UP-3, UP-10: a broken frame that comes again with every connection holds up its host only,
/// is not read in a tight loop, and is behind us when the host has dropped it.
#[tokio::test]
async fn a_poisoned_stream_holds_up_its_own_host_only() -> Result<()> {
    let net = Net::seeded(57).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    let start = Instant::now();
    alpha.send_raw_for_ever(RawFrame::Garbage);
    alpha.asked(1 + 4).await?;
    assert!(start.elapsed() >= (1 + 2 + 4 + 8) * FIRST_RETRY / 2);
    let by_bob = bob.post("beta goes on").await?;
    watch.until(&by_bob).await?;

    alpha.forget_events();
    let after = alice.post("behind it").await?;
    watch.until(&after).await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// SEC-5, RES-6: a directory that does not answer for one account holds up neither the others of its
/// host nor new accounts.
#[tokio::test]
async fn an_identity_that_is_slow_to_come_holds_up_nobody_else() -> Result<()> {
    let (net, clock) = (Net::seeded(58).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let bob = alpha.account("bob").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    let alice = alpha.account_with("alice", silent).await?;
    net.plc().answer(&alice, Answer::Silence);
    for number in 0..10 {
        alice.post(&format!("waits {number}")).await?;
    }
    let carol = alpha.account("carol").await?;
    bob.post("known").await?;
    carol.post("new").await?;
    watch.take(1 + 4).await?;
    assert_eq!(watch.of(&carol), ["identity carol.test", "account active", "commit", "commit"]);
    assert!(watch.of(&alice).is_empty());

    net.plc().answer(&alice, Answer::Document);
    // Ends the question that is under way, which otherwise would take its five seconds.
    net.plc().down();
    net.plc().up().await?;
    relay.settled_in_time(&net, &clock).await?;
    relay.proved(&net, &mut watch).await?;
    assert_eq!(watch.of(&alice), ["commit"; 10]);
    Ok(())
}

/// T20, I4: under load, with hosts cut, stopped and called too slow, and events wrong in many ways
/// between the others: nothing is lost, repeated or out of order.
#[tokio::test]
async fn hosts_that_fail_again_and_again_under_load_lose_nothing() -> Result<()> {
    let net = Net::seeded(59).await?;
    let options = LoadOptions {
        hosts: 4,
        accounts: 40,
        records: 10,
        faults_per_mille: 60,
        impostors_per_mille: 30,
        ..LoadOptions::default()
    };
    let mut load = Load::prepare(&net, options).await?;
    let hosts = load.hosts().to_vec();
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    for round in 0..4 {
        load.send(150).await?;
        hosts[round % 4].cut();
        load.send(50).await?;
        hosts[(round + 1) % 4].send_consumer_too_slow();
        hosts[(round + 2) % 4].down();
        load.send(150).await?;
        hosts[(round + 2) % 4].up().await?;
        for host in &hosts {
            host.connected().await?;
        }
    }

    let report = relay.proved(&net, &mut watch).await?;
    assert!(report.matched > 1_000, "{report}");
    assert!(hosts.iter().all(|host| host.cursors().len() >= 3));
    Ok(())
}
