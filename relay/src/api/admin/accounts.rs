//! `/admin/v1/accounts`: what is known of one, and decisions about it.

use std::collections::VecDeque;

use axum::{body::Body, extract::State, response::Response};
use relay_protocol::Did;
use serde_json::{Value, json};

use super::{asked::Fields, audit, why};
use crate::{
    actions::{Action, By},
    api::{ApiState, error::Error, params::Params, time_text, xrpc::json as answer},
    domain::{Account, LocalStatus, Seq},
    eventlog::ReadError,
    store::AuditFilter,
    telemetry::escape,
};

const LIMIT_USUAL: usize = 200;
const LIMIT_MAX: usize = 1_000;
/// Newest events in which those of an account are looked for; they are in memory.
const LOOKED_AT: u64 = 20_000;
/// Read at once.
const READ_BYTES: usize = 1 << 20;
/// Events of an account that are shown.
const EVENTS_MAX: usize = 20;
/// Audit rows of an account that are shown.
const AUDIT_MAX: u32 = 20;

/// `GET ?did=`: state, last events, what was dropped and why, what operators did. With
/// `?status=takendown` or `suspended`: the accounts about which this was decided, in pages.
pub(super) async fn show(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let Some(status) = params.text("status") else { return one(&state, &params.did()?).await };
    let status = match status {
        "takendown" => LocalStatus::Takendown,
        "suspended" => LocalStatus::Suspended,
        other => {
            let other = escape(other, 80);
            let message = format!("status must be takendown or suspended, not {other}");
            return Err(Error::invalid(message));
        }
    };
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let (dids, cursor) = decided(&state, status, &params, limit).await?;
    let mut page = json!({ "dids": dids });
    if let (Some(cursor), Some(fields)) = (cursor, page.as_object_mut()) {
        fields.insert("cursor".to_owned(), json!(cursor));
    }
    answer(&page)
}

/// One page of DIDs with this decision, and where the next begins unless this is the last.
pub(super) async fn decided(
    state: &ApiState,
    status: LocalStatus,
    params: &Params,
    limit: usize,
) -> Result<(Vec<String>, Option<String>), Error> {
    let after = params.text("cursor").unwrap_or_default();
    // One more than is shown tells whether this is the last page.
    let count = u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX);
    let mut found = state.store.decided(status, after, count).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| more).map(|(_, cursor)| cursor.clone());
    Ok((found.into_iter().map(|(did, _)| did.to_string()).collect(), cursor))
}

async fn one(state: &ApiState, did: &Did) -> Result<Response, Error> {
    let account = state.ingest.account(did).await?;
    let decided = state.store.local_statuses(std::slice::from_ref(did)).await?;
    let decided = decided.first().map_or(LocalStatus::None, |(_, local)| *local);
    let filter = AuditFilter { subject: Some(did.as_str()), ..AuditFilter::default() };
    let audit = state.store.audit(filter, AUDIT_MAX).await?;
    let events = match &account {
        Some(account) => events(state, account).await?,
        None => Vec::new(),
    };
    answer(&json!({
        "did": did.as_str(),
        "account": account.as_ref().map(|account| why::account_json(state, account)),
        "decided": decided.as_text(),
        "held": why::held_json(state, did).await?,
        "usage": why::usage_json(state, did).await,
        "events": events,
        "drops": why::examples(state, &state.drops.of_did(did.as_str())),
        "lenient": why::examples(state, &state.drops.lenient_of_did(did.as_str())),
        "audit": audit.iter().map(audit::row_json).collect::<Vec<_>>(),
    }))
}

/// The last events of an account among the newest of all, newest first.
async fn events(state: &ApiState, account: &Account) -> Result<Vec<Value>, Error> {
    let window = state.log.window();
    let first = window.head.0.saturating_sub(LOOKED_AT).max(window.oldest.0.saturating_sub(1));
    let mut place = state.log.after(Seq(first));
    let mut found = VecDeque::new();
    while place.seq() < window.head {
        let read = match place.read(READ_BYTES).await {
            Ok(read) => read,
            // Retention went past this place: what is left is newer.
            Err(ReadError::Overtaken) => {
                place = state.log.after(Seq(state.log.window().oldest.0.saturating_sub(1)));
                continue;
            }
            Err(ReadError::Io(why)) => {
                tracing::warn!(%why, "the event log could not be read");
                return Err(Error::unavailable("the event log cannot be read"));
            }
        };
        if read.is_empty() {
            break;
        }
        for event in read.iter().filter(|event| event.account == account.number) {
            if found.len() == EVENTS_MAX {
                found.pop_back();
            }
            found.push_front(json!({
                "seq": event.seq.0,
                "time": time_text(event.time_us / 1_000),
                "kind": event.kind.name(),
                "host": state.hosts.get(event.host).map(|host| host.hostname().to_string()),
                "hostSeq": (event.host_seq.0 > 0).then_some(event.host_seq.0),
            }));
        }
    }
    Ok(found.into())
}

/// `POST …/takeDown {"did","note"?}`.
pub(super) async fn take_down(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    decide(&state, by, body, Action::TakeDown).await
}

/// `POST …/suspend {"did","note"?}`.
pub(super) async fn suspend(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    decide(&state, by, body, Action::Suspend).await
}

/// `POST …/restore {"did","note"?}`: ends a takedown or a suspension.
pub(super) async fn restore(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    decide(&state, by, body, Action::Restore).await
}

/// `POST …/refreshIdentity {"did"}`.
pub(super) async fn refresh_identity(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    decide(&state, by, body, Action::RefreshIdentity).await
}

async fn decide(
    state: &ApiState,
    by: By,
    body: Body,
    action: fn(Did) -> Action,
) -> Result<Response, Error> {
    let fields = Fields::read(body).await?;
    let did = fields.did()?;
    let done = state.actions.run(fields.by(by)?, action(did.clone())).await?;
    answer(&json!({
        "did": did.as_str(),
        "before": done.before,
        "after": done.after,
        "known": done.answer.get("known"),
    }))
}
