//! Who gave which event, and when: the matching behind `provision compare`, without clock or network.
//!
//! An event is one when account, revision and type are the same. It counts when its first sighting
//! falls into the time that is measured, and it is settled some time later: whoever has not given it
//! by then has missed it. Keys stay for long after that, so that a late copy is known to be one.
//!
//! Limits: [`KEYS_MAX`] events, [`ACCOUNTS_MAX`] accounts, [`LISTED_MAX`] misses with their names.
//! By the sizes of their fields about 300 MB when all are reached, which takes 20 minutes of the whole
//! network.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    ops::Range,
};

use super::delays::Delays;

/// Most relays at once: as many bits as a mask has.
pub const RELAYS_MAX: usize = 16;
/// Events that are remembered; the oldest is forgotten first.
const KEYS_MAX: usize = 1_000_000;
/// Accounts that are told apart.
const ACCOUNTS_MAX: usize = 500_000;
/// Misses that are kept by name, of all relays together. More are counted only.
const LISTED_MAX: usize = 10_000;

/// An event that a relay gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which relay, by its place in the list.
    pub relay: usize,
    /// When it came, ms since the start.
    pub at_ms: u64,
    /// The account.
    pub did: String,
    /// What identifies the event; `None` for identities and accounts, which carry no revision.
    pub rev: Option<Revision>,
}

/// What identifies an event of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision {
    /// `commit` or `sync`.
    pub kind: &'static str,
    /// Its revision.
    pub rev: String,
}

/// An event that a relay did not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// The relay that has it not.
    pub relay: usize,
    /// The account.
    pub did: String,
    /// Which event.
    pub revision: Revision,
}

/// What one relay gave.
#[derive(Debug, Clone, Default)]
pub struct OfRelay {
    /// All events in the time that is measured, also those without revision.
    pub events: u64,
    /// Accounts that they are of.
    pub accounts: u64,
    /// Of the events that any relay gave.
    pub matched: u64,
    /// Those that others gave and this one did not.
    pub missing: u64,
    /// Those that nobody else gave.
    pub only_here: u64,
    /// Those that came when they had already counted as missing.
    pub late: u64,
    /// How much later than at the first relay they came.
    pub delays: Delays,
}

/// What is known of one account.
#[derive(Debug, Clone, Default)]
pub struct OfAccount {
    /// Events that any relay gave.
    pub events: u32,
    /// Those of each relay.
    pub matched: Vec<u32>,
    /// Relays that gave anything of it.
    seen: u16,
}

/// Counts and matches sightings.
#[derive(Debug)]
pub struct Tally {
    settle_ms: u64,
    measured: Range<u64>,
    hasher: RandomState,
    entries: HashMap<u64, Entry>,
    /// In order of arrival.
    order: VecDeque<(u64, u64)>,
    /// How many at the front of `order` are settled.
    settled: usize,
    relays: Vec<OfRelay>,
    accounts: HashMap<String, OfAccount>,
    misses: Vec<Miss>,
    union: u64,
    /// Events that were settled early for want of memory.
    early: u64,
}

#[derive(Debug)]
struct Entry {
    sighting: Sighting,
    mask: u16,
    is_settled: bool,
}

impl Tally {
    /// Nothing is measured before [`Self::measure`].
    ///
    /// * `relays` – how many there are, at most [`RELAYS_MAX`]
    /// * `settle_ms` – how much later than the first a relay may give an event
    #[must_use]
    pub fn new(relays: usize, settle_ms: u64) -> Self {
        Self {
            settle_ms,
            measured: u64::MAX..u64::MAX,
            hasher: RandomState::new(),
            entries: HashMap::new(),
            order: VecDeque::new(),
            settled: 0,
            relays: vec![OfRelay::default(); relays.min(RELAYS_MAX)],
            accounts: HashMap::new(),
            misses: Vec::new(),
            union: 0,
            early: 0,
        }
    }

