//! I7, VAL-21: why an event did not come out, in counters, in words and with examples.

use std::collections::BTreeMap;

use anyhow::Result;
use relay::domain::DropReason;
use relay_simnet::{Fault, Load, LoadOptions, Net};

use crate::support::Relay;

/// I7: a mixed load in which a third of the events are wrong in one way or another. What the relay
/// counts is what the oracle expects; the counts of the hosts add up to the totals; each has examples.
#[tokio::test]
async fn every_drop_has_a_reason() -> Result<()> {
    let net = Net::seeded(90).await?;
    let options = LoadOptions {
        hosts: 6,
        accounts: 60,
        records: 10,
        faults_per_mille: 250,
        impostors_per_mille: 100,
        announcements_per_mille: 20,
        ..LoadOptions::default()
    };
    let mut load = Load::prepare(&net, options).await?;
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    load.send(1_500).await?;
    relay.proved(&net, &mut watch).await?;

    let (_, all) = relay.why("").await?;
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for host in load.hosts() {
        let (status, why) = relay.why(&format!("host={}", host.hostname())).await?;
        assert_eq!(status, 200, "{why}");
        for (reason, count) in why["totals"].as_object().into_iter().flatten() {
            *sums.entry(reason.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        let drops = why["drops"].as_array().cloned().unwrap_or_default();
        assert!(!drops.is_empty() && drops.len() <= 32, "{}", drops.len());
        for drop in drops {
            let reason = DropReason::ALL.iter().find(|known| drop["reason"] == known.label());
            assert!(reason.is_some_and(|reason| drop["words"] == reason.words()), "{drop}");
            assert_eq!(drop["host"], host.hostname());
            assert!(drop["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{drop}");
            assert!(drop["hostSeq"].is_u64() && drop["time"].is_string(), "{drop}");
        }
    }
    let totals: BTreeMap<String, u64> = serde_json::from_value(all["totals"].clone())?;
    assert_eq!(sums, totals);
    assert!(totals.len() >= 10, "many kinds of drops: {totals:?}");
    Ok(())
}

/// I7: for each kind of fault the account's entry says what was wrong in this case: the CIDs, revs or
/// hosts that differ.
#[tokio::test]
async fn the_details_of_a_drop_name_what_differed() -> Result<()> {
    let net = Net::seeded(91).await?;
    let (alpha, beta) = (net.pds("alpha").await?, net.pds("beta").await?);
    let relay = Relay::join(&net).await?;
    let mut watch = relay.watch().await?;

    for (fault, reason, words) in [
        (Fault::WrongPrevData, "proof_mismatch", &["bafyrei", "prevData"][..]),
        (Fault::RevMismatch, "commit_mismatch", &["rev"]),
        (Fault::DidMismatch, "commit_mismatch", &["did:plc:aaaaaaaa"]),
        (Fault::CommitCidMismatch, "commit_mismatch", &["bafyrei", "root"]),
        (Fault::StaleRev, "stale", &["rev", "not newer than"]),
        (Fault::FutureRev, "future_rev", &["ahead of this relay's clock"]),
        (Fault::WrongKey, "bad_signature", &["zQ3sh", "refreshed DID document"]),
        (Fault::NoPrevData, "legacy", &["prevData"]),
        (Fault::MissingRecord, "bad_record", &["missing", "app.bsky.feed.post/"]),
    ] {
        let account = alpha.account(&format!("{fault:?}").to_ascii_lowercase()).await?;
        account.post("good").await?;
        account.with(fault).post("bad").await?;
        relay.settled(&net).await?;
        let (_, why) = relay.why(&format!("did={}", account.did())).await?;
        let drop = &why["drops"][0];
        assert_eq!(drop["reason"], reason, "{fault:?}: {why}");
        let detail = drop["detail"].as_str().unwrap_or_default();
        assert!(words.iter().all(|words| detail.contains(words)), "{fault:?}: {detail}");
        assert_eq!(why["account"]["host"], alpha.hostname());
    }
    let carol = alpha.account("carol").await?;
    relay.settled(&net).await?;
    carol.through(&beta).post("bad").await?;
    relay.settled(&net).await?;
    let (_, why) = relay.why(&format!("did={}", carol.did())).await?;
    let detail = why["drops"][0]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(
        [alpha.hostname(), beta.hostname()].iter().all(|host| detail.contains(host)),
        "{detail}"
    );

    relay.proved(&net, &mut watch).await?;
    Ok(())
}
