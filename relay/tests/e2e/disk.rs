//! A full disk: hosts wait, consumers are served, health says so, and it goes on by itself.
//!
//! The first tests put a file layer under the log that refuses to write, in this process. The last one
//! fills a real file system, a tmpfs in a mount namespace of the relay's own; where the machine does
//! not permit that, it says so and is skipped.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use relay::eventlog::{File, Files, LogHealth, Machine};
use relay_simnet::{Account, Consumer, Net, Pds, Start};
use sqlx::SqlitePool;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    process::{RelayProcess, Setup},
    recorded::{after, follow, head, same, up_to},
    support::Relay,
};

/// The machine's files with a disk that can be full: then nothing can be written, and there is no free
/// space; or nearly full: then only the free space is gone.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_full: AtomicBool,
    is_nearly_full: AtomicBool,
    refused: AtomicU64,
}

impl Disk {
    fn set_full(&self, is_full: bool) {
        self.0.is_full.store(is_full, Ordering::SeqCst);
    }

    fn set_nearly_full(&self, is_nearly_full: bool) {
        self.0.is_nearly_full.store(is_nearly_full, Ordering::SeqCst);
    }

    /// Writes that the disk refused.
    fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        if !self.0.is_full.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.0.refused.fetch_add(1, Ordering::SeqCst);
        Err(io::ErrorKind::StorageFull.into())
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(OnDisk { disk: self.clone(), file })
    }
}

impl Files for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Machine.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        Machine.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check()?;
        Ok(self.wrap(Machine.create(path)?))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(Machine.open(path, writable)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Machine.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Machine.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Machine.sync_dir(dir)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        // Far above what the log wants, so that the test does not depend on the machine's disk.
        let is_full = self.0.is_full.load(Ordering::SeqCst);
        let is_nearly_full = self.0.is_nearly_full.load(Ordering::SeqCst);
        Ok(if is_full {
            0
        } else if is_nearly_full {
            10 << 20
        } else {
            1 << 40
        })
    }
}

#[derive(Debug)]
struct OnDisk {
    disk: Disk,
    file: Arc<dyn File>,
}

impl File for OnDisk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if let Err(full) = self.disk.check() {
            // Part of it gets there, as on a real disk.
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(full);
        }
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

async fn relay(seed: u64) -> Result<(Net, Relay, Account, Disk)> {
    let net = Net::seeded(seed).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let disk = Disk::default();
    let files = disk.clone();
    let relay = Relay::join_with(&net, move |_, extras| {
        extras.log_files = Some(Arc::new(files.clone()));
    })
    .await?;
    Ok((net, relay, alice, disk))
}

fn is_full(relay: &Relay) -> bool {
    *relay.running.log.health().borrow() == LogHealth::DiskFull
}

/// Frames that the relay has read of this host, and how far its cursor may move.
fn read_and_mark(relay: &Relay, host: &Pds) -> (u64, u64) {
    let known = relay.running.hosts.by_name(&host.hostname()).unwrap();
    (known.traffic().0, known.mark().map_or(0, |(_, mark)| mark.0))
}

/// OUT-5, I2: with a full disk hosts are not read and their cursors stay, consumers are served what
/// there is, health says why; with room it goes on by itself and nothing is lost or repeated.
#[tokio::test]
async fn with_a_full_disk_hosts_wait_and_consumers_are_served() -> Result<()> {
    let (net, relay, alice, disk) = relay(61).await?;
    let alpha = alice.pds().await?;
    for number in 0..20 {
        alice.post(&format!("before {number}")).await?;
    }
    relay.settled(&net).await?;
    let (newest, before) = (head(&relay), after(&relay, 0).await?);
    ensure!(relay.get("_health").await?.0 == 200, "control: it is well");
    let (read, mark) = read_and_mark(&relay, &alpha);

    disk.set_full(true);
    alice.post("this one meets the full disk").await?;
    relay.until("the disk is full", || is_full(&relay)).await?;
    for number in 0..300 {
        alice.post(&format!("while it is full {number}")).await?;
    }

    let (status, body) = relay.get("_health").await?;
    ensure!(status == 503 && body["status"] == "degraded", "{body}");
    ensure!(
        body["reasons"][0].as_str().is_some_and(|text| text.contains("disk is full")),
        "{body}"
    );
    // Two looks at the disk later it is the same.
    let refused = disk.refused();
    relay.until("the disk is tried again", || disk.refused() > refused + 2).await?;
    let mut late = relay.consume(Start::After(0)).await?;
    same("served", &late.take(before.len()).await?, &before)?;
    let (read_now, mark_now) = read_and_mark(&relay, &alpha);
    ensure!(mark_now == mark, "the cursor moved from {mark} to {mark_now}");
    ensure!(read_now - read < 50, "{} of 301 events were read", read_now - read);
    ensure!(head(&relay) == newest, "the head moved");

    disk.set_full(false);
    relay.settled(&net).await?;
    let all = up_to(&mut late, newest, head(&relay)).await?;
    ensure!(all.len() == 301, "{} events", all.len());
    relay
        .until("it is well", || *relay.running.log.health().borrow() == LogHealth::Writing)
        .await?;
    ensure!(relay.get("_health").await?.0 == 200);
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}

