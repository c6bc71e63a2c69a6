//! How a request becomes a consumer, and what it is told otherwise (WS-1…3, 10, 11, CUR-7, OUT-7).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use relay::{
    api,
    clients::TrustedProxies,
    clock::Clock,
    domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq},
    eventlog::{self, Appender, Entry, LogOptions, Reader},
    firehose::{Firehose, FirehoseOptions},
    tasks::Tasks,
};
use relay_simnet::{Consumer, Item, Start};
use tokio::net::TcpListener;

use crate::http::{open, send};

const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";
const UPGRADE: [&str; 3] = [
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// A firehose alone, listening.
struct Edge {
    at: SocketAddr,
    firehose: Firehose,
    appender: Appender,
    reader: Reader,
    tasks: Tasks,
    _dir: tempfile::TempDir,
}

impl Edge {
    async fn start(options: FirehoseOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = LogOptions {
            dir: dir.path().to_path_buf(),
            instance_id: "here".to_owned(),
            replay_window: Duration::from_hours(1),
            bytes_max: Some(1 << 30),
            initial_seq: Seq(1),
            known_seq: Seq(0),
            segment_bytes: 1 << 20,
            sync_interval: Duration::ZERO,
            recent_bytes: 1 << 20,
            compression: 1,
        };
        let (appender, reader) = eventlog::open(log, Clock::system(), Box::new(|_| {})).unwrap();
        let tasks = Tasks::default();
        let firehose = Firehose::with_options(reader.clone(), Clock::system(), &tasks, options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        api::serve(
            listener,
            firehose.router(),
            Arc::new(|| usize::MAX),
            &TrustedProxies::default(),
            &tasks,
        );
        Self { at, firehose, appender, reader, tasks, _dir: dir }
    }

    fn url(&self) -> String {
        format!("ws://{}", self.at)
    }

    async fn append(&self, count: u64) {
        let first = self.reader.window().head.0 + 1;
        let entries = (first..first + count).map(|number| Entry {
            kind: EventKind::Account,
            account: AccountNo(number),
            host: HostId(1),
            epoch: Epoch(1),
            host_seq: HostSeq(number),
            note: Bytes::new(),
            frame: relay_protocol::account_frame(
                "did:web:example.com",
                "2026-01-01T00:00:00.000Z",
                true,
                None,
            ),
        });
        self.appender.append(entries.collect()).await.unwrap();
        self.appender.barrier().await.unwrap();
    }

    /// Waits until so many consumers are connected.
    async fn has(&self, consumers: usize) {
        let wait = async {
            while self.firehose.count() != consumers {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    }
}

async fn status(edge: &Edge, query: &str) -> Option<(u16, String)> {
    let refused = Consumer::connect_query(&edge.url(), query).await.unwrap().err()?;
    Some((refused.status, refused.body))
}

/// WS-1, WS-4, CUR-1, CUR-3: an independent client reads events from a cursor and live.
#[tokio::test]
async fn a_foreign_client_reads_from_a_cursor_and_live() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    edge.append(5).await;
    let mut behind = Consumer::connect(&edge.url(), Start::After(2)).await.unwrap();
    let mut live = Consumer::connect(&edge.url(), Start::Live).await.unwrap();
    edge.has(2).await;
    edge.append(2).await;

    let seqs = |events: Vec<relay_simnet::Received>| {
        events.into_iter().map(|event| event.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(behind.take(5).await.unwrap()), [3, 4, 5, 6, 7]);
    assert_eq!(seqs(live.take(2).await.unwrap()), [6, 7]);
    edge.tasks.stop().await;
}

/// WS-2: other methods and plain requests are refused with JSON.
#[tokio::test]
async fn what_is_no_websocket_request_is_refused_with_405_or_426() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        let answer = send(edge.at, method, PATH, &UPGRADE).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET"), "{method}");
    }
    let plain = send(edge.at, "GET", PATH, &[]).await;
    assert_eq!((plain.status, plain.error().as_str()), (426, "UpgradeRequired"));
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    // The upgrade is asked for in `Upgrade` but not in `Connection`.
    assert_eq!(send(edge.at, "GET", PATH, &UPGRADE).await.status, 426);
    edge.tasks.stop().await;
}

/// WS-3, WS-10: any origin, and the one subprotocol is echoed.
#[tokio::test]
async fn browsers_may_connect_and_the_subprotocol_is_echoed() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    let lines = UPGRADE.join("\r\n");
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\n{lines}\r\n\
         Origin: https://example.net\r\nSec-WebSocket-Protocol: other, xrpc.v0.cbor\r\n\r\n"
    );
    let (answer, _socket) = open(edge.at, &request).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("xrpc.v0.cbor"));
    edge.tasks.stop().await;
}

