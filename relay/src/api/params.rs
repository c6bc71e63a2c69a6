//! Parameters of requests: query strings and JSON bodies, all from outside.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, extract::FromRequestParts};
use bytes::Bytes;
use http::request::Parts;
use relay_protocol::Did;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::error::Error;
use crate::telemetry::escape;

/// Largest body of a public request (spec section 13).
pub(super) const PUBLIC_BODY_BYTES_MAX: usize = 16 << 10;
/// Largest body of an admin request: a batch of 1,000 host names of 253 characters.
pub(super) const ADMIN_BODY_BYTES_MAX: usize = 1 << 20;
/// How long a body may take to arrive (SEC-7).
const BODY_MAX: Duration = Duration::from_secs(10);
/// Longest piece of a wrong value that is sent back.
const ECHO_CHARS_MAX: usize = 80;

/// The query parameters; unknown ones are ignored (API-7), of a repeated one the first counts.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::read(parts.uri.query()))
    }
}

impl Params {
    pub(super) fn read(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The value, `None` when absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find_map(|(key, value)| (key == name).then_some(value))?;
        (!value.is_empty()).then_some(value)
    }

    /// All values of a parameter that may be repeated, without empty ones.
    pub(super) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        values.map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Error> {
        self.text(name).ok_or_else(|| Error::invalid(format!("parameter {name} is missing")))
    }

    /// The required parameter `did`, its syntax checked.
    pub(super) fn did(&self) -> Result<Did, Error> {
        let text = self.required("did")?;
        Did::parse(text).map_err(|why| {
            Error::invalid(format!("did {} is not valid: {why}", escape(text, ECHO_CHARS_MAX)))
        })
    }

    /// `limit` in 1..=`max`; out of range is an error, like at the reference PDS (API-2).
    pub(super) fn limit(&self, usual: usize, max: usize) -> Result<usize, Error> {
        let Some(text) = self.text("limit") else { return Ok(usual) };
        let limit = number(text).and_then(|limit| usize::try_from(limit).ok());
        limit.filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
            let text = escape(text, ECHO_CHARS_MAX);
            Error::invalid(format!("limit must be an integer from 1 to {max}, not {text}"))
        })
    }

    /// The same as the sidecar for collections of the reference relay has it: what is out of range is
    /// brought into it, and what is no number is as if it were absent.
    pub(super) fn limit_within(&self, usual: usize, max: usize) -> usize {
        let limit = self.text("limit").and_then(|text| text.parse::<i128>().ok());
        let most = i128::try_from(max).unwrap_or(i128::MAX);
        let within = limit.and_then(|limit| usize::try_from(limit.clamp(1, most)).ok());
        within.unwrap_or(usual)
    }

    /// `cursor` of a list: what the answer before gave, 0 at the start. Opaque to clients (API-2).
    pub(super) fn cursor(&self) -> Result<u64, Error> {
        let Some(text) = self.text("cursor") else { return Ok(0) };
        number(text).ok_or_else(|| Error::invalid("cursor is not one that this relay gave"))
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Reads a JSON body of at most `bytes_max`, within 10 s. The content type is not looked at: senders
/// differ, and nothing else is accepted anyway.
pub(super) async fn json<T: DeserializeOwned>(body: Body, bytes_max: usize) -> Result<T, Error> {
    let bytes = whole(body, bytes_max).await?;
    serde_json::from_slice(&bytes).map_err(|why| {
        Error::invalid(format!(
            "the body is not the JSON that is expected: {}",
            escape(&why.to_string(), 200)
        ))
    })
}

/// The same for a body of text.
pub(super) async fn text(body: Body, bytes_max: usize) -> Result<String, Error> {
    String::from_utf8(whole(body, bytes_max).await?.into())
        .map_err(|_binary| Error::invalid("the body is not text in UTF-8"))
}

/// Reads a body of at most `bytes_max`, within 10 s.
pub(super) async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Error> {
    match tokio::time::timeout(BODY_MAX, axum::body::to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_too_large_or_cut)) => Err(Error::new(
            http::StatusCode::PAYLOAD_TOO_LARGE,
            "InvalidRequest",
            format!("the body must be whole and at most {bytes_max} bytes"),
        )),
        Err(_late) => Err(Error::new(
            http::StatusCode::REQUEST_TIMEOUT,
            "InvalidRequest",
            "the body did not arrive in time",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// API-2, API-7, T23: limits at and beyond their ends.
    #[test]
    fn limits_are_checked_at_both_ends() {
        let limit = |query: &str| Params::read(Some(query)).limit(500, 1000);
        assert_eq!(limit(""), Ok(500));
        assert_eq!(limit("limit=&other=1"), Ok(500));
        assert_eq!(limit("limit=1"), Ok(1));
        assert_eq!(limit("limit=1000"), Ok(1000));
        for wrong in ["0", "1001", "-1", "+5", "1.0", "abc", "99999999999999999999999"] {
            let error = limit(&format!("limit={wrong}")).unwrap_err();
            assert_eq!((error.status.as_u16(), error.name), (400, "InvalidRequest"), "{wrong}");
        }
    }

    #[test]
    fn cursors_are_numbers_of_ours_or_nothing() {
        let cursor = |query: &str| Params::read(Some(query)).cursor();
        assert_eq!(cursor(""), Ok(0));
        assert_eq!(cursor("cursor="), Ok(0));
        assert_eq!(cursor("cursor=77"), Ok(77));
        for wrong in ["abc", "-1", "+1", "1%20", "99999999999999999999999"] {
            assert_eq!(cursor(&format!("cursor={wrong}")).unwrap_err().name, "InvalidRequest");
        }
    }

    /// Spec 12: DID parameters are checked for syntax; what is sent back is escaped (SEC-10).
    #[test]
    fn dids_are_checked_and_hostile_ones_are_not_echoed_raw() {
        let did = |query: &str| Params::read(Some(query)).did();
        assert_eq!(did("did=did:web:example.com").unwrap().as_str(), "did:web:example.com");
        assert!(did("").unwrap_err().message.contains("missing"));
        let error = did("did=%1b[2Jdid").unwrap_err();
        assert_eq!(error.name, "InvalidRequest");
        assert!(!error.message.contains('\u{1b}'), "{}", error.message);
    }

    #[tokio::test]
    async fn bodies_are_bounded_and_must_be_json() {
        #[derive(serde::Deserialize, Debug, PartialEq)]
        struct Wanted {
            a: u8,
        }
        let read = |text: &'static str| json::<Wanted>(Body::from(text), 10);
        assert_eq!(read("{\"a\":1}").await, Ok(Wanted { a: 1 }));
        assert_eq!(read("{\"a\":1,   }").await.unwrap_err().status, 413);
        assert_eq!(read("{\"b\":1}").await.unwrap_err().status, 400);
        assert_eq!(read("").await.unwrap_err().status, 400);
    }

    /// SEC-7: a body that trickles in is given up (paused time).
    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let error = json::<u8>(Body::from_stream(endless), 10).await.unwrap_err();
        assert_eq!(error.status, 408);
    }
}
