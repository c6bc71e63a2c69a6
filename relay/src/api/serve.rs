//! Listening: bounded connections, a time for headers, an orderly end (SEC-7).

mod wire;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderValue, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use self::wire::Wire;
use super::error::Error;
use crate::{
    clients::TrustedProxies,
    descriptors,
    firehose::{Full, Seat, Seats},
    tasks::Tasks,
    telemetry::metrics,
};

/// Most connections of one listener; consumers of the firehose are counted apart.
const CONNECTIONS_MAX: usize = 4_096;
/// Most of them from one client.
const PER_CLIENT_MAX: usize = 256;
/// A request must have sent its headers by then; also how long a connection may stay unused.
const HEADERS_MAX: Duration = Duration::from_secs(15);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a request that is being answered may take once the relay stops.
const FINISH_MAX: Duration = Duration::from_secs(3);
/// Wait after a failed accept: out of file descriptors, which only time can mend.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Connections that are told at the same time that there is no room.
const REFUSALS_MAX: usize = 16;
/// How long one of them may take to ask.
const REFUSAL_MAX: Duration = Duration::from_secs(1);
/// The same while half of them or more are busy: who says nothing must not keep others waiting.
const REFUSAL_CROWDED_MAX: Duration = Duration::from_millis(100);
/// The log is told that there is no room at most this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How many connections a listener may have now.
pub type Room = Arc<dyn Fn() -> usize + Send + Sync>;

/// Serves a router until `tasks` stop: then no connection is taken, the open ones finish what they
/// are answering.
///
/// This is the one place that decides who a client is: handlers find it as
/// [`Client`](crate::clients::Client) and do not look at the socket or the headers.
///
/// * `room` – connections that there are file descriptors for, asked before each one is taken
/// * `proxies` – whose word about their clients is taken
pub fn serve(
    listener: TcpListener,
    router: Router,
    room: Room,
    proxies: &TrustedProxies,
    tasks: &Tasks,
) {
    ::metrics::gauge!(metrics::API_CONNECTIONS_LIMIT)
        .set(u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX));
    let door = Door {
        listener,
        router,
        room,
        proxies: proxies.clone(),
        tasks: tasks.clone(),
        seats: Seats::new(CONNECTIONS_MAX, PER_CLIENT_MAX),
        refusing: Arc::new(Semaphore::new(REFUSALS_MAX)),
        neighbours: true,
        told: None,
    };
    tasks.start(door.run());
}

/// A listener and who is inside.
struct Door {
    listener: TcpListener,
    router: Router,
    room: Room,
    proxies: TrustedProxies,
    tasks: Tasks,
    seats: Seats,
    refusing: Arc<Semaphore>,
    /// Whether a program on this machine may ask for many clients, as a proxy does.
    neighbours: bool,
    /// When the log was last told that there is no room.
    told: Option<Instant>,
}

impl Door {
    async fn run(mut self) {
        let stopping = self.tasks.stopping().clone();
        loop {
            let accepted = tokio::select! {
                () = stopping.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.tell(&error.to_string());
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let is_room = self.seats.taken() < (self.room)();
            if !is_room {
                self.tell("no file descriptor is left for it");
            }
            // Nothing was asked yet: a proxy stands for all who will ask through it.
            let is_shared = self.neighbours && peer.ip().to_canonical().is_loopback()
                || self.proxies.contains(peer.ip());
            match self.seats.take(peer.ip(), is_shared) {
                Ok(seat) if is_room => self.answer(socket, peer, seat),
                // There is room for others, who may stand behind this one: they are not kept waiting.
                Err(Full::Client) if is_room => {
                    match Arc::clone(&self.refusing).try_acquire_owned() {
                        Ok(place) => self.refuse(socket, peer, place),
                        Err(_busy) => Self::turn_away(socket, peer),
                    }
                }
                _ => {
                    // There is room for nobody. While all who refuse are busy the others wait outside.
                    let place = tokio::select! {
                        () = stopping.cancelled() => return,
                        place = Arc::clone(&self.refusing).acquire_owned() => place,
                    };
                    let Ok(place) = place else { return };
                    self.refuse(socket, peer, place);
                }
            }
        }
    }

    fn answer(&self, socket: TcpStream, peer: SocketAddr, seat: Seat) {
        let (router, stopping) = (self.router.clone(), self.tasks.stopping().clone());
        let proxies = self.proxies.clone();
        self.tasks.start(async move {
            ::metrics::gauge!(metrics::API_CONNECTIONS).increment(1);
            connection(socket, (peer, proxies), router, stopping).await;
            ::metrics::gauge!(metrics::API_CONNECTIONS).decrement(1);
            drop(seat);
        });
    }

    /// Closes without a word: the client has all that one client may have, and all who could tell it so
    /// are busy, most likely with more of the same.
    fn turn_away(socket: TcpStream, peer: SocketAddr) {
        ::metrics::counter!(metrics::API_CONNECTIONS_REFUSED).increment(1);
        tracing::trace!(%peer, "a connection too many was closed");
        drop(socket);
    }

    /// Says in one answer that there is no room, to those who ask within a moment.
    fn refuse(&self, socket: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        ::metrics::counter!(metrics::API_CONNECTIONS_REFUSED).increment(1);
        let stopping = self.tasks.stopping().clone();
        let is_crowded = self.refusing.available_permits() < REFUSALS_MAX / 2;
        let patience = if is_crowded { REFUSAL_CROWDED_MAX } else { REFUSAL_MAX };
        let router = Router::new().fallback(|| async {
            let full = Error::unavailable("this relay has as many connections as it can serve");
            ([(CONNECTION, HeaderValue::from_static("close"))], full)
        });
        self.tasks.start(async move {
            let nobody = TrustedProxies::default();
            let answered = connection(socket, (peer, nobody), super::dressed(router), stopping);
            if tokio::time::timeout(patience, answered).await.is_err() {
                tracing::debug!(%peer, "a connection that there was no room for asked nothing");
            }
            drop(place);
        });
    }

    /// Now and then: thousands may knock.
    fn tell(&mut self, why: &str) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(
                limit = descriptors::limit(),
                "a connection could not be taken ({why}); raise the limit of open files: \
                 `LimitNOFILE=` of the service, or `ulimit -n`"
            );
        }
    }
}

/// One connection until it closes or becomes a WebSocket.
async fn connection(
    socket: TcpStream,
    (peer, proxies): (SocketAddr, TrustedProxies),
    router: Router,
    stopping: CancellationToken,
) {
    // Small frames must not wait for acknowledgements; without it they only come later.
    drop(socket.set_nodelay(true));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        // Of each request, because a proxy asks for one client after the other on one connection.
        let client = proxies.client(peer.ip(), request.headers());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(client);
            let answer: Result<_, Infallible> = router.call(request).await;
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Wire::new(socket)), service)
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopping.cancelled() => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(FINISH_MAX, served).await {
                Ok(ended) => ended,
                Err(_late) => return,
            }
        }
    };
    if let Err(error) = ended {
        // A peer that went away or spoke nonsense: its matter.
        tracing::debug!(%peer, %error, "a connection ended");
    }
}

#[cfg(test)]
mod tests;
