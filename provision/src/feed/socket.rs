//! Opening the WebSocket of a firehose, with or without TLS.

use std::{
    fmt::Debug,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::{HeaderValue, StatusCode, header};
use relay_protocol::FRAME_BYTES_MAX;
use rustls::{ClientConfig, crypto::CryptoProvider, pki_types::ServerName};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, client::IntoClientRequest as _, protocol::WebSocketConfig},
};
use url::Url;

/// How the servers know who asks.
pub(crate) const USER_AGENT: &str =
    concat!("provision/", env!("CARGO_PKG_VERSION"), " (atproto-relay)");
/// How long names, connection, TLS and upgrade may take together.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// Characters of a refusal's body that are shown.
const BODY_CHARS_MAX: usize = 300;

/// A connection, whatever carries it.
pub(super) trait Line: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Line for T {}

/// An open stream.
pub(super) type Socket = WebSocketStream<Box<dyn Line>>;

/// What came of opening one.
pub(super) struct Opened {
    pub(super) socket: Socket,
    /// `Server` header.
    pub(super) server: String,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Refusal {
    /// In words.
    pub(super) why: String,
    /// The same request will have the same answer.
    pub(super) is_final: bool,
}

/// Opens the stream at this URL.
pub(super) async fn open(url: &str) -> Result<Opened, Refusal> {
    let opening = async {
        let line = connect(url).await.map_err(|error| passing(format!("{error:#}")))?;
        upgrade(url, line).await
    };
    match timeout(OPEN_MAX, opening).await {
        Ok(opened) => opened,
        Err(_late) => Err(passing(format!("it did not answer within {} s", OPEN_MAX.as_secs()))),
    }
}

const fn passing(why: String) -> Refusal {
    Refusal { why, is_final: false }
}

async fn connect(url: &str) -> Result<Box<dyn Line>> {
    let url = Url::parse(url).context("read the address")?;
    let host = url.host_str().context("the address has no host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().context("the address has no port")?;
    let stream = TcpStream::connect((host, port))
        .await
        .with_context(|| format!("connect to {host}, port {port}"))?;
    stream.set_nodelay(true).context("set up the connection")?;
    if url.scheme() == "ws" {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).context("a name for TLS")?;
    let secure = TlsConnector::from(tls()?).connect(name, stream).await.context("set up TLS")?;
    Ok(Box::new(secure))
}

async fn upgrade(url: &str, line: Box<dyn Line>) -> Result<Opened, Refusal> {
    let wrong = |error: Error| Refusal { why: error.to_string(), is_final: true };
    let mut request = url.into_client_request().map_err(wrong)?;
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    match client_async_with_config(request, line, Some(config)).await {
        Ok((socket, answer)) => {
            let server = answer.headers().get(header::SERVER);
            let server = server.and_then(|value| value.to_str().ok()).unwrap_or_default();
            Ok(Opened { socket, server: server.to_owned() })
        }
        Err(Error::Http(answer)) => {
            let status = answer.status();
            let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default());
            let body = crate::told::harmless(body.trim(), BODY_CHARS_MAX);
            let is_final = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
            Err(Refusal { why: format!("it answered {status}: {body}"), is_final })
        }
        Err(error) => Err(passing(error.to_string())),
    }
}

/// TLS with the roots of this machine, set up once.
pub(crate) fn tls() -> Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()), Arc::clone);
    let verifier = Verifier::new(Arc::clone(&provider))
        .context("read the root certificates; install the package ca-certificates")?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}
