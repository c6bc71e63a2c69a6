//! Every adversary alone against a relay of its own, and all of them at once.
//!
//! What the honest send comes out whatever the others do; what is wrong is counted under a reason that
//! fits; a host that plays tricks with its connection is held up alone, and is heard again once it
//! behaves; nobody follows a redirect or becomes a host by a trick.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, Result, ensure};
use relay::upstream::UpstreamOptions;
use relay_simnet::{
    Adversary, Fault, HandshakeTrick, IdentityTrick, LoadOptions, Mix, MixOptions, NameServer,
    NameTrick, Net, RawFrame, Start, StreamTrick, Upgrade,
};
use tokio::task::JoinSet;

use crate::{
    support::{FIRST_RETRY, Relay},
    watch::Watch,
};

/// Networks at once: most of the time each of them waits.
const AT_ONCE: usize = 8;

/// Steps of a mix with one adversary, each second one its own.
const STEPS: u64 = 24;

/// Limits in time as tests can wait for.
const LIMITS: UpstreamOptions = UpstreamOptions {
    handshakes_max: 64,
    handshake_max: Duration::from_secs(2),
    first_retry: FIRST_RETRY,
    ping_interval: Duration::from_secs(1),
    dead_after: Duration::from_secs(3),
};

/// A relay that reads all hosts of a mix.
async fn join(net: &Net, mix: &mut Mix) -> Result<(Relay, Watch)> {
    let relay = Relay::join_with(net, |_, extras| extras.upstream = LIMITS).await?;
    mix.knock_at(&relay.url());
    let watch = relay.watch().await?;
    Ok((relay, watch))
}

/// Wakes the hosts that the relay waits for longer and longer; they behave now.
async fn make_peace(net: &Net, mix: &mut Mix, relay: &Relay) -> Result<()> {
    mix.make_peace().await?;
    for host in net.hosts() {
        let admitted = relay.running.hosts.admit(&host.hostname(), true).await;
        admitted.map_err(|why| anyhow::anyhow!("{}: {why}", host.hostname()))?;
    }
    Ok(())
}

/// What must hold in the end, whatever the adversary was.
async fn proved(net: &Net, mix: &mut Mix, (relay, watch): (&Relay, &mut Watch)) -> Result<()> {
    relay.until("the relay has met every adversary", || mix.unfired().is_empty()).await?;
    // While the others are at it.
    for account in mix.load().accounts().iter().take(2) {
        let sent = account.post("honest").await?;
        watch.until(&sent).await.with_context(|| format!("{} is held up", account.name()))?;
    }
    make_peace(net, mix, relay).await?;
    relay.proved(net, watch).await?;
    ensure!(mix.misled().is_empty(), "{:?}", mix.misled());
    relay.until("no event waits any more", || relay.running.ingest.depth() == 0).await
}

/// One adversary alone.
async fn alone(seed: u64, adversary: Adversary) -> Result<()> {
    let net = Net::seeded(seed).await?;
    let load = LoadOptions { hosts: 1, accounts: 3, records: 5, ..LoadOptions::default() };
    let mut mix = Mix::prepare(&net, MixOptions::alone(load, adversary, 500)).await?;
    let (relay, mut watch) = join(&net, &mut mix).await?;
    relay.settled(&net).await?;

    mix.send(STEPS).await?;
    if let (Some(host), Some(words)) = (mix.host_of(adversary), held_up_because(adversary)) {
        let told = || {
            let view = relay.view(host);
            let told = format!("{} {}", view.doing, view.last_error.unwrap_or_default());
            words.iter().any(|words| told.contains(words))
        };
        relay.until(&format!("its host is held up because of {words:?}"), told).await?;
    }
    proved(&net, &mut mix, (&relay, &mut watch)).await?;

    let reasons = reasons(adversary);
    let totals = relay.running.drops.totals();
    let counted = totals.iter().filter(|(reason, _)| reasons.contains(&reason.label()));
    let counted: u64 = counted.map(|(_, count)| count).sum();
    let strikes = mix.strikes().values().sum::<u64>();
    ensure!(reasons.is_empty() || counted > 0, "{strikes} strikes, none under {reasons:?}");
    Ok(())
}

