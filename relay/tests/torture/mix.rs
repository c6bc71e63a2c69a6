//! I1–I4: all that can happen to a relay, mixed by a seed for a time.
//!
//! `TORTURE_SECONDS` says how long, `SEED` repeats the steps of a run (not their timing), and
//! `TORTURE_DATABASE=sqlite|postgres` takes the choice of the database away from the seed. The log
//! lies on a small file system where the machine permits one, so that it can really be full.

mod steps;

use std::{collections::BTreeMap, process::ExitStatus, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    SEED, compared, number,
    points::load,
    postgres_cluster::Cluster,
    process::Setup,
    replay,
    rig::{Rig, TURN},
    small_disk::SmallDisk,
};
use steps::Step;

/// Seconds on each database unless `TORTURE_SECONDS` says otherwise.
const SECONDS: u64 = 10;
/// Events per second.
const RATE: u32 = 600;
/// Starts in a row that may end by themselves, as when the database is not back yet.
const TRIES: u32 = 20;
/// Events before the first step.
const KNOWN: usize = 1_000;
/// As many small files as there can be, and a log that is over its limit after some seconds.
const SETTINGS: [(&str, &str); 2] =
    [("RELAY_SEGMENT_BYTES", "512KiB"), ("RELAY_REPLAY_MAX_BYTES", "16MiB")];
/// Resident memory at most: the newest 64 MiB of events, caches of some thousand accounts, and twice
/// as much again.
const RESIDENT_MAX: u64 = 500_000_000;

/// A run.
pub(crate) struct Mix {
    rig: Rig,
    random: StdRng,
    disk: Option<SmallDisk>,
    cluster: Option<Arc<Cluster>>,
    /// How often what was done and happened.
    tally: BTreeMap<String, u32>,
    resident_max: u64,
    slow: JoinSet<Result<()>>,
    // The directory of the small disk, which must be there as long as it is mounted.
    _place: tempfile::TempDir,
}

/// I1, I2, I3, I4, T6: kills at random moments, at named points and while starting, torn ends, a full
/// disk, no files, no hosts, no directory, no database, and consumers that misbehave, in any order:
/// nothing is lost, nothing comes twice, no seq is given again, nothing panics, memory is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_mix_of_all_faults_loses_and_repeats_nothing() -> Result<()> {
    let _turn = TURN.lock().await;
    let seed = number("SEED")?.unwrap_or(SEED);
    if let Some(seconds) = number("TORTURE_SECONDS")? {
        return mixed(seed, seconds, cluster(seed)?).await;
    }
    mixed(seed, SECONDS, None).await?;
    match Cluster::shared() {
        Some(cluster) => mixed(seed, SECONDS, Some(cluster)).await,
        None => Ok(()),
    }
}

async fn mixed(seed: u64, seconds: u64, cluster: Option<Arc<Cluster>>) -> Result<()> {
    let kind = if cluster.is_some() { "Postgres" } else { "SQLite" };
    println!("SEED={seed} TORTURE_SECONDS={seconds}, on {kind}");
    let mut mix = Mix::start(seed, cluster).await?;
    mix.run(Duration::from_secs(seconds)).await?;
    mix.finish().await
}

/// What a long run works on: even seeds on SQLite, odd ones on Postgres.
fn cluster(seed: u64) -> Result<Option<Arc<Cluster>>> {
    match std::env::var_os("TORTURE_DATABASE") {
        None if seed.is_multiple_of(2) => Ok(None),
        None => Ok(Cluster::shared()),
        Some(name) if name == "sqlite" => Ok(None),
        Some(name) if name == "postgres" => {
            Cluster::shared().context("there is no Postgres server here").map(Some)
        }
        Some(name) => bail!("TORTURE_DATABASE={}: sqlite or postgres", name.display()),
    }
}

