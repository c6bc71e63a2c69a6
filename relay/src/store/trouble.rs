//! What an error of the database means for the caller, and in words for the operator.
//!
//! No message holds an address or a password (I8): of the settings only user, host, port and
//! database are named.

use std::{path::Path, time::Duration};

use sqlx::{Error, postgres::PgConnectOptions};

use super::StoreError;

/// SQLSTATE of a missing right.
pub(super) const NOT_PERMITTED: &str = "42501";
/// SQLSTATE of "no schema has been selected to create in": no right to use any.
pub(super) const NO_SCHEMA: &str = "3F000";

/// Sorts an error by what the caller does about it.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(super) fn trouble(error: Error) -> StoreError {
    match &error {
        Error::Database(said) => {
            let words = said.message().to_owned();
            match said.code().as_deref().unwrap_or_default() {
                code if code.starts_with("23") || code.starts_with("XX") => {
                    StoreError::Damaged(words)
                }
                NOT_PERMITTED => StoreError::Setup(format!("the database refuses: {words}")),
                // SQLite: corrupt, not a database; constraints by their extended codes.
                "11" | "26" | "787" | "1299" | "1555" | "2067" => StoreError::Damaged(words),
                code if code.starts_with("42") || code.starts_with("22") => {
                    StoreError::Damaged(words)
                }
                _ => StoreError::Unavailable(words),
            }
        }
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::RowNotFound => StoreError::Damaged(error.to_string()),
        Error::PoolTimedOut => {
            StoreError::Unavailable("no connection became free in time".to_owned())
        }
        Error::PoolClosed => StoreError::Unavailable("it is closed".to_owned()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// The SQLSTATE or SQLite code, empty for other errors.
pub(super) fn code(error: &Error) -> String {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
        .unwrap_or_default()
}

/// The SQLite file could not be opened.
pub(super) fn opening_file(path: &Path, error: Error) -> StoreError {
    match trouble(error) {
        StoreError::Unavailable(words) => {
            StoreError::Setup(format!("cannot open the database {}: {words}", path.display()))
        }
        StoreError::Damaged(words) => {
            StoreError::Damaged(format!("{} is not usable: {words}", path.display()))
        }
        setup @ StoreError::Setup(_) => setup,
    }
}

/// The first connection took too long.
pub(super) fn connect_timeout(options: &PgConnectOptions, within: Duration) -> StoreError {
    StoreError::Unavailable(format!(
        "Postgres at {} did not answer within {} s",
        place(options),
        within.as_secs()
    ))
}

/// The first connection was refused.
pub(super) fn connecting(options: &PgConnectOptions, error: Error) -> StoreError {
    let place = place(options);
    let user = options.get_username();
    match code(&error).as_str() {
        "28P01" | "28000" => StoreError::Setup(format!(
            "Postgres at {place} refuses user {}: the password in DATABASE_URL is wrong, or \
             pg_hba.conf does not admit this user",
            identifier(user)
        )),
        "3D000" => {
            let database = options.get_database().unwrap_or(user);
            StoreError::Setup(format!(
                "Postgres at {place} has no database {0}. Type as a superuser of Postgres:\n    \
                 CREATE DATABASE {0} OWNER {1};",
                identifier(database),
                identifier(user)
            ))
        }
        _ => match error {
            Error::Io(why) => {
                StoreError::Unavailable(format!("Postgres at {place} cannot be reached: {why}"))
            }
            Error::Tls(_) => StoreError::Setup(format!(
                "Postgres at {place} is asked for TLS, which this relay does not speak; use a \
                 server on this machine, a private network or a tunnel, and no sslmode"
            )),
            other => match trouble(other) {
                StoreError::Unavailable(words) => StoreError::Unavailable(format!(
                    "Postgres at {place} does not take the connection: {words}"
                )),
                other => other,
            },
        },
    }
}

/// A name as SQL quotes it.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn place(options: &PgConnectOptions) -> String {
    options.get_socket().map_or_else(
        || format!("{}:{}", options.get_host(), options.get_port()),
        |socket| format!("{} (port {})", socket.display(), options.get_port()),
    )
}
