//! Comparing the frames of one consumer with the decisions.

use super::{Expected, KindCounts, Kinds, Ledger, Verdict};
use crate::{Received, server::lock, wire::Kind};
use anyhow::{Result, ensure};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Sentences that a report keeps; counts go on beyond them.
const FINDINGS_MAX: usize = 40;

/// Matched events per account that are remembered to tell repetitions from strangers.
const REMEMBERED: usize = 32;

/// Events of one account from one host that wait to be matched before those are forgotten that need
/// not come: an impostor's events never come, so nothing would take them away.
const OPEN_MAX: usize = 64;

/// Compares the events of one consumer, one by one, with what the hosts sent.
///
/// Bounded by what is on the way: an event is forgotten when it was matched, apart from the last
/// few digests per account.
#[derive(Debug)]
pub struct Checker {
    ledger: Arc<Ledger>,
    /// Decisions taken from the ledger so far.
    taken: Arc<AtomicU64>,
    /// Decisions below this one may be missing, because the consumer joined later.
    optional_below: u64,
    lanes: BTreeMap<Arc<str>, Vec<Lane>>,
    last_seq: i64,
    seen: u64,
    matched: u64,
    relay_made: u64,
    lost: u64,
    duplicated: u64,
    strange: u64,
    disordered: u64,
    kinds: Kinds,
    findings: Vec<String>,
}

/// The events of one account from one host, in order.
#[derive(Debug)]
struct Lane {
    host: u32,
    open: VecDeque<Arc<Expected>>,
    done: VecDeque<u128>,
    missed: VecDeque<u128>,
}

impl Lane {
    /// Forgets an event that must not come, when too many wait. One that comes although it was
    /// forgotten is strange, as it had to be dropped.
    fn shed(&mut self) -> Option<Arc<Expected>> {
        let is_full = self.open.len() > OPEN_MAX;
        self.open.pop_front_if(|open| is_full && open.verdict() == Verdict::Never)
    }
}

/// Whether they differ at most in what a relay may replace or leave out.
fn is_like(expected: &Expected, received: &Received) -> bool {
    !expected.is_exact() && expected.loose == Some(received.loose_digest())
}

/// The first event that may come and fits, by lane and place.
fn find(lanes: &[Lane], kind: Kind, fits: impl Fn(&Expected) -> bool) -> Option<(usize, usize)> {
    let may_come = |expected: &Arc<Expected>| {
        expected.kind == kind && expected.verdict() != Verdict::Never && fits(expected)
    };
    let mut numbered = lanes.iter().enumerate();
    numbered.find_map(|(lane, events)| Some((lane, events.open.iter().position(may_come)?)))
}

impl Checker {
    pub(super) fn new(ledger: Arc<Ledger>, from_now: bool) -> Self {
        let taken = Arc::new(AtomicU64::new(0));
        let optional_below = {
            let mut books = lock(&ledger.books);
            taken.store(books.log_base, Ordering::Relaxed);
            books.readers.push(Arc::downgrade(&taken));
            if from_now { books.log_base + books.log.len() as u64 } else { books.log_base }
        };
        Self {
            ledger,
            taken,
            optional_below,
            lanes: BTreeMap::new(),
            last_seq: 0,
            seen: 0,
            matched: 0,
            relay_made: 0,
            lost: 0,
            duplicated: 0,
            strange: 0,
            disordered: 0,
            kinds: Kinds::new(),
            findings: Vec::new(),
        }
    }

    fn kind(&mut self, kind: Kind) -> &mut KindCounts {
        self.kinds.entry(kind).or_default()
    }

