//! `GET /admin/v1/siblings`: other relays of the same operators, and how far each is behind.

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::api::{ApiState, error::Error, time_text, xrpc::json as answer};

/// The handler.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    let siblings = state.actions.siblings().views().await?;
    let siblings: Vec<_> = siblings
        .iter()
        .map(|sibling| {
            json!({
                "sibling": sibling.sibling,
                "behind": sibling.waiting > 0,
                "waiting": sibling.waiting,
                "oldestAt": sibling.oldest_ms.map(time_text),
                "delivered": sibling.delivered,
                "refused": sibling.refused,
                "lastError": sibling.last_error,
            })
        })
        .collect();
    answer(&json!({ "siblings": siblings }))
}
