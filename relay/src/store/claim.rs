//! One relay per database: two would write each other's rows.
//!
//! SQLite: a lock on a file beside the database file, because the lock of the data directory says
//! nothing about a database elsewhere. Postgres: an advisory lock, which keeps others from beginning,
//! and a row that names the owner, which every transaction reads, so that a relay that was cut off for
//! a while cannot write rows that belong to its successor. The lock goes with its session, as when the
//! server is restarted: then the relay takes it again, before others may.

use std::{fs::File, path::Path, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep, timeout};

use super::{
    StoreError,
    db::{Db, Statement, Tx},
    trouble::{self, trouble},
};

/// Key of the advisory lock, `relay` in ASCII. Each database has locks of its own.
const KEY: i64 = 0x0072_656c_6179;
/// Name of the row that names the owner.
const OWNER: &str = "owner";
const SET_OWNER: &str = "INSERT INTO relay_meta (name, value) VALUES ($1, $2) \
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value";
/// A relay that was killed a moment ago holds its claim until the server notices.
const WITHIN: Duration = Duration::from_secs(6);
/// An owner elsewhere that did not say goodbye may be alive and about to take its lock again.
const GRACE: Duration = Duration::from_secs(4);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// How often an owner looks whether its session lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it tries to have one again: well within the grace of others.
const RETAKE_EVERY: Duration = Duration::from_millis(250);
/// A session that says nothing for so long counts as dead.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The claim of this process.
#[derive(Debug)]
pub(super) enum Claim {
    /// The lock on the file beside a SQLite file, until dropped.
    File(#[expect(dead_code, reason = "held, not read")] LockFile),
    /// The lock of Postgres.
    Postgres(Box<Holder>),
}

/// A locked file.
#[derive(Debug)]
pub(super) struct LockFile(File);

/// The lock of Postgres and the session that has it.
#[derive(Debug)]
pub(super) struct Holder {
    options: PgConnectOptions,
    owner: String,
    session: Option<PgConnection>,
}

impl Drop for LockFile {
    /// Closing the file is not enough: a program that this process is just starting shares it for a
    /// moment, and with it the lock.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the database file could not be given back");
        }
    }
}

/// Takes the claim.
///
/// * `place` – what tells this relay from others: its data directory, which has a lock itself
pub(super) async fn claim(db: &Db, place: &Path) -> Result<Claim, StoreError> {
    match db {
        Db::Sqlite { path, .. } => {
            let lock = lock_beside(path)?;
            try_to_write(db, place).await.map_err(|error| unwritable(path, &error))?;
            Ok(Claim::File(lock))
        }
        Db::Postgres { pool, owner } => {
            let name = owner_name(place);
            // Names the session too, so that a ghost of it can be told from another relay.
            let options = (*pool.connect_options()).clone().application_name(session_name(&name));
            let mut holder = Holder { options, owner: name.clone(), session: None };
            holder.begin().await?;
            let owner = owner.get_or_init(|| name);
            debug_assert_eq!(*owner, holder.owner, "claimed once");
            Ok(Claim::Postgres(Box::new(holder)))
        }
    }
}

