//! The numbers of many DIDs at once, and nothing else of their rows: as few values as possible cross from
//! the database, as for [`super::standing`].

use std::collections::HashMap;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use relay_protocol::Did;

use super::{Db, StoreError, accounts::did_bytes, db::Statement};
use crate::domain::AccountNo;

/// DIDs of one statement.
const DIDS_MAX: usize = 2_000;

const SQLITE: &str = "SELECT group_concat(number || ' ' || hex(did), char(10)) FROM relay_account \
                      WHERE did IN (SELECT unhex(value) FROM json_each(?1))";
const POSTGRES: &str = "SELECT string_agg(number || ' ' || encode(did, 'hex'), chr(10)) \
                        FROM relay_account WHERE did = ANY (ARRAY(SELECT decode(value, 'hex') \
                        FROM json_array_elements_text($1::json)))";

/// The number of each, in their order; `None` for one without a row.
pub(super) async fn of(db: &Db, dids: &[Did]) -> Result<Vec<Option<AccountNo>>, StoreError> {
    let mut numbers = Vec::with_capacity(dids.len());
    for piece in dids.chunks(DIDS_MAX) {
        let bytes: Vec<Vec<u8>> = piece.iter().map(did_bytes).collect();
        let found = found(db, &bytes).await?;
        numbers.extend(bytes.iter().map(|did| found.get(did).copied()));
    }
    Ok(numbers)
}

async fn found(db: &Db, dids: &[Vec<u8>]) -> Result<HashMap<Vec<u8>, AccountNo>, StoreError> {
    let digits: Vec<String> = dids.iter().map(|did| HEXLOWER.encode(did)).collect();
    let list = format!("[\"{}\"]", digits.join("\",\""));
    let statement = Statement::either((SQLITE, POSTGRES), vec![list.as_str().into()]);
    let rows = db.fetch(statement).await?;
    let text = rows.first().map(|row| row.maybe_text(0)).transpose()?.flatten();
    let read = |line: &str| {
        let (number, digits) = line.split_once(' ')?;
        let did = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
        Some((did, AccountNo(number.parse().ok()?)))
    };
    let wrong = |line: &str| {
        StoreError::Damaged(format!("a row of an account is not as it was written: {line}"))
    };
    let text = text.unwrap_or_default();
    text.lines().map(|line| read(line).ok_or_else(|| wrong(line))).collect()
}
