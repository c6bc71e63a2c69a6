//! Who reads the firehose; an operator may close one.

use axum::{body::Body, extract::State, response::Response};
use serde_json::{Value, json};

use super::asked::Fields;
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, time_text, xrpc::json as answer},
};

/// `GET /admin/v1/consumers`: all, in order of arrival.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&json!({ "consumers": views(&state) }))
}

/// `GET /admin/consumers/list`: fields of the reference relay and ours.
pub(super) async fn list_like_reference(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&views(&state))
}

/// `POST /admin/v1/consumers/disconnect {"id","note"?}`. It may connect again.
pub(super) async fn disconnect(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let id = fields.number("id")?;
    let done = state.actions.run(fields.by(by)?, Action::DisconnectConsumer(id)).await?;
    answer(&json!({ "id": id, "before": done.before, "after": done.after }))
}

fn views(state: &ApiState) -> Vec<Value> {
    let head = state.log.window().head.0;
    let consumers = state.firehose.consumers().into_iter();
    let consumers = consumers.map(|consumer| {
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
    });
    consumers.collect()
}
