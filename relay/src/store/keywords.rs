//! A Postgres server in the form `KEY=VALUE …`, as libpq and the reference relay take it. Pure.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Reads `host=localhost user=relay password='a b' dbname=relay`; gives the password besides, which the
/// options keep to themselves.
///
/// # Errors
/// What is wrong, in words that repeat nothing of the text: it may hold a password (I8).
pub fn keywords(text: &str) -> Result<(PgConnectOptions, Option<String>), &'static str> {
    let (mut options, mut password) = (PgConnectOptions::new(), None);
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or("a part of the DSN has no `=`")?;
        let (value, after) = value(after.trim_start())?;
        rest = after.trim_start();
        options = match key.trim() {
            "host" if value.starts_with('/') => options.socket(&value),
            "host" => options.host(&value),
            "port" => options.port(value.parse().map_err(|_hidden| "its port is not a number")?),
            "user" => options.username(&value),
            "password" => {
                password = Some(value.clone());
                options.password(&value)
            }
            "dbname" => options.database(&value),
            "sslmode" => {
                let mode = PgSslMode::from_str(&value);
                options.ssl_mode(mode.map_err(|_hidden| "its sslmode is unknown")?)
            }
            _ => {
                return Err(
                    "the DSN has a key besides host, port, user, password, dbname, sslmode",
                );
            }
        };
    }
    Ok((options, password))
}

/// One value and what follows it; a quoted one may hold blanks, and `\` takes the next as it is.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let quoted = text.strip_prefix('\'');
    let (mut found, mut chars) = (String::new(), quoted.unwrap_or(text).chars());
    loop {
        let before = chars.as_str();
        match chars.next() {
            Some('\'') if quoted.is_some() => return Ok((found, chars.as_str())),
            Some('\\') => found.extend(chars.next()),
            Some(blank) if quoted.is_none() && blank.is_whitespace() => return Ok((found, before)),
            Some(other) => found.push(other),
            None if quoted.is_some() => return Err("a quote in the DSN is not closed"),
            None => return Ok((found, before)),
        }
    }
}
