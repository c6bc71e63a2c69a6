//! Events that wait for an identity: in order, bounded, not for ever (ROLE-7, SEC-4, DESIGN 10.7).

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use relay_protocol::Did;
use relay_simnet::{Answer, Ipld, Sent, Write, block::map};
use tokio::sync::Semaphore;

use super::bench::{Bench, Setting};
use crate::{
    domain::{DropReason, Epoch, EventKind, HostSeq},
    hosts::Host,
    ingest::{
        Arrival,
        parking::{Item, On, Parking, Queued},
        verdict::Ask,
    },
};

fn commits(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|sent| format!("commit {}", sent.rev)).collect()
}

/// ROLE-7, SEC-5, I2: while an identity is being fetched the events of its account wait in their order
/// and other accounts go on; the mark of the host waits too.
#[tokio::test]
async fn events_of_one_account_wait_in_order_and_others_go_on() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let (alice, bob) = (bench.account(&alpha, "alice").await?, bench.account(&alpha, "bob").await?);
    bench.net.plc().answer(&alice, Answer::Silence);
    let mut posts = Vec::new();
    for number in 0..5 {
        posts.push(alice.post(&format!("post {number}")).await?);
    }
    let other = bob.post("not held up").await?;

    bench.pass_on(&alpha).await?;
    bench.until("bob's post is durable", |bench| bench.head() == 1).await?;

    assert_eq!(bench.told(&bob).await?, commits(&[other]));
    assert_eq!(bench.told(&alice).await?, [""; 0]);
    assert_eq!((bench.inside(), bench.mark(&alpha)), (5, 0), "nothing below bob's post is settled");

    bench.net.plc().down();
    bench.net.plc().up().await?;
    bench.net.plc().answer(&alice, Answer::Document);
    bench.forget_failure(&alice).await?;
    bench.settle_in_time().await?;
    assert_eq!(bench.told(&alice).await?, commits(&posts));
    bench.until("the mark is at the head", |bench| bench.mark(&alpha) == alpha.head()).await?;
    assert_eq!(bench.drops(&alice), []);
    Ok(())
}

/// SEC-4, I5, DESIGN 10.7: without an answer in sight 64 events of an account wait; what comes then is
/// dropped with its reason, and the 64 pass once there is an answer.
#[tokio::test]
async fn an_account_has_room_for_sixty_four_waiting_events() -> Result<()> {
    let mut bench = Bench::new().await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.account(&alpha, "alice").await?;
    bench.net.plc().answer(&alice, Answer::Status(503));
    let mut posts = Vec::new();
    for number in 0..80 {
        posts.push(alice.post(&format!("post {number}")).await?);
    }

    bench.pass_on(&alpha).await?;
    let full = DropReason::ParkingFull;
    bench.until("sixteen are dropped", |bench| bench.dropped(full) == 16).await?;
    assert_eq!((bench.inside(), bench.head(), bench.mark(&alpha)), (64, 0, 0));

    bench.net.plc().answer(&alice, Answer::Document);
    bench.forget_failure(&alice).await?;
    bench.settle_in_time().await?;
    assert_eq!(bench.told(&alice).await?, commits(&posts[..64]));
    let next = alice.post("after the gap").await?;
    bench.settle(&alpha).await?;
    assert_eq!(bench.told(&alice).await?.last(), commits(&[next]).last(), "control");
    Ok(())
}

/// SEC-4, I5: and room for a mebibyte of them.
#[tokio::test]
async fn an_account_has_room_for_a_mebibyte_of_waiting_events() -> Result<()> {
    // With one place the second event comes only when the first waits without it.
    let mut bench = Bench::with(Setting { host_queue: 1, ..Setting::default() }).await?;
    let alpha = bench.host("alpha").await?;
    let alice = bench.account(&alpha, "alice").await?;
    bench.net.plc().answer(&alice, Answer::Status(503));
    for number in 0..7_u8 {
        let record = map([("filler", Ipld::Bytes(vec![number; 200_000]))]);
        let path = format!("com.example.thing/{number}");
        alice.apply(vec![Write::create(path, record)]).await?;
    }

    bench.pass_on(&alpha).await?;
    let full = DropReason::ParkingFull;
    bench.until("two are dropped", |bench| bench.dropped(full) == 2).await?;
    assert_eq!(bench.inside(), 5);
    Ok(())
}

/// DESIGN 10.7, RES-5, I2: after ten minutes an event is dropped with its reason, each by its own age;
/// then the mark moves on.
#[tokio::test]
async fn an_event_waits_ten_minutes_and_not_longer() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let bob = bench.known_account(&beta, "bob").await?;
    let alice = bench.account(&alpha, "alice").await?;
    bench.net.plc().answer(&alice, Answer::Status(503));
    let minutes = |count: u64| count * 60_000_000;
    let gone = DropReason::IdentityUnavailable;
    let first = alice.post("first").await?;
    bench.pass_on(&alpha).await?;
    bench.until("it was asked for", |bench| bench.net.plc().lookups(&alice) == 1).await?;
    bench.clock.advance_us(minutes(5));
    let second = alice.post("second").await?;
    bench.pass_on(&alpha).await?;
    // Bob's post came to the shard behind alice's second.
    bob.post("also here").await?;
    bench.pass_on(&beta).await?;
    bench.until("bob's post is durable", |bench| bench.head() == 2).await?;

    bench.clock.advance_us(minutes(5) - 1_000);
    bob.post("and here").await?;
    bench.pass_on(&beta).await?;
    bench.until("bob's next post is durable", |bench| bench.head() == 3).await?;
    assert_eq!((bench.inside(), bench.dropped(gone)), (2, 0), "a millisecond is left");
    bench.clock.advance_us(1_000);
    bench.until("the first is dropped", |bench| bench.dropped(gone) == 1).await?;
    assert_eq!((bench.inside(), bench.mark(&alpha)), (1, first.seq));
    let detail = bench.examples(&alice).remove(0).detail;
    assert!(detail.starts_with("waited 10 minutes"), "{detail}");

    bench.clock.advance_us(minutes(5));
    bench.until("the second is dropped", |bench| bench.dropped(gone) == 2).await?;
    assert_eq!((bench.inside(), bench.mark(&alpha), bench.head()), (0, second.seq, 3));

    bench.net.plc().answer(&alice, Answer::Document);
    bench.forget_failure(&alice).await?;
    let third = alice.post("third").await?;
    bench.pass_on(&alpha).await?;
    bench.settle_in_time().await?;
    assert_eq!(bench.told(&alice).await?, commits(&[third]), "control");
    Ok(())
}

