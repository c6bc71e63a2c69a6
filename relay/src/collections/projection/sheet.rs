//! What some events make of the index: the least changes that lead from what it holds to what they
//! say.

use std::collections::BTreeMap;

use super::word::Word;
use crate::{
    collections::index::{Change, CollectionNo, Doubt, Index, IndexError, PairState, Whole},
    domain::AccountNo,
};

/// What is known of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    whole: Whole,
    pairs: BTreeMap<CollectionNo, PairState>,
}

/// Accounts that some events name, as the index has them and as they are after the events.
#[derive(Debug)]
pub(super) struct Sheet<'i> {
    index: &'i Index,
    accounts: BTreeMap<AccountNo, (Known, Known)>,
    /// Names that the index has no room for.
    pub(super) refused: u64,
}

impl<'i> Sheet<'i> {
    pub(super) fn new(index: &'i Index) -> Self {
        Self { index, accounts: BTreeMap::new(), refused: 0 }
    }

    /// Takes the next event of an account.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(super) fn take(&mut self, account: AccountNo, word: Word) -> Result<(), IndexError> {
        if word == Word::Nothing {
            return Ok(());
        }
        let mut known = if let Some(known) = self.accounts.remove(&account) {
            known
        } else {
            let (whole, pairs) = self.index.of_account(account)?;
            let known = Known { whole, pairs: pairs.into_iter().collect() };
            (known.clone(), known)
        };
        self.change(&mut known.1, word)?;
        self.accounts.insert(account, known);
        Ok(())
    }

    fn change(&mut self, known: &mut Known, word: Word) -> Result<(), IndexError> {
        match word {
            Word::Exactly(names) => {
                known.pairs = self.numbers(names)?;
                known.whole = Whole::Complete;
            }
            Word::Partly { present, absent, breaks } => {
                known.pairs.extend(self.numbers(present)?);
                for name in absent {
                    if let Some(number) = self.index.find(&name) {
                        known.pairs.remove(&number);
                    }
                }
                known.whole = match known.whole {
                    Whole::Unmarked => Whole::Unsure(Doubt::OlderRecords),
                    Whole::Gone => Whole::Unsure(Doubt::Discontinuity),
                    Whole::Complete if breaks => Whole::Unsure(Doubt::Discontinuity),
                    same @ (Whole::Complete | Whole::Unsure(_)) => same,
                };
            }
            Word::Unproven(doubt) => {
                if !matches!(known.whole, Whole::Unsure(_)) {
                    known.whole = Whole::Unsure(doubt);
                }
            }
            Word::Gone => *known = Known { whole: Whole::Gone, pairs: BTreeMap::new() },
            Word::Active if known.whole == Whole::Gone => {
                known.whole = Whole::Unsure(Doubt::Discontinuity);
            }
            Word::Active | Word::Named if known.whole == Whole::Unmarked => {
                known.whole = Whole::Unsure(Doubt::OlderRecords);
            }
            Word::Active | Word::Named | Word::Nothing => {}
        }
        Ok(())
    }

    /// Their numbers, all proven. A name for which there is no room is left out and counted.
    fn numbers(
        &mut self,
        names: Vec<String>,
    ) -> Result<BTreeMap<CollectionNo, PairState>, IndexError> {
        let mut numbers = BTreeMap::new();
        for name in names {
            match self.index.number(&name) {
                Ok(number) => drop(numbers.insert(number, PairState::Proven)),
                Err(IndexError::Limit(_)) => self.refused = self.refused.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
        Ok(numbers)
    }

    /// The changes, and how many accounts became unsure for each reason.
    pub(super) fn finish(self) -> (Vec<Change>, BTreeMap<&'static str, u64>) {
        let (mut changes, mut doubts) = (Vec::new(), BTreeMap::<_, u64>::new());
        for (account, (was, now)) in self.accounts {
            if was == now {
                continue;
            }
            if let Whole::Unsure(doubt) = now.whole
                && was.whole != now.whole
            {
                *doubts.entry(doubt.name()).or_default() += 1;
            }
            write(account, (&was, now), &mut changes);
        }
        (changes, doubts)
    }
}

/// Appends what leads from one to the other.
fn write(account: AccountNo, (was, now): (&Known, Known), changes: &mut Vec<Change>) {
    if now.whole == Whole::Gone {
        changes.push(Change::Mark { account, whole: Whole::Gone });
        return;
    }
    if now.whole == Whole::Complete && was.whole != Whole::Complete {
        let collections = now.pairs.into_keys().collect();
        changes.push(Change::Replace { account, collections });
        return;
    }
    // Whatever was there is gone with a deletion, also when it came back in the same batch.
    for collection in was.pairs.keys().copied().filter(|number| !now.pairs.contains_key(number)) {
        changes.push(Change::Absent { account, collection });
    }
    for (collection, state) in now.pairs {
        if was.pairs.get(&collection) != Some(&state) {
            changes.push(Change::Present { account, collection, state });
        }
    }
    if now.whole != was.whole {
        changes.push(Change::Mark { account, whole: now.whole });
    }
}
