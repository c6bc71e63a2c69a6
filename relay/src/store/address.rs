//! Where the database is, in the spellings that the reference relay takes. Pure.

use std::{path::PathBuf, str::FromStr as _};

use sqlx::postgres::PgConnectOptions;

use super::{StoreError, keywords::keywords};

/// A parsed `DATABASE_URL`. Its `Debug` would show a password, so there is none (I8).
pub(super) enum Address {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

/// What is accepted, for every message about it.
const FORMS: &str =
    "sqlite://PATH, sqlite=PATH, postgres://USER:PASSWORD@HOST/DATABASE or postgres=KEY=VALUE …";

impl Address {
    /// Parses an address. No message repeats the text: it may hold a password (I8).
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let text = text.trim();
        if let Some(path) = ["sqlite://", "sqlite=", "sqlite:"]
            .into_iter()
            .find_map(|prefix| text.strip_prefix(prefix))
        {
            return sqlite(path);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return url(text);
        }
        match text.strip_prefix("postgres=") {
            Some(dsn) if dsn.contains("://") => url(dsn),
            Some(dsn) => {
                let (options, _password) = keywords(dsn).map_err(wrong)?;
                Ok(Address::Postgres(Box::new(options)))
            }
            None => Err(wrong("its beginning is not known")),
        }
    }
}

fn wrong(what: &str) -> StoreError {
    StoreError::Setup(format!("DATABASE_URL cannot be used: {what}; allowed is {FORMS}"))
}

fn sqlite(path: &str) -> Result<Address, StoreError> {
    if path.is_empty() {
        return Err(wrong("the path of the SQLite file is missing"));
    }
    if path == ":memory:" {
        return Err(wrong("a database in memory would lose every account at the next start"));
    }
    if path.contains('?') {
        return Err(wrong("a SQLite path takes no options after `?`"));
    }
    Ok(Address::Sqlite(PathBuf::from(path)))
}

fn url(text: &str) -> Result<Address, StoreError> {
    // The error of the parser is not shown: it may quote a part of the text.
    PgConnectOptions::from_str(text)
        .map(|options| Address::Postgres(Box::new(options)))
        .map_err(|_hidden| wrong("the Postgres URL is not well-formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Option<PathBuf> {
        match Address::parse(text) {
            Ok(Address::Sqlite(path)) => Some(path),
            _ => None,
        }
    }

    fn server(text: &str) -> Option<(String, u16, String, Option<String>)> {
        match Address::parse(text) {
            Ok(Address::Postgres(options)) => Some((
                options.get_host().to_owned(),
                options.get_port(),
                options.get_username().to_owned(),
                options.get_database().map(ToOwned::to_owned),
            )),
            _ => None,
        }
    }

    /// Issue 3, section 5: the spellings of the reference relay.
    #[test]
    fn every_spelling_of_the_reference_is_understood() {
        assert_eq!(
            file("sqlite://data/relay/relay.sqlite"),
            Some("data/relay/relay.sqlite".into())
        );
        assert_eq!(file("sqlite:///srv/relay.sqlite"), Some("/srv/relay.sqlite".into()));
        assert_eq!(file("sqlite=relay.sqlite"), Some("relay.sqlite".into()));

        let expected = Some(("db".to_owned(), 5433, "ann".to_owned(), Some("relay".to_owned())));
        assert_eq!(server("postgres://ann:secret@db:5433/relay"), expected);
        assert_eq!(server("postgresql://ann:secret@db:5433/relay"), expected);
        assert_eq!(server("postgres=postgres://ann:secret@db:5433/relay"), expected);
        assert_eq!(
            server(r"postgres=host=db port=5433 user='ann' password='a \'b' dbname=relay"),
            expected
        );
    }

    /// I8: what is wrong is said, the text is not repeated.
    #[test]
    fn a_wrong_address_is_refused_without_repeating_it() {
        for text in [
            "mysql://ann:hunter2@db/relay",
            "postgres://ann:hunter2@db:notaport/relay",
            "postgres=host=db password='hunter2",
            "postgres=host=db password=hunter2 port=x",
            "postgres=host=db hunter2",
            "postgres=host=db hunter2=hunter2",
            "postgres=host=db sslmode=hunter2",
            "sqlite://hunter2?mode=memory",
            "sqlite://:memory:",
            "sqlite://",
            "",
        ] {
            let Err(StoreError::Setup(sentence)) = Address::parse(text) else {
                panic!("{text} was accepted");
            };
            assert!(!sentence.contains("hunter2"), "{sentence}");
            assert!(sentence.contains("allowed is sqlite://PATH"), "{sentence}");
        }
    }
}
