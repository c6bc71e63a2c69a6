//! Asks hosts about the accounts that the index is unsure of, a few at a time, for ever.
//!
//! `feeding` finds such accounts and puts them in line at their hosts (`queue`); a worker for each host
//! asks within the turns of its operator; `settling` puts answers into the index when nothing happened
//! to the account meanwhile.

mod feeding;
mod queue;
mod unasked;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::queue::Queue;
pub use self::queue::ResolverView;
use super::{
    asking::{Asking, How, Method, Said},
    line::{Told, Waiting},
    settling::Answered,
    taking::{apply, words},
};
use crate::{
    clock::Clock,
    collections::index::{Batch, Change, Doubt, Index, Whole},
    domain::{Account, HostId},
    hosts::{Host, Hosts},
    ingest::Ingest,
    store::Store,
    tasks::Tasks,
};

/// Nothing is asked of its own accord so soon after a start, which has enough to do.
const QUIET_MS: u64 = 60_000;

/// How often it is looked for accounts to ask about.
const TICK: Duration = Duration::from_secs(1);

/// Hosts that are asked at once.
const WORKERS_MAX: usize = 32;

/// How long an account is left alone of which its host told nothing.
const REST_MS: u64 = 3_600_000;

/// How long an account is left alone about which nobody could be asked, and a host that did not answer
/// several times in a row: so that within an hour of its return all is known.
const HOST_REST_MS: u64 = 10 * 60_000;

/// How often in a row.
const FAILURES_MAX: u32 = 5;

/// Questions about one account whose answers were overtaken by its events.
const OVERTAKEN_MAX: u32 = 5;

/// How long a host is left alone while the repositories of others are read.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// What the resolver works with.
#[derive(Debug, Clone)]
pub(super) struct ResolverParts {
    pub(super) store: Store,
    pub(super) hosts: Hosts,
    pub(super) ingest: Ingest,
    pub(super) index: Index,
    pub(super) asking: Asking,
    pub(super) clock: Clock,
    /// Questions per second to hosts of one operator of its own accord; 0 = none.
    pub(super) questions: u32,
}

/// Asks hosts; one per relay.
#[derive(Debug)]
pub(super) struct Resolver {
    parts: ResolverParts,
    tasks: Tasks,
    began_ms: u64,
    queue: Mutex<Queue>,
    /// An operator asked for something.
    wake: Notify,
}

impl Resolver {
    pub(super) fn new(parts: ResolverParts, tasks: &Tasks) -> Self {
        let began_ms = parts.clock.steady_ms();
        let (queue, wake) = (Mutex::default(), Notify::new());
        Self { parts, tasks: tasks.clone(), began_ms, queue, wake }
    }

