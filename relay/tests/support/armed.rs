//! A relay that ends by itself: at a crash point, or because it must.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::{LOOK_EVERY, PATIENCE, RelayProcess, spawn};

impl RelayProcess {
    /// Starts it again with settings besides its own; returns at once.
    pub(crate) fn begin(&mut self, more: &[(&str, String)]) -> Result<()> {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let settings: Vec<_> = self.settings.iter().cloned().chain(more).collect();
        self.child = spawn(self.dir.path(), &settings, &self.words)?;
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn how_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it answers; gives how it ended when it did so before.
    pub(crate) async fn up_or_ended(&mut self) -> Result<Option<ExitStatus>> {
        let url = format!("{}/xrpc/_health", self.url());
        let waiting = async {
            while self.client.get(&url).send().await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    return Ok(Some(status));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(None)
        };
        tokio::time::timeout(PATIENCE, waiting).await.context("it neither answers nor ends")?
    }

    /// SIGKILL, unless it has ended already; gives how it ended.
    pub(crate) fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// SIGTERM; gives how it ended.
    pub(crate) async fn ask_to_stop(&mut self) -> Result<ExitStatus> {
        kill_process(self.own_pid()?, Signal::TERM)?;
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.context("it does not stop")?
    }

    /// Files that it has open.
    pub(crate) fn open_files(&self) -> Result<u64> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid()))?;
        Ok(u64::try_from(files.count())?)
    }

    /// Sets how many files it may have open; gives how many it might before.
    pub(crate) fn limit_files(&self, most: Option<u64>) -> Result<Option<u64>> {
        let own = Some(self.own_pid()?);
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let new = Rlimit { current: most, maximum };
        Ok(prlimit(own, Resource::Nofile, new)?.current)
    }

    fn own_pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.pid())?).context("a process id")
    }
}

/// Whether SIGKILL ended it.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}
