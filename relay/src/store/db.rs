//! One connection pool of either database, and the few operations that the store needs of it.
//!
//! Every query has one text for both databases (`$1` parameters, multi-row `VALUES`, `excluded`).
//! Values cross as [`Value`] and come back as [`Row`], so that nothing above knows which it is.

mod query;

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool, Sqlite, SqlitePool, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub(super) use self::query::{CHUNK_ROWS, Row, Statement, Value};
use super::{
    StoreError,
    address::Address,
    claim,
    session::{self, Session, answered},
    trouble::{self, trouble},
};
use crate::telemetry::metrics;

/// How long the first connection may take; a name that does not resolve or a firewall shows here.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a caller waits for a connection of a pool before the database counts as not available.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);

/// SQLite has one writer: a caller waits as long as a large checkpoint may take.
const WRITER_WITHIN: Duration = Duration::from_mins(1);

/// How long SQLite waits for another process, such as a backup, to release its lock.
const BUSY_WITHIN: Duration = Duration::from_secs(10);

/// Readers of SQLite at most; each is a thread.
const SQLITE_READERS_MAX: u32 = 4;

/// Builds the query of either database from one text and its values.
macro_rules! query {
    ($parts:expr) => {{
        let (sql, values, keep) = $parts;
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(keep);
        for value in values {
            query = match value {
                Value::Int(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Bytes(bytes) => query.bind(bytes),
            };
        }
        query
    }};
}

/// The pools.
#[derive(Debug)]
pub(super) enum Db {
    /// WAL lets readers go on beside the one writer.
    Sqlite {
        /// One connection.
        writer: SqlitePool,
        /// A few connections that cannot write.
        readers: SqlitePool,
        /// The file.
        path: PathBuf,
    },
    /// A server.
    Postgres {
        /// One pool for reading and writing.
        pool: PgPool,
        /// What the row of the owner has to say, once the database was claimed.
        owner: OnceLock<String>,
    },
}

impl Db {
    /// Connects once, so that a wrong setting shows now and in words.
    pub(super) async fn open(address: Address, connections_max: u32) -> Result<Self, StoreError> {
        match address {
            Address::Sqlite(path) => {
                if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
                {
                    std::fs::create_dir_all(parent).map_err(|why| {
                        StoreError::Setup(format!(
                            "cannot create the directory {} of the database: {why}",
                            parent.display()
                        ))
                    })?;
                }
                let options = SqliteConnectOptions::new()
                    .filename(&path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY_WITHIN)
                    .disable_statement_logging();
                let writer = SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(WRITER_WITHIN)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    // SQLite ends a transaction by itself when it cannot write the file; the library
                    // does not know of that, and would begin no other on this connection.
                    .before_acquire(|connection, _| {
                        let is_usable = !connection.is_in_transaction();
                        Box::pin(std::future::ready(Ok(is_usable)))
                    })
                    .connect_with(options.clone())
                    .await
                    .map_err(|error| trouble::opening_file(&path, error))?;
                let readers = SqlitePoolOptions::new()
                    .max_connections(connections_max.clamp(1, SQLITE_READERS_MAX))
                    .acquire_timeout(ACQUIRE_WITHIN)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .connect_lazy_with(options.create_if_missing(false).pragma("query_only", "on"));
                Ok(Self::Sqlite { writer, readers, path })
            }
            Address::Postgres(options) => Self::open_postgres(*options, connections_max).await,
        }
    }

    /// Opens a database that is somebody else's: nothing in it is changed.
    pub(super) async fn open_to_read(address: Address) -> Result<Self, StoreError> {
        let path = match address {
            Address::Sqlite(path) => path,
            Address::Postgres(options) => return Self::open_postgres(*options, 2).await,
        };
        // Opening a file that is not there would say only that it cannot be opened.
        if !path.exists() {
            return Err(StoreError::Setup(format!("there is no file {}", path.display())));
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .busy_timeout(BUSY_WITHIN)
            .disable_statement_logging();
        let readers = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_WITHIN)
            .connect_with(options)
            .await
            .map_err(|error| trouble::opening_file(&path, error))?;
        Ok(Self::Sqlite { writer: readers.clone(), readers, path })
    }

    /// The pool would retry and then say only that time is up; a first connection says why.
    async fn open_postgres(
        options: PgConnectOptions,
        connections_max: u32,
    ) -> Result<Self, StoreError> {
        let options = options.application_name("relay").disable_statement_logging();
        let connection = tokio::time::timeout(CONNECT_WITHIN, options.connect())
            .await
            .map_err(|_elapsed| trouble::connect_timeout(&options, CONNECT_WITHIN))?
            .map_err(|error| trouble::connecting(&options, error))?;
        connection.close().await.map_err(trouble)?;
        let pool = PgPoolOptions::new()
            .max_connections(connections_max.max(1))
            .acquire_timeout(ACQUIRE_WITHIN)
            .after_connect(|connection, _| Box::pin(session::let_go(connection)))
            .connect_lazy_with(options);
        Ok(Self::Postgres { pool, owner: OnceLock::new() })
    }

    /// Reads outside of a transaction.
    pub(super) async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite { readers, .. } => query!(statement.sqlite())
                .fetch_all(readers)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres { pool, .. } => {
                let mut session = Session::take(pool).await.map_err(trouble)?;
                let connection = session.connection().map_err(trouble)?;
                let rows = answered(query!(statement.postgres()).fetch_all(connection)).await;
                rows.map(|rows| {
                    session.give_back();
                    rows.into_iter().map(Row::Postgres).collect()
                })
            }
        }
        .map_err(trouble)
    }

    /// Begins a transaction that will write. Dropped without commit, it leaves nothing.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        match self {
            // IMMEDIATE takes the lock at once: a lock that is taken later cannot be waited for.
            Self::Sqlite { writer, .. } => {
                writer.begin_with("BEGIN IMMEDIATE").await.map(Tx::Sqlite).map_err(trouble)
            }
            Self::Postgres { pool, owner } => {
                let mut session = Session::take(pool).await.map_err(trouble)?;
                let connection = session.connection().map_err(trouble)?;
                answered(sqlx::raw_sql("BEGIN").execute(connection)).await.map_err(trouble)?;
                let mut tx = Tx::Postgres(session);
                if let Some(owner) = owner.get() {
                    claim::confirm(&mut tx, owner).await?;
                }
                Ok(tx)
            }
        }
    }

    /// Waits for open transactions and closes.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, .. } => {
                readers.close().await;
                // Last, so that SQLite folds the WAL into the file.
                writer.close().await;
            }
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }
}

