//! Comparing what one consumer gets with the ledger; 4 bytes an account.

use super::{
    commit,
    ledger::{Books, Entry, Ledger, NONE},
    population::Population,
};
use crate::{Consumer, Item, Received, Report, oracle::Kinds, server::lock, wire::Kind};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::timeout;

/// How long a stream must be silent before it counts as settled.
const QUIET: Duration = Duration::from_millis(300);

/// Sentences that a report keeps; counts go on beyond them.
const FINDINGS_MAX: usize = 40;

/// Stretches of seqs that nobody had seen when this consumer passed over them. A relay leaves out
/// none, so that many would mean that there is no first consumer.
const STRETCHES_MAX: usize = 10_000;

/// Compares the events of one consumer, one by one, with what was sent.
///
/// Order, bytes and completeness are checked per account against the ledger. Consumers are also
/// compared with each other: the same seq has to be the same event for all, and one that joined
/// later may leave out none of the seqs that another got.
#[derive(Debug)]
pub struct Checker {
    ledger: Arc<Ledger>,
    /// The last event of each account that came, one above its number; 0 for none.
    last: Vec<u32>,
    /// Events below this one may be missing, because the consumer joined later.
    optional_below: u32,
    /// Of these, how many have to pass.
    optional_must: u64,
    last_seq: Option<i64>,
    /// Passed over before anyone else had seen anything there: from, and up to but without.
    stretches: Vec<(i64, i64)>,
    overflowed: bool,
    missed: BTreeSet<u32>,
    seen: u64,
    matched: u64,
    /// Matched ones that were not optional.
    matched_must: u64,
    lost: u64,
    duplicated: u64,
    strange: u64,
    disordered: u64,
    handles_left_out: u64,
    kinds: Kinds,
    findings: Vec<String>,
}

/// What an event turned out to be.
enum Found {
    /// This one.
    Expected(u32),
    /// It had to be dropped.
    Forbidden(Entry),
    /// It came before, or a later one of its account did.
    Earlier(u32),
    /// Nobody sent it.
    Nowhere,
}

impl Checker {
    /// Without a cursor the first event decides where the consumer begins.
    pub(super) fn new(ledger: Arc<Ledger>, cursor: Option<i64>) -> Self {
        let (accounts, sent, must) = {
            let books = lock(&ledger.books);
            let sent = u32::try_from(books.entries.len()).unwrap_or(NONE);
            (books.heads.len(), sent, books.must)
        };
        let late = cursor != Some(0);
        Self {
            ledger,
            last: vec![0; accounts],
            optional_below: if late { sent } else { 0 },
            optional_must: if late { must } else { 0 },
            last_seq: cursor,
            stretches: Vec::new(),
            overflowed: false,
            missed: BTreeSet::new(),
            seen: 0,
            matched: 0,
            matched_must: 0,
            lost: 0,
            duplicated: 0,
            strange: 0,
            disordered: 0,
            handles_left_out: 0,
            kinds: Kinds::new(),
            findings: Vec::new(),
        }
    }

