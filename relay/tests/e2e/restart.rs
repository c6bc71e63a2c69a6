//! What a restart keeps, clean or not: every event once, every account known, every seq new.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use relay::{
    config::{Config, Flags},
    daemon::{Daemon, Extras},
    domain::DropReason,
};
use relay_simnet::{Account, Checker, Consumer, Item, Net, Start};

use crate::{
    postgres_cluster::Cluster,
    process::{RelayProcess, Setup},
    recorded::{after, closed_with, head, same, segments, seq, up_to},
    support::Relay,
};

/// Longest pause of a stream; a restart takes a second or two.
const PATIENCE: Duration = Duration::from_mins(1);

/// Statements on the SQLite file of a relay that is down.
async fn sql(data: &Path, statement: &str) -> Result<()> {
    let file = data.join("relay.sqlite");
    let pool = sqlx::SqlitePool::connect(&file.display().to_string()).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await?;
    pool.close().await;
    Ok(())
}

/// Takes the relay's memory of how far it read its hosts, so that they send everything again: the
/// worst that a crash can leave.
const FORGET_CURSORS: &str = "UPDATE relay_host SET cursor_seq = NULL";

/// One event of each kind, and a few more.
async fn every_kind_of_event(accounts: &[Account], round: u32) -> Result<()> {
    for account in accounts {
        account.post(&format!("round {round}")).await?;
        account.sync().await?;
        account.change_handle(&format!("{}-{round}.test", account.name())).await?;
        account.set_status(false, Some("deactivated")).await?;
        account.set_status(true, None).await?;
        account.post("active again").await?;
    }
    Ok(())
}

/// To be called when everything sent is judged: what an old key signed is judged by the old document.
async fn rotate_keys(accounts: &[Account]) -> Result<()> {
    for account in accounts {
        account.rotate_key(true).await?;
        account.post("with a new key").await?;
    }
    Ok(())
}

/// Two hosts with two accounts each.
async fn network(seed: u64) -> Result<(Net, Vec<Account>)> {
    let net = Net::seeded(seed).await?;
    let mut accounts = Vec::new();
    for host in ["alpha", "beta"] {
        let host = net.pds(host).await?;
        for name in ["alice", "bob"] {
            accounts.push(host.account(&format!("{name}-{}", host.name())).await?);
        }
    }
    Ok((net, accounts))
}

async fn observe(relay: &Relay, checker: &mut Checker, from: u64) -> Result<()> {
    for event in after(relay, from).await? {
        checker.observe(&event);
    }
    Ok(())
}

/// I3, I4, DESIGN 10.3, T6: after a restart hosts send everything again, and each `#commit`, `#sync`,
/// `#identity` and `#account` still comes out once; no known account is looked up again; what the
/// relay says of an account is what it said before; seq goes on.
#[tokio::test]
async fn after_a_restart_nothing_is_lost_repeated_or_looked_up_again() -> Result<()> {
    let (net, accounts) = network(51).await?;
    let relay = Relay::join_with(&net, |config, _| config.segment_bytes = 8_000).await?;
    every_kind_of_event(&accounts, 1).await?;
    relay.settled(&net).await?;
    // Rows of this moment, then events that are in the log only.
    relay.running.checkpoint().await?;
    every_kind_of_event(&accounts, 2).await?;
    relay.settled(&net).await?;
    rotate_keys(&accounts).await?;
    relay.settled(&net).await?;
    let (before, newest) = (after(&relay, 0).await?, head(&relay));
    let known = latest_commits(&relay, &accounts).await?;
    let lookups = net.plc().total_lookups();

    let relay = relay.restart_after(async |data| sql(data, FORGET_CURSORS).await).await?;

    let mut ahead = relay.consume(Start::After(newest + 1)).await?;
    closed_with(&mut ahead, "FutureCursor").await.context("right after the restart")?;
    relay.until("hosts are read again", || net.oracle().redelivered() > 50).await?;
    relay.settled(&net).await?;
    ensure!(head(&relay) == newest, "something was repeated: {:?}", after(&relay, newest).await?);
    ensure!(relay.dropped_total(DropReason::Stale) > 50, "the replay was judged");
    ensure!(net.plc().total_lookups() == lookups, "a known account was looked up");
    ensure!(latest_commits(&relay, &accounts).await? == known, "state has changed");
    same("the whole log", &after(&relay, 0).await?, &before)?;

    let mut checker = net.oracle().checker();
    observe(&relay, &mut checker, 0).await?;
    every_kind_of_event(&accounts, 3).await?;
    relay.settled(&net).await?;
    ensure!(seq(&after(&relay, newest).await?[0]) == newest + 1, "seq goes on");
    observe(&relay, &mut checker, newest).await?;
    checker.report().clean()?;
    Ok(())
}

