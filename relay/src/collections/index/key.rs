//! A row as one number, in either of its two orders.
//!
//! | order | upper bits | lower bits | serves |
//! |---|---|---|---|
//! | by collection | 24 collection | 39 account | pages |
//! | by account | 39 account | 24 collection | what an account has |
//!
//! 63 bits, so that the difference of two keys has one to spare.
//!
//! The first numbers of collections are not given out: rows of theirs are the marks of accounts, in the
//! first order only.

use super::{CollectionNo, Doubt, PairState, Whole};
use crate::domain::AccountNo;

/// Bits of an account in a key: half a trillion accounts.
const ACCOUNT_BITS: u32 = 39;
/// Bits of a collection in a key.
const COLLECTION_BITS: u32 = 24;
/// Largest account that a key holds.
const ACCOUNT_MAX: u64 = (1 << ACCOUNT_BITS) - 1;
const COLLECTION_MASK: u64 = (1 << COLLECTION_BITS) - 1;

/// Accounts marked [`Whole::Unsure`]; the tag is the code of the doubt.
pub(super) const UNSURE: u32 = 0;
/// Accounts marked [`Whole::Complete`].
pub(super) const COMPLETE: u32 = 1;
/// Accounts marked [`Whole::Gone`].
pub(super) const GONE: u32 = 2;
/// Number of the first collection that has an NSID.
pub(super) const FIRST: u32 = 3;

/// There is no row: hides one in older files.
pub(super) const NONE: u8 = 0;
/// A proven pair, or a mark that has no more to say.
pub(super) const PROVEN: u8 = 1;
/// A believed pair.
pub(super) const BELIEVED: u8 = 2;
/// Tags are smaller than this.
pub(super) const TAGS: u8 = 16;

/// Which of the two orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Collection,
    Account,
}

/// The account as a key holds it, `None` if it is too large.
pub(super) fn account(account: AccountNo) -> Option<u64> {
    (account.0 <= ACCOUNT_MAX).then_some(account.0)
}

/// By collection.
pub(super) fn by_collection(collection: u32, account: u64) -> u64 {
    (u64::from(collection) << ACCOUNT_BITS) | (account & ACCOUNT_MAX)
}

/// Collection and account of a key by collection.
pub(super) fn parts(key: u64) -> (u32, u64) {
    (small(key >> ACCOUNT_BITS), key & ACCOUNT_MAX)
}

/// The same row by account; `None` for a mark.
pub(super) fn to_by_account(key: u64) -> Option<u64> {
    let (collection, account) = parts(key);
    (collection >= FIRST).then_some((account << COLLECTION_BITS) | u64::from(collection))
}

/// The collection of a key by account.
pub(super) fn collection_of(by_account: u64) -> u32 {
    small(by_account & COLLECTION_MASK)
}

/// First and last key of a collection, after an account.
pub(super) fn collection_range(collection: u32, after: Option<AccountNo>) -> Option<(u64, u64)> {
    let first = after.map_or(Some(0), |after| after.0.checked_add(1))?;
    let first = account(AccountNo(first))?;
    Some((by_collection(collection, first), by_collection(collection, ACCOUNT_MAX)))
}

/// First and last key of an account.
pub(super) fn account_range(account: u64) -> (u64, u64) {
    let first = account << COLLECTION_BITS;
    (first, first | COLLECTION_MASK)
}

fn small(bits: u64) -> u32 {
    u32::try_from(bits & COLLECTION_MASK).unwrap_or(u32::MAX)
}

/// A collection as a key holds it; `None` for one that no index gives out.
pub(super) fn collection(collection: CollectionNo) -> Option<u32> {
    let number = collection.0;
    (number >= FIRST && u64::from(number) <= COLLECTION_MASK).then_some(number)
}

/// The tag of a pair.
pub(super) fn tag(state: PairState) -> u8 {
    match state {
        PairState::Proven => PROVEN,
        PairState::Believed => BELIEVED,
    }
}

/// The pair with this tag; `None` when there is none.
pub(super) fn state(tag: u8) -> Option<PairState> {
    match tag {
        PROVEN => Some(PairState::Proven),
        BELIEVED => Some(PairState::Believed),
        _ => None,
    }
}

/// The tag of a doubt.
pub(super) fn doubt_tag(doubt: Doubt) -> u8 {
    match doubt {
        Doubt::OlderRecords => 1,
        Doubt::Discontinuity => 2,
        Doubt::Sync => 3,
        Doubt::Lenient => 4,
        Doubt::LogLost => 5,
        Doubt::Imported => 6,
        Doubt::Inactive => 7,
        Doubt::Moved => 8,
        Doubt::NoRoom => 9,
    }
}

/// The doubt with this tag.
pub(super) fn doubt(tag: u8) -> Option<Doubt> {
    Doubt::ALL.into_iter().find(|doubt| doubt_tag(*doubt) == tag)
}

/// The kind of mark without its reason, as two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Unmarked,
    Unsure,
    Complete,
    Gone,
}

