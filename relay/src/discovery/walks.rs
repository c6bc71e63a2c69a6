//! Which host's list of accounts is read when (ACC-10): what an operator asks for at once, the others a
//! few at a time, each once a week and after a gap in its stream.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{TICK, measure::List, walk::Walker};
use crate::{
    domain::{HostId, HostStatus},
    hosts::Host,
    store::{StoreError, WalkRow},
    tasks::Tasks,
};

/// How often the list of a host is read.
const AGAIN_MS: u64 = 7 * 86_400_000;

/// How long a host whose list could not be read is left alone.
const RETRY_MS: u64 = 86_400_000;

/// Nothing is read of its own accord so soon after a start, which has enough to do.
const QUIET_MS: u64 = 3_600_000;

/// Lists that are read at once when nobody waits for them.
const BACKGROUND_MAX: usize = 4;

/// Lists that are read at once because an operator asked.
const ASKED_MAX: usize = 8;

/// A walk, as the API shows it.
#[derive(Debug, Clone)]
pub struct WalkView {
    /// How far it is.
    pub row: WalkRow,
    /// A page is being read now.
    pub running: bool,
}

/// All walks.
#[derive(Debug)]
pub(super) struct Walks {
    walker: Walker,
    tasks: Tasks,
    /// When this process began, by the steady clock.
    began_ms: u64,
    all: Mutex<BTreeMap<HostId, Walk>>,
}

#[derive(Debug)]
struct Walk {
    row: WalkRow,
    running: bool,
    /// When it ended in this process without being whole, by the steady clock.
    failed_ms: Option<u64>,
}

impl Walks {
    pub(super) fn new(walker: Walker, earlier: Vec<WalkRow>, tasks: &Tasks) -> Self {
        let walk = |row: WalkRow| (row.host, Walk { row, running: false, failed_ms: None });
        let began_ms = walker.clock.steady_ms();
        let all = Mutex::new(earlier.into_iter().map(walk).collect());
        Self { walker, tasks: tasks.clone(), began_ms, all }
    }

    /// What they work with.
    pub(super) fn walker(&self) -> &Walker {
        &self.walker
    }

    pub(super) fn views(&self) -> Vec<WalkView> {
        let view = |walk: &Walk| WalkView { row: walk.row.clone(), running: walk.running };
        self.all.lock().values().map(view).collect()
    }

    /// Puts a host in line; durable, so that a restart does not forget it.
    pub(super) async fn ask(&self, host: HostId) -> Result<(), StoreError> {
        let row = {
            let mut all = self.all.lock();
            let known = all.get(&host);
            let row = match known {
                // What is under way goes on, now without pauses.
                Some(walk) if walk.row.finished_ms.is_none() => {
                    WalkRow { asked: true, last_error: None, ..walk.row.clone() }
                }
                _ => WalkRow { asked: true, ..self.fresh(host) },
            };
            if known.is_some_and(|walk| walk.running) {
                return Ok(());
            }
            all.insert(host, Walk { row: row.clone(), running: false, failed_ms: None });
            row
        };
        self.walker.store.save_walk(&row).await
    }

    fn fresh(&self, host: HostId) -> WalkRow {
        WalkRow { host, started_ms: self.walker.clock.now_ms(), ..WalkRow::default() }
    }