    fn finding(&mut self, text: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(text());
        }
    }

    /// Compares the next event of the consumer.
    pub fn observe(&mut self, received: &Received) {
        self.seen += 1;
        let ledger = Arc::clone(&self.ledger);
        let mut books = lock(&ledger.books);
        self.follow_seqs(received.seq);
        let what = || format!("seq {} {} of {}", received.seq, received.kind.name(), received.did);
        let without: &[&str] =
            if received.kind == Kind::Identity { &["seq", "handle"] } else { &["seq"] };
        let account = ledger.population.number(&received.did);
        let digest = commit::digest(received.payload_bytes(), without);
        let found = match (account, digest) {
            (Some(account), Some(digest)) => self.find(&books, account, (received.kind, digest)),
            _ => Found::Nowhere,
        };
        match found {
            Found::Expected(number) => {
                self.kinds.entry(received.kind).or_default().received += 1;
                self.matched += 1;
                self.matched_must += u64::from(number >= self.optional_below);
                if let Some(account) = account {
                    self.advance(&books, account, number);
                    self.check_handle(account, received);
                }
                if !books.seqs.record(received.seq, number) {
                    self.strange += 1;
                    self.finding(|| format!("{} was another event for others", what()));
                }
            }
            Found::Forbidden(entry) => {
                self.strange += 1;
                let reasons = entry.reasons().join(" or ");
                self.finding(|| format!("{} came although it is {reasons}", what()));
            }
            Found::Earlier(number) if self.missed.remove(&number) => {
                let kind = self.kinds.entry(received.kind).or_default();
                (kind.received, kind.lost) = (kind.received + 1, kind.lost - 1);
                self.lost -= 1;
                self.matched += 1;
                self.matched_must += 1;
                self.disordered += 1;
                self.finding(|| format!("{} came after a later event of its account", what()));
            }
            Found::Earlier(_) => {
                self.kinds.entry(received.kind).or_default().duplicated += 1;
                self.duplicated += 1;
                self.finding(|| format!("{} came twice", what()));
            }
            Found::Nowhere => {
                self.strange += 1;
                self.finding(|| format!("{} was never sent like this", what()));
            }
        }
    }

    /// Seqs increase, and none is left out that another consumer got.
    fn follow_seqs(&mut self, seq: i64) {
        if let Some(last) = self.last_seq {
            if seq <= last {
                self.disordered += 1;
                self.finding(|| format!("seq {seq} came after seq {last}"));
                return;
            }
            if seq > last + 1 {
                if self.stretches.len() < STRETCHES_MAX {
                    self.stretches.push((last + 1, seq));
                } else {
                    self.overflowed = true;
                }
            }
        }
        self.last_seq = Some(seq);
    }

    fn find(&self, books: &Books, account: u32, (kind, digest): (Kind, u64)) -> Found {
        let last = self.last.get(account as usize).copied().unwrap_or(0);
        let fits = |entry: &Entry| entry.kind() == kind && entry.digest == digest;
        let ahead = books.after(account, last).filter(|(_, entry)| fits(entry));
        let mut forbidden = None;
        for (number, entry) in ahead {
            if entry.passes() {
                return Found::Expected(number);
            }
            forbidden = Some(entry);
        }
        if let Some(entry) = forbidden {
            return Found::Forbidden(entry);
        }
        let mut before = books.after(account, 0).take_while(|(number, _)| *number < last);
        match before.find(|(_, entry)| fits(entry)) {
            Some((number, entry)) if entry.passes() => Found::Earlier(number),
            Some((_, entry)) => Found::Forbidden(entry),
            None => Found::Nowhere,
        }
    }

    /// Everything of the account before this event that had to come is lost.
    fn advance(&mut self, books: &Books, account: u32, number: u32) {
        let Some(last) = self.last.get_mut(account as usize) else { return };
        let before = std::mem::replace(last, number + 1);
        let passed_over = books.after(account, before).take_while(|(at, _)| *at != number);
        for (at, entry) in passed_over {
            if !self.is_wanted(at, entry) {
                continue;
            }
            self.lost += 1;
            self.missed.insert(at);
            let kind = entry.kind();
            self.kinds.entry(kind).or_default().lost += 1;
            let name = kind.name();
            self.finding(|| format!("a later event came before a {name} of account {account}"));
        }
    }

    /// Whether this consumer has to get an event.
    fn is_wanted(&self, number: u32, entry: Entry) -> bool {
        entry.passes() && number >= self.optional_below
    }

    /// IDE-3: a handle is the one that was sent, or left out.
    fn check_handle(&mut self, account: u32, received: &Received) {
        if received.kind != Kind::Identity {
            return;
        }
        match received.handle() {
            handle if handle.is_empty() => self.handles_left_out += 1,
            handle if handle == Population::handle(account) => {}
            handle => {
                self.strange += 1;
                self.finding(|| format!("seq {} has the handle {handle}", received.seq));
            }
        }
    }

    /// `#identity` events that came without the handle that was sent.
    pub fn handles_left_out(&self) -> u64 {
        self.handles_left_out
    }

    /// Seq of the last event, which is the cursor to go on with.
    pub fn last_seq(&self) -> Option<i64> {
        self.last_seq
    }

    /// How many events that must pass have not come yet, and how many the hosts of the relay have
    /// not even handed over to it.
    pub fn outstanding(&self) -> u64 {
        let must = lock(&self.ledger.books).must - self.optional_must;
        must - self.matched_must - self.lost + self.ledger.owed.load(Ordering::Relaxed)
    }

    /// Compares what comes until nothing is missing any more and the stream is quiet; returns the
    /// comparison. A connection that ends is an error unless the consumer reconnects.
    ///
    /// # Errors
    /// When nothing comes for as long as the consumer is patient although events are missing.
    pub async fn settle(&mut self, consumer: &mut Consumer) -> Result<Report> {
        loop {
            let item = if self.outstanding() > 0 {
                consumer.next_item().await
            } else {
                match timeout(QUIET, consumer.next_item()).await {
                    Ok(item) => item,
                    Err(_quiet) => return Ok(self.report()),
                }
            };
            match item.with_context(|| self.report().to_string())? {
                Item::Event(event) => self.observe(&event),
                Item::Info { .. } | Item::Other(_) => {}
                other => bail!("the stream ended: {other:?}\n{}", self.report()),
            }
        }
    }

    /// The result so far. Everything that must pass and did not come counts as lost.
    pub fn report(&self) -> Report {
        let books = lock(&self.ledger.books);
        let mut kinds = self.kinds.clone();
        for entry in books.entries.iter().skip(self.optional_below as usize) {
            let kind = kinds.entry(entry.kind()).or_default();
            kind.sent += 1;
            if !entry.passes() {
                kind.drop_for(entry.reasons());
            }
        }
        let mut missing = Vec::new();
        for (account, last) in (0_u32..).zip(&self.last) {
            let open = books.after(account, *last);
            for (_, entry) in open.filter(|(at, entry)| self.is_wanted(*at, *entry)) {
                let kind = entry.kind();
                kinds.entry(kind).or_default().lost += 1;
                missing.push((account, kind));
            }
        }
        let left_out = self.left_out(&books);
        let missed = missing.len() as u64 + left_out.len() as u64;
        let population = self.ledger.population;
        let missing = missing
            .iter()
            .map(|(account, kind)| {
                format!("missing: {} of {}", kind.name(), population.did(*account))
            })
            .chain(left_out.iter().map(|seq| format!("seq {seq} was left out")));
        let mut findings = self.findings.clone();
        let room = FINDINGS_MAX.saturating_sub(findings.len());
        findings.extend(missing.take(room));
        Report {
            seen: self.seen,
            matched: self.matched,
            relay_made: 0,
            lost: self.lost + missed,
            duplicated: self.duplicated,
            strange: self.strange,
            disordered: self.disordered,
            unread: self.ledger.owed.load(Ordering::Relaxed),
            overflowed: self.overflowed,
            kinds,
            findings,
        }
    }

    /// Seqs that another consumer got and this one did not, among the events that are not counted
    /// already because they were sent after it joined.
    fn left_out(&self, books: &Books) -> Vec<i64> {
        let Some(last) = self.last_seq else { return Vec::new() };
        let rest = (last + 1, books.seqs.last() + 1);
        let stretches = self.stretches.iter().chain([&rest]).flat_map(|(from, to)| *from..*to);
        let old = |seq: &i64| books.seqs.get(*seq).is_some_and(|entry| entry < self.optional_below);
        stretches.filter(old).collect()
    }
}
