//! What an operator reads who asks why something of a host or an account is not on the network: for
//! each reason the sentence, by the API, after that very thing happened.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use relay::{
    clock::Clock,
    domain::{DropReason, LocalStatus},
    drops::Dropped,
};
use relay_protocol::Did;
use relay_simnet::{Account, AccountOptions, Answer, Fault, Ipld, Kind, Net, Pds};
use serde_json::Value;

use crate::{
    support::Relay,
    watch::{advance, held_clock},
};

/// A relay, a host, and the reasons that were read so far.
struct Scene {
    net: Net,
    alpha: Pds,
    clock: Clock,
    relay: Relay,
    read: BTreeSet<&'static str>,
}

impl Scene {
    async fn new(seed: u64) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        let alpha = net.pds("alpha").await?;
        net.pds("beta").await?;
        let clock = held_clock();
        let relay = Relay::join_by(&net, &clock).await?;
        Ok(Self { net, alpha, clock, relay, read: BTreeSet::new() })
    }

    /// An account with a record, whose host has announced it.
    async fn account(&self, name: &str) -> Result<Account> {
        let account = self.alpha.account(name).await?;
        for number in 0..3 {
            account.post(&format!("good {number}")).await?;
        }
        self.relay.settled(&self.net).await?;
        Ok(account)
    }

    /// An account that the relay meets by its first event only.
    async fn silent(&self, name: &str) -> Result<Account> {
        let options = AccountOptions { announced: false, ..AccountOptions::default() };
        self.alpha.account_with(name, options).await
    }

    /// Waits until all is judged, asks why, and takes the answer apart as a person does: is there a
    /// drop with this reason, and what does it say?
    async fn reads(&mut self, query: &str, label: &str) -> Result<Value> {
        self.relay.settled(&self.net).await?;
        self.reads_now(query, label).await
    }

    /// The same without waiting.
    async fn reads_now(&mut self, query: &str, label: &str) -> Result<Value> {
        let (status, why) = self.relay.why(query).await?;
        ensure!(status == 200, "{label}: {status} {why}");
        let reason = DropReason::ALL.iter().find(|reason| reason.label() == label);
        let reason = reason.with_context(|| format!("{label} is no reason"))?;
        let drops = why["drops"].as_array().cloned().unwrap_or_default();
        let drop = drops.into_iter().find(|drop| drop["reason"] == label);
        let drop = drop.with_context(|| format!("no drop as {label}: {why:#}"))?;
        ensure!(drop["words"] == reason.words(), "{drop:#}");
        ensure!(drop["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{drop:#}");
        ensure!(drop["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{drop:#}");
        ensure!(drop["host"].is_string(), "{drop:#}");
        self.read.insert(reason.label());
        Ok(drop)
    }

    async fn reads_of(&mut self, account: &Account, label: &str) -> Result<Value> {
        self.reads(&format!("did={}", account.did()), label).await
    }

    async fn reads_of_host(&mut self, label: &str) -> Result<Value> {
        let host = self.alpha.hostname();
        self.reads(&format!("host={host}"), label).await
    }
}

/// What is wrong with the content of one commit or sync.
async fn content(scene: &mut Scene) -> Result<()> {
    for (fault, label) in [
        (Fault::MissingField, "malformed"),
        (Fault::TooManyOps, "oversized"),
        (Fault::StaleRev, "stale"),
        (Fault::FutureRev, "future_rev"),
        (Fault::WrongVersion, "bad_commit"),
        (Fault::DidMismatch, "commit_mismatch"),
        (Fault::WrongKey, "bad_signature"),
        (Fault::DuplicatePath, "bad_ops"),
        (Fault::MissingRecord, "bad_record"),
        (Fault::WrongPrevData, "proof_mismatch"),
        (Fault::HollowTower, "bad_tree"),
        (Fault::Legacy, "legacy"),
    ] {
        let account = scene.account(&format!("{fault:?}").to_ascii_lowercase()).await?;
        account.with(fault).post("bad").await?;
        scene.reads_of(&account, label).await?;
    }
    let account = scene.account("incomplete").await?;
    // Many records, so that the tree has a node that can be missing.
    for number in 0..30 {
        account.post(&format!("more {number}")).await?;
    }
    account.with(Fault::MissingNode).post("bad").await?;
    scene.reads_of(&account, "proof_incomplete").await?;
    let account = scene.account("forked").await?;
    account.with(Fault::Fork).sync().await?;
    scene.reads_of(&account, "fork").await?;
    Ok(())
}

/// What hosts send that is not wrong in itself.
async fn order_and_status(scene: &mut Scene) -> Result<()> {
    let again = scene.account("again").await?;
    again.sync_again().await?;
    scene.reads_of(&again, "sync_unchanged").await?;
    let often = scene.account("often").await?;
    for _ in 0..20 {
        often.sync().await?;
    }
    scene.reads_of(&often, "rate_limited").await?;
    let asleep = scene.account("asleep").await?;
    asleep.deactivate().await?;
    asleep.deactivate().await?;
    asleep.post("in vain").await?;
    scene.reads_of(&asleep, "redundant").await?;
    scene.reads_of(&asleep, "account_inactive").await?;
    let hidden = scene.account("hidden").await?;
    let did = Did::parse(hidden.did())?;
    scene.relay.running.ingest.set_local_status(&did, LocalStatus::Takendown).await?;
    hidden.post("not here").await?;
    scene.reads_of(&hidden, "locally_inactive").await?;
    let moved = scene.account("moved").await?;
    let beta = scene.net.hosts().into_iter().find(|host| host.name() == "beta");
    moved.through(&beta.context("beta")?).post("not from there").await?;
    scene.reads_of(&moved, "wrong_host").await?;
    let repeated = scene.account("repeated").await?;
    repeated.with(Fault::SeqRepeated).post("twice").await?;
    scene.account("after").await?;
    scene.reads_of_host("host_seq_not_increasing").await?;
    let payload = [("did", "did:example:alice"), ("time", "2026-01-01T00:00:00.000Z")];
    let payload = payload.map(|(key, text)| (key.to_owned(), Ipld::String(text.to_owned())));
    scene.alpha.send_payload(Kind::Identity, payload.into_iter().collect());
    scene.account("behind").await?;
    scene.reads_of_host("bad_did").await?;
    Ok(())
}

/// What the relay cannot know, or gets wrong itself.
async fn lookups(scene: &mut Scene) -> Result<()> {
    let unknown = scene.silent("unknown").await?;
    scene.net.plc().answer(&unknown, Answer::NotFound);
    unknown.post("who am I?").await?;
    scene.reads_of(&unknown, "identity_invalid").await?;

    let waiting = scene.silent("waiting").await?;
    scene.net.plc().answer(&waiting, Answer::Status(503));
    for number in 0..80 {
        waiting.post(&format!("post {number}")).await?;
    }
    let full = || scene.relay.dropped_total(DropReason::ParkingFull) > 0;
    scene.relay.until("the room of the account is full", full).await?;
    scene.reads_now(&format!("did={}", waiting.did()), "parking_full").await?;
    advance(&scene.clock, 601);
    scene.reads_of(&waiting, "identity_unavailable").await?;

    // There is no event that strikes a bug, and if one was known it would be mended. That a panic is
    // recorded like this is shown by `a_panic_while_judging_costs_one_event`.
    let struck = scene.account("struck").await?;
    scene.relay.running.drops.record(Dropped {
        at_ms: scene.clock.now_ms(),
        host: scene.relay.view(&scene.alpha).id,
        host_seq: None,
        kind: None,
        did: Some(struck.did().to_owned()),
        reason: DropReason::Internal,
        detail: "a bug that this test planted".to_owned(),
    });
    let drop = scene.reads_of(&struck, "internal").await?;
    ensure!(drop["detail"] == "a bug that this test planted", "{drop:#}");
    Ok(())
}

/// I7, VAL-21: an operator who asks by account or by host reads, for each reason that there is, the
/// sentence that says why.
#[tokio::test]
async fn the_api_says_why_in_a_sentence_for_every_reason() -> Result<()> {
    let mut scene = Scene::new(92).await?;
    content(&mut scene).await?;
    order_and_status(&mut scene).await?;
    lookups(&mut scene).await?;
    let all: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(scene.read, all);
    Ok(())
}
