//! The HTTP endpoints of a host that a relay asks.

use super::{RepoEntry, Shared, subscription::subscribe};
use crate::{
    adversary::PathAnswer,
    block::cid_text,
    clock::tid_text,
    plc::{endless_body, json_response, redirect},
    server::lock,
};
use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use http::{HeaderValue, Request, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{ops::Bound, sync::Arc};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/xrpc/com.atproto.sync.subscribeRepos", get(subscribe))
        .route("/xrpc/com.atproto.server.describeServer", get(describe_server))
        .route("/xrpc/com.atproto.sync.listRepos", get(list_repos))
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(get_repo_status))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(get_latest_commit))
        .route("/xrpc/com.atproto.sync.getRepo", get(get_repo))
        .route("/xrpc/com.atproto.repo.describeRepo", get(describe_repo))
        .route("/xrpc/_health", get(|| async { json_response(200, &json!({"version": "0"})) }))
        .fallback(not_implemented)
        .layer(from_fn_with_state(Arc::clone(&shared), common))
        .with_state(shared)
}

/// What every answer has in common: it is logged, and carries the `Server` header.
async fn common(State(shared): State<Arc<Shared>>, request: Request<Body>, next: Next) -> Response {
    let mut scripted = None;
    let path = request.uri().path().to_owned();
    if !path.ends_with("subscribeRepos") {
        shared.log(&request, None);
        scripted = shared.scripted(&path);
    }
    let mut response = match scripted {
        Some(answer) => scripted_response(answer).await,
        None => next.run(request).await,
    };
    shared.hold_back(&path).await;
    if let Ok(value) = HeaderValue::from_str(&lock(&shared.script).server_header) {
        response.headers_mut().insert(header::SERVER, value);
    }
    response
}

async fn scripted_response(answer: PathAnswer) -> Response {
    match answer {
        PathAnswer::Status(status) => error(status, "Scripted", "scripted"),
        PathAnswer::Redirect(location) => redirect(&location),
        PathAnswer::Silence => std::future::pending().await,
        PathAnswer::EndlessBody => endless_body(),
        PathAnswer::Body(text) => Response::new(Body::from(text)),
    }
}

fn error(status: u16, name: &str, text: &str) -> Response {
    json_response(status, &json!({ "error": name, "message": text }))
}

async fn not_implemented() -> Response {
    error(501, "MethodNotImplemented", "this simulated host does not have the method")
}

async fn describe_server(State(shared): State<Arc<Shared>>) -> Response {
    let port = shared.port;
    let body = json!({
        "did": format!("did:web:localhost%3A{port}"),
        "availableUserDomains": [".test"],
        "inviteCodeRequired": false,
        "links": {},
        "contact": {},
    });
    json_response(200, &body)
}

#[derive(Debug, Deserialize)]
struct ListParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list_repos(
    State(shared): State<Arc<Shared>>,
    Query(params): Query<ListParams>,
) -> Response {
    if let Some(refused) = over_limit(&shared).await {
        return refused;
    }
    let limit = params.limit.unwrap_or(500);
    if !(1..=1000).contains(&limit) {
        return error(400, "InvalidRequest", "limit must be between 1 and 1000");
    }
    let limit = lock(&shared.script).page_max.map_or(limit, |most| most.min(limit));
    let after = params.cursor.map_or(Bound::Unbounded, Bound::Excluded);
    let repos = lock(&shared.repos);
    let page: Vec<(&String, Value)> = repos
        .range((after, Bound::Unbounded))
        .filter_map(|(did, repo)| {
            let mut entry = json!({
                "did": did,
                "head": cid_text(repo.commit.as_ref()?),
                "rev": tid_text(repo.rev),
                "active": repo.active,
            });
            if let Some(status) = &repo.status {
                entry["status"] = json!(status);
            }
            Some((did, entry))
        })
        .take(limit)
        .collect();
    let cursor = (page.len() == limit).then(|| page.last().map(|(did, _)| *did)).flatten();
    let list: Vec<&Value> = page.iter().map(|(_, entry)| entry).collect();
    let mut body = json!({ "repos": list });
    if let Some(cursor) = cursor {
        body["cursor"] = json!(cursor);
    }
    json_response(200, &body)
}

