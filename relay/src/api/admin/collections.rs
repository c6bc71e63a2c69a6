//! The index of collections, for operators: what is in it, and how it is filled.

use axum::{body::Body, extract::State, response::Response};
use relay_protocol::{Did, Nsid};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    actions::{Action, By, Fill},
    api::{ApiState, error::Error, params, params::Params, time_text, xrpc::json as answer},
    backfill::{HostAsked, ImportView, Verified},
    collections::index::{Counts, Doubt, PairState, Whole},
    telemetry::escape,
};

const LIMIT_USUAL: usize = 500;
const LIMIT_MAX: usize = 1_000;

/// Bytes of a request that names accounts or holds a page of a dump.
const BODY_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Deserialize)]
struct Filling {
    #[serde(default)]
    dids: Vec<String>,
    #[serde(default)]
    from: Vec<String>,
    #[serde(default)]
    collections: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Sampling {
    sample: u64,
}

#[derive(Debug, Deserialize)]
struct DumpPage {
    dump: String,
    place: u64,
    accounts: Vec<DumpEntry>,
}

#[derive(Debug, Deserialize)]
struct DumpEntry {
    did: String,
    collections: Vec<String>,
}

/// `GET /admin/v1/collections?prefix=&empty=&limit=&cursor=`: collections by name, with their rows.
pub(super) async fn list(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    let prefix = params.text("prefix").unwrap_or_default();
    let only_empty = params.text("empty") == Some("true");
    let mut after = params.text("cursor").map(ToOwned::to_owned);
    let mut shown = Vec::new();
    let index = state.backfill.index();
    let next = loop {
        let found = index.collections(prefix, after.as_deref(), limit);
        let more = found.len() == limit;
        let last = found.last().map(|last| last.nsid.as_ref().to_owned());
        shown.extend(found.into_iter().filter(|one| !only_empty || one.count.rows() == 0));
        if !more || shown.len() >= limit {
            break last.filter(|_| more || shown.len() > limit);
        }
        after = last;
    };
    let more = shown.len() > limit;
    shown.truncate(limit);
    let last = shown.last().map(|last| last.nsid.as_ref().to_owned());
    let next = if more { last } else { next };
    let collections: Vec<_> = shown
        .iter()
        .map(|one| {
            let rows = one.count.rows();
            json!({
                "collection": one.nsid.as_ref(),
                "rows": rows,
                "proven": one.count.proven,
                "believed": one.count.believed,
                "grewInDay": state.backfill.growth(&one.nsid, rows, 1),
                "grewInWeek": state.backfill.growth(&one.nsid, rows, 7),
            })
        })
        .collect();
    let mut body = json!({
        "collections": collections,
        "totals": totals(state.backfill.counts()),
        "stopped": index.stopped(),
    });
    if let Some(next) = next {
        body["cursor"] = json!(next);
    }
    answer(&body)
}

/// `GET /admin/v1/collections/account?did=`: which collections an account has, and how that is known.
pub(super) async fn account(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let did = params.did()?;
    let account = state.ingest.account(&did).await?;
    let account = account.ok_or_else(|| Error::repo_not_found(did.as_str()))?;
    let index = state.backfill.index();
    let (whole, pairs) = index.of_account(account.number).map_err(damaged)?;
    let mut collections: Vec<(String, PairState)> = pairs
        .into_iter()
        .filter_map(|(number, pair)| Some((index.nsid(number)?.as_ref().to_owned(), pair)))
        .collect();
    collections.sort();
    let collections: Vec<_> = collections
        .into_iter()
        .map(|(nsid, pair)| json!({ "collection": nsid, "state": state_word(pair) }))
        .collect();
    let (word, reason) = whole_words(whole);
    answer(&json!({
        "did": did.as_str(),
        "known": word,
        "reason": reason,
        "collections": collections,
    }))
}

/// `GET /admin/v1/collections/backfill`: how far everything is that fills the index.
pub(super) async fn status(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&status_json(&state))
}

fn status_json(state: &ApiState) -> Value {
    let (counts, resolving) = (state.backfill.counts(), state.backfill.resolving());
    let hosts: Vec<_> =
        state.backfill.hosts_asked().iter().filter_map(|asked| host_json(state, asked)).collect();
    let imports: Vec<_> = state.backfill.imports().iter().map(import_json).collect();
    let minutes = counts.to_ask().checked_div(resolving.per_minute);
    let index = state.backfill.index();
    let behind = state.log.window().head.0.saturating_sub(index.position().unwrap_or_default().0);
    json!({
        "totals": totals(counts),
        "stopped": index.stopped(),
        "behind": behind,
        "resolving": {
            "running": resolving.running,
            "waiting": resolving.waiting,
            "resolved": resolving.resolved,
            "overtaken": resolving.overtaken,
            "perMinute": resolving.per_minute,
            "minutesLeft": if counts.to_ask() == 0 { Some(0) } else { minutes },
        },
        "hosts": hosts,
        "imports": imports,
    })
}