    /// Events whose first sighting falls into this time count.
    pub fn measure(&mut self, from_ms: u64, to_ms: u64) {
        self.measured = from_ms..to_ms;
    }

    /// Takes in one event.
    pub fn see(&mut self, sighting: Sighting) {
        let now = sighting.at_ms;
        self.settle(now);
        if sighting.relay >= self.relays.len() {
            return;
        }
        let bit = 1_u16 << sighting.relay;
        if self.measured.contains(&now) {
            let is_new = self.is_new_account(&sighting, bit);
            if let Some(of_relay) = self.relays.get_mut(sighting.relay) {
                of_relay.events += 1;
                of_relay.accounts += u64::from(is_new);
            }
        }
        let Some(revision) = &sighting.rev else { return };
        let key = self.hasher.hash_one((&sighting.did, revision));
        let Some(entry) = self.entries.get_mut(&key) else {
            self.order.push_back((key, now));
            if self.measured.contains(&now)
                && let Some(of_relay) = self.relays.get_mut(sighting.relay)
            {
                of_relay.delays.note(0);
            }
            self.entries.insert(key, Entry { sighting, mask: bit, is_settled: false });
            self.forget();
            return;
        };
        let is_measured = self.measured.contains(&entry.sighting.at_ms);
        if entry.mask & bit != 0 || !is_measured {
            entry.mask |= bit;
            return;
        }
        entry.mask |= bit;
        if let Some(of_relay) = self.relays.get_mut(sighting.relay) {
            if entry.is_settled {
                of_relay.late += 1;
            } else {
                of_relay.delays.note(now.saturating_sub(entry.sighting.at_ms));
            }
        }
    }

    /// Whether the relay gives this account's first event; remembers the account.
    fn is_new_account(&mut self, sighting: &Sighting, bit: u16) -> bool {
        let relays = self.relays.len();
        if !self.accounts.contains_key(&sighting.did) {
            if self.accounts.len() >= ACCOUNTS_MAX {
                return false;
            }
            let blank = OfAccount { matched: vec![0; relays], ..OfAccount::default() };
            self.accounts.insert(sighting.did.clone(), blank);
        }
        let Some(account) = self.accounts.get_mut(&sighting.did) else { return false };
        let is_new = account.seen & bit == 0;
        account.seen |= bit;
        is_new
    }

    /// Decides about events whose time is over at this moment.
    pub fn settle(&mut self, now_ms: u64) {
        while let Some((key, first)) = self.order.get(self.settled).copied() {
            if first.saturating_add(self.settle_ms) > now_ms {
                return;
            }
            self.decide(key);
            self.settled += 1;
        }
    }

    /// Keeps memory within its limit.
    fn forget(&mut self) {
        while self.order.len() > KEYS_MAX {
            let Some((key, _)) = self.order.pop_front() else { return };
            if self.settled == 0 {
                self.early += 1;
                self.decide(key);
            }
            self.settled = self.settled.saturating_sub(1);
            self.entries.remove(&key);
        }
    }

