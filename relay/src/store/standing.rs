//! Of many accounts at once only what decides whether they are listed.
//!
//! A page of a list wants 2,000 rows, of which most columns are not looked at. Each row that crosses from
//! the thread of SQLite, and each column of it, costs more than the lookup itself; so the database writes
//! all of them into one text:
//!
//! ```text
//! number did host local upstream        a line each; DID and upstream status in hexadecimal digits
//! ```

use data_encoding::HEXLOWER_PERMISSIVE;
use futures_util::future::try_join_all;

use super::{
    Db, StoreError,
    accounts::{did_from_bytes, host_from, local},
    db::Statement,
};
use crate::domain::{AccountNo, LocalStatus, Standing, UpstreamStatus};

/// Numbers of one statement: readers of SQLite share a list.
const NUMBERS_MAX: usize = 1_000;

/// A list that has one number of so many, or more, is read from its first to its last.
const DENSE: u64 = 3;

/// The lines of the rows that the rest chooses, for SQLite.
macro_rules! sqlite {
    ($rest:literal) => {
        concat!(
            "SELECT group_concat(a.number || ' ' || hex(a.did) || ' ' || a.host || ' ' || ",
            "coalesce(d.local, '') || ' ' || hex(a.upstream), char(10)) ",
            "FROM relay_account a LEFT JOIN relay_decision d ON d.did = a.did WHERE a.number ",
            $rest
        )
    };
}

/// The same for Postgres.
macro_rules! postgres {
    ($rest:literal) => {
        concat!(
            "SELECT string_agg(a.number || ' ' || encode(a.did, 'hex') || ' ' || a.host || ' ' || ",
            "coalesce(d.local, '') || ' ' || encode(convert_to(a.upstream, 'UTF8'), 'hex'), chr(10)) ",
            "FROM relay_account a LEFT JOIN relay_decision d ON d.did = a.did WHERE a.number ",
            $rest
        )
    };
}

/// What decides about the accounts of these numbers that exist, in order of number.
///
/// * `numbers` – rising
pub(super) async fn of(db: &Db, numbers: &[AccountNo]) -> Result<Vec<Standing>, StoreError> {
    let pieces = numbers.chunks(NUMBERS_MAX).map(|piece| of_piece(db, piece));
    Ok(try_join_all(pieces).await?.concat())
}

async fn of_piece(db: &Db, numbers: &[AccountNo]) -> Result<Vec<Standing>, StoreError> {
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return Ok(Vec::new());
    };
    let count = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
    let is_dense = last.0.saturating_sub(first.0) < count.saturating_mul(DENSE);
    let statement = if is_dense {
        let values = vec![first.0.into(), last.0.into()];
        let texts = (sqlite!("BETWEEN ?1 AND ?2"), postgres!("BETWEEN $1 AND $2"));
        Statement::either(texts, values)
    } else {
        let texts = (
            sqlite!("IN (SELECT value FROM json_each(?1))"),
            postgres!(
                "= ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text($1::json)))"
            ),
        );
        Statement::either(texts, vec![json(numbers).as_str().into()])
    };
    let rows = db.fetch(statement).await?;
    let text = rows.first().map(|row| row.maybe_text(0)).transpose()?.flatten();
    let mut found = Vec::with_capacity(numbers.len());
    for line in text.unwrap_or_default().lines() {
        let (number, rest) = number(line)?;
        // A range has others between.
        if !is_dense || numbers.binary_search(&number).is_ok() {
            found.push(read(number, rest)?);
        }
    }
    found.sort_by_key(|standing| standing.number);
    Ok(found)
}

fn json(numbers: &[AccountNo]) -> String {
    let mut text = String::with_capacity(numbers.len() * 11 + 2);
    for number in numbers {
        text.push(if text.is_empty() { '[' } else { ',' });
        text.push_str(&number.0.to_string());
    }
    text.push(']');
    text
}

fn number(line: &str) -> Result<(AccountNo, &str), StoreError> {
    let read = line.split_once(' ').and_then(|(number, rest)| Some((number.parse().ok()?, rest)));
    let (number, rest) = read.ok_or_else(|| wrong(line))?;
    Ok((AccountNo(number), rest))
}

fn read(number: AccountNo, rest: &str) -> Result<Standing, StoreError> {
    let mut words = rest.split(' ');
    let mut word = || words.next().ok_or_else(|| wrong(rest));
    let bytes =
        |digits: &str| HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_digits| wrong(rest));
    let did = did_from_bytes(&bytes(word()?)?)?;
    let host = host_from(word()?.parse().map_err(|_number| wrong(rest))?);
    let decided = match word()? {
        "" => LocalStatus::None,
        text => local(text)?,
    };
    let upstream = match word()? {
        "" => UpstreamStatus::Active,
        digits => {
            let text = String::from_utf8(bytes(digits)?).map_err(|_binary| wrong(rest))?;
            UpstreamStatus::from_text(&text)
        }
    };
    Ok(Standing { number, did, host, upstream, local: decided })
}

fn wrong(line: &str) -> StoreError {
    StoreError::Damaged(format!("a row of an account is not as it was written: {line}"))
}