    fn finding(&mut self, text: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(text);
        }
    }

    /// Takes over what was decided since the last time.
    fn take(&mut self) {
        let books = lock(&self.ledger.books);
        let from = self.taken.load(Ordering::Relaxed);
        let skip = usize::try_from(from.saturating_sub(books.log_base)).unwrap_or(usize::MAX);
        let mut number = from.max(books.log_base);
        for expected in books.log.iter().skip(skip) {
            let optional = number < self.optional_below;
            number += 1;
            if optional && expected.verdict() == Verdict::Must {
                expected.set_verdict(Verdict::May);
            }
            self.kinds.entry(expected.kind).or_default().sent += 1;
            let lanes = self.lanes.entry(Arc::clone(&expected.did)).or_default();
            let expected = Arc::clone(expected);
            if let Some(lane) = lanes.iter_mut().find(|lane| lane.host == expected.host) {
                lane.open.push_back(expected);
                while let Some(dropped) = lane.shed() {
                    self.kinds.entry(dropped.kind).or_default().drop_for(&dropped.reasons);
                }
            } else {
                lanes.push(Lane {
                    host: expected.host,
                    open: VecDeque::from([expected]),
                    done: VecDeque::new(),
                    missed: VecDeque::new(),
                });
            }
        }
        self.taken.store(number, Ordering::Relaxed);
    }

    /// Compares the next event of the consumer.
    pub fn observe(&mut self, received: &Received) {
        self.take();
        self.seen += 1;
        if received.seq <= self.last_seq {
            self.disordered += 1;
            let text = format!("seq {} came after seq {}", received.seq, self.last_seq);
            self.finding(text);
        }
        self.last_seq = received.seq;
        let mut lanes = self.lanes.remove(received.did.as_str()).unwrap_or_default();
        let digest = received.digest();
        let same = |expected: &Expected| expected.digest == digest;
        // Without `time` and `handle` many announcements are alike, so the same bytes go first.
        let place = find(&lanes, received.kind, same)
            .or_else(|| find(&lanes, received.kind, |expected| is_like(expected, received)));
        match place.and_then(|(lane, at)| Some((lanes.get_mut(lane)?, at))) {
            Some((lane, at)) => self.matched(lane, at),
            None => self.unmatched(&mut lanes, received),
        }
        if !lanes.is_empty() {
            self.lanes.insert(Arc::from(received.did.as_str()), lanes);
        }
    }

    fn matched(&mut self, lane: &mut Lane, at: usize) {
        self.matched += 1;
        for (index, expected) in lane.open.drain(..=at).enumerate() {
            let kind = self.kinds.entry(expected.kind).or_default();
            if index == at {
                kind.received += 1;
                push_bounded(&mut lane.done, expected.digest);
            } else if expected.verdict() == Verdict::Must {
                kind.lost += 1;
                self.lost += 1;
                push_bounded(&mut lane.missed, expected.digest);
                let text = format!("a later event came before {}", describe(&expected));
                if self.findings.len() < FINDINGS_MAX {
                    self.findings.push(text);
                }
            } else {
                kind.drop_for(&expected.reasons);
            }
        }
    }

    fn unmatched(&mut self, lanes: &mut [Lane], received: &Received) {
        let digest = received.digest();
        let name = format!("seq {} {} of {}", received.seq, received.kind.name(), received.did);
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.missed.contains(&digest)) {
            lane.missed.retain(|other| *other != digest);
            self.lost -= 1;
            self.disordered += 1;
            let kind = self.kind(received.kind);
            (kind.lost, kind.received) = (kind.lost - 1, kind.received + 1);
            self.finding(format!("{name} came after a later event of its account"));
        } else if lanes.iter().any(|lane| lane.done.contains(&digest)) {
            self.duplicated += 1;
            self.kind(received.kind).duplicated += 1;
            self.finding(format!("{name} came twice"));
        } else if let Some(expected) = lanes
            .iter()
            .flat_map(|lane| &lane.open)
            .find(|expected| expected.digest == digest && expected.kind == received.kind)
        {
            self.strange += 1;
            let reasons = expected.reasons.join(" or ");
            self.finding(format!("{name} came although it had to be dropped as {reasons}"));
        } else if self.is_relay_made(received) {
            self.relay_made += 1;
        } else {
            self.strange += 1;
            self.finding(format!("{name} was never sent like this"));
        }
    }

    /// Whether the relay may have made this announcement itself.
    fn is_relay_made(&self, received: &Received) -> bool {
        let books = lock(&self.ledger.books);
        let account = books.accounts.get(received.did.as_str());
        account.is_some_and(|account| {
            account.ignored || (received.kind == Kind::Account && account.may_announce)
        })
    }

    /// How many events that must pass have not come yet, and how many the hosts of the relay have
    /// not even handed over to it.
    pub fn outstanding(&mut self) -> u64 {
        self.take();
        self.lanes
            .values()
            .flatten()
            .flat_map(|lane| &lane.open)
            .filter(|expected| expected.verdict() == Verdict::Must)
            .count() as u64
            + self.ledger.owed()
    }

    /// Events that are kept because nothing has matched them yet.
    #[cfg(test)]
    pub(crate) fn kept(&mut self) -> usize {
        self.take();
        self.lanes.values().flatten().map(|lane| lane.open.len()).sum()
    }

    /// The result so far. Everything that must pass and did not come counts as lost.
    pub fn report(&mut self) -> Report {
        self.take();
        let mut kinds = self.kinds.clone();
        let mut open = Vec::new();
        for expected in self.lanes.values().flatten().flat_map(|lane| &lane.open) {
            let kind = kinds.entry(expected.kind).or_default();
            if expected.verdict() == Verdict::Must {
                kind.lost += 1;
                open.push(Arc::clone(expected));
            } else {
                kind.drop_for(&expected.reasons);
            }
        }
        let mut findings = self.findings.clone();
        let room = FINDINGS_MAX.saturating_sub(findings.len());
        let missing = open.iter().take(room);
        findings.extend(missing.map(|expected| format!("missing: {}", describe(expected))));
        let overflowed = lock(&self.ledger.books).overflowed;
        Report {
            seen: self.seen,
            matched: self.matched,
            relay_made: self.relay_made,
            lost: self.lost + open.len() as u64,
            duplicated: self.duplicated,
            strange: self.strange,
            disordered: self.disordered,
            unread: self.ledger.owed(),
            overflowed,
            kinds,
            findings,
        }
    }
}

