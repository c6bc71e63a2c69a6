//! An index that does not belong to its log, is ahead of it, behind all of it, or damaged: nobody's list
//! is wrong for long, and the relay goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay::clock::Clock;
use relay_simnet::{Account, Net, Pds, Start, clock::START_MICROS};

use super::{
    at_rest::{caught_up, is_certain, passes_until, status},
    list, listed, record,
};
use crate::support::Relay;

const ONE: &str = "com.example.one";
const TWO: &str = "com.example.two";
const HOUR_S: u64 = 3_600;
/// The clocks of the simulated hosts are so far behind that of the relay.
const BEHIND_US: u64 = 10 * 24 * 3_600 * 1_000_000;

/// A network of one host whose clock is ten days behind, with a relay whose clock the test moves.
async fn scene(seed: u64) -> Result<(Net, Pds, Clock, Relay)> {
    let net = Net::seeded(seed).await?;
    let alpha = net.pds("alpha").await?;
    let clock = Clock::manual(START_MICROS + BEHIND_US);
    let relay = join(&net, &clock).await?;
    Ok((net, alpha, clock, relay))
}

async fn join(net: &Net, clock: &Clock) -> Result<Relay> {
    let clock = clock.clone();
    Relay::join_with(net, move |config, extras| {
        config.segment_bytes = 64 << 10;
        config.replay_window = Duration::from_hours(3);
        extras.clock = clock.clone();
        extras.alerts.look_every = Duration::from_millis(50);
    })
    .await
}

/// Everything in a directory but one entry of it.
fn copy(from: &Path, to: &Path, but: Option<&str>) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if but.is_some_and(|but| name == *but) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(&name), None)?;
        } else {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// Takes the place of what is there.
fn put(from: &Path, to: &Path) -> Result<()> {
    fs::remove_dir_all(to)?;
    copy(from, to, None)
}

/// The lists are those of the accounts' own words, and stay so.
async fn proved(relay: &Relay, one: &[&Account], two: &[&Account]) -> Result<()> {
    listed(relay, ONE, one).await?;
    listed(relay, TWO, two).await
}

/// Issue 9: an index that was made from another log and database, in which numbers of accounts mean
/// others, is thrown away and filled anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_another_history_is_thrown_away_and_filled_anew() -> Result<()> {
    let (net, alpha, clock, other) = scene(621).await?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    alice.create(ONE, "a", record()).await?;
    bob.create(TWO, "a", record()).await?;
    proved(&other, &[&alice], &[&bob]).await?;
    // Here they have each other's numbers.
    let relay = join(&net, &clock).await?;
    alpha.forget_events();
    bob.create(ONE, "b", record()).await?;
    alice.create(TWO, "b", record()).await?;
    relay.settled(&net).await?;
    caught_up(&relay).await?;
    let foreign = other.stop().await?;

    let index = foreign.path().join("data/collections");
    let relay = relay.restart_after(async |data| put(&index, &data.join("collections"))).await?;

    let totals = caught_up(&relay).await?["totals"].clone();
    ensure!(totals["complete"] == 0 && totals["pairs"] == 0, "nothing of it is left: {totals}");
    passes_until((&relay, &clock), HOUR_S, is_certain).await?;
    proved(&relay, &[&alice, &bob], &[&alice, &bob]).await
}

/// Issue 9: an index that is ahead of its log and database, as after a restore of these two alone, is
/// thrown away and filled anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_ahead_of_its_log_is_thrown_away_and_filled_anew() -> Result<()> {
    let (net, alpha, clock, relay) = scene(622).await?;
    let backup = tempfile::tempdir()?;
    let alice = alpha.account("alice").await?;
    alice.create(ONE, "a", record()).await?;
    proved(&relay, &[&alice], &[]).await?;
    let to = backup.path().join("data");
    let relay = relay.restart_after(async |data| copy(data, &to, Some("collections"))).await?;
    alpha.connected().await?;
    alice.delete(&format!("{ONE}/a")).await?;
    alice.create(TWO, "a", record()).await?;
    let bob = alpha.account("bob").await?;
    bob.create(ONE, "a", record()).await?;
    proved(&relay, &[&bob], &[&alice]).await?;
    // What the host said since the backup it says no more.
    relay.settled(&net).await?;
    alpha.forget_events();

    let relay = relay
        .restart_after(async |data| {
            for entry in fs::read_dir(data)? {
                let path = entry?.path();
                match () {
                    () if path.ends_with("collections") => {}
                    () if path.is_dir() => fs::remove_dir_all(path)?,
                    () => fs::remove_file(path)?,
                }
            }
            copy(&to, data, None)
        })
        .await?;

    let totals = caught_up(&relay).await?["totals"].clone();
    ensure!(totals["complete"] == 0 && totals["pairs"] == 0, "nothing of it is left: {totals}");
    let carol = alpha.account("carol").await?;
    carol.create(ONE, "a", record()).await?;
    // The list of the host tells of Bob.
    let all = |status: &serde_json::Value| is_certain(status) && status["totals"]["complete"] == 3;
    passes_until((&relay, &clock), 3 * HOUR_S, all).await?;
    proved(&relay, &[&bob, &carol], &[&alice]).await
}

