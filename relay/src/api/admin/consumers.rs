//! `GET /admin/consumers/list`: who reads the firehose; fields of the reference relay and ours.

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::api::{ApiState, error::Error, time_text, xrpc::json as answer};

/// The handler.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    let head = state.log.window().head.0;
    let consumers: Vec<_> = state
        .firehose
        .consumers()
        .into_iter()
        .map(|consumer| {
            json!({
                "id": consumer.id,
                "remote_addr": consumer.address.to_string(),
                "user_agent": consumer.user_agent,
                "events_consumed": consumer.events,
                "connected_at": time_text(consumer.since_ms),
                "bytes_sent": consumer.bytes,
                "seq": consumer.seq,
                "events_behind": head.saturating_sub(consumer.seq),
            })
        })
        .collect();
    answer(&consumers)
}