fn push_bounded(digests: &mut VecDeque<u128>, digest: u128) {
    digests.push_back(digest);
    if digests.len() > REMEMBERED {
        digests.pop_front();
    }
}

fn describe(expected: &Expected) -> String {
    format!(
        "{} of {}, number {} of host {}",
        expected.kind.name(),
        expected.did,
        expected.number,
        expected.host
    )
}

/// What came of comparing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Events of the consumer.
    pub seen: u64,
    /// Those that a host sent and that may pass.
    pub matched: u64,
    /// `#account` events that the relay may make itself.
    pub relay_made: u64,
    /// Events that must pass and did not come.
    pub lost: u64,
    /// Events that came twice.
    pub duplicated: u64,
    /// Events that no host sent like this, or that had to be dropped.
    pub strange: u64,
    /// Events that came after a later one of their account, and seqs that did not increase.
    pub disordered: u64,
    /// Events that hosts hold for the relay and that it has not taken.
    pub unread: u64,
    /// Whether decisions had to be forgotten before they were compared.
    pub overflowed: bool,
    /// The same by kind of event.
    pub kinds: Kinds,
    /// Sentences about the first findings.
    pub findings: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.strange + self.disordered + self.unread == 0
            && !self.overflowed
    }

    /// The report itself if nothing is wrong.
    ///
    /// # Errors
    /// With the whole report when something is wrong, or when nothing was compared at all.
    pub fn clean(self) -> Result<Self> {
        ensure!(self.is_clean(), "{self}");
        ensure!(self.matched > 0, "nothing was compared: {self}");
        Ok(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} events seen, {} as sent, {} by the relay itself; {} lost, {} duplicated, \
             {} strange, {} disordered, {} not taken from their hosts",
            self.seen,
            self.matched,
            self.relay_made,
            self.lost,
            self.duplicated,
            self.strange,
            self.disordered,
            self.unread
        )?;
        for (kind, counts) in &self.kinds {
            write!(out, "\n  {}: {counts}", kind.name())?;
        }
        for finding in &self.findings {
            write!(out, "\n  {finding}")?;
        }
        Ok(())
    }
}
