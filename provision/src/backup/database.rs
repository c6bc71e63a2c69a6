//! The database of a relay: SQLite through its own online copy, Postgres through `pg_dump` and
//! `pg_restore` of the machine, in one snapshot with what is counted.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use relay::config::Config;
use serde::{Deserialize, Serialize};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tokio::process::Command;

use super::server::{FORMS, Server};

/// Tables that are counted, and the form in which both databases count.
const COUNTS: &str = "SELECT (SELECT count(*) FROM relay_host) AS hosts, \
                      (SELECT count(*) FROM relay_account) AS accounts, \
                      (SELECT count(*) FROM relay_decision) AS decisions";
/// Up to where the database knows what happened.
const POSITION: &str = "SELECT value FROM relay_meta WHERE name = 'checkpoint'";

/// What is in a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Hosts.
    pub hosts: i64,
    /// Accounts.
    pub accounts: i64,
    /// Accounts of which an operator has decided something.
    pub decisions: i64,
}

/// Where a database is.
#[derive(Clone)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<Server>),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "{}", path.display()),
            Self::Postgres(server) => write!(out, "{server}"),
        }
    }
}

impl Database {
    /// That of a relay with these settings.
    ///
    /// # Errors
    /// When it is given in a form that the programs of Postgres do not take.
    pub fn of(config: &Config) -> Result<Self> {
        Self::parse(config.database_url.expose())
    }

    /// Reads a `DATABASE_URL`. No message repeats it: it may hold a password.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn parse(text: &str) -> Result<Self> {
        for prefix in ["sqlite://", "sqlite=", "sqlite:"] {
            if let Some(path) = text.strip_prefix(prefix) {
                return Ok(Self::Sqlite(PathBuf::from(path)));
            }
        }
        if !text.starts_with("postgres") {
            bail!("DATABASE_URL is neither of SQLite nor of Postgres; it is {FORMS}")
        }
        let server = Server::parse(text.strip_prefix("postgres=").unwrap_or(text))?;
        Ok(Self::Postgres(Box::new(server)))
    }

    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(..) => "postgres",
        }
    }

    /// The name of its file in a backup.
    #[must_use]
    pub const fn file(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "relay.sqlite",
            Self::Postgres(..) => "relay.pgdump",
        }
    }

    /// Writes a copy into a directory, all of one moment; gives what is in it and its position.
    pub(super) async fn dump(&self, into: &Path) -> Result<(Counts, u64)> {
        let to = into.join(self.file());
        match self {
            Self::Sqlite(path) => {
                let mut live = sqlite(path).await?;
                let copy = sqlx::query("VACUUM INTO $1").bind(to.display().to_string());
                copy.execute(&mut live)
                    .await
                    .with_context(|| format!("copy {}", path.display()))?;
                live.close().await.context("close the database")?;
                let mut copy = sqlite(&to).await?;
                let found = (sqlite_counts(&mut copy).await?, sqlite_position(&mut copy).await?);
                copy.close().await.context("close the copy")?;
                Ok(found)
            }
            Self::Postgres(server) => {
                let mut session = self.session().await?;
                let begin = sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                begin.execute(&mut session).await.context("begin")?;
                let snapshot = sqlx::query("SELECT pg_export_snapshot()").fetch_one(&mut session);
                let snapshot: String = snapshot.await.context("take a snapshot")?.try_get(0)?;
                let counts = counts_of(&sqlx::query(COUNTS).fetch_one(&mut session).await?)?;
                let row = sqlx::query(POSITION).fetch_optional(&mut session).await?;
                let position = position_of(row.map(|row| row.try_get(0)).transpose()?)?;
                let arguments: [OsString; 6] = [
                    "--format=custom".into(),
                    "--no-owner".into(),
                    "--no-privileges".into(),
                    format!("--snapshot={snapshot}").into(),
                    "--file".into(),
                    to.into(),
                ];
                postgres("pg_dump", server, &arguments).await?;
                session.close().await.context("close the session")?;
                Ok((counts, position))
            }
        }
    }

    /// Fills an empty database from a backup.
    pub(super) async fn fill(&self, backup: &Path) -> Result<()> {
        let from = backup.join(self.file());
        match self {
            Self::Sqlite(path) => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)
                        .with_context(|| format!("make {}", parent.display()))?;
                }
                // It has its name when it is whole.
                let mut beside = path.clone().into_os_string();
                beside.push(".restoring");
                let beside = PathBuf::from(beside);
                std::fs::copy(&from, &beside)
                    .with_context(|| format!("write {}", beside.display()))?;
                let checked = checked(&beside).await;
                if checked.is_err() {
                    std::fs::remove_file(&beside).context("remove what is damaged")?;
                }
                checked?;
                std::fs::rename(&beside, path).with_context(|| format!("name {}", path.display()))
            }
            Self::Postgres(server) => {
                let arguments: [OsString; 7] = [
                    "--dbname".into(),
                    server.database().into(),
                    "--no-owner".into(),
                    "--no-privileges".into(),
                    "--exit-on-error".into(),
                    "--single-transaction".into(),
                    from.into(),
                ];
                postgres("pg_restore", server, &arguments).await
            }
        }
    }

    /// Whether there are tables of a relay in it, or a file in its place.
    pub(super) async fn is_used(&self) -> Result<bool> {
        match self {
            Self::Sqlite(path) => Ok(path.exists()),
            Self::Postgres(..) => {
                let mut session = self.session().await?;
                let sql = "SELECT to_regclass('relay_meta') IS NOT NULL";
                let row = sqlx::query(sql).fetch_one(&mut session).await?;
                session.close().await.context("close the session")?;
                Ok(row.try_get(0)?)
            }
        }
    }

    /// What is in it.
    pub(super) async fn counts(&self) -> Result<Counts> {
        match self {
            Self::Sqlite(path) => {
                let mut copy = sqlite(path).await?;
                let counts = sqlite_counts(&mut copy).await;
                copy.close().await.context("close the database")?;
                counts
            }
            Self::Postgres(..) => {
                let mut session = self.session().await?;
                let counts = counts_of(&sqlx::query(COUNTS).fetch_one(&mut session).await?);
                session.close().await.context("close the session")?;
                counts
            }
        }
    }

    /// Takes away again what was filled in.
    pub(super) async fn discard(&self) -> Result<()> {
        if let Self::Sqlite(path) = self {
            let removed = std::fs::remove_file(path);
            return removed.with_context(|| format!("remove {}", path.display()));
        }
        let mut session = self.session().await?;
        let sql = "SELECT tablename::TEXT FROM pg_tables WHERE tablename LIKE 'relay\\_%' \
                   AND schemaname = current_schema()";
        for row in sqlx::query(sql).fetch_all(&mut session).await.context("list the tables")? {
            let name: String = row.try_get(0)?;
            let sql = format!("DROP TABLE \"{}\" CASCADE", name.replace('"', "\"\""));
            sqlx::query(AssertSqlSafe(sql)).execute(&mut session).await.context("drop a table")?;
        }
        session.close().await.context("close the session")
    }

    async fn session(&self) -> Result<PgConnection> {
        let Self::Postgres(server) = self else { bail!("{self:?} is no server") };
        let opened = PgConnection::connect_with(server.options()).await;
        opened.with_context(|| format!("connect to {server}"))
    }
}

