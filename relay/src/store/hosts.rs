//! Host rows: admission, cursors, counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Db, HostRow, StoreError,
    db::{CHUNK_ROWS, Row, Statement, Tx, Value},
};
use crate::domain::{Epoch, HostId, HostSeq, HostStatus};

/// Columns in the order in which [`read`] expects them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, hostname, secure, status, epoch, cursor_seq, account_count, account_limit, ",
            "first_seen_ms, ever_connected, last_error, clean_commits, strict_for_good, ",
            "cursor_reset_ms FROM relay_host ",
            $rest
        )
    };
}

/// Longest error text kept of a host, in characters (HOST-11, SEC-10).
const LAST_ERROR_CHARS_MAX: usize = 500;

/// All hosts, oldest first.
pub(super) async fn all(db: &Db) -> Result<Vec<HostRow>, StoreError> {
    let rows = db.fetch(Statement::new(select!("ORDER BY id"), Vec::new())).await?;
    rows.iter().map(read).collect()
}

/// Inserts hosts that are not there yet; gives all rows of these names, oldest first.
///
/// * `hosts` – name, whether TLS is used, accounts that it is to have room for at least
/// * `account_limit` – what a host gets that needs no more
///
/// The caller sees to it that only one call runs at a time: numbers are given here.
pub(super) async fn add(
    db: &Db,
    hosts: &[(String, bool, u64)],
    account_limit: u64,
    now_ms: u64,
) -> Result<Vec<HostRow>, StoreError> {
    let mut tx = db.begin().await?;
    let known = find(&mut tx, hosts).await?;
    let mut seen: BTreeSet<&str> = known.iter().map(|row| row.hostname.as_str()).collect();
    let new: Vec<_> = hosts.iter().filter(|(hostname, ..)| seen.insert(hostname)).collect();
    if new.is_empty() {
        return Ok(known);
    }

    let last = tx.fetch(Statement::new("SELECT max(id) FROM relay_host", Vec::new())).await?;
    let last = last.first().map(|row| row.maybe_int(0)).transpose()?.flatten().unwrap_or(0);
    let rows: Vec<Vec<Value>> = (last + 1..)
        .zip(new)
        .map(|(id, (hostname, secure, accounts))| {
            vec![
                id.into(),
                hostname.as_str().into(),
                (*secure).into(),
                HostStatus::Active.as_text().into(),
                account_limit.max(*accounts).into(),
                now_ms.into(),
            ]
        })
        .collect();
    let sql = "INSERT INTO relay_host (id, hostname, secure, status, account_limit, first_seen_ms) \
               VALUES {rows}";
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    let all = find(&mut tx, hosts).await?;
    tx.commit().await?;
    Ok(all)
}

