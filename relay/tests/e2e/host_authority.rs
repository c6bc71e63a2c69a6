//! Only the host that the DID document names speaks for an account.

use anyhow::Result;
use relay::domain::DropReason;
use relay_simnet::{Net, Start};

use crate::support::Relay;

/// VAL-4, T18: a foreign host's commits are dropped; the own host's go on.
#[tokio::test]
async fn commits_of_a_foreign_host_are_dropped() -> Result<()> {
    let net = Net::seeded(3).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut firehose = relay.consume(Start::After(0)).await?;

    alice.through(&beta).post("not from here").await?;
    relay.until("the foreign commit is dropped", || !relay.drops(&alice).is_empty()).await?;
    let own = alice.post("from home").await?;

    let seen = firehose.until(|event| event.rev.as_deref() == Some(&own.rev)).await?;
    assert_eq!(relay.drops(&alice), [DropReason::WrongHost]);
    relay.settled(&net).await?;
    net.oracle().check(&seen).clean()?;
    Ok(())
}

/// Spec 9.3 migration, T9: after the move only the new host speaks.
#[tokio::test]
async fn after_a_migration_only_the_new_host_speaks() -> Result<()> {
    let net = Net::seeded(4).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let alice = alpha.account("alice").await?;
    let relay = Relay::join(&net).await?;
    let mut firehose = relay.consume(Start::After(0)).await?;
    alice.post("on alpha").await?;

    alice.migrate_to(&beta).await?;
    let last = alice.post("on beta").await?;

    let seen = firehose.until(|event| event.rev.as_deref() == Some(&last.rev)).await?;
    relay.settled(&net).await?;
    net.oracle().check(&seen).clean()?;
    Ok(())
}