/// `POST /admin/v1/collections/backfill {"dids":[…],"from":[…],"collections":[…]}`: asks the hosts of
/// these accounts, reads the lists of these relays, or, when neither is named, asks the hosts of all
/// uncertain accounts without waiting. Answers as GET does, without waiting for the end.
pub(super) async fn fill(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let Filling { dids, from, collections } = params::json(body, BODY_BYTES_MAX).await?;
    let dids = dids.iter().map(|text| did(text)).collect::<Result<Vec<_>, _>>()?;
    let fill = Fill { dids, from, collections };
    let done = state.actions.run(by, Action::FillCollections(fill)).await?;
    let mut body = status_json(&state);
    body["unknown"] = done.answer["unknown"].clone();
    answer(&body)
}

/// `GET /admin/v1/collections/verify`: the last comparison with hosts, or the one that is under way.
pub(super) async fn verified(State(state): State<ApiState>) -> Result<Response, Error> {
    answer(&json!({ "verification": state.backfill.verified().as_ref().map(verified_json) }))
}

/// `POST /admin/v1/collections/verify {"sample":100}`: compares that many accounts with what their hosts
/// say; answers as GET does, without waiting for the end.
pub(super) async fn verify(
    State(state): State<ApiState>,
    by: By,
    body: Body,
) -> Result<Response, Error> {
    let Sampling { sample } = params::json(body, params::PUBLIC_BODY_BYTES_MAX).await?;
    state.actions.run(by, Action::VerifyCollections(sample)).await?;
    verified(State(state)).await
}

/// `GET /admin/v1/collections/dump?limit=&cursor=`: accounts with their collections, in pages; `relay
/// collections export` makes a file of them.
pub(super) async fn dump(State(state): State<ApiState>, params: Params) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_MAX, LIMIT_MAX)?;
    let page = state.backfill.dump(params.cursor()?, limit).await;
    let (accounts, next) = page.map_err(Error::unavailable)?;
    let accounts: Vec<_> = accounts
        .iter()
        .map(|account| {
            json!({
                "did": account.did,
                "proven": account.proven,
                "believed": account.believed,
                "complete": account.complete,
            })
        })
        .collect();
    let mut body = json!({ "accounts": accounts });
    if let Some(next) = next {
        body["cursor"] = json!(next.to_string());
    }
    answer(&body)
}

/// `GET /admin/v1/collections/dump/taken?dump=`: how many accounts of a dump were taken already.
pub(super) async fn dump_place(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let place = state.backfill.dump_place(params.required("dump")?).map_err(Error::invalid)?;
    answer(&json!({ "place": place }))
}

/// `POST /admin/v1/collections/dump {"dump","place","accounts":[{"did","collections":[…]}]}`: takes a page
/// of a dump as believed; durable when it is answered.
pub(super) async fn take_dump(
    State(state): State<ApiState>,
    body: Body,
) -> Result<Response, Error> {
    let DumpPage { dump, place, accounts } = params::json(body, BODY_BYTES_MAX).await?;
    let mut entries = Vec::with_capacity(accounts.len());
    for account in &accounts {
        let names = account.collections.iter().map(|text| nsid(text));
        entries.push((did(&account.did)?, names.collect::<Result<Vec<_>, _>>()?));
    }
    // What is wrong with the page is found before anything is asked for.
    state.backfill.dump_place(&dump).map_err(Error::invalid)?;
    let taken = state.backfill.take_dump((&dump, place), &entries).await;
    let taken = taken.map_err(Error::unavailable)?;
    answer(&json!({
        "place": place,
        "accounts": taken.accounts,
        "pairs": taken.pairs,
        "new": taken.new,
        "unknown": taken.unknown,
    }))
}

fn did(text: &str) -> Result<Did, Error> {
    Did::parse(text.trim())
        .map_err(|why| Error::invalid(format!("{} is no DID: {why}", escape(text, 100))))
}

