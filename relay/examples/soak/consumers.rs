//! The consumers: one that stays, one that comes back again and again, and late ones with cursors.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::{Checker, Consumer, Received, Report, Start};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Longest silence of the firehose while the load runs.
const PATIENCE: Duration = Duration::from_mins(2);
/// Newest events that late consumers are compared with.
const RECENT: usize = 30_000;

/// Hash by seq of the newest events, as the consumer that stays saw them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<(i64, u64)>>>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(i64, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &Received) {
        let mut recent = self.lock();
        recent.push_back((event.seq, hash(&event.frame)));
        if recent.len() > RECENT {
            recent.pop_front();
        }
    }

    /// Seq of the newest event.
    pub(crate) fn head(&self) -> i64 {
        self.lock().back().map_or(0, |(seq, _)| *seq)
    }
}

fn hash(frame: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    hasher.finish()
}

/// A consumer from the first event on, compared with what the hosts sent.
#[derive(Debug)]
pub(crate) struct Follower {
    consumer: Consumer,
    checker: Checker,
    recent: Recent,
    /// How often it cuts its connection and comes back with its cursor.
    comes_back: Option<Duration>,
}

impl Follower {
    pub(crate) async fn join(
        url: &str,
        checker: Checker,
        recent: Recent,
        comes_back: Option<Duration>,
    ) -> Result<Self> {
        let consumer = Consumer::connect(url, Start::After(0)).await?.patient(PATIENCE);
        let consumer = if comes_back.is_some() { consumer.reconnecting() } else { consumer };
        Ok(Self { consumer, checker, recent, comes_back })
    }

    /// Reads until it is told to stop, and then what is still to come.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(Report, u64)> {
        let mut cut_at = self.comes_back.map(|pause| Instant::now() + pause);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => break,
                event = self.consumer.next() => event?,
            };
            self.checker.observe(&event);
            if self.comes_back.is_none() {
                self.recent.push(&event);
            }
            if let (Some(at), Some(pause)) = (cut_at, self.comes_back)
                && Instant::now() >= at
            {
                self.consumer.cut();
                cut_at = Some(Instant::now() + pause);
            }
        }
        let report = self.consumer.settle(&mut self.checker).await?;
        Ok((report, self.consumer.reconnections()))
    }
}

/// Joins late again and again, with a cursor somewhere in the newest events, and compares each event
/// up to where it joined with what the consumer that stays saw. Gives how many joined.
pub(crate) async fn join_late(
    url: String,
    recent: Recent,
    pause: Duration,
    stop: CancellationToken,
) -> Result<u64> {
    let joined = AtomicU64::new(0);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(joined.into_inner()),
            () = sleep(pause) => {}
        }
        let known: Vec<(i64, u64)> = recent.lock().iter().copied().collect();
        // Another place each time: near the oldest, in the middle, near the head.
        let turn = joined.fetch_add(1, Ordering::Relaxed);
        let at = known.len() * usize::try_from(turn % 7)? / 8;
        let Some(((cursor, _), rest)) = known.get(at..).and_then(<[_]>::split_first) else {
            continue;
        };
        replay(&url, *cursor, rest).await?;
    }
}

async fn replay(url: &str, cursor: i64, rest: &[(i64, u64)]) -> Result<()> {
    let start = Start::After(u64::try_from(cursor)?);
    let mut late = Consumer::connect(url, start).await?.patient(PATIENCE);
    for (seq, known) in rest {
        let event = late.next().await.with_context(|| format!("cursor {cursor}"))?;
        ensure!(event.seq == *seq, "cursor {cursor}: seq {} came instead of {seq}", event.seq);
        ensure!(hash(&event.frame) == *known, "cursor {cursor}: seq {seq} has other bytes");
    }
    Ok(())
}
