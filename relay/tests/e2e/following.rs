//! The operations of the PLC directory, followed: what changed is known before the next event comes, and
//! told when nobody announces it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::{Context, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use relay::clock::Clock;
use relay_protocol::Did;
use relay_simnet::{Account, Net};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch::{Receiver, Sender},
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    support::Relay,
    watch::{Watch, advance, held_clock},
};

/// A key that nobody holds: an operation is a hint and is not believed.
const NOBODYS: &str = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo";

/// More than a message of the stream may have.
const HUGE: usize = 1 << 20;

/// The simulated directory, with operations beside its documents.
struct Directory {
    inner: Arc<Inner>,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

/// What is no operation.
enum Garbage {
    Message(Message),
    /// As bytes of the connection, which ends behind them.
    Bytes(Vec<u8>),
}

struct Inner {
    documents: String,
    has_stream: bool,
    operations: Mutex<Vec<Value>>,
    /// Goes to the stream that is open, before any more operations.
    garbage: Mutex<Vec<Garbage>>,
    /// Queries of the stream and of the export.
    asked: Mutex<Vec<String>>,
    /// Operations so far; streams that were ended so far, and why the last ones were.
    news: Sender<(usize, usize, &'static str)>,
}

impl Directory {
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
    async fn start(net: &Net, has_stream: bool) -> Result<Self> {
        let inner = Arc::new(Inner {
            documents: net.plc().url(),
            has_stream,
            operations: Mutex::default(),
            garbage: Mutex::default(),
            asked: Mutex::default(),
            news: Sender::new((0, 0, "")),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::clone(&inner);
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A relay that goes away ends its connection, which is no fault of the directory.
                tokio::spawn(serve(Arc::clone(&shared), socket));
            }
        });
        Ok(Self { inner, address, server })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An operation that gives the account another key.
    fn says(&self, did: &str, host: &str, number: Value) {
        let mut operation = json!({
            "did": did,
            "operation": {
                "type": "plc_operation",
                "verificationMethods": {"atproto": NOBODYS},
                "services": {"atproto_pds": {"endpoint": host}},
            },
        });
        let field = if number.is_string() { "createdAt" } else { "seq" };
        operation[field] = number;
        lock(&self.inner.operations).push(operation);
        self.inner.news.send_modify(|(count, ..)| *count += 1);
    }

    /// Sends something that is no operation.
    fn babbles(&self, garbage: Garbage) {
        lock(&self.inner.garbage).push(garbage);
        self.inner.news.send_modify(|_same| ());
    }

    /// Closes the streams that are open.
    fn close(&self, why: &'static str) {
        self.inner.news.send_modify(|(_, ends, last)| {
            *ends += 1;
            *last = why;
        });
    }

