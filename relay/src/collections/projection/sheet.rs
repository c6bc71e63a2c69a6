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
                let (pairs, room) = self.numbers(names)?;
                known.pairs = pairs;
                known.whole = if room { Whole::Complete } else { Whole::Unsure(Doubt::NoRoom) };
            }
            Word::Partly { present, absent, breaks } => {
                let (pairs, room) = self.numbers(present)?;
                known.pairs.extend(pairs);
                for name in absent {
                    if let Some(number) = self.index.find(&name) {
                        known.pairs.remove(&number);
                    }
                }
                known.whole = match known.whole {
                    Whole::Unmarked | Whole::Unsure(Doubt::Inactive) => {
                        Whole::Unsure(Doubt::OlderRecords)
                    }
                    Whole::Gone => Whole::Unsure(Doubt::Discontinuity),
                    Whole::Complete if breaks => Whole::Unsure(Doubt::Discontinuity),
                    Whole::Complete if !room => Whole::Unsure(Doubt::NoRoom),
                    same @ (Whole::Complete | Whole::Unsure(_)) => same,
                };
            }
            Word::Unproven(doubt) => {
                if !matches!(known.whole, Whole::Unsure(reason) if reason != Doubt::Inactive) {
                    known.whole = Whole::Unsure(doubt);
                }
            }
            // What it writes until it returns is dropped unseen.
            Word::Inactive if known.whole != Whole::Gone => {
                known.whole = Whole::Unsure(Doubt::Inactive);
            }
            Word::Gone => *known = Known { whole: Whole::Gone, pairs: BTreeMap::new() },
            Word::Active { moved } => {
                known.whole = match known.whole {
                    Whole::Gone => Whole::Unsure(Doubt::Discontinuity),
                    Whole::Unmarked | Whole::Unsure(Doubt::Inactive) => {
                        Whole::Unsure(Doubt::OlderRecords)
                    }
                    Whole::Complete if moved => Whole::Unsure(Doubt::Moved),
                    same @ (Whole::Complete | Whole::Unsure(_)) => same,
                };
            }
            Word::Named { moved } => {
                known.whole = match known.whole {
                    Whole::Unmarked => Whole::Unsure(Doubt::OlderRecords),
                    Whole::Complete if moved => Whole::Unsure(Doubt::Moved),
                    same @ (Whole::Complete | Whole::Unsure(_) | Whole::Gone) => same,
                };
            }
            Word::Inactive | Word::Nothing => {}
        }
        Ok(())
    }

    /// Their numbers, all proven, and whether there was room for all names: one that finds none is left
    /// out and counted.
    fn numbers(
        &mut self,
        names: Vec<String>,
    ) -> Result<(BTreeMap<CollectionNo, PairState>, bool), IndexError> {
        let (mut numbers, mut room) = (BTreeMap::new(), true);
        for name in names {
            match self.index.number(&name) {
                Ok(number) => drop(numbers.insert(number, PairState::Proven)),
                Err(IndexError::Limit(_)) => {
                    self.refused = self.refused.saturating_add(1);
                    room = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((numbers, room))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::index::{Batch, Options};

    const ALICE: AccountNo = AccountNo(1);
    const UNMARKED: Whole = Whole::Unmarked;
    const COMPLETE: Whole = Whole::Complete;
    const GONE: Whole = Whole::Gone;

    fn unsure(doubt: Doubt) -> Whole {
        Whole::Unsure(doubt)
    }

    /// What is known of Alice after a word, when this was known before.
    fn after(index: &Index, before: Whole, word: &Word) -> Whole {
        let mut changes = vec![Change::Mark { account: ALICE, whole: before }];
        index.apply(&Batch { changes, ..Batch::default() }).unwrap();
        let mut sheet = Sheet::new(index);
        sheet.take(ALICE, word.clone()).unwrap();
        (changes, _) = sheet.finish();
        index.apply(&Batch { changes, ..Batch::default() }).unwrap();
        index.of_account(ALICE).unwrap().0
    }

    /// An account that is not served is not asked about until it returns, and what it wrote meanwhile, or
    /// at the host before, is never taken for known; a word that shows the records settles it.
    #[test]
    fn who_left_or_moved_is_uncertain_until_the_records_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), Options { memory_bytes: 16 << 20 }).unwrap();
        let (older, gap, away, moved) = (
            unsure(Doubt::OlderRecords),
            unsure(Doubt::Discontinuity),
            unsure(Doubt::Inactive),
            unsure(Doubt::Moved),
        );
        let befores = [UNMARKED, COMPLETE, gap, away, GONE];
        let partly = |breaks| Word::Partly { present: Vec::new(), absent: Vec::new(), breaks };
        for (word, afters) in [
            (Word::Inactive, [away, away, away, away, GONE]),
            (Word::Active { moved: false }, [older, COMPLETE, gap, older, gap]),
            (Word::Active { moved: true }, [older, moved, gap, older, gap]),
            (Word::Named { moved: false }, [older, COMPLETE, gap, away, GONE]),
            (Word::Named { moved: true }, [older, moved, gap, away, GONE]),
            (partly(false), [older, COMPLETE, gap, older, gap]),
            (partly(true), [older, gap, gap, older, gap]),
            (Word::Unproven(Doubt::Sync), [Doubt::Sync; 5].map(unsure)),
            (Word::Exactly(Vec::new()), [COMPLETE; 5]),
            (Word::Gone, [GONE; 5]),
        ] {
            for (before, mut expected) in befores.into_iter().zip(afters) {
                if before == gap && matches!(word, Word::Unproven(_)) {
                    // The first reason stays.
                    expected = gap;
                }
                assert_eq!(after(&index, before, &word), expected, "{before:?}, {word:?}");
            }
        }
    }

    /// Whoever uses a name that finds no room is not known in full, whatever else is shown.
    #[test]
    fn a_name_without_room_leaves_its_account_uncertain() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), Options { memory_bytes: 16 << 20 }).unwrap();
        let names = || vec!["com.example.one".to_owned(), "x".repeat(1_000)];
        let partly = || Word::Partly { present: names(), absent: Vec::new(), breaks: false };
        let no_room = unsure(Doubt::NoRoom);
        assert_eq!(after(&index, COMPLETE, &partly()), no_room);
        assert_eq!(after(&index, COMPLETE, &Word::Exactly(names())), no_room);
        assert_eq!(after(&index, UNMARKED, &partly()), unsure(Doubt::OlderRecords));
        assert_eq!(index.of_account(ALICE).unwrap().1.len(), 1, "what has room is there");
        let shown = Word::Exactly(vec!["com.example.one".to_owned()]);
        assert_eq!(after(&index, no_room, &shown), COMPLETE);

        let mut sheet = Sheet::new(&index);
        sheet.take(ALICE, Word::Exactly(names())).unwrap();
        assert_eq!(sheet.refused, 1);
    }
}
