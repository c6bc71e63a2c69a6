//! What was sent and what has to come of it, 16 bytes an event.

use super::{
    checker::Checker,
    event::{Event, Expect, KINDS},
    population::Population,
};
use crate::{COMMIT_FAULTS, Fault, oracle::Drops, server::lock, wire::Kind};
use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Longest stretch of seqs that is remembered; a consumer beyond it is compared by its events only.
const SEQS_MAX: usize = 1 << 26;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// One event in the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) digest: u64,
    /// The next event of the same account, or [`NONE`].
    pub(super) next: u32,
    kind: u8,
    fault: u8,
    expect: u8,
}

impl Entry {
    pub(super) fn kind(&self) -> Kind {
        KINDS.get(usize::from(self.kind)).copied().unwrap_or(Kind::Commit)
    }

    pub(super) fn passes(&self) -> bool {
        self.expect == 0
    }

    pub(super) fn reasons(&self) -> &'static [&'static str] {
        let expect = Expect::ALL.get(usize::from(self.expect)).copied();
        expect.unwrap_or(Expect::Pass).reasons(Event::fault_of(self.fault))
    }
}

/// Which event a relay gave which seq, as the first consumer of it saw.
#[derive(Debug, Default)]
pub(super) struct Seqs {
    base: i64,
    entries: Vec<u32>,
}

impl Seqs {
    fn place(&self, seq: i64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.base)?).ok()
    }

    /// The event with this seq, if a consumer saw it.
    pub(super) fn get(&self, seq: i64) -> Option<u32> {
        let entry = self.place(seq).and_then(|place| self.entries.get(place));
        entry.copied().filter(|entry| *entry != NONE)
    }

    /// The last seq that a consumer saw.
    pub(super) fn last(&self) -> i64 {
        self.base + i64::try_from(self.entries.len()).unwrap_or(i64::MAX) - 1
    }

    /// Remembers a seq; `false` when another consumer saw another event under it.
    pub(super) fn record(&mut self, seq: i64, entry: u32) -> bool {
        if self.entries.is_empty() {
            self.base = seq;
        }
        if seq < self.base {
            let missing = usize::try_from(self.base - seq).unwrap_or(usize::MAX);
            if missing > SEQS_MAX {
                return true;
            }
            self.entries.splice(..0, std::iter::repeat_n(NONE, missing));
            self.base = seq;
        }
        let Some(place) = self.place(seq).filter(|place| *place < SEQS_MAX) else { return true };
        if place >= self.entries.len() {
            self.entries.resize(place + 1, NONE);
        }
        match self.entries.get_mut(place) {
            Some(known) if *known == NONE => {
                *known = entry;
                true
            }
            Some(known) => *known == entry,
            None => true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) entries: Vec<Entry>,
    /// First event of each account, or [`NONE`].
    pub(super) heads: Vec<u32>,
    tails: Vec<u32>,
    pub(super) seqs: Seqs,
    /// Events that have to come out.
    pub(super) must: u64,
    drops: Drops,
    struck: BTreeMap<Fault, u64>,
    redelivered: u64,
}

impl Books {
    /// The events of an account from its first one on, or after the last one that came, which is
    /// given as one above its number.
    pub(super) fn after(&self, account: u32, last: u32) -> impl Iterator<Item = (u32, Entry)> {
        let next = |number: u32| self.entries.get(number as usize).map_or(NONE, |entry| entry.next);
        let first = match last.checked_sub(1) {
            None => self.heads.get(account as usize).copied().unwrap_or(NONE),
            Some(number) => next(number),
        };
        let numbers = std::iter::successors(Some(first), move |number| Some(next(*number)));
        numbers.map_while(|number| Some((number, *self.entries.get(number as usize)?)))
    }
}

/// The books of a fleet.
#[derive(Debug)]
pub struct Ledger {
    pub(super) population: Population,
    pub(super) books: Mutex<Books>,
    /// Events that hosts hold for a relay.
    pub(super) owed: AtomicU64,
    faults_wanted: bool,
}

