//! Hosts for operators: find, add, and what is known of each.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State, response::Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::found::{Found, Query};
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params, params::Params, time_text, xrpc::json as answer},
    discovery::room_for,
    domain::Strictness,
    hosts::{HostView, Usage},
};

const LIMIT_USUAL: usize = 200;
const LIMIT_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Batch {
    hostnames: Vec<String>,
    /// Accounts that hosts have elsewhere, by name.
    #[serde(default, rename = "accountCounts")]
    account_counts: BTreeMap<String, u64>,
}

/// A host with all that an operator asks about it.
pub(super) fn host_json(host: &HostView) -> Value {
    let strictness = host.strictness;
    let until = match strictness {
        Strictness::LenientUntil(until_ms) if until_ms < u64::MAX => Some(time_text(until_ms)),
        _ => None,
    };
    let silenced = host.silenced_until_ms;
    json!({
        "id": host.id.0,
        "hostname": host.hostname,
        "status": host.status.as_text(),
        "statusReason": host.status_reason,
        "statusSince": (host.status_since_ms > 0).then(|| time_text(host.status_since_ms)),
        "domainBan": host.domain_ban,
        "firstSeen": time_text(host.first_seen_ms),
        "seq": host.seq.map(|seq| seq.0),
        "accountCount": host.account_count,
        "accountLimit": host.account_limit,
        "trusted": host.trusted,
        "limits": {
            "accounts": host.limits.accounts,
            "perSecond": host.limits.per_second,
            "perHour": host.limits.per_hour,
            "perDay": host.limits.per_day,
        },
        "ownLimits": {
            "accounts": host.own_limits.accounts,
            "perSecond": host.own_limits.per_second,
            "perHour": host.own_limits.per_hour,
            "perDay": host.own_limits.per_day,
        },
        "usage": usage_json(&host.usage),
        "heldAccounts": host.held_accounts,
        "growthPercent": host.growth,
        "strict": host.strict,
        "strictness": strictness.as_text(),
        "lenientUntil": until,
        "ratcheted": host.ratcheted,
        "alertsSilenced": silenced > 0,
        "connected": host.connected,
        "everConnected": host.ever_connected,
        "doing": host.doing,
        "lastError": host.last_error,
        "lastErrorAt": host.last_error_ms.map(time_text),
        "gapAt": host.gap_ms.map(time_text),
        "events": host.events,
        "bytes": host.bytes,
        "unsettled": host.unsettled,
    })
}

/// How much of its limits a host uses, and what comes of it.
fn usage_json(usage: &Usage) -> Value {
    let [second, hour, day] = usage.percent();
    json!({
        "perSecondPercent": second,
        "perHourPercent": hour,
        "perDayPercent": day,
        "near": usage.near,
        "behindSeconds": usage.behind_ms / 1_000,
        "losing": usage.losing,
    })
}

/// `GET /admin/v1/hosts?status=&reason=&text=&sort=&order=&limit=&cursor=`: oldest first unless it is
/// sorted otherwise. `total` counts all that were found.
pub(super) async fn list(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let query = Query::read(&params)?;
    let Found { views, total, next } = query.run(&state, limit);
    let hosts: Vec<_> = views.iter().map(host_json).collect();
    answer(&match next {
        Some(cursor) => json!({ "cursor": cursor, "total": total, "hosts": hosts }),
        None => json!({ "total": total, "hosts": hosts }),
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

/// `GET /admin/v1/hosts/history?host=`: what changed about one, newest first.
pub(super) async fn history(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let host = params.required("host")?;
    let changes = state.hosts.history(host).await?;
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            json!({
                "time": time_text(change.at_ms),
                "kind": change.kind.as_text(),
                "before": change.before,
                "after": change.after,
                "reason": change.reason,
                "actor": change.actor.to_string(),
            })
        })
        .collect();
    answer(&json!({ "history": changes }))
}
