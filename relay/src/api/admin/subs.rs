//! `/admin/subs/*` of the reference relay: whether hosts may ask to be read.

use axum::{extract::State, response::Response};
use serde_json::json;

use super::asked::success;
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params::Params, xrpc::json as answer},
    telemetry::escape,
};

/// `GET /admin/subs/getEnabled`: whether requestCrawl from outside is taken.
pub(super) async fn enabled(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&json!({ "enabled": state.actions.rules().takes_crawls() }))
}

/// `POST /admin/subs/setEnabled?enabled=`; holds over a restart, until the setting is changed.
pub(super) async fn set_enabled(
    State(state): State<ApiState>,
    by: By,
    params: Params,
) -> Result<Response, Error> {
    let takes = truth("enabled", params.required("enabled")?)?;
    state.actions.run(by, Action::TakeCrawls(takes)).await?;
    Ok(success())
}

/// What the scripts of the reference relay write for yes and no.
pub(super) fn truth(name: &str, text: &str) -> Result<bool, Error> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => {
            let other = escape(other, 80);
            Err(Error::invalid(format!("{name} must be true or false, not {other}")))
        }
    }
}
