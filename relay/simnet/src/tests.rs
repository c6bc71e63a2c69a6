//! The simulation against itself: consumers read hosts directly, and the oracle judges them.

mod bounds;
mod faults;
mod judging;
mod mixing;
mod secure;
mod servers;
mod speed;

use crate::*;
use anyhow::Result;
use std::time::Duration;

/// Spec 9.3: what the reference PDS sends for a new account.
#[tokio::test]
async fn a_new_account_is_announced_as_the_reference_pds_does() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;

    let mut stream = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
    let events = stream.take(4).await?;

    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Identity, Kind::Account, Kind::Commit, Kind::Sync]);
    assert!(events.iter().all(|event| event.did == alice.did()));
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(events[0].handle(), "alice.test");
    assert!(events[1].active());
    let first = events[2].payload()?;
    assert_eq!(first["since"], Ipld::Null);
    assert!(!first.contains_key("prevData"));
    assert_eq!(events[2].blocks()?.len(), 2);
    assert_eq!(events[2].rev, events[3].rev);
    assert_eq!(events[3].blocks()?.len(), 1);
    assert!(events[3].blocks()?[0].1.len() < 300);
    Ok(())
}

/// STYLE 11: the shape that tests have.
#[tokio::test]
async fn a_post_arrives_with_its_text_and_a_chained_commit() -> Result<()> {
    let net = Net::seeded(7).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let mut stream = Consumer::connect(&alpha.stream_url(), Start::Live).await?;

    let sent = alice.post("hello").await?;

    let event = stream.next_for(&alice).await?;
    assert_eq!(event.text(), "hello");
    assert_eq!(event.rev, Some(sent.rev));
    assert_eq!(event.ops()?[0].action, "create");
    alice.delete(&sent.paths[0]).await?;
    let deleted = stream.next_for(&alice).await?;
    assert_eq!(deleted.ops()?[0].action, "delete");
    assert!(deleted.payload()?.contains_key("prevData"));
    stream.silent_for(Duration::from_millis(50)).await
}
