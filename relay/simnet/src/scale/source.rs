//! Where the events of a run come from: a file, or a generator in a thread of its own.

use super::{Event, Generator, Plan, file::Reader};
use anyhow::Result;
use std::{collections::VecDeque, path::Path, time::Duration};
use tokio::sync::mpsc;

/// Events that are handed over at once.
const BATCH: usize = 64;

/// Batches that may wait: 8,192 events, some 32 MB.
const BATCHES: usize = 128;

/// Pause between two looks at what waits.
const PAUSE: Duration = Duration::from_millis(1);

/// Events in the order in which they are sent, made or read ahead by another thread.
#[derive(Debug)]
pub struct Source {
    plan: Plan,
    batches: mpsc::Receiver<Result<Vec<Event>>>,
    ready: VecDeque<Event>,
}

impl Source {
    /// The events of a file.
    ///
    /// # Errors
    /// When it is not a finished file of frames.
    pub fn open(path: &Path) -> Result<Self> {
        let reader = Reader::open(path)?;
        Self::start(reader.plan().clone(), reader)
    }

    /// Events that are made while they are sent, for runs that no disk could hold.
    ///
    /// # Errors
    /// When the plan makes no sense.
    pub fn live(plan: &Plan) -> Result<Self> {
        Self::start(plan.clone(), Generator::new(plan)?)
    }

    fn start(
        plan: Plan,
        mut events: impl Iterator<Item = Result<Event>> + Send + 'static,
    ) -> Result<Self> {
        let (sender, batches) = mpsc::channel(BATCHES);
        std::thread::Builder::new().name("simnet-source".to_owned()).spawn(move || {
            loop {
                let batch: Result<Vec<Event>> = events.by_ref().take(BATCH).collect();
                let ended = batch.as_ref().map_or(true, Vec::is_empty);
                // An error means that nobody wants more.
                if sender.blocking_send(batch).is_err() || ended {
                    return;
                }
            }
        })?;
        Ok(Self { plan, batches, ready: VecDeque::new() })
    }

    /// The plan of these events.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes so many events ready, and lets the thread make as many more as may wait, so that sending
    /// the former costs nothing.
    ///
    /// # Errors
    /// When one could not be read or made.
    pub async fn prefetch(&mut self, events: usize) -> Result<()> {
        while self.ready.len() < events {
            let Some(batch) = self.batches.recv().await else { return Ok(()) };
            self.ready.extend(batch?);
        }
        while self.batches.len() < BATCHES && !self.batches.is_closed() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The next event; `None` after the last one.
    ///
    /// # Errors
    /// When it could not be read or made.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        if self.ready.is_empty()
            && let Some(batch) = self.batches.recv().await
        {
            self.ready.extend(batch?);
        }
        Ok(self.ready.pop_front())
    }
}
