//! How many rows each collection had on the days before; one note a day, kept in the index.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::taking::apply;
use crate::{
    clock::Clock,
    collections::index::{Batch, Index},
};

/// Days that are kept: what grew in a week can be told on each of its days.
const DAYS_MAX: u64 = 8;

/// Collections of one note, in order of name; of more the growth is not known.
const COLLECTIONS_MAX: usize = 20_000;

const DAY_MS: u64 = 86_400_000;

const PREFIX: &str = "backfill/day/";

type Rows = BTreeMap<String, u64>;

/// Rows by day since 1970.
#[derive(Debug, Default)]
pub(super) struct Days(Mutex<BTreeMap<u64, Rows>>);

impl Days {
    /// Those that the index has.
    pub(super) fn of(index: &Index) -> Self {
        let notes = index.progresses(PREFIX.as_bytes(), None, 100);
        let days = notes.iter().filter_map(|(key, note)| {
            let day = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.parse().ok()?;
            Some((day, serde_json::from_slice(note).ok()?))
        });
        Self(Mutex::new(days.collect()))
    }

    /// Notes the rows of today, once, and forgets what is too old.
    ///
    /// # Errors
    /// The index.
    pub(super) async fn keep(&self, index: &Index, clock: &Clock) -> Result<(), String> {
        let today = clock.now_ms() / DAY_MS;
        if self.0.lock().contains_key(&today) || index.counts().collections == 0 {
            return Ok(());
        }
        let known = index.collections("", None, COLLECTIONS_MAX).into_iter();
        let rows: Rows =
            known.map(|one| (one.nsid.as_ref().to_owned(), one.count.rows())).collect();
        let note = serde_json::to_vec(&rows).map_err(|error| error.to_string())?;
        let old: Vec<u64> = {
            let days = self.0.lock();
            days.keys().copied().filter(|day| day.abs_diff(today) > DAYS_MAX).collect()
        };
        let mut progress = vec![(key(today), Some(note))];
        progress.extend(old.iter().map(|day| (key(*day), None)));
        apply(index, Batch { progress, ..Batch::default() }).await?;
        let mut days = self.0.lock();
        days.retain(|day, _| !old.contains(day));
        days.insert(today, rows);
        Ok(())
    }

    /// Rows of a collection so many days ago; `None` when that is not known.
    pub(super) fn rows(&self, nsid: &str, (now_ms, days_ago): (u64, u64)) -> Option<u64> {
        let day = (now_ms / DAY_MS).checked_sub(days_ago)?;
        let days = self.0.lock();
        // A collection that was not there had none.
        Some(days.get(&day)?.get(nsid).copied().unwrap_or(0))
    }
}

fn key(day: u64) -> Vec<u8> {
    // In order of days as texts too, for the next eight thousand years.
    format!("{PREFIX}{day:08}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::index::{Change, Options, PairState};
    use crate::domain::AccountNo;

    /// The rows of a day are those at its beginning, also for the next process.
    #[tokio::test]
    async fn growth_is_told_from_the_days_before() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), Options { memory_bytes: 16 << 20 }).unwrap();
        let clock = Clock::manual(1_800_000_000_000_000);
        let collection = index.number("a.example.one").unwrap();
        let add = |account: u64| {
            let account = AccountNo(account);
            let changes = vec![Change::Present { account, collection, state: PairState::Proven }];
            index.apply(&Batch { changes, ..Batch::default() }).unwrap();
        };
        add(1);
        let days = Days::of(&index);
        days.keep(&index, &clock).await.unwrap();
        add(2);
        days.keep(&index, &clock).await.unwrap();
        clock.advance_us(DAY_MS * 1_000);
        assert_eq!(days.rows("a.example.one", (clock.now_ms(), 1)), Some(1));
        days.keep(&index, &clock).await.unwrap();
        clock.advance_us(DAY_MS * 1_000);

        let next = Days::of(&index);

        assert_eq!(next.rows("a.example.one", (clock.now_ms(), 1)), Some(2));
        assert_eq!(next.rows("a.example.one", (clock.now_ms(), 2)), Some(1));
        assert_eq!(next.rows("b.example.two", (clock.now_ms(), 1)), Some(0));
        assert_eq!(next.rows("a.example.one", (clock.now_ms(), 7)), None);
        clock.advance_us(DAY_MS * 1_000 * 20);
        next.keep(&index, &clock).await.unwrap();
        assert_eq!(index.progresses(PREFIX.as_bytes(), None, 9).len(), 1, "the old ones are gone");
    }
}
