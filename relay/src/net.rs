//! Outgoing connections: name resolution, the SSRF guard at connect time (SEC-1, SEC-2), one HTTP client.

use std::{net::IpAddr, time::Duration};

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
#[derive(Debug, Clone)]
pub struct Net {}

impl Net {
    /// Builds resolver and HTTP client.
    ///
    /// # Errors
    /// When TLS roots or a name server setting cannot be used.
    pub fn new(_options: NetOptions) -> Result<Self, NetError> {
        todo!()
    }

    /// GET with the limits of RES-1: 3 s connect, 5 s in all, no redirects, body at most
    /// `body_bytes_max`.
    ///
    /// # Errors
    /// [`NetError`]; an HTTP error status is an [`Answer`].
    pub async fn get(&self, _url: &str, _body_bytes_max: usize) -> Result<Answer, NetError> {
        todo!()
    }

    /// Whether an address may be reached (SEC-1).
    pub fn permits(&self, _address: IpAddr, _port: u16) -> Result<(), NetError> {
        todo!()
    }
}