impl Mix {
    async fn start(seed: u64, cluster: Option<Arc<Cluster>>) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let disk = SmallDisk::mount(place.path())?;
        if disk.is_none() {
            println!(
                "this machine permits no mount namespace (`unshare --mount`): the disk is not filled"
            );
        }
        let mut settings: Vec<(&str, &str)> = SETTINGS.to_vec();
        let log = disk.as_ref().map(|disk| disk.dir.join("log").display().to_string());
        settings.extend(log.as_deref().map(|log| ("RELAY_PERSIST_DIR", log)));
        let url = cluster.as_ref().map(|cluster| cluster.database("mix"));
        settings.extend(url.as_deref().map(|url| ("DATABASE_URL", url)));
        let under: Vec<&str> = disk.iter().flat_map(|disk| &disk.under).map(|s| &**s).collect();
        let setup = Setup { settings: &settings, under: &under, ..Setup::default() };
        let rig = Rig::start(seed, (RATE, load()), setup).await?;
        Ok(Self {
            rig,
            random: StdRng::seed_from_u64(seed),
            disk,
            cluster,
            tally: BTreeMap::new(),
            resident_max: 0,
            slow: JoinSet::new(),
            _place: place,
        })
    }

    async fn run(&mut self, time: Duration) -> Result<()> {
        // Accounts that nobody knows cannot go on without a directory.
        self.live(KNOWN, false).await?;
        let begin = Instant::now();
        let mut number = 0;
        while begin.elapsed() < time {
            number += 1;
            let step = self.choose();
            println!(
                "{number} at {:.1} s, seq {}: {step:?}",
                begin.elapsed().as_secs_f64(),
                self.rig.follower.last_seq()
            );
            self.count(&format!("{step:?}"));
            self.take(step).await.with_context(|| format!("step {number}, {step:?}"))?;
            self.look().await?;
        }
        Ok(())
    }

    fn choose(&mut self) -> Step {
        loop {
            let step = Step::random(&mut self.random);
            let is_possible = match step {
                Step::FullDisk | Step::KillWithFullDisk => self.disk.is_some(),
                Step::DatabaseRestart => self.cluster.is_some(),
                _ => true,
            };
            if is_possible {
                return step;
            }
        }
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    /// Takes events between two steps; looks at the memory.
    async fn look(&mut self) -> Result<()> {
        let events = self.random.random_range(20..400);
        self.live(events, false).await?;
        self.resident_max = self.resident_max.max(self.rig.relay.resident_bytes()?);
        ensure!(self.resident_max < RESIDENT_MAX, "{} bytes resident", self.resident_max);
        Ok(())
    }

    /// Takes events; starts the relay again when it stopped by itself, as a supervisor would.
    ///
    /// * `may_stop` – what was done to it is a reason to stop
    async fn live(&mut self, events: usize, may_stop: bool) -> Result<()> {
        while let Some(status) = self.rig.follow(events).await? {
            self.stopped(status, may_stop)?;
            self.up(may_stop).await?;
        }
        Ok(())
    }

    fn stopped(&mut self, status: ExitStatus, may_stop: bool) -> Result<()> {
        self.count("stopped by itself");
        let log = self.rig.relay.log();
        let lines: Vec<_> = log.lines().rev().take(8).collect();
        let last = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        println!("  it stopped by itself with {status}: {last}");
        ensure!(may_stop && status.code() == Some(1), "it ended with {status}:\n{last}");
        Ok(())
    }

    /// Starts it until it answers.
    async fn up(&mut self, may_stop: bool) -> Result<()> {
        self.count("starts");
        self.rig.relay.begin(&[])?;
        let mut tries = 1;
        while let Some(status) = self.rig.relay.up_or_ended().await? {
            self.stopped(status, may_stop)?;
            tries += 1;
            ensure!(tries < TRIES, "it does not start again");
            self.count("starts");
            self.rig.relay.begin(&[])?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.slow.abort_all();
        let report = self.rig.settle().await?;
        for (what, times) in &self.tally {
            println!("{times:>6} {what}");
        }
        let megabytes = self.resident_max / 1_000_000;
        println!("at most {megabytes} MB resident; no panic, 0 lost, 0 duplicated, 0 seq reused");
        compared(&report)?;
        replay::window(&self.rig.relay, &self.rig.follower.seen).await
    }
}
