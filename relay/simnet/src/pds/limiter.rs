//! One budget for several hosts, as an operator of many has it in front of all of them.

use super::Pds;
use crate::server::lock;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// How long an answer takes, so that calls at the same time can be seen.
const ANSWER: Duration = Duration::from_millis(10);

/// A budget of calls. Clones share it.
#[derive(Debug, Clone)]
pub struct Limiter {
    per_second: u32,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Begin of the second that counts, and the calls in it.
    window: Option<(Instant, u32)>,
    inside: usize,
    peak: usize,
    refused: u64,
}

impl Limiter {
    /// So many calls in a second; then 429 with `Retry-After: 1`.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, inner: Arc::default() }
    }

    /// Most calls that were under way at once.
    pub fn peak(&self) -> usize {
        lock(&self.inner).peak
    }

    /// Calls that were answered with 429.
    pub fn refused(&self) -> u64 {
        lock(&self.inner).refused
    }

    /// Passes one call; gives whether it is within the budget.
    pub(super) async fn pass(&self) -> bool {
        let is_within = {
            let mut inner = lock(&self.inner);
            let now = Instant::now();
            let (began, calls) = match inner.window {
                Some((began, calls)) if now - began < Duration::from_secs(1) => (began, calls),
                _ => (now, 0),
            };
            inner.window = Some((began, calls + 1));
            inner.inside += 1;
            inner.peak = inner.peak.max(inner.inside);
            let is_within = calls < self.per_second;
            inner.refused += u64::from(!is_within);
            is_within
        };
        tokio::time::sleep(ANSWER).await;
        lock(&self.inner).inside -= 1;
        is_within
    }
}

impl Pds {
    /// From now on `listRepos` of this host counts against a budget that it shares with others.
    pub fn limit(&self, limiter: &Limiter) {
        lock(&self.shared.script).limiter = Some(limiter.clone());
    }

    /// `listRepos` of this host gives so many entries a page at most, whatever it is asked for.
    pub fn page_at_most(&self, entries: usize) {
        lock(&self.shared.script).page_max = Some(entries);
    }
}
