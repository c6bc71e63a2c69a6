//! What happens on one connection: requests one after the other, and WebSocket frames of any kind
//! (WS-6, RFC 6455, SEC-5).

use std::time::Duration;

use relay_simnet::{Consumer, Start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    http::{open, raw},
    relay::Relay,
};

const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
const PONG: [u8; 2] = [0x8a, 0];

fn handshake() -> String {
    "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\nHost: relay\r\n\
     Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_owned()
}

async fn subscribed(relay: &Relay) -> TcpStream {
    let (answer, socket) = open(relay.api(), &handshake()).await;
    assert_eq!(answer.status, 101);
    socket
}

/// A frame of a client; the mask of zeros leaves the bytes as they are.
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut frame = vec![first];
    if length < 126 {
        frame.push(0x80 | u8::try_from(length).unwrap());
    } else {
        frame.push(0xfe);
        frame.extend(length.to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(body);
    frame
}

/// What comes until the server closes.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await;
    // A reset is an end too.
    drop(read.unwrap());
    rest
}

/// API-1: two requests sent at once are answered in order, and a client that asks first is told to go on.
#[tokio::test]
async fn requests_may_follow_each_other_on_one_connection() {
    let relay = Relay::start().await;
    let two = "GET /_health HTTP/1.1\r\nHost: relay\r\n\r\n\
               GET /nothing HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
    let answer = raw(relay.api(), two).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("HTTP/1.1 404 Not Found"), "{answer:?}");
    assert!(answer.body.contains("\"error\":\"NotFound\""), "{answer:?}");

    let asking = "POST /xrpc/com.atproto.sync.requestCrawl HTTP/1.1\r\nHost: relay\r\n\
                  Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    let answer = raw(relay.api(), asking).await;
    assert_eq!(answer.status, 100);
    assert!(answer.body.starts_with("HTTP/1.1 400 "), "{answer:?}");
    relay.stop().await;
}

/// WS-7: a ping that comes right behind the handshake, or behind other frames, is answered.
#[tokio::test]
async fn a_ping_is_answered_wherever_it_stands() {
    let relay = Relay::start().await;
    let mut early = TcpStream::connect(relay.api()).await.unwrap();
    early.write_all(&[handshake().as_bytes(), &PING].concat()).await.unwrap();
    let mut behind = subscribed(&relay).await;
    let burst = [frame(0x81, b"one"), frame(0x82, b"two"), frame(0x81, b"three"), PING.to_vec()];
    behind.write_all(&burst.concat()).await.unwrap();

    for mut socket in [early, behind] {
        let mut answer = [0; 2];
        while answer != PONG {
            answer = [answer[1], socket.read_u8().await.unwrap()];
        }
        // An answer that waited for the next wake-up has the relay's own ping right behind it.
        socket.write_all(&frame(0x89, b"x")).await.unwrap();
        let mut next = [0; 3];
        socket.read_exact(&mut next).await.unwrap();
        assert_eq!(next, [0x8a, 1, b'x']);
    }
    relay.stop().await;
}

/// WS-6, SEC-5, I6: frames that break the protocol end their own connection and no other.
#[tokio::test]
async fn broken_frames_end_their_own_connection_only() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let url = format!("http://{}", relay.api());
    let mut other = Consumer::connect(&url, Start::Live).await.unwrap();
    let rows: [(&str, Vec<u8>); 7] = [
        ("not masked", vec![0x82, 1, b'x']),
        ("reserved bits", frame(0xf2, b"x")),
        ("an opcode that does not exist", frame(0x83, b"x")),
        ("a control frame that is too long", frame(0x89, &[0; 126])),
        ("a control frame in pieces", frame(0x09, b"")),
        ("the end of a message that did not begin", frame(0x80, b"x")),
        ("a close frame that is cut", frame(0x88, b"x")),
    ];
    for (what, bytes) in rows {
        let mut socket = subscribed(&relay).await;
        socket.write_all(&bytes).await.unwrap();
        let said = rest(&mut socket).await;
        assert!(said.is_empty() || said[0] == 0x88, "{what}: {said:?}");
    }
    let mut pieces = subscribed(&relay).await;
    pieces.write_all(&frame(0x02, &[0; 3_000])).await.unwrap();
    pieces.write_all(&frame(0x80, &[0; 3_000])).await.unwrap();
    let said = rest(&mut pieces).await;
    assert_eq!(said[2..4], 1009_u16.to_be_bytes(), "the whole message counts: {said:?}");

    let mut leaving = subscribed(&relay).await;
    leaving.write_all(&frame(0x88, &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(
        rest(&mut leaving).await[..4],
        [0x88, 2, 3, 0xe8],
        "control: a farewell is answered"
    );
    relay.until("all have left", || relay.running.firehose.count() == 1).await;
    let sent = alice.post("still here").await.unwrap();
    assert_eq!(other.next().await.unwrap().rev.as_deref(), Some(sent.rev.as_str()));
    relay.stop().await;
}
