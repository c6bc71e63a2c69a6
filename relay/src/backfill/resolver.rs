//! Asks hosts about the accounts that the index is unsure of, a few at a time, for ever.
//!
//! Three parts: [`Resolver::feed`] finds such accounts and puts them in line at their hosts; a worker
//! for each host asks within the turns of its operator; answers go into the index when nothing happened
//! to the account meanwhile.
//!
//! An answer counts when no event of the account was accepted between question and answer, and the index
//! applied none between that look and the answer: then everything that it has applied of the account is
//! older than the question, and the answer, which the host made later, knows of all of it. What the
//! host emits afterwards comes through the log and is applied on top. Otherwise the host is asked again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use relay_protocol::Did;
use tokio::sync::Notify;

use super::{
    asking::{Asking, Said},
    line::{Line, Told},
    taking::{apply, words},
};
use crate::{
    clock::Clock,
    collections::index::{Batch, Change, Doubt, Index, Whole},
    domain::{Account, AccountNo, HostId, HostStatus, effective},
    hosts::{Host, Hosts},
    ingest::Ingest,
    store::Store,
    tasks::Tasks,
};

/// Nothing is asked of its own accord so soon after a start, which has enough to do.
const QUIET_MS: u64 = 60_000;

/// How often it is looked for accounts to ask about.
const TICK: Duration = Duration::from_secs(1);

/// Accounts that are looked at in one step.
const STEP: usize = 500;

/// Steps of one tick.
const STEPS_MAX: usize = 4;

/// Accounts in line over all hosts; no more are looked for then.
const WAITING_MAX: usize = 20_000;

/// Hosts that are asked at once.
const WORKERS_MAX: usize = 32;

/// Accounts that are left alone for a while, because their hosts did not tell.
const RESTING_MAX: usize = 500_000;

/// How long.
const REST_MS: u64 = 3_600_000;

/// How long a host rests that did not answer several times in a row.
const HOST_REST_MS: u64 = 10 * 60_000;

/// How often in a row.
const FAILURES_MAX: u32 = 5;

/// Questions about one account whose answers were overtaken by its events.
const OVERTAKEN_MAX: u32 = 5;

/// Tries to apply an answer between two batches of the log.
const APPLY_TRIES: usize = 100;

/// Accounts above this number were not looked at yet; a note in the index.
const SWEPT: &[u8] = b"backfill/swept";

/// What the resolver works with.
#[derive(Debug, Clone)]
pub(super) struct ResolverParts {
    pub(super) store: Store,
    pub(super) hosts: Hosts,
    pub(super) ingest: Ingest,
    pub(super) index: Index,
    pub(super) asking: Asking,
    pub(super) clock: Clock,
}

/// An account in line.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) account: AccountNo,
    pub(super) did: Did,
}

/// A host's word on an account that nothing has overtaken yet.
#[derive(Debug)]
pub(super) struct Answered {
    /// The account as it was when the host was asked.
    pub(super) before: Account,
    pub(super) collections: Vec<String>,
}

/// How far it is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResolverView {
    /// Accounts in line now.
    pub waiting: u64,
    /// Accounts resolved since the start of the process.
    pub resolved: u64,
    /// Answers that events of their accounts overtook.
    pub overtaken: u64,
    /// Accounts resolved in the last minute.
    pub per_minute: u64,
    /// It runs of its own accord, or an operator asked.
    pub running: bool,
}

#[derive(Debug, Default)]
struct State {
    lines: BTreeMap<HostId, Line>,
    /// Accounts that hosts did not tell, until when by the steady clock.
    resting: HashMap<AccountNo, u64>,
    /// Accounts above this number are looked at next; `None` = from the first.
    after: Option<AccountNo>,
    /// Whose budgets are in use: one host of each operator is asked at a time.
    busy: BTreeSet<String>,
    /// The host that a worker was started for last; others have their turn first.
    last_host: HostId,
    waiting: usize,
    resolved: u64,
    overtaken: u64,
    /// Ends of the last minutes' work: when, and how many were resolved by then.
    pace: VecDeque<(u64, u64)>,
    /// An operator asked in this process: it does not wait for the quiet to end.
    awake: bool,
    /// A person waits: no pauses between questions.
    hurry: bool,
}

