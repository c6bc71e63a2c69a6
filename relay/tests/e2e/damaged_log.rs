//! Files of the event log that change behind its back: which bytes, sealed or not, running or not
//! (DESIGN 10.10). `restart.rs` has the damage to a sealed file between two runs.

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use relay::eventlog::LogHealth;
use relay_simnet::{Account, Consumer, Item, Net, Received, Start};

use crate::{
    process::{RelayProcess, Setup},
    recorded::{after, head, same, segments, seq, up_to},
    support::Relay,
};

/// The parts of a segment, `docs/event-log.md`.
const HEADER: usize = 128;
const TRAILER: usize = 64;
const MARK: usize = 24;

/// Plain files of some posts each, at least five of them.
async fn relay(seed: u64) -> Result<(Net, Relay, Account, Vec<Received>)> {
    let net = Net::seeded(seed).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_with(&net, |config, _| {
        config.segment_bytes = 8_000;
        config.log_compression = 0;
    })
    .await?;
    for round in 0..16 {
        for number in 0..3 {
            alice.post(&format!("post {number} of round {round}")).await?;
        }
        // A segment ends between two batches.
        relay.settled(&net).await?;
    }
    let all = after(&relay, 0).await?;
    let files = segments(&relay.data_dir().join("persist"))?;
    ensure!(files.len() > 4, "{files:?}");
    Ok((net, relay, alice, all))
}

/// Flips a bit of the third file.
///
/// * `place` – offset, of the length
fn flip(log: &Path, place: impl FnOnce(usize) -> usize) -> Result<()> {
    let files = segments(log)?;
    let path = &files.get(2).context("a third file")?.1;
    let mut bytes = fs::read(path)?;
    let at = place(bytes.len());
    bytes[at] ^= 0x10;
    Ok(fs::write(path, bytes)?)
}

/// Health says so, older cursors are told, what lies behind is served, and new events are taken.
async fn left_behind(
    (net, relay, alice): (&Net, &Relay, &Account),
    all: &[Received],
    oldest: u64,
) -> Result<()> {
    let (status, body) = relay.get("_health").await?;
    ensure!(status == 503 && body.to_string().contains("damaged"), "{body}");
    let newest = head(relay);
    alice.post("after the damage").await?;
    relay.settled(net).await?;
    let mut late = relay.consume(Start::After(1)).await?;
    let rest = up_to(&mut late, 0, head(relay)).await?;
    ensure!(late.infos().iter().any(|(name, _)| name == "OutdatedCursor"), "{:?}", late.infos());
    ensure!(seq(&rest[0]) == oldest, "{} instead of {oldest}", seq(&rest[0]));
    let known: Vec<_> = all.iter().filter(|event| seq(event) >= oldest).cloned().collect();
    same("behind the damage", &rest[..known.len()], &known)?;
    ensure!(head(relay) == newest + 1 && rest.len() == known.len() + 1, "and the new one");
    Ok(())
}

/// DESIGN 10.10, OUT-6: a bit flips in an old file while the relay runs: the next reader finds it, gets
/// no event behind the hole as if nothing were missing, and the window begins behind the file.
#[tokio::test]
async fn a_bit_that_flips_while_it_runs_is_found_by_the_next_reader() -> Result<()> {
    let (net, relay, alice, all) = relay(91).await?;
    // What it wrote or read in this life may come from its memory.
    let relay = relay.restart().await?;
    let log = relay.data_dir().join("persist");
    let oldest = segments(&log)?[3].0;

    flip(&log, |_| HEADER + 300)?;

    let mut first = relay.consume(Start::After(0)).await?;
    let mut got = Vec::new();
    while let Item::Event(event) = first.next_item().await? {
        got.push(event);
    }
    same("up to the damage", &got, &all[..got.len()])?;
    ensure!(got.last().is_some_and(|last| seq(last) < oldest), "{:?}", got.last());
    left_behind((&net, &relay, &alice), &all, oldest).await
}

/// DESIGN 10.10: without its header a sealed file cannot be read at all; the start sees it at once.
#[tokio::test]
async fn a_sealed_file_with_a_damaged_header_is_left_behind_at_the_start() -> Result<()> {
    let (net, relay, alice, all) = relay(92).await?;
    let oldest = segments(&relay.data_dir().join("persist"))?[3].0;
    let relay =
        relay.restart_after(async |data| flip(&data.join("persist"), |_| HEADER / 2)).await?;
    left_behind((&net, &relay, &alice), &all, oldest).await
}

/// DESIGN 10.1, 10.10: a footer is a help, not the truth: a bit in its marks or in its trailer costs
/// time and no event.
#[tokio::test]
async fn a_sealed_file_with_a_damaged_footer_loses_nothing() -> Result<()> {
    let (net, relay, alice, all) = relay(93).await?;
    let mut relay = relay;
    for place in [TRAILER / 2, TRAILER - 3, TRAILER + MARK / 2] {
        relay = relay
            .restart_after(async |data| flip(&data.join("persist"), |length| length - place))
            .await?;
        let mut late = relay.consume(Start::After(0)).await?;
        same("the whole log", &late.take(all.len()).await?, &all)?;
        let health = relay.running.log.health().borrow().clone();
        ensure!(health == LogHealth::Writing, "{place} from the end: {health:?}");
    }
    alice.post("afterwards").await?;
    relay.settled(&net).await?;
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}

/// DESIGN 10.10, OUT-4: the built relay, killed: in its unsealed file a bit among events that were synced
/// is a disk that lost data, which a person has to see: it does not start and changes nothing. A torn
/// record at the end is what a crash leaves: it is cut, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_unsealed_file_lost_data_is_refused_and_a_torn_end_is_cut() -> Result<()> {
    let net = Net::seeded(94).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let mut relay = RelayProcess::start(&net, Setup::default()).await?;
    relay.crawl(&net).await?;
    let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let mut consumer = consumer.reconnecting().patient(std::time::Duration::from_mins(1));
    let mut checker = net.oracle().checker();
    for number in 0..30 {
        alice.post(&format!("post {number}")).await?;
        consumer.settle(&mut checker).await?.clean()?;
    }
    relay.kill()?;
    let files = segments(&relay.data().join("persist"))?;
    let path = &files.last().context("a file")?.1;
    let sound = fs::read(path)?;
    let mut damaged = sound.clone();
    damaged[HEADER + 200] ^= 0x10;
    fs::write(path, &damaged)?;

    relay.begin(&[])?;
    let status = relay.up_or_ended().await?.context("it starts on a disk that lost data")?;
    ensure!(status.code() == Some(1), "{status}");
    let log = relay.log();
    ensure!(log.contains("is damaged at byte") && log.contains("backup"), "{log}");
    ensure!(fs::read(path)? == damaged, "it changed what a person has to look at");

    fs::write(path, &sound)?;
    let torn = sound.get(HEADER..HEADER + 250).context("a record")?;
    fs::File::options().append(true).open(path)?.write_all(torn)?;
    relay.restart().await?;
    alice.post("afterwards").await?;
    consumer.settle(&mut checker).await?.clean()?;
    let mut late = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let replayed = up_to(&mut late, 0, u64::try_from(consumer.last_seq())?).await?;
    net.oracle().check(&replayed).clean()?;
    Ok(())
}
