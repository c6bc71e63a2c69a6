//! Accounts and what they have, by chance and yet the same each time.

use relay::{
    collections::index::{Batch, Change, CollectionNo, Doubt, Index, IndexError, PairState},
    domain::AccountNo,
};

/// Collections; the most popular is at nine accounts of ten, the others at ever fewer.
const COLLECTIONS: u32 = 400;
/// Share of the accounts that have the most popular one.
const POPULAR: f64 = 0.93;
/// Pairs of an account, in the mean: what comes of the two numbers above, and what the network has.
const PAIRS_PER_ACCOUNT: u64 = 6;
/// Pairs of one batch of an import.
const BATCH: usize = 50_000;

/// Accounts of a page of somebody else's list.
pub(crate) const SHUFFLED_PAGE: usize = 1_000;

/// Numbers that look random.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// The accounts up to a number.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) collections: Vec<CollectionNo>,
    /// Accounts so far.
    pub(crate) accounts: u64,
}

impl World {
    pub(crate) fn new(index: &Index) -> Result<Self, IndexError> {
        let names = (0..COLLECTIONS).map(|number| format!("org.example.records.kind{number}"));
        let collections = names.map(|name| index.number(&name)).collect::<Result<_, _>>()?;
        Ok(Self { collections, accounts: 0 })
    }

    /// Adds accounts until there are about so many pairs, as an import does: one collection after the
    /// other, each in the order of the accounts.
    pub(crate) fn grow(&mut self, index: &Index, pairs: u64) -> Result<(), IndexError> {
        self.grow_to(index, pairs / PAIRS_PER_ACCOUNT)
    }

    /// The same until there are so many accounts.
    pub(crate) fn grow_to(&mut self, index: &Index, last: u64) -> Result<(), IndexError> {
        let first = self.accounts;
        let mut dice = Dice::new(last);
        let mut changes = Vec::with_capacity(BATCH);
        for (place, collection) in (1_u32..).zip(&self.collections) {
            // The mean distance of two accounts that have it.
            let distance = f64::from(place) / POPULAR;
            let spread = whole((distance - 1.0) * 2_000.0);
            let mut at = first;
            loop {
                at += 1 + (dice.below(spread + 1) + 500) / 1_000;
                if at > last {
                    break;
                }
                let account = AccountNo(at);
                let state = PairState::Believed;
                changes.push(Change::Present { account, collection: *collection, state });
                if changes.len() == BATCH {
                    apply(index, &mut changes)?;
                }
            }
        }
        self.accounts = last;
        apply(index, &mut changes)
    }

    /// About so many pairs as they come from the lists of another relay: collection by collection, its
    /// accounts in the order of that relay, a page a batch. Gives the pages.
    pub(crate) fn shuffle(&mut self, index: &Index, pairs: u64) -> Result<u64, IndexError> {
        self.accounts = pairs / PAIRS_PER_ACCOUNT;
        let mut order: Vec<u64> = (1..=self.accounts).collect();
        let mut dice = Dice::new(pairs);
        for place in (1..order.len()).rev() {
            let other = usize::try_from(dice.below(place as u64 + 1)).unwrap_or_default();
            order.swap(place, other);
        }
        let mut pages = 0;
        for (place, collection) in (1_u32..).zip(&self.collections) {
            // So that a share of POPULAR / place has it.
            let among = whole(f64::from(place) * 1_000_000.0 / POPULAR);
            let has = order.iter().filter(|_| dice.below(among) < 1_000_000);
            let mut page = Vec::with_capacity(SHUFFLED_PAGE * 2);
            let mut listed = 0;
            for account in has.copied().map(AccountNo) {
                page.push(Change::Doubt { account, doubt: Doubt::Imported });
                let state = PairState::Believed;
                page.push(Change::Present { account, collection: *collection, state });
                listed += 1;
                if listed == SHUFFLED_PAGE {
                    (listed, pages) = (0, pages + 1);
                    apply(index, &mut page)?;
                }
            }
            pages += 1;
            apply(index, &mut page)?;
        }
        Ok(pages)
    }

    /// What a thousand commits of every day come to: most accounts are active ones, most records of a
    /// kind that they have; each proof shows a neighbour for nothing.
    pub(crate) fn day(&self, dice: &mut Dice, events: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..events {
            let active = dice.below(10) < 9;
            let among = if active { self.accounts / 20 } else { self.accounts };
            let account = AccountNo(1 + dice.below(among));
            for _ in 0..2 {
                let popular = usize::try_from(dice.below(8)).unwrap_or_default();
                let Some(collection) = self.collections.get(popular).copied() else { continue };
                changes.push(match dice.below(300) {
                    0 => Change::Absent { account, collection },
                    _ => Change::Present { account, collection, state: PairState::Proven },
                });
            }
        }
        changes
    }
}

fn apply(index: &Index, changes: &mut Vec<Change>) -> Result<(), IndexError> {
    let progress = vec![(b"bench".to_vec(), Some(vec![0; 16]))];
    let batch = Batch { position: None, changes: std::mem::take(changes), progress };
    let applied = index.apply(&batch);
    *changes = batch.changes;
    changes.clear();
    applied
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number above nothing"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}
