//! `GET /admin/v1/settings`: what is in effect and where it came from, secrets redacted (I8).

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::api::{ApiState, error::Error, xrpc::json as answer};

/// The handler: settings of the start, and what was changed since.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    let settings: Vec<_> = state
        .settings
        .iter()
        .map(|found| json!({ "key": found.key, "value": found.value, "origin": found.origin }))
        .collect();
    answer(&json!({
        "settings": settings,
        "now": {
            "requestCrawl": state.actions.rules().takes_crawls(),
            "trustedDomains": state.hosts.trusted_domains(),
            "allowedHosts": state.hosts.allowed(),
            "siblings": state.actions.siblings().names(),
        },
    }))
}
