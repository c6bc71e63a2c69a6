//! `/admin/repo/*` of the reference relay: takedowns.

use axum::{body::Body, extract::State, response::Response};
use serde_json::json;

use super::{
    accounts,
    asked::{Fields, success},
};
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params::Params, xrpc::json as answer},
    domain::LocalStatus,
};

/// Length of a page, as the reference relay has it.
const PAGE: usize = 500;

/// `GET /admin/repo/takedowns?cursor=`.
pub(super) async fn list(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let limit = params.limit(PAGE, PAGE)?;
    let (dids, cursor) = accounts::decided(&state, LocalStatus::Takendown, &params, limit).await?;
    answer(&match cursor {
        Some(cursor) => json!({ "dids": dids, "cursor": cursor }),
        None => json!({ "dids": dids }),
    })
}

/// `POST /admin/repo/takeDown {"did"}`: also of an account that has not been seen yet.
pub(super) async fn take_down(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    state.actions.run(fields.by(by)?, Action::TakeDown(fields.did()?)).await?;
    Ok(success())
}

/// `POST /admin/repo/reverseTakedown {"did"}`.
pub(super) async fn reverse(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    state.actions.run(fields.by(by)?, Action::ReverseTakedown(fields.did()?)).await?;
    Ok(success())
}