/// Opens a file that is there.
async fn sqlite(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path);
    let opened = SqliteConnection::connect_with(&options).await;
    opened.with_context(|| format!("open the database {}", path.display()))
}

/// Sees that SQLite finds nothing wrong with a file.
async fn checked(path: &Path) -> Result<()> {
    let mut copy = sqlite(path).await?;
    let row = sqlx::query("PRAGMA integrity_check").fetch_one(&mut copy).await;
    let said: String = row.with_context(|| format!("{} is damaged", path.display()))?.try_get(0)?;
    copy.close().await.context("close the database")?;
    ensure!(said == "ok", "{} is damaged: {said}", path.display());
    Ok(())
}

async fn sqlite_counts(copy: &mut SqliteConnection) -> Result<Counts> {
    let row = sqlx::query(COUNTS).fetch_one(copy).await.context("count what is in it")?;
    Ok(Counts {
        hosts: row.try_get("hosts")?,
        accounts: row.try_get("accounts")?,
        decisions: row.try_get("decisions")?,
    })
}

async fn sqlite_position(copy: &mut SqliteConnection) -> Result<u64> {
    let row = sqlx::query(POSITION).fetch_optional(copy).await.context("read its position")?;
    position_of(row.map(|row| row.try_get(0)).transpose()?)
}

fn counts_of(row: &sqlx::postgres::PgRow) -> Result<Counts> {
    Ok(Counts {
        hosts: row.try_get("hosts")?,
        accounts: row.try_get("accounts")?,
        decisions: row.try_get("decisions")?,
    })
}

/// A relay that never made a checkpoint has position 0.
fn position_of(text: Option<String>) -> Result<u64> {
    text.map_or(Ok(0), |text| text.parse().context("the position in the database is no number"))
}

/// Runs a program of Postgres, which reads in its environment where the server is.
async fn postgres(program: &str, server: &Server, arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).envs(server.environment()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.with_context(|| {
        format!("start {program}; it is in the package postgresql-client of the server's version")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms of both databases are told apart, and nothing shows a password.
    #[test]
    fn a_database_is_known_by_how_its_address_begins() -> Result<()> {
        for text in ["postgres://relay:granate@db/x", "postgres=host=db password=granate user=r"] {
            let database = Database::parse(text)?;
            assert_eq!(database.word(), "postgres");
            assert!(!format!("{database:?}").contains("granate"), "{database:?}");
        }
        let refused = Database::parse("mysql://a:granate@b/c").expect_err("another database");
        assert!(!format!("{refused:#}").contains("granate"), "{refused:#}");
        assert!(matches!(Database::parse("sqlite://data/x.sqlite")?, Database::Sqlite(_)));
        Ok(())
    }
}
