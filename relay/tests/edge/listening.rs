//! The listener itself: slow, broken and crowding clients (SEC-7).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use relay::{api, clients::TrustedProxies, tasks::Tasks};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::http::{raw, send};

async fn listen(router: Router) -> (SocketAddr, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let tasks = Tasks::default();
    api::serve(listener, router, Arc::new(|| usize::MAX), &TrustedProxies::default(), &tasks);
    (at, tasks)
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// SEC-7: a head that does not end is given up, and an idle connection as well. Time is paused only
/// once the connection is known to be accepted, so that it runs nowhere but in the wait.
#[tokio::test]
async fn a_connection_that_sends_no_whole_head_is_closed() {
    let (at, tasks) = listen(hello()).await;
    let mut slow = TcpStream::connect(at).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200", "control: whole heads are answered");
    slow.write_all(b"GET / HTTP/1.1\r\nHost: rel").await.unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();

    // Whatever is said, the end must come.
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();

    assert!(start.elapsed() <= Duration::from_secs(16), "{:?}", start.elapsed());
    tokio::time::resume();
    tasks.stop().await;
}

/// SEC-7: heads are bounded; what is not HTTP is refused.
#[tokio::test]
async fn heads_that_are_too_large_or_broken_are_refused() {
    let (at, tasks) = listen(hello()).await;
    let long = format!("X-Long: {}", "x".repeat(20_000));
    assert_eq!(send(at, "GET", "/", &[&long]).await.status, 431);
    assert_eq!(raw(at, "NONSENSE\r\n\r\n").await.status, 400);
    assert_eq!(send(at, "GET", "/", &["X-Short: x"]).await.body, "hello", "control");
    tasks.stop().await;
}

/// A stop lets an answer finish and does not wait for idle connections.
#[tokio::test]
async fn a_stop_finishes_answers_and_leaves_idle_connections() {
    static ASKED: Notify = Notify::const_new();
    static GO: Notify = Notify::const_new();
    let slow = Router::new().route(
        "/",
        get(|| async {
            ASKED.notify_one();
            GO.notified().await;
            "done"
        }),
    );
    let (at, tasks) = listen(slow).await;
    let _idle = TcpStream::connect(at).await.unwrap();
    let asking = send(at, "GET", "/", &[]);
    let stopping = async {
        ASKED.notified().await;
        let stop = tasks.stop();
        tokio::pin!(stop);
        tokio::select! {
            biased;
            () = &mut stop => panic!("an answer was under way"),
            () = async { GO.notify_one() } => {}
        }
        stop.await;
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert_eq!(answer.body, "done");
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
}