impl Kind {
    pub(super) fn of(whole: Whole) -> Self {
        match whole {
            Whole::Unmarked => Self::Unmarked,
            Whole::Unsure(_) => Self::Unsure,
            Whole::Complete => Self::Complete,
            Whole::Gone => Self::Gone,
        }
    }

    /// The collection in whose rows this mark stands.
    pub(super) fn row(self) -> Option<u32> {
        match self {
            Self::Unmarked => None,
            Self::Unsure => Some(UNSURE),
            Self::Complete => Some(COMPLETE),
            Self::Gone => Some(GONE),
        }
    }

    pub(super) fn of_row(collection: u32) -> Option<Self> {
        [Self::Unsure, Self::Complete, Self::Gone]
            .into_iter()
            .find(|kind| kind.row() == Some(collection))
    }

    /// Whether more is known than a list can say.
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Self::Complete | Self::Gone)
    }
}

/// The marks of all accounts in two bits each, a page at a time: 10 MB for 40 million accounts.
#[derive(Debug, Default)]
pub(super) struct Marks(std::collections::BTreeMap<u64, Box<[u64; PAGE_WORDS]>>);

/// Words of a page.
const PAGE_WORDS: usize = 512;
/// Accounts of a word.
const WORD_ACCOUNTS: u64 = 32;
/// Accounts of a page.
const PAGE_ACCOUNTS: u64 = 512 * WORD_ACCOUNTS;

impl Marks {
    pub(super) fn get(&self, account: u64) -> Kind {
        let (page, word, shift) = place(account);
        let bits =
            self.0.get(&page).and_then(|page| page.get(word)).map_or(0, |word| word >> shift);
        match bits & 3 {
            1 => Kind::Unsure,
            2 => Kind::Complete,
            3 => Kind::Gone,
            _ => Kind::Unmarked,
        }
    }

    pub(super) fn set(&mut self, account: u64, kind: Kind) {
        let (page, word, shift) = place(account);
        let bits: u64 = match kind {
            Kind::Unmarked => 0,
            Kind::Unsure => 1,
            Kind::Complete => 2,
            Kind::Gone => 3,
        };
        let page = self.0.entry(page).or_insert_with(|| Box::new([0; PAGE_WORDS]));
        if let Some(word) = page.get_mut(word) {
            *word = (*word & !(3 << shift)) | (bits << shift);
        }
    }

    /// Takes over a row of marks. A mark that goes leaves one that came in its place.
    pub(super) fn row(&mut self, kind: Kind, account: u64, tag: u8) {
        if tag != NONE {
            self.set(account, kind);
        } else if self.get(account) == kind {
            self.set(account, Kind::Unmarked);
        }
    }
}

fn place(account: u64) -> (u64, usize, u64) {
    let within = account % PAGE_ACCOUNTS;
    let word = usize::try_from(within / WORD_ACCOUNTS).unwrap_or_default();
    (account / PAGE_ACCOUNTS, word, within % WORD_ACCOUNTS * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row found in one order is the same row in the other, up to the largest numbers.
    #[test]
    fn keys_hold_the_largest_account_and_collection() {
        let largest = u32::try_from(COLLECTION_MASK).unwrap();
        for (collection, account) in [(FIRST, 0), (FIRST, ACCOUNT_MAX), (largest, ACCOUNT_MAX)] {
            let key = by_collection(collection, account);
            assert_eq!(parts(key), (collection, account));
            let other = to_by_account(key).unwrap();
            assert_eq!(collection_of(other), collection);
            let (first, last) = account_range(account);
            assert!((first..=last).contains(&other));
        }
        assert_eq!(to_by_account(by_collection(GONE, 1)), None);
        assert_eq!(account(AccountNo(ACCOUNT_MAX + 1)), None);
        assert_eq!(collection(CollectionNo(GONE)), None);
        assert_eq!(collection_range(FIRST, Some(AccountNo(ACCOUNT_MAX))), None);
        assert_eq!(collection_range(FIRST, Some(AccountNo(u64::MAX))), None);
    }

    /// Every reason comes back from the disk as it was given.
    #[test]
    fn doubts_come_back_from_their_tags() {
        for known in Doubt::ALL {
            assert_eq!(doubt(doubt_tag(known)), Some(known));
            assert!((1..TAGS).contains(&doubt_tag(known)));
        }
        assert_eq!(doubt(NONE), None);
    }

    /// Marks of neighbours do not touch each other, and an old mark that goes spares the new one.
    #[test]
    fn marks_are_kept_per_account() {
        let mut marks = Marks::default();
        for (account, kind) in [(31, Kind::Gone), (32, Kind::Unsure), (33, Kind::Complete)] {
            marks.set(account, kind);
        }
        marks.row(Kind::Complete, 32, PROVEN);
        marks.row(Kind::Unsure, 32, NONE);
        marks.row(Kind::Gone, 31, NONE);

        let kinds = [30, 31, 32, 33, PAGE_ACCOUNTS * 9].map(|account| marks.get(account));
        let unmarked = Kind::Unmarked;
        assert_eq!(kinds, [unmarked, unmarked, Kind::Complete, Kind::Complete, unmarked]);
    }
}
