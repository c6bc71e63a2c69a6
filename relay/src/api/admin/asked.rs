//! What an operator's request asks for: who asks, and the fields of its body.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, VIA},
    request::Parts,
};
use relay_protocol::Did;
use serde_json::{Map, Value};

use crate::{
    actions::By,
    api::{error::Error, params},
    clients::Client,
    telemetry::escape,
};

/// What relays write into `Via` when they pass a request on.
const RELAY_MARK: &str = "atproto-relay";
/// Longest piece of a wrong value that is sent back.
const ECHO_CHARS_MAX: usize = 80;

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let client = Client::of(&parts.extensions).address;
        let relayed = is_relayed(&parts.headers);
        Ok(if relayed { Self::sibling(client) } else { Self::client(client) })
    }
}

/// Whether a relay passed the request on; it goes no further then, so that none runs in circles.
pub(in crate::api) fn is_relayed(headers: &HeaderMap) -> bool {
    headers.get_all(VIA).iter().any(|via| {
        let via = String::from_utf8_lossy(via.as_bytes()).to_ascii_lowercase();
        via.contains(RELAY_MARK)
    })
}

/// The fields of a JSON object. Their names have no case, as in the programs that scripts for the
/// reference relay were written against; of two that differ in nothing else the exact one counts.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    pub(super) async fn read(body: Body) -> Result<Self, Error> {
        Ok(Self(params::json(body, params::ADMIN_BODY_BYTES_MAX).await?))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let exact = self.0.get(name);
        let loose = || {
            let mut fields = self.0.iter();
            fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        exact.or_else(loose).filter(|value| !value.is_null())
    }

    /// A text that may be absent.
    pub(super) fn maybe_text(&self, name: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong(name, "a text", value))
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<&str, Error> {
        let text = self.maybe_text(name)?.map(str::trim).filter(|text| !text.is_empty());
        text.ok_or_else(|| Error::invalid(format!("the field {name} is missing")))
    }

    /// A list of texts; empty when it is absent.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let texts = value.as_array().map(|all| all.iter().map(Value::as_str).collect());
        let texts: Option<Vec<&str>> = texts.unwrap_or_default();
        let texts = texts.ok_or_else(|| wrong(name, "a list of texts", value))?;
        Ok(texts.into_iter().map(ToOwned::to_owned).collect())
    }

    /// A number from 0 on that may be absent.
    pub(super) fn maybe_number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| wrong(name, "a whole number from 0 on", value))
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<u64, Error> {
        let missing = || Error::invalid(format!("the field {name} is missing"));
        self.maybe_number(name)?.ok_or_else(missing)
    }

    /// Whether the field is this text.
    pub(super) fn is_text(&self, name: &str, text: &str) -> bool {
        self.value(name).is_some_and(|value| value == text)
    }

    /// True, false, or absent.
    pub(super) fn maybe_truth(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong(name, "true or false", value))
    }

    /// A DID.
    pub(super) fn did(&self) -> Result<Did, Error> {
        let text = self.text("did")?;
        Did::parse(text).map_err(|why| {
            Error::invalid(format!("did {} is not valid: {why}", escape(text, ECHO_CHARS_MAX)))
        })
    }

    /// Who does it, with the reason that the body gives.
    pub(super) fn by(&self, by: By) -> Result<By, Error> {
        Ok(by.because(self.maybe_text("note")?))
    }
}

fn wrong(name: &str, expected: &str, value: &Value) -> Error {
    let value = escape(&value.to_string(), ECHO_CHARS_MAX);
    Error::invalid(format!("the field {name} must be {expected}, not {value}"))
}

/// What the reference relay answers when something was done; the text is what its scripts compare.
pub(super) fn success() -> Response {
    ([(CONTENT_TYPE, "application/json")], "{\"success\":\"true\"}").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fields(text: &'static str) -> Fields {
        Fields::read(Body::from(text)).await.unwrap()
    }

    /// Scripts of the reference relay write `Domain`, `domain` and `DID`.
    #[tokio::test]
    async fn names_of_fields_have_no_case() {
        for text in ["{\"Did\":\"did:web:a.com\"}", "{\"did\":\"did:web:a.com\",\"DID\":\"x\"}"] {
            assert_eq!(fields(text).await.did().unwrap().as_str(), "did:web:a.com", "{text}");
        }
    }

    /// SEC-10: what is wrong is named, with a short piece of it and no control characters.
    #[tokio::test]
    async fn wrong_fields_are_named() {
        let rows = [
            ("{}", "the field did is missing"),
            ("{\"did\":\"\"}", "the field did is missing"),
            ("{\"did\":null}", "the field did is missing"),
            ("{\"did\":7}", "the field did must be a text, not 7"),
            ("{\"did\":\"\\u001b\"}", "did \\u{1b} is not valid"),
        ];
        for (text, said) in rows {
            let error = fields(text).await.did().unwrap_err();
            assert_eq!(error.status.as_u16(), 400);
            assert!(error.message.starts_with(said), "{text}: {}", error.message);
        }
        assert!(Fields::read(Body::from("[]")).await.is_err());
        for wrong in ["{\"id\":-1}", "{\"id\":1.5}", "{\"id\":\"1\"}"] {
            assert!(fields(wrong).await.number("id").is_err(), "{wrong}");
        }
        assert_eq!(fields("{\"id\":1}").await.number("id").unwrap(), 1);
    }

    /// Requests that a relay passed on are known by `Via` alone; browsers and scripts are not.
    #[test]
    fn only_via_tells_that_a_relay_passed_it_on() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::USER_AGENT, "x (atproto-relay)".parse().unwrap());
        assert!(!is_relayed(&headers));
        headers.append(VIA, "1.1 proxy.example.com".parse().unwrap());
        assert!(!is_relayed(&headers));
        headers.append(VIA, "HTTP/1.1 Atproto-Relay".parse().unwrap());
        assert!(is_relayed(&headers));
    }
}
