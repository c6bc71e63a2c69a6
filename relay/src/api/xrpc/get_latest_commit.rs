//! `com.atproto.sync.getLatestCommit`: the last commit that this relay accepted.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{account, json, must_be_active};
use crate::api::{ApiState, error::Error, params::Params};

#[derive(Debug, Serialize)]
struct Answer {
    cid: String,
    rev: String,
}

/// The handler.
pub(super) async fn get_latest_commit(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let account = account(&state, &params.did()?).await?;
    must_be_active(&account)?;
    let repo = account.repo.ok_or_else(|| Error::repo_not_found(account.did.as_str()))?;
    json(&Answer { cid: repo.commit.to_string(), rev: repo.rev.to_string() })
}
