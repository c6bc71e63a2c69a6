//! `/admin/subs/*` and `/admin/alerts/*` of the reference relay.

use axum::{body::Body, extract::State, response::Response};
use relay_protocol::Hostname;
use serde_json::json;

use super::{
    asked::{Fields, success},
    pds::LIST_MAX,
};
use crate::{
    actions::{Action, Alert, By, Steer},
    api::{ApiState, error::Error, params::Params, xrpc::json as answer},
    domain::HostId,
    telemetry::escape,
};

/// `GET /admin/subs/getUpstreamConns`: names of the hosts with an open socket.
pub(super) async fn connected(State(state): State<ApiState>) -> Result<Response, Error> {
    let views = state.hosts.list(HostId(0), LIST_MAX);
    let names: Vec<_> =
        views.iter().filter(|host| host.connected).map(|host| &host.hostname).collect();
    answer(&names)
}

/// `POST /admin/subs/killUpstream?host=&block=`: with `block=true` the host is banned as well. Without,
/// it comes back when it, or an operator, asks again; a restart does not bring it back.
pub(super) async fn kill(
    State(state): State<ApiState>,
    by: By,
    params: Params,
) -> Result<Response, Error> {
    let text = params.required("host")?;
    let hostname = Hostname::parse(text, true)
        .map_err(|why| Error::invalid(format!("host {} is not valid: {why}", escape(text, 80))))?;
    let block = params.text("block").map(|text| truth("block", text)).transpose()?.unwrap_or(false);
    let connected = state.hosts.view(hostname.as_str()).is_some_and(|view| view.connected);
    if !connected && !block {
        return Err(Error::invalid("no active connection to given host"));
    }
    let steer = if block { Steer::Ban } else { Steer::Disconnect };
    state.actions.run(by, Action::Steer(hostname.as_str().to_owned(), steer)).await?;
    Ok(success())
}

/// `GET /admin/subs/getEnabled`: whether requestCrawl from outside is taken.
pub(super) async fn enabled(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&json!({ "enabled": state.actions.rules().takes_crawls() }))
}

/// `POST /admin/subs/setEnabled?enabled=`; holds over a restart, until the setting is changed.
pub(super) async fn set_enabled(
    State(state): State<ApiState>,
    by: By,
    params: Params,
) -> Result<Response, Error> {
    let takes = truth("enabled", params.required("enabled")?)?;
    state.actions.run(by, Action::TakeCrawls(takes)).await?;
    Ok(success())
}

/// `GET /admin/subs/perDayLimit`: hosts that strangers may add in a day.
pub(super) async fn per_day_limit(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&json!({ "limit": state.hosts.new_hosts_per_day().0 }))
}

/// `POST /admin/subs/setPerDayLimit?limit=`; holds over a restart, until the setting is changed.
pub(super) async fn set_per_day_limit(
    State(state): State<ApiState>,
    by: By,
    params: Params,
) -> Result<Response, Error> {
    let limit = number("limit", params.required("limit")?)?;
    state.actions.run(by, Action::NewHostsPerDay(limit)).await?;
    Ok(success())
}

/// `GET /admin/subs/listDomainBans`.
pub(super) async fn domain_bans(State(state): State<ApiState>) -> Result<Response, Error> {
    let bans = state.hosts.domain_bans();
    let domains: Vec<_> = bans.iter().map(|ban| &ban.domain).collect();
    answer(&json!({ "banned_domains": domains }))
}

/// `POST /admin/subs/banDomain {"Domain"}`: also when it is banned already.
pub(super) async fn ban_domain(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let action = Action::BanDomain(fields.text("domain")?.to_owned());
    state.actions.run(fields.by(by)?, action).await?;
    Ok(success())
}

/// `POST /admin/subs/unbanDomain {"Domain"}`: also when it is not banned.
pub(super) async fn unban_domain(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let action = Action::UnbanDomain(fields.text("domain")?.to_owned());
    state.actions.run(fields.by(by)?, action).await?;
    Ok(success())
}

/// `POST /admin/alerts/accountLimitSent`: a sibling has told people that a host nears its limit of
/// accounts, or no longer does. People are told once, not once by each relay.
pub(super) async fn alert_sent(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let warned = match fields.text("kind")? {
        "warning" => true,
        "recovery" => false,
        other => {
            let other = escape(other, 80);
            return Err(Error::invalid(format!("kind is warning or recovery, not {other}")));
        }
    };
    let text = fields.text("sentAt")?;
    let sent = humantime::parse_rfc3339(text).ok();
    let since = sent.and_then(|sent| sent.duration_since(std::time::UNIX_EPOCH).ok());
    let sent_ms =
        since.and_then(|since| u64::try_from(since.as_millis()).ok()).ok_or_else(|| {
            let text = escape(text, 80);
            Error::invalid(format!("sentAt is a time such as 2026-01-01T00:00:00Z, not {text}"))
        })?;
    let hostname = fields.text("hostname")?.to_owned();
    state.actions.run(by, Action::AlertSent(hostname, Alert { warned, sent_ms })).await?;
    Ok(success())
}

/// What the scripts of the reference relay write for yes and no.
fn truth(name: &str, text: &str) -> Result<bool, Error> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => {
            let other = escape(other, 80);
            Err(Error::invalid(format!("{name} must be true or false, not {other}")))
        }
    }
}

fn number(name: &str, text: &str) -> Result<u64, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        let text = escape(text, 80);
        Error::invalid(format!("{name} must be a whole number from 0 on, not {text}"))
    })
}
