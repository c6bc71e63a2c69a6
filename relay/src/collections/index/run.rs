//! Rows in memory: sorted columns that never change, so that who reads them needs no lock.

use super::key::{self, Order};

/// Rows in one order: keys ascending, none twice, each with its tag.
#[derive(Debug, Default, Clone)]
pub(super) struct Column {
    pub(super) keys: Vec<u64>,
    pub(super) tags: Vec<u8>,
}

impl Column {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { keys: Vec::with_capacity(rows), tags: Vec::with_capacity(rows) }
    }

    pub(super) fn push(&mut self, key: u64, tag: u8) {
        self.keys.push(key);
        self.tags.push(tag);
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn row(&self, place: usize) -> Option<(u64, u8)> {
        Some((*self.keys.get(place)?, *self.tags.get(place)?))
    }

    /// Place of the first key from `key` on, not before `from`.
    pub(super) fn seek(&self, key: u64, from: usize) -> usize {
        let rest = self.keys.get(from..).unwrap_or_default();
        // Nearly always a few rows ahead, when keys are asked for in order.
        let mut step = 1;
        while rest.get(step).is_some_and(|found| *found < key) {
            step *= 2;
        }
        let (low, high) = (step / 2, rest.len().min(step + 1));
        let near = rest.get(low..high).unwrap_or_default();
        from + low + near.partition_point(|found| *found < key)
    }

    /// Both together; where both have a key, the newer one counts.
    fn merged(newer: &Self, older: &Self) -> Self {
        let mut all = Self::with_capacity(newer.len() + older.len());
        let (mut left, mut right) = (0, 0);
        loop {
            match (newer.row(left), older.row(right)) {
                (Some((key, tag)), Some((other, _))) if key <= other => {
                    all.push(key, tag);
                    left += 1;
                    right += usize::from(key == other);
                }
                (_, Some((other, tag))) => {
                    all.push(other, tag);
                    right += 1;
                }
                (Some((key, tag)), None) => {
                    all.push(key, tag);
                    left += 1;
                }
                (None, None) => return all,
            }
        }
    }
}

/// The rows that some batches set, in both orders.
#[derive(Debug, Default)]
pub(super) struct Run {
    by_collection: Column,
    by_account: Column,
}

impl Run {
    /// Of rows by collection.
    pub(super) fn new(by_collection: Column) -> Self {
        let mut rows: Vec<(u64, u8)> = by_collection
            .keys
            .iter()
            .zip(&by_collection.tags)
            .filter_map(|(row, tag)| Some((key::to_by_account(*row)?, *tag)))
            .collect();
        rows.sort_unstable();
        let (keys, tags) = rows.into_iter().unzip();
        Self { by_collection, by_account: Column { keys, tags } }
    }

    pub(super) fn merged(newer: &Self, older: &Self) -> Self {
        Self {
            by_collection: Column::merged(&newer.by_collection, &older.by_collection),
            by_account: Column::merged(&newer.by_account, &older.by_account),
        }
    }

    pub(super) fn column(&self, order: Order) -> &Column {
        match order {
            Order::Collection => &self.by_collection,
            Order::Account => &self.by_account,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.by_collection.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        (self.by_collection.len() + self.by_account.len()) * ROW_BYTES
    }
}

/// Bytes of a row in one order.
const ROW_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn column(rows: &[(u64, u8)]) -> Column {
        let (keys, tags) = rows.iter().copied().unzip();
        Column { keys, tags }
    }

    /// The newest word on a pair counts, wherever it stands.
    #[test]
    fn the_newer_row_wins_and_no_row_is_lost() {
        let newer = column(&[(2, 0), (5, 1), (9, 2)]);
        let older = column(&[(1, 1), (2, 1), (7, 1), (9, 1), (11, 1)]);

        let all = Column::merged(&newer, &older);

        let rows: Vec<_> = all.keys.into_iter().zip(all.tags).collect();
        assert_eq!(rows, [(1, 1), (2, 0), (5, 1), (7, 1), (9, 2), (11, 1)]);
    }

    /// A search finds the first key that is not smaller, from every place.
    #[test]
    fn seek_finds_what_a_plain_search_finds() {
        let all = column(&(0..100).map(|number| (number * 3, 1)).collect::<Vec<_>>());
        for wanted in 0..310 {
            for from in 0..=100 {
                let plain = (from..100).find(|place| all.keys[*place] >= wanted).unwrap_or(100);
                assert_eq!(all.seek(wanted, from), plain.max(from), "{wanted} from {from}");
            }
        }
    }
}
