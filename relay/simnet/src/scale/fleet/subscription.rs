//! `com.atproto.sync.subscribeRepos`: one subscriber's connection, with small buffers.

use super::host::{Host, Start};
use crate::{
    pds::{is_observer, switch},
    server::lock,
    wire::{error_frame, info_frame},
};
use axum::{body::Body, extract::State, response::Response};
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::Request;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, atomic::Ordering};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

/// Frames handed over at once; all of them count as delivered although the socket may still hold
/// them back.
const BATCH: usize = 32;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// A host reads pings and closes only.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(512)
        .write_buffer_size(16 << 10)
        .max_message_size(Some(64 << 10))
        .max_frame_size(Some(64 << 10))
}

pub(super) async fn subscribe(
    State(host): State<Arc<Host>>,
    mut request: Request<Body>,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="));
    let cursor = match cursor.unwrap_or_default() {
        "" => Ok(None),
        number => number.parse::<u64>().map(Some),
    };
    let counts = !is_observer(request.headers());
    if counts && !host.world.answer_after.is_zero() {
        let _under_way = host.world.handshakes.begin();
        tokio::time::sleep(host.world.answer_after).await;
    }
    // Before the answer: what is sent after it reaches a subscriber without a cursor.
    let start = cursor.ok().map(|cursor| lock(&host.stream).start(cursor));
    let (response, upgrade) = switch(&mut request);
    let Some(upgrade) = upgrade else { return response };
    if counts {
        host.owe_to_a_relay();
    }
    let task_host = Arc::clone(&host);
    host.connections.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits())).await;
        let session = Session { host: task_host, socket, counts };
        if let Err(error) = session.run(start).await {
            tracing::debug!(%error, "simulated host: subscriber left");
        }
    });
    response
}

struct Session {
    host: Arc<Host>,
    socket: Socket,
    /// Whether this is a relay, whose deliveries count.
    counts: bool,
}

impl Session {
    async fn run(mut self, start: Option<Start>) -> Result<(), Error> {
        let number = match start {
            None => return self.fail("InvalidRequest", "cursor must be an integer").await,
            Some(Start::Future) => return self.fail("FutureCursor", "Cursor in the future.").await,
            Some(Start::After { number, outdated }) => {
                if outdated {
                    let frame = info_frame(
                        "OutdatedCursor",
                        "Requested cursor exceeded limit. Possibly missing events",
                    );
                    self.socket.send(Message::binary(frame)).await?;
                }
                number
            }
        };
        let _open = Open::new(&self.host, self.counts);
        self.follow(number).await
    }

    async fn follow(&mut self, mut number: u64) -> Result<(), Error> {
        let mut news = self.host.news.subscribe();
        loop {
            news.mark_unchanged();
            let frames = lock(&self.host.stream).after(number, BATCH);
            let Some(frames) = frames else {
                return self.fail("ConsumerTooSlow", "Stream consumer too slow").await;
            };
            if frames.is_empty() {
                let stays = tokio::select! {
                    read = self.socket.next() => matches!(read, Some(Ok(_))),
                    told = news.changed() => told.is_ok(),
                };
                if !stays {
                    return Ok(());
                }
                continue;
            }
            let before = number;
            number += frames.len() as u64;
            if self.counts {
                self.host.deliver(before, number);
            }
            for frame in frames {
                self.socket.feed(Message::Binary(frame)).await?;
            }
            self.socket.flush().await?;
            // Pings are answered while reading, also in a long burst.
            if self.socket.next().now_or_never().is_some_and(|read| !matches!(read, Some(Ok(_)))) {
                return Ok(());
            }
        }
    }

    /// Sends an error frame and closes (WS-5).
    async fn fail(&mut self, error: &str, message: &str) -> Result<(), Error> {
        self.socket.send(Message::binary(error_frame(error, message))).await?;
        self.socket.close(None).await
    }
}

/// Counts an open subscription for as long as it lives.
struct Open {
    host: Arc<Host>,
    counts: bool,
}

impl Open {
    fn new(host: &Arc<Host>, counts: bool) -> Self {
        if counts {
            host.world.subscribed.fetch_add(1, Ordering::Relaxed);
        }
        Self { host: Arc::clone(host), counts }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.counts {
            self.host.world.subscribed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
