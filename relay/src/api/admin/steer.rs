//! `POST /admin/v1/hosts/*`: what is changed about one host.

use axum::{body::Body, extract::State, response::Response};
use serde_json::json;

use super::{asked::Fields, hosts::host_json};
use crate::{
    actions::{Action, By, Steer},
    api::{ApiState, error::Error, xrpc::json as answer},
    domain::Strictness,
    hosts::{Edit, LimitsEdit},
    telemetry::escape,
    units::Day,
};

/// `…/ban {"host","note"?}`: it is not read any more.
pub(super) async fn ban(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    steer(&state, by, &Fields::read(body).await?, Steer::Ban).await
}

/// `…/unban {"host","note"?}`: it is read again, at once.
pub(super) async fn unban(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    steer(&state, by, &Fields::read(body).await?, Steer::Unban).await
}

/// `…/disconnect {"host","note"?}`: until it, or an operator, asks again.
pub(super) async fn disconnect(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    steer(&state, by, &Fields::read(body).await?, Steer::Disconnect).await
}

/// `…/reconnect {"host","note"?}`: at once.
pub(super) async fn reconnect(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    steer(&state, by, &Fields::read(body).await?, Steer::Reconnect).await
}

/// `…/resetCursor {"host","note"?}`: it is read from its beginning.
pub(super) async fn reset_cursor(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    steer(&state, by, &Fields::read(body).await?, Steer::ResetCursor).await
}

/// `…/limits {"host","accounts"?,"perSecond"?,"perHour"?,"perDay"?,"note"?}`: each a number, or
/// `"default"` to leave it to the rules for all.
pub(super) async fn limits(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let edit = LimitsEdit {
        accounts: edit(&fields, "accounts")?,
        per_second: edit(&fields, "perSecond")?,
        per_hour: edit(&fields, "perHour")?,
        per_day: edit(&fields, "perDay")?,
    };
    if edit == LimitsEdit::default() {
        let message = "give accounts, perSecond, perHour or perDay";
        return Err(Error::invalid(message));
    }
    steer(&state, by, &fields, Steer::Limits(edit)).await
}

/// `…/strictness {"host","strictness":"strict"|"lenient"|"default","until"?:DAY,"note"?}`.
pub(super) async fn strictness(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let until = fields.maybe_text("until")?;
    let strictness = match (fields.text("strictness")?, until) {
        ("strict", None) => Strictness::Strict,
        ("default", None) => Strictness::Default,
        ("lenient", None) => Strictness::LenientUntil(u64::MAX),
        ("lenient", Some(day)) => {
            let no_day = || Error::invalid("until is a day such as 2027-01-31");
            Strictness::LenientUntil(Day::parse(day).ok_or_else(no_day)?.begin_ms())
        }
        ("strict" | "default", Some(_)) => {
            return Err(Error::invalid("until is for a host that is to be lenient"));
        }
        (other, _) => {
            let other = escape(other, 80);
            let message = format!("strictness is strict, lenient or default, not {other}");
            return Err(Error::invalid(message));
        }
    };
    steer(&state, by, &fields, Steer::Strictness(strictness)).await
}

/// `…/silence {"host","silenced","note"?}`: no alerts about it, or alerts again.
pub(super) async fn silence(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let missing = || Error::invalid("the field silenced is missing");
    let silenced = fields.maybe_truth("silenced")?.ok_or_else(missing)?;
    let until_ms = if silenced { u64::MAX } else { 0 };
    steer(&state, by, &fields, Steer::Silence(until_ms)).await
}

async fn steer(state: &ApiState, by: By, fields: &Fields, steer: Steer) -> Result<Response, Error> {
    let host = fields.text("host")?.to_owned();
    let done = state.actions.run(fields.by(by)?, Action::Steer(host, steer)).await?;
    let view = done.answer["hostname"].as_str().and_then(|name| state.hosts.view(name));
    answer(&json!({
        "before": done.before,
        "after": done.after,
        "host": view.as_ref().map(host_json),
    }))
}

/// A limit that is set, left to the rules with `"default"`, or not spoken of.
fn edit(fields: &Fields, name: &str) -> Result<Edit<u64>, Error> {
    if fields.is_text(name, "default") {
        return Ok(Edit::Clear);
    }
    Ok(fields.maybe_number(name)?.map_or(Edit::Keep, Edit::Set))
}
