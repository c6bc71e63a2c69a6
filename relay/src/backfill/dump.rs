//! Pages of the whole index as others can read them, and the way back: names, not numbers.

use relay_protocol::{Did, Nsid};

use super::{
    Backfill,
    answers::COLLECTIONS_MAX,
    taking::{Taken, words},
};
use crate::{
    collections::index::{Index, PairState, Whole},
    domain::AccountNo,
};

/// Accounts of one page.
pub(super) const PAGE_MAX: usize = 1_000;

/// Longest name of a dump, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Dumps whose place is remembered.
const DUMPS_MAX: usize = 1_000;

/// An account with collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedAccount {
    /// Whose.
    pub did: String,
    /// Those that are proven.
    pub proven: Vec<String>,
    /// Those that somebody else's list names.
    pub believed: Vec<String>,
    /// Nothing is missing and nothing is doubtful.
    pub complete: bool,
}

/// What became of a page of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dumped {
    /// Accounts of the page.
    pub accounts: u64,
    /// Pairs that were handed to the index.
    pub pairs: u64,
    /// Accounts that were not known before.
    pub new: u64,
    /// Accounts of hosts that this relay does not know, or of none.
    pub unknown: u64,
}

impl Backfill {
    /// Accounts with collections above a number, and where the next page begins; `None` at the end.
    ///
    /// # Errors
    /// The store or the index.
    pub async fn dump(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<DumpedAccount>, Option<u64>), String> {
        let limit = limit.min(PAGE_MAX);
        let rows = u32::try_from(limit).unwrap_or(u32::MAX);
        let rows = self.inner.parts.store.accounts_after(AccountNo(after), rows).await;
        let rows = rows.map_err(|error| error.to_string())?;
        let next = rows.last().filter(|_| rows.len() >= limit).map(|row| row.number.0);
        let index = &self.inner.parts.index;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            let dumped = of(index, row.number, &row.did).map_err(words)?;
            if !dumped.proven.is_empty() || !dumped.believed.is_empty() {
                page.push(dumped);
            }
        }
        Ok((page, next))
    }

    /// Takes a page of a dump as believed, and remembers in one step with it how far the dump is read.
    ///
    /// * `name` – tells the dump from others
    /// * `place` – accounts of the dump up to the end of this page
    ///
    /// # Errors
    /// What is wrong with it, or was in the way; nothing was taken then.
    pub async fn take_dump(
        &self,
        (name, place): (&str, u64),
        entries: &[(Did, Vec<Nsid>)],
    ) -> Result<Dumped, String> {
        let key = self.key(name)?;
        let most = entries.iter().map(|(_, collections)| collections.len()).max().unwrap_or(0);
        if entries.len() > PAGE_MAX || most > COLLECTIONS_MAX {
            return Err(format!(
                "a page has at most {PAGE_MAX} accounts, and each at most {COLLECTIONS_MAX} collections"
            ));
        }
        let texts = |names: &[Nsid]| names.iter().map(|nsid| nsid.as_str().to_owned()).collect();
        let entries: Vec<_> =
            entries.iter().map(|(did, names)| (did.clone(), texts(names))).collect();
        let note = vec![(key, Some(place.to_string().into_bytes()))];
        let Taken { pairs, new, unknown } =
            self.inner.importer.taking.take(&entries, |_| note).await?;
        Ok(Dumped { accounts: entries.len() as u64, pairs, new, unknown })
    }

    /// Accounts of this dump that were taken already.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub fn dump_place(&self, name: &str) -> Result<u64, String> {
        let note = self.inner.parts.index.progress(&self.key(name)?).unwrap_or_default();
        Ok(std::str::from_utf8(&note).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    fn key(&self, name: &str) -> Result<Vec<u8>, String> {
        const PREFIX: &str = "backfill/dump/";
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!("the name of a dump has 1 to {NAME_BYTES_MAX} bytes"));
        }
        let key = format!("{PREFIX}{name}").into_bytes();
        let index = &self.inner.parts.index;
        let known = index.progresses(PREFIX.as_bytes(), None, DUMPS_MAX).len();
        if known >= DUMPS_MAX && index.progress(&key).is_none() {
            return Err(format!("the places of {DUMPS_MAX} dumps are remembered, and no more"));
        }
        Ok(key)
    }
}

fn of(
    index: &Index,
    number: AccountNo,
    did: &Did,
) -> Result<DumpedAccount, crate::collections::index::IndexError> {
    let (whole, pairs) = index.of_account(number)?;
    let named = |wanted: PairState| -> Vec<String> {
        let pairs = pairs.iter().filter(|(_, state)| *state == wanted);
        let mut names: Vec<String> = pairs
            .filter_map(|(collection, _)| Some(index.nsid(*collection)?.as_ref().to_owned()))
            .collect();
        names.sort_unstable();
        names
    };
    Ok(DumpedAccount {
        did: did.as_str().to_owned(),
        proven: named(PairState::Proven),
        believed: named(PairState::Believed),
        complete: whole == Whole::Complete,
    })
}
