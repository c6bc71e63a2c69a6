//! A consumer of an event stream that checks what it is given.

mod received;
mod stream;

use crate::{
    oracle::{Checker, Report},
    pds::OBSERVER,
    tls::{Authority, Trust},
    wire,
};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderValue, Uri, header};
use std::time::Duration;
use stream::Stream;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::CloseFrame},
};

pub use received::{Op, Received};

/// How long a consumer waits for the next frame unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a stream must be silent before it counts as settled.
const QUIET: Duration = Duration::from_millis(300);

/// Pause between attempts to connect again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Where a consumer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the next event (CUR-1).
    Live,
    /// With the first event after this one; 0 is the oldest (CUR-2, CUR-3).
    After(u64),
}

impl Start {
    fn query(self) -> String {
        match self {
            Self::Live => String::new(),
            Self::After(cursor) => format!("cursor={cursor}"),
        }
    }
}

/// One thing that a stream brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event(Received),
    /// An `#info` frame.
    Info {
        /// Such as `OutdatedCursor`.
        name: String,
        /// Its message, if there was one.
        message: String,
    },
    /// An error frame.
    Error {
        /// Such as `FutureCursor`.
        error: String,
        /// Its message, if there was one.
        message: String,
    },
    /// A frame of another type.
    Other(Bytes),
    /// The end of the connection.
    Closed {
        /// Close code; `None` when the connection just ended.
        code: Option<u16>,
        /// Reason given.
        reason: String,
    },
}

/// An answer other than 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Body, as far as it came with the head.
    pub body: String,
    /// `Server` header.
    pub server: String,
}

/// A consumer. It reads only when it is asked to, so a consumer that is not asked is a slow one.
#[derive(Debug)]
pub struct Consumer {
    user_agent: &'static str,
    base: String,
    query: String,
    socket: Option<WebSocketStream<Stream>>,
    tls: Option<Trust>,
    patience: Duration,
    reconnects: bool,
    reconnections: u64,
    last_seq: i64,
    infos: Vec<(String, String)>,
    server: String,
}

impl Consumer {
    /// Connects to `ws://host:port` (or `http://host:port`).
    ///
    /// # Errors
    /// When the stream is refused or the server cannot be reached.
    pub async fn connect(base: &str, start: Start) -> Result<Self> {
        match Self::connect_query(base, &start.query()).await? {
            Ok(consumer) => Ok(consumer),
            Err(refused) => bail!("the stream was refused: {refused:?}"),
        }
    }

    /// Connects with any query, such as `cursor=abc`; gives the answer when it is not 101.
    pub async fn connect_query(base: &str, query: &str) -> Result<Result<Self, Refused>> {
        Self::connect_named(base, query, OBSERVER, None).await
    }

    /// Connects to `wss://localhost:port`, whose certificate is of this authority.
    ///
    /// # Errors
    /// When the certificate is another one, the stream is refused or the server cannot be reached.
    pub async fn connect_secure(base: &str, start: Start, tls: &Authority) -> Result<Self> {
        match Self::connect_named(base, &start.query(), OBSERVER, Some(tls.into())).await? {
            Ok(consumer) => Ok(consumer),
            Err(refused) => bail!("the stream was refused: {refused:?}"),
        }
    }

    /// Connects to a `wss` address whose certificate is of somebody who is trusted; gives the
    /// answer when it is not 101.
    pub async fn connect_trusting(
        base: &str,
        start: Start,
        trust: &Trust,
    ) -> Result<Result<Self, Refused>> {
        Self::connect_named(base, &start.query(), OBSERVER, Some(trust.clone())).await
    }

    /// Connects to a host as a relay would: the host counts it as a relay, and the oracle counts
    /// what it is given as delivered.
    ///
    /// # Errors
    /// When the stream is refused or the server cannot be reached.
    pub async fn connect_as_relay(base: &str, start: Start) -> Result<Self> {
        match Self::connect_named(base, &start.query(), "relay-simnet mirror", None).await? {
            Ok(consumer) => Ok(consumer),
            Err(refused) => bail!("the stream was refused: {refused:?}"),
        }
    }

