//! `GET /admin/v1/why?did=` and `?host=`: why events were dropped, in words (I7, VAL-21).
//!
//! `lenient` is what strict validation would have dropped (DESIGN 10.14).

use axum::{extract::State, response::Response};
use relay_protocol::{Did, Hostname};
use serde_json::{Map, Value, json};

use super::hosts::host_json;
use crate::{
    api::{ApiState, error::Error, params::Params, time_text, xrpc::json as answer},
    domain::{Account, DropReason, effective},
    drops::Dropped,
    telemetry::escape,
};

/// The handler; without a parameter it gives the totals of all hosts.
pub(super) async fn why(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    match (params.text("did"), params.text("host")) {
        (Some(_), Some(_)) => Err(Error::invalid("give did or host, not both")),
        (Some(_), None) => of_did(&state, &params.did()?).await,
        (None, Some(host)) => of_host(&state, host),
        (None, None) => answer(&json!({
            "totals": totals(&state.drops.totals()),
            "lenientTotals": totals(&state.drops.lenient_totals()),
        })),
    }
}

async fn of_did(state: &ApiState, did: &Did) -> Result<Response, Error> {
    let account = state.ingest.account(did).await?;
    answer(&json!({
        "did": did.as_str(),
        "account": account.map(|account| account_json(state, &account)),
        "held": held_json(state, did).await?,
        "usage": usage_json(state, did).await,
        "drops": examples(state, &state.drops.of_did(did.as_str())),
        "lenient": examples(state, &state.drops.lenient_of_did(did.as_str())),
    }))
}

fn of_host(state: &ApiState, text: &str) -> Result<Response, Error> {
    let name = Hostname::parse(text, state.dev)
        .map_err(|why| Error::invalid(format!("host {} is not valid: {why}", escape(text, 80))))?;
    let unknown = || Error::host_not_found(format!("this relay does not know {name}"));
    let host = state.hosts.view(name.as_str()).ok_or_else(unknown)?;
    answer(&json!({
        "host": host_json(&host),
        "totals": totals(&state.drops.host_totals(host.id)),
        "drops": examples(state, &state.drops.of_host(host.id)),
        "lenientTotals": totals(&state.drops.lenient_host_totals(host.id)),
        "lenient": examples(state, &state.drops.lenient_of_host(host.id)),
    }))
}

/// The last dropped events, newest first.
pub(super) fn examples(state: &ApiState, dropped: &[Dropped]) -> Vec<Value> {
    dropped.iter().map(|one| drop_json(state, one)).collect()
}

/// `{reason: count}` of those that happened.
fn totals(totals: &[(DropReason, u64)]) -> Value {
    let happened = totals.iter().filter(|(_, count)| *count > 0);
    Value::Object(
        happened
            .map(|(reason, count)| (reason.label().to_owned(), json!(count)))
            .collect::<Map<_, _>>(),
    )
}

fn drop_json(state: &ApiState, dropped: &Dropped) -> Value {
    let host = state.hosts.get(dropped.host);
    json!({
        "time": time_text(dropped.at_ms),
        "host": host.map(|host| host.hostname().to_string()),
        "hostSeq": dropped.host_seq.map(|seq| seq.0),
        "kind": dropped.kind.map(crate::domain::EventKind::name),
        "did": dropped.did,
        "reason": dropped.reason.label(),
        "words": dropped.reason.words(),
        "detail": dropped.detail,
    })
}

/// Why and until when this relay itself holds an account, or nothing (ACC-9, HOST-12, VAL-20).
pub(super) async fn held_json(state: &ApiState, did: &Did) -> Result<Value, Error> {
    let hold = state.store.hold_of(did).await?;
    Ok(hold.map_or(Value::Null, |hold| {
        json!({
            "reason": hold.why.label(),
            "words": hold.why.words(),
            "until": (hold.until_ms > 0).then(|| time_text(hold.until_ms)),
        })
    }))
}

/// What an account used of its limits (HOST-12); nothing when it sent nothing lately. A limit of 0 is
/// none.
pub(super) async fn usage_json(state: &ApiState, did: &Did) -> Value {
    let Some(usage) = state.ingest.usage(did).await else { return Value::Null };
    let limits = usage.limits;
    let [hour, day] = usage.used;
    json!({
        "perSecond": limits.per_second,
        "perHour": limits.per_hour,
        "inHour": hour,
        "perDay": limits.per_day,
        "inDay": day,
        "discontinuitiesPerDay": limits.discontinuities_per_day,
        "discontinuousOfLast100": usage.discontinuities,
    })
}

/// All that the relay holds of an account.
pub(super) fn account_json(state: &ApiState, account: &Account) -> Value {
    let now = effective(&account.upstream, account.local);
    let checked = account.identity_checked_ms;
    json!({
        "number": account.number.0,
        "host": state.hosts.get(account.host).map(|host| host.hostname().to_string()),
        "active": now.active,
        "status": now.status,
        "upstreamStatus": account.upstream.as_text(),
        "localStatus": account.local.as_text(),
        "rev": account.repo.map(|repo| repo.rev.to_string()),
        "data": account.repo.map(|repo| repo.data.to_string()),
        "commit": account.repo.map(|repo| repo.commit.to_string()),
        "keyKnown": account.key.is_some(),
        "identityCheckedAt": (checked > 0).then(|| time_text(checked)),
        "lastHostSeq": account.last.map(|last| last.host_seq.0),
    })
}
