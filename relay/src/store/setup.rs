//! Creates and migrates the tables; refuses a database that is too new (DESIGN 10.17).
//!
//! Migrations only add within one release. Each names the oldest version of the tables that the
//! software may know and still work with them, so that a rollback of the software starts.

use super::{
    Db, Outlook, StoreError,
    address::Address,
    db::{Statement, Tx},
    trouble::{self, trouble},
};

/// One file of `relay/migrations`.
struct Migration {
    version: i64,
    /// Software that knows this version or a later one can work with the result.
    readable_from: i64,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        readable_from: 1,
        sql: include_str!("../../migrations/0001_hosts_and_accounts.sql"),
    },
    Migration {
        version: 2,
        readable_from: 1,
        sql: include_str!("../../migrations/0002_pending_announcements.sql"),
    },
    Migration {
        version: 3,
        readable_from: 1,
        sql: include_str!("../../migrations/0003_host_rules.sql"),
    },
    Migration {
        version: 4,
        readable_from: 1,
        sql: include_str!("../../migrations/0004_operators.sql"),
    },
    Migration {
        version: 5,
        readable_from: 1,
        sql: include_str!("../../migrations/0005_discovery.sql"),
    },
    Migration {
        version: 7,
        readable_from: 1,
        sql: include_str!("../../migrations/0007_held_accounts.sql"),
    },
];

/// Made before the first migration; remembers which ones ran.
const VERSION_TABLE: &str =
    "CREATE TABLE relay_schema (version BIGINT PRIMARY KEY, readable_from BIGINT NOT NULL)";

/// Brings the tables to the version of this software, all in one transaction.
pub(super) async fn migrate(db: &Db) -> Result<(), StoreError> {
    migrate_with(db, MIGRATIONS).await
}

async fn migrate_with(db: &Db, migrations: &[Migration]) -> Result<(), StoreError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let found = version(db).await?;
    let (current, readable_from) = found.unwrap_or((0, 0));
    if readable_from > known {
        return Err(StoreError::Setup(format!(
            "the database has tables of version {current}, which this relay cannot read: it knows \
             version {known}, and they need at least {readable_from}. Start the newer relay, or \
             restore the backup that was made before the upgrade"
        )));
    }
    if current >= known {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    match apply(&mut tx, migrations, current, found.is_none()).await {
        Ok(()) => tx.commit().await,
        Err(error) => {
            let code = trouble::code(&error);
            drop(tx);
            match code.as_str() {
                trouble::NOT_PERMITTED | trouble::NO_SCHEMA => Err(missing_right(db, error).await),
                _ => Err(trouble(error)),
            }
        }
    }
}

/// Version of the tables and the oldest software version that can read them; `None` in a new
/// database.
async fn version(db: &Db) -> Result<Option<(i64, i64)>, StoreError> {
    let exists = match db {
        Db::Sqlite { .. } => "SELECT count(*) FROM sqlite_master WHERE name = 'relay_schema'",
        Db::Postgres { .. } => "SELECT count(to_regclass('relay_schema'))",
    };
    let there = db.fetch(Statement::new(exists, Vec::new())).await?;
    if there.first().map(|row| row.int(0)).transpose()? != Some(1) {
        return Ok(None);
    }
    let rows = db
        .fetch(Statement::new("SELECT version, readable_from FROM relay_schema", Vec::new()))
        .await?;
    let mut found = (0, 0);
    for row in rows {
        found = (found.0.max(row.int(0)?), found.1.max(row.int(1)?));
    }
    Ok(Some(found))
}

/// What a start would do to the tables, found out without doing it.
pub(super) async fn outlook(address: Address) -> Result<Outlook, StoreError> {
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    let readable_from_known = MIGRATIONS.iter().map(|one| one.readable_from).max().unwrap_or(0);
    let blank = Outlook { found: None, readable_from: None, known, readable_from_known };
    // Opening a file that is not there would make it.
    if matches!(&address, Address::Sqlite(path) if !path.exists()) {
        return Ok(blank);
    }
    let db = Db::open(address, 1).await?;
    let found = version(&db).await;
    db.close().await;
    let (found, readable_from) = found?.unzip();
    Ok(Outlook { found, readable_from, ..blank })
}

