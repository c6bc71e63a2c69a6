//! Every dropped event, counted by reason and kept as examples per host and per account (I7).
//!
//! In memory only. Bounded: a table of counters and 32 examples per host, 8 examples for each of the
//! 10,000 accounts that were last in trouble. Text from outside is escaped and cut (SEC-10).

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use lru::LruCache;
use parking_lot::Mutex;

use crate::{
    domain::{DropReason, EventKind, HostId, HostSeq},
    telemetry::metrics,
};

/// Examples per host: enough to see a pattern, about 30 kB at worst.
const HOST_EXAMPLES_MAX: usize = 32;
/// Examples per account.
const DID_EXAMPLES_MAX: usize = 8;
/// Accounts with examples: about 60 MB at worst, with every text at its longest.
const DIDS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// Duplicates after a reconnect are normal and come in thousands; they must not push out the rest.
const STALE_EXAMPLES_MAX: usize = 4;
/// Longest DID that is kept, in characters before escaping (SYN-2 warns above 256).
const DID_CHARS_MAX: usize = 256;
/// Longest detail that is kept, in characters before escaping.
const DETAIL_CHARS_MAX: usize = 500;
/// One counter per reason.
const REASONS: usize = DropReason::ALL.len();

/// One dropped event, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// When, in ms since 1970.
    pub at_ms: u64,
    /// Host that sent it.
    pub host: HostId,
    /// Its number there, if known.
    pub host_seq: Option<HostSeq>,
    /// `None` when the frame was too broken to tell.
    pub kind: Option<EventKind>,
    /// DID as sent, escaped and cut to 256 characters; `None` when unknown.
    pub did: Option<String>,
    /// Why.
    pub reason: DropReason,
    /// What was wrong in this case: expected and found CIDs, revs, hosts; cut to 500 characters.
    pub detail: String,
}

/// Counters and the last examples; shared, bounded, in memory only.
#[derive(Debug)]
pub struct Drops {
    dropped: Ledger,
    /// What strict validation would have dropped (DESIGN 10.14).
    lenient: Ledger,
}

impl Default for Drops {
    fn default() -> Self {
        Self {
            dropped: Ledger::new(metrics::INGEST_DROPPED_TOTAL),
            lenient: Ledger::new(metrics::INGEST_LENIENT_PASSED_TOTAL),
        }
    }
}

impl Drops {
    /// Counts and keeps one.
    pub fn record(&self, dropped: Dropped) {
        self.dropped.record(dropped);
    }

    /// Counts and keeps one event that passed, but that strict validation would have dropped
    /// (DESIGN 10.14, VAL-21).
    pub fn record_lenient(&self, spared: Dropped) {
        self.lenient.record(spared);
    }

    /// Totals since start, in the order of [`DropReason::ALL`].
    pub fn totals(&self) -> Vec<(DropReason, u64)> {
        self.dropped.totals()
    }

    /// Totals of one host.
    pub fn host_totals(&self, host: HostId) -> Vec<(DropReason, u64)> {
        self.dropped.host_totals(host)
    }

    /// Events dropped of each host that any was dropped of, for one reason or for all.
    pub fn by_host(&self, reason: Option<DropReason>) -> HashMap<HostId, u64> {
        self.dropped.by_host(reason)
    }

    /// Last examples of a host, newest first, at most 32.
    pub fn of_host(&self, host: HostId) -> Vec<Dropped> {
        self.dropped.of_host(host)
    }

    /// Last examples of a DID, newest first, at most 8.
    pub fn of_did(&self, did: &str) -> Vec<Dropped> {
        self.dropped.of_did(did)
    }

    /// As [`Self::totals`], of what leniency let pass.
    pub fn lenient_totals(&self) -> Vec<(DropReason, u64)> {
        self.lenient.totals()
    }

    /// As [`Self::host_totals`], of what leniency let pass.
    pub fn lenient_host_totals(&self, host: HostId) -> Vec<(DropReason, u64)> {
        self.lenient.host_totals(host)
    }

    /// As [`Self::of_host`], of what leniency let pass.
    pub fn lenient_of_host(&self, host: HostId) -> Vec<Dropped> {
        self.lenient.of_host(host)
    }

    /// As [`Self::of_did`], of what leniency let pass.
    pub fn lenient_of_did(&self, did: &str) -> Vec<Dropped> {
        self.lenient.of_did(did)
    }
}

/// One set of counters and examples.
#[derive(Debug)]
struct Ledger {
    totals: [AtomicU64; REASONS],
    counters: Vec<::metrics::Counter>,
    hosts: Mutex<HashMap<HostId, OfHost>>,
    dids: Mutex<LruCache<Box<str>, VecDeque<Dropped>>>,
}