/// `(rev, cid)` of each account as getLatestCommit says it, which must be what its host says.
async fn latest_commits(relay: &Relay, accounts: &[Account]) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for account in accounts {
        let method = format!("com.atproto.sync.getLatestCommit?did={}", account.did());
        let (status, body) = relay.get(&method).await?;
        ensure!(status == 200, "{body}");
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let said = (text("rev"), text("cid"));
        ensure!(said == account.latest_commit().await?, "{}: {said:?}", account.name());
        all.push(said);
    }
    Ok(all)
}

/// I1, I3, I4, DESIGN 10.3, T6: the same when the process is killed three times, each time with all
/// cursors forgotten; a consumer that reconnects with its cursor sees every event once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_loses_nothing_repeats_nothing_and_looks_up_nobody() -> Result<()> {
    killed_three_times(52, &[], async |data| sql(data, FORGET_CURSORS).await).await
}

/// I3, T6: the same with Postgres.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_on_postgres_loses_nothing_either() -> Result<()> {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let url = cluster.database("killed");
    killed_three_times(59, &[("DATABASE_URL", url.as_str())], async |_| {
        cluster.sql("killed", FORGET_CURSORS);
        Ok(())
    })
    .await
}

/// * `forget` – takes the cursors of a relay that is down
async fn killed_three_times(
    seed: u64,
    settings: &[(&str, &str)],
    forget: impl AsyncFn(&Path) -> Result<()>,
) -> Result<()> {
    let (net, accounts) = network(seed).await?;
    let mut relay = RelayProcess::start(&net, Setup { settings, ..Setup::default() }).await?;
    relay.crawl(&net).await?;
    let consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let mut consumer = consumer.reconnecting().patient(PATIENCE);
    let mut checker = net.oracle().checker();
    every_kind_of_event(&accounts, 0).await?;
    consumer.settle(&mut checker).await?.clean()?;
    rotate_keys(&accounts).await?;
    consumer.settle(&mut checker).await?.clean()?;

    for round in 1..=3 {
        let (lookups, redelivered) = (net.plc().total_lookups(), net.oracle().redelivered());
        let newest = u64::try_from(consumer.last_seq())?;
        relay.kill()?;
        forget(&relay.data()).await?;
        accounts[0].post("while it is down").await?;
        relay.restart().await?;
        let mut late = Consumer::connect(&relay.url(), Start::After(newest - 1)).await?;
        late = late.patient(PATIENCE);
        ensure!(seq(&late.next().await?) == newest, "the newest event is there");

        for account in &accounts {
            account.post("after the restart").await?;
        }
        consumer.settle(&mut checker).await?.clean()?;

        ensure!(net.oracle().redelivered() > redelivered + 20, "hosts replayed");
        ensure!(net.plc().total_lookups() == lookups, "a known account was looked up");
        ensure!(u64::try_from(consumer.last_seq())? == newest + 5, "five new posts, nothing else");
        for account in &accounts {
            let method = format!("com.atproto.sync.getLatestCommit?did={}", account.did());
            let (_, said) = relay.get(&method).await?;
            ensure!(said["rev"] == account.latest_commit().await?.0.as_str(), "{said}");
        }
        every_kind_of_event(&accounts, round).await?;
        consumer.settle(&mut checker).await?.clean()?;
    }
    ensure!(consumer.reconnections() >= 3, "{}", consumer.reconnections());
    Ok(())
}

/// CUR-5, CUR-9: a killed relay knows its head before anything new has come.
#[tokio::test]
async fn right_after_a_kill_a_cursor_ahead_is_still_ahead() -> Result<()> {
    let (net, accounts) = network(53).await?;
    let mut relay = RelayProcess::start(&net, Setup::default()).await?;
    relay.crawl(&net).await?;
    let mut consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let mut checker = net.oracle().checker();
    accounts[0].post("the last one").await?;
    consumer.settle(&mut checker).await?.clean()?;
    let newest = u64::try_from(consumer.last_seq())?;
    relay.kill()?;
    // Nobody can send anything meanwhile.
    for host in net.hosts() {
        host.down();
    }

    relay.restart().await?;

    let mut ahead = Consumer::connect(&relay.url(), Start::After(newest + 1)).await?;
    closed_with(&mut ahead, "FutureCursor").await?;
    let mut last = Consumer::connect(&relay.url(), Start::After(newest - 1)).await?;
    ensure!(seq(&last.next().await?) == newest);
    let mut all = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let replayed = up_to(&mut all, 0, newest).await?;
    net.oracle().check(&replayed).clean()?;
    Ok(())
}