    /// Starts what may start, again and again.
    pub(super) async fn keep_up(self: Arc<Self>) {
        loop {
            while let Some(row) = self.next() {
                let own = Arc::clone(&self);
                let stopping = self.tasks.stopping().clone();
                self.tasks.start(async move {
                    stopping.run_until_cancelled(Box::pin(own.run(row))).await;
                });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// The next walk to start, which counts as running from now on.
    fn next(&self) -> Option<WalkRow> {
        let clock = &self.walker.clock;
        let (now_ms, steady_ms) = (clock.now_ms(), clock.steady_ms());
        let mut all = self.all.lock();
        let running = |asked: bool| {
            all.values().filter(|walk| walk.running && walk.row.asked == asked).count()
        };
        let (asked, background) = (running(true), running(false));
        let waiting = all.values().find(|walk| {
            walk.row.asked
                && !walk.running
                && walk.row.finished_ms.is_none()
                && walk.failed_ms.is_none()
        });
        let row = if let Some(walk) = waiting.filter(|_| asked < ASKED_MAX) {
            walk.row.clone()
        } else {
            let quiet = steady_ms.saturating_sub(self.began_ms) < QUIET_MS;
            if quiet || background >= BACKGROUND_MAX {
                return None;
            }
            let due = |host: &Host| {
                let walk = all.get(&host.id());
                let failed_ms = walk.and_then(|walk| walk.failed_ms);
                let failed_ms = failed_ms.map(|at_ms| steady_ms.saturating_sub(at_ms));
                let is_running = walk.is_some_and(|walk| walk.running);
                !is_running
                    && is_due(walk.map(|walk| &walk.row), (failed_ms, host.gap_ms()), now_ms)
            };
            let hosts = self.walker.hosts.all();
            let is_read = |host: &Host| host.is_connected() && host.status() == HostStatus::Active;
            let host = hosts.iter().find(|host| is_read(host) && due(host))?;
            match all.get(&host.id()) {
                Some(walk) if walk.row.finished_ms.is_none() => walk.row.clone(),
                _ => self.fresh(host.id()),
            }
        };
        all.insert(row.host, Walk { row: row.clone(), running: true, failed_ms: None });
        measure_running(&all);
        Some(row)
    }

    async fn run(&self, row: WalkRow) {
        let Some(host) = self.walker.hosts.get(row.host) else { return };
        let ended = self.walker.walk(&host, row, |row| self.note(row, true)).await;
        self.note(&ended, false);
        let WalkRow { listed, added, changed, refused, last_error, .. } = &ended;
        let (host, error) = (host.hostname(), last_error.as_deref());
        tracing::info!(%host, listed, added, changed, refused, error, "a list of accounts was read");
    }

    fn note(&self, row: &WalkRow, running: bool) {
        let failed = !running && row.finished_ms.is_none();
        let failed_ms = failed.then(|| self.walker.clock.steady_ms());
        let walk = Walk { row: row.clone(), running, failed_ms };
        let mut all = self.all.lock();
        let before = all.insert(row.host, walk).map_or(0, |before| before.row.added);
        if running {
            // After each page; once more at the end.
            let found = row.added.saturating_sub(before);
            List::Accounts.page(row.last_error.is_none(), found);
        }
        measure_running(&all);
    }
}

fn measure_running(all: &BTreeMap<HostId, Walk>) {
    List::Accounts.running(all.values().filter(|walk| walk.running).count());
}

/// * `failed_ms` – how long ago this process failed
/// * `gap_ms` – when the host last said that it had deleted what we asked for
fn is_due(
    row: Option<&WalkRow>,
    (failed_ms, gap_ms): (Option<u64>, Option<u64>),
    now_ms: u64,
) -> bool {
    let Some(row) = row else { return true };
    if let Some(ago_ms) = failed_ms {
        return ago_ms >= RETRY_MS;
    }
    match row.finished_ms {
        // A clock that was set back must not put it off for longer than that.
        Some(at_ms) => {
            now_ms.abs_diff(at_ms) >= AGAIN_MS
                || gap_ms.is_some_and(|gap_ms| gap_ms > row.started_ms)
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ACC-10: weekly, and after a gap; what failed is left alone for a day.
    #[test]
    fn a_list_is_read_weekly_and_after_a_gap() {
        const NOW: u64 = 1_800_000_000_000;
        let row =
            |started_ms, finished_ms| WalkRow { started_ms, finished_ms, ..WalkRow::default() };
        assert!(is_due(None, (None, None), NOW));
        for (row, failed_ms, gap_ms, due) in [
            (row(NOW - 9, None), None, None, true),
            (row(NOW - 9, None), Some(0), None, false),
            (row(NOW - 9, None), Some(RETRY_MS), None, true),
            (row(NOW - 9, Some(NOW)), None, None, false),
            (row(NOW - 9, Some(NOW - AGAIN_MS)), None, None, true),
            (row(NOW - 9, Some(NOW + AGAIN_MS)), None, None, true),
            (row(NOW - 9, Some(NOW)), None, Some(NOW - 10), false),
            (row(NOW - 9, Some(NOW)), None, Some(NOW - 8), true),
        ] {
            assert_eq!(is_due(Some(&row), (failed_ms, gap_ms), NOW), due, "{row:?}");
        }
    }
}
