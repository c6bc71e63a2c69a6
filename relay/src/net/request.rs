//! HTTP requests: GET, and POST to addresses of the settings, bounded in time and size (SEC-2, RES-1).

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Response,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, RETRY_AFTER, SERVER, VIA},
    redirect::Policy,
};

use super::{
    Answer, NetError, Post,
    guard::Guard,
    resolver::{Dns, Resolver},
    words,
};

/// Longest wait for name, TCP and TLS together (RES-1).
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Longest wait for the whole answer (RES-1).
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Longest wait for the answer to a POST: what was asked for is to be durable there first.
const POST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// Largest answer to a POST.
const POST_BODY_BYTES_MAX: usize = 1 << 20;

/// The user of every admin API.
const ADMIN: &str = "admin";

/// Header lines of an answer; more is an attack on our memory.
const HEADERS_MAX: usize = 64;

/// Idle connections kept to one host that strangers chose: its next request is far away.
const IDLE_GUARDED: usize = 1;

/// Idle connections kept to a host of the settings, which gets most requests.
const IDLE_CONFIGURED: usize = 32;

/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Kept part of a `Server` header.
const SERVER_CHARS_MAX: usize = 200;

/// The document types of RES-1; the type of the answer is not looked at.
const ACCEPTED: &str = "application/json, application/did+json, application/did+ld+json";

/// An HTTP client whose connections pass `guard`; without one for hosts of the settings.
pub(super) fn client(
    resolver: Resolver,
    guard: Option<Guard>,
    tls: rustls::ClientConfig,
    user_agent: &str,
) -> Result<Client, NetError> {
    let idle = if guard.is_some() { IDLE_GUARDED } else { IDLE_CONFIGURED };
    Client::builder()
        .dns_resolver(Arc::new(Dns { resolver, guard }))
        .tls_backend_preconfigured(tls)
        .user_agent(user_agent)
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .connect_timeout(CONNECT_MAX)
        .timeout(ANSWER_MAX)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(IDLE_MAX)
        .build()
        .map_err(|error| NetError::Failed(format!("the HTTP client cannot be built: {error}")))
}

/// Asks and reads the answer up to the limit.
pub(super) async fn get(
    client: &Client,
    url: url::Url,
    body_bytes_max: usize,
) -> Result<Answer, NetError> {
    let request = client.get(url).header(ACCEPT, ACCEPTED);
    read(request.send().await.map_err(|error| failed(&error))?, body_bytes_max).await
}

/// Sends and reads the answer up to the limit.
pub(super) async fn post_admin(
    client: &Client,
    url: url::Url,
    post: Post<'_>,
) -> Result<Answer, NetError> {
    let mut request = client.post(url).timeout(POST_ANSWER_MAX).header(VIA, post.via);
    if let Some(password) = post.password {
        request = request.basic_auth(ADMIN, Some(password));
    }
    request = request.body(post.json.to_owned());
    if !post.json.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    read(request.send().await.map_err(|error| failed(&error))?, POST_BODY_BYTES_MAX).await
}

pub(super) async fn read(response: Response, body_bytes_max: usize) -> Result<Answer, NetError> {
    let header = |name: HeaderName| response.headers().get(name)?.to_str().ok();
    let status = response.status().as_u16();
    let retry_after = words::retry_after(header(RETRY_AFTER));
    let server = header(SERVER).map(|text| words::printable(text, SERVER_CHARS_MAX));
    let body = body(response, body_bytes_max).await?;
    Ok(Answer { status, retry_after, server, body })
}

/// Sends JSON and reads the answer up to the limit.
///
/// * `token` – for `Authorization: Bearer`
pub(super) async fn post(
    client: &Client,
    url: url::Url,
    token: Option<&str>,
    json: &serde_json::Value,
    body_bytes_max: usize,
) -> Result<Answer, NetError> {
    let request = client.post(url).json(json);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    // Without the address: its path may be a secret.
    let sent = request.send().await.map_err(reqwest::Error::without_url);
    read(sent.map_err(|error| failed(&error))?, body_bytes_max).await
}

/// Reads the body piece by piece, so that no more than the limit is ever held.
async fn body(mut response: Response, bytes_max: usize) -> Result<Bytes, NetError> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + piece.len() > bytes_max {
            return Err(NetError::Failed(format!("the answer is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The innermost cause, which is the one that helps; a refusal of the guard comes out as it went in.
pub(super) fn failed(error: &reqwest::Error) -> NetError {
    let mut cause = error.source();
    let mut innermost = None;
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<NetError>() {
            return ours.clone();
        }
        innermost = Some(inner.to_string());
        cause = inner.source();
    }
    if error.is_timeout() {
        let limit = if error.is_connect() { CONNECT_MAX } else { ANSWER_MAX };
        return NetError::Failed(format!("no answer in {} s", limit.as_secs()));
    }
    NetError::Failed(words::printable(&innermost.unwrap_or_else(|| error.to_string()), 200))
}