#[derive(Debug)]
struct OfHost {
    totals: [u64; REASONS],
    examples: VecDeque<Dropped>,
}

impl Default for OfHost {
    fn default() -> Self {
        Self { totals: [0; REASONS], examples: VecDeque::new() }
    }
}

impl Ledger {
    fn new(metric: &'static str) -> Self {
        Self {
            totals: std::array::from_fn(|_| AtomicU64::new(0)),
            counters: DropReason::ALL
                .iter()
                .map(|reason| ::metrics::counter!(metric, "reason" => reason.label()))
                .collect(),
            hosts: Mutex::default(),
            dids: Mutex::new(LruCache::new(DIDS_MAX)),
        }
    }

    fn record(&self, mut dropped: Dropped) {
        let index = dropped.reason.index();
        if let Some(total) = self.totals.get(index) {
            total.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counter) = self.counters.get(index) {
            counter.increment(1);
        }
        dropped.detail = shown(&dropped.detail, DETAIL_CHARS_MAX);
        dropped.did = dropped.did.map(|did| shown(&did, DID_CHARS_MAX));
        if let Some(did) = dropped.did.as_deref() {
            let mut dids = self.dids.lock();
            let examples = dids.get_or_insert_mut(did.into(), VecDeque::new);
            keep(examples, dropped.clone(), DID_EXAMPLES_MAX);
        }
        let mut hosts = self.hosts.lock();
        let of_host = hosts.entry(dropped.host).or_default();
        if let Some(total) = of_host.totals.get_mut(index) {
            *total = total.saturating_add(1);
        }
        keep(&mut of_host.examples, dropped, HOST_EXAMPLES_MAX);
    }

    fn totals(&self) -> Vec<(DropReason, u64)> {
        let counts = self.totals.iter().map(|total| total.load(Ordering::Relaxed));
        DropReason::ALL.iter().copied().zip(counts).collect()
    }

    fn host_totals(&self, host: HostId) -> Vec<(DropReason, u64)> {
        let hosts = self.hosts.lock();
        let totals = hosts.get(&host).map_or([0; REASONS], |of_host| of_host.totals);
        DropReason::ALL.iter().copied().zip(totals).collect()
    }

