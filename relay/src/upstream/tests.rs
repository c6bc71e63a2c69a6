//! Subscriptions to simulated hosts, with a stand-in for the shards.

mod faults;
mod stand_ins;

use anyhow::Result;
use relay_simnet::Upgrade;

use self::stand_ins::{Scene, quick};
use super::*;
use crate::domain::{EventKind, HostSeq};

/// UP-1, UP-8: a new host is read from its first event, by a request that says who asks.
#[tokio::test]
async fn a_new_host_is_read_from_its_first_event() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let alice = scene.pds.account("alice").await?;
    let before = scene.pds.head();
    assert!(before > 0, "the host had events before it asked for us");

    scene.subscribe().await?;
    alice.post("hello").await?;

    let arrivals = scene.take(before + 1).await?;
    let seqs: Vec<u64> = arrivals.iter().map(|arrival| arrival.host_seq.0).collect();
    assert_eq!(seqs, (1..=before + 1).collect::<Vec<_>>());
    assert!(arrivals.iter().all(|arrival| arrival.did.as_str() == alice.did()));
    assert_eq!(arrivals.last().map(|arrival| arrival.kind), Some(EventKind::Commit));
    assert_eq!(scene.pds.cursors(), ["0"]);
    assert!(scene.pds.seen().iter().any(|seen| seen.user_agent.contains("(atproto-relay")));
    Ok(())
}

/// UP-9, I2: after a restart the host is read from its low-water mark, so that what was not settled
/// comes again; within one process nothing comes twice.
#[tokio::test]
async fn a_restart_goes_on_at_the_mark_and_a_reconnect_at_the_last_event() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.keep_unsettled();
    let alice = scene.pds.account("alice").await?;
    let head = scene.pds.head();
    scene.subscribe().await?;
    let first = scene.take(head).await?;
    first[0].host.settle(first[0].epoch, first[0].host_seq);
    drop(first);

    scene.pds.cut();
    alice.post("after the cut").await?;
    let second = scene.take(1).await?;
    assert_eq!(second[0].host_seq, HostSeq(head + 1), "nothing comes twice");

    scene.restart().await?;
    let third = scene.take(head).await?;
    assert_eq!(third[0].host_seq, HostSeq(2), "all that was not settled comes again");
    assert_eq!(scene.pds.cursors(), ["0".to_owned(), head.to_string(), "1".to_owned()]);
    Ok(())
}

/// UP-2, UP-5, DESIGN 10.6: a host that we do not read because the shards are full is not dead; one
/// that is silent while we listen is.
#[tokio::test]
async fn waiting_for_the_shards_is_not_silence() -> Result<()> {
    let options = UpstreamOptions {
        ping_interval: Duration::from_millis(40),
        dead_after: Duration::from_millis(120),
        ..quick()
    };
    let mut scene = Scene::new(options).await?;
    scene.close_inlet();
    scene.pds.account("alice").await?;
    let mute = stand_ins::mute_host(&scene.tasks).await?;
    scene.subscribe().await?;
    scene.hosts.admit(&mute.name, true).await?;

    // Dead twice over, in which time the other one was not read either.
    mute.asked(3).await?;

    let view = scene.hosts.view(&mute.name).unwrap();
    assert_eq!(view.last_error.as_deref(), Some("nothing was heard for too long"));
    assert_eq!(scene.pds.cursors(), ["0"], "still the first connection");
    scene.open_inlet();
    assert_eq!(scene.take(1).await?[0].host_seq, HostSeq(1));
    Ok(())
}

/// UP-2: the reference PDS never pings, but answers pings; such a quiet host stays connected.
#[tokio::test]
async fn a_quiet_host_that_answers_pings_stays_connected() -> Result<()> {
    let options = UpstreamOptions {
        ping_interval: Duration::from_millis(20),
        dead_after: Duration::from_millis(60),
        ..quick()
    };
    let mut scene = Scene::new(options).await?;
    let mute = stand_ins::mute_host(&scene.tasks).await?;
    scene.subscribe().await?;
    scene.pds.connected().await?;
    scene.hosts.admit(&mute.name, true).await?;

    mute.asked(4).await?;

    assert_eq!(scene.pds.cursors(), ["0"]);
    assert_eq!(scene.pds.subscribers(), 1);
    Ok(())
}

/// UP-10, HOST-4: after failures a host is left alone for a while; a request to crawl ends that.
#[tokio::test]
async fn a_request_to_crawl_ends_the_backoff() -> Result<()> {
    let mut scene =
        Scene::new(UpstreamOptions { first_retry: Duration::from_mins(2), ..quick() }).await?;
    scene.pds.down();
    scene.subscribe().await?;
    let view = scene.view_when(|view| view.doing.contains("attempt 1")).await?;
    assert!(view.last_error.is_some_and(|error| error.contains("cannot connect")));
    assert!(!view.connected && !view.ever_connected);

    scene.pds.up().await?;
    scene.subscribe().await?;

    scene.pds.connected().await?;
    let view = scene.view_when(|view| view.connected).await?;
    assert!(view.doing.starts_with("connected for ") && view.ever_connected);
    Ok(())
}

