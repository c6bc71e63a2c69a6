//! An hour at rest: whatever has happened before, no account is uncertain then, every list is the true
//! one, and no operator has said a word.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay::{clock::Clock, domain::LocalStatus};
use relay_protocol::Did;
use relay_simnet::{Account, AccountOptions, Fault, Limiter, Net, Pds, Write, clock::START_MICROS};
use serde_json::Value;

use super::{list, record};
use crate::support::Relay;

const HOUR_S: u64 = 3_600;
/// Records in each of two collections: so that a tree has more nodes than the proof of a commit shows.
const BULK: u32 = 30;
const BULKY: [&str; 2] = ["com.example.bulk", "com.example.zone"];
const ONE: &str = "com.example.one";
/// Where what was written in silence is.
const POST: &str = "app.bsky.feed.post";

/// How far the index is, as the relay tells it.
pub(super) async fn status(relay: &Relay) -> Result<Value> {
    let (status, answer) = relay.admin("collections/backfill").await?;
    ensure!(status == 200, "{answer}");
    Ok(answer)
}

/// Waits until the index holds all of the log.
pub(super) async fn caught_up(relay: &Relay) -> Result<Value> {
    for _ in 0..3_000 {
        let answer = status(relay).await?;
        if answer["behind"] == 0 {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("the index does not follow: {}", status(relay).await?)
}

/// Lets time pass, a second at a time and then more, until this is true of the index; gives after how
/// many seconds.
pub(super) async fn passes_until(
    (relay, clock): (&Relay, &Clock),
    seconds_max: u64,
    holds: impl Fn(&Value) -> bool,
) -> Result<u64> {
    let (mut passed, mut written) = (0, None);
    loop {
        // What a minute does by itself; the rows of accounts are found in the database.
        if written.is_none_or(|then| passed - then >= 60) {
            relay.running.checkpoint().await?;
            written = Some(passed);
        }
        let answer = status(relay).await?;
        if answer["behind"] == 0 && holds(&answer) {
            return Ok(passed);
        }
        ensure!(passed < seconds_max, "after {passed} s: {answer}");
        let step = 1 + passed / 200;
        clock.advance_us(step * 1_000_000);
        passed += step;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Nobody is uncertain, and nobody is only believed.
pub(super) fn is_certain(status: &Value) -> bool {
    status["totals"]["uncertain"] == 0 && status["totals"]["believedAccounts"] == 0
}

/// An account, and the collections in which it has records.
struct Person {
    account: Account,
    has: BTreeSet<&'static str>,
    listed: bool,
}

impl Person {
    /// One with many records.
    async fn new(host: &Pds, name: &str) -> Result<Self> {
        let silent = AccountOptions { announced: false, ..AccountOptions::default() };
        let account = host.account_with(name, silent).await?;
        let path = |kind: &str, key| Write::create(format!("{kind}/{key:03}"), record());
        let writes = (0..BULK).flat_map(|key| BULKY.map(|kind| path(kind, key)));
        account.apply(writes.collect()).await?;
        Ok(Self { account, has: BULKY.into(), listed: true })
    }

    async fn writes(&mut self, key: &str) -> Result<()> {
        self.account.create(ONE, key, record()).await?;
        self.has.insert(ONE);
        Ok(())
    }

    /// What no event tells.
    async fn writes_in_silence(&mut self) -> Result<()> {
        self.account.post_in_silence("nobody is told").await?;
        self.has.insert(POST);
        Ok(())
    }
}

struct World {
    net: Net,
    clock: Clock,
    hosts: [Pds; 4],
    people: Vec<Person>,
}

impl World {
    async fn new(seed: u64) -> Result<Self> {
        let net = Net::seeded(seed).await?;
        let hosts = [
            net.pds("alpha").await?,
            net.pds("beta").await?,
            net.pds("gamma").await?,
            net.pds("delta").await?,
        ];
        let clock = Clock::manual(START_MICROS + 60_000_000);
        Ok(Self { net, clock, hosts, people: Vec::new() })
    }

    async fn join(&self) -> Result<Relay> {
        let clock = self.clock.clone();
        Relay::join_with(&self.net, move |config, extras| {
            config.lenient = true;
            extras.clock = clock.clone();
        })
        .await
    }

    async fn person(&self, host: usize, name: &str) -> Result<Person> {
        Person::new(&self.hosts[host], name).await
    }

    /// What every list has to be.
    async fn proved(&self, relay: &Relay) -> Result<()> {
        let mut expected: BTreeMap<&str, BTreeSet<String>> =
            [ONE, POST, BULKY[0], BULKY[1]].map(|name| (name, BTreeSet::new())).into();
        for person in self.people.iter().filter(|person| person.listed) {
            for name in &person.has {
                let all = expected.get_mut(name).context("a known collection")?;
                all.insert(person.account.did().to_owned());
            }
        }
        for (name, expected) in expected {
            let found: BTreeSet<_> = list(relay, name, 500).await?.into_iter().collect();
            let name_of = |did: &&String| {
                let person = self.people.iter().find(|person| person.account.did() == **did);
                person.map(|person| person.account.name().to_owned())
            };
            let ghosts: Vec<_> =
                found.difference(&expected).filter_map(|did| name_of(&did)).collect();
            let missing: Vec<_> =
                expected.difference(&found).filter_map(|did| name_of(&did)).collect();
            ensure!(ghosts.is_empty() && missing.is_empty(), "{name}: {ghosts:?}, no {missing:?}");
        }
        Ok(())
    }

    /// Everything that makes an account uncertain, or takes it from the lists, once.
    async fn everything(&mut self, relay: &Relay) -> Result<()> {
        let [_, beta, ..] = &self.hosts;
        let did = |person: &Person| Did::parse(person.account.did());
        let mut gap = self.person(0, "gap").await?;
        gap.writes_in_silence().await?;
        gap.writes("a").await?;
        let mut synced = self.person(0, "synced").await?;
        synced.writes_in_silence().await?;
        synced.account.sync().await?;
        let mut lenient = self.person(0, "lenient").await?;
        lenient.account.with(Fault::WrongPrevData).create(ONE, "a", record()).await?;
        lenient.has.insert(ONE);
        let mut returned = self.person(1, "returned").await?;
        returned.account.deactivate().await?;
        returned.writes_in_silence().await?;
        returned.account.activate().await?;
        let mut left = self.person(1, "left").await?;
        left.account.deactivate().await?;
        left.listed = false;
        let mut deleted = self.person(1, "deleted").await?;
        deleted.account.delete_account().await?;
        deleted.listed = false;
        let (mut hidden, mut released) =
            (self.person(0, "hidden").await?, self.person(0, "released").await?);
        let mut moved = self.person(0, "moved").await?;
        relay.settled(&self.net).await?;
        for person in [&hidden, &released] {
            let taken = LocalStatus::Takendown;
            ensure!(relay.running.ingest.set_local_status(&did(person)?, taken).await?);
        }
        hidden.listed = false;
        // What it writes meanwhile is dropped.
        released.writes("a").await?;
        relay.settled(&self.net).await?;
        let lifted = did(&released)?;
        ensure!(relay.running.ingest.set_local_status(&lifted, LocalStatus::None).await?);
        // What the host before said last is never heard.
        moved.writes_in_silence().await?;
        moved.account.migrate_to(beta).await?;
        self.people
            .extend([gap, synced, lenient, returned, left, deleted, hidden, released, moved]);
        for (host, name) in [(2, "busy"), (3, "away")] {
            for number in 0..6 {
                let mut person = self.person(host, &format!("{name}-{number}")).await?;
                person.writes_in_silence().await?;
                person.writes("a").await?;
                self.people.push(person);
            }
        }
        Ok(())
    }
}

/// Issue 9: accounts from before the relay, gaps, `#sync`s, commits without proof, moves, takedowns, a
/// busy host and one that was away: an hour after all is quiet nobody is uncertain and every list is
/// right. An index that is lost is filled anew in the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_hour_at_rest_nobody_is_uncertain() -> Result<()> {
    let mut world = World::new(619).await?;
    for (host, name) in [(0, "silent"), (0, "older"), (1, "older-too")] {
        let person = world.person(host, name).await?;
        world.people.push(person);
    }
    world.hosts.iter().for_each(Pds::forget_events);
    let relay = world.join().await?;
    for person in &mut world.people[1..] {
        person.writes("a").await?;
    }
    world.everything(&relay).await?;
    relay.settled(&world.net).await?;

    let totals = caught_up(&relay).await?["totals"].clone();
    let because = |reason: &str| totals["unsureReasons"][reason].as_u64().unwrap_or_default();
    for (reason, accounts) in [("discontinuity", 13), ("sync", 1), ("lenient", 1)] {
        ensure!(because(reason) == accounts, "control: {reason}: {totals}");
    }
    // Who moved has left first, when the host before is heard first.
    ensure!(because("older_records") + because("moved") == 5, "control: {totals}");
    ensure!(totals["inactive"] == 2 && totals["gone"] == 1, "control: {totals}");

    let [_, _, gamma, delta] = &world.hosts;
    let limiter = Limiter::new(3);
    gamma.limit(&limiter);
    delta.down();
    let away = |status: &Value| status["totals"]["uncertain"] == 6;
    passes_until((&relay, &world.clock), 2 * HOUR_S, away).await?;
    delta.up().await?;
    let seconds = passes_until((&relay, &world.clock), HOUR_S, is_certain).await?;
    println!("certain {seconds} s after the last host came back");
    ensure!(limiter.refused() > 0, "control: the busy host answered 429");
    // Lists of accounts are read an hour after a start: of "silent" nothing else tells.
    let complete = |status: &Value| is_certain(status) && status["totals"]["complete"] == 21;
    passes_until((&relay, &world.clock), 2 * HOUR_S, complete).await?;
    world.proved(&relay).await?;

    let relay = relay
        .restart_after(async |data| Ok(std::fs::remove_dir_all(data.join("collections"))?))
        .await?;
    let totals = caught_up(&relay).await?["totals"].clone();
    ensure!(totals["complete"] == 0 && totals["uncertain"] != 0, "control: {totals}");
    let seconds = passes_until((&relay, &world.clock), HOUR_S, is_certain).await?;
    println!("certain {seconds} s after a new index began");
    let totals = status(&relay).await?["totals"].clone();
    ensure!(totals["complete"] == 21 && totals["inactive"] == 2, "{totals}");
    ensure!(totals["uncertainShare"].as_f64() < Some(0.001), "{totals}");
    world.proved(&relay).await
}
