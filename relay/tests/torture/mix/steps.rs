//! What is done to the relay, a step at a time.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, rngs::StdRng};
use relay::crash::{Plan, Point};

use super::Mix;
use crate::{
    consumers::{slow_reader, storm},
    points::{count_max, die_at},
    process::armed::was_killed,
    torn::tear,
};

/// When a start is killed, ms after it.
const START_KILL_MS: std::ops::Range<u64> = 1..400;
/// Consumers that hold the files of a relay that has no more of them.
const HOLDERS: usize = 40;
/// Slow readers at a time.
const SLOW_MAX: usize = 4;
/// Longest that a state of the relay may take to be seen.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Something that happens to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Kill,
    KillAtPoint,
    KillWhileStarting,
    KillAndTear,
    KillUnsyncedAndTear,
    KillWithFullDisk,
    CleanStop,
    FullDisk,
    NoFiles,
    AllHostsCut,
    AllHostsDown,
    DirectoryDown,
    DatabaseRestart,
    Storm,
    SlowReader,
}

/// Each step with its weight.
const STEPS: [(Step, u32); 15] = [
    (Step::Kill, 4),
    (Step::KillAtPoint, 12),
    (Step::KillWhileStarting, 3),
    (Step::KillAndTear, 3),
    (Step::KillUnsyncedAndTear, 4),
    (Step::KillWithFullDisk, 1),
    (Step::CleanStop, 1),
    (Step::FullDisk, 1),
    (Step::NoFiles, 2),
    (Step::AllHostsCut, 2),
    (Step::AllHostsDown, 1),
    (Step::DirectoryDown, 2),
    (Step::DatabaseRestart, 3),
    (Step::Storm, 2),
    (Step::SlowReader, 1),
];

impl Step {
    pub(crate) fn random(random: &mut StdRng) -> Self {
        let mut left = random.random_range(0..STEPS.iter().map(|(_, weight)| weight).sum());
        for (step, weight) in STEPS {
            if left < weight {
                return step;
            }
            left -= weight;
        }
        Self::Kill
    }
}

