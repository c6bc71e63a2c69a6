//! I2, UP-9: where a host is asked to go on.

use anyhow::{Context, Result};
use relay::domain::DropReason;
use relay_simnet::{AccountOptions, Answer, Net};

use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// I2: an event that waits for its identity holds the mark while later ones of other accounts pass.
/// After a restart the host is asked from there; each event comes out once all the same.
#[tokio::test]
async fn a_hosts_cursor_never_passes_an_event_that_is_neither_durable_nor_dropped_for_a_counted_reason()
-> Result<()> {
    // While the clock stands nobody is asked a second time, so that what waits goes on waiting.
    let (net, clock) = (Net::seeded(80).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    relay.settled(&net).await?;
    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    let bob = alpha.account_with("bob", silent).await?;
    net.plc().answer(&bob, Answer::Status(503));

    let waits = bob.post("who am I?").await?;
    for number in 0..30 {
        alice.post(&format!("I know who I am {number}")).await?;
    }
    let last = alice.post("the last one").await?;
    let mut watch = relay.watch().await?;
    watch.until(&last).await?;
    relay.until("bob is asked about", || net.plc().lookups(&bob) == 1).await?;
    assert_eq!(relay.view(&alpha).seq.map(|seq| seq.0), Some(waits.seq - 1));
    let (_, told) =
        relay.get(&format!("com.atproto.sync.getHostStatus?hostname={}", alpha.hostname())).await?;
    assert_eq!(told["seq"], waits.seq - 1, "what the API tells is the same mark");
    // Else the question may come after the answer has changed, and nothing waits.
    relay.until("the directory was asked", || net.plc().lookups(&bob) > 0).await?;

    net.plc().answer(&bob, Answer::Document);
    let relay = relay.restart().await?;
    let mut watch = relay.watch().await?;
    relay.proved(&net, &mut watch).await?;
    let asked: u64 = alpha.cursors().last().context("the host was asked again")?.parse()?;
    assert_eq!(asked, waits.seq - 1, "{:?}", alpha.cursors());
    assert_eq!(relay.dropped_total(DropReason::Stale), 31);
    assert_eq!(watch.of(&bob), ["commit"]);
    Ok(())
}

/// I2, UP-9: dropped events are settled: with nothing but drops the mark follows to the end.
#[tokio::test]
async fn dropped_events_move_the_mark() -> Result<()> {
    let net = Net::seeded(81).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    for number in 0..10 {
        alice.through(&beta).post(&format!("not from here {number}")).await?;
    }
    alice.post("from here").await?;

    relay.proved(&net, &mut watch).await?;
    assert_eq!(relay.view(&beta).seq.map(|seq| seq.0), Some(10));
    assert_eq!((relay.view(&beta).unsettled, beta.cursors().len()), (0, 1));
    Ok(())
}

/// I2, DESIGN 10.7: an identity that never comes holds the mark for ten minutes and no longer.
#[tokio::test]
async fn an_identity_that_never_comes_holds_the_mark_for_ten_minutes() -> Result<()> {
    let (net, clock) = (Net::seeded(82).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let relay = Relay::join_by(&net, &clock).await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    let silent = AccountOptions { announced: false, ..AccountOptions::default() };
    let bob = alpha.account_with("bob", silent).await?;
    net.plc().answer(&bob, Answer::Status(503));
    let mark = alpha.head();

    bob.post("who am I?").await?;
    let post = alice.post("goes on").await?;
    watch.until(&post).await?;
    advance(&clock, 590);
    alice.post("and on").await?;
    relay.until("only bob waits", || relay.view(&alpha).unsettled == 1).await?;
    assert_eq!(relay.view(&alpha).seq.map(|seq| seq.0), Some(mark));
    advance(&clock, 11);

    relay.proved(&net, &mut watch).await?;
    assert_eq!(relay.drops(&bob), [DropReason::IdentityUnavailable]);
    Ok(())
}
