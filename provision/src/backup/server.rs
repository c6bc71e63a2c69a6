//! Where a Postgres server is: in all forms that the relay takes, and as the programs of Postgres take
//! it. Those are told by the environment, so that no list of processes shows anything. Pure.

use std::str::FromStr as _;

use anyhow::{Result, anyhow, ensure};
use relay::store::keywords;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// What is accepted, for every message about it. None repeats the text: it may hold a password.
pub(super) const FORMS: &str = "sqlite://PATH, postgres://USER:PASSWORD@HOST/DATABASE, \
    postgres://USER:PASSWORD@localhost/DATABASE?host=/run/postgresql or postgres=KEY=VALUE …";

/// A server and a database of it.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    password: Option<String>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{self}")
    }
}

/// Without the password.
impl std::fmt::Display for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (user, host) = (self.options.get_username(), self.host());
        write!(out, "postgres://{user}@{host}:{}/{}", self.options.get_port(), self.database())
    }
}

impl Server {
    /// Reads `postgres://…`, `postgresql://…` or `KEY=VALUE …`.
    ///
    /// # Errors
    /// When it is none of these.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.contains("://") {
            return of_url(text);
        }
        let (options, password) = keywords(text)
            .map_err(|what| anyhow!("DATABASE_URL cannot be used: {what}; it is {FORMS}"))?;
        Ok(Self { options, password })
    }

    /// For a session.
    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The name of the database; without one it is that of the user.
    pub(super) fn database(&self) -> &str {
        self.options.get_database().unwrap_or_else(|| self.options.get_username())
    }

    /// What the programs of Postgres read in their environment.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let mode = match self.options.get_ssl_mode() {
            PgSslMode::Disable => "disable",
            PgSslMode::Allow => "allow",
            PgSslMode::Prefer => "prefer",
            PgSslMode::Require => "require",
            PgSslMode::VerifyCa => "verify-ca",
            PgSslMode::VerifyFull => "verify-full",
        };
        let mut pairs = vec![
            ("PGHOST", self.host()),
            ("PGPORT", self.options.get_port().to_string()),
            ("PGUSER", self.options.get_username().to_owned()),
            ("PGDATABASE", self.database().to_owned()),
            ("PGSSLMODE", mode.to_owned()),
        ];
        pairs.extend(self.password.clone().map(|password| ("PGPASSWORD", password)));
        pairs
    }

    /// A name, an address, or the directory of a socket.
    fn host(&self) -> String {
        let socket = self.options.get_socket();
        socket.map_or(self.options.get_host().to_owned(), |dir| dir.display().to_string())
    }
}

fn of_url(text: &str) -> Result<Server> {
    let known = text.starts_with("postgres://") || text.starts_with("postgresql://");
    ensure!(known, "DATABASE_URL is neither of SQLite nor of Postgres; it is {FORMS}");
    let malformed = || anyhow!("DATABASE_URL is no well-formed URL of Postgres; it is {FORMS}");
    // Errors of both parsers may quote a part of the text.
    let options = PgConnectOptions::from_str(text).map_err(|_hidden| malformed())?;
    let url = Url::parse(text).map_err(|_hidden| malformed())?;
    let in_query = url.query_pairs().filter(|(name, _)| name == "password").last();
    let password = match in_query {
        Some((_, password)) => Some(password.into_owned()),
        None => url.password().map(decoded),
    };
    Ok(Server { options, password })
}

/// What `%40` and the like stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(text: &str) -> Result<Vec<String>> {
        let pairs = Server::parse(text)?.environment().into_iter();
        Ok(pairs.map(|(name, value)| format!("{name}={value}")).collect())
    }

    /// A person who keeps Postgres on a socket writes its directory in one of these ways; the password
    /// is known to the programs and shown to nobody.
    #[test]
    fn every_form_of_a_server_says_the_same_to_the_programs() -> Result<()> {
        let socket = ["PGHOST=/run/postgresql", "PGPORT=5432", "PGUSER=relay", "PGDATABASE=hosts"];
        for text in [
            "postgres://relay:pome%40granate@localhost/hosts?host=/run/postgresql",
            "postgresql://relay@localhost/hosts?host=/run/postgresql&password=pome%40granate",
            "postgres://relay:pome%40granate@%2Frun%2Fpostgresql/hosts",
            "host=/run/postgresql user=relay password=pome@granate dbname=hosts",
            r"dbname = hosts user='relay' password='pome\@granate' host='/run/postgresql'",
        ] {
            let found = environment(text)?;
            assert_eq!(found.get(..4).unwrap_or_default(), socket, "{text}");
            assert_eq!(found.last().map(String::as_str), Some("PGPASSWORD=pome@granate"), "{text}");
            assert!(!Server::parse(text)?.to_string().contains("granate"), "{text}");
        }
        let found = environment("postgres://relay@db.example:5433/hosts?sslmode=verify-full")?;
        assert!(found.contains(&"PGHOST=db.example".to_owned()), "{found:?}");
        assert!(found.contains(&"PGSSLMODE=verify-full".to_owned()), "{found:?}");
        assert!(found.contains(&"PGPORT=5433".to_owned()), "{found:?}");
        assert!(!found.iter().any(|pair| pair.starts_with("PGPASSWORD")), "{found:?}");
        Ok(())
    }

    #[test]
    fn a_wrong_form_is_refused_without_repeating_it() {
        for text in [
            "mysql://a:granate@b/c",
            "postgres://a:granate@b:port/c",
            "host=b password='granate",
            "host=b granate",
            "host=b granate=granate",
            "host=b port=granate",
            "host=b sslmode=granate",
        ] {
            let refused = Server::parse(text).err().map(|error| format!("{error:#}"));
            let refused = refused.unwrap_or_default();
            assert!(refused.contains("DATABASE_URL") && !refused.contains("granate"), "{refused}");
        }
    }
}
