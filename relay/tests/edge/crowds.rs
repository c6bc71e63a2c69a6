//! Many bad clients at once: how much they can take, and what the others notice of it (SEC-5, SEC-7).

use std::{
    env,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use relay::{descriptors, tasks::Tasks, telemetry::metrics::resident_bytes};
use relay_simnet::{Consumer, Start};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    http::{post, raw, send},
    relay::Relay,
};

/// Connections that a crowd tries to open.
const CROWD: usize = 10_000;
/// Most that the relay holds at once, whatever comes.
const HELD_MAX: f64 = 4_096.0;
/// How long one of the crowd waits outside.
const OUTSIDE_MAX: Duration = Duration::from_secs(3);
/// What one connection may cost; the kernel's part not counted.
const BYTES_EACH_MAX: u64 = 20_000;
/// Says that this process runs one test alone.
const ALONE: &str = "EDGE_TEST_ALONE";

/// The value of a metric.
async fn metric(relay: &Relay, name: &str) -> f64 {
    let text = send(relay.running.metrics, "GET", "/metrics", &[]).await.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

/// One of a crowd: connects if there is room, says half of what it should, and stays.
async fn idler(at: SocketAddr, number: usize) -> Option<TcpStream> {
    let connected = timeout(OUTSIDE_MAX, TcpStream::connect(at)).await;
    let mut socket = connected.ok()?.ok()?;
    if number.is_multiple_of(2) {
        socket.write_all(b"GET / HTTP/1.1\r\nHost: re").await.ok()?;
    }
    Some(socket)
}

/// Runs a test in a process of its own, because it measures memory, and others take some meanwhile; gives
/// what it said, `None` in that process.
fn run_alone(test: &str) -> Option<String> {
    if env::var_os(ALONE).is_some() {
        return None;
    }
    let mut alone = Command::new(env::current_exe().unwrap());
    alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1").stderr(Stdio::inherit());
    let output = alone.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    Some(said)
}

/// SEC-7, I5: ten thousand connections that say nothing take a bounded part of the relay: consumers, hosts
/// and operators go on meanwhile, and when the crowd is gone everybody comes in again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_stop_nobody_who_is_inside() {
    let name = "crowds::ten_thousand_idle_connections_stop_nobody_who_is_inside";
    if let Some(said) = run_alone(name) {
        println!("{said}");
        return;
    }
    // Both ends of each are in this process.
    let crowd = CROWD.min(descriptors::limit().saturating_sub(5_500));
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("the consumer is there", || relay.running.firehose.count() == 1).await;
    let (before, begun) = (resident_bytes(), Instant::now());

    let at = relay.api();
    let opening = (0..crowd).map(|number| idler(at, number));
    let idle: Vec<_> =
        futures_util::future::join_all(opening).await.into_iter().flatten().collect();

    let opened = begun.elapsed();
    let held = metric(&relay, "relay_api_connections_depth").await;
    let grown = resident_bytes().saturating_sub(before);
    let asked = Instant::now();
    assert_eq!(relay.admin("/admin/v1/status").await.status, 200);
    let admin = asked.elapsed();
    let wrote = Instant::now();
    let sent = alice.post("in the middle of it").await.unwrap();
    assert_eq!(consumer.next().await.unwrap().rev.as_deref(), Some(sent.rev.as_str()));
    let delivered = wrote.elapsed();
    println!(
        "{} of {crowd} idle connections got in within {opened:.1?}, {held} were held, memory grew by \
         {} MB; an operator was answered in {admin:.1?}, an event was delivered in {delivered:.1?}",
        idle.len(),
        grown / 1_000_000
    );
    assert!(held <= HELD_MAX + 100.0, "{held}");
    assert!(grown < 20_000_000 + BYTES_EACH_MAX * 4_200, "{grown} bytes");
    assert!(admin < Duration::from_secs(5) && delivered < Duration::from_secs(5));

    drop(idle);
    let free = async { while relay.sync("listHosts").await.status != 200 {} };
    timeout(Duration::from_secs(30), free).await.unwrap();
    relay.stop().await;
}

/// Heads that trickle, heads that are too large, upgrades that are none, rubbish behind a request.
async fn misbehave(at: SocketAddr, number: usize) {
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let upgrade = "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\nHost: relay\r\n\
                   Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n";
    let rubbish =
        format!("GET /_health HTTP/1.1\r\nHost: relay\r\n\r\n{}", "\u{0}\u{1}".repeat(500));
    let Ok(mut socket) = TcpStream::connect(at).await else { return };
    let words = match number % 4 {
        0 => {
            for letter in b"GET / HTTP/1.1\r\nHost: relay\r\nX-Slow: " {
                if socket.write_all(&[*letter]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return;
        }
        1 => huge.as_str(),
        2 => upgrade,
        _ => rubbish.as_str(),
    };
    // The relay may have closed it before all was said.
    drop(socket.write_all(words.as_bytes()).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// The median of what a good client waits for.
async fn median_wait(relay: &Relay) -> Duration {
    let mut waits = Vec::new();
    for _ in 0..50 {
        let asked = Instant::now();
        assert_eq!(relay.sync("listHosts").await.status, 200);
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    waits[waits.len() / 2]
}

/// SEC-5, SEC-7: a hundred clients that misbehave in four ways without end cost others milliseconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_that_misbehave_cost_others_little() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("the consumer is there", || relay.running.firehose.count() == 1).await;
    let alone = median_wait(&relay).await;
    let (at, tasks) = (relay.api(), Tasks::default());
    for number in 0..100 {
        let stopping = tasks.stopping().clone();
        tasks.start(async move {
            while stopping.run_until_cancelled(misbehave(at, number)).await.is_some() {}
        });
    }

    let among = median_wait(&relay).await;
    let wrote = Instant::now();
    let sent = alice.post("in the middle of it").await.unwrap();
    assert_eq!(consumer.next().await.unwrap().rev.as_deref(), Some(sent.rev.as_str()));
    println!(
        "a good client waits {alone:.1?} alone, {among:.1?} among a hundred bad ones; an event was \
         delivered in {:.1?}",
        wrote.elapsed()
    );
    assert!(among < alone * 20 + Duration::from_millis(500), "{alone:?} {among:?}");
    tasks.stop().await;
    relay.stop().await;
}

/// SEC-7: whatever stands behind a request on the same connection is read as a request, and one that
/// cannot be read ends it; the answers before it are whole.
#[tokio::test]
async fn rubbish_behind_a_request_ends_its_connection_after_the_answer() {
    let relay = Relay::start().await;
    for rubbish in
        ["\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "{}\r\n\r\n"]
    {
        let text = format!("GET /_health HTTP/1.1\r\nHost: relay\r\n\r\n{rubbish}");
        let answer = raw(relay.api(), &text).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body.matches("HTTP/1.1 400").count(), 1, "{rubbish:?}: {answer:?}");
    }
    // Two lengths would let a second request hide in the first.
    let smuggled = "POST /xrpc/com.atproto.sync.requestCrawl HTTP/1.1\r\nHost: relay\r\n\
                    Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /_health HTTP/1.1\r\n\
                    Host: relay\r\nConnection: close\r\n\r\n";
    let answer = raw(relay.api(), smuggled).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let body = "{\"hostname\":\"a\"}";
    let crawl = "/xrpc/com.atproto.sync.requestCrawl";
    assert_eq!(post(relay.api(), crawl, &[], body).await.status, 400, "control");
    relay.stop().await;
}