/// HOST-4: a host that asks to be crawled is tried at once, also when so many others are asked for in the
/// same moment that most of these requests are not heard one by one.
#[tokio::test]
async fn a_request_to_crawl_is_heard_among_a_thousand_others() -> Result<()> {
    let mut scene =
        Scene::new(UpstreamOptions { first_retry: Duration::from_hours(1), ..quick() }).await?;
    scene.pds.down();
    scene.subscribe().await?;
    scene.view_when(|view| view.doing.contains("attempt 1")).await?;
    // Nobody listens on these ports.
    let others = (61_000..62_100).map(|port| format!("localhost:{port}"));
    let mut names: Vec<_> = others.collect();
    scene.hosts.add_many(&names).await;
    scene.pds.up().await?;

    names.insert(0, scene.pds.hostname());
    scene.hosts.add_many(&names).await;

    scene.pds.connected().await
}

/// UP-10, T20: 429 with `Retry-After` is honoured, error pages become words, and the host is tried
/// again.
#[tokio::test]
async fn answers_without_upgrade_are_noted_and_tried_again() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.pds.answer_next(Upgrade::Status { status: 502, retry_after: None, html: true });
    scene.pds.answer_next(Upgrade::Status { status: 429, retry_after: Some(3_000), html: false });
    scene.subscribe().await?;

    let view = scene.view_when(|view| view.doing.contains("next try in 50 min")).await?;
    assert!(view.last_error.is_some_and(|error| error.contains("429")));
    assert_eq!(scene.pds.cursors().len(), 2, "the 502 was tried again by itself");
    scene.subscribe().await?;
    scene.pds.connected().await
}

/// UP-11, T21: a host that turns out to be a relay is left at once.
#[tokio::test]
async fn a_host_that_is_a_relay_is_not_read() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.pds.account("alice").await?;
    scene.pds.set_server_header("other/1 (atproto-relay)");
    scene.subscribe().await?;

    let view = scene.view_when(|view| view.last_error.is_some()).await?;
    assert_eq!(view.last_error.as_deref(), Some("the host is a relay itself"));
    assert!(!view.ever_connected && view.events == 0);

    scene.pds.set_server_header("a-pds/1");
    assert_eq!(scene.take(1).await?[0].host_seq, HostSeq(1), "and read once it is none");
    Ok(())
}

/// SEC-1, DESIGN 10.16: a host from development is not dialled in earnest.
#[tokio::test]
async fn a_local_host_is_refused_outside_of_development() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.hosts.admit(&scene.pds.hostname(), true).await?;
    scene.reload(false).await?;
    scene.start();

    let view = scene.view_when(|view| view.last_error.is_some()).await?;
    assert!(view.last_error.is_some_and(|error| error.contains("--dev")));
    assert!(scene.pds.cursors().is_empty());

    scene.restart().await?;
    scene.pds.connected().await
}

/// Shutdown: every socket is closed, nothing new is dialled, and the end is waited for.
#[tokio::test]
async fn a_stop_closes_all_subscriptions() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.subscribe().await?;
    scene.pds.connected().await?;
    scene.view_when(|view| view.connected).await?;
    assert_eq!(scene.upstream().connected(), 1);

    scene.upstream().stop().await;

    scene.pds.disconnected().await?;
    assert_eq!(scene.upstream().connected(), 0);
    scene.subscribe().await?;
    assert_eq!(scene.pds.cursors().len(), 1);
    assert_eq!(scene.view()?.doing, "not subscribed");
    Ok(())
}

/// Shutdown right after the start, and while a handshake never ends.
#[tokio::test]
async fn a_stop_waits_for_no_handshake() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    scene.pds.answer_all(Upgrade::Silence);
    scene.subscribe().await?;
    scene.pds.asked(1).await?;
    scene.upstream().stop().await;
    scene.start();
    scene.upstream().stop().await;
    assert_eq!(scene.upstream().connected(), 0);
    Ok(())
}

/// SEC-5, I6: a bug that strikes one subscription ends that connection only, and does not hold the
/// mark of its host.
#[tokio::test]
async fn a_panic_ends_one_connection_only() -> Result<()> {
    let mut scene = Scene::new(quick()).await?;
    let other = scene.simnet.pds("other").await?;
    let (alice, bob) = (scene.pds.account("alice").await?, other.account("bob").await?);
    scene.panic_at(alice.did(), 2);
    scene.subscribe().await?;
    scene.hosts.admit(&other.hostname(), true).await?;

    let (alpha, beta) = (scene.pds.head(), other.head());
    let arrivals = scene.take(alpha - 1 + beta).await?;

    let of_alice: Vec<u64> = arrivals
        .iter()
        .filter(|arrival| arrival.did.as_str() == alice.did())
        .map(|arrival| arrival.host_seq.0)
        .collect();
    assert_eq!(of_alice, (1..=alpha).filter(|seq| *seq != 2).collect::<Vec<_>>());
    assert!(arrivals.iter().any(|arrival| arrival.did.as_str() == bob.did()));
    assert_eq!(scene.dropped("internal"), 1);
    scene.view_when(|view| view.seq == Some(HostSeq(alpha))).await?;
    Ok(())
}
