//! How events are played, on which cores, and what one run gave.

use std::process::Command;

use anyhow::{Result, ensure};
use relay_simnet::scale::Pace;

use crate::meter::{Look, percentile};

/// On which cores the relay and the rest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The relay on the second, everything else on the first.
    Apart,
    /// Both on both.
    Shared,
    /// Wherever the system puts them.
    Any,
}

impl Cores {
    /// What the relay runs under.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Apart => &["taskset", "-c", "1"],
            Self::Shared => &["taskset", "-c", "0,1"],
            Self::Any => &[],
        }
    }

    /// Puts this process on its core, or cores.
    pub(crate) fn take_ours(self) -> Result<()> {
        let cores = match self {
            Self::Apart => "0",
            Self::Shared => "0,1",
            Self::Any => return Ok(()),
        };
        let pid = std::process::id().to_string();
        let done = Command::new("taskset").args(["-a", "-c", "-p", cores, &pid]).output()?;
        ensure!(done.status.success(), "taskset: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}

/// How events are handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Play {
    /// As fast as the relay takes them.
    Fast(u64),
    /// So many in all, at a rate per second.
    At(u32, u64),
}

impl Play {
    pub(crate) fn events(self) -> u64 {
        match self {
            Self::Fast(events) | Self::At(_, events) => events,
        }
    }

    pub(crate) fn pace(self) -> Pace {
        match self {
            Self::Fast(_) => Pace::Fast,
            Self::At(rate, _) => Pace::per_second(rate),
        }
    }
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) before: Look,
    pub(crate) after: Look,
    pub(crate) events: f64,
    pub(crate) seconds: f64,
    /// One verification, in microseconds: the mean of before and after.
    pub(crate) v_us: f64,
    /// Milliseconds from the hand-over of each event to its receipt.
    pub(crate) delays: Vec<f64>,
}

impl Run {
    /// CPU time of the relay per event, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.after.spent_since(&self.before) * 1e6 / self.events
    }

    /// The same in V.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu_us() / self.v_us
    }

    /// Events per second.
    pub(crate) fn rate(&self) -> f64 {
        self.events / self.seconds
    }

    /// The delay that so many of a hundred events do not exceed.
    pub(crate) fn delay(&self, percent: usize) -> f64 {
        percentile(self.delays.clone(), percent)
    }

    /// Raw figures of a run that measures the cost of an event.
    pub(crate) fn raw(&self) -> Result<String> {
        let kernel = (self.after.cpu.kernel - self.before.cpu.kernel) * 1e6 / self.events;
        let logged = self.after.grown(&self.before, "relay_eventlog_appended_events_total")?;
        let syncs = self.after.grown(&self.before, "relay_eventlog_batch_events_count")?;
        let bytes = self.after.grown(&self.before, "relay_upstream_bytes_total")? / self.events;
        Ok(format!(
            "{:.1} us (kernel {kernel:.1}), V {:.1} us, {bytes:.0} bytes, {:.0} events/s, \
             {:.0} events per sync",
            self.cpu_us(),
            self.v_us,
            self.rate(),
            logged / syncs.max(1.0)
        ))
    }
}
