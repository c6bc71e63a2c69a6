//! Bounds and accidents of the shard itself (I2, I5, I6, SEC-5, DESIGN 10.4…10.6).

use std::sync::Arc;

use anyhow::Result;
use futures_util::FutureExt as _;
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc;

use super::bench::{Bench, Setting};
use crate::{
    domain::{DropReason, EventKind},
    identity::IdentityError,
    ingest::{
        Arrival,
        judge::{Facts, judge},
        parking::{On, Queued},
        queue::line,
        shard::{Finding, Shard, asking::Lane},
        verdict::{Ask, Verdict},
    },
};

fn holds(frame: &[u8], words: &[u8]) -> bool {
    frame.windows(words.len()).any(|window| window == words)
}

/// A judge with a bug.
fn shaky<'m>(facts: &Facts<'_>, kind: EventKind, frame: &'m [u8]) -> Verdict<'m> {
    assert!(!holds(frame, b"strike the bug"), "a bug that this test planted");
    judge(facts, kind, frame)
}

/// I6, SEC-5, I2, I7: a panic while judging costs one event: it is settled with its reason and its
/// frame is kept; the account, the others and the process go on.
#[tokio::test]
async fn a_panic_while_judging_costs_one_event() -> Result<()> {
    let mut bench = Bench::with(Setting { judge: shaky, ..Setting::default() }).await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let bob = bench.known_account(&alpha, "bob").await?;
    let bad = alice.post("strike the bug").await?;
    let own = alice.post("and go on").await?;
    bob.post("not concerned").await?;
    bench.settle(&alpha).await?;

    assert_eq!(bench.drops(&alice), [DropReason::Internal]);
    assert_eq!(bench.told(&alice).await?.last(), Some(&format!("commit {}", own.rev)));
    assert_eq!(bench.told(&bob).await?.len(), 2);
    assert_eq!(bench.mark(&alpha), alpha.head());
    assert_eq!(bench.tasks().failure(), None);
    let failures = bench.ingest().failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].host_seq.0, bad.seq);
    assert!(holds(&failures[0].frame, b"strike the bug"), "the whole frame is kept");
    assert_eq!(failures[0].message, "a bug that this test planted");
    Ok(())
}

/// I5: of frames that struck a bug the last eight are kept.
#[tokio::test]
async fn a_bug_that_strikes_often_keeps_eight_frames() -> Result<()> {
    let mut bench = Bench::with(Setting { judge: shaky, ..Setting::default() }).await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let mut last = 0;
    for _ in 0..12 {
        last = alice.post("strike the bug").await?.seq;
    }
    bench.settle(&alpha).await?;
    assert_eq!(bench.dropped(DropReason::Internal), 12);
    let kept: Vec<u64> = bench.ingest().failures().iter().map(|kept| kept.host_seq.0).collect();
    assert_eq!(kept, (last - 7..=last).collect::<Vec<_>>());
    Ok(())
}

/// I5, DESIGN 10.7: an answer that comes late, while its question is to be asked again anyway, does not
/// keep it from being asked: no account waits for ever.
#[tokio::test]
async fn a_late_answer_does_not_cancel_the_next_question() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let alice = bench.known_account(&alpha, "alice").await?;
    alice.with(relay_simnet::Fault::WrongKey).post("wrong key").await?;
    alice.through(&beta).post("foreign").await?;
    let (own, foreign) = (bench.arrivals(&alpha).await?, bench.arrivals(&beta).await?);
    let row = bench.row(&alice).await?.expect("a row");
    let did = row.did.clone();
    // A second shard over the same rooms, which moves only when it is told to.
    let (_events, events) = line(1);
    let (_commands, commands) = mpsc::channel(1);
    let room = Arc::clone(&bench.ingest().inner.room);
    let mut shard = Shard::new((room, 0), judge, 10, (events, commands));
    shard.table.loaded(row);
    let unavailable = || Finding::Identity {
        did: did.clone(),
        lane: Lane::Plc,
        result: Err(IdentityError::Unavailable("the directory is down".to_owned())),
    };
    let arrive = |shard: &mut Shard, mut arrivals: Vec<Arrival>| {
        let arrival = arrivals.pop().expect("an arrival");
        shard.arrive(Queued { arrival, place: None, since_ms: 0 });
    };

    arrive(&mut shard, foreign);
    assert_eq!(shard.parking.waits_on(&did), Some(On::Answer(Ask::Host)));
    shard.found(unavailable());
    assert_eq!(shard.parking.waits_on(&did), Some(On::Retry(Ask::Host)));
    bench.clock.advance_us(1_000_000);
    shard.fire_timers();
    arrive(&mut shard, own);
    assert_eq!(shard.parking.waits_on(&did), Some(On::Answer(Ask::Key)), "two questions are out");
    shard.found(unavailable());
    assert_eq!(shard.parking.waits_on(&did), Some(On::Retry(Ask::Key)));
    shard.found(unavailable());

    bench.clock.advance_us(60_000_000);
    shard.fire_timers();
    assert_eq!(shard.parking.waits_on(&did), Some(On::Answer(Ask::Key)));
    Ok(())
}

