//! What a run of any length needs does not grow with it.

use crate::*;
use anyhow::Result;

/// Records of the largest repository after a load whose repositories shrink above this size.
async fn largest_after_a_load(records_max: usize) -> Result<usize> {
    let net = Net::seeded(31).await?;
    let options =
        LoadOptions { hosts: 1, accounts: 2, records: 4, records_max, ..LoadOptions::default() };
    let mut load = Load::prepare(&net, options).await?;
    load.send(400).await?;
    let mut largest = 0;
    for account in load.accounts() {
        largest = largest.max(account.records().await);
    }
    Ok(largest)
}

/// A load lets repositories shrink that are too large; the mix is as before below that.
#[tokio::test]
async fn a_load_keeps_repositories_at_a_size() -> Result<()> {
    // A commit adds five records at most.
    let largest = largest_after_a_load(10).await?;
    assert!((5..=15).contains(&largest), "{largest} records");
    assert!(largest_after_a_load(usize::MAX).await? > 50, "control: without a limit they grow");
    Ok(())
}

/// An impostor's events are matched by nothing: the checker forgets them, and one that comes out all
/// the same is strange. Events that have to come are never forgotten.
#[tokio::test]
async fn what_must_never_come_is_forgotten_and_stays_strange() -> Result<()> {
    let net = Net::seeded(32).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let quiet = AccountOptions { announced: false, ..AccountOptions::default() };
    let alice = alpha.account_with("alice", quiet).await?;
    for number in 0..200 {
        alice.post(&format!("hers {number}")).await?;
        alice.through(&beta).post(&format!("not hers {number}")).await?;
    }
    let mut checker = net.oracle().checker();
    for host in [&alpha, &beta] {
        let mut mirror = Consumer::connect_as_relay(&host.stream_url(), Start::After(0)).await?;
        let mut events = mirror.take(200).await?;
        assert_eq!(checker.outstanding(), 200);
        if host.name() == "beta" {
            checker.observe(&events.remove(0));
        }
    }

    let kept = checker.kept();
    assert!((200..=300).contains(&kept), "{kept} of 400 events are kept");
    let report = checker.report();
    assert_eq!((report.strange, report.lost), (1, 200), "{report}");
    Ok(())
}
