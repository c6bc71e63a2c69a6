//! `/admin/pds/*` of the reference relay: hosts, in the form that its scripts know.

use axum::{body::Body, extract::State, response::Response};
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

/// `POST /admin/pds/requestCrawl {"hostname"}`: 200 without a body.
pub(super) async fn request_crawl(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<StatusCode, Error> {
    let fields = Fields::read(body).await?;
    let name = fields.text("hostname")?.to_owned();
    state.actions.run(fields.by(by)?, Action::AddHost(name)).await?;
    Ok(StatusCode::OK)
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
