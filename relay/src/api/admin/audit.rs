//! `GET /admin/v1/audit`: every action of an operator, newest first.

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use crate::{
    api::{ApiState, error::Error, params::Params, time_text, xrpc::json as answer},
    store::{AuditEntry, AuditFilter},
};

const LIMIT_USUAL: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// `?limit=&cursor=&subject=&action=`; the cursor of an answer leads to older rows.
pub(super) async fn list(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let before = params.text("cursor").is_some().then(|| params.cursor()).transpose()?;
    let filter =
        AuditFilter { before, subject: params.text("subject"), action: params.text("action") };
    // One more than is shown tells whether this is the last page.
    let count = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    let mut rows = state.store.audit(filter, count).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let rows: Vec<_> = rows.iter().map(row_json).collect();
    answer(&match cursor {
        Some(cursor) => json!({ "cursor": cursor, "audit": rows }),
        None => json!({ "audit": rows }),
    })
}

/// A row as JSON.
pub(super) fn row_json(row: &AuditEntry) -> Value {
    json!({
        "id": row.id,
        "time": time_text(row.at_ms),
        "actor": row.actor,
        "client": (!row.client.is_empty()).then_some(&row.client),
        "action": row.action,
        "subject": row.subject,
        "before": state(&row.before),
        "after": state(&row.after),
        "outcome": row.outcome,
    })
}

/// What was kept as JSON; a text that was cut is shown as it is.
fn state(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(text).unwrap_or_else(|_cut| Value::String(text.to_owned()))
}