/// CUR-9, CUR-11: `RELAY_INITIAL_SEQ_NUMBER` is where a new log begins, raises an old one, and never
/// lowers it; the seqs before the jump are replayed as they were.
#[tokio::test]
async fn the_seq_floor_raises_seqs_and_never_lowers_them() -> Result<()> {
    let (net, accounts) = network(54).await?;
    let floor = Arc::new(AtomicU64::new(5_000));
    let settings = Arc::clone(&floor);
    let relay = Relay::join_with(&net, move |config, _| {
        config.initial_seq = settings.load(Ordering::Relaxed);
    })
    .await?;
    relay.settled(&net).await?;
    let first = after(&relay, 0).await?;
    ensure!(seq(&first[0]) == 5_000, "{:?}", first[0]);
    let newest = head(&relay);

    floor.store(7, Ordering::Relaxed);
    let relay = relay.restart().await?;
    accounts[0].post("after a floor below").await?;
    relay.settled(&net).await?;
    ensure!(seq(&after(&relay, newest).await?[0]) == newest + 1);

    floor.store(1_000_000, Ordering::Relaxed);
    let relay = relay.restart().await?;
    ensure!(head(&relay) == 999_999, "a cursor below the floor is not one of the future");
    accounts[0].post("after a floor above").await?;
    relay.settled(&net).await?;

    let mut consumer = relay.consume(Start::After(0)).await?;
    let all = up_to(&mut consumer, 0, head(&relay)).await?;
    ensure!(consumer.infos().is_empty(), "nothing was lost: {:?}", consumer.infos());
    let last_two: Vec<u64> = all.iter().rev().take(2).map(seq).collect();
    ensure!(last_two == [1_000_000, newest + 1], "{last_two:?}");
    same("before the jump", &all[..first.len()], &first)?;
    net.oracle().check(&all).clean()?;
    Ok(())
}

/// I4, CUR-6, CUR-9, DESIGN 10.18: a log that is gone, though the database remembers it, never gives a
/// seq again; old cursors are told; accounts are known. An empty directory, as of a disk that is not
/// mounted or was formatted, is no log.
#[tokio::test]
async fn a_lost_log_jumps_far_above_every_seq_that_was_given() -> Result<()> {
    let (net, accounts) = network(55).await?;
    let relay = Relay::join(&net).await?;
    accounts[0].post("seen by someone").await?;
    relay.settled(&net).await?;
    let newest = head(&relay);
    let lookups = net.plc().total_lookups();

    let relay = relay
        .restart_after(async |data| {
            std::fs::remove_dir_all(data.join("persist"))?;
            std::fs::create_dir_all(data.join("persist/lost+found"))?;
            Ok(())
        })
        .await?;
    accounts[0].post("new").await?;
    relay.settled(&net).await?;

    for cursor in [0, 1, newest, newest + 1] {
        let mut old = relay.consume(Start::After(cursor)).await?;
        let told = old.next_item().await?;
        let is_told = matches!(&told, Item::Info { name, .. } if name == "OutdatedCursor");
        ensure!(is_told, "cursor {cursor}: {told:?}");
        ensure!(seq(&old.next().await?) == newest + 1_000_000_000);
    }
    ensure!(net.plc().total_lookups() == lookups, "accounts are known");
    Ok(())
}

/// DESIGN 10.18: a log with another database is refused, in a sentence that names both, and neither
/// is changed: with its own database it starts again.
#[tokio::test]
async fn a_log_with_another_database_is_refused() -> Result<()> {
    let (net, accounts) = network(56).await?;
    let relay = Relay::join(&net).await?;
    accounts[0].post("before").await?;
    relay.settled(&net).await?;
    let all = after(&relay, 0).await?;
    let data = relay.data_dir();
    let dir = relay.stop().await?;
    std::fs::rename(data.join("relay.sqlite"), data.join("away"))?;

    let refused = Daemon::start(config(dir.path(), &net, &[])?, Extras::default()).await;

    let Err(refused) = refused else { anyhow::bail!("it started") };
    let sentence = refused.to_string();
    ensure!(sentence.contains("belongs to instance"), "{sentence}");
    std::fs::rename(data.join("away"), data.join("relay.sqlite"))?;
    let running = Daemon::start(config(dir.path(), &net, &[])?, Extras::default()).await?;
    let url = format!("http://{}", running.api);
    let mut consumer = Consumer::connect(&url, Start::After(0)).await?;
    same("its own", &up_to(&mut consumer, 0, seq(&all[all.len() - 1])).await?, &all)?;
    Ok(running.stop().await?)
}