    fn asked(&self) -> Vec<String> {
        lock(&self.inner.asked).clone()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

async fn serve(inner: Arc<Inner>, mut socket: TcpStream) -> Result<()> {
    let mut start = [0; 24];
    socket.peek(&mut start).await?;
    if inner.has_stream && start.starts_with(b"GET /export/stream") {
        return stream(&inner, socket).await;
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let target = head.split(' ').nth(1).context("a request has a target")?;
    let (status, body) = match target.split_once('?') {
        Some(("/export", query)) => (200, inner.page(query)),
        _ if target.starts_with("/export") => (404, "{}".to_owned()),
        _ => {
            let answer = reqwest::get(format!("{}{target}", inner.documents)).await?;
            (answer.status().as_u16(), answer.text().await?)
        }
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    socket.write_all(answer.as_bytes()).await?;
    Ok(())
}

async fn stream(inner: &Inner, socket: TcpStream) -> Result<()> {
    let mut news: Receiver<_> = inner.news.subscribe();
    let mut query = String::new();
    #[expect(clippy::result_large_err, reason = "a type of the library")]
    let upgraded = |request: &Request, response: Response| {
        request.uri().query().unwrap_or_default().clone_into(&mut query);
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(socket, upgraded).await?;
    lock(&inner.asked).push(query.clone());
    let cursor = query.strip_prefix("cursor=").and_then(|cursor| cursor.parse::<u64>().ok());
    let opened = news.borrow_and_update().1;
    let live = lock(&inner.operations).len();
    let mut sent = if cursor.is_some() { 0 } else { live };
    loop {
        let garbage = std::mem::take(&mut *lock(&inner.garbage));
        for garbage in garbage {
            match garbage {
                // The relay may end the connection before it has all of it.
                Garbage::Message(message) => {
                    if socket.send(message).await.is_err() {
                        return Ok(());
                    }
                }
                Garbage::Bytes(bytes) => return Ok(socket.get_mut().write_all(&bytes).await?),
            }
        }
        let fresh: Vec<Value> = lock(&inner.operations).iter().skip(sent).cloned().collect();
        sent += fresh.len();
        for operation in fresh {
            if operation["seq"].as_u64() > cursor {
                socket.send(Message::text(operation.to_string())).await?;
            }
        }
        tokio::select! {
            changed = news.changed() => changed?,
            heard = socket.next() => if !matches!(heard, Some(Ok(_))) { return Ok(()) },
        }
        let (_, ends, why) = *news.borrow_and_update();
        if ends != opened {
            let close = CloseFrame { code: CloseCode::Normal, reason: why.into() };
            socket.close(Some(close)).await?;
            return Ok(());
        }
    }
}

impl Inner {
    fn page(&self, query: &str) -> String {
        lock(&self.asked).push(query.to_owned());
        let after = query.rsplit_once("after=").map_or("", |(_, after)| after);
        let operations = lock(&self.operations);
        let newer = operations.iter().filter(|operation| {
            operation["createdAt"].as_str().is_some_and(|created| created > after)
        });
        newer.map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// A relay that follows the directory, and alice at the only host.
async fn scene(
    seed: u64,
    has_stream: bool,
) -> Result<(Net, Clock, Directory, Account, Relay, Watch)> {
    let (net, clock) = (Net::seeded(seed).await?, held_clock());
    let alpha = net.pds("alpha").await?;
    let directory = Directory::start(&net, has_stream).await?;
    let held = clock.clone();
    let relay = Relay::beside(directory.url(), move |config, extras| {
        config.plc_stream = true;
        extras.clock = held.clone();
    })
    .await?;
    let admitted = relay.running.hosts.admit(&alpha.hostname(), true).await;
    admitted.map_err(|why| anyhow::anyhow!("{why}"))?;
    let alice = alpha.account("alice").await?;
    let mut watch = relay.watch().await?;
    relay.news(&net, &mut watch).await?;
    Ok((net, clock, directory, alice, relay, watch))
}

async fn key(relay: &Relay, account: &Account) -> Result<Option<[u8; 34]>> {
    let row = relay.running.ingest.account(&Did::parse(account.did())?).await?;
    Ok(row.context("the account is known")?.key)
}

/// Waits until the relay knows another key than this one, while time passes.
async fn learns(
    relay: &Relay,
    account: &Account,
    old: Option<[u8; 34]>,
    clock: &Clock,
) -> Result<()> {
    let learned = async {
        while key(relay, account).await? == old {
            clock.advance_us(100_000);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), learned).await?
}

/// Setting `plc_stream`, RES-7, PLC-2: a key that changed without a word of the host is known before the
/// first event that it signs; what the operation says is not believed; unknown accounts cost nothing.
/// IDE-6: consumers are told by an `#identity` of the relay's own.
#[tokio::test]
async fn an_identity_that_changes_is_known_before_its_next_event() -> Result<()> {
    let (net, clock, directory, alice, relay, mut watch) = scene(340, true).await?;
    relay.until("the stream is open", || directory.asked() == [""]).await?;
    // Long after the last word of her host about her identity.
    advance(&clock, 300);
    let (before, lookups) = (key(&relay, &alice).await?, net.plc().total_lookups());
    alice.rotate_key(false).await?;
    let host = net.hosts()[0].url();
    directory.says("did:plc:ewvi7nxzyoun6zhxrhs64oiz", &host, 6.into());
    directory.says(alice.did(), &host, 7.into());
    let learned = async {
        while key(&relay, &alice).await? == before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), learned).await??;
    assert_eq!(net.plc().total_lookups(), lookups + 1, "one question, about alice");

    let signed = alice.post("with the new key").await?;
    watch.until(&signed).await?;
    assert_eq!(net.plc().total_lookups(), lookups + 1, "nothing had to be asked for it");
    assert_eq!(relay.drops(&alice), []);

    advance(&clock, 61);
    while watch.of(&alice).last().is_none_or(|last| last != "identity") {
        watch.take(1).await.context("waits for the relay's own #identity")?;
    }
    relay.settled(&net).await?;
    Ok(())
}

/// RES-7: a stream that ends is read on from where it was, also after a restart; when the directory has
/// deleted that, from its newest operation.
#[tokio::test]
async fn the_stream_is_read_on_from_where_it_was() -> Result<()> {
    let (net, clock, directory, alice, relay, _watch) = scene(341, true).await?;
    let opened = |relay: &Relay, count: usize| {
        let (asked, clock) = (directory.asked().len(), clock.clone());
        let _ = relay;
        clock.advance_us(100_000);
        asked >= count
    };
    relay.until("the stream is open", || opened(&relay, 1)).await?;
    let before = key(&relay, &alice).await?;
    alice.rotate_key(true).await?;
    directory.says(alice.did(), &net.hosts()[0].url(), 7.into());
    learns(&relay, &alice, before, &clock).await?;
    relay.settled_in_time(&net, &clock).await?;

    directory.close("ConsumerTooSlow");
    relay.until("it is opened again", || opened(&relay, 2)).await?;
    assert_eq!(directory.asked(), ["", "cursor=7"]);
    let relay = relay.restart().await?;
    relay.until("it is opened by the next process", || opened(&relay, 3)).await?;
    assert_eq!(directory.asked()[2..], ["cursor=7"]);
    directory.close("OutdatedCursor");
    relay.until("it is opened at its end", || opened(&relay, 4)).await?;
    assert_eq!(directory.asked()[3..], [""]);
    Ok(())
}

/// RES-7: of a directory without a stream the export is read, page by page.
#[tokio::test]
async fn a_directory_without_a_stream_is_asked_for_pages() -> Result<()> {
    let (net, clock, directory, alice, relay, mut watch) = scene(342, false).await?;
    relay.until("the export was read", || !directory.asked().is_empty()).await?;
    let before = key(&relay, &alice).await?;
    alice.rotate_key(false).await?;
    directory.says(alice.did(), &net.hosts()[0].url(), "2099-01-01T00:00:00.000Z".into());
    learns(&relay, &alice, before, &clock).await?;
    let signed = alice.post("with the new key").await?;
    watch.until(&signed).await?;
    let goes_on = || {
        clock.advance_us(1_000_000);
        directory.asked().last().is_some_and(|asked| asked.contains("after=2099-01-01"))
    };
    relay.until("the next page is the one behind", goes_on).await?;
    assert_eq!(relay.drops(&alice), []);
    Ok(())
}

/// RES-7: whatever a directory sends in place of an operation, the relay goes on, from where it was; the next
/// right operation is taken.
#[tokio::test]
async fn garbage_in_the_stream_ends_nothing_but_the_stream() -> Result<()> {
    let (net, clock, directory, alice, relay, _watch) = scene(343, true).await?;
    let host = net.hosts()[0].url();
    let text = |text: &str| Garbage::Message(Message::text(text));
    let shapes = [
        json!({}),
        json!([]),
        json!(7),
        json!(null),
        json!({"seq": "7", "createdAt": 7}),
        json!({"seq": -1, "did": alice.did()}),
        json!({"seq": 1.5, "did": alice.did(), "operation": 7}),
        json!({"did": 7, "operation": {}}),
        json!({"did": "did:plc:short", "operation": {"type": "plc_operation"}}),
        json!({"did": alice.did(), "operation": {"type": {"type": 1}, "services": []}}),
        json!({"did": alice.did(), "operation": {"verificationMethods": {"atproto": "did:key:zz"}}}),
        json!({"createdAt": "\r\nhost: x", "did": alice.did(), "operation": null}),
    ];
    let mut cases: Vec<(&str, Garbage, bool)> =
        shapes.iter().map(|shape| ("a wrong shape", text(&shape.to_string()), false)).collect();
    cases.extend([
        ("a binary frame", Garbage::Message(Message::binary(vec![0xa1; 100])), false),
        ("a ping", Garbage::Message(Message::Ping(vec![1; 125].into())), false),
        ("no JSON", text("<html>"), true),
        ("half of it", text(r#"{"seq":9,"did":"#), true),
        ("nothing", text(""), true),
        ("a deep one", text(&"[".repeat(60_000)), true),
        ("a huge one", text(&format!("{:?}", "x".repeat(HUGE))), true),
        ("text that is none", Garbage::Bytes(vec![0x81, 2, 0xff, 0xfe]), true),
        ("a close in the middle of a frame", Garbage::Bytes(vec![0x81, 100, b'{']), true),
        (
            "a frame that says to have 2^63 bytes",
            Garbage::Bytes([&[0x81, 127][..], &[0xff; 8]].concat()),
            true,
        ),
        ("a kind of frame that does not exist", Garbage::Bytes(vec![0x8f, 1, 0]), true),
        ("no WebSocket", Garbage::Bytes(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), true),
        ("an end without a word", Garbage::Bytes(Vec::new()), true),
    ]);
    let opened = |count: usize| {
        clock.advance_us(100_000);
        directory.asked().len() >= count
    };
    let (mut streams, mut number) = (1, 7_u64);
    relay.until("the stream is open", || opened(streams)).await?;
    for (what, garbage, ends) in cases {
        directory.babbles(garbage);
        if ends {
            streams += 1;
            relay.until(what, || opened(streams)).await.context(what)?;
            let cursor = format!("cursor={}", number - 1);
            assert_eq!(directory.asked().last(), Some(&cursor), "{what}");
        }
        // Long after the last look at her identity.
        advance(&clock, 300);
        let before = key(&relay, &alice).await?;
        alice.rotate_key(false).await?;
        directory.says(alice.did(), &host, number.into());
        number += 1;
        learns(&relay, &alice, before, &clock).await.context(what)?;
    }
    assert_eq!(directory.asked().len(), streams, "no other stream was opened");
    assert_eq!(relay.drops(&alice), []);
    Ok(())
}
