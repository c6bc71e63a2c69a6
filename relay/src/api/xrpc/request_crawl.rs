//! `com.atproto.sync.requestCrawl`: a host asks to be read (HOST-3, HOST-4).

use axum::{
    body::Body,
    extract::{Extension, State},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    api::{
        ApiState,
        admin::is_relayed,
        error::Error,
        params::{self, PUBLIC_BODY_BYTES_MAX},
    },
    clients::Client,
};

#[derive(Debug, Deserialize)]
struct Input {
    hostname: String,
}

/// The handler: 200 without a body.
pub(super) async fn request_crawl(
    State(state): State<ApiState>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Error> {
    if !state.actions.rules().takes_crawls() {
        let message = "this relay adds hosts by hand; write to its operator";
        return Err(Error::new(StatusCode::FORBIDDEN, "Forbidden", message));
    }
    // A proxy on this machine that names nobody stands for everyone behind it.
    if !client.is_of_this_machine() {
        state
            .shared
            .crawls
            .take(client.address, Instant::now())
            .map_err(|wait| Error::rate_limited(wait.as_secs().saturating_add(1)))?;
    }
    let input: Input = params::json(body, PUBLIC_BODY_BYTES_MAX).await?;
    let host = state.hosts.admit(&input.hostname, false).await?;
    if !is_relayed(&headers) {
        state.actions.pass_on_crawl(&host.hostname().to_string()).await?;
    }
    Ok(StatusCode::OK)
}
