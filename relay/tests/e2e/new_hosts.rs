//! What the settings let new hosts do.

use anyhow::Result;
use relay_simnet::Net;

use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// Setting `trusted_domains`, HOST-6: a host that is named has large limits, and the next one that is not
/// has those of a stranger, though it is known since before.
#[tokio::test]
async fn hosts_of_trusted_domains_have_large_limits() -> Result<()> {
    let net = Net::seeded(220).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let trusted = alpha.hostname();
    let relay = Relay::join_with(&net, move |config, _| {
        config.default_account_limit = 7;
        config.trusted_domains = vec![trusted.clone()];
    })
    .await?;
    let limits = [&alpha, &beta].map(|host| relay.view(host).limits.accounts);
    assert_eq!(limits, [10_000_000, 7]);
    relay.running.hosts.set_trusted_domains(&[])?;
    assert_eq!(relay.view(&alpha).limits.accounts, 7);
    relay.stop().await?;
    Ok(())
}

/// Setting `new_hosts_per_day`, HOST-3, T21: the host after the last that strangers may add in a day is
/// told to come again, and when; the operator may add it.
#[tokio::test]
async fn strangers_add_as_many_hosts_as_they_may() -> Result<()> {
    let net = Net::seeded(221).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let relay = Relay::alone(&net, |config, _| config.new_hosts_per_day = 1).await?;
    assert_eq!(relay.request_crawl(&alpha.hostname()).await?.0, 200);

    let (status, answer) = relay.request_crawl(&beta.hostname()).await?;

    assert_eq!((status, &answer["error"]), (429, &"RateLimitExceeded".into()));
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(message.contains("1 new hosts in 24 hours"), "{message}");
    assert_eq!(relay.request_crawl(&alpha.hostname()).await?.0, 200, "it is known");
    relay.running.hosts.admit(&beta.hostname(), true).await?;
    beta.connected().await?;
    relay.stop().await?;
    Ok(())
}

/// Setting `limits_grow`, HOST-8: after a week and a good day limits are larger, unless that is turned
/// off.
#[tokio::test]
async fn limits_grow_only_where_they_are_told_to() -> Result<()> {
    for (grows, expected) in [(true, 50), (false, 0)] {
        let (net, clock) = (Net::seeded(222).await?, held_clock());
        let alpha = net.pds("alpha").await?;
        let alice = alpha.account("alice").await?;
        let held = clock.clone();
        let relay = Relay::join_with(&net, move |config, extras| {
            config.limits_grow = grows;
            extras.clock = held.clone();
        })
        .await?;
        for number in 0..100 {
            alice.post(&format!("fine {number}")).await?;
        }
        relay.settled(&net).await?;
        advance(&clock, 8 * 24 * 3_600);
        relay.running.hosts.flush().await?;
        assert_eq!(relay.view(&alpha).growth, expected);
        relay.stop().await?;
    }
    Ok(())
}
