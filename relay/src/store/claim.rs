//! One relay per Postgres database: two would write each other's rows. SQLite has no need of it: its
//! file lies in the data directory, which has a lock.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::{
    StoreError,
    db::Db,
    trouble::{self, trouble},
};

/// Key of the advisory lock, `relay` in ASCII. Each database has locks of its own.
const KEY: i64 = 0x0072_656c_6179;
/// A relay that was killed a moment ago holds its claim until the server notices.
const WITHIN: Duration = Duration::from_secs(5);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes the claim in a session of its own, which holds it until it ends. Lost with the session, as
/// when the server is restarted: then it is not taken again.
pub(super) async fn claim(db: &Db) -> Result<Option<PgConnection>, StoreError> {
    let Db::Postgres(pool) = db else { return Ok(None) };
    let options = pool.connect_options();
    let connected = options.connect().await;
    let mut session = connected.map_err(|error| trouble::connecting(&options, error))?;
    let start = Instant::now();
    loop {
        let question = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(KEY);
        let is_ours: bool = question.fetch_one(&mut session).await.map_err(trouble)?;
        if is_ours {
            return Ok(Some(session));
        }
        if start.elapsed() >= WITHIN {
            break;
        }
        sleep(AGAIN).await;
    }
    session.close().await.map_err(trouble)?;
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    Err(StoreError::Setup(format!(
        "another relay works on the database {} of Postgres; stop it, or set DATABASE_URL to another database",
        trouble::identifier(database)
    )))
}
