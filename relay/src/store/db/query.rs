//! What is asked of a database and what comes back, in one form for both.

use std::borrow::Cow;

use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use crate::store::{StoreError, trouble::trouble};

/// Values of a list that are kept prepared in every length: lookups of a few DIDs are the usual ones.
const KEPT_VALUES_MAX: usize = 16;

/// Rows per statement: where batching stops paying off on both databases (measured), and far below
/// the 32,766 parameters that SQLite takes.
pub(in crate::store) const CHUNK_ROWS: usize = 500;

/// A parameter of a query.
#[derive(Debug, Clone)]
pub(in crate::store) enum Value {
    /// Any whole number; Postgres narrows it to the column.
    Int(Option<i64>),
    /// Text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(Some(number.cast_signed()))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Int(Some(truth.into()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(bytes))
    }
}

/// A text and its values.
#[derive(Debug)]
pub(in crate::store) struct Statement {
    sql: Cow<'static, str>,
    /// The same with `?` for SQLite, which would look up the name of each parameter in a list: 6,000
    /// names made that a third of a checkpoint. Or another text, where the two know other functions.
    anonymous: Option<Cow<'static, str>>,
    values: Vec<Value>,
    /// Whether the connection keeps it prepared: not for lists of changing length.
    keep: bool,
}

impl Statement {
    /// A fixed text.
    pub(in crate::store) fn new(sql: &'static str, values: Vec<Value>) -> Self {
        Self { sql: Cow::Borrowed(sql), anonymous: None, values, keep: true }
    }

    /// A text for SQLite, and one for Postgres that means the same, where no text serves both.
    pub(in crate::store) fn either(
        (sqlite, postgres): (&'static str, &'static str),
        values: Vec<Value>,
    ) -> Self {
        let anonymous = Some(Cow::Borrowed(sqlite));
        Self { sql: Cow::Borrowed(postgres), anonymous, values, keep: true }
    }

    /// A text with one list: `{rows}` becomes `($1,…),($n,…)`, one group for each of `rows`.
    ///
    /// All rows have the same number of values; there are at most [`CHUNK_ROWS`], and no other
    /// parameter is in the text.
    pub(in crate::store) fn rows(sql: &str, rows: Vec<Vec<Value>>) -> Self {
        let values = rows.iter().map(Vec::len).sum::<usize>();
        let keep = rows.len() == CHUNK_ROWS || values <= KEPT_VALUES_MAX;
        let mut list = String::with_capacity(rows.len() * 64);
        let mut anonymous = String::with_capacity(rows.len() * 32);
        let mut parameter = 0_usize;
        for (place, row) in rows.iter().enumerate() {
            let between = if place == 0 { "(" } else { "),(" };
            list.push_str(between);
            anonymous.push_str(between);
            for column in 0..row.len() {
                parameter += 1;
                list.push_str(if column == 0 { "$" } else { ",$" });
                list.push_str(&parameter.to_string());
                anonymous.push_str(if column == 0 { "?" } else { ",?" });
            }
        }
        list.push(')');
        anonymous.push(')');
        Self {
            sql: Cow::Owned(sql.replace("{rows}", &list)),
            anonymous: Some(Cow::Owned(sql.replace("{rows}", &anonymous))),
            values: rows.into_iter().flatten().collect(),
            keep,
        }
    }

    /// Text, values, and whether it is kept, for SQLite.
    pub(super) fn sqlite(self) -> (Cow<'static, str>, Vec<Value>, bool) {
        (self.anonymous.unwrap_or(self.sql), self.values, self.keep)
    }

    /// The same for Postgres.
    pub(super) fn postgres(self) -> (Cow<'static, str>, Vec<Value>, bool) {
        (self.sql, self.values, self.keep)
    }
}

/// A row of a result; columns by their place in the query.
#[derive(Debug)]
pub(in crate::store) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of Postgres.
    Postgres(PgRow),
}

/// Reads a column without the type check of sqlx: `INTEGER` and `BIGINT` both give an i64.
macro_rules! column {
    ($row:expr, $column:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get_unchecked($column),
            Row::Postgres(row) => row.try_get_unchecked($column),
        }
        .map_err(trouble)
    };
}

impl Row {
    /// A number that may be NULL.
    pub(in crate::store) fn maybe_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        column!(self, column)
    }

    /// A number.
    pub(in crate::store) fn int(&self, column: usize) -> Result<i64, StoreError> {
        column!(self, column)
    }

    /// A number of ours, which all fit.
    pub(in crate::store) fn number(&self, column: usize) -> Result<u64, StoreError> {
        Ok(self.int(column)?.cast_unsigned())
    }

    /// 0 or 1.
    pub(in crate::store) fn truth(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// A text that may be NULL.
    pub(in crate::store) fn maybe_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        column!(self, column)
    }

    /// A text.
    pub(in crate::store) fn text(&self, column: usize) -> Result<String, StoreError> {
        column!(self, column)
    }

    /// Bytes that may be NULL.
    pub(in crate::store) fn maybe_bytes(
        &self,
        column: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        column!(self, column)
    }

    /// Bytes.
    pub(in crate::store) fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        column!(self, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list has one parameter per value, counted over all rows.
    #[test]
    fn a_list_numbers_its_parameters_through() {
        let rows = vec![vec![1_i64.into(), 2_i64.into()], vec![3_i64.into(), 4_i64.into()]];
        let statement = Statement::rows("VALUES {rows} END", rows);
        assert_eq!(statement.sql, "VALUES ($1,$2),($3,$4) END");
        assert_eq!(statement.anonymous.as_deref(), Some("VALUES (?,?),(?,?) END"));
        assert_eq!(statement.values.len(), 4);
    }
}
