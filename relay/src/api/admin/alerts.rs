//! `GET /admin/v1/alerts`: what people are told of now, and what they would be told but for a silence.

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::api::{ApiState, error::Error, time_text, xrpc::json as answer};

/// The handler.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    let (alerts, looked_ms) = state.alerts.now();
    let alerts: Vec<_> = alerts
        .iter()
        .map(|alert| {
            json!({
                "kind": alert.kind.label(),
                "host": alert.host,
                "words": alert.words,
                "since": alert.since_ms.map(time_text),
                "silenced": alert.silenced,
            })
        })
        .collect();
    answer(&json!({ "alerts": alerts, "lookedAt": looked_ms.map(time_text) }))
}
