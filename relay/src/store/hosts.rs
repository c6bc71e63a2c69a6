//! Host rows: admission, cursors, counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Db, Store, StoreError,
    db::{CHUNK_ROWS, Row, Statement, Tx, Value},
};
use crate::domain::{Epoch, HostId, HostSeq, HostStatus, OwnLimits, Strictness};

/// A host as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent columns of a table")]
pub struct HostRow {
    /// Number from first sight.
    pub id: HostId,
    /// `host` or `host:port`.
    pub hostname: String,
    /// Whether TLS is used.
    pub secure: bool,
    /// Status.
    pub status: HostStatus,
    /// How often the cursor was reset.
    pub epoch: Epoch,
    /// Low-water mark: everything at or below is durable or dropped (I2); `None` before the first.
    pub cursor: Option<HostSeq>,
    /// Live accounts (HOST-10), kept as deltas.
    pub account_count: u64,
    /// Accounts this host may have (HOST-7); from `RELAY_DEFAULT_ACCOUNT_LIMIT` at first sight.
    pub account_limit: u64,
    /// First seen, ms since 1970.
    pub first_seen_ms: u64,
    /// Ever connected (HOST-11).
    pub ever_connected: bool,
    /// Last error in words, at most 500 characters.
    pub last_error: Option<String>,
    /// Inductive commits in a row, for the ratchet (DESIGN 10.14).
    pub clean_commits: u64,
    /// Ratcheted for good.
    pub strict_for_good: bool,
    /// Last automatic cursor reset (UP-6), ms since 1970, 0 = never.
    pub cursor_reset_ms: u64,
    /// Limits that were set for this host alone.
    pub own_limits: OwnLimits,
    /// What its limits grew by with good behaviour, in percent (HOST-8).
    pub growth: u64,
    /// What was decided about its validation.
    pub strictness: Strictness,
    /// Until when alerts about it are silenced, ms since 1970, 0 = not at all.
    pub silenced_until_ms: u64,
    /// Why it has its status, in words; `None` when there is nothing to say.
    pub status_reason: Option<String>,
    /// Since when it has its status, ms since 1970, 0 = since it was first seen.
    pub status_since_ms: u64,
    /// Admitted because somebody asked from outside (HOST-3).
    pub by_request: bool,
    /// Changes that were recorded so far.
    pub changes: u64,
}

/// Columns in the order in which [`read`] expects them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, hostname, secure, status, epoch, cursor_seq, account_count, account_limit, ",
            "first_seen_ms, ever_connected, last_error, clean_commits, strict_for_good, ",
            "cursor_reset_ms, own_accounts, own_per_second, own_per_hour, own_per_day, growth, ",
            "strictness, lenient_until_ms, silenced_until_ms, status_reason, status_since_ms, ",
            "by_request, changes FROM relay_host ",
            $rest
        )
    };
}

/// Longest text kept about a host, in characters (HOST-11, SEC-10).
const TEXT_CHARS_MAX: usize = 500;

impl Store {
    /// Inserts hosts that are not there yet (by hostname); gives all rows of these names, oldest
    /// first. Durable at once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was inserted then.
    pub async fn add_hosts(
        &self,
        hosts: &[(String, bool)],
        now_ms: u64,
    ) -> Result<Vec<HostRow>, StoreError> {
        let hosts: Vec<_> =
            hosts.iter().map(|(hostname, secure)| (hostname.clone(), *secure, 0)).collect();
        self.add_hosts_for(&hosts, now_ms).await
    }

    /// The same with the accounts that each is to have room for at least, whatever the usual limit.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was inserted then.
    pub async fn add_hosts_for(
        &self,
        hosts: &[(String, bool, u64)],
        now_ms: u64,
    ) -> Result<Vec<HostRow>, StoreError> {
        let _alone = self.shared.adding_hosts.lock().await;
        add(self.db(), hosts, (self.account_limit, false), now_ms).await
    }

