//! `com.atproto.sync.listReposByCollection`: accounts with records of a kind, in order of first sight.
//!
//! The index knows who has records; who is listed is decided here and now: accounts that are active,
//! whose host was reached in the last days. So an account that comes back is listed again at once.
//!
//! The lexicon takes whole NSIDs only, no `*`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{extract::State, response::Response};
use data_encoding::BASE64URL_NOPAD;
use relay_protocol::{Did, Nsid};
use serde::{Serialize, Serializer};

use super::{
    json,
    page::{Rows, Source, page},
};
use crate::{
    api::{ApiState, error::Error, params::Params},
    collections::index::CollectionNo,
    domain::{AccountNo, HostId, Standing, effective},
    telemetry::escape,
};

const LIMIT_USUAL: usize = 500;
const LIMIT_MAX: usize = 2000;

/// Longest piece of a wrong name that is sent back.
const ECHO_CHARS_MAX: usize = 80;

#[derive(Debug, Serialize)]
struct Repo {
    #[serde(serialize_with = "as_text")]
    did: Did,
}

fn as_text<S: Serializer>(did: &Did, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(did.as_str())
}

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    repos: Vec<Repo>,
}

/// The rows of one collection, with what is known of their accounts now.
struct Listed<'a> {
    state: &'a ApiState,
    collection: CollectionNo,
}

impl Source for Listed<'_> {
    type Item = Repo;

    async fn fetch(&self, after: u64, count: usize) -> Result<Rows<Repo>, Error> {
        let (index, collection) = (self.state.backfill.index().clone(), self.collection);
        let read = move || index.page(collection, Some(AccountNo(after)), count);
        let found = tokio::task::spawn_blocking(read).await.map_err(failed)?.map_err(failed)?;
        let numbers: Arc<[AccountNo]> = found.iter().map(|(account, _)| *account).collect();
        let accounts = standings(self.state, &numbers).await?;
        let mut away = HashMap::new();
        let mut accounts = accounts.into_iter().peekable();
        let rows = numbers.iter().map(|number| {
            let account = accounts.next_if(|account| account.number == *number);
            let account = account.filter(|account| is_listed(self.state, account, &mut away));
            (number.0, account.map(|account| Repo { did: account.did }))
        });
        Ok(Rows { rows: rows.collect(), more: found.len() == count })
    }
}

/// What decides about these accounts, as shards and store know it together; in order of number.
async fn standings(state: &ApiState, numbers: &Arc<[AccountNo]>) -> Result<Vec<Standing>, Error> {
    // The shards before the store: a row that a checkpoint moves meanwhile is then seen twice; the
    // other way round it would be seen not at all.
    let dirty = state.ingest.dirty_among(Arc::clone(numbers)).await;
    let stored = state.store.standings(numbers).await?;
    if dirty.is_empty() {
        return Ok(stored);
    }
    let newer: BTreeMap<AccountNo, Standing> =
        dirty.into_iter().map(|account| (account.number, account.into())).collect();
    let older = stored.into_iter().filter(|account| !newer.contains_key(&account.number));
    let mut joined: Vec<Standing> = older.chain(newer.values().cloned()).collect();
    joined.sort_by_key(|account| account.number);
    Ok(joined)
}

/// Whether the account is served now, here and by its host.
///
/// * `away` – hosts that were looked at for this page
fn is_listed(state: &ApiState, account: &Standing, away: &mut HashMap<HostId, bool>) -> bool {
    let is_away = *away.entry(account.host).or_insert_with(|| is_away(state, account.host));
    effective(&account.upstream, account.local).active && !is_away
}

/// Whether the host was not reached for longer than its accounts stay in the lists.
fn is_away(state: &ApiState, host: HostId) -> bool {
    let longest = u64::try_from(state.host_away.as_millis()).unwrap_or(u64::MAX);
    let since_ms = state.hosts.get(host).and_then(|host| host.away_since_ms());
    since_ms.is_some_and(|since_ms| state.clock.now_ms().saturating_sub(since_ms) >= longest)
}

fn failed(error: impl std::fmt::Display) -> Error {
    tracing::warn!(%error, "a list of accounts by collection could not be made");
    Error::unavailable("the index of collections does not answer")
}

/// A cursor is good for one collection alone: the number of the last row shown, and a checksum of it
/// and the name.
fn seal(collection: &str, after: u64) -> String {
    let number = after.to_be_bytes();
    let check = checksum(collection, number).to_be_bytes();
    BASE64URL_NOPAD.encode(&[&check[..], &number].concat())
}

/// Reverse of [`seal`]; `None` for what was not made for this collection.
fn unseal(collection: &str, cursor: &str) -> Option<u64> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let (check, number) = bytes.split_first_chunk::<4>()?;
    let number: [u8; 8] = number.try_into().ok()?;
    let is_ours = u32::from_be_bytes(*check) == checksum(collection, number);
    is_ours.then(|| u64::from_be_bytes(number))
}

fn checksum(collection: &str, number: [u8; 8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&number);
    sum.update(collection.as_bytes());
    sum.finalize()
}

/// The handler.
pub(super) async fn list_repos_by_collection(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let limit = params.limit(LIMIT_USUAL, LIMIT_MAX)?;
    listed(&state, &params, limit).await
}

/// The handler for the name that the sidecar of the reference relay had for it.
pub(super) async fn get_dids_for_collection(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Error> {
    let limit = params.limit_within(LIMIT_USUAL, LIMIT_MAX);
    listed(&state, &params, limit).await
}

async fn listed(state: &ApiState, params: &Params, limit: usize) -> Result<Response, Error> {
    let text = params.required("collection")?;
    let collection = Nsid::parse(text).map_err(|why| {
        Error::invalid(format!("collection {} is not valid: {why}", escape(text, ECHO_CHARS_MAX)))
    })?;
    let name = collection.as_str();
    let after = match params.text("cursor") {
        None => 0,
        Some(cursor) => unseal(name, cursor).ok_or_else(|| {
            Error::invalid("cursor is not one that this relay gave for this collection")
        })?,
    };
    let Some(collection) = state.backfill.index().find(name) else {
        return json(&Answer { cursor: None, repos: Vec::new() });
    };
    let source = Listed { state, collection };
    let (repos, cursor) = page(&source, after, limit).await?;
    let cursor = cursor.and_then(|after| after.parse().ok()).map(|after| seal(name, after));
    json(&Answer { cursor, repos })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// API-2: a cursor comes back as it was, for its own collection alone; anything else is refused.
    #[test]
    fn a_cursor_is_good_for_its_own_collection_alone() {
        for after in [0, 1, 2_000, u64::MAX] {
            let cursor = seal("com.example.one", after);
            assert_eq!(unseal("com.example.one", &cursor), Some(after));
            assert_eq!(unseal("com.example.two", &cursor), None);
            for end in 0..cursor.len() {
                assert_eq!(
                    unseal("com.example.one", cursor.get(..end).unwrap()),
                    None,
                    "cut at {end}"
                );
            }
        }
        for wrong in ["", "1", "abc", "AAAAAAAAAAAAAAAA", "%00", "\u{1f600}"] {
            assert_eq!(unseal("com.example.one", wrong), None, "{wrong}");
        }
    }
}
