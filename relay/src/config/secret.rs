//! A value that must not be shown (I8).

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A password, or an address that holds one. `Debug` and `Display` redact it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret, in a time that says nothing about either (SEC-6).
    pub fn matches(&self, given: &[u8]) -> bool {
        // Digests have one length, and how far they agree tells nothing about the texts.
        let (ours, theirs) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(given));
        let difference = ours.iter().zip(&theirs).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(REDACTED)
    }
}

/// What is shown in place of a secret.
pub(super) const REDACTED: &str = "(redacted)";

/// A database address without its password.
pub(super) fn redacted_address(text: &str) -> String {
    if let Ok(mut url) = url::Url::parse(text.strip_prefix("postgres=").unwrap_or(text))
        && url.has_host()
    {
        let has_password = url.password().is_some();
        // Parameters may hold a password too.
        url.set_query(None);
        return match has_password.then(|| url.set_password(Some("redacted"))) {
            Some(Err(())) => REDACTED.to_owned(),
            _ => url.into(),
        };
    }
    if text.starts_with("sqlite") { text.to_owned() } else { REDACTED.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I8: neither form of output holds it; SEC-6: only the whole text matches.
    #[test]
    fn a_secret_matches_itself_and_shows_nothing() {
        let secret = Secret::new("hunter2");
        assert!(secret.matches(b"hunter2"));
        for other in [&b"hunter"[..], b"hunter22", b"", b"Hunter2"] {
            assert!(!secret.matches(other));
        }
        assert_eq!(format!("{secret} {secret:?}"), "(redacted) (redacted)");
    }

    /// I8: user, host and database may be shown, nothing else.
    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://ann:hunter2@db:5433/relay", "postgres://ann:redacted@db:5433/relay"),
            ("postgres=postgres://ann:hunter2@db/relay", "postgres://ann:redacted@db/relay"),
            ("postgresql://ann@db/relay?password=hunter2", "postgresql://ann@db/relay"),
            ("postgres=host=db password=hunter2", REDACTED),
            ("hunter2", REDACTED),
            ("sqlite://data/relay.sqlite", "sqlite://data/relay.sqlite"),
            ("sqlite:///srv/relay.sqlite", "sqlite:///srv/relay.sqlite"),
            ("sqlite=relay.sqlite", "sqlite=relay.sqlite"),
        ] {
            assert_eq!(redacted_address(text), shown, "{text}");
        }
    }
}