    fn by_host(&self, reason: Option<DropReason>) -> HashMap<HostId, u64> {
        let hosts = self.hosts.lock();
        let count = |of_host: &OfHost| match reason {
            Some(reason) => of_host.totals.get(reason.index()).copied().unwrap_or(0),
            None => of_host.totals.iter().copied().fold(0, u64::saturating_add),
        };
        hosts
            .iter()
            .map(|(host, of_host)| (*host, count(of_host)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    fn of_host(&self, host: HostId) -> Vec<Dropped> {
        let hosts = self.hosts.lock();
        hosts
            .get(&host)
            .map_or_else(Vec::new, |of_host| of_host.examples.iter().rev().cloned().collect())
    }

    fn of_did(&self, did: &str) -> Vec<Dropped> {
        let dids = self.dids.lock();
        dids.peek(shown(did, DID_CHARS_MAX).as_str())
            .map_or_else(Vec::new, |examples| examples.iter().rev().cloned().collect())
    }
}

/// Adds the newest example and removes what is too much, duplicates first.
fn keep(examples: &mut VecDeque<Dropped>, dropped: Dropped, max: usize) {
    examples.push_back(dropped);
    let mut stale = examples.iter().filter(|kept| kept.reason == DropReason::Stale).count();
    while examples.len() > max || stale > STALE_EXAMPLES_MAX {
        let oldest = if stale > STALE_EXAMPLES_MAX {
            stale = stale.saturating_sub(1);
            examples.iter().position(|kept| kept.reason == DropReason::Stale).unwrap_or(0)
        } else {
            0
        };
        if examples.remove(oldest).is_none() {
            break;
        }
    }
}

/// Text from outside as a person may see it: control and invisible characters escaped, cut (SEC-10).
/// Quotes stay: most of the text is a sentence of ours, and JSON escapes them by itself.
fn shown(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().take(chars_max) {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(host: u32, number: u64, reason: DropReason) -> Dropped {
        Dropped {
            at_ms: number,
            host: HostId(host),
            host_seq: Some(HostSeq(number)),
            kind: Some(EventKind::Commit),
            did: Some(format!("did:plc:{host}")),
            reason,
            detail: format!("number {number}"),
        }
    }

    fn count(totals: &[(DropReason, u64)], reason: DropReason) -> u64 {
        totals.iter().find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n)
    }

    /// I7: each drop appears in the total, at its host and at its account, newest first.
    #[test]
    fn a_drop_is_counted_and_kept_at_host_and_account() {
        let drops = Drops::default();
        drops.record(dropped(1, 10, DropReason::BadSignature));
        drops.record(dropped(1, 11, DropReason::WrongHost));
        drops.record(dropped(2, 12, DropReason::WrongHost));

        assert_eq!(count(&drops.totals(), DropReason::WrongHost), 2);
        assert_eq!(count(&drops.host_totals(HostId(1)), DropReason::WrongHost), 1);
        assert_eq!(count(&drops.host_totals(HostId(3)), DropReason::WrongHost), 0);
        let at_host: Vec<_> = drops.of_host(HostId(1)).iter().map(|d| d.at_ms).collect();
        assert_eq!(at_host, [11, 10]);
        assert_eq!(drops.of_did("did:plc:2").len(), 1);
        assert_eq!(drops.of_did("did:plc:3"), []);
        let all = HashMap::from([(HostId(1), 2), (HostId(2), 1)]);
        assert_eq!(drops.by_host(None), all);
        let signatures = HashMap::from([(HostId(1), 1)]);
        assert_eq!(drops.by_host(Some(DropReason::BadSignature)), signatures);
    }

    /// I5: what one host or one account can make us keep is bounded; the counters go on.
    #[test]
    fn examples_are_bounded_and_the_newest_stay() {
        let drops = Drops::default();
        for number in 0..1000 {
            drops.record(dropped(1, number, DropReason::Fork));
        }
        assert_eq!(drops.of_host(HostId(1)).len(), HOST_EXAMPLES_MAX);
        assert_eq!(drops.of_host(HostId(1))[0].at_ms, 999);
        assert_eq!(drops.of_did("did:plc:1").len(), DID_EXAMPLES_MAX);
        assert_eq!(count(&drops.totals(), DropReason::Fork), 1000);
    }

    /// I5: the number of accounts with examples is bounded too.
    #[test]
    fn the_accounts_longest_without_trouble_are_forgotten() {
        let drops = Drops::default();
        for number in 0..=10_000 {
            drops.record(dropped(number, 1, DropReason::Fork));
        }
        assert_eq!(drops.of_did("did:plc:0"), []);
        assert_eq!(drops.of_did("did:plc:10000").len(), 1);
    }

    /// VAL-7: a flood of duplicates after a reconnect does not hide the one real problem.
    #[test]
    fn duplicates_do_not_push_out_other_examples() {
        let drops = Drops::default();
        drops.record(dropped(1, 1, DropReason::BadSignature));
        for number in 2..500 {
            drops.record(dropped(1, number, DropReason::Stale));
        }
        let reasons: Vec<_> = drops.of_host(HostId(1)).iter().map(|d| d.reason).collect();
        assert_eq!(reasons.len(), 5);
        assert_eq!(reasons[4], DropReason::BadSignature);
        assert_eq!(count(&drops.host_totals(HostId(1)), DropReason::Stale), 498);
    }

    /// SEC-10: hostile text cannot break a line, nor grow without limit.
    #[test]
    fn text_from_outside_is_escaped_and_cut() {
        let drops = Drops::default();
        let mut hostile = dropped(1, 1, DropReason::BadDid);
        hostile.did = Some("did:x:\u{1b}[2J\n".to_owned() + &"a".repeat(5000));
        hostile.detail = "\n".repeat(5000);
        drops.record(hostile.clone());

        let kept = drops.of_host(HostId(1)).remove(0);
        let did = kept.did.expect("a DID");
        assert!(did.starts_with("did:x:\\u{1b}[2J\\n"), "{did}");
        assert!(did.chars().count() < 300);
        assert_eq!(kept.detail.len(), 1000);
        assert_eq!(drops.of_did(&hostile.did.expect("a DID")).len(), 1);

        let mut ours = dropped(1, 2, DropReason::FutureRev);
        ours.detail = "ahead of this relay's clock".to_owned();
        drops.record(ours.clone());
        assert_eq!(drops.of_host(HostId(1))[0].detail, ours.detail, "our words stay readable");
    }

    /// DESIGN 10.14: what leniency lets pass is counted apart from what is dropped.
    #[test]
    fn spared_events_are_counted_apart() {
        let drops = Drops::default();
        drops.record_lenient(dropped(1, 1, DropReason::Legacy));
        assert_eq!(count(&drops.totals(), DropReason::Legacy), 0);
        assert_eq!(count(&drops.lenient_totals(), DropReason::Legacy), 1);
        assert_eq!(count(&drops.lenient_host_totals(HostId(1)), DropReason::Legacy), 1);
        assert_eq!(drops.lenient_of_host(HostId(1)).len(), 1);
        assert_eq!(drops.lenient_of_did("did:plc:1").len(), 1);
    }
}
