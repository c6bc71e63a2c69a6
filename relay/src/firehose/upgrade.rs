//! The HTTP side of the firehose: what may become a WebSocket, and what it is told otherwise.
//!
//! WS-2, WS-3 (any origin), WS-10, CUR-7. The upgrade is made by hand so that the relay needs one
//! WebSocket library only.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::position::cursor_of;
use crate::{
    domain::Seq,
    telemetry::{escape, metrics},
};

/// The subprotocol that is spoken, asked for or not (WS-10).
const SUBPROTOCOL: &str = "xrpc.v0.cbor";
/// A key is 16 bytes in base64.
const KEY_CHARS: usize = 24;
/// Longest part of a wrong cursor that is sent back.
const ECHO_CHARS_MAX: usize = 40;

/// Why a request does not become a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another method than GET.
    Method,
    /// No request for a WebSocket.
    NoUpgrade,
    /// The handshake is not that of RFC 6455.
    BadHandshake(&'static str),
    /// CUR-7.
    BadCursor(String),
    /// Too many consumers, or too many tries, of one client; seconds to wait.
    ClientLimit(u64),
    /// Too many consumers in all.
    TotalLimit,
    /// The relay is going down.
    Stopping,
}

impl Refusal {
    /// The label in metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NoUpgrade => "no_upgrade",
            Self::BadHandshake(_) => "bad_handshake",
            Self::BadCursor(_) => "bad_cursor",
            Self::ClientLimit(_) => "client_limit",
            Self::TotalLimit => "total_limit",
            Self::Stopping => "stopping",
        }
    }

    fn parts(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The firehose is read with GET.".to_owned(),
            ),
            Self::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "UpgradeRequired",
                "This is a WebSocket: connect with wss:// or ws://.".to_owned(),
            ),
            Self::BadHandshake(why) => {
                (StatusCode::BAD_REQUEST, "InvalidRequest", (*why).to_owned())
            }
            Self::BadCursor(value) => (
                StatusCode::BAD_REQUEST,
                "InvalidRequest",
                format!("cursor must be an integer from 0 to {}, not {value}", Seq::MAX),
            ),
            Self::ClientLimit(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "RateLimitExceeded",
                "Too many connections from this address.".to_owned(),
            ),
            Self::TotalLimit => (
                StatusCode::TOO_MANY_REQUESTS,
                "RateLimitExceeded",
                "This relay has as many consumers as it can serve.".to_owned(),
            ),
            Self::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The relay is shutting down.".to_owned(),
            ),
        }
    }

    fn headers(&self) -> Vec<(http::HeaderName, HeaderValue)> {
        match self {
            Self::Method => vec![(ALLOW, HeaderValue::from_static("GET"))],
            Self::NoUpgrade => vec![
                (UPGRADE, HeaderValue::from_static("websocket")),
                (CONNECTION, HeaderValue::from_static("Upgrade")),
                (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            ],
            Self::ClientLimit(seconds) => vec![(RETRY_AFTER, HeaderValue::from(*seconds))],
            Self::TotalLimit => vec![(RETRY_AFTER, HeaderValue::from(60))],
            Self::Stopping => vec![(RETRY_AFTER, HeaderValue::from(10))],
            Self::BadHandshake(_) | Self::BadCursor(_) => Vec::new(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        ::metrics::counter!(metrics::FIREHOSE_REFUSED, "reason" => self.label()).increment(1);
        let (status, error, message) = self.parts();
        let body = json!({ "error": error, "message": message }).to_string();
        let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
        response.headers_mut().extend(self.headers());
        response
    }
}

/// A request that may become a consumer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Where to start.
    pub(super) cursor: Option<Seq>,
    accept: String,
    subprotocol: bool,
}

impl Wish {
    /// Reads method, query and headers. The cursor is judged first, so that a person who tries it
    /// with a plain GET reads what is wrong with it.
    pub(super) fn read(request: &Parts) -> Result<Self, Refusal> {
        if request.method != Method::GET {
            return Err(Refusal::Method);
        }
        let cursor = cursor_of(request.uri.query())
            .map_err(|value| Refusal::BadCursor(escape(&value, ECHO_CHARS_MAX)))?;
        let headers = &request.headers;
        if !names(headers, &UPGRADE, "websocket") || !names(headers, &CONNECTION, "upgrade") {
            return Err(Refusal::NoUpgrade);
        }
        if !names(headers, &SEC_WEBSOCKET_VERSION, "13") {
            return Err(Refusal::NoUpgrade);
        }
        let key = headers
            .get(SEC_WEBSOCKET_KEY)
            .filter(|key| key.len() == KEY_CHARS)
            .ok_or(Refusal::BadHandshake("Sec-WebSocket-Key is missing or not 24 characters."))?;
        Ok(Self {
            cursor,
            accept: derive_accept_key(key.as_bytes()),
            subprotocol: names(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
        })
    }

    /// The 101 that makes the connection a WebSocket.
    pub(super) fn answer(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        response
    }
}

/// Whether one of the comma-separated tokens of a header is this one.
fn names(headers: &HeaderMap, header: &http::HeaderName, token: &str) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, query: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("/xrpc/com.atproto.sync.subscribeRepos{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const GOOD: [(&str, &str); 4] = [
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn without(name: &str) -> Vec<(&'static str, &'static str)> {
        GOOD.into_iter().filter(|(header, _)| *header != name).collect()
    }

    /// RFC 6455 1.3, its own example; WS-3: any origin.
    #[test]
    fn a_right_handshake_is_answered_with_101() {
        let mut headers = GOOD.to_vec();
        headers.push(("Origin", "https://example.net"));
        let wish = Wish::read(&request("GET", "?cursor=7", &headers)).unwrap();
        assert_eq!(wish.cursor, Some(Seq(7)));
        let answer = wish.answer();
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    /// WS-10.
    #[test]
    fn only_the_known_subprotocol_is_echoed() {
        for (asked, echoed) in [("xrpc.v0.cbor", true), ("x, xrpc.v0.cbor", true), ("x", false)] {
            let mut headers = GOOD.to_vec();
            headers.push(("Sec-WebSocket-Protocol", asked));
            let answer = Wish::read(&request("GET", "", &headers)).unwrap().answer();
            let told = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(told.is_some_and(|value| value == SUBPROTOCOL), echoed, "{asked}");
        }
    }

    /// WS-2, CUR-7.
    #[test]
    fn everything_else_is_refused_with_status_and_json() {
        let rows = [
            (request("POST", "", &GOOD), 405),
            (request("GET", "", &[]), 426),
            (request("GET", "", &without("Upgrade")), 426),
            (request("GET", "", &without("Connection")), 426),
            (request("GET", "", &without("Sec-WebSocket-Version")), 426),
            (request("GET", "", &without("Sec-WebSocket-Key")), 400),
            (request("GET", "?cursor=abc", &GOOD), 400),
            (request("GET", "?cursor=-1", &GOOD), 400),
            (request("GET", "?cursor=9007199254740992", &GOOD), 400),
            (request("GET", "?cursor=abc", &[]), 400),
        ];
        for (parts, status) in rows {
            let answer = Wish::read(&parts).unwrap_err().into_response();
            assert_eq!(answer.status(), status, "{parts:?}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        }
        assert!(Wish::read(&request("GET", "?cursor=", &GOOD)).is_ok(), "control");
    }

    #[test]
    fn limits_say_when_to_come_again() {
        for refusal in [Refusal::ClientLimit(7), Refusal::TotalLimit, Refusal::Stopping] {
            let status = if refusal == Refusal::Stopping { 503 } else { 429 };
            let answer = refusal.into_response();
            assert_eq!(answer.status(), status);
            assert!(answer.headers().contains_key(RETRY_AFTER));
        }
    }
}
