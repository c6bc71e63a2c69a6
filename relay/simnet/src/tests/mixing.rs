//! Every adversary is there, under a name of its own, and is counted when a relay meets it.

use crate::*;
use anyhow::Result;
use std::{collections::BTreeSet, time::Duration};

/// Each has its own name, and the list of what hosts can do wrong is complete.
#[test]
fn every_adversary_has_a_name_of_its_own() {
    let all = Adversary::all();
    let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), all.len());
    let wanted = [
        "event WrongKey",
        "event HighS",
        "event WrongPrevData",
        "event MissingNode",
        "event MissingRecord",
        "event CorruptRecord",
        "event OpCidMismatch",
        "event RevMismatch",
        "event DidMismatch",
        "event StaleRev",
        "event FutureRev",
        "event ForeignAccount",
        "event SyncRollback",
        "event SyncFlood",
        "event UnknownFields",
        "event TooManyOps",
        "event DeepTree",
        "event ExtraRoot",
        "event DuplicateBlocks",
        "event SeqBackwards",
        "frame UnknownType",
        "frame Oversized",
        "handshake Silence",
        "handshake Dribble",
        "handshake FutureCursor",
        "stream EndlessMessage",
        "stream EndlessFrame",
        "identity RedirectPrivate",
        "check RedirectPrivate",
    ];
    for name in wanted {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
}

/// An adversary that was set up and met no relay is named: such a run proves too little.
#[tokio::test]
async fn an_adversary_that_no_relay_met_is_unfired() -> Result<()> {
    let net = Net::seeded(31).await?;
    let load = LoadOptions { hosts: 1, accounts: 4, records: 5, ..LoadOptions::default() };
    let wrong = Adversary::Event(Fault::HighS);
    let mut mix = Mix::prepare(&net, MixOptions::alone(load, wrong, 500)).await?;

    mix.send(8).await?;
    assert_eq!(mix.unfired(), ["event HighS"], "nobody listens");

    let hosts = net.hosts();
    let rogue = hosts.iter().find(|host| host.name() == "rogue-0");
    let rogue = rogue.ok_or_else(|| anyhow::anyhow!("no host of the adversary"))?;
    let mut mirror = Consumer::connect_as_relay(&rogue.stream_url(), Start::After(0)).await?;
    while i64::try_from(rogue.head())? > mirror.last_seq() {
        mirror.next().await?;
    }
    assert_eq!(mix.unfired(), [""; 0]);
    assert!(mix.strikes()[&wrong] >= 1);
    Ok(())
}

/// UP-1, UP-12: an answer to the request for a stream counts when a relay gets it, not before.
#[tokio::test]
async fn an_answer_counts_when_a_relay_gets_it() -> Result<()> {
    let net = Net::seeded(32).await?;
    let alpha = net.pds("alpha").await?;
    let tricks = [HandshakeTrick::RedirectPrivate, HandshakeTrick::EndlessHead];
    for trick in tricks {
        let adversary = Adversary::Handshake(trick);
        alpha.answer_next_as(trick.upgrade("http://own", "http://elsewhere"), adversary);
        assert!(!net.strikes().contains_key(&adversary));
        let url = alpha.stream_url();
        assert!(Consumer::connect_as_relay(&url, Start::Live).await.is_err(), "{trick:?}");
        assert_eq!(net.strikes().get(&adversary), Some(&1), "{trick:?}");
        Consumer::connect_as_relay(&url, Start::Live).await?;
    }
    Ok(())
}

/// MSG-1, UP-2: a frame that is announced does not come, and a message without end does not end.
#[tokio::test]
async fn streams_that_do_not_end_give_no_frame() -> Result<()> {
    for trick in StreamTrick::ALL {
        let net = Net::seeded(33).await?;
        let alpha = net.pds("alpha").await?;
        let consumer = Consumer::connect_as_relay(&alpha.stream_url(), Start::Live).await?;
        let mut consumer = consumer.patient(Duration::from_secs(2));

        alpha.play(*trick);
        let item = consumer.next_item().await;

        assert!(!matches!(item, Ok(Item::Event(_))), "{trick:?}: {item:?}");
        assert_eq!(net.strikes().get(&Adversary::Stream(*trick)), Some(&1), "{trick:?}");
    }
    Ok(())
}
