//! Who waits for which host, and who is left alone for a while. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::{
    backfill::line::{Line, Told, Waiting},
    domain::{Account, AccountNo, HostId},
};

/// Accounts that are left alone for a while, because their hosts did not tell.
const RESTING_MAX: usize = 500_000;

/// How long the pace is measured.
const PACE_MS: u64 = 60_000;

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

/// The lines of all hosts.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: BTreeMap<HostId, Line>,
    /// Accounts that hosts did not tell, until when by the steady clock.
    resting: HashMap<AccountNo, u64>,
    /// Accounts above this number are looked at next; `None` = from the first.
    pub(super) after: Option<AccountNo>,
    /// Whose budgets are in use: one host of each operator is asked at a time.
    busy: BTreeSet<String>,
    /// The host that a worker was started for last; others have their turn first.
    last_host: HostId,
    waiting: usize,
    resolved: u64,
    /// Answers that events of their accounts overtook.
    pub(super) overtaken: u64,
    /// Ends of the last minutes' work: when, and how many were resolved by then.
    pace: VecDeque<(u64, u64)>,
    /// An operator asked in this process: it does not wait for the quiet to end.
    pub(super) awake: bool,
    /// An operator wants all uncertain accounts to be asked about. Ends when a round over all of them
    /// finds nobody who can be.
    hurry: bool,
    /// This round has found somebody.
    found: bool,
}

impl Queue {
    /// Begins with the first account, and leaves nobody alone who did not answer lately.
    pub(super) fn hurry(&mut self) {
        (self.awake, self.hurry, self.found, self.after) = (true, true, true, None);
        self.resting.clear();
        for line in self.lines.values_mut() {
            line.wake();
            line.hurry();
        }
    }

    /// A person waits for all uncertain accounts.
    pub(super) const fn is_in_hurry(&self) -> bool {
        self.hurry
    }

    /// All uncertain accounts were looked at, and those that can be asked about put in line.
    pub(super) fn end_round(&mut self) {
        self.hurry &= std::mem::take(&mut self.found);
    }

    /// A person waits for these accounts.
    pub(super) fn put_first(&mut self, accounts: Vec<Account>) {
        self.awake = true;
        for account in accounts {
            self.resting.remove(&account.number);
            let line = self.line(account.host);
            line.wake();
            if line.push_first(Waiting { account: account.number, did: account.did, hurry: true }) {
                self.waiting += 1;
            }
        }
    }

    /// Accounts in line over all hosts.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Operators that are being asked.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Whether the host of this line may not be asked now, because another of its operator is.
    pub(super) fn is_busy(&mut self, host: HostId) -> bool {
        let group = self.lines.get(&host).and_then(|line| line.group.as_ref());
        group.is_some_and(|group| self.busy.contains(group))
    }

    pub(super) fn view(&self, running: bool) -> ResolverView {
        let before = self.pace.front().map_or(self.resolved, |(_, resolved)| *resolved);
        ResolverView {
            waiting: u64::try_from(self.waiting).unwrap_or(u64::MAX),
            resolved: self.resolved,
            overtaken: self.overtaken,
            per_minute: self.resolved.saturating_sub(before),
            running,
        }
    }

    /// What each host was asked since the start.
    pub(super) fn told(&self) -> Vec<(HostId, usize, Told)> {
        let view = |(host, line): (&HostId, &Line)| (*host, line.len(), line.told.clone());
        self.lines.iter().map(view).collect()
    }

    pub(super) fn note_pace(&mut self, now_ms: u64) {
        self.pace.push_back((now_ms, self.resolved));
        while self.pace.front().is_some_and(|(at_ms, _)| now_ms - *at_ms > PACE_MS) {
            self.pace.pop_front();
        }
    }

    /// An account is certain now.
    pub(super) fn resolved(&mut self, host: HostId) {
        self.resolved += 1;
        self.line(host).told.resolved += 1;
    }

    /// A host did not tell of an account, which is left alone until then.
    pub(super) fn failed(&mut self, host: HostId, waiting: &Waiting, (why, until_ms): (&str, u64)) {
        let told = &mut self.line(host).told;
        told.failed += 1;
        told.note(&format!("{}: {why}", waiting.did));
        if self.resting.len() >= RESTING_MAX {
            self.resting.clear();
        }
        self.resting.insert(waiting.account, until_ms);
    }

    pub(super) fn line(&mut self, host: HostId) -> &mut Line {
        self.lines.entry(host).or_default()
    }

