//! All rows at one moment: what readers hold.

use std::sync::Arc;

use super::{
    CollectionNo, Doubt, IndexError, PairState, Whole,
    key::{self, Kind, NONE, Order},
    merge::{Cursor, Merge, Prober},
    run::Run,
    segment::Segment,
};
use crate::domain::AccountNo;

/// The sources of rows. None of them changes; a new view takes the place of an old one.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// In memory, the newest last.
    pub(super) active: Vec<Arc<Run>>,
    /// In memory, being written to a segment; older than all active ones; the newest last.
    pub(super) frozen: Vec<Arc<Run>>,
    /// On disk, the newest first.
    pub(super) segments: Vec<Arc<Segment>>,
}

impl View {
    /// The newest first.
    fn sources(&self, order: Order) -> Vec<Cursor> {
        let runs = self.active.iter().rev().chain(self.frozen.iter().rev());
        let runs = runs.map(|run| Cursor::of_run(run, order));
        let segments = self.segments.iter().map(|segment| Cursor::of_segment(segment, order, 0));
        runs.chain(segments).collect()
    }

    /// Rows that are there between two keys.
    pub(super) fn scan(&self, order: Order, range: (u64, u64)) -> Result<Merge, IndexError> {
        Merge::new(self.sources(order), range)
    }

    /// For keys by collection.
    pub(super) fn prober(&self) -> Prober {
        Prober::new(self.sources(Order::Collection))
    }

    pub(super) fn page(
        &self,
        collection: CollectionNo,
        after: Option<AccountNo>,
        limit: usize,
    ) -> Result<Vec<(AccountNo, PairState)>, IndexError> {
        let Some(collection) = key::collection(collection) else { return Ok(Vec::new()) };
        self.rows(collection, after, limit, key::state)
    }

    pub(super) fn unsure(
        &self,
        after: Option<AccountNo>,
        limit: usize,
    ) -> Result<Vec<(AccountNo, Doubt)>, IndexError> {
        self.rows(key::UNSURE, after, limit, key::doubt)
    }

    /// Accounts in the rows of a collection.
    fn rows<T>(
        &self,
        collection: u32,
        after: Option<AccountNo>,
        limit: usize,
        meaning: fn(u8) -> Option<T>,
    ) -> Result<Vec<(AccountNo, T)>, IndexError> {
        let Some(range) = key::collection_range(collection, after) else { return Ok(Vec::new()) };
        let mut rows = self.scan(Order::Collection, range)?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((at, tag)) = rows.next_present()?
        {
            let (_, account) = key::parts(at);
            found.extend(meaning(tag).map(|meaning| (AccountNo(account), meaning)));
        }
        Ok(found)
    }

    /// Collections of an account with their tags.
    pub(super) fn collections(&self, account: u64) -> Result<Vec<(u32, u8)>, IndexError> {
        let mut rows = self.scan(Order::Account, key::account_range(account))?;
        let mut found = Vec::new();
        while let Some((at, tag)) = rows.next_present()? {
            found.push((key::collection_of(at), tag));
        }
        Ok(found)
    }

    /// The mark of an account.
    pub(super) fn whole(&self, account: u64) -> Result<Whole, IndexError> {
        let mut prober = self.prober();
        for kind in [Kind::Unsure, Kind::Complete, Kind::Gone] {
            let Some(row) = kind.row() else { continue };
            let tag = prober.tag(key::by_collection(row, account))?;
            match kind {
                _ if tag == NONE => {}
                Kind::Unsure => return Ok(key::doubt(tag).map_or(Whole::Unmarked, Whole::Unsure)),
                Kind::Complete => return Ok(Whole::Complete),
                Kind::Gone => return Ok(Whole::Gone),
                Kind::Unmarked => {}
            }
        }
        Ok(Whole::Unmarked)
    }
}
