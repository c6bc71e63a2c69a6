//! `GET /admin/v1/openapi.json`: all of this in the words of `OpenAPI` 3.1. A test compares it with the router.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

/// Written by hand; its paths are those of the router.
const OPENAPI: &str = include_str!("openapi.json");

/// The handler.
pub(super) async fn show() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
