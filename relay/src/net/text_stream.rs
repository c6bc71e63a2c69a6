//! Streams of text messages from a server that the operator chose: the operations of the PLC directory
//! (RES-7).

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        Message, Utf8Bytes, client::IntoClientRequest, http::header::USER_AGENT,
        protocol::WebSocketConfig,
    },
};

use super::{
    Net,
    socket::{DialError, HANDSHAKE_MAX, Socket, connect, not_upgraded},
    stream::{Carrier, Stream},
    words,
};

/// Largest message; an operation of the directory has at most 7,500 bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Silence after which a ping is sent.
const PING_AFTER: Duration = Duration::from_secs(30);

/// Silence after which the other side counts as gone.
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// Kept part of what a peer says.
const WORDS_CHARS_MAX: usize = 200;

/// An open stream.
#[derive(Debug)]
pub struct TextStream {
    socket: Socket,
    heard: Instant,
}

impl Net {
    /// Opens a stream of text at an address of the settings, `ws:` or `wss:`.
    ///
    /// # Errors
    /// [`DialError`], after 10 s at most.
    pub async fn dial_configured(&self, url: &str) -> Result<TextStream, DialError> {
        timeout(HANDSHAKE_MAX, Box::pin(self.open_text(url))).await.unwrap_or_else(|_elapsed| {
            Err(DialError::Failed("the handshake did not end in 10 s".to_owned()))
        })
    }

    async fn open_text(&self, url: &str) -> Result<TextStream, DialError> {
        let failed = |what: String| DialError::Failed(what);
        let place = url::Url::parse(url).map_err(|error| failed(format!("not a URL: {error}")))?;
        let name = place.host_str().ok_or_else(|| failed("the URL names no host".to_owned()))?;
        let secure = place.scheme() == "wss";
        let port = place.port().unwrap_or(if secure { 443 } else { 80 });
        let addresses = self.parts.resolver.lookup(name, port).await?;
        let tcp = connect(&addresses).await?;
        let stream = if secure {
            let server = ServerName::try_from(name.to_owned())
                .map_err(|error| failed(format!("not a TLS name: {error}")))?;
            let tls = self.parts.tls.connect(server, tcp).await;
            let tls = tls.map_err(|error| failed(format!("TLS failed: {error}")))?;
            Stream::over(Carrier::Tls(Box::new(tls)))
        } else {
            Stream::over(Carrier::Plain(tcp))
        };
        let mut request = url
            .into_client_request()
            .map_err(|error| failed(format!("no request can be built: {error}")))?;
        request.headers_mut().insert(USER_AGENT, self.parts.user_agent.clone());
        let limits = WebSocketConfig::default()
            .max_message_size(Some(TEXT_BYTES_MAX))
            .max_frame_size(Some(TEXT_BYTES_MAX));
        let (socket, _response) =
            client_async_with_config(request, stream, Some(limits)).await.map_err(not_upgraded)?;
        Ok(TextStream { socket, heard: Instant::now() })
    }
}

impl TextStream {
    /// The next message. An error is the end of the stream, in words: the reason of the other side, if it
    /// gave one.
    ///
    /// # Errors
    /// The stream ended.
    ///
    /// Cancel safety: no message is lost.
    pub async fn next(&mut self) -> Result<Utf8Bytes, String> {
        loop {
            let Ok(message) = timeout(PING_AFTER, self.socket.next()).await else {
                if self.heard.elapsed() >= DEAD_AFTER {
                    return Err("nothing was heard for too long".to_owned());
                }
                let ping = self.socket.send(Message::Ping(bytes::Bytes::new()));
                ping.await.map_err(|error| broken(&error.to_string()))?;
                continue;
            };
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Err(words::printable(close.reason.as_str(), WORDS_CHARS_MAX));
                }
                Some(Ok(Message::Close(None))) | None => {
                    return Err("the other side closed the connection".to_owned());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broken(&error.to_string())),
            }
        }
    }
}

fn broken(why: &str) -> String {
    format!("the connection broke: {}", words::printable(why, WORDS_CHARS_MAX))
}
