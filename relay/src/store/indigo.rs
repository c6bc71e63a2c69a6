//! The database of a reference relay, read only, to take its place.
//!
//! Rows come out as they are there; what they mean is decided elsewhere. One text per query serves
//! SQLite and Postgres: truth values and whole numbers of any width are cast.

use super::{
    Db, StoreError,
    address::Address,
    db::{Row, Statement, Value},
};

/// A host there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndigoHost {
    /// Its number there.
    pub id: i64,
    /// `host`, or `host:port` of localhost.
    pub hostname: String,
    /// Read without TLS.
    pub no_ssl: bool,
    /// Accounts it may have.
    pub account_limit: i64,
    /// `active`, `idle`, `offline`, `throttled`, `banned`.
    pub status: String,
    /// Its cursor; below 1 when there is none.
    pub last_seq: i64,
}

/// An account there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndigoAccount {
    /// Its number there.
    pub uid: i64,
    /// The DID.
    pub did: String,
    /// Number of its host there.
    pub host: i64,
    /// What that relay decided.
    pub status: String,
    /// What its host said.
    pub upstream: String,
    /// Rev, commit CID and data CID of the last commit; `None` before the first.
    pub repo: Option<(String, String, String)>,
}

/// The open database of a reference relay.
#[derive(Debug)]
pub struct Indigo {
    db: Db,
}

/// Tables and columns that are read; a query of each must work.
const SHAPE: [(&str, &str); 5] = [
    ("host", "SELECT id, hostname, no_ssl, account_limit, status, last_seq FROM host LIMIT 0"),
    ("account", "SELECT uid, did, host_id, status, upstream_status FROM account LIMIT 0"),
    ("account_repo", "SELECT uid, rev, commit_cid, commit_data_cid FROM account_repo LIMIT 0"),
    ("domain_bans", "SELECT domain FROM domain_bans LIMIT 0"),
    ("log_file_refs", "SELECT path, seq_start, deleted_at FROM log_file_refs LIMIT 0"),
];

impl Indigo {
    /// Opens it without changing anything.
    ///
    /// # Errors
    /// [`StoreError::Setup`] with a sentence when it is not there, or is not such a database.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let db = Db::open_to_read(Address::parse(url)?).await?;
        let indigo = Self { db };
        match indigo.check().await {
            Ok(()) => Ok(indigo),
            Err(error) => {
                indigo.close().await;
                Err(error)
            }
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        for (table, sql) in SHAPE {
            match self.db.fetch(Statement::new(sql, Vec::new())).await {
                Ok(_) => {}
                Err(StoreError::Unavailable(why) | StoreError::Damaged(why)) => {
                    return Err(StoreError::Setup(format!(
                        "this is not the database of a reference relay that is understood here: its \
                         table `{table}` is missing or has other columns ({why}). The relay of \
                         indigo, `cmd/relay`, makes such a database; the older `bigsky` does not"
                    )));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All hosts, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hosts(&self) -> Result<Vec<IndigoHost>, StoreError> {
        let sql = "SELECT CAST(id AS BIGINT), hostname, \
                   CAST(CASE WHEN no_ssl THEN 1 ELSE 0 END AS BIGINT), \
                   CAST(COALESCE(account_limit, 0) AS BIGINT), COALESCE(status, ''), \
                   CAST(COALESCE(last_seq, -1) AS BIGINT) FROM host ORDER BY id";
        let rows = self.db.fetch(Statement::new(sql, Vec::new())).await?;
        rows.iter()
            .map(|row| {
                Ok(IndigoHost {
                    id: row.int(0)?,
                    hostname: row.text(1)?,
                    no_ssl: row.truth(2)?,
                    account_limit: row.int(3)?,
                    status: row.text(4)?,
                    last_seq: row.int(5)?,
                })
            })
            .collect()
    }

    /// All banned domains.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn domain_bans(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT domain FROM domain_bans ORDER BY domain";
        let rows = self.db.fetch(Statement::new(sql, Vec::new())).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Accounts above a number, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts_after(
        &self,
        uid: i64,
        limit: u32,
    ) -> Result<Vec<IndigoAccount>, StoreError> {
        let sql = "SELECT CAST(a.uid AS BIGINT), a.did, CAST(a.host_id AS BIGINT), a.status, \
                   a.upstream_status, r.rev, r.commit_cid, r.commit_data_cid FROM account a \
                   LEFT JOIN account_repo r ON r.uid = a.uid WHERE a.uid > $1 ORDER BY a.uid \
                   LIMIT $2";
        let values: Vec<Value> = vec![uid.into(), limit.into()];
        let rows = self.db.fetch(Statement::new(sql, values)).await?;
        rows.iter().map(account).collect()
    }

    /// Name and first seq of the newest file of its event log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_log_file(&self) -> Result<Option<(String, i64)>, StoreError> {
        let sql = "SELECT path, CAST(seq_start AS BIGINT) FROM log_file_refs \
                   WHERE deleted_at IS NULL ORDER BY seq_start DESC LIMIT 1";
        let rows = self.db.fetch(Statement::new(sql, Vec::new())).await?;
        rows.first().map(|row| Ok((row.text(0)?, row.int(1)?))).transpose()
    }

    /// Closes it.
    pub async fn close(self) {
        self.db.close().await;
    }
}

fn account(row: &Row) -> Result<IndigoAccount, StoreError> {
    let repo = match (row.maybe_text(5)?, row.maybe_text(6)?, row.maybe_text(7)?) {
        (Some(rev), Some(commit), Some(data)) => Some((rev, commit, data)),
        _ => None,
    };
    Ok(IndigoAccount {
        uid: row.int(0)?,
        did: row.text(1)?,
        host: row.int(2)?,
        status: row.text(3)?,
        upstream: row.text(4)?,
        repo,
    })
}
