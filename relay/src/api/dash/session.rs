//! Sessions of the page: a signed cookie and the token of its forms. Nothing is stored but logouts.
//!
//! ```text
//! cookie = base64url(nonce 16 | expiry in s, big endian 8 | HMAC-SHA256 32)
//! token  = base64url(HMAC-SHA256 over the nonce)
//! ```
//!
//! The key is made of the admin passwords: a restart logs nobody out, a changed password everybody.

use std::{num::NonZeroU32, num::NonZeroUsize, sync::OnceLock, time::Duration};

use aws_lc_rs::{hmac, pbkdf2};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::COOKIE};
use lru::LruCache;
use parking_lot::Mutex;

use crate::config::Secret;

/// Name of the cookie.
pub(super) const COOKIE_NAME: &str = "relay_dash";
/// How long a login lasts: a day of work.
pub(super) const LIFE: Duration = Duration::from_hours(12);
/// How long the form of the login page may lie open.
const VISIT: Duration = Duration::from_hours(1);
/// Ended sessions that are remembered until they would have ended by themselves.
const ENDED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Makes a guess at the password from a stolen cookie cost a thousand times a plain hash, and the
/// first login some milliseconds.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(19_999);
const NONCE_BYTES: usize = 16;
const SIGNED_BYTES: usize = NONCE_BYTES + 8;

/// A login that is valid now.
#[derive(Debug, Clone)]
pub(super) struct Session {
    nonce: [u8; NONCE_BYTES],
    /// What every form of this session must bring.
    pub(super) token: String,
}

/// Makes and checks cookies and tokens.
#[derive(Debug)]
pub(in crate::api) struct Sessions {
    passwords: Vec<Secret>,
    key: OnceLock<hmac::Key>,
    ended: Mutex<LruCache<[u8; NONCE_BYTES], ()>>,
}

impl Sessions {
    /// * `passwords` – those of the admin API
    pub(in crate::api) fn new(passwords: Vec<Secret>) -> Self {
        Self { passwords, key: OnceLock::new(), ended: Mutex::new(LruCache::new(ENDED_MAX)) }
    }

    /// A new session: the value of its cookie.
    pub(super) fn begin(&self, now_ms: u64) -> String {
        self.sealed("session", rand::random(), now_ms, LIFE)
    }

    /// The session of a request.
    pub(super) fn of(&self, headers: &HeaderMap, now_ms: u64) -> Option<Session> {
        let nonce = self.opened("session", cookie(headers)?, now_ms, LIFE)?;
        if self.ended.lock().contains(&nonce) {
            return None;
        }
        let token = hmac::sign(self.key(), &[b"form", &nonce[..]].concat());
        Some(Session { nonce, token: URL_SAFE_NO_PAD.encode(token) })
    }

    /// Whether a form belongs to the session, in a time that says nothing about the token.
    pub(super) fn is_of(&self, session: &Session, token: &str) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let signed = [b"form", &session.nonce[..]].concat();
        hmac::verify(self.key(), &signed, &token).is_ok()
    }

    /// Ends a session before its time.
    pub(super) fn end(&self, session: &Session) {
        self.ended.lock().put(session.nonce, ());
    }

    /// The token of the login form, before there is a session.
    pub(super) fn visit(&self, now_ms: u64) -> String {
        self.sealed("visit", rand::random(), now_ms, VISIT)
    }

    /// Whether a login form came from here, a moment ago.
    pub(super) fn is_visit(&self, token: &str, now_ms: u64) -> bool {
        self.opened("visit", token, now_ms, VISIT).is_some()
    }

    fn sealed(&self, what: &str, nonce: [u8; NONCE_BYTES], now_ms: u64, life: Duration) -> String {
        let until = (now_ms / 1_000).saturating_add(life.as_secs());
        let mut sealed = [&nonce[..], &until.to_be_bytes()[..]].concat();
        let tag = hmac::sign(self.key(), &[what.as_bytes(), &sealed].concat());
        sealed.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    fn opened(
        &self,
        what: &str,
        text: &str,
        now_ms: u64,
        life: Duration,
    ) -> Option<[u8; NONCE_BYTES]> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, tag) = bytes.split_at_checked(SIGNED_BYTES)?;
        hmac::verify(self.key(), &[what.as_bytes(), signed].concat(), tag).ok()?;
        let (nonce, until) = signed.split_first_chunk::<NONCE_BYTES>()?;
        let until = u64::from_be_bytes(until.try_into().ok()?);
        let now = now_ms / 1_000;
        // A clock that was set back must not make a session longer than its life.
        (now < until && until <= now.saturating_add(life.as_secs())).then_some(*nonce)
    }

    fn key(&self) -> &hmac::Key {
        self.key.get_or_init(|| {
            let mut secret = Vec::new();
            for password in &self.passwords {
                let text = password.expose().as_bytes();
                // With lengths, so that two passwords are not the same as one that is both.
                secret.extend_from_slice(&text.len().to_be_bytes());
                secret.extend_from_slice(text);
            }
            let mut key = [0; 32];
            let salt = b"relay dash sessions 1";
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, &secret, &mut key);
            hmac::Key::new(hmac::HMAC_SHA256, &key)
        })
    }
}

/// The value of our cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| (name.trim() == COOKIE_NAME).then_some(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn sessions(passwords: &[&str]) -> Sessions {
        Sessions::new(passwords.iter().map(|text| Secret::new(*text)).collect())
    }

    fn with(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("other=1; {COOKIE_NAME}={cookie}").parse().unwrap());
        headers
    }

    /// A login lasts for its time and over a restart, and no longer than the password.
    #[test]
    fn a_session_ends_with_its_time_its_logout_or_the_password() {
        let all = sessions(&["one"]);
        let headers = with(&all.begin(NOW));
        let session = all.of(&headers, NOW).expect("logged in");
        let life_ms = u64::try_from(LIFE.as_millis()).unwrap();
        assert!(all.of(&headers, NOW + life_ms - 1_000).is_some());
        assert!(all.of(&headers, NOW + life_ms).is_none(), "too old");
        assert!(all.of(&headers, NOW - 5_000).is_none(), "from the future");
        assert!(sessions(&["one"]).of(&headers, NOW).is_some(), "after a restart");
        for other in [&["two"][..], &["one", "two"], &[]] {
            assert!(sessions(other).of(&headers, NOW).is_none(), "{other:?}");
        }
        all.end(&session);
        assert!(all.of(&headers, NOW).is_none(), "logged out");
        assert!(all.of(&HeaderMap::new(), NOW).is_none());
    }

    /// No single changed character of a cookie or a token is let through.
    #[test]
    fn what_was_changed_is_not_ours() {
        let all = sessions(&["one"]);
        let cookie = all.begin(NOW);
        let session = all.of(&with(&cookie), NOW).unwrap();
        for place in 0..cookie.len() - 1 {
            let mut changed = cookie.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(all.of(&with(&changed), NOW).is_none(), "{place}");
        }
        let other = all.of(&with(&all.begin(NOW)), NOW).unwrap();
        assert!(all.is_of(&session, &session.token));
        for token in [other.token.as_str(), "", "A", &cookie, &all.visit(NOW)] {
            assert!(!all.is_of(&session, token), "{token}");
        }
        assert!(all.of(&with(&all.visit(NOW)), NOW).is_none(), "a visit is no session");
        assert!(all.is_visit(&all.visit(NOW), NOW) && !all.is_visit(&cookie, NOW));
    }
}
