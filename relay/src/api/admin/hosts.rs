//! Hosts for operators: list, add one, add many.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::Fields;
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params, params::Params, xrpc::json as answer},
    discovery::room_for,
    domain::{HostId, HostStatus},
    hosts::HostView,
};

const LIMIT_USUAL: usize = 200;
const LIMIT_MAX: usize = 1_000;
/// Hosts in the list of the reference relay, which has no pages.
const REFERENCE_LIST_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
struct Batch {
    hostnames: Vec<String>,
    /// Accounts that hosts have elsewhere, by name.
    #[serde(default, rename = "accountCounts")]
    account_counts: BTreeMap<String, u64>,
}

/// A host with all that an operator asks about it.
pub(super) fn host_json(host: &HostView) -> Value {
    json!({
        "id": host.id.0,
        "hostname": host.hostname,
        "status": host.status.as_text(),
        "seq": host.seq.map(|seq| seq.0),
        "accountCount": host.account_count,
        "accountLimit": host.account_limit,
        "connected": host.connected,
        "everConnected": host.ever_connected,
        "doing": host.doing,
        "lastError": host.last_error,
        "events": host.events,
        "unsettled": host.unsettled,
    })
}

/// `GET /admin/v1/hosts?limit=&cursor=`: all known hosts, oldest first.
pub(super) async fn list(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let after = u32::try_from(params.cursor()?).unwrap_or(u32::MAX);
    let mut views = state.hosts.list(HostId(after), limit.saturating_add(1));
    let more = views.len() > limit;
    views.truncate(limit);
    let cursor = views.last().filter(|_| more).map(|host| host.id.0.to_string());
    let hosts: Vec<_> = views.iter().map(host_json).collect();
    answer(&match cursor {
        Some(cursor) => json!({ "cursor": cursor, "hosts": hosts }),
        None => json!({ "hosts": hosts }),
    })
}

/// `POST /admin/v1/hosts {"hostnames":[…], "accountCounts":{…}}`: a host that has accounts elsewhere has
/// room for twice as many here; one result per name, in order; always 200.
pub(super) async fn add_batch(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let batch: Batch = params::json(body, params::ADMIN_BODY_BYTES_MAX).await?;
    let Batch { hostnames, account_counts } = batch;
    let action = if account_counts.is_empty() {
        Action::AddHosts(hostnames)
    } else {
        let room = |name: &str| account_counts.get(name).map_or(0, |count| room_for(*count));
        let with_room = |name: String| {
            let room = room(&name);
            (name, room)
        };
        Action::AddHostsFor(hostnames.into_iter().map(with_room).collect())
    };
    let done = state.actions.run(by, action).await?;
    answer(&json!({ "hosts": done.answer }))
}

/// `POST /admin/pds/requestCrawl {"hostname"}`: like the reference relay, 200 without a body.
pub(super) async fn add_one(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<StatusCode, Error> {
    let fields = Fields::read(body).await?;
    state.actions.run(by, Action::AddHost(fields.text("hostname")?.to_owned())).await?;
    Ok(StatusCode::OK)
}

/// `GET /admin/subs/getUpstreamConns`: names of the hosts with an open socket.
pub(super) async fn connected(State(state): State<ApiState>) -> Result<Response, Error> {
    let views = state.hosts.list(HostId(0), REFERENCE_LIST_MAX);
    let names: Vec<_> =
        views.iter().filter(|host| host.connected).map(|host| &host.hostname).collect();
    answer(&names)
}

/// `GET /admin/pds/list`: with the field names that scripts for the reference relay read.
pub(super) async fn list_like_reference(State(state): State<ApiState>) -> Result<Response, Error> {
    let views = state.hosts.list(HostId(0), REFERENCE_LIST_MAX);
    let hosts: Vec<_> = views
        .iter()
        .map(|host| {
            let secure = state.hosts.get(host.id).is_some_and(|known| known.hostname().is_secure());
            json!({
                "ID": host.id.0,
                "Host": host.hostname,
                "SSL": secure,
                "Cursor": host.seq.map_or(0, |seq| seq.0),
                "Registered": host.status == HostStatus::Active,
                "Blocked": host.status == HostStatus::Banned,
                "RepoCount": host.account_count,
                "RepoLimit": host.account_limit,
                "UserCount": host.account_count,
                "HasActiveConnection": host.connected,
                "EventsSeenSinceStartup": host.events,
            })
        })
        .collect();
    answer(&hosts)
}