    pub(super) fn is_resting(&mut self, account: AccountNo, now_ms: u64) -> bool {
        match self.resting.get(&account) {
            Some(until_ms) if *until_ms > now_ms => true,
            Some(_) => {
                self.resting.remove(&account);
                false
            }
            None => false,
        }
    }

    pub(super) fn put(&mut self, account: Account, now_ms: u64) {
        let waiting = Waiting { account: account.number, did: account.did, hurry: self.hurry };
        let line = self.line(account.host);
        // Of a host that has failed nobody is waited for.
        let is_askable = !line.is_given_up(now_ms);
        if line.push(waiting) {
            self.waiting += 1;
        }
        self.found |= is_askable;
    }

    pub(super) fn take(&mut self, host: HostId) -> Option<Waiting> {
        let taken = self.line(host).pop();
        if taken.is_some() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        taken
    }

    /// Hosts to ask, those first whose turn is longest ago.
    pub(super) fn due(&self, now_ms: u64) -> Vec<HostId> {
        let due = self.lines.iter().filter(|(_, line)| line.is_due(now_ms));
        let mut due: Vec<HostId> = due.map(|(host, _)| *host).collect();
        let behind = due.partition_point(|host| *host <= self.last_host);
        due.rotate_left(behind);
        due
    }

    /// Gives whether a worker may begin.
    pub(super) fn begin(&mut self, host: HostId, group: &str) -> bool {
        self.line(host).group = Some(group.to_owned());
        if !self.busy.insert(group.to_owned()) {
            return false;
        }
        self.line(host).running = true;
        self.last_host = host;
        true
    }

    pub(super) fn ended(&mut self, host: HostId, group: &str) {
        self.line(host).running = false;
        self.busy.remove(group);
    }

    pub(super) fn put_back(&mut self, waiting: Waiting, (host, until_ms): (HostId, u64)) {
        self.line(host).rest(until_ms);
        if self.line(host).push_first(waiting) {
            self.waiting += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use relay_protocol::Did;

    use super::*;
    use crate::domain::{LocalStatus, Seq, UpstreamStatus};

    fn account(number: u64, host: u32) -> Account {
        Account {
            number: AccountNo(number),
            did: Did::parse(&format!("did:web:a{number}.example.com")).unwrap(),
            host: HostId(host),
            upstream: UpstreamStatus::Active,
            local: LocalStatus::None,
            repo: None,
            key: None,
            identity_checked_ms: 0,
            last: None,
            last_seq: Seq(0),
        }
    }

    fn next(queue: &mut Queue, host: u32) -> Option<(u64, bool)> {
        queue.take(HostId(host)).map(|waiting| (waiting.account.0, waiting.hurry))
    }

    /// A wish for all accounts ends with the round that finds none; a wish for some hurries those alone.
    #[test]
    fn nobody_hurries_longer_than_somebody_waits() {
        let mut queue = Queue::default();
        queue.put(account(1, 1), 5);
        queue.put_first(vec![account(2, 1)]);
        assert!(!queue.is_in_hurry());
        assert_eq!((next(&mut queue, 1), next(&mut queue, 1)), (Some((2, true)), Some((1, false))));

        queue.put(account(5, 3), 5);
        queue.hurry();
        assert_eq!(next(&mut queue, 3), Some((5, true)), "it stood in line already");
        queue.end_round();
        assert!(queue.is_in_hurry(), "the first round may have begun anywhere");
        queue.put(account(3, 1), 5);
        queue.end_round();
        assert!(queue.is_in_hurry() && next(&mut queue, 1) == Some((3, true)));
        queue.end_round();
        assert!(!queue.is_in_hurry(), "nobody is left");

        queue.hurry();
        queue.end_round();
        queue.line(HostId(2)).give_up(100);
        queue.put(account(4, 2), 5);
        queue.end_round();
        assert!(!queue.is_in_hurry(), "a host that is down is not waited for");
    }

    /// Whom an operator names is asked about in a hurry, also when it stood in the line.
    #[test]
    fn an_account_in_line_that_is_named_is_hurried() {
        let mut queue = Queue::default();
        queue.put(account(1, 1), 5);
        queue.put(account(2, 1), 5);
        queue.put_first(vec![account(2, 1)]);
        assert_eq!(queue.waiting(), 2);
        assert_eq!((next(&mut queue, 1), next(&mut queue, 1)), (Some((2, true)), Some((1, false))));
    }
}