    /// The same for hosts that somebody asked for from outside.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was inserted then.
    pub async fn add_requested_hosts(
        &self,
        hosts: &[(String, bool, u64)],
        now_ms: u64,
    ) -> Result<Vec<HostRow>, StoreError> {
        let _alone = self.shared.adding_hosts.lock().await;
        add(self.db(), hosts, (self.account_limit, true), now_ms).await
    }
}

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
    (account_limit, by_request): (u64, bool),
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
                by_request.into(),
            ]
        })
        .collect();
    let sql = "INSERT INTO relay_host (id, hostname, secure, status, account_limit, \
               first_seen_ms, by_request) VALUES {rows}";
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
pub(super) async fn save(tx: &mut Tx, hosts: &[HostRow]) -> Result<(), StoreError> {
    let sql = "WITH saved (id, secure, status, epoch, account_limit, ever_connected, last_error, \
               clean_commits, strict_for_good, cursor_reset_ms, own_accounts, own_per_second, \
               own_per_hour, own_per_day, growth, strictness, lenient_until_ms, \
               silenced_until_ms, status_reason, status_since_ms, by_request, changes) \
               AS (VALUES {rows}) \
               UPDATE relay_host SET secure = saved.secure, status = saved.status, \
               cursor_seq = CASE WHEN saved.epoch > relay_host.epoch THEN NULL \
               ELSE relay_host.cursor_seq END, \
               epoch = CASE WHEN saved.epoch > relay_host.epoch THEN saved.epoch \
               ELSE relay_host.epoch END, \
               account_limit = saved.account_limit, ever_connected = saved.ever_connected, \
               last_error = saved.last_error, clean_commits = saved.clean_commits, \
               strict_for_good = saved.strict_for_good, cursor_reset_ms = saved.cursor_reset_ms, \
               own_accounts = saved.own_accounts, own_per_second = saved.own_per_second, \
               own_per_hour = saved.own_per_hour, own_per_day = saved.own_per_day, \
               growth = saved.growth, strictness = saved.strictness, \
               lenient_until_ms = saved.lenient_until_ms, \
               silenced_until_ms = saved.silenced_until_ms, \
               status_reason = saved.status_reason, status_since_ms = saved.status_since_ms, \
               by_request = saved.by_request, changes = saved.changes \
               FROM saved WHERE relay_host.id = saved.id";
    // Of two rows of one host the later counts.
    let hosts: BTreeMap<HostId, &HostRow> = hosts.iter().map(|host| (host.id, host)).collect();
    let rows: Vec<Vec<Value>> = hosts.into_values().map(write).collect();
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    Ok(())
}

/// Text as both databases take it, not longer than what is kept; NUL is no text for Postgres.
pub(super) fn kept(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(TEXT_CHARS_MAX).collect()
}

fn write(host: &HostRow) -> Vec<Value> {
    let error = host.last_error.as_deref().map(kept);
    let own = |limit: Option<u64>| Value::Int(limit.map(u64::cast_signed));
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
        own(host.own_limits.accounts),
        own(host.own_limits.per_second),
        own(host.own_limits.per_hour),
        own(host.own_limits.per_day),
        host.growth.into(),
        host.strictness.as_text().into(),
        host.strictness.until_ms().into(),
        host.silenced_until_ms.into(),
        Value::Text(host.status_reason.as_deref().map(kept)),
        host.status_since_ms.into(),
        host.by_request.into(),
        host.changes.into(),
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

fn small(number: i64, what: &str) -> Result<u32, StoreError> {
    u32::try_from(number)
        .map_err(|_range| StoreError::Damaged(format!("{number} is no {what} of a host")))
}

/// Reads the columns of `select!`.
fn read(row: &Row) -> Result<HostRow, StoreError> {
    let status = row.text(3)?;
    let strictness = row.text(19)?;
    let own = |column| Ok(row.maybe_int(column)?.map(i64::cast_unsigned));
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
        own_limits: OwnLimits {
            accounts: own(14)?,
            per_second: own(15)?,
            per_hour: own(16)?,
            per_day: own(17)?,
        },
        growth: row.number(18)?,
        strictness: Strictness::from_text(&strictness, row.number(20)?)
            .ok_or_else(|| StoreError::Damaged(format!("unknown strictness `{strictness}`")))?,
        silenced_until_ms: row.number(21)?,
        status_reason: row.maybe_text(22)?,
        status_since_ms: row.number(23)?,
        by_request: row.truth(24)?,
        changes: row.number(25)?,
    })
}
