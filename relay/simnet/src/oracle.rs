//! What has to come out of a relay, derived from what the hosts sent.
//!
//! The hosts tell the [`Ledger`] every event at the moment when a relay is given it for the first
//! time. The ledger keeps its own model of every account (`model`) and decides whether the event
//! must pass, must be dropped and why, or may go either way. A [`Checker`] compares the frames of
//! one consumer with these decisions. Nothing here is shared with the relay.

mod check;
mod drops;
mod kinds;
mod model;

use crate::{
    adversary::{Adversary, Fault, Stage},
    server::lock,
    wire::Kind,
};
use model::AccountModel;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};
use tokio::time::Instant;

pub use check::{Checker, Report};
pub(crate) use drops::Drops;
pub use kinds::{KindCounts, Kinds};

/// Decisions kept when no checker takes them; above it the oldest go and the run is not provable.
const LOG_MAX: usize = 4_000_000;

/// What the directory answers for a DID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    /// A usable document.
    Document { host: u32, key: u64, handle: String },
    /// An answer that says that the identity does not work.
    Invalid,
    /// An answer that is no document of this DID: nobody is met by it, and what is known stays.
    Nonsense,
    /// No usable answer; a later one may be another.
    Unavailable,
}

/// What the oracle has to know of an event that a host sends.
#[derive(Debug, Clone)]
pub(crate) struct SentEvent {
    pub(crate) did: Arc<str>,
    pub(crate) host: u32,
    /// Number on the host's stream.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// Digest of the payload that a relay has to send if the event passes.
    pub(crate) digest: u128,
    /// Digest to compare instead where the relay may replace `time` or leave out `handle`.
    pub(crate) loose: Option<u128>,
    /// TID of `#commit` and `#sync`, else 0.
    pub(crate) rev: u64,
    /// First bytes of the commit CID of `#commit` and `#sync`, else 0.
    pub(crate) commit: u64,
    /// Number of the key that signed, else 0.
    pub(crate) key: u64,
    pub(crate) faults: Box<[Fault]>,
    /// Whether another host than the account's sends it.
    pub(crate) foreign: bool,
    /// The `active` of an `#account`.
    pub(crate) says_active: bool,
    /// Whether `getRepoStatus` of the host says active.
    pub(crate) host_active: bool,
    /// The handle of an `#identity`.
    pub(crate) handle: Option<Box<str>>,
}

impl SentEvent {
    /// The stage of the first check that the event fails, and the reasons that fit.
    fn flaw(&self) -> Option<(Stage, Vec<&'static str>)> {
        // Whether a rev is stale follows from what was accepted, not from the intention.
        let computed = [Fault::EqualRev, Fault::StaleRev, Fault::Fork, Fault::SyncRollback];
        let flaws = || {
            self.faults
                .iter()
                .filter(|fault| fault.stage() != Stage::Passes && !computed.contains(fault))
        };
        let stage = flaws().map(|fault| fault.stage()).min()?;
        let reasons = flaws().filter(|fault| fault.stage() == stage);
        Some((stage, reasons.flat_map(|fault| fault.reasons()).copied().collect()))
    }
}

/// Whether an event has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has to come out.
    Must,
    /// It may come out or be dropped.
    May,
    /// It has to be dropped.
    Never,
}

/// The decision on one event.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) did: Arc<str>,
    pub(crate) host: u32,
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) digest: u128,
    pub(crate) loose: Option<u128>,
    exact: AtomicBool,
    verdict: AtomicU8,
    pub(crate) reasons: Vec<&'static str>,
    pub(crate) at: Instant,
    /// Whether the decision needed a look into the directory.
    pub(crate) fetched: bool,
}

impl Expected {
    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Must,
            1 => Verdict::May,
            _ => Verdict::Never,
        }
    }

    /// Whether `time` and `handle` have to be as sent.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact.load(Ordering::Relaxed)
    }

    fn set_verdict(&self, verdict: Verdict) {
        self.verdict.store(verdict.code(), Ordering::Relaxed);
    }
}

impl Verdict {
    const fn code(self) -> u8 {
        match self {
            Self::Must => 0,
            Self::May => 1,
            Self::Never => 2,
        }
    }
}

/// The books: what was sent, what the directory says, what was decided.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    /// Events that hosts with a relay have not handed over yet.
    owed: AtomicU64,
    /// How often a relay met each adversary.
    struck: Mutex<BTreeMap<Adversary, u64>>,
}

#[derive(Debug, Default)]
struct Books {
    accounts: BTreeMap<Arc<str>, AccountModel>,
    log: VecDeque<Arc<Expected>>,
    /// Decisions that left the log at its front.
    log_base: u64,
    /// How far each living checker has read the log.
    readers: Vec<Weak<AtomicU64>>,
    /// Whether decisions were lost because no checker took them.
    overflowed: bool,
    drops: Drops,
    delivered: u64,
    redelivered: u64,
}

impl Ledger {
    /// The directory answers this from now on.
    pub(crate) fn serves(&self, did: &str, served: Served) {
        let mut books = lock(&self.books);
        let now = Instant::now();
        let downgraded = books.account(did).serves(served, now);
        books.downgrade(&downgraded);
    }