async fn apply(
    tx: &mut Tx,
    migrations: &[Migration],
    current: i64,
    is_new: bool,
) -> Result<(), sqlx::Error> {
    if is_new {
        tx.script(VERSION_TABLE).await?;
    }
    for migration in migrations.iter().filter(|migration| migration.version > current) {
        tx.script(migration.sql).await?;
        tx.run(Statement::new(
            "INSERT INTO relay_schema (version, readable_from) VALUES ($1, $2)",
            vec![migration.version.into(), migration.readable_from.into()],
        ))
        .await?;
    }
    Ok(())
}

/// Since Postgres 15 only the owner of a database may create tables in its schema `public`.
async fn missing_right(db: &Db, error: sqlx::Error) -> StoreError {
    let names = Statement::new("SELECT current_user::TEXT, current_database()::TEXT", Vec::new());
    let asked = db.fetch(names).await.ok().and_then(|rows| {
        let row = rows.first()?;
        Some((row.text(0).ok()?, row.text(1).ok()?))
    });
    let Some((user, database)) = asked else { return trouble(error) };
    let (user, database) = (trouble::identifier(&user), trouble::identifier(&database));
    StoreError::Setup(format!(
        "the database user {user} has no right to create tables in database {database}. Connect \
         to database {database} as a superuser of Postgres and type:\n    \
         GRANT USAGE, CREATE ON SCHEMA public TO {user};"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration =
        Migration { version: 1, readable_from: 1, sql: "CREATE TABLE a (x TEXT)" };
    /// Adds only: software of version 1 can go on.
    const ADDS: Migration =
        Migration { version: 2, readable_from: 1, sql: "CREATE TABLE b (x TEXT)" };
    /// Takes away: software of version 2 cannot go on.
    const TAKES: Migration = Migration { version: 3, readable_from: 3, sql: "DROP TABLE a" };

    async fn open(dir: &tempfile::TempDir) -> Db {
        let url = format!("sqlite://{}", dir.path().join("x.sqlite").display());
        Db::open(Address::parse(&url).unwrap(), 1).await.unwrap()
    }

    /// DESIGN 10.17: a rollback of the software starts after a migration that only added.
    #[tokio::test]
    async fn older_software_opens_tables_that_only_grew() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir).await;
        migrate_with(&db, &[ONE, ADDS]).await.unwrap();

        migrate_with(&db, &[ONE]).await.unwrap();

        assert_eq!(version(&db).await.unwrap(), Some((2, 1)));
        migrate_with(&db, &[ONE, ADDS]).await.unwrap();
        assert_eq!(version(&db).await.unwrap(), Some((2, 1)), "nothing ran twice");
    }

    /// DESIGN 10.17: tables that older software cannot read are refused in words.
    #[tokio::test]
    async fn older_software_refuses_tables_that_lost_something() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir).await;
        migrate_with(&db, &[ONE, ADDS, TAKES]).await.unwrap();

        let refused = migrate_with(&db, &[ONE, ADDS]).await.unwrap_err().to_string();

        assert!(refused.contains("tables of version 3"), "{refused}");
        assert!(refused.contains("it knows version 2"), "{refused}");
        migrate_with(&db, &[ONE, ADDS, TAKES]).await.unwrap();
    }

    /// A migration that fails in the middle leaves the tables as they were.
    #[tokio::test]
    async fn a_failed_migration_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir).await;
        let broken =
            Migration { version: 2, readable_from: 1, sql: "CREATE TABLE b (x TEXT); nonsense" };
        migrate_with(&db, &[ONE]).await.unwrap();

        assert!(migrate_with(&db, &[ONE, broken]).await.is_err());

        assert_eq!(version(&db).await.unwrap(), Some((1, 1)));
        migrate_with(&db, &[ONE, ADDS]).await.unwrap();
        assert_eq!(version(&db).await.unwrap(), Some((2, 1)));
    }

    /// Versions rise, and nothing claims to be readable by software that cannot exist.
    #[test]
    fn migrations_are_in_order() {
        assert!(MIGRATIONS.is_sorted_by(|one, next| one.version < next.version));
        for migration in MIGRATIONS {
            assert!((1..=migration.version).contains(&migration.readable_from));
        }
    }
}
