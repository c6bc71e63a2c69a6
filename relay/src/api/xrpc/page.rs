//! Lists in pages: complete while rows are added, also with `limit=1` (API-2, T23).
//!
//! A cursor is the number of the last row shown. Numbers only grow, so a walk meets every row that was
//! there when it began.

use std::future::Future;

use crate::api::error::Error;

/// How often a page asks its source when rows are not to be shown; then it is short but has a cursor.
const ROUNDS_MAX: usize = 10;

/// Some rows in order of their numbers.
#[derive(Debug)]
pub(super) struct Rows<T> {
    /// `None` for a row that the list does not show.
    pub(super) rows: Vec<(u64, Option<T>)>,
    /// Whether there may be rows after these.
    pub(super) more: bool,
}

/// Where rows come from.
pub(super) trait Source {
    /// A row of the answer.
    type Item: Send;

    /// About `count` rows with higher numbers than `after`.
    fn fetch(
        &self,
        after: u64,
        count: usize,
    ) -> impl Future<Output = Result<Rows<Self::Item>, Error>> + Send;
}

/// One page, and where the next one starts unless this is the last.
pub(super) async fn page<S: Source>(
    source: &S,
    mut after: u64,
    limit: usize,
) -> Result<(Vec<S::Item>, Option<String>), Error> {
    let mut items = Vec::new();
    let mut last_shown = after;
    for _ in 0..ROUNDS_MAX {
        // One more than is shown tells whether this is the last page.
        let found = source.fetch(after, limit.saturating_add(1)).await?;
        for (number, item) in found.rows {
            after = number;
            let Some(item) = item else { continue };
            if items.len() == limit {
                return Ok((items, Some(last_shown.to_string())));
            }
            items.push(item);
            last_shown = number;
        }
        if !found.more {
            return Ok((items, None));
        }
    }
    Ok((items, Some(after.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers 1..=`count`; every third is hidden, or all.
    struct Numbers {
        count: u64,
        hidden: fn(u64) -> bool,
    }

    impl Source for Numbers {
        type Item = u64;

        async fn fetch(&self, after: u64, count: usize) -> Result<Rows<u64>, Error> {
            let rows: Vec<_> = (after + 1..=self.count)
                .take(count)
                .map(|number| (number, (!(self.hidden)(number)).then_some(number)))
                .collect();
            let more = rows.last().is_some_and(|(number, _)| *number < self.count);
            Ok(Rows { rows, more })
        }
    }

    async fn walk(source: &Numbers, limit: usize) -> (Vec<u64>, usize) {
        let (mut seen, mut pages, mut after) = (Vec::new(), 0, 0);
        loop {
            let (items, cursor) = page(source, after, limit).await.unwrap();
            assert!(items.len() <= limit);
            seen.extend(items);
            pages += 1;
            match cursor {
                Some(cursor) => after = cursor.parse().unwrap(),
                None => return (seen, pages),
            }
        }
    }

    /// API-2, T23: every limit meets every row once; the last page has no cursor.
    #[tokio::test]
    async fn a_walk_with_any_limit_meets_every_shown_row_once() {
        for count in [0, 1, 2, 3, 10, 100] {
            for limit in [1, 2, 3, 7, 99, 100, 1000] {
                let source = Numbers { count, hidden: |number| number % 3 == 0 };
                let expected: Vec<_> = (1..=count).filter(|number| number % 3 != 0).collect();
                let (seen, pages) = walk(&source, limit).await;
                assert_eq!(seen, expected, "{count} rows, limit {limit}");
                assert_eq!(pages, expected.len().div_ceil(limit).max(1), "no empty last page");
            }
        }
    }

    /// A long stretch of hidden rows costs one page a bounded number of questions.
    #[tokio::test]
    async fn hidden_rows_make_pages_short_but_end_none_early() {
        let source = Numbers { count: 500, hidden: |number| number < 500 };
        let (items, cursor) = page(&source, 0, 1).await.unwrap();
        assert!(items.is_empty());
        assert_eq!(cursor, Some("20".to_owned()));
        assert_eq!(walk(&source, 1).await.0, [500]);
    }
}
