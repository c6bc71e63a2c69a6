//! How far lists of others were read: hosts of relays, accounts of hosts.

use std::collections::BTreeMap;

use super::{
    Db, Store, StoreError,
    db::{CHUNK_ROWS, Row, Statement, Tx, Value},
    meta,
};
use crate::domain::HostId;

/// Longest error text that is kept, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// One run through the list of hosts of another relay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullRow {
    /// The relay, `host` or `host:port`.
    pub source: String,
    /// Whether TLS is used.
    pub secure: bool,
    /// What to ask the next page with; `None` for the first.
    pub next_page: Option<String>,
    /// Hosts on the pages so far.
    pub listed: u64,
    /// Of these, not known before.
    pub added: u64,
    /// Known before.
    pub known: u64,
    /// Given up by that relay, or never read by it.
    pub passed_over: u64,
    /// No names of hosts, or banned here.
    pub refused: u64,
    /// When it began, ms since 1970.
    pub started_ms: u64,
    /// When it ended; `None` while there are pages left.
    pub finished_ms: Option<u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// One run through the list of accounts of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WalkRow {
    /// The host.
    pub host: HostId,
    /// What to ask the next page with; `None` for the first.
    pub next_page: Option<String>,
    /// Accounts on the pages so far.
    pub listed: u64,
    /// Of these, not known before and confirmed by their DID documents.
    pub added: u64,
    /// Known with another status.
    pub changed: u64,
    /// Not confirmed by their DID documents.
    pub refused: u64,
    /// An operator asked for it.
    pub asked: bool,
    /// When it began, ms since 1970.
    pub started_ms: u64,
    /// When it ended; `None` while there are pages left.
    pub finished_ms: Option<u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A host that a DID document names and that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CandidateRow {
    /// `host` or `host:port`.
    pub hostname: String,
    /// The first DID whose document named it.
    pub did: String,
    /// When that was, ms since 1970.
    pub first_seen_ms: u64,
    /// It is to be admitted.
    pub wanted: bool,
    /// When that was last tried.
    pub tried_ms: Option<u64>,
    /// What came of it, in words.
    pub outcome: Option<String>,
}

/// How the operations of the PLC directory are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanWish {
    /// Pages of a thousand operations a second at most.
    pub rate: u32,
    /// Admit the hosts that they name.
    pub add: bool,
}

/// The usual: slow, and nothing is admitted.
impl Default for ScanWish {
    fn default() -> Self {
        Self { rate: 1, add: false }
    }
}

impl ScanWish {
    /// As it is kept.
    fn to_text(self) -> String {
        format!("{} {}", self.rate, if self.add { "add" } else { "list" })
    }

    /// What was kept; `None` when that is of another version.
    fn from_text(text: &str) -> Option<Self> {
        let (rate, then) = text.split_once(' ')?;
        let add = match then {
            "add" => true,
            "list" => false,
            _ => return None,
        };
        Some(Self { rate: rate.parse().ok()?, add })
    }
}

impl Store {
    /// How the last scan of the directory was to be done; `None` when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn scan_wish(&self) -> Result<Option<ScanWish>, StoreError> {
        let text = meta::scan(self.db()).await?;
        Ok(text.as_deref().and_then(ScanWish::from_text))
    }

    /// Keeps that a scan of the directory begins, so that it goes on after a restart.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn begin_scan(&self, row: &PullRow, wish: ScanWish) -> Result<(), StoreError> {
        let mut tx = self.db().begin().await?;
        meta::set_scan(&mut tx, &wish.to_text()).await?;
        write_pull(&mut tx, row).await?;
        tx.commit().await
    }

    /// Forgets candidates.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was removed then.
    pub async fn forget_candidates(&self, hostnames: &[String]) -> Result<(), StoreError> {
        let sql = "DELETE FROM relay_candidate WHERE hostname IN {rows}";
        let mut tx = self.db().begin().await?;
        for chunk in hostnames.chunks(CHUNK_ROWS) {
            let list = chunk.iter().map(|name| name.as_str().into()).collect();
            tx.execute(Statement::rows(sql, vec![list])).await?;
        }
        tx.commit().await
    }
}

/// All candidates, by name.
pub(super) async fn candidates(db: &Db) -> Result<Vec<CandidateRow>, StoreError> {
    let sql = "SELECT hostname, did, first_seen_ms, wanted, tried_ms, outcome FROM relay_candidate \
               ORDER BY hostname";
    let rows = db.fetch(Statement::new(sql, Vec::new())).await?;
    rows.iter()
        .map(|row| {
            Ok(CandidateRow {
                hostname: row.text(0)?,
                did: row.text(1)?,
                first_seen_ms: row.number(2)?,
                wanted: row.truth(3)?,
                tried_ms: row.maybe_int(4)?.map(i64::cast_unsigned),
                outcome: row.maybe_text(5)?,
            })
        })
        .collect()
}

/// Writes candidates over what was there; of two with one name the later counts.
pub(super) async fn save_candidates(db: &Db, rows: &[CandidateRow]) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_candidate (hostname, did, first_seen_ms, wanted, tried_ms, outcome) \
               VALUES {rows} ON CONFLICT (hostname) DO UPDATE SET wanted = excluded.wanted, \
               tried_ms = excluded.tried_ms, outcome = excluded.outcome";
    let rows: BTreeMap<&str, &CandidateRow> =
        rows.iter().map(|row| (row.hostname.as_str(), row)).collect();
    let rows: Vec<Vec<Value>> = rows
        .into_values()
        .map(|row| {
            vec![
                row.hostname.as_str().into(),
                row.did.as_str().into(),
                row.first_seen_ms.into(),
                row.wanted.into(),
                time(row.tried_ms),
                error(row.outcome.as_deref()),
            ]
        })
        .collect();
    let mut tx = db.begin().await?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        tx.execute(Statement::rows(sql, chunk.to_vec())).await?;
    }
    tx.commit().await
}

