//! Event streams of hosts: own TCP connect to a checked address, then TLS, then the upgrade (SEC-1, UP-1).

use std::{net::SocketAddr, time::Duration};

use relay_protocol::Hostname;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error as WsError,
        client::IntoClientRequest,
        http::{
            HeaderMap, Request, Response,
            header::{HeaderName, LOCATION, RETRY_AFTER, SERVER, USER_AGENT},
        },
        protocol::WebSocketConfig,
    },
};

use super::{
    Net, NetError,
    stream::{Carrier, Stream},
    words,
};
use crate::domain::HostSeq;

/// Longest wait for name, TCP, TLS and upgrade together (UP-1).
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Longest wait for one address of a host.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Largest message of a host (UP-1, ENC-8).
const MESSAGE_BYTES_MAX: usize = 5_000_000;

/// First read buffer of a socket; thousands are open (measured: no slower than the default 128 KiB
/// with one frame per wake-up).
pub const READ_BUFFER_BYTES: usize = 8 << 10;

/// Write buffers hold pings and pongs only.
const WRITE_BUFFER_BYTES: usize = 1 << 10;

/// Unsent pings and pongs after which the peer counts as dead.
const WRITE_BUFFER_BYTES_MAX: usize = 16 << 10;

/// Characters of an error page that are kept.
const BODY_CHARS_MAX: usize = 200;

/// Kept part of a header.
const HEADER_CHARS_MAX: usize = 200;

/// A subscription socket.
pub type Socket = WebSocketStream<Stream>;

/// An open subscription.
#[derive(Debug)]
pub struct Dialled {
    /// The socket; the first frames may already be in its buffer.
    pub socket: Socket,
    /// `Server` header of the 101, for the loop check (UP-11).
    pub server_header: Option<String>,
}

/// Why no subscription came about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The address is not one that we may reach; says what would lift it (`--dev`).
    #[error("{0}")]
    Refused(String),
    /// The host answered with something else than an upgrade.
    #[error("{words}")]
    Http {
        /// Status code.
        status: u16,
        /// `Retry-After`, at most an hour.
        retry_after: Option<Duration>,
        /// One sentence with what the body says.
        words: String,
    },
    /// Name resolution, connect, TLS, timeout, broken handshake.
    #[error("{0}")]
    Failed(String),
}

impl From<NetError> for DialError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Refused(why) => Self::Refused(why),
            NetError::Failed(why) => Self::Failed(why),
        }
    }
}

impl Net {
    /// Opens the event stream of a host after `cursor`; without one at the live edge (UP-1).
    ///
    /// # Errors
    /// [`DialError`], after 10 s at most. Redirects are not followed (UP-12).
    ///
    /// Cancel safety: dropping it closes the connection.
    pub async fn dial(
        &self,
        host: &Hostname,
        cursor: Option<HostSeq>,
    ) -> Result<Dialled, DialError> {
        timeout(HANDSHAKE_MAX, Box::pin(self.handshake(host, cursor))).await.unwrap_or_else(
            |_elapsed| Err(DialError::Failed("the handshake did not end in 10 s".to_owned())),
        )
    }

    async fn handshake(
        &self,
        host: &Hostname,
        cursor: Option<HostSeq>,
    ) -> Result<Dialled, DialError> {
        let parts = &self.parts;
        let secure = host.is_secure();
        let (name, port) = name_and_port(host)?;
        parts.guard.scheme(secure)?;
        parts.guard.port(port)?;
        let addresses = parts.resolver.lookup_allowed(name, port, parts.guard).await?;
        let tcp = connect(&addresses).await?;
        let stream = if secure {
            let server = ServerName::try_from(name.to_owned())
                .map_err(|error| DialError::Failed(format!("not a TLS name: {error}")))?;
            let tls = parts.tls.connect(server, tcp).await;
            let tls = tls.map_err(|error| DialError::Failed(format!("TLS failed: {error}")))?;
            Stream::over(Carrier::Tls(Box::new(tls)))
        } else {
            Stream::over(Carrier::Plain(tcp))
        };
        let request = self.request(host, cursor)?;
        let (socket, response) = client_async_with_config(request, stream, Some(socket_limits()))
            .await
            .map_err(not_upgraded)?;
        Ok(Dialled { socket, server_header: header(response.headers(), &SERVER) })
    }

    fn request(&self, host: &Hostname, cursor: Option<HostSeq>) -> Result<Request<()>, DialError> {
        let scheme = if host.is_secure() { "wss" } else { "ws" };
        let query = cursor.map_or_else(String::new, |cursor| format!("?cursor={cursor}"));
        let url = format!("{scheme}://{host}/xrpc/com.atproto.sync.subscribeRepos{query}");
        let mut request = url
            .into_client_request()
            .map_err(|error| DialError::Failed(format!("no request can be built: {error}")))?;
        request.headers_mut().insert(USER_AGENT, self.parts.user_agent.clone());
        Ok(request)
    }
}

/// What a socket to a host may hold.
pub fn socket_limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

fn name_and_port(host: &Hostname) -> Result<(&str, u16), DialError> {
    match host.as_str().rsplit_once(':') {
        None => Ok((host.as_str(), if host.is_secure() { 443 } else { 80 })),
        Some((name, port)) => match port.parse() {
            Ok(port) => Ok((name, port)),
            Err(_) => Err(DialError::Failed(format!("`{port}` is not a port"))),
        },
    }
}

/// Connects to the first of these addresses that answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        last = match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => format!("cannot connect to {address}: {error}"),
            Err(_elapsed) => format!("cannot connect to {address}: no answer in 3 s"),
        };
    }
    Err(DialError::Failed(last))
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(words::printable(&String::from_utf8_lossy(value.as_bytes()), HEADER_CHARS_MAX))
}

pub(super) fn not_upgraded(error: WsError) -> DialError {
    match error {
        WsError::Http(response) => answered(&response),
        WsError::Io(error) => DialError::Failed(format!("the handshake failed: {error}")),
        other => {
            let why = words::printable(&other.to_string(), BODY_CHARS_MAX);
            DialError::Failed(format!("the answer is not a WebSocket upgrade: {why}"))
        }
    }
}

fn answered(response: &Response<Option<Vec<u8>>>) -> DialError {
    let status = response.status();
    let headers = response.headers();
    let body = words::body_in_words(response.body().as_deref().unwrap_or_default(), BODY_CHARS_MAX);
    let target = header(headers, &LOCATION).filter(|_| status.is_redirection());
    let more = match target {
        Some(target) => format!("; redirects are not followed (to {target})"),
        None if body.is_empty() => String::new(),
        None => format!(": {body}"),
    };
    DialError::Http {
        status: status.as_u16(),
        retry_after: words::retry_after(header(headers, &RETRY_AFTER).as_deref()),
        words: format!("the host answered {status} instead of opening a stream{more}"),
    }
}
