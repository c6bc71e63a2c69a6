//! Streams with TLS.

use crate::*;
use anyhow::Result;

/// UP-1: a host with TLS serves those who trust its authority and nobody else.
#[tokio::test]
async fn a_host_serves_with_tls() -> Result<()> {
    let net = Net::seeded(41).await?;
    let alpha = net.secure_pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    assert!(alpha.address().starts_with("wss://localhost:"));
    assert!(net.plc().url().starts_with("http://") && alpha.url().starts_with("https://"));

    let from = Start::After(0);
    let mut reader = Consumer::connect_secure(&alpha.address(), from, net.authority()?).await?;
    assert_eq!(reader.take(4).await?.len(), 4);
    alice.post("encrypted").await?;
    assert_eq!(reader.next_for(&alice).await?.text(), "encrypted");

    let stranger = Authority::new()?;
    assert!(Consumer::connect_secure(&alpha.address(), from, &stranger).await.is_err());
    assert!(Consumer::connect(&alpha.address().replace("wss", "ws"), from).await.is_err());
    Ok(())
}

/// A terminator hands a stream on without a change, and cuts it when it ends.
#[tokio::test]
async fn a_terminator_takes_tls_off() -> Result<()> {
    let net = Net::seeded(42).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let authority = Authority::new()?;
    let target = alpha.stream_url().replace("ws://", "").parse()?;
    let terminator = Terminator::start(&authority, target).await?;

    let mut plain = Consumer::connect(&alpha.stream_url(), Start::After(0)).await?;
    let mut secure =
        Consumer::connect_secure(&terminator.url(), Start::After(0), &authority).await?;
    alice.post("the same for both").await?;
    assert_eq!(plain.take(5).await?, secure.take(5).await?);
    drop(terminator);
    assert!(matches!(secure.next_item().await?, Item::Closed { .. }));
    Ok(())
}
