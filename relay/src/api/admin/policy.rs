//! `/admin/v1/policy`: what the policy file says, and what it would change.

use axum::{body::Body, extract::State, response::Response};
use serde_json::json;

use crate::{
    actions::{By, parse_policy},
    api::{ApiState, error::Error, params, time_text, xrpc::json as answer},
};

/// `GET`: where the file is, when it was last followed, what was wrong with it since.
pub(super) async fn show(State(state): State<ApiState>) -> Result<Response, Error> {
    let policy = state.actions.policy_state();
    answer(&json!({
        "file": policy.path.map(|path| path.display().to_string()),
        "followedAt": policy.followed_ms.map(time_text),
        "trouble": policy.trouble,
    }))
}

/// `POST …/diff` with the text of a policy file: what following it would change; changes nothing.
pub(super) async fn diff(State(state): State<ApiState>, body: Body) -> Result<Response, Error> {
    let text = params::text(body, params::ADMIN_BODY_BYTES_MAX).await?;
    let policy = parse_policy(&text, state.dev)
        .map_err(|wrong| Error::invalid(format!("the policy is wrong at {wrong}")))?;
    let changes = state.actions.plan_policy(&policy).await?;
    let changes: Vec<_> = changes.iter().map(|change| change.words.as_str()).collect();
    answer(&json!({ "changes": changes }))
}

/// `POST …/reload`: reads the file again, as SIGHUP does.
pub(super) async fn reload(State(state): State<ApiState>, by: By) -> Result<Response, Error> {
    let none = "no policy file is set; see RELAY_POLICY_FILE";
    let path = state.actions.policy_state().path.ok_or_else(|| Error::invalid(none))?;
    tracing::info!(client = ?by.client, "the policy file is read again");
    let changes = state.actions.follow_policy(&path).await.map_err(|why| match why {
        crate::actions::PolicyError::Store(error) => error.into(),
        other => Error::invalid(other.to_string()),
    })?;
    answer(&json!({ "changes": changes }))
}
