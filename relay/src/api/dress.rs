//! What every answer has in common: `Server`, CORS, JSON for what no handler answered, a time limit,
//! and its place in the metrics (API-1, WS-11, SEC-7).

use std::time::Duration;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, SERVER,
    },
};
use tokio::time::Instant;

use super::{dash, error::Error};
use crate::{api, telemetry::metrics};

/// Longest path with query.
const URI_BYTES_MAX: usize = 8 << 10;
/// How long a public answer may take. Admin batches may take longer: they call hosts.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Wraps every route of a router.
pub(super) async fn dress(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |matched| matched.as_str().to_owned());
    let public = !(path.starts_with("/admin") || path.starts_with(dash::PATH));
    let mut response = answer(request, next, public).await;
    if let Some(error) = unanswered(&response, &path) {
        response = with_headers_of(&response, error);
    }
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(api::SERVER));
    if public {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    let class = class(response.status());
    ::metrics::counter!(metrics::API_REQUESTS, "route" => route.clone(), "class" => class)
        .increment(1);
    ::metrics::histogram!(metrics::API_REQUEST_SECONDS, "route" => route).record(began.elapsed());
    response
}

async fn answer(request: Request, next: Next, public: bool) -> Response {
    let length = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if length > URI_BYTES_MAX {
        let message = format!("path and query may have {URI_BYTES_MAX} bytes");
        return Error::new(StatusCode::URI_TOO_LONG, "InvalidRequest", message).into_response();
    }
    if !public {
        return next.run(request).await;
    }
    if request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    {
        return preflight();
    }
    match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_late) => Error::unavailable("the answer took too long").into_response(),
    }
}

/// A browser asks what it may send.
fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, OPTIONS")),
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// The error for an answer that no handler gave: the router leaves those without a body.
fn unanswered(response: &Response, path: &str) -> Option<Error> {
    if response.headers().contains_key(CONTENT_TYPE) {
        return None;
    }
    match response.status() {
        StatusCode::NOT_FOUND => Some(path.strip_prefix("/xrpc/").map_or_else(
            || Error::new(StatusCode::NOT_FOUND, "NotFound", "there is nothing here; see /"),
            |method| Error::not_implemented(unknown_method(method)),
        )),
        StatusCode::METHOD_NOT_ALLOWED => Some(Error::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "this path takes another method",
        )),
        _ => None,
    }
}

/// A router's own headers, such as `Allow`, belong to the answer.
fn with_headers_of(response: &Response, error: Error) -> Response {
    let mut made = error.into_response();
    let kept: HeaderMap = response
        .headers()
        .iter()
        .filter(|(name, _)| *name == http::header::ALLOW)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    made.headers_mut().extend(kept);
    made
}

/// Why a method of the sync lexicons is missing (spec 12).
fn unknown_method(method: &str) -> &'static str {
    match method {
        "com.atproto.sync.getHead" => "getHead is deprecated; use getLatestCommit",
        "com.atproto.sync.getCheckout" => "getCheckout is deprecated; use getRepo",
        "com.atproto.sync.notifyOfUpdate" => "notifyOfUpdate is deprecated; use requestCrawl",
        "com.atproto.sync.getRecord"
        | "com.atproto.sync.getBlocks"
        | "com.atproto.sync.getBlob"
        | "com.atproto.sync.listBlobs" => "this relay stores no records; ask the account's host",
        _ => "this relay does not serve this method",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        101 => "101",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
