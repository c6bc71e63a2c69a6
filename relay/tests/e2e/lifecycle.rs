//! What hosts send in the life of an account comes out once, in order, with the same bytes.

use anyhow::Result;
use relay::domain::DropReason;
use relay_simnet::{Kind, Net, Start};

use crate::support::Relay;

/// Spec 9.3, create and write; I4.
#[tokio::test]
async fn a_new_account_and_its_writes_come_out_in_order() -> Result<()> {
    let net = Net::seeded(1).await?;
    let alpha = net.pds("alpha").await?;
    let relay = Relay::join(&net).await?;
    let mut firehose = relay.consume(Start::After(0)).await?;

    let alice = alpha.account("alice").await?;
    let last = alice.post("hello").await?;

    let seen = firehose.until(|event| event.rev.as_deref() == Some(&last.rev)).await?;
    let kinds: Vec<_> =
        seen.iter().filter(|event| event.kind != Kind::Sync).map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Identity, Kind::Account, Kind::Commit, Kind::Commit]);
    relay.settled(&net).await?;
    net.oracle().check(&seen).clean()?;
    Ok(())
}

/// RES-3, VAL-10: a failed signature buys exactly one refresh of the identity.
#[tokio::test]
async fn a_commit_signed_with_a_retired_key_is_dropped_after_one_refresh() -> Result<()> {
    let net = Net::seeded(7).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut firehose = relay.consume(Start::After(0)).await?;
    let first = alice.post("first").await?;
    firehose.until(|event| event.rev.as_deref() == Some(&first.rev)).await?;
    let lookups = net.plc().lookups(alice.did());

    alice.sign_with_retired_key().post("hello").await?;
    let still = alice.post("still here").await?;

    let seen = firehose.until(|event| event.rev.as_deref() == Some(&still.rev)).await?;
    assert_eq!(seen.len(), 1, "only the second post comes out: {seen:?}");
    assert_eq!(relay.drops(&alice), [DropReason::BadSignature]);
    assert_eq!(net.plc().lookups(alice.did()), lookups + 1);
    assert!(net.unfired_faults().is_empty());
    Ok(())
}