/// CUR-7: before the upgrade, with and without asking for one; the empty cursor is the control.
#[tokio::test]
async fn a_cursor_that_is_no_seq_is_refused_before_the_upgrade() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    for cursor in ["abc", "-1", "9007199254740992", "1.5", "%2B1"] {
        let query = format!("cursor={cursor}");
        let (code, body) = status(&edge, &query).await.unwrap();
        assert_eq!(code, 400, "{cursor}");
        assert!(body.contains("\"error\":\"InvalidRequest\""), "{body}");
        let plain = send(edge.at, "GET", &format!("{PATH}?{query}"), &[]).await;
        assert_eq!((plain.status, plain.error().as_str()), (400, "InvalidRequest"));
    }
    assert_eq!(status(&edge, "cursor=").await, None);
    assert_eq!(status(&edge, "unknown=1").await, None, "API-7");
    edge.tasks.stop().await;
}

/// CUR-5 over the wire: the upgrade succeeds, the first frame is the error.
#[tokio::test]
async fn a_future_cursor_is_told_after_the_upgrade() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    edge.append(1).await;
    let mut ahead = Consumer::connect(&edge.url(), Start::After(2)).await.unwrap();
    let first = ahead.next_item().await.unwrap();
    assert!(matches!(first, Item::Error { error, .. } if error == "FutureCursor"));
    let last = ahead.next_item().await.unwrap();
    assert!(matches!(last, Item::Closed { code: Some(1008), .. }), "{last:?}");
    edge.tasks.stop().await;
}

/// WS-2, SEC-4: limits per client and in all answer 429; who leaves makes room.
#[tokio::test]
async fn too_many_consumers_are_refused_until_one_leaves() {
    for (in_all, per_client) in [(2, 50), (50, 2)] {
        let edge = Edge::start(FirehoseOptions {
            consumers_max: in_all,
            per_client_max: per_client,
            shared: Vec::new(),
            ..FirehoseOptions::default()
        })
        .await;
        let mut first = Consumer::connect(&edge.url(), Start::Live).await.unwrap();
        let _second = Consumer::connect(&edge.url(), Start::Live).await.unwrap();
        let (code, body) = status(&edge, "").await.unwrap();
        assert_eq!(code, 429);
        assert!(body.contains("RateLimitExceeded"), "{body}");

        edge.has(2).await;
        first.cut();
        edge.has(1).await;
        assert_eq!(status(&edge, "").await, None);
        edge.tasks.stop().await;
    }
}

/// SEC-7: tries are counted too, with `Retry-After`; an address that stands for many is not.
#[tokio::test]
async fn a_client_that_tries_too_often_must_wait() {
    let options =
        FirehoseOptions { tries_per_minute: 2, shared: Vec::new(), ..FirehoseOptions::default() };
    let edge = Edge::start(options.clone()).await;
    assert_eq!(status(&edge, "").await, None);
    assert_eq!(status(&edge, "").await, None);
    assert_eq!(status(&edge, "").await.unwrap().0, 429);
    let headers = [&UPGRADE[..], &["Connection: Upgrade"]].concat();
    let answer = send(edge.at, "GET", PATH, &headers).await;
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    edge.tasks.stop().await;

    let shared = vec!["127.0.0.1".parse().unwrap()];
    let edge = Edge::start(FirehoseOptions { shared, ..options }).await;
    for _ in 0..4 {
        assert_eq!(status(&edge, "").await, None);
    }
    edge.tasks.stop().await;
}

/// OUT-7: `close` delivers what is there, says 1001, takes nobody new, and waits for all.
#[tokio::test]
async fn closing_says_1001_and_then_503() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    edge.append(3).await;
    let mut behind = Consumer::connect(&edge.url(), Start::After(0)).await.unwrap();
    edge.has(1).await;

    let ((), events) = tokio::join!(edge.firehose.close(), async {
        let events = behind.take(3).await.unwrap();
        let last = behind.next_item().await.unwrap();
        assert!(matches!(last, Item::Closed { code: Some(1001), .. }), "{last:?}");
        events
    });

    assert_eq!(events.len(), 3);
    assert_eq!(edge.firehose.count(), 0);
    let (code, body) = status(&edge, "").await.unwrap();
    assert_eq!(code, 503);
    assert!(body.contains("ServiceUnavailable"), "{body}");
    edge.tasks.stop().await;
}

/// Tasks that stop take the consumers with them, also when nobody called `close`.
#[tokio::test]
async fn stopping_the_tasks_ends_the_consumers() {
    let edge = Edge::start(FirehoseOptions::default()).await;
    let mut consumer = Consumer::connect(&edge.url(), Start::Live).await.unwrap();
    edge.has(1).await;
    let ((), last) = tokio::join!(edge.tasks.stop(), consumer.next_item());
    assert!(matches!(last.unwrap(), Item::Closed { code: Some(1001), .. }));
}