/// OUT-5: a disk that is nearly full stops hosts before anything fails: not one write is refused.
#[tokio::test]
async fn a_nearly_full_disk_stops_hosts_before_a_write_fails() -> Result<()> {
    let (net, relay, alice, disk) = relay(62).await?;
    relay.settled(&net).await?;
    let (newest, alpha) = (head(&relay), alice.pds().await?);
    let (_, mark) = read_and_mark(&relay, &alpha);
    disk.set_nearly_full(true);
    relay.until("health knows", || is_full(&relay)).await?;

    for number in 0..100 {
        alice.post(&format!("waits {number}")).await?;
    }
    ensure!(relay.get("_health").await?.0 == 503);
    disk.set_nearly_full(false);
    relay.settled(&net).await?;

    ensure!(head(&relay) == newest + 100 && read_and_mark(&relay, &alpha).1 == mark + 100);
    ensure!(disk.refused() == 0, "{} writes failed", disk.refused());
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}

/// OUT-5, OUT-7, I2: a relay stops in time with a full disk, tells its consumers, and has everything
/// after the next start: nothing of it was acknowledged.
#[tokio::test]
async fn a_relay_stops_with_a_full_disk_and_loses_nothing() -> Result<()> {
    let (net, relay, alice, disk) = relay(63).await?;
    alice.post("before").await?;
    relay.settled(&net).await?;
    let newest = head(&relay);
    let mut consumer = relay.consume(Start::After(newest)).await?;
    disk.set_full(true);
    for number in 0..50 {
        alice.post(&format!("while it is full {number}")).await?;
    }
    relay.until("the disk is full", || is_full(&relay)).await?;

    let stopping = relay.restart_after(async |_| {
        disk.set_full(false);
        Ok(())
    });
    // The process would be cut off after 9 s; the new start is in this time too.
    let relay = tokio::time::timeout(Duration::from_secs(25), stopping).await??;

    let end = consumer.next_item().await?;
    let is_going = matches!(end, relay_simnet::Item::Closed { code: Some(1001), .. });
    ensure!(is_going, "{end:?}");
    relay.settled(&net).await?;
    ensure!(head(&relay) == newest + 50, "{} after {newest}", head(&relay));
    net.oracle().check(&after(&relay, 0).await?).clean()?;
    Ok(())
}

/// Most bytes of the log in the test below.
const LOG_BYTES_MAX: u64 = 200_000;

fn is_held(relay: &Relay) -> bool {
    *relay.running.log.health().borrow() == LogHealth::AwaitingCheckpoint
}

/// Posts a few at a time, each batch in the log before the next, until hosts wait.
async fn post_until_held(relay: &Relay, account: &Account) -> Result<()> {
    let mut expected = head(relay);
    while !is_held(relay) {
        ensure!(expected < 1_000, "hosts never wait");
        for number in 0..5 {
            account.post(&format!("post {number}")).await?;
        }
        expected += 5;
        relay
            .until("it is in the log, or hosts wait", || head(relay) >= expected || is_held(relay))
            .await?;
    }
    Ok(())
}