/// Two relays on one log, although each has its own data directory: the second does not start.
#[tokio::test]
async fn a_second_relay_on_the_same_log_does_not_start() -> Result<()> {
    let (net, _) = network(57).await?;
    let relay = Relay::join(&net).await?;
    let log = relay.data_dir().join("persist").display().to_string();
    let dir = tempfile::tempdir()?;
    let same_log = [("RELAY_PERSIST_DIR", log.as_str())];

    let second = Daemon::start(config(dir.path(), &net, &same_log)?, Extras::default()).await;

    let Err(second) = second else { anyhow::bail!("it started") };
    let sentence = second.to_string();
    ensure!(
        sentence.contains("another relay runs on the directory of the event log"),
        "{sentence}"
    );
    ensure!(sentence.contains("RELAY_PERSIST_DIR"), "{sentence}");
    let own_log = Daemon::start(config(dir.path(), &net, &[])?, Extras::default()).await?;
    Ok(own_log.stop().await?)
}

/// DESIGN 10.10, OUT-6, CUR-6: a damaged sealed segment is found by the first who reads it. Health is
/// degraded and says so, older cursors get `OutdatedCursor`, new events are taken and served.
#[tokio::test]
async fn a_damaged_segment_is_left_behind_and_told() -> Result<()> {
    let (net, accounts) = network(58).await?;
    let relay = Relay::join_with(&net, |config, _| config.segment_bytes = 8_000).await?;
    for round in 0..10 {
        every_kind_of_event(&accounts[..1], round).await?;
        // A segment ends between two batches.
        relay.settled(&net).await?;
    }
    let all = after(&relay, 0).await?;
    let log = relay.data_dir().join("persist");
    let relay = relay
        .restart_after(async |data| {
            let segments = segments(&data.join("persist"))?;
            ensure!(segments.len() > 4, "{segments:?}");
            let mut bytes = std::fs::read(&segments[2].1)?;
            bytes[300] ^= 0x40;
            std::fs::write(&segments[2].1, bytes)?;
            Ok(())
        })
        .await?;
    let oldest = segments(&log)?[3].0;
    ensure!(relay.get("_health").await?.0 == 200, "nobody has looked yet");

    // It was sent events already, so that it cannot be sent others as if nothing were missing.
    let mut first = relay.consume(Start::After(0)).await?;
    let mut got = Vec::new();
    while let Item::Event(event) = first.next_item().await? {
        got.push(event);
    }
    same("up to the damage", &got, &all[..got.len()])?;
    ensure!(got.last().is_some_and(|last| seq(last) < oldest), "{:?}", got.last());

    let (status, body) = relay.get("_health").await?;
    ensure!(status == 503 && body["status"] == "degraded", "{body}");
    ensure!(body["reasons"][0].as_str().is_some_and(|text| text.contains("damaged")), "{body}");
    accounts[0].post("after the damage").await?;
    relay.settled(&net).await?;
    let mut second = relay.consume(Start::After(got.last().map_or(0, seq))).await?;
    let rest = up_to(&mut second, 0, head(&relay)).await?;
    ensure!(second.infos().len() == 1 && second.infos()[0].0 == "OutdatedCursor");
    ensure!(seq(&rest[0]) == oldest, "{:?}", rest[0]);
    let known: Vec<_> = all.iter().filter(|event| seq(event) >= oldest).cloned().collect();
    same("behind the damage", &rest[..known.len()], &known)?;
    ensure!(rest.len() == known.len() + 1, "and the new one");
    Ok(())
}

/// Settings of a relay on the same data as those that [`Relay`] starts.
fn config(dir: &Path, net: &Net, more: &[(&str, &str)]) -> Result<Config> {
    let data = dir.join("data").display().to_string();
    let plc = net.plc().url();
    let env: Vec<_> = [
        ("RELAY_DATA_DIR", data.as_str()),
        ("RELAY_PLC_HOST", plc.as_str()),
        ("RELAY_API_BIND", "127.0.0.1:0"),
        ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
        ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
        ("RELAY_ADMIN_PASSWORD", "end-to-end-password"),
        ("RELAY_ALLOW_INSECURE_HOSTS", "true"),
    ]
    .iter()
    .chain(more)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    Ok(Config::load(&Flags::default(), &env, dir)?)
}