    fn decide(&mut self, key: u64) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.is_settled = true;
        if !self.measured.contains(&entry.sighting.at_ms) {
            return;
        }
        self.union += 1;
        let account = self.accounts.get_mut(&entry.sighting.did);
        let mut unknown = OfAccount::default();
        let account = account.unwrap_or(&mut unknown);
        account.events = account.events.saturating_add(1);
        for (place, relay) in self.relays.iter_mut().enumerate() {
            let bit = 1_u16 << place;
            if entry.mask & bit == 0 {
                relay.missing += 1;
                if let Some(revision) = &entry.sighting.rev
                    && self.misses.len() < LISTED_MAX
                {
                    let did = entry.sighting.did.clone();
                    self.misses.push(Miss { relay: place, did, revision: revision.clone() });
                }
                continue;
            }
            relay.matched += 1;
            relay.only_here += u64::from(entry.mask == bit);
            if let Some(count) = account.matched.get_mut(place) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// What each relay gave, in the order of the list.
    #[must_use]
    pub fn relays(&self) -> &[OfRelay] {
        &self.relays
    }

    /// Events that any relay gave.
    #[must_use]
    pub fn union(&self) -> u64 {
        self.union
    }

    /// Events that nobody waited for because there were too many.
    #[must_use]
    pub fn early(&self) -> u64 {
        self.early
    }

    /// The first misses.
    #[must_use]
    pub fn misses(&self) -> &[Miss] {
        &self.misses
    }

    /// The accounts, as far as they are told apart.
    #[must_use]
    pub fn accounts(&self) -> &HashMap<String, OfAccount> {
        &self.accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: u64 = 1_000;

    fn tally() -> Tally {
        let mut tally = Tally::new(2, SETTLE);
        tally.measure(10_000, 20_000);
        tally
    }

    fn see(tally: &mut Tally, relay: usize, at_ms: u64, did: &str, rev: &str) {
        let rev = Some(Revision { kind: "commit", rev: rev.to_owned() });
        tally.see(Sighting { relay, at_ms, did: did.to_owned(), rev });
    }

    /// Coverage is what a relay gave of all that anybody gave, and what is missing has a name.
    #[test]
    fn what_one_relay_lacks_is_found_by_name() {
        let mut tally = tally();
        see(&mut tally, 0, 11_000, "did:a", "1");
        see(&mut tally, 1, 11_030, "did:a", "1");
        see(&mut tally, 1, 11_500, "did:b", "1");
        see(&mut tally, 1, 11_600, "did:a", "2");
        see(&mut tally, 0, 11_601, "did:a", "2");
        tally.settle(30_000);

        let [left, right] = tally.relays() else { panic!("two relays") };
        assert_eq!((tally.union(), left.matched, left.missing), (3, 2, 1));
        assert_eq!((right.matched, right.missing, right.only_here), (3, 0, 1));
        assert_eq!((left.accounts, right.accounts), (1, 2));
        assert_eq!(right.delays.quantile(1.0), Some(30));
        let [miss] = tally.misses() else { panic!("one miss: {:?}", tally.misses()) };
        assert_eq!((miss.relay, miss.did.as_str()), (0, "did:b"));
        assert_eq!(tally.accounts()["did:a"].matched, [2, 2]);
    }

    /// The edges of the time that is measured make nobody look worse: what came before the start at
    /// one relay and after it at the other does not count, and neither does what comes after the end.
    #[test]
    fn the_edges_of_the_time_count_for_nobody() {
        let mut tally = tally();
        see(&mut tally, 0, 9_900, "did:a", "1");
        see(&mut tally, 1, 10_100, "did:a", "1");
        see(&mut tally, 1, 20_000, "did:a", "2");
        see(&mut tally, 0, 19_999, "did:a", "3");
        see(&mut tally, 1, 20_400, "did:a", "3");
        tally.settle(30_000);
        assert_eq!(tally.union(), 1);
        assert!(tally.relays().iter().all(|relay| relay.missing == 0), "{:?}", tally.relays());
    }

    /// A relay that is late has missed the event once; its copy is not taken for an event that the
    /// others have missed.
    #[test]
    fn a_late_copy_is_counted_as_late_and_once() {
        let mut tally = tally();
        see(&mut tally, 0, 11_000, "did:a", "1");
        see(&mut tally, 1, 12_500, "did:a", "1");
        see(&mut tally, 0, 12_600, "did:a", "1");
        tally.settle(30_000);
        let [left, right] = tally.relays() else { panic!("two relays") };
        assert_eq!((left.missing, right.missing, right.late), (0, 1, 1));
        assert_eq!(tally.union(), 1);
    }

    /// Identities and accounts carry no revision: they are counted and not compared.
    #[test]
    fn events_without_revision_are_only_counted() {
        let mut tally = tally();
        tally.see(Sighting { relay: 0, at_ms: 11_000, did: "did:a".to_owned(), rev: None });
        tally.settle(30_000);
        assert_eq!((tally.relays()[0].events, tally.union()), (1, 0));
    }
}
