//! `com.atproto.sync.getRepoStatus`: the effective status of an account (API-3).

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{account, json};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::{Account, effective},
};

#[derive(Debug, Serialize)]
struct Answer {
    did: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// Only of an active account.
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<String>,
}

impl From<Account> for Answer {
    fn from(account: Account) -> Self {
        let now = effective(&account.upstream, account.local);
        Self {
            did: account.did.to_string(),
            active: now.active,
            status: now.status.map(str::to_owned),
            rev: account.repo.filter(|_| now.active).map(|repo| repo.rev.to_string()),
        }
    }
}

/// The handler.
pub(super) async fn get_repo_status(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    json(&Answer::from(account(&state, &params.did()?).await?))
}
