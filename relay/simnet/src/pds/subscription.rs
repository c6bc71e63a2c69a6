//! `com.atproto.sync.subscribeRepos`: the upgrade, and one subscriber's connection.

use super::{
    Shared, Upgrade,
    stream::{Next, Start},
};
use crate::{
    plc::json_response,
    server::lock,
    wire::{error_frame, info_frame},
};
use axum::{body::Body, extract::State, response::Response};
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{borrow::Cow, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

/// Messages handed over at once; all of them count as delivered although the socket may still
/// hold them back.
const BATCH: usize = 64;

pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Answers a request for the stream as the script says.
pub(super) async fn subscribe(
    State(shared): State<Arc<Shared>>,
    mut request: Request<Body>,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let text = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).unwrap_or_default();
    shared.log(&request, Some(text));
    let counts = !super::is_observer(request.headers());
    let mut lost = false;
    let begin = Instant::now();
    match shared.next_upgrade(counts) {
        Upgrade::Accept => {}
        Upgrade::Late(pause) => tokio::time::sleep(pause).await,
        Upgrade::FutureCursor => lost = true,
        // Those below were taken before HTTP, unless a proxy keeps the connection.
        Upgrade::Silence | Upgrade::Dribble | Upgrade::EndlessHead => std::future::pending().await,
        Upgrade::Status { status, retry_after, html } => {
            return scripted(status, retry_after, html);
        }
        Upgrade::Redirect(location) => {
            let mut response = scripted(302, None, false);
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            return response;
        }
    }
    let (response, upgrade) = switch(&mut request);
    let Some(upgrade) = upgrade else { return response };
    let cursor = match text {
        "" => Ok(None),
        number => number.parse::<u64>().map(Some),
    };
    // Before the answer: what is sent after it reaches a subscriber without a cursor.
    let is_live = cursor == Ok(None);
    let start = cursor
        .ok()
        .map(|cursor| if lost { Start::Future } else { lock(&shared.stream).start(cursor) });
    if counts && !lost {
        lock(&shared.stream).owe_to_a_relay();
        lock(&shared.requests).handshakes.push((begin, Instant::now()));
    }
    // A relay that looks at the live edge without having what came before does not take it.
    let takes = counts && (!is_live || lock(&shared.stream).undelivered() == 0);
    let task_shared = Arc::clone(&shared);
    shared.connections.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let session = Session { shared: task_shared, socket, counts, takes };
        if let Err(error) = session.run(start).await {
            tracing::debug!(%error, "simulated host: subscriber left");
        }
    });
    response
}

/// The answer to a request for a stream, and the connection if it is one.
pub(crate) fn switch(request: &mut Request<Body>) -> (Response, Option<OnUpgrade>) {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (Some(key), Some(upgrade)) = (key, upgrade) else {
        let body = json!({"error": "UpgradeRequired", "message": "this is a WebSocket endpoint"});
        return (json_response(426, &body), None);
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    (response, Some(upgrade))
}

fn scripted(status: u16, retry_after: Option<u64>, html: bool) -> Response {
    let (kind, body) = if html {
        ("text/html", "<!doctype html><title>Bad gateway</title>".repeat(64))
    } else {
        ("application/json", json!({"error": "Scripted", "message": "scripted"}).to_string())
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

struct Session {
    shared: Arc<Shared>,
    socket: Socket,
    /// Whether this is a relay, whose deliveries the oracle counts.
    counts: bool,
    /// Whether it is given the events, in order.
    takes: bool,
}

impl Session {
    /// `start` is `None` when the cursor was no number.
    async fn run(mut self, start: Option<Start>) -> Result<(), Error> {
        let position = match start {
            None => return self.fail("InvalidRequest", "cursor must be an integer").await,
            Some(Start::Future) => return self.fail("FutureCursor", "Cursor in the future.").await,
            Some(Start::At { position, outdated }) => {
                if outdated {
                    let frame = info_frame(
                        "OutdatedCursor",
                        "Requested cursor exceeded limit. Possibly missing events",
                    );
                    self.socket.send(Message::binary(frame)).await?;
                }
                position
            }
        };
        let _open = Open::new(&self.shared, self.counts);
        self.follow(position).await
    }

    async fn follow(&mut self, mut position: u64) -> Result<(), Error> {
        let mut news = self.shared.changed.subscribe();
        let mut commands = self.shared.commands.subscribe();
        // Only lag behind the live edge counts; catching up from far behind is no fault.
        let mut live = false;
        loop {
            news.mark_unchanged();
            if live
                && self.counts
                && let Some(trick) = self.shared.next_trick()
            {
                return Arc::clone(&self.shared).play_on(&mut self.socket, trick).await;
            }
            let next = lock(&self.shared.stream).next(position, BATCH, self.takes);
            match next {
                Next::Messages(messages, after) => {
                    for message in messages {
                        self.socket.feed(message).await?;
                    }
                    self.socket.flush().await?;
                    position = after;
                    if live && self.shared.too_slow(position) {
                        return self.too_slow().await;
                    }
                    // Pings are answered while reading, also in a long burst.
                    if self.socket.next().now_or_never().is_some_and(|read| !is_open(read.as_ref()))
                    {
                        return Ok(());
                    }
                }
                Next::Overtaken => return self.too_slow().await,
                Next::Wait => {
                    live = true;
                    let stays = tokio::select! {
                        read = self.socket.next() => is_open(read.as_ref()),
                        told = news.changed() => told.is_ok(),
                        command = commands.recv() => match command {
                            Ok(()) => return self.too_slow().await,
                            Err(_) => true,
                        },
                    };
                    if !stays {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn too_slow(&mut self) -> Result<(), Error> {
        self.fail("ConsumerTooSlow", "Stream consumer too slow").await
    }

    /// Sends an error frame and closes as the reference PDS does (WS-5).
    async fn fail(&mut self, error: &str, message: &str) -> Result<(), Error> {
        self.socket.send(Message::binary(error_frame(error, message))).await?;
        let reason = Cow::<str>::Owned(error.to_owned());
        let close = CloseFrame { code: CloseCode::Policy, reason: reason.as_ref().into() };
        self.socket.close(Some(close)).await?;
        // The other side closes after it has read what is on the way.
        let reading = async { while let Some(Ok(_)) = self.socket.next().await {} };
        if tokio::time::timeout(Duration::from_secs(5), reading).await.is_err() {
            tracing::debug!("simulated host: the subscriber did not close");
        }
        Ok(())
    }
}

fn is_open(read: Option<&Result<Message, Error>>) -> bool {
    matches!(read, Some(Ok(_)))
}

/// Counts an open subscription for as long as it lives.
struct Open {
    shared: Arc<Shared>,
    counts: bool,
}

impl Open {
    fn new(shared: &Arc<Shared>, counts: bool) -> Self {
        if counts {
            shared.subscribers.send_modify(|count| *count += 1);
        }
        Self { shared: Arc::clone(shared), counts }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.counts {
            self.shared.subscribers.send_modify(|count| *count -= 1);
        }
    }
}
