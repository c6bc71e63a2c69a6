//! `/admin/pds/*` of the reference relay: hosts, in the form that its scripts know.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::asked::{Fields, success};
use crate::{
    actions::{Action, By, Steer},
    api::{ApiState, error::Error, params::Params, time_text, xrpc::json as answer},
    domain::{HostId, HostStatus},
    hosts::{Edit, HostView, LimitsEdit},
};

/// Hosts in the list of the reference relay, which has no pages.
pub(super) const LIST_MAX: usize = 10_000;

/// `POST /admin/pds/requestCrawl {"hostname"}`: 200 without a body. With `hosts`, or with `?host=`, as the
/// sidecar for collections has it: the lists of accounts of these hosts are read too, now, and it says
/// that it is well.
pub(super) async fn request_crawl(
    State(state): State<ApiState>,
    by: By,
    params: Params,
    body: Body,
) -> Result<Response, Error> {
    let only = params.text("host").map(ToOwned::to_owned);
    let fields = match &only {
        Some(_) => Fields::default(),
        None => Fields::read(body).await?,
    };
    let mut names = fields.texts("hosts")?;
    if names.is_empty() && only.is_none() {
        let name = fields.text("hostname")?.to_owned();
        state.actions.run(fields.by(by)?, Action::AddHost(name)).await?;
        return Ok(StatusCode::OK.into_response());
    }
    names.extend(fields.maybe_text("hostname")?.map(ToOwned::to_owned));
    names.extend(only);
    let by = fields.by(by)?;
    let added = state.actions.run(by.clone(), Action::AddHosts(names.clone())).await?;
    let refused = added.answer.as_array().into_iter().flatten();
    let refused = refused.filter(|host| host.get("id").is_none()).count();
    let known = |name: &String| state.hosts.by_name(&name.trim().to_ascii_lowercase()).is_some();
    let (known, unknown): (Vec<_>, Vec<_>) = names.into_iter().partition(known);
    tracing::debug!(refused, unknown = unknown.len(), "hosts to crawl");
    if !known.is_empty() {
        state.actions.run(by, Action::Resync(known)).await?;
        state.backfill.hurry().await.map_err(Error::unavailable)?;
    }
    answer(&json!({ "message": "ok" }))
}

/// `GET /admin/crawlStatus`: hosts whose lists of accounts are being read, as the sidecar tells it.
pub(super) async fn crawl_status(State(state): State<ApiState>) -> Result<Response, Error> {
    let starts: serde_json::Map<String, Value> = state
        .discovery
        .walks()
        .iter()
        .filter(|walk| walk.row.finished_ms.is_none())
        .filter_map(|walk| {
            let host = state.hosts.get(walk.row.host)?.hostname().to_string();
            let start = time_text(walk.row.started_ms);
            Some((host, json!({ "start": start, "seen": walk.row.listed })))
        })
        .collect();
    let now = time_text(state.clock.now_ms());
    answer(&json!({ "host_starts": starts, "server_time": now }))
}

/// `POST /admin/pds/changeLimits {"host","repo_limit"?,"account_limit_alerts_silenced"?}`.
pub(super) async fn change_limits(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let host = fields.text("host")?.to_owned();
    let limit = fields.maybe_number("repo_limit")?;
    let silenced = fields.maybe_truth("account_limit_alerts_silenced")?;
    if limit.is_none() && silenced.is_none() {
        let message = "missing repo_limit or account_limit_alerts_silenced parameter";
        return Err(Error::invalid(message));
    }
    let by = fields.by(by)?;
    if let Some(limit) = limit {
        let edit = LimitsEdit { accounts: Edit::Set(limit), ..LimitsEdit::default() };
        let action = Action::Steer(host.clone(), Steer::Limits(edit));
        state.actions.run(by.clone(), action).await?;
    }
    if let Some(silenced) = silenced {
        let until_ms = if silenced { u64::MAX } else { 0 };
        state.actions.run(by, Action::Steer(host, Steer::Silence(until_ms))).await?;
    }
    Ok(success())
}

/// `POST /admin/pds/block?host=`.
pub(super) async fn block(
    State(state): State<ApiState>,
    by: By,
    params: Params,
) -> Result<Response, Error> {
    let host = params.required("host")?.to_owned();
    state.actions.run(by, Action::Steer(host, Steer::Ban)).await?;
    Ok(success())
}

/// `POST /admin/pds/unblock?host=`: the host is read again at once.
pub(super) async fn unblock(
    State(state): State<ApiState>,
    by: By,
    params: Params,
) -> Result<Response, Error> {
    let host = params.required("host")?.to_owned();
    state.actions.run(by, Action::Steer(host, Steer::Unban)).await?;
    Ok(success())
}

/// `GET /admin/pds/list`: with the field names that scripts for the reference relay read.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    let alerts = state.actions.alerts().await?;
    let views = state.hosts.list(HostId(0), LIST_MAX);
    let hosts: Vec<_> = views
        .iter()
        .map(|host| {
            let mut row = host_json(&state, host);
            let alert = alerts.get(&host.hostname);
            let sent = alert.map(|alert| time_text(alert.sent_ms));
            if let (Some(fields), Some(sent)) = (row.as_object_mut(), sent) {
                fields.insert("AccountLimitAlertSentAt".to_owned(), json!(sent));
            }
            let warned = alert.is_some_and(|alert| alert.warned);
            row["AccountLimitAlertState"] = json!(if warned { "warning" } else { "ok" });
            row
        })
        .collect();
    answer(&hosts)
}

fn host_json(state: &ApiState, host: &HostView) -> Value {
    let secure = state.hosts.get(host.id).is_some_and(|known| known.hostname().is_secure());
    // As there, a host that is not connected has no rate.
    let rate = |max: u64, seconds: u64| {
        let max = if host.connected { i64::try_from(max).unwrap_or(i64::MAX) } else { -1 };
        json!({ "Max": max, "Window": seconds })
    };
    json!({
        "ID": host.id.0,
        "CreatedAt": time_text(host.first_seen_ms),
        "Host": host.hostname,
        "SSL": secure,
        "Cursor": host.seq.map_or(0, |seq| seq.0),
        "Registered": host.status == HostStatus::Active,
        "Blocked": host.status == HostStatus::Banned,
        "CrawlRateLimit": 0,
        "RepoCount": host.account_count,
        "RepoLimit": host.account_limit,
        "HasActiveConnection": host.connected,
        "EventsSeenSinceStartup": host.events,
        "PerSecondEventRate": rate(host.limits.per_second, 1),
        "PerHourEventRate": rate(host.limits.per_hour, 3_600),
        "PerDayEventRate": rate(host.limits.per_day, 86_400),
        "UserCount": host.account_count,
        "AccountLimitAlertsSilenced": host.silenced_until_ms > state.clock.now_ms(),
    })
}
