//! Requests that no honest client sends: broken, huge, slow (SEC-7, WS-2, WS-6, API-1).

use std::time::Duration;

use relay_simnet::{Consumer, Start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    http::{Answer, open, post, raw, send},
    relay::Relay,
};

const SUBSCRIBE: &str = "/xrpc/com.atproto.sync.subscribeRepos";
const CRAWL: &str = "/xrpc/com.atproto.sync.requestCrawl";

/// What every answer must have, whoever gave it.
fn is_ours(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let server = answer.header("server").unwrap_or_default();
    assert!(server.starts_with("relay/") && server.ends_with("(atproto-relay)"), "{answer:?}");
    assert!(!answer.error().is_empty(), "{answer:?}");
}

/// API-1, WS-11, SEC-7: heads that cannot be read are refused in our words, on every listener.
#[tokio::test]
async fn broken_and_huge_heads_are_refused_in_our_words() {
    let relay = Relay::start().await;
    let long = "x".repeat(20_000);
    let many: String = (0..200)
        .map(|number| format!("X-{number}: x\r\n"))
        .fold(String::new(), |all, line| all + &line);
    let rows = [
        ("NONSENSE\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("G\u{1b}T / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /a b HTTP/1.1\r\nHost: relay\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost relay\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nBad Name: x\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: many\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: relay\r\nX-Long: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: relay\r\n{many}\r\n"), 431),
    ];
    for at in [relay.api(), relay.running.admin, relay.running.metrics] {
        for (request, status) in &rows {
            is_ours(&raw(at, request).await, *status);
        }
    }
    is_ours(&send(relay.api(), "GET", &format!("/{}", "x".repeat(9_000)), &[]).await, 414);
    let fits = format!("/{}", "x".repeat(8_000));
    is_ours(&send(relay.api(), "GET", &fits, &[]).await, 404);
    assert_eq!(send(relay.api(), "GET", "/", &["X-Long: x"]).await.status, 200, "control");
    relay.stop().await;
}

/// Spec section 13: a body of 16 KiB is read, a larger one is not, however it is sent; the admin API
/// takes 1 MiB.
#[tokio::test]
async fn bodies_are_bounded_however_they_are_sent() {
    let relay = Relay::start().await;
    let pds = relay.net.pds("alpha").await.unwrap();
    let body = |bytes: usize| {
        let text = serde_json::json!({ "hostname": pds.hostname(), "filler": "" }).to_string();
        text.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - text.len())))
    };
    let most = body(16 << 10);
    assert_eq!(post(relay.api(), CRAWL, &[], &most).await.status, 200, "control");
    is_ours(&post(relay.api(), CRAWL, &[], &body((16 << 10) + 1)).await, 413);

    let chunked = |body: &str| {
        let length = body.len();
        format!(
            "POST {CRAWL} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        )
    };
    assert_eq!(raw(relay.api(), &chunked(&most)).await.status, 200, "control");
    is_ours(&raw(relay.api(), &chunked(&body(20_000))).await, 413);
    let nested = format!("{{\"hostname\":{}", "[".repeat(8_000));
    let twice = format!("{{\"hostname\":\"{0}\",\"hostname\":\"{0}\"}}", pds.hostname());
    for wrong in [nested.as_str(), twice.as_str(), "\u{0}", "{\"hostname\":\"a\\u0000b.com\"}"] {
        is_ours(&post(relay.api(), CRAWL, &[], wrong).await, 400);
    }
    assert_eq!(relay.running.hosts.all().len(), 1);
    relay.stop().await;
}

/// SEC-7: a client that sends its body drop by drop is told off after ten seconds; others are served.
#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let relay = Relay::start().await;
    let mut slow = TcpStream::connect(relay.api()).await.unwrap();
    let head = format!("POST {CRAWL} HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n{{");
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(relay.sync("listHosts").await.status, 200, "others are served");

    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_secs(40), slow.read_exact(&mut answer));
    read.await.unwrap().unwrap();

    assert_eq!(answer, b"HTTP/1.1 408");
    relay.stop().await;
}

