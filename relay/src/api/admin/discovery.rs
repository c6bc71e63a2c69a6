//! Lists of others, for operators: which are read, and how far each is.

use axum::{body::Body, extract::State, response::Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params, params::Params, time_text, xrpc::json as answer},
    discovery::{PullView, WalkView},
    telemetry::escape,
};

#[derive(Debug, Deserialize)]
struct Sources {
    from: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Scanning {
    rate: u32,
    add: bool,
}

#[derive(Debug, Deserialize)]
struct Named {
    hostnames: Vec<String>,
}

/// `GET /admin/v1/pull`: lists of other relays that were ever read, and how far each is.
pub(super) async fn pulls(State(state): State<ApiState>) -> Result<Response, Error> {
    let pulls: Vec<_> = state.discovery.pulls().iter().map(PullView::json).collect();
    answer(&json!({ "pulls": pulls }))
}

/// `POST /admin/v1/pull {"from":["relay.example.com"]}`: reads their lists of hosts, or goes on with
/// it; answers as GET does, without waiting for the end.
pub(super) async fn pull(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let Sources { from } = params::json(body, params::PUBLIC_BODY_BYTES_MAX).await?;
    state.actions.run(by, Action::PullHosts(from)).await?;
    pulls(State(state)).await
}

/// `POST /admin/v1/scanDirectory {"rate":1,"add":false}`: reads the operations of the PLC directory from
/// where they were left, and makes each unknown host that they name a candidate; answers as
/// `GET /admin/v1/pull` does, without waiting for the end.
pub(super) async fn scan(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let Scanning { rate, add } = params::json(body, params::PUBLIC_BODY_BYTES_MAX).await?;
    state.actions.run(by, Action::ScanDirectory { rate, add }).await?;
    pulls(State(state)).await
}

/// `GET /admin/v1/candidates`: hosts that DID documents name and that were not known.
pub(super) async fn candidates(State(state): State<ApiState>) -> Result<Response, Error> {
    let candidates: Vec<_> = state
        .discovery
        .candidates()
        .iter()
        .map(|row| {
            json!({
                "hostname": row.hostname,
                "did": row.did,
                "firstSeenAt": time_text(row.first_seen_ms),
                "wanted": row.wanted,
                "outcome": row.outcome.as_deref().map(|text| escape(text, 500)),
            })
        })
        .collect();
    answer(&json!({ "candidates": candidates }))
}

/// `GET /admin/v1/resync?host=`: lists of accounts that were ever read, and how far each is; of one host
/// alone when it is named.
pub(super) async fn walks(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let only = params.text("host").map(str::to_ascii_lowercase);
    let walks: Vec<_> = state
        .discovery
        .walks()
        .iter()
        .filter_map(|walk| Some((state.hosts.get(walk.row.host)?.hostname().to_string(), walk)))
        .filter(|(name, _)| only.as_ref().is_none_or(|only| only == name))
        .map(|(name, walk)| walk_json(&name, walk))
        .collect();
    answer(&json!({ "walks": walks }))
}

/// `POST /admin/v1/resync {"hostnames":[…]}`: reads their lists of accounts now; answers as GET does,
/// without waiting for the end.
pub(super) async fn resync(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let Named { hostnames } = params::json(body, params::ADMIN_BODY_BYTES_MAX).await?;
    state.actions.run(by, Action::Resync(hostnames)).await?;
    walks(State(state), Params::default()).await
}

fn walk_json(name: &str, walk: &WalkView) -> Value {
    let row = &walk.row;
    let status = match (walk.running, row.finished_ms, &row.last_error) {
        (true, ..) => "running",
        (false, Some(_), _) => "finished",
        (false, None, None) => "waiting",
        (false, None, Some(_)) => "stopped",
    };
    json!({
        "hostname": name,
        "status": status,
        "asked": row.asked,
        "listed": row.listed,
        "added": row.added,
        "changed": row.changed,
        "refused": row.refused,
        "startedAt": time_text(row.started_ms),
        "finishedAt": row.finished_ms.map(time_text),
        "lastError": row.last_error.as_deref().map(|text| escape(text, 500)),
    })
}

/// `GET /admin/v1/readiness`: hosts that are not strict for good, those first of which strict validation
/// would drop most (DESIGN 10.14).
pub(super) async fn readiness(State(state): State<ApiState>) -> Result<Response, Error> {
    let hosts: Vec<_> = state
        .hosts
        .readiness(&state.drops)
        .iter()
        .map(|host| {
            let would_drop: Map<_, _> = host
                .would_drop
                .iter()
                .map(|(reason, count)| (reason.label().to_owned(), json!(count)))
                .collect();
            let example = host.examples.first().map(|dropped| {
                json!({
                    "did": dropped.did,
                    "words": dropped.reason.words(),
                    "detail": dropped.detail,
                })
            });
            json!({
                "hostname": host.hostname,
                "strict": host.strict,
                "cleanCommits": host.clean_commits,
                "cleanCommitsNeeded": host.clean_commits_needed,
                "wouldDrop": would_drop,
                "example": example,
            })
        })
        .collect();
    answer(&json!({ "hosts": hosts }))
}