/// What the relay says of a host that is held up.
fn held_up_because(adversary: Adversary) -> Option<&'static [&'static str]> {
    Some(match adversary {
        Adversary::Handshake(trick) => match trick {
            HandshakeTrick::Silence | HandshakeTrick::Dribble => &["the handshake did not end"],
            HandshakeTrick::EndlessHead => &["not a WebSocket upgrade", "handshake failed"],
            HandshakeTrick::RedirectElsewhere
            | HandshakeTrick::RedirectPrivate
            | HandshakeTrick::RedirectLoop => &["redirects are not followed"],
            HandshakeTrick::FutureCursor => &["FutureCursor", "without cursor"],
            HandshakeTrick::Page => &["200"],
        },
        Adversary::Stream(StreamTrick::EndlessFrame | StreamTrick::SlowMessage) => {
            &["nothing was heard"]
        }
        Adversary::Stream(_) | Adversary::Frame(RawFrame::Oversized) => &["5,000,000", "large"],
        _ => return None,
    })
}

/// The reasons of which one must be counted.
fn reasons(adversary: Adversary) -> Vec<&'static str> {
    match adversary {
        Adversary::Event(Fault::SyncFlood) => vec!["rate_limited"],
        Adversary::Event(fault) => fault.reasons().to_vec(),
        Adversary::ForeignAccount => vec!["wrong_host"],
        Adversary::Frame(raw) => raw.reason().into_iter().collect(),
        Adversary::Stream(trick) => trick.reason().into_iter().collect(),
        Adversary::Identity(IdentityTrick::PrivateEndpoint) => vec!["identity_invalid"],
        Adversary::Identity(_) | Adversary::Handshake(_) | Adversary::Check(_) => Vec::new(),
    }
}

/// All of them, so many at once.
async fn each(first_seed: u64, adversaries: Vec<Adversary>) -> Result<()> {
    let mut left: VecDeque<_> = (first_seed..).zip(adversaries).collect();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((seed, adversary)) = left.pop_front()
        {
            running.spawn(async move {
                let ended = Box::pin(alone(seed, adversary)).await;
                ended.with_context(|| format!("{adversary} (seed {seed})"))
            });
        }
        match running.join_next().await {
            Some(ended) => ended??,
            None => return Ok(()),
        }
    }
}

fn those(wanted: impl Fn(&Adversary) -> bool) -> Vec<Adversary> {
    Adversary::all().into_iter().filter(wanted).collect()
}

/// T10 to T17, VAL-1 to VAL-12, SYNC-6, SYNC-7, KEY-1, KEY-2, MSG-1: each kind of wrong or unusual
/// event alone, and frames that are to be ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_event_alone_is_counted_and_hides_no_honest_one() -> Result<()> {
    let events = those(|one| match one {
        Adversary::Event(_) | Adversary::ForeignAccount => true,
        Adversary::Frame(_) => !one.holds_up(),
        _ => false,
    });
    each(3_000, events).await
}

/// UP-1, UP-2, UP-3, UP-6, UP-12, ENC-9, MSG-1, SEC-5: each way to hold up a connection: answers that
/// never end or lead elsewhere, frames that break, announce too much or never end, cursors that lie
/// ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trick_with_a_connection_holds_up_its_own_host_only() -> Result<()> {
    each(3_200, those(|one| one.holds_up())).await
}

/// RES-1, DOC-1 to DOC-5, HOST-3, UP-11, SEC-1, SEC-2: redirects, bodies without end and hostile
/// documents, where a relay asks who an account is and whether a server is a host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trick_with_an_identity_or_a_host_check_leads_nowhere() -> Result<()> {
    each(3_300, those(|one| matches!(one, Adversary::Identity(_) | Adversary::Check(_)))).await
}