/// Asks hosts; one per relay.
#[derive(Debug)]
pub(super) struct Resolver {
    parts: ResolverParts,
    tasks: Tasks,
    began_ms: u64,
    state: Mutex<State>,
    /// An operator asked for something.
    wake: Notify,
}

impl Resolver {
    pub(super) fn new(parts: ResolverParts, tasks: &Tasks) -> Self {
        let began_ms = parts.clock.steady_ms();
        let (state, wake) = (Mutex::default(), Notify::new());
        Self { parts, tasks: tasks.clone(), began_ms, state, wake }
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
            self.note_pace();
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Begins at once, and leaves nobody alone who did not answer lately.
    pub(super) fn hurry(&self) {
        let mut state = self.state.lock();
        (state.awake, state.hurry, state.after) = (true, true, None);
        state.resting.clear();
        state.lines.values_mut().for_each(Line::wake);
        drop(state);
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
        for account in &accounts {
            let (whole, _) = self.parts.index.of_account(account.number).map_err(words)?;
            if matches!(whole, Whole::Complete | Whole::Unmarked) {
                changes.push(doubt(account));
            }
        }
        apply(&self.parts.index, Batch { changes, ..Batch::default() }).await?;
        {
            let mut state = self.state.lock();
            (state.awake, state.hurry) = (true, true);
            for account in accounts {
                state.resting.remove(&account.number);
                let line = state.lines.entry(account.host).or_default();
                line.wake();
                if line.push_first(Waiting { account: account.number, did: account.did }) {
                    state.waiting += 1;
                }
            }
        }
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn view(&self) -> ResolverView {
        let running = self.is_awake();
        let state = self.state.lock();
        let before = state.pace.front().map_or(state.resolved, |(_, resolved)| *resolved);
        ResolverView {
            waiting: u64::try_from(state.waiting).unwrap_or(u64::MAX),
            resolved: state.resolved,
            overtaken: state.overtaken,
            per_minute: state.resolved.saturating_sub(before),
            running,
        }
    }

    /// What each host was asked since the start.
    pub(super) fn told(&self) -> Vec<(HostId, usize, Told)> {
        let state = self.state.lock();
        let view = |(host, line): (&HostId, &Line)| (*host, line.len(), line.told.clone());
        state.lines.iter().map(view).collect()
    }

    fn is_awake(&self) -> bool {
        let quiet_ms = self.parts.clock.steady_ms().saturating_sub(self.began_ms);
        quiet_ms >= QUIET_MS || self.state.lock().awake
    }

    fn note_pace(&self) {
        let now_ms = self.parts.clock.steady_ms();
        let mut state = self.state.lock();
        let resolved = state.resolved;
        state.pace.push_back((now_ms, resolved));
        while state.pace.front().is_some_and(|(at_ms, _)| now_ms - *at_ms > 60_000) {
            state.pace.pop_front();
        }
    }

    /// Finds accounts to ask about.
    async fn feed(&self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if !self.sweep().await? {
                break;
            }
        }
        for _ in 0..STEPS_MAX {
            if self.state.lock().waiting >= WAITING_MAX || !self.step().await? {
                break;
            }
        }
        Ok(())
    }

    /// Accounts that no event has told of, from lists of hosts: nothing is known of their records. Gives
    /// whether there may be more.
    async fn sweep(&self) -> Result<bool, String> {
        let ResolverParts { store, index, .. } = &self.parts;
        let note = index.progress(SWEPT).unwrap_or_default();
        let swept = std::str::from_utf8(&note).ok().and_then(|text| text.parse().ok());
        let after = AccountNo(swept.unwrap_or(0));
        let limit = u32::try_from(STEP).unwrap_or(u32::MAX);
        let rows = store.accounts_after(after, limit).await.map_err(|error| error.to_string())?;
        let Some(last) = rows.last() else { return Ok(false) };
        let mut changes = Vec::new();
        for account in rows.iter().map(|row| row.number) {
            if index.of_account(account).map_err(words)?.0 == Whole::Unmarked {
                let whole = Whole::Unsure(Doubt::OlderRecords);
                changes.push(Change::Mark { account, whole });
            }
        }
        let progress = vec![(SWEPT.to_vec(), Some(last.number.to_string().into_bytes()))];
        apply(index, Batch { position: None, changes, progress }).await?;
        Ok(rows.len() == STEP)
    }

    /// The next accounts of which the index is unsure. Gives whether there may be more to ask now.
    async fn step(&self) -> Result<bool, String> {
        let ResolverParts { store, index, clock, .. } = &self.parts;
        let after = self.state.lock().after;
        let unsure = index.unsure(after, STEP).map_err(words)?;
        let end = unsure.len() < STEP;
        let now_ms = clock.steady_ms();
        let wanted: Vec<AccountNo> = {
            let mut state = self.state.lock();
            state.after = if end { None } else { unsure.last().map(|(account, _)| *account) };
            // All were looked at, and nobody waits: nobody is waited for either.
            state.hurry &= !end || !unsure.is_empty() || state.waiting > 0;
            let unsure = unsure.into_iter().map(|(account, _)| account);
            unsure.filter(|account| !state.is_resting(*account, now_ms)).collect()
        };
        let rows = store.accounts_numbered(&wanted).await.map_err(|error| error.to_string())?;
        for account in rows {
            if self.may_ask(&account).is_some() {
                self.state.lock().put(account);
            }
        }
        Ok(!end)
    }

    /// The host of an account, if it can say something of it now.
    fn may_ask(&self, account: &Account) -> Option<Arc<Host>> {
        // The records of an account that is away are not listed, and its host does not tell them.
        if !effective(&account.upstream, account.local).active {
            return None;
        }
        let host = self.parts.hosts.get(account.host)?;
        let refuses = matches!(host.status(), HostStatus::Offline | HostStatus::Banned);
        (!refuses).then_some(host)
    }

    async fn start_workers(self: &Arc<Self>) {
        let due = self.state.lock().due(self.parts.clock.steady_ms());
        for id in due {
            if self.state.lock().busy.len() >= WORKERS_MAX {
                return;
            }
            let Some(host) = self.parts.hosts.get(id) else { continue };
            let known = self.state.lock().line(id).group.clone();
            if known.is_some_and(|group| self.state.lock().busy.contains(&group)) {
                continue;
            }
            let group = self.parts.asking.discovery.group_of(&host).await;
            if !self.state.lock().begin(id, &group) {
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
                    self.state.lock().line(id).rest(self.until(HOST_REST_MS));
                    break;
                }
                Outcome::Later(after) => {
                    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.state.lock().put_back(waiting, (id, self.until(after_ms)));
                    break;
                }
            }
        }
        self.state.lock().ended(id, &group);
        self.wake.notify_one();
    }