/// All runs through lists of hosts.
pub(super) async fn pulls(db: &Db) -> Result<Vec<PullRow>, StoreError> {
    let sql = "SELECT source, secure, next_page, listed, added, known, passed_over, refused, \
               started_ms, finished_ms, last_error FROM relay_pull ORDER BY source";
    let rows = db.fetch(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(read_pull).collect()
}

/// Writes one of them over what was there.
pub(super) async fn save_pull(db: &Db, row: &PullRow) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    write_pull(&mut tx, row).await?;
    tx.commit().await
}

async fn write_pull(tx: &mut Tx, row: &PullRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_pull (source, secure, next_page, listed, added, known, \
               passed_over, refused, started_ms, finished_ms, last_error) VALUES {rows} \
               ON CONFLICT (source) DO UPDATE SET secure = excluded.secure, \
               next_page = excluded.next_page, listed = excluded.listed, added = excluded.added, \
               known = excluded.known, passed_over = excluded.passed_over, \
               refused = excluded.refused, started_ms = excluded.started_ms, \
               finished_ms = excluded.finished_ms, last_error = excluded.last_error";
    let values = vec![
        row.source.as_str().into(),
        row.secure.into(),
        Value::Text(row.next_page.clone()),
        row.listed.into(),
        row.added.into(),
        row.known.into(),
        row.passed_over.into(),
        row.refused.into(),
        row.started_ms.into(),
        time(row.finished_ms),
        error(row.last_error.as_deref()),
    ];
    tx.execute(Statement::rows(sql, vec![values])).await.map(drop)
}

/// All runs through lists of accounts, in order of host.
pub(super) async fn walks(db: &Db) -> Result<Vec<WalkRow>, StoreError> {
    let sql = "SELECT host, next_page, listed, added, changed, refused, asked, started_ms, \
               finished_ms, last_error FROM relay_walk ORDER BY host";
    let rows = db.fetch(Statement::new(sql, Vec::new())).await?;
    rows.iter().map(read_walk).collect()
}

/// Writes one of them over what was there.
pub(super) async fn save_walk(db: &Db, row: &WalkRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO relay_walk (host, next_page, listed, added, changed, refused, asked, \
               started_ms, finished_ms, last_error) VALUES {rows} \
               ON CONFLICT (host) DO UPDATE SET next_page = excluded.next_page, \
               listed = excluded.listed, added = excluded.added, changed = excluded.changed, \
               refused = excluded.refused, asked = excluded.asked, \
               started_ms = excluded.started_ms, finished_ms = excluded.finished_ms, \
               last_error = excluded.last_error";
    let values = vec![
        row.host.0.into(),
        Value::Text(row.next_page.clone()),
        row.listed.into(),
        row.added.into(),
        row.changed.into(),
        row.refused.into(),
        row.asked.into(),
        row.started_ms.into(),
        time(row.finished_ms),
        error(row.last_error.as_deref()),
    ];
    let mut tx = db.begin().await?;
    tx.execute(Statement::rows(sql, vec![values])).await?;
    tx.commit().await
}

fn time(ms: Option<u64>) -> Value {
    Value::Int(ms.map(u64::cast_signed))
}

fn error(text: Option<&str>) -> Value {
    // NUL is no text for Postgres.
    let kept = |text: &str| text.chars().filter(|c| *c != '\0').take(ERROR_CHARS_MAX).collect();
    Value::Text(text.map(kept))
}

fn read_pull(row: &Row) -> Result<PullRow, StoreError> {
    Ok(PullRow {
        source: row.text(0)?,
        secure: row.truth(1)?,
        next_page: row.maybe_text(2)?,
        listed: row.number(3)?,
        added: row.number(4)?,
        known: row.number(5)?,
        passed_over: row.number(6)?,
        refused: row.number(7)?,
        started_ms: row.number(8)?,
        finished_ms: row.maybe_int(9)?.map(i64::cast_unsigned),
        last_error: row.maybe_text(10)?,
    })
}

fn read_walk(row: &Row) -> Result<WalkRow, StoreError> {
    let host = row.int(0)?;
    let host = u32::try_from(host)
        .map_err(|_range| StoreError::Damaged(format!("{host} is no number of a host")))?;
    Ok(WalkRow {
        host: HostId(host),
        next_page: row.maybe_text(1)?,
        listed: row.number(2)?,
        added: row.number(3)?,
        changed: row.number(4)?,
        refused: row.number(5)?,
        asked: row.truth(6)?,
        started_ms: row.number(7)?,
        finished_ms: row.maybe_int(8)?.map(i64::cast_unsigned),
        last_error: row.maybe_text(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was asked for is done after a restart too; what another version wrote is not guessed at.
    #[test]
    fn what_was_said_of_a_scan_is_read_back() {
        for wish in [ScanWish::default(), ScanWish { rate: 10, add: true }] {
            assert_eq!(ScanWish::from_text(&wish.to_text()), Some(wish));
        }
        for other in ["", "1", "add 1", "1 remove", "-1 add", "1 add 2"] {
            assert_eq!(ScanWish::from_text(other), None, "{other}");
        }
    }
}