/// UP-6: a host that answers every cursor with `FutureCursor`, also after the relay began anew: its
/// cursor is reset once, and then it is a case for a person; the others are read all the while.
#[tokio::test]
async fn a_host_that_lies_about_cursors_for_ever_is_reset_once_a_day() -> Result<()> {
    let net = Net::seeded(3_400).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let (alice, bob) = (alpha.account("alice").await?, beta.account("bob").await?);
    let relay = Relay::join_with(&net, |_, extras| extras.upstream = LIMITS).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    alpha.answer_next(Upgrade::FutureCursor);
    alpha.reset_sequence();
    let is_confirming = || relay.view(&alpha).doing.contains("without cursor");
    relay.until("the host is confirmed", is_confirming).await?;
    alpha.answer_all(Upgrade::FutureCursor);
    alice.post("seen at the live edge").await?;
    let from_the_start = || alpha.cursors().iter().filter(|cursor| *cursor == "0").count();
    relay.until("it is asked again and again", || from_the_start() > 3).await?;
    let sent = bob.post("beta goes on").await?;
    watch.until(&sent).await?;
    let asked = alpha.cursors();
    assert_eq!(asked.iter().filter(|cursor| cursor.is_empty()).count(), 1, "{asked:?}");

    alpha.behave();
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    let sent = alice.post("behind it").await?;
    watch.until(&sent).await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// I4, I5, I7, CUR-2, CUR-3: all adversaries at 10 %, under honest load, before four consumers: one
/// from the start, one that comes back again and again with its cursor, one that joins late, and one
/// that does not read until all is over. Each is given the same, and all that is honest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_adversaries_at_once_hide_nothing_from_four_consumers() -> Result<()> {
    let net = Net::seeded(3_500).await?;
    let load = LoadOptions { hosts: 5, accounts: 60, records: 10, ..LoadOptions::default() };
    let mut mix = Mix::prepare(&net, MixOptions::all(load, 100)).await?;
    let mut slow_checker = net.oracle().checker();
    let mut back_checker = net.oracle().checker();
    let (relay, mut watch) = join(&net, &mut mix).await?;
    let mut slow = relay.consume(Start::After(0)).await?.reconnecting();
    let mut back = relay.consume(Start::After(0)).await?.reconnecting();

    for _ in 0..12 {
        mix.send(250).await?;
        back.cut();
        let head = i64::try_from(relay.running.log.window().head.0)?;
        while back.last_seq() < head {
            back_checker.observe(&back.next().await?);
        }
    }
    let mut late = relay.consume(Start::After(0)).await?;
    mix.send(500).await?;
    Box::pin(proved(&net, &mut mix, (&relay, &mut watch))).await?;

    for expected in &watch.seen {
        let event = late.next().await?;
        ensure!(event.seq == expected.seq && event.frame == expected.frame, "{event:?}");
    }
    back.settle(&mut back_checker).await?.clean()?;
    slow.settle(&mut slow_checker).await?.clean()?;
    assert!(back.reconnections() >= 12);
    assert!(watch.seen.len() > 3_000, "{}", watch.seen.len());
    Ok(())
}

/// SEC-1, HOST-3, T21: in earnest, names that lead to private addresses, to nothing or in circles do
/// not become hosts, and each is asked for no more often than a resolver tries.
#[tokio::test]
async fn a_name_that_leads_nowhere_good_is_no_host() -> Result<()> {
    let net = Net::seeded(3_600).await?;
    for trick in NameTrick::ALL {
        let names = NameServer::start(*trick).await?;
        let addr = names.addr();
        let relay = Relay::alone(&net, move |config, _| {
            config.dev = false;
            config.resolve_address = vec![addr];
        })
        .await?;

        let (status, told) = relay.request_crawl("pds.example.com").await?;

        assert_eq!(status, 400, "{trick:?}: {told}");
        let words = told["message"].as_str().unwrap_or_default();
        assert!(
            words.contains("not public") || words.contains("cannot resolve"),
            "{trick:?}: {told}"
        );
        assert!((1..=30).contains(&names.asked()), "{trick:?}: {}", names.asked());
        assert!(relay.running.hosts.all().is_empty(), "{trick:?}");
    }
    Ok(())
}