    /// Runs for ever.
    pub(super) async fn keep_up(self: Arc<Self>) {
        loop {
            if self.is_awake() {
                if let Err(why) = self.feed().await {
                    tracing::warn!(why, "accounts with uncertain collections were not looked for");
                }
                self.start_workers().await;
            }
            self.queue.lock().note_pace(self.parts.clock.steady_ms());
            tokio::select! {
                () = self.parts.clock.sleep(TICK) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Begins at once, and leaves nobody alone who did not answer lately.
    pub(super) fn hurry(&self) {
        self.queue.lock().hurry();
        self.wake.notify_one();
    }

    /// Puts accounts at the front of their lines; what is known of them is unsure until then.
    ///
    /// # Errors
    /// The index or the store.
    pub(super) async fn first(&self, accounts: Vec<Account>) -> Result<(), String> {
        let doubt = |account: &Account| {
            let whole = Whole::Unsure(Doubt::OlderRecords);
            Change::Mark { account: account.number, whole }
        };
        let mut changes = Vec::new();
        for account in accounts.iter().filter(|account| unasked::unasked(account).is_none()) {
            let (whole, _) = self.parts.index.of_account(account.number).map_err(words)?;
            if matches!(whole, Whole::Complete | Whole::Unmarked) {
                changes.push(doubt(account));
            }
        }
        apply(&self.parts.index, Batch { changes, ..Batch::default() }).await?;
        self.queue.lock().put_first(accounts);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn view(&self) -> ResolverView {
        let is_awake = self.is_awake();
        let queue = self.queue.lock();
        let has_work = self.parts.questions > 0 || queue.is_in_hurry() || queue.waiting() > 0;
        queue.view(is_awake && has_work)
    }

    /// What each host was asked since the start.
    pub(super) fn told(&self) -> Vec<(HostId, usize, Told)> {
        self.queue.lock().told()
    }

    /// By which method a host is asked.
    pub(super) fn method(&self, host: HostId) -> Method {
        self.parts.asking.method(host)
    }

    fn is_awake(&self) -> bool {
        let quiet_ms = self.parts.clock.steady_ms().saturating_sub(self.began_ms);
        quiet_ms >= QUIET_MS || self.queue.lock().awake
    }

    async fn start_workers(self: &Arc<Self>) {
        let due = self.queue.lock().due(self.parts.clock.steady_ms());
        for id in due {
            if self.queue.lock().busy() >= WORKERS_MAX {
                return;
            }
            let Some(host) = self.parts.hosts.get(id) else { continue };
            if self.queue.lock().is_busy(id) || !self.parts.asking.has_room(id) {
                continue;
            }
            let group = self.parts.asking.discovery.group_of(&host).await;
            if !self.queue.lock().begin(id, &group) {
                continue;
            }
            let (own, stopping) = (Arc::clone(self), self.tasks.stopping().clone());
            self.tasks.start(async move {
                stopping.run_until_cancelled(Box::pin(own.work(host, group))).await;
            });
        }
    }

    /// Asks one host until its line is empty, or it wants to be left alone.
    async fn work(&self, host: Arc<Host>, group: String) {
        let id = host.id();
        let mut failures = 0;
        while let Some(waiting) = self.next(id) {
            match self.one(&host, &group, &waiting).await {
                Outcome::Done => failures = 0,
                Outcome::Failed if failures + 1 < FAILURES_MAX => failures += 1,
                Outcome::Failed => {
                    self.queue.lock().line(id).give_up(self.until(HOST_REST_MS));
                    break;
                }
                Outcome::Later(after) => {
                    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.queue.lock().put_back(waiting, (id, self.until(after_ms)));
                    break;
                }
            }
        }
        self.queue.lock().ended(id, &group);
        self.wake.notify_one();
    }

    fn next(&self, host: HostId) -> Option<Waiting> {
        self.queue.lock().take(host)
    }

    fn until(&self, after_ms: u64) -> u64 {
        self.parts.clock.steady_ms().saturating_add(after_ms)
    }

    async fn one(&self, host: &Host, group: &str, waiting: &Waiting) -> Outcome {
        let (id, did) = (host.id(), &waiting.did);
        for _ in 0..OVERTAKEN_MAX {
            let before = match self.parts.ingest.account(did).await {
                Ok(Some(before)) if before.host == id && self.may_ask(&before).is_some() => before,
                Ok(_) => return Outcome::Done,
                Err(error) => return self.failed(id, waiting, (&error.to_string(), HOST_REST_MS)),
            };
            let how = How { group, hurry: waiting.hurry, patient: false };
            let said = self.parts.asking.ask(host, &before, how).await;
            self.queue.lock().line(id).told.asked += u64::from(said != Said::Busy);
            match said {
                Said::Has(has) => {
                    let is_heavy = has.head.is_some();
                    let answered = Answered { before, has };
                    match answered.settle(&self.parts.ingest, &self.parts.index).await {
                        Ok(true) => {
                            self.queue.lock().resolved(id);
                            return Outcome::Done;
                        }
                        Ok(false) if is_heavy => {
                            self.queue.lock().overtaken += 1;
                            let why = "it wrote while its repository was read";
                            self.failed(id, waiting, (why, REST_MS));
                            return Outcome::Done;
                        }
                        Ok(false) => self.queue.lock().overtaken += 1,
                        Err(why) => return self.failed(id, waiting, (&why, REST_MS)),
                    }
                }
                Said::Later(after) => {
                    let after = after.unwrap_or(Duration::from_secs(30));
                    self.queue.lock().line(id).told.note("it asks us to wait (429)");
                    return Outcome::Later(after);
                }
                Said::Busy => return Outcome::Later(ROOM_WAIT),
                Said::Nothing(why) => {
                    self.failed(id, waiting, (&why, REST_MS));
                    return Outcome::Done;
                }
                Said::Unreachable(why) => return self.failed(id, waiting, (&why, HOST_REST_MS)),
            }
        }
        // It writes all the time: at the next look.
        Outcome::Done
    }

    fn failed(&self, host: HostId, waiting: &Waiting, (why, rest_ms): (&str, u64)) -> Outcome {
        self.queue.lock().failed(host, waiting, (why, self.until(rest_ms)));
        Outcome::Failed
    }
}

enum Outcome {
    Done,
    Failed,
    Later(Duration),
}