/// Issue 9: where the log no longer reaches back to the index, exactly those are asked about who may have
/// written meanwhile, also when the clock of their host is days behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_wrote_while_the_log_was_lost_is_asked_about() -> Result<()> {
    let (net, alpha, clock, relay) = scene(623).await?;
    let backup = tempfile::tempdir()?;
    let (alice, bob) = (alpha.account("alice").await?, alpha.account("bob").await?);
    alice.create(ONE, "a", record()).await?;
    bob.create(ONE, "a", record()).await?;
    proved(&relay, &[&alice, &bob], &[]).await?;
    // The next checkpoint is not that of their rows, and the index knows of it.
    relay.running.checkpoint().await?;
    let carol = alpha.account("carol").await?;
    relay.settled(&net).await?;
    relay.running.checkpoint().await?;
    clock.advance_us(61_000_000);
    carol.create(ONE, "a", record()).await?;
    carol.create(ONE, "b", record()).await?;
    relay.settled(&net).await?;
    caught_up(&relay).await?;
    let old = backup.path().join("collections");
    let relay =
        relay.restart_after(async |data| copy(&data.join("collections"), &old, None)).await?;
    alpha.connected().await?;
    alice.delete(&format!("{ONE}/a")).await?;
    alice.create(TWO, "a", record()).await?;
    relay.settled(&net).await?;
    forgets(&relay, &net, &clock, &carol).await?;

    let relay = relay.restart_after(async |data| put(&old, &data.join("collections"))).await?;

    let totals = caught_up(&relay).await?["totals"].clone();
    let lost = totals["unsureReasons"]["log_lost"].as_u64();
    ensure!(
        lost == Some(1) && totals["complete"] == 2,
        "Alice; Bob wrote nothing, and what is left of the log shows all of Carol: {totals}"
    );
    passes_until((&relay, &clock), HOUR_S, is_certain).await?;
    proved(&relay, &[&bob, &carol], &[&alice]).await
}

/// Lets the log forget all that is in it now.
async fn forgets(relay: &Relay, net: &Net, clock: &Clock, carol: &Account) -> Result<()> {
    let head = relay.running.log.window().head;
    for number in 0..2_000 {
        if relay.running.log.window().oldest > head {
            return Ok(());
        }
        // Files are sealed when time has passed, and removed when a checkpoint has passed them.
        clock.advance_us(HOUR_S * 1_000_000);
        carol.create("com.example.much", &format!("{number:05}"), record()).await?;
        relay.settled(net).await?;
        relay.running.checkpoint().await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("the log keeps all: {:?}", relay.running.log.window())
}

/// The files of the index with rows in them.
fn segments(index: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(index)? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        if name.starts_with("segment-") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Spoils the rows by account of a file of the index, and leaves those by collection as they are: where
/// they begin stands in its last part (see `collections/index/segment.rs`).
fn spoil(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let footer = bytes.len() - 56;
    let number = |at: usize| -> Result<usize> {
        let bytes = bytes.get(at..at + 8).context("a whole file")?;
        Ok(usize::try_from(u64::from_le_bytes(bytes.try_into()?))?)
    };
    let (by_collection, list) = (number(footer)?, number(footer + 16)?);
    let by_account = number(list + by_collection * 16 + 8)?;
    bytes.get_mut(by_account + 4..list).context("rows by account")?.fill(0xff);
    fs::write(path, bytes)?;
    Ok(())
}

/// Issue 9: an index that cannot be kept up any more says so, and what to do, wherever an operator looks;
/// lists go on to be answered and events to be taken. What it says helps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_stopped_says_so_and_holds_up_nothing() -> Result<()> {
    let (net, alpha, clock, relay) = scene(624).await?;
    let alice = alpha.account("alice").await?;
    alice.create(ONE, "a", record()).await?;
    proved(&relay, &[&alice], &[]).await?;
    ensure!(status(&relay).await?["stopped"].is_null());
    // What was in the journal is in a file after a start.
    let relay = relay.restart_after(async |_data| Ok(())).await?;
    alpha.connected().await?;
    let files = segments(&relay.data_dir().join("collections"))?;
    ensure!(!files.is_empty());
    for path in files {
        spoil(&path)?;
    }

    let mut consumer = relay.consume(Start::Live).await?;
    let sent = alice.create(TWO, "a", record()).await?;

    consumer.until(|event| event.rev.as_deref() == Some(sent.rev.as_str())).await?;
    let mut why = String::new();
    for _ in 0..3_000 {
        let answer = status(&relay).await?;
        if let Some(found) = answer["stopped"].as_str() {
            found.clone_into(&mut why);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(why.contains("damaged") && why.contains("segment-"), "{why:?}");
    ensure!(list(&relay, ONE, 500).await? == [alice.did()], "the list is answered");
    let bob = alpha.account("bob").await?;
    let later = bob.create(ONE, "a", record()).await?;
    consumer.until(|event| event.rev.as_deref() == Some(later.rev.as_str())).await?;
    relay.settled(&net).await?;
    let told = alerts_until(&relay, &why).await?;
    ensure!(told.contains("remove the directory of the index"), "{told}");
    let totals = relay.admin("collections").await?.1;
    ensure!(totals["stopped"] == why.as_str(), "{totals}");

    let relay =
        relay.restart_after(async |data| Ok(fs::remove_dir_all(data.join("collections"))?)).await?;

    ensure!(status(&relay).await?["stopped"].is_null(), "it begins anew");
    passes_until((&relay, &clock), HOUR_S, is_certain).await?;
    proved(&relay, &[&alice, &bob], &[&alice]).await
}

/// The words of the alert that says why, as soon as it was looked.
async fn alerts_until(relay: &Relay, why: &str) -> Result<String> {
    for _ in 0..3_000 {
        let (status, answer) = relay.admin("alerts").await?;
        ensure!(status == 200, "{answer}");
        let alerts = answer["alerts"].as_array().context("alerts")?;
        if let Some(alert) = alerts.iter().find(|alert| alert["kind"] == "collections_stopped") {
            let words = alert["words"].as_str().context("words")?;
            ensure!(words.contains(why), "{words}");
            return Ok(words.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("nobody is told")
}