impl Ledger {
    pub(super) fn new(population: Population, faults_wanted: bool) -> Result<Self> {
        let accounts = usize::try_from(population.len())?;
        let books = Books {
            entries: Vec::new(),
            heads: vec![NONE; accounts],
            tails: vec![NONE; accounts],
            seqs: Seqs::default(),
            must: 0,
            drops: Drops::default(),
            struck: BTreeMap::new(),
            redelivered: 0,
        };
        let books = Mutex::new(books);
        Ok(Self { population, books, owed: AtomicU64::new(0), faults_wanted })
    }

    /// An event is sent.
    pub(super) fn sent(&self, event: &Event) -> Result<()> {
        let mut books = lock(&self.books);
        let kind = KINDS.iter().position(|kind| *kind == event.kind).context("a kind")?;
        let expect = Expect::ALL.iter().position(|expect| *expect == event.expect);
        let number = u32::try_from(books.entries.len()).context("too many events")?;
        books.entries.push(Entry {
            digest: event.digest,
            next: NONE,
            kind: u8::try_from(kind)?,
            fault: Event::fault_number(event.fault),
            expect: u8::try_from(expect.context("an expectation")?)?,
        });
        let tail = books.tails.get_mut(event.account as usize).context("an account")?;
        let before = std::mem::replace(tail, number);
        match books.entries.get_mut(before as usize) {
            Some(entry) => entry.next = number,
            None => *books.heads.get_mut(event.account as usize).context("an account")? = number,
        }
        books.must += u64::from(event.expect == Expect::Pass);
        books.drops.judged(event.expect.verdict(), event.expect.reasons(event.fault));
        if let Some(fault) = event.fault {
            *books.struck.entry(fault).or_default() += 1;
        }
        Ok(())
    }

    /// A relay is given events again after a reconnection: it may count each as stale, or the
    /// announcements among them as something else.
    pub(super) fn again(&self, events: u64) {
        let mut books = lock(&self.books);
        books.redelivered += events;
        for _ in 0..events {
            books.drops.possible(&[
                "stale",
                "redundant",
                "sync_unchanged",
                "host_seq_not_increasing",
            ]);
        }
    }

    /// A checker for a consumer that sees everything since the start (cursor 0).
    pub fn checker(self: &Arc<Self>) -> Checker {
        Checker::new(Arc::clone(self), Some(0))
    }

    /// A checker for a consumer that asks for everything after this seq: what the relay gave a
    /// higher seq has to come, and so has everything that is sent from now on.
    pub fn checker_after(self: &Arc<Self>, seq: i64) -> Checker {
        Checker::new(Arc::clone(self), Some(seq))
    }

    /// A checker for a consumer that joins now, without a cursor.
    pub fn checker_from_now(self: &Arc<Self>) -> Checker {
        Checker::new(Arc::clone(self), None)
    }

    /// Events sent so far.
    pub fn events(&self) -> u64 {
        lock(&self.books).entries.len() as u64
    }

    /// Events that have to come out.
    pub fn must(&self) -> u64 {
        lock(&self.books).must
    }

    /// Events that a relay was given more than once.
    pub fn redelivered(&self) -> u64 {
        lock(&self.books).redelivered
    }

    /// Events that hosts hold for a relay that asked for them.
    pub fn undelivered(&self) -> u64 {
        self.owed.load(Ordering::Relaxed)
    }

    /// How often each fault struck.
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        lock(&self.books).struck.clone()
    }

    /// Faults that the plan asks for and that never struck; a run with some of them proves nothing.
    pub fn unfired_faults(&self) -> Vec<Fault> {
        let books = lock(&self.books);
        let wanted = COMMIT_FAULTS.iter().filter(|_| self.faults_wanted);
        wanted.filter(|fault| !books.struck.contains_key(fault)).copied().collect()
    }

    /// How many drops are to be counted under each reason label: at least and at most.
    pub fn expected_drops(&self) -> BTreeMap<&'static str, RangeInclusive<u64>> {
        lock(&self.books).drops.expected()
    }

    /// Compares the drop counters of a relay with what is expected; one sentence per difference.
    pub fn compare_drops<R: AsRef<str>>(
        &self,
        counted: impl IntoIterator<Item = (R, u64)>,
    ) -> Vec<String> {
        lock(&self.books).drops.compare(counted)
    }
}