/// WS-2: what asks for a WebSocket in a wrong way is refused before the upgrade, with the reason.
#[tokio::test]
async fn broken_requests_for_a_websocket_are_refused() {
    let relay = Relay::start().await;
    let right = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let request = |version: &str, headers: &[&str]| {
        let lines: String = headers.iter().flat_map(|line| [*line, "\r\n"]).collect();
        format!("GET {SUBSCRIBE} HTTP/{version}\r\nHost: relay\r\n{lines}\r\n")
    };
    let with = |place: usize, line: &'static str| {
        let mut headers = right;
        headers[place] = line;
        headers
    };
    let rows = [
        (with(0, "X: x"), 426),
        (with(0, "Connection: keep-alive"), 426),
        (with(1, "Upgrade: h2c"), 426),
        (with(2, "Sec-WebSocket-Version: 8"), 426),
        (with(2, "X: x"), 426),
        (with(3, "X: x"), 400),
        (with(3, "Sec-WebSocket-Key: short"), 400),
    ];
    for (headers, status) in rows {
        let (answer, _socket) = open(relay.api(), &request("1.1", &headers)).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert!(answer.header("server").is_some(), "{headers:?}");
    }
    let (old, _socket) = open(relay.api(), &request("1.0", &right)).await;
    assert!(matches!(old.status, 400 | 426), "no upgrade in HTTP/1.0: {old:?}");
    for origin in ["https://example.net", "null", "http://127.0.0.1:1"] {
        let origin = format!("Origin: {origin}");
        let headers = [&right[..], &[origin.as_str()]].concat();
        let (answer, _socket) = open(relay.api(), &request("1.1", &headers)).await;
        assert_eq!(answer.status, 101, "WS-3: {origin}");
        assert_eq!(answer.header("sec-websocket-protocol"), None, "WS-10: nothing was asked for");
    }
    relay.stop().await;
}

/// A masked frame of a client; `length` is what it says, `body` what it brings.
fn frame(opcode: u8, length: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0xfe];
    frame.extend(length.to_be_bytes());
    // A mask of zeros leaves the bytes as they are.
    frame.extend([0; 4]);
    frame.extend(body);
    frame
}

/// WS-6: what a consumer says is ignored up to 4 KiB; a larger frame ends the connection with 1009, as
/// soon as its length is known.
#[tokio::test]
async fn consumers_that_talk_too_much_are_closed_with_1009() {
    let relay = Relay::start().await;
    let request = format!(
        "GET {SUBSCRIBE} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (answer, mut socket) = open(relay.api(), &request).await;
    assert_eq!(answer.status, 101);
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    for opcode in [1, 2] {
        socket.write_all(&frame(opcode, 4_096, &[b'x'; 4_096])).await.unwrap();
    }
    socket.write_all(&ping).await.unwrap();
    let mut answered = [0; 2];
    socket.read_exact(&mut answered).await.unwrap();
    assert_eq!(answered, [0x8a, 0], "control: what fits is ignored, and the connection lives");

    socket.write_all(&frame(2, 4_097, &[])).await.unwrap();

    let mut close = [0; 4];
    socket.read_exact(&mut close).await.unwrap();
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1009));
    relay.stop().await;
}

/// SEC-7, SEC-5: hundreds of connections that say nothing do not keep anybody out.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let relay = Relay::start().await;
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut socket = TcpStream::connect(relay.api()).await.unwrap();
        if number % 2 == 0 {
            socket.write_all(b"GET / HTTP/1.1\r\nHost: re").await.unwrap();
        }
        silent.push(socket);
    }
    assert_eq!(relay.sync("listHosts").await.status, 200);
    let url = format!("http://{}", relay.api());
    assert!(Consumer::connect(&url, Start::Live).await.is_ok());
    drop(silent);
    relay.stop().await;
}
