//! `GET /admin/v1/status`: the relay at one glance.

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use crate::api::{ApiState, Trouble, error::Error, xrpc::json as answer};

/// The handler.
pub(super) async fn status(State(state): State<ApiState>) -> Result<Response, Error> {
    let troubles = state.shared.health.check(&state).await;
    let window = state.log.window();
    let dropped: Value = state
        .drops
        .totals()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.label().to_owned(), json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    answer(&json!({
        "software": state.software,
        "uptimeSeconds": state.shared.started.elapsed().as_secs(),
        "troubles": troubles.iter().map(Trouble::words).collect::<Vec<_>>(),
        "hosts": { "known": state.hosts.all().len(), "connected": state.upstream.connected() },
        "window": {
            "oldest": window.oldest.0,
            "head": window.head.0,
            "diskBytes": state.log.disk_bytes(),
        },
        "accounts": {
            "inMemory": state.ingest.accounts_in_memory(),
            "unwritten": state.ingest.dirty_count(),
        },
        "consumers": state.firehose.count(),
        "dropped": dropped,
    }))
}