#[derive(Debug, Deserialize)]
struct DidParam {
    did: String,
}

async fn get_repo_status(
    State(shared): State<Arc<Shared>>,
    Query(DidParam { did }): Query<DidParam>,
) -> Response {
    let repos = lock(&shared.repos);
    let Some(repo) = repos.get(&did) else {
        return error(400, "RepoNotFound", "could not find the repo");
    };
    let mut body = json!({ "did": did, "active": repo.active });
    if let Some(status) = &repo.status {
        body["status"] = json!(status);
    }
    if repo.active && repo.commit.is_some() {
        body["rev"] = json!(tid_text(repo.rev));
    }
    json_response(200, &body)
}

/// 429 when the limit of calls is reached that this host has with others.
async fn over_limit(shared: &Shared) -> Option<Response> {
    let limiter = lock(&shared.script).limiter.clone()?;
    if limiter.pass().await {
        return None;
    }
    let mut response = error(429, "RateLimitExceeded", "too many calls");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
    Some(response)
}

#[derive(Debug, Deserialize)]
struct RepoParam {
    repo: String,
}

/// What a host says of an account beside its handle and document.
async fn describe_repo(
    State(shared): State<Arc<Shared>>,
    Query(RepoParam { repo: did }): Query<RepoParam>,
) -> Response {
    if let Some(refused) = over_limit(&shared).await {
        return refused;
    }
    let repos = lock(&shared.repos);
    match repos.get(&did) {
        Some(repo) if repo.active => {
            let body = json!({
                "handle": "handle.invalid",
                "did": did,
                "didDoc": {},
                "collections": repo.collections,
                "handleIsCorrect": false,
            });
            json_response(200, &body)
        }
        _ => error(400, "RepoNotFound", "could not find the repo"),
    }
}

/// The whole repository as a CAR.
async fn get_repo(
    State(shared): State<Arc<Shared>>,
    Query(DidParam { did }): Query<DidParam>,
) -> Response {
    if let Some(refused) = over_limit(&shared).await {
        return refused;
    }
    let found = match lock(&shared.repos).get(&did) {
        Some(repo) if !repo.active => return not_active(repo),
        Some(repo) => repo.account.upgrade(),
        None => None,
    };
    let Some(account) = found else {
        return error(400, "RepoNotFound", "could not find the repo");
    };
    match account.export().await {
        Ok(car) => {
            let mut response = Response::new(Body::from(car));
            let kind = HeaderValue::from_static("application/vnd.ipld.car");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(_) => error(400, "RepoNotFound", "the repo has no commit yet"),
    }
}

fn not_active(repo: &RepoEntry) -> Response {
    let name = match repo.status.as_deref() {
        Some("deactivated") => "RepoDeactivated",
        Some("takendown") => "RepoTakendown",
        Some("suspended") => "RepoSuspended",
        _ => "RepoNotFound",
    };
    error(400, name, "the repo is not active")
}

async fn get_latest_commit(
    State(shared): State<Arc<Shared>>,
    Query(DidParam { did }): Query<DidParam>,
) -> Response {
    let repos = lock(&shared.repos);
    match repos.get(&did) {
        Some(repo) if !repo.active => not_active(repo),
        Some(repo) => match &repo.commit {
            Some(commit) => {
                let body = json!({ "cid": cid_text(commit), "rev": tid_text(repo.rev) });
                json_response(200, &body)
            }
            None => error(400, "RepoNotFound", "could not find the repo"),
        },
        None => error(400, "RepoNotFound", "could not find the repo"),
    }
}
