//! The HTTP endpoints of a host that a relay asks.

use super::{Head, host::Host, subscription::subscribe};
use crate::{block::cid_text, clock::tid_text, plc::json_response, scale::tree::cid, server::lock};
use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Repositories on one page of a list.
const PAGE_MAX: usize = 1_000;

pub(super) fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/xrpc/com.atproto.sync.subscribeRepos", get(subscribe))
        .route("/xrpc/com.atproto.server.describeServer", get(describe_server))
        .route("/xrpc/com.atproto.sync.listRepos", get(list_repos))
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(get_repo_status))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(get_latest_commit))
        .route("/xrpc/_health", get(|| async { json_response(200, &json!({"version": "0"})) }))
        .fallback(|| async { error(501, "MethodNotImplemented") })
        .with_state(host)
}

fn error(status: u16, name: &str) -> Response {
    json_response(status, &json!({ "error": name, "message": "the simulated host says no" }))
}

async fn describe_server(State(host): State<Arc<Host>>) -> Response {
    let port = host.world.ports.get(host.number as usize).copied().unwrap_or(0);
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
    cursor: Option<u32>,
}

/// The accounts that have sent something, in the order of their numbers; the cursor is one.
async fn list_repos(State(host): State<Arc<Host>>, Query(params): Query<ListParams>) -> Response {
    let limit = params.limit.unwrap_or(500).clamp(1, PAGE_MAX);
    let population = host.world.population;
    let first = params.cursor.map_or(host.number, |cursor| cursor + population.hosts());
    let heads = lock(&host.world.heads);
    let page: Vec<(u32, Value)> = (first..population.len())
        .step_by(usize::try_from(population.hosts()).unwrap_or(1))
        .filter_map(|account| Some((account, heads.get(account as usize)?)))
        .filter(|(_, head)| head.rev > 0)
        .take(limit)
        .map(|(account, head)| {
            let repo = json!({
                "did": population.did(account),
                "head": cid_text(&cid(&head.commit)),
                "rev": tid_text(head.rev),
                "active": true,
            });
            (account, repo)
        })
        .collect();
    drop(heads);
    let cursor = (page.len() == limit).then(|| page.last().map(|(account, _)| *account)).flatten();
    let repos: Vec<Value> = page.into_iter().map(|(_, repo)| repo).collect();
    let mut body = json!({ "repos": repos });
    if let Some(cursor) = cursor {
        body["cursor"] = json!(cursor.to_string());
    }
    json_response(200, &body)
}

#[derive(Debug, Deserialize)]
struct DidParam {
    did: String,
}

/// What the host tells of an account that it holds.
fn head(host: &Host, did: &str) -> Option<Head> {
    let population = host.world.population;
    let account = population.number(did)?;
    if population.host(account) != host.number {
        return None;
    }
    lock(&host.world.heads).get(account as usize).copied()
}

async fn get_repo_status(
    State(host): State<Arc<Host>>,
    Query(DidParam { did }): Query<DidParam>,
) -> Response {
    let Some(head) = head(&host, &did) else { return error(400, "RepoNotFound") };
    let mut body = json!({ "did": did, "active": true });
    if head.rev > 0 {
        body["rev"] = json!(tid_text(head.rev));
    }
    json_response(200, &body)
}

async fn get_latest_commit(
    State(host): State<Arc<Host>>,
    Query(DidParam { did }): Query<DidParam>,
) -> Response {
    match head(&host, &did) {
        Some(head) if head.rev > 0 => json_response(
            200,
            &json!({ "cid": cid_text(&cid(&head.commit)), "rev": tid_text(head.rev) }),
        ),
        _ => error(400, "RepoNotFound"),
    }
}
