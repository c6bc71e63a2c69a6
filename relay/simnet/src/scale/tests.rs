//! Small networks: what is made against the naive tree, and what is compared against what is made.

mod playing;

use super::*;
use crate::{
    COMMIT_FAULTS, Received,
    block::{Cid36, cid_from_text, read_car},
    keys::{Curve, SigningKey},
    mst::Tree,
    wire::Kind,
};
use anyhow::{Context as _, Result, ensure};
use ipld_core::ipld::Ipld;
use std::collections::BTreeMap;

const SMALL: Plan = Plan {
    seed: 7,
    hosts: 30,
    accounts: 1_000,
    records: 20,
    introduce: true,
    events: 4_000,
    announcements_per_mille: 30,
    each_fault_per_mille: 0,
    foreign_per_mille: 0,
};

fn received(event: &Event) -> Result<Received> {
    Received::in_frame(event.frame.clone())
}

fn link(value: Option<&Ipld>) -> Result<Cid36> {
    match value {
        Some(Ipld::Link(cid)) => cid_from_text(&cid.to_string()),
        other => anyhow::bail!("no link: {other:?}"),
    }
}

/// What a relay that holds all records checks of a commit (VAL-9 to VAL-12).
fn check_commit(event: &Event, tree: &mut Tree, population: Population) -> Result<()> {
    let received = received(event)?;
    let payload = received.payload()?;
    ensure!(link(payload.get("prevData"))? == tree.root(), "prevData");
    let mut paths = Vec::new();
    for op in received.ops()? {
        let prev = op.prev.as_deref().map(cid_from_text).transpose()?;
        ensure!(tree.get(&op.path) == prev, "prev of {}", op.path);
        match op.cid {
            Some(cid) => drop(tree.insert(op.path.clone(), cid_from_text(&cid)?)),
            None => drop(tree.remove(&op.path)),
        }
        paths.push(op.path);
    }
    let Some(Ipld::Bytes(car)) = payload.get("blocks") else { anyhow::bail!("no blocks") };
    let car = read_car(car)?;
    let blocks: BTreeMap<Cid36, Vec<u8>> = car.blocks.into_iter().collect();
    for (cid, block) in &blocks {
        ensure!(crate::block::cid_of(block) == *cid, "a block without its CID");
    }
    let commit = blocks.get(car.roots.first().context("a root")?).context("the commit")?;
    let Ipld::Map(mut object) = crate::block::decode(commit)? else { anyhow::bail!("a map") };
    ensure!(link(object.get("data"))? == tree.root(), "data");
    let Some(Ipld::Bytes(signature)) = object.remove("sig") else { anyhow::bail!("no sig") };
    let secret = population.secret_bytes(event.account);
    let key = SigningKey::from_bytes(Curve::K256, &secret).context("a key")?;
    ensure!(key.verifies(&crate::block::encode(&object), &signature), "signature");
    ensure!(key.multikey() == population.multikey(event.account)?, "multikey");
    let proof = tree.proof(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let nodes = blocks.len() - 1 - received.ops()?.iter().filter(|op| op.cid.is_some()).count();
    ensure!(proof.len() == nodes, "{nodes} nodes instead of {}", proof.len());
    ensure!(proof.iter().all(|(cid, block)| blocks.get(cid) == Some(block)), "proof");
    Ok(())
}

/// MST-1 to MST-7, VAL-9 to VAL-12: every commit of accounts small and large has the roots, the
/// proof and the signature that a naive tree of all records gives.
#[test]
fn commits_agree_with_a_naive_tree() -> Result<()> {
    let plan = Plan { introduce: false, events: 2_000, accounts: 300, ..SMALL };
    let population = Population::of(&plan);
    let mut trees: BTreeMap<u32, Tree> = BTreeMap::new();
    let mut fresh = Generator::new(&plan)?;
    for account in (2..300).step_by(7) {
        let mut tree = Tree::new();
        for (path, cid) in fresh.records(account)? {
            tree.insert(path, cid);
        }
        assert_eq!(tree.len(), population.records(account) as usize);
        trees.insert(account, tree);
    }
    let (mut checked, mut large) = (0, 0);
    for event in Generator::new(&plan)? {
        let event = event?;
        let Some(tree) = trees.get_mut(&event.account) else { continue };
        if event.kind == Kind::Commit {
            check_commit(&event, tree, population).context(format!("event {event:?}"))?;
            checked += 1;
            large += usize::from(tree.len() > 500);
        }
    }
    assert!(checked > 150 && large > 40, "{checked} commits, {large} of large repositories");
    Ok(())
}

/// The network of 2026: kinds of events and operations, sizes of repositories and frames.
#[test]
fn the_mix_is_that_of_the_network() -> Result<()> {
    let mut kinds: BTreeMap<Kind, u32> = BTreeMap::new();
    let mut actions: BTreeMap<String, f64> = BTreeMap::new();
    let mut created: BTreeMap<String, f64> = BTreeMap::new();
    let (mut several, mut bytes) = (0_u32, 0);
    for event in Generator::new(&SMALL)? {
        let event = event?;
        *kinds.entry(event.kind).or_default() += 1;
        if event.kind != Kind::Commit {
            continue;
        }
        bytes += event.frame.len();
        let ops = received(&event)?.ops()?;
        several += u32::from(ops.len() > 1);
        if let [op] = &ops[..] {
            *actions.entry(op.action.clone()).or_default() += 1.0;
            if op.action == "create" {
                let collection = op.path.split('/').next().unwrap_or_default();
                *created.entry(collection.to_owned()).or_default() += 1.0;
            }
        }
    }
    let commits = kinds[&Kind::Commit];
    assert!(kinds.len() == 4 && kinds[&Kind::Sync] > 10, "{kinds:?}");
    let percent = |counts: &BTreeMap<String, f64>, name: &str, all: f64| 100.0 * counts[name] / all;
    let near = |is: f64, wanted: f64| assert!((is - wanted).abs() < 3.0, "{is} is not {wanted}");
    near(percent(&actions, "create", commits.into()), 80.0);
    near(percent(&actions, "delete", commits.into()), 12.0);
    near(percent(&actions, "update", commits.into()), 5.0);
    near(100.0 * f64::from(several) / f64::from(commits), 3.0);
    let all = actions["create"];
    near(percent(&created, "app.bsky.feed.like", all), 55.0);
    near(percent(&created, "app.bsky.feed.post", all), 17.0);
    near(percent(&created, "app.bsky.graph.follow", all), 17.0);
    near(percent(&created, "app.bsky.feed.repost", all), 11.0);
    let mean = bytes / commits as usize;
    assert!((2_500..5_000).contains(&mean), "{mean} bytes a frame");
    Ok(())
}

/// The network of 2026: median 20 records, mean at most 60, a tail to 100,000.
#[test]
fn repositories_have_the_sizes_of_the_network() {
    let population = Population::of(&Plan::default());
    let mut sizes: Vec<u64> =
        (0..500_000).map(|number| population.records(number).into()).collect();
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<u64>() / 500_000;
    assert_eq!(sizes[250_000], 20);
    assert!((40..=60).contains(&mean), "{mean} records on average");
    assert_eq!(sizes[499_999], u64::from(RECORDS_MAX));
}

/// DIDs are found without a table, and only those of the network.
#[test]
fn dids_read_back() {
    let population = Population::of(&Plan::default());
    for account in [0, 1, 255, 256, 77_777, 499_999] {
        assert_eq!(population.number(&population.did(account)), Some(account));
    }
    let other = Population::of(&Plan { seed: 2, ..Plan::default() });
    assert_eq!(population.number(&other.did(5)), None);
    assert_eq!(population.number("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"), None);
    assert_eq!(population.number("did:web:example.com"), None);
}

/// The same plan makes the same events, byte for byte, also through a file; another seed others.
#[test]
fn events_follow_from_the_plan() -> Result<()> {
    let plan = Plan { each_fault_per_mille: 10, foreign_per_mille: 20, events: 500, ..SMALL };
    let made: Vec<Event> = Generator::new(&plan)?.collect::<Result<_>>()?;
    let again: Vec<Event> = Generator::new(&plan)?.collect::<Result<_>>()?;
    assert!(made == again, "a second run differs");
    let other: Vec<Event> =
        Generator::new(&Plan { seed: 8, ..plan.clone() })?.collect::<Result<_>>()?;
    assert!(made.iter().zip(&other).all(|(one, other)| one.frame != other.frame));

    let dir = std::env::temp_dir().join(format!("simnet-scale-{}", std::process::id()));
    let written = file::write(&plan, made.iter().cloned().map(Ok), &dir, |_| {})?;
    assert_eq!(written.events, plan.total());
    assert_eq!(written.file_bytes, std::fs::metadata(&dir)?.len());
    let reader = file::Reader::open(&dir)?;
    assert_eq!(*reader.plan(), plan);
    let read: Vec<Event> = reader.collect::<Result<_>>()?;
    assert!(made == read, "the file differs");
    // A file that is not finished has no number of events in its head.
    let mut bytes = std::fs::read(&dir)?;
    bytes[16..24].fill(0);
    std::fs::write(&dir, bytes)?;
    assert!(file::Reader::open(&dir).is_err());
    std::fs::remove_file(&dir)?;
    Ok(())
}

/// 500,000 accounts fit into 6 GB many times. Stored is what changed and, of the
/// large repositories, the part above the cut; not the records, of which there are 50 an account.
#[test]
fn an_account_needs_some_hundred_bytes() -> Result<()> {
    let mut generator = Generator::new(&SMALL)?;
    assert_eq!(generator.stored_bytes(), 112 * 1_000);
    for event in generator.by_ref() {
        event?;
    }
    assert_eq!(generator.made(), SMALL.total());
    let bytes = generator.stored_bytes() / 1_000;
    assert!((200..1_000).contains(&bytes), "{bytes} bytes an account");
    Ok(())
}

/// Every fault that can be mixed in strikes, and what is expected follows from what passed before.
#[test]
fn every_fault_strikes() -> Result<()> {
    let plan = Plan { each_fault_per_mille: 30, foreign_per_mille: 20, events: 2_000, ..SMALL };
    let mut struck: BTreeMap<String, Vec<Expect>> = BTreeMap::new();
    let mut foreign = 0;
    for event in Generator::new(&plan)? {
        let event = event?;
        foreign += u32::from(event.expect == Expect::Foreign);
        if let Some(fault) = event.fault {
            struck.entry(format!("{fault:?}")).or_default().push(event.expect);
        }
    }
    assert!(foreign > 10, "{foreign} foreign events");
    assert_eq!(struck.len(), COMMIT_FAULTS.len(), "{:?}", struck.keys());
    for (fault, wanted) in [
        ("HighS", Expect::Faulty),
        ("MissingField", Expect::Faulty),
        ("FutureRev", Expect::Faulty),
        ("UnknownFields", Expect::Pass),
    ] {
        assert!(struck[fault].iter().all(|expect| *expect == wanted), "{fault}");
    }
    assert!(struck["EqualRev"].contains(&Expect::Stale));
    Ok(())
}

/// ENC-2: the short way of writing a commit gives what the codec gives, field by field and block by
/// block, signature included.
#[test]
fn honest_commits_equal_those_of_the_drafts() -> Result<()> {
    let plan = Plan { events: 300, announcements_per_mille: 0, introduce: false, ..SMALL };
    let mut generator = Generator::new(&plan)?;
    for _ in 0..300 {
        let (short, long) = generator.make_both()?;
        let (short, long) = (received(&short)?, received(&long)?);
        let (mut one, mut other) = (short.payload()?, long.payload()?);
        // The order of blocks is free (ENC-14).
        assert!(one.remove("blocks").is_some() && other.remove("blocks").is_some());
        assert_eq!(one, other);
        let sorted = |event: &Received| -> Result<BTreeMap<Cid36, Vec<u8>>> {
            Ok(event.blocks()?.into_iter().collect())
        };
        assert_eq!(sorted(&short)?, sorted(&long)?);
    }
    Ok(())
}