/// A transaction that writes.
#[derive(Debug)]
pub(super) enum Tx {
    /// Of SQLite.
    Sqlite(Transaction<'static, Sqlite>),
    /// Of Postgres.
    Postgres(Session),
}

impl Tx {
    /// Gives the number of rows inserted or changed.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(_) => self.run(statement).await,
            Self::Postgres(_) => answered(self.run(statement)).await,
        }
        .map_err(trouble)
    }

    /// The same for the migrations: with the error as the database gave it, and however long it takes.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        let rows = match self {
            Self::Sqlite(tx) => {
                query!(statement.sqlite()).execute(&mut **tx).await?.rows_affected()
            }
            Self::Postgres(session) => {
                let connection = session.connection()?;
                query!(statement.postgres()).execute(connection).await?.rows_affected()
            }
        };
        ::metrics::counter!(metrics::STORE_ROWS).increment(rows);
        Ok(rows)
    }

    /// Reads what the transaction sees.
    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(tx) => query!(statement.sqlite())
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(session) => {
                let connection = session.connection().map_err(trouble)?;
                answered(query!(statement.postgres()).fetch_all(connection))
                    .await
                    .map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
        }
        .map_err(trouble)
    }

    /// Several statements without parameters, as a migration file has them.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop),
            Self::Postgres(session) => {
                sqlx::raw_sql(sql).execute(session.connection()?).await.map(drop)
            }
        }
    }

    /// Makes it durable.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let begun = tokio::time::Instant::now();
        let done = match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(mut session) => {
                let connection = session.connection().map_err(trouble)?;
                let done = answered(sqlx::raw_sql("COMMIT").execute(connection)).await;
                done.map(|_done| session.give_back())
            }
        };
        ::metrics::histogram!(metrics::STORE_COMMIT_SECONDS).record(begun.elapsed());
        done.map_err(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I3: a checkpoint that was reported as written survives a power cut, and readers go on
    /// beside the writer but cannot write.
    #[tokio::test]
    async fn sqlite_syncs_every_commit_and_keeps_readers_apart() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(Address::Sqlite(dir.path().join("x.sqlite")), 2).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let full = tx.fetch(Statement::new("PRAGMA synchronous", Vec::new())).await.unwrap();
        assert_eq!(full[0].int(0).unwrap(), 2);
        tx.execute(Statement::new("CREATE TABLE a (x BIGINT)", Vec::new())).await.unwrap();
        // Outside of the transaction, while it is open: WAL, and nothing of it is seen.
        let mode = db.fetch(Statement::new("PRAGMA journal_mode", Vec::new())).await.unwrap();
        assert_eq!(mode[0].text(0).unwrap(), "wal");
        assert!(db.fetch(Statement::new("SELECT x FROM a", Vec::new())).await.is_err());
        tx.commit().await.unwrap();
        assert!(db.fetch(Statement::new("SELECT x FROM a", Vec::new())).await.unwrap().is_empty());

        let insert = "INSERT INTO a VALUES (1)";
        assert!(db.fetch(Statement::new(insert, Vec::new())).await.is_err(), "a reader wrote");
        let mut tx = db.begin().await.unwrap();
        assert_eq!(tx.execute(Statement::new(insert, Vec::new())).await.unwrap(), 1);
    }
}
