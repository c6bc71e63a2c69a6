//! A firehose as a client reads it: connects, reads frames, and comes back with its cursor when the
//! connection is lost.
//!
//! Limits: 5,000,000 bytes per message, 15 s to connect, a minute of silence while pings go
//! unanswered. Nothing is queued here: who does not read is a slow consumer.

mod address;
mod socket;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use relay_protocol::{Envelope, FrameKind, Message};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message as Packet;

pub use address::Address;
pub(crate) use socket::tls;
use socket::{Opened, Socket};

/// The first pause before a lost connection is made anew; it doubles with each try.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Silence after which the other side is pinged; when it says nothing for as long again, it is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a farewell may take.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// How long an answer beside the stream may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// What a feed brings.
#[derive(Debug)]
pub enum Arrival {
    /// The stream is open, for the first time or again.
    Connected {
        /// `Server` header of the answer; empty when there was none.
        server: String,
    },
    /// A frame, as it came.
    Frame(Bytes),
    /// The connection is gone; the next call waits and tries again.
    Lost {
        /// In words.
        why: String,
        /// How long the next call waits.
        pause: Duration,
    },
}

/// A firehose that is read.
#[derive(Debug)]
pub struct Feed {
    address: Address,
    cursor: Option<u64>,
    socket: Option<Socket>,
    pause: Option<Duration>,
    /// Tries since the last frame.
    tries: u32,
    was_open: bool,
    pinged: bool,
    /// The last error frame, which says why the stream is about to end.
    farewell: Option<(String, String)>,
}

impl Feed {
    /// Will read from there.
    ///
    /// * `cursor` – after which seq; `None` is the live edge, 0 the oldest that is kept
    #[must_use]
    pub fn new(address: Address, cursor: Option<u64>) -> Self {
        Self {
            address,
            cursor,
            socket: None,
            pause: None,
            tries: 0,
            was_open: false,
            pinged: false,
            farewell: None,
        }
    }

    /// The seq of the last event, or where it was told to start.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// The next thing that happens.
    ///
    /// Cancel safety: a call that is dropped loses no frame; a pause begins anew.
    ///
    /// # Errors
    /// When trying again is in vain: the very first connection fails, or the other side refuses the
    /// request as such, or the cursor.
    pub async fn next(&mut self) -> Result<Arrival> {
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = None;
        }
        if self.socket.is_none() {
            return self.open().await;
        }
        self.read().await
    }

    /// Ends the connection as the protocol wants it.
    pub async fn close(mut self) {
        if let Some(mut socket) = self.socket.take() {
            // Whoever does not answer a farewell is left as he is.
            drop(timeout(FAREWELL_MAX, socket.close(None)).await);
        }
    }

    async fn open(&mut self) -> Result<Arrival> {
        match socket::open(&self.address.stream(self.cursor)).await {
            Ok(Opened { socket, server }) => {
                (self.socket, self.was_open, self.pinged) = (Some(socket), true, false);
                self.farewell = None;
                Ok(Arrival::Connected { server })
            }
            Err(refusal) if refusal.is_final || !self.was_open => {
                bail!("{} gives no stream: {}", self.address.name(), refusal.why)
            }
            Err(refusal) => Ok(self.lost(refusal.why)),
        }
    }

    async fn read(&mut self) -> Result<Arrival> {
        while let Some(socket) = &mut self.socket {
            let Ok(packet) = timeout(SILENCE, socket.next()).await else {
                if self.pinged || socket.send(Packet::Ping(Bytes::new())).await.is_err() {
                    return Ok(self.lost("nothing was heard for a minute".to_owned()));
                }
                self.pinged = true;
                continue;
            };
            self.pinged = false;
            match packet {
                Some(Ok(Packet::Binary(frame))) => {
                    self.note(&frame);
                    return Ok(Arrival::Frame(frame));
                }
                Some(Ok(Packet::Text(_))) => {
                    return Ok(self.lost("a text message came, which no firehose sends".to_owned()));
                }
                Some(Ok(Packet::Close(close))) => {
                    return self.closed(close.map(|close| {
                        format!("closed with {}: {}", u16::from(close.code), close.reason)
                    }));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return self.closed(Some(error.to_string())),
                None => return self.closed(None),
            }
        }
        self.closed(None)
    }

    /// Keeps what the next connection has to know. A frame that does not decode moves nothing: what
    /// it is worth is for the caller to say.
    fn note(&mut self, frame: &Bytes) {
        let Ok(envelope) = Envelope::peek(frame) else { return };
        if envelope.kind == FrameKind::Error {
            if let Ok(Message::Error(name, message)) = Message::decode(frame) {
                let text = message.unwrap_or_default();
                self.farewell = Some((name.to_owned(), text.to_owned()));
            }
            return;
        }
        if let Some(seq) = envelope.host_seq {
            self.cursor = Some(seq);
            self.tries = 0;
        }
    }

    fn closed(&mut self, why: Option<String>) -> Result<Arrival> {
        let why = why.unwrap_or_else(|| "the connection ended".to_owned());
        match self.farewell.take() {
            Some((name, message)) if name == "FutureCursor" => {
                let name = self.address.name();
                bail!("{name} does not know the cursor, it is ahead of its stream: {message}")
            }
            Some((name, message)) => Ok(self.lost(format!("{name}: {message}"))),
            None => Ok(self.lost(why)),
        }
    }

    fn lost(&mut self, why: String) -> Arrival {
        self.socket = None;
        let doubled = PAUSE_MIN.saturating_mul(1 << self.tries.min(5)).min(PAUSE_MAX);
        // Many readers of one relay do not come back in the same moment.
        let pause = doubled.mul_f64(rand::random_range(0.5..1.0));
        self.tries = self.tries.saturating_add(1);
        self.pause = Some(pause);
        Arrival::Lost { why, pause }
    }
}

/// A client for the questions beside a stream: a name, and a time after which it gives up.
///
/// # Errors
/// When TLS cannot be set up on this machine.
pub fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .user_agent(socket::USER_AGENT)
        .timeout(ANSWER_MAX)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .build()?)
}

/// The body of an answer, at most so long.
///
/// # Errors
/// When there is no answer of success, or it is longer.
pub async fn bytes(client: &reqwest::Client, url: &str, bytes_max: usize) -> Result<Vec<u8>> {
    let asked = client.get(url).send().await.with_context(|| format!("ask {url}"))?;
    let status = asked.status();
    ensure!(status.is_success(), "{url} answered {status}");
    body(asked, url, bytes_max).await
}

/// The URL with these parameters.
pub(crate) fn with_query(url: &str, query: &[(&str, &str)]) -> Result<String> {
    let whole = url::Url::parse_with_params(url, query);
    Ok(whole.with_context(|| format!("`{url}` is no URL"))?.into())
}

/// The body of this answer, whatever its status, at most so long.
pub(crate) async fn body(
    mut answer: reqwest::Response,
    url: &str,
    bytes_max: usize,
) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.with_context(|| format!("read {url}"))? {
        ensure!(body.len() + chunk.len() <= bytes_max, "{url} gives more than {bytes_max} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
