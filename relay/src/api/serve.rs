//! Listening: bounded connections, a time for headers, an orderly end (SEC-7).

mod wire;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use self::wire::Wire;
use crate::{firehose::Seats, tasks::Tasks, telemetry::metrics};

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

/// Serves a router until `tasks` stop: then no connection is taken, the open ones finish what they
/// are answering.
pub fn serve(listener: TcpListener, router: Router, tasks: &Tasks) {
    let own = tasks.clone();
    ::metrics::gauge!(metrics::API_CONNECTIONS_LIMIT)
        .set(u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX));
    tasks.start(async move {
        let seats = Seats::new(CONNECTIONS_MAX, PER_CLIENT_MAX);
        loop {
            let accepted = tokio::select! {
                () = own.stopping().cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let Ok(seat) = seats.take(peer.ip(), peer.ip().to_canonical().is_loopback()) else {
                ::metrics::counter!(metrics::API_CONNECTIONS_REFUSED).increment(1);
                continue;
            };
            let (router, stopping) = (router.clone(), own.stopping().clone());
            own.start(async move {
                ::metrics::gauge!(metrics::API_CONNECTIONS).increment(1);
                connection(socket, peer, router, stopping).await;
                ::metrics::gauge!(metrics::API_CONNECTIONS).decrement(1);
                drop(seat);
            });
        }
    });
}

/// One connection until it closes or becomes a WebSocket.
async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    stopping: CancellationToken,
) {
    // Small frames must not wait for acknowledgements; without it they only come later.
    drop(socket.set_nodelay(true));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
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
