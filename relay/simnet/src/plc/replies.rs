//! The HTTP answers of directories and hosts, honest and other.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that could go wrong with what a document may say, before the real names.
pub(super) fn hostile_text(body: &mut Value) {
    let odd = [
        "at://\u{202e}moc.live",
        "at://<script>alert(1)</script>",
        "at://a\u{0}b.test",
        "at://127.0.0.1",
        "at://-.test",
        "at://xn--\u{fe0f}.test",
        "javascript:alert(1)",
        "",
    ];
    let long = format!("at://{}.test", "a".repeat(4_000));
    let many = (0..500).map(|number| format!("not a name {number}"));
    let mut names: Vec<Value> = vec![Value::Null, json!(7), json!({"at": []}), json!(long)];
    names.extend(odd.iter().map(|name| json!(name)));
    names.extend(many.map(Value::String));
    let real = body["alsoKnownAs"].as_array().cloned().unwrap_or_default();
    names.extend(real);
    body["alsoKnownAs"] = Value::Array(names);
    let mut nested = json!("\u{1b}[2J");
    for _ in 0..100 {
        nested = json!([nested]);
    }
    body["__proto__"] = nested;
}

/// A redirect (302).
pub(crate) fn redirect(location: &str) -> Response {
    let mut response = message(302, "look elsewhere");
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(http::header::LOCATION, location);
    }
    response
}

/// A body that brings a byte now and then, and never ends.
pub(crate) fn endless_body() -> Response {
    let bytes = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")), ()))
    });
    let mut response = Response::new(Body::from_stream(bytes));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

pub(super) fn respond(status: u16, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

pub(crate) fn json_response(status: u16, body: &Value) -> Response {
    respond(status, "application/json", body.to_string())
}

pub(super) fn message(status: u16, text: &str) -> Response {
    json_response(status, &json!({ "message": text }))
}