async fn find(tx: &mut Tx, hosts: &[(String, bool, u64)]) -> Result<Vec<HostRow>, StoreError> {
    let names: BTreeSet<&str> = hosts.iter().map(|(hostname, ..)| hostname.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut found = Vec::new();
    for chunk in names.chunks(CHUNK_ROWS) {
        // One row with one column per name makes the list of an IN.
        let list = vec![chunk.iter().map(|name| Value::from(*name)).collect()];
        for row in tx.fetch(Statement::rows(select!("WHERE hostname IN {rows}"), list)).await? {
            found.push(read(&row)?);
        }
    }
    found.sort_by_key(|row| row.id);
    Ok(found)
}

/// Everything but cursor and account count. A higher epoch takes the cursor of the older one away.
pub(super) async fn save(db: &Db, hosts: &[HostRow]) -> Result<(), StoreError> {
    let sql = "WITH saved (id, secure, status, epoch, account_limit, ever_connected, last_error, \
               clean_commits, strict_for_good, cursor_reset_ms) AS (VALUES {rows}) \
               UPDATE relay_host SET secure = saved.secure, status = saved.status, \
               cursor_seq = CASE WHEN saved.epoch > relay_host.epoch THEN NULL \
               ELSE relay_host.cursor_seq END, \
               epoch = CASE WHEN saved.epoch > relay_host.epoch THEN saved.epoch \
               ELSE relay_host.epoch END, \
               account_limit = saved.account_limit, ever_connected = saved.ever_connected, \
               last_error = saved.last_error, clean_commits = saved.clean_commits, \
               strict_for_good = saved.strict_for_good, cursor_reset_ms = saved.cursor_reset_ms \
               FROM saved WHERE relay_host.id = saved.id";
    // Of two rows of one host the later counts.
    let hosts: BTreeMap<HostId, &HostRow> = hosts.iter().map(|host| (host.id, host)).collect();
    let rows: Vec<Vec<Value>> = hosts.into_values().map(write).collect();
    let mut tx = db.begin().await?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    tx.commit().await
}

fn write(host: &HostRow) -> Vec<Value> {
    let error = host
        .last_error
        .as_ref()
        // NUL is no text for Postgres.
        .map(|text| text.chars().filter(|c| *c != '\0').take(LAST_ERROR_CHARS_MAX).collect());
    vec![
        host.id.0.into(),
        host.secure.into(),
        host.status.as_text().into(),
        host.epoch.0.into(),
        host.account_limit.into(),
        host.ever_connected.into(),
        Value::Text(error),
        host.clean_commits.into(),
        host.strict_for_good.into(),
        host.cursor_reset_ms.into(),
    ]
}

/// Moves low-water marks forward: a higher epoch wins, within one epoch the higher seq (I2).
pub(super) async fn raise_cursors(
    tx: &mut Tx,
    cursors: &[(HostId, Epoch, HostSeq)],
) -> Result<(), StoreError> {
    let sql = "WITH moved (id, epoch, cursor_seq) AS (VALUES {rows}) \
               UPDATE relay_host SET epoch = moved.epoch, cursor_seq = moved.cursor_seq \
               FROM moved WHERE relay_host.id = moved.id AND (moved.epoch > relay_host.epoch OR \
               (moved.epoch = relay_host.epoch AND (relay_host.cursor_seq IS NULL OR \
               moved.cursor_seq > relay_host.cursor_seq)))";
    let mut highest: BTreeMap<HostId, (Epoch, HostSeq)> = BTreeMap::new();
    for (host, epoch, cursor) in cursors {
        let kept = highest.entry(*host).or_insert((*epoch, *cursor));
        *kept = (*kept).max((*epoch, *cursor));
    }
    let rows: Vec<Vec<Value>> = highest
        .into_iter()
        .map(|(host, (epoch, cursor))| vec![host.0.into(), epoch.0.into(), cursor.0.into()])
        .collect();
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    Ok(())
}

/// Adds to the counts of live accounts (HOST-10); none falls below 0.
pub(super) async fn add_counts(tx: &mut Tx, deltas: &[(HostId, i64)]) -> Result<(), StoreError> {
    let sql = "WITH counted (id, delta) AS (VALUES {rows}) \
               UPDATE relay_host SET account_count = CASE WHEN account_count + counted.delta < 0 \
               THEN 0 ELSE account_count + counted.delta END \
               FROM counted WHERE relay_host.id = counted.id";
    let mut sums: BTreeMap<HostId, i64> = BTreeMap::new();
    for (host, delta) in deltas {
        let sum = sums.entry(*host).or_default();
        *sum = sum.saturating_add(*delta);
    }
    let rows: Vec<Vec<Value>> = sums
        .into_iter()
        .filter(|(_, delta)| *delta != 0)
        .map(|(host, delta)| vec![host.0.into(), delta.into()])
        .collect();
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    Ok(())
}

/// UP-6: the host lost its sequence; its seqs count from a new epoch.
pub(super) async fn reset_cursor(db: &Db, host: HostId, now_ms: u64) -> Result<Epoch, StoreError> {
    let sql = "UPDATE relay_host SET epoch = epoch + 1, cursor_seq = NULL, cursor_reset_ms = $2 \
               WHERE id = $1 RETURNING epoch";
    let mut tx = db.begin().await?;
    let rows = tx.fetch(Statement::new(sql, vec![host.0.into(), now_ms.into()])).await?;
    let row = rows
        .first()
        .ok_or_else(|| StoreError::Damaged(format!("host {host} is not in the database")))?;
    let epoch = Epoch(small(row.int(0)?, "epoch")?);
    tx.commit().await?;
    Ok(epoch)
}

fn small(number: i64, what: &str) -> Result<u32, StoreError> {
    u32::try_from(number)
        .map_err(|_range| StoreError::Damaged(format!("{number} is no {what} of a host")))
}

/// Reads the columns of `select!`.
fn read(row: &Row) -> Result<HostRow, StoreError> {
    let status = row.text(3)?;
    Ok(HostRow {
        id: HostId(small(row.int(0)?, "number")?),
        hostname: row.text(1)?,
        secure: row.truth(2)?,
        status: HostStatus::from_text(&status)
            .ok_or_else(|| StoreError::Damaged(format!("unknown status `{status}` of a host")))?,
        epoch: Epoch(small(row.int(4)?, "epoch")?),
        cursor: row.maybe_int(5)?.map(|seq| HostSeq(seq.cast_unsigned())),
        account_count: row.number(6)?,
        account_limit: row.number(7)?,
        first_seen_ms: row.number(8)?,
        ever_connected: row.truth(9)?,
        last_error: row.maybe_text(10)?,
        clean_commits: row.number(11)?,
        strict_for_good: row.truth(12)?,
        cursor_reset_ms: row.number(13)?,
    })
}