/// SYN-9, A3, ENC-10: what a relay mends is mended in the log: a bad time is now, missing fields are there,
/// and nothing else is touched.
#[tokio::test]
async fn frames_are_mended_on_their_way_into_the_log() -> Result<()> {
    use relay_simnet::{Fault, Ipld, block::decode, wire::item_len};
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.known_account(&alpha, "alice").await?;
    let spoilt = [Fault::BadTime, Fault::MissingDefaults, Fault::UnknownFields];
    let _armed = spoilt.map(|fault| alice.with(fault));
    alice.post("to be mended").await?;
    let arrival = bench.arrivals(&alpha).await?.pop().expect("an arrival");
    let came = arrival.frame.clone();
    bench.offer(arrival).await?;
    bench.settled().await?;

    let payload = |frame: &[u8]| match decode(&frame[item_len(frame).unwrap()..]) {
        Ok(Ipld::Map(fields)) => fields,
        other => panic!("no payload: {other:?}"),
    };
    let log = bench.log().await?;
    let out = payload(&log.last().expect("an event").frame);
    let mut expected = payload(&came);
    expected.insert("seq".to_owned(), Ipld::Integer(2));
    expected.insert("time".to_owned(), Ipld::String(bench.clock.now_text()));
    for (field, value) in [
        ("rebase", Ipld::Bool(false)),
        ("tooBig", Ipld::Bool(false)),
        ("blobs", Ipld::List(vec![])),
    ] {
        assert!(expected.insert(field.to_owned(), value).is_none(), "it came without {field}");
    }
    assert_eq!(out, expected);
    assert!(out.contains_key("someFutureField"));
    assert_eq!(bench.net.unfired_faults(), [""; 0]);
    Ok(())
}

static GATE: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

fn open_the_gate(open: bool) {
    *GATE.0.lock() = open;
    GATE.1.notify_all();
}

/// A judge that stands still while the gate is closed.
fn gated<'m>(facts: &Facts<'_>, kind: EventKind, frame: &'m [u8]) -> Verdict<'m> {
    GATE.1.wait_while(&mut GATE.0.lock(), |open| !*open);
    judge(facts, kind, frame)
}

/// DESIGN 10.6, SEC-5, I5: a host whose places at a shard are taken cannot hand over more, so that its
/// socket is not read; another host can.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_full_shard_makes_a_host_wait() -> Result<()> {
    let setting = Setting { judge: gated, host_queue: 4, ..Setting::default() };
    let mut bench = Bench::with(setting).await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let alice = bench.known_account(&alpha, "alice").await?;
    let bob = bench.known_account(&beta, "bob").await?;
    open_the_gate(false);
    for number in 0..5 {
        alice.post(&format!("post {number}")).await?;
    }
    let mut arrivals = bench.arrivals(&alpha).await?;
    let fifth = arrivals.pop().expect("five arrivals");
    for arrival in arrivals {
        bench.offer(arrival).await?;
    }

    let ingest = bench.ingest().clone();
    let mut offer = Box::pin(ingest.offer(fifth));
    assert!((&mut offer).now_or_never().is_none(), "no place for a fifth");
    bob.post("from another host").await?;
    bench.pass_on(&beta).await?;
    assert_eq!((bench.inside(), bench.head()), (5, 2), "bob's post is in the queue");
    assert!((&mut offer).now_or_never().is_none(), "still no place");

    open_the_gate(true);
    assert!(offer.await.is_ok());
    bench.settled().await?;
    assert_eq!((bench.told(&alice).await?.len(), bench.told(&bob).await?.len()), (6, 2));
    Ok(())
}

/// DESIGN 10.4, I5: more accounts than fit into memory; those that were forgotten are read from the
/// store again, without a lookup and without a gap in their chain.
#[tokio::test]
async fn forgotten_accounts_are_read_from_the_store() -> Result<()> {
    let mut bench = Bench::with(Setting { accounts_max: 5, ..Setting::default() }).await?;
    let alpha = bench.host("alpha").await?;
    let mut accounts = Vec::new();
    for number in 0..20 {
        let account = bench.account(&alpha, &format!("account{number}")).await?;
        account.post("first").await?;
        bench.settle(&alpha).await?;
        bench.checkpoint().await?;
        accounts.push(account);
    }
    let lookups = bench.net.plc().total_lookups();
    assert_eq!(lookups, 20);
    for account in &accounts {
        account.post("second").await?;
    }
    for _ in 0..20 {
        bench.pass_on(&alpha).await?;
        bench.checkpoint().await?;
    }
    bench.until("all are durable", |bench| bench.head() == 40).await?;
    for account in &accounts {
        assert_eq!(bench.told(account).await?.len(), 2);
        assert_eq!(bench.drops(account), []);
    }
    assert_eq!(bench.net.plc().total_lookups(), lookups);
    Ok(())
}

/// I5, DESIGN 10.5: unwritten rows are never forgotten; when they fill the memory, events wait until a
/// checkpoint has written them.
#[tokio::test]
async fn a_table_full_of_changes_waits_for_a_checkpoint() -> Result<()> {
    let mut bench = Bench::with(Setting { accounts_max: 3, ..Setting::default() }).await?;
    let alpha = bench.host("alpha").await?;
    for number in 0..3 {
        bench.known_account(&alpha, &format!("account{number}")).await?;
    }
    let late = bench.account(&alpha, "late").await?;
    late.post("first").await?;
    bench.pass_on(&alpha).await?;
    assert_eq!(bench.ingest().dirty_count(), 3);
    assert!(bench.row(&late).await?.is_none(), "commands are answered");
    assert_eq!((bench.inside(), bench.head()), (1, 3), "the event waits in the queue");

    bench.checkpoint().await?;
    bench.settled().await?;
    assert_eq!(bench.head(), 4);
    Ok(())
}
