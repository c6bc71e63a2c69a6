//! The password of the admin API: compared in constant time, wrong ones slowed down (API-6).

use std::{net::IpAddr, num::NonZeroUsize, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    api::{ApiState, error::Error},
    clients::Client,
    config::Secret,
    firehose::client_key,
    telemetry::metrics,
};

/// The only user name; the reference relay has the same.
const USER: &str = "admin";
/// Clients whose failures are remembered.
const CLIENTS_MAX: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};
/// Wrong passwords that cost nothing: a person mistypes, a script has an old one.
const FREE_FAILURES: u32 = 5;
/// The longest wait between two tries; it doubles up to here. Bounded, so that an operator behind the
/// same address as an attacker is kept out for a minute, not for ever.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Why a request stays outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Outside {
    /// No credentials, or none that can be read.
    Missing,
    /// Compared and wrong.
    Wrong,
    /// Too many wrong ones before: not compared.
    Slowed(Duration),
}

impl Outside {
    /// The label in metrics.
    pub(in crate::api) const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Slowed(_) => "slowed",
        }
    }
}

/// Knows the passwords and who failed lately.
#[derive(Debug)]
pub(in crate::api) struct Gate {
    passwords: Vec<Secret>,
    failures: Mutex<LruCache<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// How long after the last failure the next try is compared.
    fn wait(self) -> Duration {
        let doublings = self.count.saturating_sub(FREE_FAILURES);
        if doublings == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs(1 << (doublings - 1).min(6)).min(WAIT_MAX)
    }
}

impl Gate {
    pub(in crate::api) fn new(passwords: Vec<Secret>) -> Self {
        Self { passwords, failures: Mutex::new(LruCache::new(CLIENTS_MAX)) }
    }

    fn check(&self, headers: &HeaderMap, client: IpAddr, now: Instant) -> Result<(), Outside> {
        let password = password(headers).ok_or(Outside::Missing)?;
        self.try_password(&password, client, now)
    }

    /// Compares one password, wherever it was typed; all places share the count of failures.
    pub(in crate::api) fn try_password(
        &self,
        password: &[u8],
        client: IpAddr,
        now: Instant,
    ) -> Result<(), Outside> {
        let client = client_key(client);
        let mut all = self.failures.lock();
        let failures = all.get(&client).copied();
        if let Some(failures) = failures {
            let left = failures.wait().saturating_sub(now.duration_since(failures.last));
            if !left.is_zero() {
                return Err(Outside::Slowed(left));
            }
        }
        if self.is_right(password) {
            all.pop(&client);
            return Ok(());
        }
        let count = failures.map_or(0, |failures| failures.count).saturating_add(1);
        all.put(client, Failures { count, last: now });
        Err(Outside::Wrong)
    }

    /// Compares all, so that the time does not tell which one was near. An empty one opens nothing.
    fn is_right(&self, given: &[u8]) -> bool {
        let found = self.passwords.iter().fold(false, |found, known| known.matches(given) | found);
        found && !given.is_empty()
    }
}

/// The password of `Basic admin:…` or `Bearer …`.
fn password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return (!rest.is_empty()).then(|| rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(rest).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, with_colon) = decoded.split_at(colon);
    let (_colon, password) = with_colon.split_first()?;
    // A wrong user is a wrong password: it must be counted like one.
    if user == USER.as_bytes() { Some(password.to_vec()) } else { Some(Vec::new()) }
}

/// Lets a request through to the admin routes.
pub(super) async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let client = Client::of(request.extensions()).address;
    let outside = match state.shared.gate.check(request.headers(), client, Instant::now()) {
        Ok(()) => return next.run(request).await,
        Err(outside) => outside,
    };
    let error = match outside {
        Outside::Missing => unauthorized("a password is needed"),
        Outside::Wrong => {
            tracing::warn!(%client, "a wrong admin password was given");
            unauthorized("user or password is wrong")
        }
        Outside::Slowed(left) => Error::rate_limited(left.as_secs().saturating_add(1)),
    };
    ::metrics::counter!(metrics::API_ADMIN_REFUSED, "reason" => outside.label()).increment(1);
    let mut response = error.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let ask = HeaderValue::from_static("Basic realm=\"relay admin\", charset=\"UTF-8\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, ask);
    }
    response
}

fn unauthorized(message: &str) -> Error {
    Error::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn with(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    fn basic(pair: &str) -> HeaderMap {
        with(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    /// API-6, each refusal beside an admission.
    #[tokio::test]
    async fn only_a_right_password_in_a_known_form_comes_in() {
        let gate = Gate::new(vec![Secret::new("first:x"), Secret::new("second"), Secret::new("")]);
        let now = Instant::now();
        let rows = [
            (basic("admin:first:x"), Ok(())),
            (basic("admin:second"), Ok(())),
            (with("Bearer second"), Ok(())),
            (with("bearer second"), Ok(())),
            (HeaderMap::new(), Err(Outside::Missing)),
            (with("second"), Err(Outside::Missing)),
            (with("Digest second"), Err(Outside::Missing)),
            (with("Basic !!!"), Err(Outside::Missing)),
            (basic("second"), Err(Outside::Missing)),
            (basic("admin:"), Err(Outside::Wrong)),
            (basic("root:second"), Err(Outside::Wrong)),
            (with("Bearer secon"), Err(Outside::Wrong)),
            (with("Bearer second2"), Err(Outside::Wrong)),
            (with("Bearer "), Err(Outside::Missing)),
            (with("Bearer second"), Ok(())),
        ];
        for (headers, told) in rows {
            assert_eq!(gate.check(&headers, HERE, now), told, "{headers:?}");
        }
    }

    #[test]
    fn without_passwords_nobody_comes_in() {
        let gate = Gate::new(vec![Secret::new("")]);
        assert_eq!(gate.check(&basic("admin:"), HERE, Instant::now()), Err(Outside::Wrong));
    }

    /// API-6: guessing is slowed per client, within a bound, and a right password ends it.
    #[test]
    fn wrong_passwords_are_slowed_down_within_a_bound() {
        let gate = Gate::new(vec![Secret::new("right")]);
        let (wrong, right) = (with("Bearer wrong"), with("Bearer right"));
        let mut now = Instant::now();
        for _ in 0..=FREE_FAILURES {
            assert_eq!(gate.check(&wrong, HERE, now), Err(Outside::Wrong));
        }
        let second = Duration::from_secs(1);
        assert_eq!(gate.check(&wrong, HERE, now), Err(Outside::Slowed(second)));
        assert_eq!(gate.check(&right, HERE, now), Err(Outside::Slowed(second)), "not compared");
        assert_eq!(gate.check(&right, THERE, now), Ok(()), "another client is not touched");

        for _ in 0..40 {
            now += WAIT_MAX;
            assert_eq!(gate.check(&wrong, HERE, now), Err(Outside::Wrong));
        }
        assert_eq!(gate.check(&right, HERE, now), Err(Outside::Slowed(WAIT_MAX)));
        assert_eq!(gate.check(&right, HERE, now + WAIT_MAX), Ok(()));
        assert_eq!(gate.check(&wrong, HERE, now + WAIT_MAX), Err(Outside::Wrong), "forgiven");
    }
}