/// SEC-3, SEC-5: a foreign host cannot stop an account by sending one event for it while the directory
/// is down: the account's own events go on.
#[tokio::test]
async fn a_foreign_event_that_cannot_be_judged_holds_up_nobody() -> Result<()> {
    let mut bench = Bench::new().await?;
    let (alpha, beta) = (bench.host("alpha").await?, bench.host("beta").await?);
    let alice = bench.known_account(&alpha, "alice").await?;
    bench.net.plc().answer(&alice, Answer::Status(503));
    alice.through(&beta).post("not from here").await?;
    bench.pass_on(&beta).await?;
    bench.until("it was asked for", |bench| bench.net.plc().lookups(&alice) == 2).await?;

    let mut own = Vec::new();
    for number in 0..3 {
        own.push(alice.post(&format!("own {number}")).await?);
        bench.pass_on(&alpha).await?;
    }
    bench.until("her own posts are durable", |bench| bench.head() == 4).await?;
    assert_eq!(bench.told(&alice).await?[1..], commits(&own));
    assert_eq!((bench.inside(), bench.mark(&beta)), (1, 0), "the foreign one waits");

    bench.net.plc().answer(&alice, Answer::Document);
    bench.forget_failure(&alice).await?;
    bench.settle_in_time().await?;
    assert_eq!(bench.drops(&alice), [DropReason::WrongHost]);
    Ok(())
}

/// A shard's waiting room, and a host with so many places.
struct Room {
    parking: Parking,
    places: Arc<Semaphore>,
    host: Arc<Host>,
}

impl Room {
    async fn with_places(places: usize) -> Result<Self> {
        let bench = Bench::new().await?;
        let host = bench.known_host(&bench.host("alpha").await?);
        Ok(Self { parking: Parking::default(), places: Arc::new(Semaphore::new(places)), host })
    }

    fn queued(&self, did: &Did, frame: &Bytes) -> Queued {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let arrival = Arrival {
            host: Arc::clone(&self.host),
            epoch: Epoch(0),
            host_seq: HostSeq(1),
            kind: EventKind::Commit,
            did: did.clone(),
            frame: frame.clone(),
        };
        Queued { arrival, place, since_ms: 0 }
    }

    /// So many events of so many accounts, all without an answer in sight.
    fn fill(&mut self, accounts: usize, events: usize, frame: &Bytes) -> Result<Vec<Did>> {
        let mut dids = Vec::new();
        for number in 0..accounts {
            let did = Did::parse(&format!("did:web:a{number}.example.com"))?;
            let first = Item::Event(self.queued(&did, frame));
            self.parking.open(did.clone(), On::Answer(Ask::FirstSight), first);
            let mut waiting = self.parking.take(&did).expect("it was opened");
            waiting.on = On::Retry(Ask::FirstSight);
            self.parking.put_back(did.clone(), waiting);
            for _ in 1..events {
                let queued = self.queued(&did, frame);
                assert!(self.parking.push(queued, 0).is_ok());
            }
            dids.push(did);
        }
        Ok(dids)
    }
}

/// SEC-4, I5, DESIGN 10.7: of all events that wait in a shard 4,096 give their places back to their
/// hosts; the others keep theirs, so that their hosts wait. What leaves makes room.
#[tokio::test]
async fn a_shard_has_room_for_4096_waiting_events_without_a_place() -> Result<()> {
    let mut room = Room::with_places(6_400).await?;
    let dids = room.fill(100, 64, &Bytes::from_static(b"frame"))?;
    assert_eq!((room.parking.loose(), room.places.available_permits()), (4_096, 4_096));

    let left = room.parking.take(&dids[0]).expect("it waits");
    assert_eq!(room.parking.loose(), 4_096 - 64);
    room.parking.put_back(dids[0].clone(), left);
    assert_eq!((room.parking.loose(), room.places.available_permits()), (4_096, 4_096), "control");
    Ok(())
}

/// SEC-4, I5: and for 16 MiB of them.
#[tokio::test]
async fn a_shard_has_room_for_sixteen_mebibytes_without_a_place() -> Result<()> {
    let mut room = Room::with_places(100).await?;
    room.fill(25, 3, &Bytes::from(vec![0; 300_000]))?;
    let fitting = 16 * 1024 * 1024 / 300_000;
    assert_eq!(room.parking.loose(), fitting);
    assert_eq!(room.places.available_permits(), 100 - (75 - fitting));
    Ok(())
}
