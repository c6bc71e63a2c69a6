//! `com.atproto.sync.getRepo`: this relay stores no repositories, it knows where they are (API-4).

use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, LOCATION},
};

use super::{account, must_be_active};
use crate::{
    api::{ApiState, error::Error, params::Params},
    domain::Account,
    identity::IdentityError,
};

/// Up to this age the host that we hold for an account is where its document points; DESIGN 10.8
/// refreshes at the same age. Asking the directory for every download would spend its budget on
/// strangers.
const HOST_FRESH_MS: u64 = 24 * 60 * 60 * 1000;

/// The handler: 302 with the same query, so that `since` and what comes later pass through.
pub(super) async fn get_repo(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    params: Params,
) -> Result<Response, Error> {
    let did = params.did()?;
    let account = account(&state, &did).await?;
    must_be_active(&account)?;
    let base = pds(&state, &account).await?;
    let query = query.unwrap_or_default();
    let target = format!("{base}/xrpc/com.atproto.sync.getRepo?{query}");
    let target = HeaderValue::try_from(target).map_err(|_unprintable| {
        Error::invalid("the query has characters that cannot be passed on")
    })?;
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::FOUND, [(LOCATION, target), no_store]).into_response())
}

/// Scheme, host and port of the account's PDS, without a slash at the end.
async fn pds(state: &ApiState, account: &Account) -> Result<String, Error> {
    let held = state.hosts.get(account.host).map(|host| {
        let scheme = if host.hostname().is_secure() { "https" } else { "http" };
        format!("{scheme}://{}", host.hostname())
    });
    let age = state.clock.now_ms().saturating_sub(account.identity_checked_ms);
    if let Some(held) = &held
        && account.identity_checked_ms > 0
        && age < HOST_FRESH_MS
    {
        return Ok(held.clone());
    }
    let not_found = || Error::repo_not_found(account.did.as_str());
    match state.identities.fetch(&account.did, false).await {
        Ok(document) => document.pds.as_ref().map(|pds| pds.url.clone()).ok_or_else(not_found),
        // Better an old place than none.
        Err(IdentityError::Unavailable(_)) => {
            held.ok_or_else(|| Error::unavailable("the identity of the account cannot be fetched"))
        }
        Err(_conclusive) => Err(not_found()),
    }
}