    /// A host owed a relay `before` events and now owes it `after`.
    pub(crate) fn owe(&self, before: u64, after: u64) {
        if after >= before {
            self.owed.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.owed.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Events that hosts with a relay have not handed over yet.
    pub(crate) fn owed(&self) -> u64 {
        self.owed.load(Ordering::Relaxed)
    }

    /// A relay met an adversary.
    pub(crate) fn struck(&self, adversary: Adversary) {
        *lock(&self.struck).entry(adversary).or_default() += 1;
    }

    /// How often a relay met each adversary.
    pub(crate) fn strikes(&self) -> BTreeMap<Adversary, u64> {
        lock(&self.struck).clone()
    }

    /// A relay is given this event; `again` if it was given it before.
    pub(crate) fn delivered(&self, event: &SentEvent, again: bool) {
        let mut books = lock(&self.books);
        if again {
            books.redelivered += 1;
            let flaws = event.flaw().map(|(_, reasons)| reasons).unwrap_or_default();
            books.drops.possible(&[["stale"].as_slice(), &flaws].concat());
            return;
        }
        for fault in &event.faults {
            self.struck(Adversary::Event(*fault));
        }
        if event.foreign {
            self.struck(Adversary::ForeignAccount);
        }
        books.delivered += 1;
        let now = Instant::now();
        let (decision, downgraded) = books.account(&event.did).judge(event, now);
        books.downgrade(&downgraded);
        books.record(event, decision, now);
    }

    /// A relay is given a frame that is no event. It may have closed the connection before it.
    pub(crate) fn broke(&self, reason: &'static str) {
        let mut books = lock(&self.books);
        books.drops.possible(&[reason]);
    }

    /// Leaves an account out of the comparison from now on.
    fn ignore(&self, did: &str) {
        let mut books = lock(&self.books);
        let account = books.account(did);
        account.ignored = true;
        let open = account.take_recent();
        books.downgrade(&open);
    }
}

impl Books {
    fn account(&mut self, did: &str) -> &mut AccountModel {
        if !self.accounts.contains_key(did) {
            self.accounts.insert(Arc::from(did), AccountModel::default());
        }
        self.accounts.entry(Arc::from(did)).or_default()
    }

    /// What had to pass may also be dropped, because the relay may have seen another document.
    fn downgrade(&mut self, expected: &[Arc<Expected>]) {
        for expected in expected.iter().filter(|expected| expected.verdict() == Verdict::Must) {
            expected.set_verdict(Verdict::May);
            expected.exact.store(false, Ordering::Relaxed);
            self.drops.possible(&["wrong_host", "bad_signature", "identity_invalid"]);
        }
    }

    fn record(&mut self, event: &SentEvent, decision: model::Decision, now: Instant) {
        self.drops.judged(decision.verdict, &decision.reasons);
        let expected = Arc::new(Expected {
            did: Arc::clone(&event.did),
            host: event.host,
            number: event.number,
            kind: event.kind,
            digest: event.digest,
            loose: event.loose,
            exact: AtomicBool::new(decision.exact),
            verdict: AtomicU8::new(decision.verdict.code()),
            reasons: decision.reasons,
            at: now,
            fetched: decision.fetched,
        });
        self.account(&event.did).remember(&expected, now);
        self.log.push_back(expected);
        self.trim();
    }

    /// Drops what all checkers have read; without checkers everything is kept up to the limit.
    fn trim(&mut self) {
        if self.log.len() < 4_096 {
            return;
        }
        self.readers.retain(|reader| reader.strong_count() > 0);
        let slowest = self
            .readers
            .iter()
            .filter_map(|reader| reader.upgrade().map(|at| at.load(Ordering::Relaxed)))
            .min();
        let mut keep_from = slowest.unwrap_or(self.log_base);
        let newest = self.log_base + self.log.len() as u64;
        if newest.saturating_sub(keep_from) > LOG_MAX as u64 {
            self.overflowed = true;
            keep_from = newest - LOG_MAX as u64;
        }
        while self.log_base < keep_from {
            self.log.pop_front();
            self.log_base += 1;
        }
    }
}

/// The judge of the simulated network.
#[derive(Debug, Clone)]
pub struct Oracle {
    ledger: Arc<Ledger>,
}

impl Oracle {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }

    /// A checker for a consumer that sees everything since the start (cursor 0).
    pub fn checker(&self) -> Checker {
        Checker::new(Arc::clone(&self.ledger), false)
    }

    /// A checker for a consumer that joins now: what was decided before may still come, or not.
    pub fn checker_from_now(&self) -> Checker {
        Checker::new(Arc::clone(&self.ledger), true)
    }

    /// Compares all frames of one consumer, from cursor 0, with everything decided so far.
    pub fn check(&self, received: &[crate::Received]) -> Report {
        let mut checker = self.checker();
        for event in received {
            checker.observe(event);
        }
        checker.report()
    }

    /// Leaves an account out of the comparison, because the test acts on it in the relay itself
    /// (takedown, throttling).
    pub fn ignore(&self, did: impl AsRef<str>) {
        self.ledger.ignore(did.as_ref());
    }

    /// How many events a relay was given, not counting repetitions.
    pub fn delivered(&self) -> u64 {
        lock(&self.ledger.books).delivered
    }

    /// How many events a relay was given again after a reconnection.
    pub fn redelivered(&self) -> u64 {
        lock(&self.ledger.books).redelivered
    }

    /// How many drops are to be counted under each reason label: at least and at most.
    pub fn expected_drops(&self) -> BTreeMap<&'static str, RangeInclusive<u64>> {
        lock(&self.ledger.books).drops.expected()
    }

    /// Compares the drop counters of a relay with what is expected; one sentence per difference.
    /// Reasons that were not expected at all and count 0 may be left out or listed.
    pub fn compare_drops<R: AsRef<str>>(
        &self,
        counted: impl IntoIterator<Item = (R, u64)>,
    ) -> Vec<String> {
        lock(&self.ledger.books).drops.compare(counted)
    }
}
