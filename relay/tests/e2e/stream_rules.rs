//! The rules of the stream between host and relay: what is ignored, what costs an event, what costs
//! the connection, and what survives on the way through (spec 4.3, 5).

use anyhow::{Context, Result};
use relay::domain::DropReason;
use relay_simnet::{Fault, Ipld, Kind, Net, RawFrame};

use crate::support::Relay;

/// T3, UP-3, ENC-9: unknown frames are ignored, broken ones cost the connection; in both cases every
/// event around them comes out once.
#[tokio::test]
async fn events_around_strange_and_broken_frames_come_out_once() -> Result<()> {
    let net = Net::seeded(60).await?;
    let mut hosts = Vec::new();
    for raw in RawFrame::ALL {
        let host = net.pds(&format!("{raw:?}")).await?;
        let account = host.account(&format!("of-{raw:?}").to_ascii_lowercase()).await?;
        hosts.push((*raw, host, account));
    }
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    for (raw, host, account) in &hosts {
        account.post("before").await?;
        host.send_raw(*raw);
        account.post("after").await?;
    }

    relay.proved(&net, &mut watch).await?;
    for (raw, host, account) in &hosts {
        let expected = ["identity", "account", "commit", "commit", "commit"];
        let told = watch.of(account);
        let kinds: Vec<_> = told.iter().filter_map(|words| words.split(' ').next()).collect();
        assert_eq!(kinds, expected, "{raw:?}");
        let times = 1 + usize::from(raw.breaks_connection());
        assert_eq!(host.cursors().len(), times, "{raw:?}");
    }
    let broken = RawFrame::ALL.iter().filter(|raw| raw.breaks_connection()).count() as u64;
    let drops = [DropReason::Malformed, DropReason::Oversized];
    assert_eq!(drops.map(|reason| relay.dropped_total(reason)).iter().sum::<u64>(), broken);
    Ok(())
}

/// T3, ENC-10, MSG-3: fields that nobody knows yet survive, byte for byte, in every kind of event.
#[tokio::test]
async fn unknown_fields_survive_in_every_kind_of_event() -> Result<()> {
    let net = Net::seeded(61).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let from = watch.seen.len();

    alice.with(Fault::UnknownFields).post("from the future").await?;
    alice.with(Fault::UnknownFields).sync().await?;
    alice.with(Fault::UnknownFields).identity(None).await?;
    alice.with(Fault::UnknownFields).takedown().await?;

    let told = relay.news(&net, &mut watch).await?;
    assert_eq!(told, ["commit", "sync", "identity", "account takendown"]);
    for event in &watch.seen[from..] {
        let payload = event.payload()?;
        assert_eq!(payload.get("zz"), Some(&Ipld::Bool(true)), "{event:?}");
        assert!(payload.contains_key("someFutureField"), "{event:?}");
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// SYN-9, SEC-9, A3, A5, A20: what is deprecated, missing without harm, or only informal costs
/// nothing; what consumers require is filled in.
#[tokio::test]
async fn informal_and_deprecated_fields_are_tolerated_and_filled_in() -> Result<()> {
    let net = Net::seeded(62).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let from = watch.seen.len();

    for fault in [Fault::BadTime, Fault::MissingDefaults, Fault::TooBig, Fault::OldBlobs] {
        alice.with(fault).post("tolerated").await?;
    }
    alice.with(Fault::BadTime).takedown().await?;

    relay.news(&net, &mut watch).await?;
    assert_eq!(watch.seen.len(), from + 5);
    for event in &watch.seen[from..] {
        assert!(event.text_field("time").ends_with('Z'), "{:?}", event.text_field("time"));
        let payload = event.payload()?;
        let is_commit = event.kind == Kind::Commit;
        for field in ["rebase", "tooBig", "blobs"] {
            assert_eq!(payload.contains_key(field), is_commit, "{field} of {event:?}");
        }
    }
    relay.proved(&net, &mut watch).await?;
    Ok(())
}

/// UP-7: events whose number does not grow are dropped and counted; gaps are normal; the tenth such
/// event costs the connection.
#[tokio::test]
async fn numbers_that_do_not_grow_cost_the_event_and_ten_the_connection() -> Result<()> {
    let net = Net::seeded(63).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;

    for number in 0..10 {
        assert_eq!(alpha.cursors().len(), 1, "before event {number}");
        alpha.skip_seq(7);
        alice.post("before").await?;
        // The last one is that of the cursor, which may come again with the next connection (CUR-8).
        let fault = if number % 2 == 0 { Fault::SeqBackwards } else { Fault::SeqRepeated };
        alice.with(fault).post("a number that was there").await?;
        let counted = || relay.dropped_total(DropReason::HostSeqNotIncreasing) > number;
        relay.until("the event is counted", counted).await?;
    }
    alpha.asked(2).await?;
    alice.post("after").await?;

    relay.proved(&net, &mut watch).await?;
    assert_eq!(relay.dropped_total(DropReason::HostSeqNotIncreasing), 10);
    assert_eq!(watch.of(&alice).iter().filter(|words| *words == "commit").count(), 12);
    Ok(())
}

/// UP-8, UP-1: a host is asked for its first event on, because it asks to be crawled only after its
/// first event; and it is told who asks.
#[tokio::test]
async fn a_new_host_is_read_from_its_first_event() -> Result<()> {
    let net = Net::seeded(64).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    alice.post("long before").await?;
    let relay = Relay::alone(&net, |_, _| {}).await?;
    let mut watch = relay.watch().await?;

    assert_eq!(relay.request_crawl(&alpha.hostname()).await?.0, 200);
    alpha.connected().await?;

    relay.proved(&net, &mut watch).await?;
    assert_eq!(watch.of(&alice), ["identity alice.test", "account active", "commit", "commit"]);
    assert_eq!(alpha.cursors(), ["0"]);
    let seen = alpha.seen();
    assert!(seen.iter().all(|seen| seen.user_agent.contains("(atproto-relay")), "{seen:?}");
    Ok(())
}

/// UP-11: a host that turns out to be a relay is not read; once it is none, it is.
#[tokio::test]
async fn a_host_that_is_a_relay_is_not_read() -> Result<()> {
    let net = Net::seeded(65).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    alpha.set_server_header("another/1.0 (atproto-relay)");
    let relay = Relay::alone(&net, |_, _| {}).await?;
    let mut watch = relay.watch().await?;

    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    relay
        .until("the relay is recognised", || {
            let view = relay.running.hosts.view(&alpha.hostname());
            view.and_then(|view| view.last_error).is_some_and(|why| why.contains("is a relay"))
        })
        .await?;
    let view = relay.running.hosts.view(&alpha.hostname()).context("a known host")?;
    assert_eq!((view.ever_connected, view.events), (false, 0));

    alpha.set_server_header("a-pds/1");
    alice.post("from a host").await?;
    relay.running.hosts.admit(&alpha.hostname(), true).await?;
    alpha.connected().await?;
    relay.proved(&net, &mut watch).await?;
    Ok(())
}
