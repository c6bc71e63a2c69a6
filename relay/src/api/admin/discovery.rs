//! Lists of others, for operators: which are read, and how far each is.

use axum::{body::Body, extract::State, response::Response};
use relay_protocol::Hostname;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{ApiState, error::Error, params, time_text, xrpc::json as answer},
    discovery::PullView,
    telemetry::escape,
};

/// Relays in one request.
const SOURCES_MAX: usize = 20;

#[derive(Debug, Deserialize)]
struct Sources {
    from: Vec<String>,
}

/// `GET /admin/v1/pull`: lists of other relays that were ever read, and how far each is.
pub(super) async fn pulls(State(state): State<ApiState>) -> Result<Response, Error> {
    let pulls: Vec<_> = state.discovery.pulls().iter().map(pull_json).collect();
    answer(&json!({ "pulls": pulls }))
}

/// `POST /admin/v1/pull {"from":["relay.example.com"]}`: reads their lists of hosts, or goes on with
/// it; answers as GET does, without waiting for the end.
pub(super) async fn pull(State(state): State<ApiState>, body: Body) -> Result<Response, Error> {
    let Sources { from } = params::json(body, params::PUBLIC_BODY_BYTES_MAX).await?;
    if from.is_empty() || from.len() > SOURCES_MAX {
        let count = from.len();
        return Err(Error::invalid(format!(
            "from must name 1 to {SOURCES_MAX} relays, not {count}"
        )));
    }
    let parsed: Result<Vec<_>, _> = from
        .iter()
        .map(|text| {
            Hostname::parse(text.trim(), state.dev)
                .map_err(|why| Error::invalid(format!("{} is no relay: {why}", escape(text, 100))))
        })
        .collect();
    for source in parsed? {
        let started = state.discovery.pull(&source);
        tracing::info!(%source, started, "an operator asked for the hosts of another relay");
    }
    pulls(State(state)).await
}

fn pull_json(pull: &PullView) -> Value {
    let row = &pull.row;
    let status = match (pull.running, row.finished_ms) {
        (true, _) => "running",
        (false, Some(_)) => "finished",
        (false, None) => "stopped",
    };
    json!({
        "from": row.source,
        "status": status,
        "listed": row.listed,
        "added": row.added,
        "known": row.known,
        "passedOver": row.passed_over,
        "refused": row.refused,
        "startedAt": time_text(row.started_ms),
        "finishedAt": row.finished_ms.map(time_text),
        "lastError": row.last_error.as_deref().map(|text| escape(text, 500)),
    })
}
