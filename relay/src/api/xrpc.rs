//! The sync lexicons that a relay serves (spec 12), a file per method.

mod get_host_status;
mod get_latest_commit;
mod get_repo;
mod get_repo_status;
mod list_hosts;
mod list_repos;
mod list_repos_by_collection;
mod page;
mod request_crawl;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::CONTENT_TYPE};
use relay_protocol::Did;
use serde::Serialize;

use super::{ApiState, error::Error};
use crate::domain::{Account, effective};

/// All methods but the firehose.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/xrpc/com.atproto.sync.listHosts", get(list_hosts::list_hosts))
        .route("/xrpc/com.atproto.sync.getHostStatus", get(get_host_status::get_host_status))
        .route("/xrpc/com.atproto.sync.listRepos", get(list_repos::list_repos))
        .route(
            "/xrpc/com.atproto.sync.listReposByCollection",
            get(list_repos_by_collection::list_repos_by_collection),
        )
        // The name that the sidecar of the reference relay had for it.
        .route(
            "/v1/getDidsForCollection",
            get(list_repos_by_collection::get_dids_for_collection),
        )
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(get_repo_status::get_repo_status))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(get_latest_commit::get_latest_commit))
        .route("/xrpc/com.atproto.sync.getRepo", get(get_repo::get_repo))
        .route("/xrpc/com.atproto.sync.requestCrawl", post(request_crawl::request_crawl))
}

/// A JSON answer.
pub(super) fn json(body: &impl Serialize) -> Result<Response, Error> {
    let text = serde_json::to_string(body).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "a bug of this relay")
    })?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// The account, or `RepoNotFound`.
async fn account(state: &ApiState, did: &Did) -> Result<Account, Error> {
    state.ingest.account(did).await?.ok_or_else(|| Error::repo_not_found(did.as_str()))
}

/// The error for an account whose repository is not to be had now; local decisions count (API-3).
fn must_be_active(account: &Account) -> Result<(), Error> {
    let now = effective(&account.upstream, account.local);
    if now.active {
        return Ok(());
    }
    let did = account.did.as_str();
    let (name, what) = match now.status {
        Some("deleted") => return Err(Error::repo_not_found(did)),
        Some("takendown") => ("RepoTakendown", "taken down"),
        Some("suspended") => ("RepoSuspended", "suspended"),
        Some("deactivated") => ("RepoDeactivated", "deactivated"),
        _ => ("RepoInactive", "not active"),
    };
    Err(Error::new(StatusCode::FORBIDDEN, name, format!("the account {did} is {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountNo, HostId, LocalStatus, Seq, UpstreamStatus};

    /// An account without a repository.
    pub(super) fn account_with(upstream: UpstreamStatus, local: LocalStatus) -> Account {
        Account {
            number: AccountNo(1),
            did: Did::parse("did:web:example.com").unwrap(),
            host: HostId(1),
            upstream,
            local,
            repo: None,
            key: None,
            identity_checked_ms: 0,
            last: None,
            last_seq: Seq(0),
        }
    }

    /// API-3, spec 12 rows getLatestCommit and getRepo: the effective status names the error.
    #[test]
    fn inactive_accounts_have_the_errors_of_the_table() {
        use {LocalStatus as L, UpstreamStatus as U};
        let rows = [
            (U::Active, L::None, None),
            (U::ActiveThrottled, L::None, None),
            (U::Active, L::Takendown, Some((403, "RepoTakendown"))),
            (U::Takendown, L::None, Some((403, "RepoTakendown"))),
            (U::Suspended, L::None, Some((403, "RepoSuspended"))),
            (U::Deactivated, L::None, Some((403, "RepoDeactivated"))),
            (U::Deactivated, L::Suspended, Some((403, "RepoSuspended"))),
            (U::Deleted, L::Takendown, Some((404, "RepoNotFound"))),
            (U::Desynchronized, L::None, Some((403, "RepoInactive"))),
            (U::Inactive, L::None, Some((403, "RepoInactive"))),
        ];
        for (upstream, local, expected) in rows {
            let told = must_be_active(&account_with(upstream.clone(), local)).err();
            let told = told.map(|error| (error.status.as_u16(), error.name));
            assert_eq!(told, expected, "{upstream:?} {local:?}");
        }
    }
}