    async fn connect_named(
        base: &str,
        query: &str,
        user_agent: &'static str,
        tls: Option<Trust>,
    ) -> Result<Result<Self, Refused>> {
        let mut consumer = Self {
            user_agent,
            base: base.trim_end_matches('/').replacen("http://", "ws://", 1),
            query: query.to_owned(),
            socket: None,
            tls,
            patience: PATIENCE,
            reconnects: false,
            reconnections: 0,
            last_seq: -1,
            infos: Vec::new(),
            server: String::new(),
        };
        Ok(match consumer.open().await? {
            None => Ok(consumer),
            Some(refused) => Err(refused),
        })
    }

    async fn open(&mut self) -> Result<Option<Refused>> {
        let mark = if self.query.is_empty() { "" } else { "?" };
        let address =
            format!("{}/xrpc/com.atproto.sync.subscribeRepos{mark}{}", self.base, self.query);
        let uri: Uri = address.parse().context("the address of the stream")?;
        let authority = uri.authority().context("the address has no host")?.to_string();
        let mut request = uri.into_client_request().context("build the request")?;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(self.user_agent));
        let opening = async {
            let stream = Stream::connect(&authority, self.tls.as_ref()).await?;
            anyhow::Ok(client_async(request, stream).await)
        };
        let opened =
            timeout(self.patience, opening).await.context("the handshake did not end")??;
        let text = |value: Option<&HeaderValue>| {
            value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        match opened {
            Ok((socket, response)) => {
                self.server = text(response.headers().get(header::SERVER));
                self.socket = Some(socket);
                Ok(None)
            }
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Ok(Some(Refused {
                    status: response.status().as_u16(),
                    body: String::from_utf8_lossy(body).into_owned(),
                    server: text(response.headers().get(header::SERVER)),
                }))
            }
            Err(error) => Err(error).context("open the stream"),
        }
    }

    /// Connects again with the last seq as cursor whenever the connection ends.
    #[must_use]
    pub fn reconnecting(mut self) -> Self {
        self.reconnects = true;
        self
    }

    /// Waits at most this long for a frame.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How often the connection was made anew.
    pub fn reconnections(&self) -> u64 {
        self.reconnections
    }

    /// Seq of the last event, −1 before the first.
    pub fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// Names and messages of all `#info` frames so far.
    pub fn infos(&self) -> &[(String, String)] {
        &self.infos
    }

    /// `Server` header of the 101 (WS-11).
    pub fn server_header(&self) -> &str {
        &self.server
    }

    /// Ends the connection without a close frame.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// Ends the connection with a close frame, and waits until the other side has closed too.
    ///
    /// # Errors
    /// When it does not within our patience.
    pub async fn leave(&mut self) -> Result<()> {
        let Some(mut socket) = self.socket.take() else { return Ok(()) };
        let leaving = async {
            socket.close(None).await?;
            while let Some(Ok(_)) = socket.next().await {}
            anyhow::Ok(())
        };
        timeout(self.patience, leaving).await.context("the other side does not close")?
    }

    /// The next thing that the stream brings.
    ///
    /// # Errors
    /// When nothing comes in time, on text messages, on frames that do not decode, and on a seq
    /// that does not increase.
    pub async fn next_item(&mut self) -> Result<Item> {
        let patience = self.patience;
        match timeout(patience, self.read()).await {
            Ok(item) => item,
            Err(_) => bail!("no frame within {patience:?} after seq {}", self.last_seq),
        }
    }

    /// Reads the next message and throws it away; `false` when the connection has ended.
    pub async fn skip(&mut self) -> bool {
        match &mut self.socket {
            Some(socket) => matches!(socket.next().await, Some(Ok(_))),
            None => false,
        }
    }

    async fn read(&mut self) -> Result<Item> {
        loop {
            let message = match &mut self.socket {
                Some(socket) => socket.next().await,
                None => None,
            };
            match message {
                Some(Ok(Message::Binary(frame))) => return self.decode(frame),
                Some(Ok(Message::Text(text))) => bail!("a text message came: {text:?}"),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(close))) => {
                    // Reading on sends our half of the close handshake.
                    if let Some(socket) = &mut self.socket {
                        drop(timeout(QUIET, socket.next()).await);
                    }
                    self.socket = None;
                    if !self.reconnects {
                        return Ok(closed(close));
                    }
                }
                Some(Err(_)) | None => {
                    self.socket = None;
                    if !self.reconnects {
                        return Ok(closed(None));
                    }
                    self.reconnect().await;
                }
            }
        }
    }

    async fn reconnect(&mut self) {
        tokio::time::sleep(RECONNECT_PAUSE).await;
        if self.last_seq >= 0 {
            self.query = format!("cursor={}", self.last_seq);
        }
        if matches!(self.open().await, Ok(None)) {
            self.reconnections += 1;
        }
    }

    fn decode(&mut self, frame: Bytes) -> Result<Item> {
        let item = received::decode(frame)?;
        match &item {
            Item::Event(event) => {
                let last = self.last_seq;
                ensure!(event.seq > last, "seq {} came after seq {last}", event.seq);
                self.last_seq = event.seq;
            }
            Item::Info { name, message } => self.infos.push((name.clone(), message.clone())),
            _ => {}
        }
        Ok(item)
    }

    /// The next event; `#info` frames are kept aside.
    ///
    /// # Errors
    /// As [`Self::next_item`], and on error frames and the end of the connection.
    pub async fn next(&mut self) -> Result<Received> {
        loop {
            match self.next_item().await? {
                Item::Event(event) => return Ok(event),
                Item::Info { .. } => {}
                other => bail!("expected an event after seq {}, got {other:?}", self.last_seq),
            }
        }
    }

    /// The next event of this account.
    pub async fn next_for(&mut self, did: impl AsRef<str>) -> Result<Received> {
        let did = did.as_ref();
        loop {
            let event = self.next().await.with_context(|| format!("waiting for {did}"))?;
            if event.did == did {
                return Ok(event);
            }
        }
    }

    /// The next so many events.
    pub async fn take(&mut self, count: usize) -> Result<Vec<Received>> {
        let mut events = Vec::with_capacity(count.min(4096));
        while events.len() < count {
            let missing = count - events.len();
            events.push(self.next().await.with_context(|| format!("{missing} events missing"))?);
        }
        Ok(events)
    }

    /// All events up to and with the first one that fits.
    pub async fn until(&mut self, fits: impl Fn(&Received) -> bool) -> Result<Vec<Received>> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await?;
            let found = fits(&event);
            events.push(event);
            if found {
                return Ok(events);
            }
        }
    }

    /// Fails when an event comes within this time.
    pub async fn silent_for(&mut self, span: Duration) -> Result<()> {
        match timeout(span, self.next()).await {
            Err(_) => Ok(()),
            Ok(event) => bail!("expected silence, got {event:?}"),
        }
    }

    /// Compares everything that comes until `stop` is done. A connection that ends is an error
    /// unless the consumer reconnects; silence is none.
    pub async fn compare_until(
        &mut self,
        checker: &mut Checker,
        stop: impl Future<Output = ()>,
    ) -> Result<()> {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                item = self.read() => observe(checker, &item?)?,
            }
        }
    }

    /// Reads until the oracle waits for nothing more and the stream is quiet, or until nothing has
    /// come for as long as the consumer is patient; returns the comparison.
    pub async fn settle(&mut self, checker: &mut Checker) -> Result<Report> {
        loop {
            while let Some(item) = self.next_item().now_or_never() {
                observe(checker, &item?)?;
            }
            let waits = if checker.outstanding() == 0 { QUIET } else { self.patience };
            match timeout(waits, self.read()).await {
                Ok(item) => observe(checker, &item?)?,
                Err(_) => return Ok(checker.report()),
            }
        }
    }
}

fn observe(checker: &mut Checker, item: &Item) -> Result<()> {
    match item {
        Item::Event(event) => checker.observe(event),
        Item::Info { .. } | Item::Other(_) => {}
        other => bail!("the stream ended while events were compared: {other:?}"),
    }
    Ok(())
}

fn closed(close: Option<CloseFrame>) -> Item {
    match close {
        Some(close) => {
            Item::Closed { code: Some(close.code.into()), reason: close.reason.to_string() }
        }
        None => Item::Closed { code: None, reason: String::new() },
    }
}

/// Reads the fields `a` and `b` of an info or error payload.
fn texts(payload: &[u8], names: [&str; 2]) -> Result<[String; 2]> {
    let fields = wire::fields(payload).context("the payload is not a map")?;
    Ok(names.map(|name| {
        let field = fields.iter().find(|field| field.name == name);
        field.and_then(|field| wire::text(field.value)).unwrap_or_default().to_owned()
    }))
}
