//! Outgoing connections: name resolution, the SSRF guard at connect time (SEC-1, SEC-2), one HTTP client.
//!
//! In: URLs and host names that strangers may have chosen. Out: bounded answers and open sockets.
//! Every address is checked after its name was resolved, and the checked address is the one that is
//! connected to, so that a name cannot change its mind in between. Proxies of the environment are
//! not used, redirects are not followed, every answer has a size and a time limit.

mod download;
mod guard;
mod request;
mod resolver;
mod socket;
mod stream;
mod text_stream;
mod tls;
mod words;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use tokio_tungstenite::tungstenite::http::HeaderValue;

use self::{guard::Guard, resolver::Resolver};

pub use self::{
    download::{Download, Downloaded},
    socket::{DialError, Dialled, HANDSHAKE_MAX, READ_BUFFER_BYTES, Socket, socket_limits},
    stream::Stream,
    tls::install_crypto,
    words::printable,
};

/// What outgoing connections may reach.
#[derive(Debug, Clone, Default)]
pub struct NetOptions {
    /// `--dev`: plain http and ws, private addresses, any port.
    pub allow_insecure: bool,
    /// Name servers to ask instead of the machine's resolver (`RESOLVE_ADDRESS`).
    pub name_servers: Vec<std::net::SocketAddr>,
    /// Ask them over UDP only (`FORCE_DNS_UDP`).
    pub udp_only: bool,
    /// Sent as `User-Agent`; names software, version, contact, and `(atproto-relay)` (UP-1).
    pub user_agent: String,
}

/// A bounded answer of an HTTP request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `Retry-After` in seconds if sent.
    pub retry_after: Option<Duration>,
    /// `Server` header, cut to 200 bytes.
    pub server: Option<String>,
    /// Body, at most the limit given.
    pub body: bytes::Bytes,
}

/// A POST to an address of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// Password of the user `admin`.
    pub password: Option<&'a str>,
    /// The header `Via`.
    pub via: &'static str,
    /// Body; empty when there is none.
    pub json: &'a str,
}

/// Why an outgoing request gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetError {
    /// The address is not one that we may reach; says what would lift it (`--dev`).
    #[error("{0}")]
    Refused(String),
    /// Name resolution, connect, TLS, timeout, broken answer, body too large.
    #[error("{0}")]
    Failed(String),
}

/// Makes all outgoing connections; cheap to clone.
#[derive(Clone)]
pub struct Net {
    parts: Arc<Parts>,
}

/// What all clones share.
struct Parts {
    guard: Guard,
    resolver: Resolver,
    tls: tokio_rustls::TlsConnector,
    user_agent: HeaderValue,
    /// For addresses that strangers chose.
    guarded: reqwest::Client,
    /// For addresses that the operator chose.
    configured: reqwest::Client,
}

impl fmt::Debug for Net {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Net").field("guard", &self.parts.guard).finish_non_exhaustive()
    }
}

impl Net {
    /// Builds resolver and HTTP client.
    ///
    /// # Errors
    /// When TLS roots or a name server setting cannot be used.
    pub fn new(options: NetOptions) -> Result<Self, NetError> {
        let tls = tls::client_config(options.allow_insecure)?;
        Self::with_tls(options, tls)
    }

    /// As [`Self::new`], with TLS settings from elsewhere.
    fn with_tls(options: NetOptions, tls: rustls::ClientConfig) -> Result<Self, NetError> {
        let NetOptions { allow_insecure, name_servers, udp_only, user_agent } = options;
        let guard = Guard { allow_insecure };
        let resolver = Resolver::new(&name_servers, udp_only)?;
        let guarded = request::client(resolver.clone(), Some(guard), tls.clone(), &user_agent)?;
        let configured = request::client(resolver.clone(), None, tls.clone(), &user_agent)?;
        let user_agent = HeaderValue::try_from(user_agent)
            .map_err(|error| NetError::Failed(format!("the user agent cannot be sent: {error}")))?;
        let tls = Arc::new(tls).into();
        let parts = Parts { guard, resolver, tls, user_agent, guarded, configured };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// GET with the limits of RES-1: 3 s connect, 5 s in all, no redirects, body at most
    /// `body_bytes_max`.
    ///
    /// # Errors
    /// [`NetError`]; an HTTP error status is an [`Answer`].
    pub async fn get(&self, url: &str, body_bytes_max: usize) -> Result<Answer, NetError> {
        let url = self.parts.guard.url(url)?;
        request::get(&self.parts.guarded, url, body_bytes_max).await
    }

    /// As [`Self::get`] for a URL whose host the operator set (the PLC directory): it may also be a
    /// replica on a private address or without TLS. All other limits hold.
    ///
    /// # Errors
    /// [`NetError`]; an HTTP error status is an [`Answer`].
    pub async fn get_configured(
        &self,
        url: &str,
        body_bytes_max: usize,
    ) -> Result<Answer, NetError> {
        let url = url::Url::parse(url)
            .map_err(|error| NetError::Failed(format!("not a URL: {error}")))?;
        request::get(&self.parts.configured, url, body_bytes_max).await
    }

    /// The first address of a name, whoever may be there.
    ///
    /// # Errors
    /// [`NetError`] when the name has none.
    pub async fn address(&self, host: &str) -> Result<IpAddr, NetError> {
        let found = self.parts.resolver.lookup(host, 0).await?;
        let first = found.first().map(std::net::SocketAddr::ip);
        first.ok_or_else(|| NetError::Failed(format!("{host} has no address")))
    }

    /// Sends JSON to a URL that the operator set, with the limits of [`Self::get_configured`].
    ///
    /// * `token` – for `Authorization: Bearer`
    ///
    /// # Errors
    /// [`NetError`], without the URL, which may hold a secret (I8); an HTTP error status is an
    /// [`Answer`].
    pub async fn post_configured(
        &self,
        url: &str,
        token: Option<&str>,
        json: &serde_json::Value,
        body_bytes_max: usize,
    ) -> Result<Answer, NetError> {
        let url = url::Url::parse(url)
            .map_err(|error| NetError::Failed(format!("not a URL: {error}")))?;
        request::post(&self.parts.configured, url, token, json, body_bytes_max).await
    }

    /// POST to a URL whose host the operator set; 30 s in all, of the answer at most 1 MiB is read.
    ///
    /// # Errors
    /// [`NetError`]; an HTTP error status is an [`Answer`].
    pub async fn post_admin(&self, url: &str, post: Post<'_>) -> Result<Answer, NetError> {
        let url = url::Url::parse(url)
            .map_err(|error| NetError::Failed(format!("not a URL: {error}")))?;
        request::post_admin(&self.parts.configured, url, post).await
    }

    /// Whether an address may be reached (SEC-1).
    ///
    /// # Errors
    /// [`NetError::Refused`], which names the rule and `--dev`.
    pub fn permits(&self, address: IpAddr, port: u16) -> Result<(), NetError> {
        self.parts.guard.port(port)?;
        self.parts.guard.address(address)
    }
}

#[cfg(test)]
mod tests;