fn nsid(text: &str) -> Result<Nsid, Error> {
    Nsid::parse(text)
        .map_err(|why| Error::invalid(format!("{} is no collection: {why}", escape(text, 100))))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn damaged(error: crate::collections::index::IndexError) -> Error {
    tracing::error!(%error, "the index of collections could not be read");
    Error::unavailable("the index of collections does not answer")
}

fn totals(counts: Counts) -> Value {
    let pairs = counts.proven + counts.believed;
    let (accounts, uncertain) = (counts.listable(), counts.uncertain());
    let believed = counts.doubted(Doubt::Imported);
    let reasons: Map<String, Value> =
        counts.by_doubt().map(|(doubt, unsure)| (doubt.name().to_owned(), json!(unsure))).collect();
    json!({
        "collections": counts.collections,
        "pairs": pairs,
        "proven": counts.proven,
        "believed": counts.believed,
        "complete": counts.complete,
        "unsure": counts.unsure,
        "unsureReasons": reasons,
        "uncertain": uncertain,
        "uncertainShare": share(uncertain, accounts),
        "believedAccounts": believed,
        "believedAccountsShare": share(believed, accounts),
        "inactive": counts.doubted(Doubt::Inactive),
        "gone": counts.gone,
        "believedShare": share(counts.believed, pairs),
    })
}

fn share(part: u64, whole: u64) -> Value {
    /// More than any count that is met has digits to lose.
    fn float(number: u64) -> f64 {
        f64::from(u32::try_from(number).unwrap_or(u32::MAX))
    }
    let scale = whole.div_ceil(u64::from(u32::MAX)).max(1);
    json!(if whole == 0 { 0.0 } else { float(part / scale) / float(whole / scale) })
}

fn state_word(state: PairState) -> &'static str {
    match state {
        PairState::Proven => "proven",
        PairState::Believed => "believed",
    }
}

fn whole_words(whole: Whole) -> (&'static str, Option<&'static str>) {
    match whole {
        Whole::Unmarked => ("nothing", None),
        Whole::Complete => ("complete", None),
        Whole::Unsure(doubt) => ("unsure", Some(doubt.name())),
        Whole::Gone => ("gone", None),
    }
}

fn host_json(state: &ApiState, asked: &HostAsked) -> Option<Value> {
    let host = state.hosts.get(asked.host)?;
    let rests_ms = asked.told.rests_until_ms.saturating_sub(state.clock.steady_ms());
    Some(json!({
        "hostname": host.hostname().to_string(),
        "method": asked.method.as_text(),
        "waiting": asked.waiting,
        "asked": asked.told.asked,
        "resolved": asked.told.resolved,
        "failed": asked.told.failed,
        "restsForSeconds": rests_ms / 1_000,
        "lastError": asked.told.last_error.as_deref().map(|text| escape(text, 500)),
    }))
}

fn import_json(import: &ImportView) -> Value {
    let row = &import.row;
    let status = match (import.running, row.finished_ms) {
        (true, _) => "running",
        (false, Some(_)) => "finished",
        (false, None) => "stopped",
    };
    let texts = |texts: &[String]| texts.iter().map(|text| escape(text, 320)).collect::<Vec<_>>();
    json!({
        "from": row.source,
        "status": status,
        "collections": row.collections,
        "done": row.done,
        "current": row.current,
        "pages": row.pages,
        "pairs": row.pairs,
        "new": row.new,
        "unknown": row.unknown,
        "strange": row.strange,
        "refused": texts(&row.refused),
        "withoutRows": texts(&row.without_rows),
        "startedAt": time_text(row.started_ms),
        "finishedAt": row.finished_ms.map(time_text),
        "lastError": row.last_error.as_deref().map(|text| escape(text, 500)),
    })
}

fn verified_json(found: &Verified) -> Value {
    let wrong = found.missing + found.ghosts;
    let examples: Vec<_> = found
        .examples
        .iter()
        .map(|one| json!({ "did": one.did, "missing": one.missing, "ghosts": one.ghosts }))
        .collect();
    json!({
        "status": if found.finished_ms.is_some() { "finished" } else { "running" },
        "sample": found.sample,
        "checked": found.checked,
        "skipped": found.skipped,
        "unsure": found.unsure,
        "entries": found.entries,
        "missing": found.missing,
        "ghosts": found.ghosts,
        "wrongShare": share(wrong, found.entries),
        "wrongOfComplete": found.wrong_of_complete,
        "examples": examples,
        "startedAt": time_text(found.started_ms),
        "finishedAt": found.finished_ms.map(time_text),
        "lastError": found.last_error.as_deref().map(|text| escape(text, 500)),
    })
}