    fn next(&self, host: HostId) -> Option<Waiting> {
        self.state.lock().take(host)
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
                Err(error) => return self.failed(id, waiting, &error.to_string()),
            };
            let hurry = self.state.lock().hurry;
            let said = self.parts.asking.ask(host, did, (group, hurry)).await;
            self.state.lock().line(id).told.asked += 1;
            match said {
                Said::Has(collections) => {
                    match self.settle(&Answered { before, collections }).await {
                        Ok(true) => {
                            let mut state = self.state.lock();
                            state.resolved += 1;
                            state.line(id).told.resolved += 1;
                            return Outcome::Done;
                        }
                        Ok(false) => self.state.lock().overtaken += 1,
                        Err(why) => return self.failed(id, waiting, &why),
                    }
                }
                Said::Later(after) => {
                    let after = after.unwrap_or(Duration::from_secs(30));
                    self.state.lock().line(id).told.note("it asks us to wait (429)");
                    return Outcome::Later(after);
                }
                Said::Nothing(why) => {
                    self.failed(id, waiting, &why);
                    return Outcome::Done;
                }
                Said::Unreachable(why) => return self.failed(id, waiting, &why),
            }
        }
        // It writes all the time: at the next look.
        Outcome::Done
    }

    fn failed(&self, host: HostId, waiting: &Waiting, why: &str) -> Outcome {
        let until_ms = self.until(REST_MS);
        let mut state = self.state.lock();
        let told = &mut state.line(host).told;
        told.failed += 1;
        told.note(&format!("{}: {why}", waiting.did));
        if state.resting.len() >= RESTING_MAX {
            state.resting.clear();
        }
        state.resting.insert(waiting.account, until_ms);
        Outcome::Failed
    }

    /// Puts an answer into the index, if nothing has overtaken it. Gives whether it counts.
    async fn settle(&self, answered: &Answered) -> Result<bool, String> {
        let ResolverParts { ingest, index, .. } = &self.parts;
        let Answered { before, collections } = answered;
        let mut numbers = Vec::with_capacity(collections.len());
        for nsid in collections {
            numbers.push(index.number(nsid).map_err(words)?);
        }
        let change = Change::Replace { account: before.number, collections: numbers };
        let batch = Batch { changes: vec![change], ..Batch::default() };
        for _ in 0..APPLY_TRIES {
            let position = index.position();
            let now = ingest.account(&before.did).await.map_err(|error| error.to_string())?;
            if !now.is_some_and(|now| is_same(before, &now)) {
                return Ok(false);
            }
            let (own, batch) = (index.clone(), batch.clone());
            let applied = tokio::task::spawn_blocking(move || own.apply_at(position, &batch)).await;
            let applied = applied.map_err(|_stopped| "the relay is stopping".to_owned())?;
            if applied.map_err(words)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether no event of the account was accepted between two looks at it.
pub(super) fn is_same(before: &Account, now: &Account) -> bool {
    (before.number, before.host, before.last) == (now.number, now.host, now.last)
        && before.repo == now.repo
        && before.upstream == now.upstream
}

enum Outcome {
    Done,
    Failed,
    Later(Duration),
}

impl State {
    fn line(&mut self, host: HostId) -> &mut Line {
        self.lines.entry(host).or_default()
    }

    fn is_resting(&mut self, account: AccountNo, now_ms: u64) -> bool {
        match self.resting.get(&account) {
            Some(until_ms) if *until_ms > now_ms => true,
            Some(_) => {
                self.resting.remove(&account);
                false
            }
            None => false,
        }
    }

    fn put(&mut self, account: Account) {
        let waiting = Waiting { account: account.number, did: account.did };
        if self.line(account.host).push(waiting) {
            self.waiting += 1;
        }
    }

    fn take(&mut self, host: HostId) -> Option<Waiting> {
        let taken = self.line(host).pop();
        if taken.is_some() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        taken
    }

    /// Hosts to ask, those first whose turn is longest ago.
    fn due(&self, now_ms: u64) -> Vec<HostId> {
        let due = self.lines.iter().filter(|(_, line)| line.is_due(now_ms));
        let mut due: Vec<HostId> = due.map(|(host, _)| *host).collect();
        let behind = due.partition_point(|host| *host <= self.last_host);
        due.rotate_left(behind);
        due
    }

    /// Gives whether a worker may begin.
    fn begin(&mut self, host: HostId, group: &str) -> bool {
        self.line(host).group = Some(group.to_owned());
        if !self.busy.insert(group.to_owned()) {
            return false;
        }
        self.line(host).running = true;
        self.last_host = host;
        true
    }

    fn ended(&mut self, host: HostId, group: &str) {
        self.line(host).running = false;
        self.busy.remove(group);
    }

    fn put_back(&mut self, waiting: Waiting, (host, until_ms): (HostId, u64)) {
        self.line(host).rest(until_ms);
        if self.line(host).push_first(waiting) {
            self.waiting += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, HostSeq, LastEvent, LocalStatus, Seq, UpstreamStatus};

    fn account(host: u32, host_seq: u64, upstream: UpstreamStatus) -> Account {
        let last = LastEvent { host: HostId(host), epoch: Epoch(1), host_seq: HostSeq(host_seq) };
        Account {
            number: AccountNo(7),
            did: Did::parse("did:web:example.com").unwrap(),
            host: HostId(host),
            upstream,
            local: LocalStatus::None,
            repo: None,
            key: None,
            identity_checked_ms: 0,
            last: Some(last),
            last_seq: Seq(0),
        }
    }

    /// An answer counts only if no event of its account came meanwhile: a newer one may have made a
    /// record that the answer does not know, or taken the last one away that it still names.
    #[test]
    fn an_answer_that_an_event_has_overtaken_does_not_count() {
        let before = account(1, 5, UpstreamStatus::Active);
        let looked_up = Account { identity_checked_ms: 9, ..before.clone() };
        assert!(is_same(&before, &looked_up), "its key was looked up, nothing else");
        for now in [
            account(1, 6, UpstreamStatus::Active),
            account(2, 5, UpstreamStatus::Active),
            account(1, 5, UpstreamStatus::Deactivated),
            Account { number: AccountNo(8), ..before.clone() },
            Account { last: None, ..before.clone() },
        ] {
            assert!(!is_same(&before, &now), "{now:?}");
        }
    }
}