fn lock_beside(path: &Path) -> Result<LockFile, StoreError> {
    // Through links, so that two names of one file have one lock.
    let real = path.canonicalize().unwrap_or_else(|_missing| path.to_path_buf());
    let mut name = real.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let beside = real.with_file_name(name);
    let opened = File::options().create(true).write(true).truncate(false).open(&beside);
    let file = opened.map_err(|error| {
        StoreError::Setup(format!(
            "the lock {} of the database cannot be written ({error}); give this user the right to write its directory",
            beside.display()
        ))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(LockFile(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Setup(format!(
            "another relay works on the database file {}; stop it, or set DATABASE_URL to another file",
            path.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(StoreError::Setup(format!(
            "the lock {} of the database cannot be taken ({error}); it must lie on a file system with locks",
            beside.display()
        ))),
    }
}

/// SQLite opens a file that it may not write, and would say so only at the first checkpoint.
async fn try_to_write(db: &Db, place: &Path) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let values = vec![OWNER.into(), owner_name(place).as_str().into()];
    tx.execute(Statement::new(SET_OWNER, values)).await?;
    tx.commit().await
}

fn unwritable(path: &Path, error: &StoreError) -> StoreError {
    StoreError::Setup(format!(
        "the database file {} cannot be written ({error}); give this user the right to write it, the \
         files beside it whose names begin like its own, and its directory, and end what locks it",
        path.display()
    ))
}

/// A random number, then what stays the same over restarts.
fn owner_name(place: &Path) -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let place = place.canonicalize().unwrap_or_else(|_missing| place.to_path_buf());
    format!("{:016x} {machine}:{}", rand::random::<u64>(), place.display())
}

fn session_name(owner: &str) -> &str {
    owner.split(' ').next().unwrap_or(owner)
}

fn place_of(owner: &str) -> &str {
    owner.split_once(' ').map_or("", |(_, place)| place)
}

/// Fails when the database has another owner by now. Holds the row until the transaction ends, so
/// that no other can become the owner before.
pub(super) async fn confirm(tx: &mut Tx, owner: &str) -> Result<(), StoreError> {
    let sql = "SELECT value FROM relay_meta WHERE name = $1 FOR SHARE";
    let rows = tx.fetch(Statement::new(sql, vec![OWNER.into()])).await?;
    let found = rows.first().map(|row| row.text(0)).transpose()?;
    if found.as_deref() == Some(owner) { Ok(()) } else { Err(taken(found.as_deref())) }
}

fn taken(by: Option<&str>) -> StoreError {
    let who = match by.map(place_of) {
        None | Some("") => "another relay".to_owned(),
        Some(place) => format!("another relay ({place})"),
    };
    StoreError::Setup(format!(
        "{who} has taken the database of this one, which had lost its connection to it; two must not \
         write the same rows, so this one stops"
    ))
}

impl Claim {
    /// Watches over the claim; gives the error after which this relay must not go on.
    pub(super) async fn look(&mut self) -> Result<Duration, StoreError> {
        match self {
            Self::File(_) => Ok(Duration::MAX),
            Self::Postgres(holder) => holder.look().await,
        }
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        if let Self::Postgres(holder) = self
            && let Some(mut session) = holder.session
        {
            let sql = "DELETE FROM relay_meta WHERE name = $1 AND value = $2";
            let gone = sqlx::query(sql).bind(OWNER).bind(&holder.owner).execute(&mut session).await;
            let closed = session.close().await;
            if let Err(error) = gone.map(drop).and(closed) {
                tracing::debug!(%error, "the claim on the database ended with its connection");
            }
        }
    }
}

impl Holder {
    /// The first time: the wait for one that is about to end, or about to come back.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let connected = self.options.connect().await;
        let mut session = connected.map_err(|error| trouble::connecting(&self.options, error))?;
        let start = Instant::now();
        let mut free_since = None;
        loop {
            if try_lock(&mut session).await? {
                let before = owner(&mut session).await?;
                let ours = place_of(&self.owner);
                let is_free = before.as_deref().is_none_or(|before| place_of(before) == ours);
                let free_since = *free_since.get_or_insert_with(Instant::now);
                if is_free || free_since.elapsed() >= GRACE {
                    set_owner(&mut session, &self.owner).await?;
                    self.session = Some(session);
                    return Ok(());
                }
                unlock(&mut session).await?;
            } else {
                free_since = None;
                if start.elapsed() >= WITHIN {
                    break;
                }
            }
            sleep(AGAIN).await;
        }
        session.close().await.map_err(trouble)?;
        let user = self.options.get_username();
        let database = self.options.get_database().unwrap_or(user);
        Err(StoreError::Setup(format!(
            "another relay works on the database {} of Postgres; stop it, or set DATABASE_URL to another database",
            trouble::identifier(database)
        )))
    }

    /// Looks whether the session lives and takes the lock again when it does not; gives when to look
    /// next.
    async fn look(&mut self) -> Result<Duration, StoreError> {
        if let Some(session) = &mut self.session {
            match timeout(ANSWER_MAX, owner(session)).await {
                Ok(Ok(found)) if found.as_deref() == Some(&*self.owner) => return Ok(LOOK_EVERY),
                Ok(Ok(found)) => return Err(taken(found.as_deref())),
                Ok(Err(error)) => tracing::warn!(%error, "the claim on the database is lost"),
                Err(_late) => tracing::warn!("the claim on the database does not answer"),
            }
            self.session = None;
        }
        match timeout(ANSWER_MAX, self.retake()).await {
            Ok(Ok(true)) => {
                tracing::info!("the claim on the database is taken again");
                Ok(LOOK_EVERY)
            }
            Ok(Err(error @ StoreError::Setup(_))) => Err(error),
            // Not reachable, or not ours yet.
            Ok(Ok(false) | Err(_)) | Err(_) => Ok(RETAKE_EVERY),
        }
    }

    async fn retake(&mut self) -> Result<bool, StoreError> {
        let mut session = self.options.connect().await.map_err(trouble)?;
        let is_locked = try_lock(&mut session).await?;
        let found = owner(&mut session).await?;
        if found.as_deref() != Some(&*self.owner) {
            return Err(taken(found.as_deref()));
        }
        if !is_locked {
            // Either somebody looks whether it is free, or the server has not noticed yet that our
            // old session is gone.
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE application_name = $1 AND pid <> pg_backend_pid()";
            let name = session_name(&self.owner);
            sqlx::query(sql).bind(name).execute(&mut session).await.map_err(trouble)?;
            return Ok(false);
        }
        self.session = Some(session);
        Ok(true)
    }
}

async fn try_lock(session: &mut PgConnection) -> Result<bool, StoreError> {
    let question = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(KEY);
    question.fetch_one(session).await.map_err(trouble)
}

async fn unlock(session: &mut PgConnection) -> Result<(), StoreError> {
    let question = sqlx::query("SELECT pg_advisory_unlock($1)").bind(KEY);
    question.execute(session).await.map(drop).map_err(trouble)
}

async fn owner(session: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let question = sqlx::query_scalar("SELECT value FROM relay_meta WHERE name = $1").bind(OWNER);
    question.fetch_optional(session).await.map_err(trouble)
}

async fn set_owner(session: &mut PgConnection, owner: &str) -> Result<(), StoreError> {
    let question = sqlx::query(SET_OWNER).bind(OWNER).bind(owner);
    question.execute(session).await.map(drop).map_err(trouble)
}