impl Mix {
    pub(super) async fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Kill => self.kill_and_start().await,
            Step::KillAtPoint => self.kill_at_point().await,
            Step::KillWhileStarting => self.kill_while_starting().await,
            Step::KillAndTear => {
                self.rig.relay.kill()?;
                self.tear(false)?;
                self.up(false).await
            }
            Step::KillUnsyncedAndTear => self.kill_unsynced_and_tear().await,
            Step::KillWithFullDisk => self.full_disk(true).await,
            Step::CleanStop => {
                let status = self.rig.relay.ask_to_stop().await?;
                ensure!(status.success(), "{status}:\n{}", self.rig.relay.log());
                self.up(false).await
            }
            Step::FullDisk => self.full_disk(false).await,
            Step::NoFiles => self.no_files().await,
            Step::AllHostsCut => {
                self.rig.net.cut_all();
                self.live(100, false).await
            }
            Step::AllHostsDown => self.hosts_down().await,
            Step::DirectoryDown => {
                self.directory_down().await?;
                // Known accounts go on.
                self.live(200, false).await?;
                self.directory_up().await
            }
            Step::DatabaseRestart => self.database_restart().await,
            Step::Storm => {
                let consumers = self.random.random_range(20..120);
                let served = storm(&self.rig.relay.url(), consumers).await?;
                ensure!(served == consumers, "{served} of {consumers} consumers were served");
                Ok(())
            }
            Step::SlowReader => {
                let url = self.rig.relay.url();
                if self.slow.len() < SLOW_MAX {
                    self.slow.spawn(async move { slow_reader(&url).await });
                }
                Ok(())
            }
        }
    }

    async fn kill_and_start(&mut self) -> Result<()> {
        self.rig.relay.kill()?;
        self.up(false).await
    }

    async fn kill_at_point(&mut self) -> Result<()> {
        let point =
            *Point::ALL.get(self.random.random_range(0..Point::ALL.len())).context("a point")?;
        let count = self.random.random_range(1..=count_max(point));
        self.rig.relay.kill()?;
        self.die(Plan { point, count }).await?;
        self.up(false).await
    }

    async fn die(&mut self, plan: Plan) -> Result<()> {
        let when = die_at(&mut self.rig, &mut self.random, plan).await?;
        self.count(&format!("died at {}, {when:?}", plan.point));
        println!("  died at {}:{}, {when:?}", plan.point, plan.count);
        Ok(())
    }

    async fn kill_while_starting(&mut self) -> Result<()> {
        self.rig.relay.kill()?;
        for _ in 0..self.random.random_range(1..4) {
            let after = Duration::from_millis(self.random.random_range(START_KILL_MS));
            self.rig.relay.restart_in_vain(after).await?;
            self.count("starts that were killed");
        }
        self.up(false).await
    }

    async fn kill_unsynced_and_tear(&mut self) -> Result<()> {
        let count = self.random.random_range(1..30);
        self.rig.relay.kill()?;
        self.die(Plan { point: Point::AppendBeforeSync, count }).await?;
        self.tear(true)?;
        self.up(false).await
    }

    fn tear(&mut self, is_unsynced: bool) -> Result<()> {
        match tear(&self.log_dir(), &mut self.random, is_unsynced)? {
            Some(how) => {
                println!("  {how}");
                self.count("torn ends");
            }
            None => println!("  the newest segment is sealed"),
        }
        Ok(())
    }

    fn log_dir(&self) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.seen_here().join("log"),
            None => self.rig.relay.data().join("persist"),
        }
    }

    async fn full_disk(&mut self, is_killed: bool) -> Result<()> {
        let disk = self.disk.as_ref().context("a small disk")?;
        let room = disk.fill()?;
        println!("  {} MB were free", room / 1_000_000);
        let full = async {
            loop {
                let answer = self.rig.relay.get("_health").await;
                if answer.is_ok_and(|(_, body)| body.to_string().contains("disk is full")) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let full = tokio::time::timeout(PATIENCE, full).await;
        full.with_context(|| format!("never full; its log:\n{}", self.rig.relay.log()))?;
        if is_killed {
            self.rig.relay.kill()?;
        }
        disk.empty()?;
        if is_killed {
            self.up(false).await?;
        }
        self.rig.relay.health(200).await.map(drop)
    }

    /// What is on its way then could end either way, and the oracle would have to guess.
    async fn directory_down(&mut self) -> Result<()> {
        let _paused = self.rig.pause().await?;
        self.rig.net.plc().down();
        Ok(())
    }

    /// A relay remembers for minutes which lookups failed, and may leave out a handle meanwhile: it
    /// forgets that when it is killed, so that the oracle can expect every handle again.
    async fn directory_up(&mut self) -> Result<()> {
        let paused = self.rig.hold().await;
        self.rig.net.plc().up().await?;
        self.kill_and_start().await?;
        self.rig.relay.reach(&self.rig.net).await?;
        drop(paused);
        Ok(())
    }

    /// Leaves it a few files more than it has, and lets consumers want them. Lookups would find no
    /// socket by chance, so that the directory is down as well.
    async fn no_files(&mut self) -> Result<()> {
        self.directory_down().await?;
        let open = self.rig.relay.open_files()?;
        let few = self.random.random_range(0..6);
        let before = self.rig.relay.limit_files(Some(open + few))?;
        let served = storm(&self.rig.relay.url(), HOLDERS).await?;
        println!("  {few} files left: {served} of {HOLDERS} consumers were served");
        // A log that cannot make its next segment stops the process.
        let pid = self.rig.relay.pid();
        self.live(300, true).await?;
        if self.rig.relay.pid() == pid {
            self.rig.relay.limit_files(before)?;
        }
        self.directory_up().await
    }

    /// Waits until its log, from there on, holds these words, or it has ended.
    async fn log_says(&mut self, from: usize, words: &str) -> Result<()> {
        let said = async {
            while self.rig.relay.how_ended()?.is_none() {
                if self.rig.relay.log().get(from..).is_some_and(|log| log.contains(words)) {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        let said = tokio::time::timeout(PATIENCE, said).await;
        said.with_context(|| format!("{words:?} is not in its log"))?
    }

    async fn hosts_down(&mut self) -> Result<()> {
        for host in self.rig.net.hosts() {
            host.down();
        }
        for host in self.rig.net.hosts() {
            host.disconnected().await?;
        }
        for host in self.rig.net.hosts() {
            host.up().await?;
        }
        self.live(100, false).await
    }

    async fn database_restart(&mut self) -> Result<()> {
        let cluster = self.cluster.clone().context("a cluster")?;
        let told = self.rig.relay.log().len();
        cluster.stop();
        // Hosts wait for accounts that are not in memory, and marks cannot be saved.
        if self.random.random_bool(0.5) {
            self.log_says(told, "database is not available").await?;
        }
        let is_killed = self.random.random_bool(0.3);
        if is_killed {
            let status = self.rig.relay.end()?;
            ensure!(was_killed(status) || status.code() == Some(1), "{status}");
        }
        cluster.resume();
        if is_killed {
            self.up(true).await?;
        }
        self.live(50, true).await
    }
}
