//! `/admin/v1/domains`: domains whose hosts are not read.

use axum::{body::Body, extract::State, response::Response};
use serde_json::{Value, json};

use super::asked::Fields;
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, time_text, xrpc::json as answer},
};

/// `GET`: all bans, and the domains that are trusted or allowed alone.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Error> {
    let bans = state.hosts.domain_bans();
    let bans: Vec<Value> = bans
        .iter()
        .map(|ban| {
            json!({
                "domain": ban.domain,
                "since": time_text(ban.at_ms),
                "actor": ban.actor.to_string(),
                "note": ban.note,
            })
        })
        .collect();
    answer(&json!({
        "banned": bans,
        "trusted": state.hosts.trusted_domains(),
        "allowed": state.hosts.allowed(),
    }))
}

/// `POST …/ban {"domain","note"?}`: at once, also for connections that are open.
pub(super) async fn ban(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let action = Action::BanDomain(fields.text("domain")?.to_owned());
    let done = state.actions.run(fields.by(by)?, action).await?;
    answer(&json!({
        "domain": done.answer["domain"],
        "before": done.before,
        "after": done.after,
    }))
}

/// `POST …/unban {"domain","note"?}`: also when there is no such ban.
pub(super) async fn unban(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let domain = fields.text("domain")?.to_owned();
    let action = Action::UnbanDomain(domain.clone());
    let done = state.actions.run(fields.by(by)?, action).await?;
    answer(&json!({ "domain": domain, "before": done.before, "after": done.after }))
}
