//! A connection of Postgres that can be held neither by a silent network nor by a caller that left.
//!
//! A network that swallows packets without a word shows nothing for the quarter of an hour after which
//! TCP gives up, and a pool waits for a connection that was given back as long. So an answer is waited
//! for so long and no longer, and what was not brought to its end is closed, not given back: the server
//! then undoes the transaction by itself.

use std::{io, time::Duration};

use sqlx::{Error, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::timeout;

/// How long one statement may take: hundreds of times what the largest of them needs.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What tells the server that this side is gone, when nothing else does: it ends the transaction then,
/// whose locks would keep the next one waiting. Said as a statement because poolers refuse it as a
/// parameter of the connection.
const LET_GO: &str = "SET idle_in_transaction_session_timeout = '10s'";

/// A connection out of the pool.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` once it is closed or given back.
    connection: Option<PoolConnection<Postgres>>,
    /// Whether no statement and no transaction is under way.
    is_idle: bool,
}

impl Session {
    /// Takes one; the pool limits how long that may take.
    pub(super) async fn take(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self { connection: Some(pool.acquire().await?), is_idle: false })
    }

    /// What statements are sent over.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// Ends well: it goes back to the pool.
    pub(super) fn give_back(mut self) {
        self.is_idle = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_idle
            && let Some(connection) = self.connection.take()
        {
            drop(connection.detach());
        }
    }
}

/// Tells a new connection's server when to give it up.
pub(super) async fn let_go(connection: &mut PgConnection) -> Result<(), Error> {
    answered(sqlx::raw_sql(LET_GO).execute(connection)).await.map(drop)
}

/// The answer, or an error once the time for it is over.
pub(super) async fn answered<T>(
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(ANSWER_WITHIN, Box::pin(answer)).await.unwrap_or_else(|_late| {
        let words = format!("it did not answer within {} s", ANSWER_WITHIN.as_secs());
        Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, words)))
    })
}