/// DESIGN 10.5, I3: retention never passes the last checkpoint. A database that takes none stops hosts
/// before the log outgrows its limit by much; when it takes one, all goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_checkpoint_stops_hosts_until_it_does() -> Result<()> {
    let net = Net::seeded(65).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let relay = Relay::join_with(&net, |config, _| {
        config.segment_bytes = 10_000;
        config.replay_max_bytes = Some(LOG_BYTES_MAX);
    })
    .await?;
    relay.settled(&net).await?;
    let (say_end, end) = watch::channel(0);
    let mut reading = JoinSet::new();
    reading.spawn(follow(relay.consume(Start::After(0)).await?, 0, end));
    let database = relay.data_dir().join("relay.sqlite").display().to_string();
    let mut other = SqlitePool::connect(&database).await?.acquire().await?;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *other).await?;

    post_until_held(&relay, &alice).await?;
    for number in 0..100 {
        alice.post(&format!("waits {number}")).await?;
    }

    let (status, body) = relay.get("_health").await?;
    let reason = body["reasons"][0].as_str().unwrap_or_default();
    ensure!(status == 503 && reason.contains("waits for the database"), "{body}");
    ensure!(relay.running.log.window().oldest.0 == 1, "nothing without a checkpoint is gone");
    let (_, mark) = read_and_mark(&relay, &alice.pds().await?);
    ensure!(mark + 90 < alice.pds().await?.head(), "hosts wait: {mark}");
    ensure!(relay.running.log.disk_bytes() < 2 * LOG_BYTES_MAX);

    sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
    relay.settled(&net).await?;
    relay.until("the log has shrunk", || relay.running.log.disk_bytes() <= LOG_BYTES_MAX).await?;
    relay
        .until("it is well", || *relay.running.log.health().borrow() == LogHealth::Writing)
        .await?;
    ensure!(relay.running.log.window().oldest.0 > 1);
    say_end.send(head(&relay))?;
    let all = reading.join_next().await.context("the consumer")???;
    net.oracle().check(&all).clean()?;
    Ok(())
}

/// Size of the real file system, far above the least that the log leaves free.
const MOUNT_MIB: u64 = 320;

/// The words that start a program with a small file system mounted at `dir`; `None` where this machine
/// does not permit it.
fn with_small_disk(dir: &Path) -> Option<Vec<String>> {
    let script = format!(
        "mount -t tmpfs -o size={MOUNT_MIB}m tmpfs '{}' && exec \"$0\" \"$@\"",
        dir.display()
    );
    let ways: [&[&str]; 2] = [&["unshare", "--mount"], &["unshare", "--map-root-user", "--mount"]];
    ways.into_iter().find_map(|way| {
        let mut words: Vec<String> = way.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["sh".to_owned(), "-c".to_owned(), script.clone()]);
        let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success()).then_some(words)
    })
}

/// OUT-5: the built relay on a file system that is really full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_built_relay_survives_a_file_system_without_room() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let small = dir.path().join("small");
    std::fs::create_dir(&small)?;
    let Some(wrapper) = with_small_disk(&small) else {
        println!(
            "skipped: this machine permits no mount namespace (`unshare --mount`), so that no small \
             file system can be filled; the other tests of this file refuse the same writes"
        );
        return Ok(());
    };
    let under: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let net = Net::seeded(64).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let log = small.join("log").display().to_string();
    let settings = [("RELAY_PERSIST_DIR", log.as_str())];
    let setup = Setup { dir: Some(dir), settings: &settings, under: &under, ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    // OUT-2: without a setting, 60 % of what is free.
    let share = (MOUNT_MIB << 20) / 10 * 6 / 1_000_000;
    relay.says(&format!("replay window: at most {share} MB on disk")).await?;
    relay.crawl(&net).await?;
    let mut consumer = Consumer::connect(&relay.url(), Start::After(0)).await?;
    let mut checker = net.oracle().checker();
    alice.post("before").await?;
    consumer.settle(&mut checker).await?.clean()?;
    relay.health(200).await?;

    // Its mounts are not ours, but the kernel shows them.
    let filler =
        PathBuf::from(format!("/proc/{}/root{}", relay.pid(), small.join("filler").display()));
    let room = fill(&filler)?;
    ensure!(room < MOUNT_MIB << 20, "control: the file system was small");
    for number in 0..50 {
        alice.post(&format!("while it is full {number}")).await?;
    }
    let body = relay.health(503).await?;
    ensure!(
        body["reasons"][0].as_str().is_some_and(|text| text.contains("disk is full")),
        "{body}"
    );
    let newest = u64::try_from(consumer.last_seq())?;
    let mut late = Consumer::connect(&relay.url(), Start::After(newest - 1)).await?;
    ensure!(late.next().await?.seq == consumer.last_seq(), "consumers are served");

    std::fs::remove_file(&filler)?;
    relay.health(200).await?;
    consumer.settle(&mut checker).await?.clean()?;
    let got = u64::try_from(consumer.last_seq())? - newest;
    ensure!(got == 50, "{got} of 50 events came");
    Ok(())
}

/// Writes until there is no room; gives how much there was.
fn fill(path: &Path) -> Result<u64> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    let (block, mut written) = (vec![0xA5; 1 << 20], 0);
    loop {
        match file.write(&block) {
            Ok(bytes) => written += bytes as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(written),
            Err(error) => return Err(error.into()),
        }
    }
}
