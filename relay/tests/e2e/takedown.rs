//! What a takedown by this relay hides from consumers that read what came before.

use anyhow::Result;
use relay::domain::LocalStatus;
use relay_protocol::Did;
use relay_simnet::{Kind, Net, Received, Start};

use crate::support::Relay;

/// Everything that a consumer gets who begins at the beginning.
async fn replayed(relay: &Relay) -> Result<Vec<Received>> {
    let head = i64::try_from(relay.running.log.window().head.0)?;
    let mut consumer = relay.consume(Start::After(0)).await?;
    consumer.until(|event| event.seq == head).await
}

fn kinds(events: &[Received], did: &str) -> Vec<Kind> {
    events.iter().filter(|event| event.did == did).map(|event| event.kind).collect()
}

fn content(events: &[Received], did: &str) -> usize {
    let kinds = kinds(events, did);
    kinds.iter().filter(|kind| matches!(kind, Kind::Commit | Kind::Sync)).count()
}

/// ACC-12, ROLE-6, T24: commits of an account that this relay took down are not replayed, also after
/// a restart; its identity and status are, and so is everything of others. When the takedown ends,
/// all of it is there again.
#[tokio::test]
async fn a_takedown_hides_what_came_before_until_it_ends() -> Result<()> {
    let net = Net::seeded(41).await?;
    let alpha = net.pds("alpha").await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    let relay = Relay::join(&net).await?;
    for text in ["one", "two"] {
        alice.post(text).await?;
        bob.post(text).await?;
    }
    relay.settled(&net).await?;
    let did = Did::parse(alice.did())?;
    let before = replayed(&relay).await?;
    assert!(content(&before, alice.did()) >= 3, "control: {:?}", kinds(&before, alice.did()));

    assert!(relay.running.ingest.set_local_status(&did, LocalStatus::Takendown).await?);
    let during = replayed(&relay).await?;
    assert_eq!(content(&during, alice.did()), 0);
    assert_eq!(
        kinds(&during, alice.did()),
        [Kind::Identity, Kind::Account, Kind::Account],
        "the last one tells the takedown"
    );
    assert_eq!(kinds(&during, bob.did()), kinds(&before, bob.did()));

    let relay = relay.restart().await?;
    assert_eq!(content(&replayed(&relay).await?, alice.did()), 0, "after a restart");

    assert!(relay.running.ingest.set_local_status(&did, LocalStatus::None).await?);
    let after = replayed(&relay).await?;
    assert_eq!(content(&after, alice.did()), content(&before, alice.did()));
    assert_eq!(kinds(&after, alice.did()).last(), Some(&Kind::Account), "the end is told too");
    Ok(())
}
