//! One consumer against a real log: cursors, pace, pings, the end.
//!
//! The socket is a pipe in memory of a known size, so that with paused time every wait is exact. What
//! needs the file system or the writer's thread is done before time is paused.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use relay_protocol::{Unsequenced, error_frame, info_frame};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use super::{
    Pacing,
    consumer::{Consumer, Feed},
    tally::Register,
};
use crate::{
    accounts::hidden::Hidden,
    clock::Clock,
    domain::{AccountNo, CloseReason, Epoch, EventKind, HostId, HostSeq, Seq},
    eventlog::{self, Appender, Entry, LogOptions, Reader},
};

/// A log in a directory of its own.
struct Log {
    dir: tempfile::TempDir,
    appender: Appender,
    reader: Reader,
}

fn options(dir: &std::path::Path) -> LogOptions {
    LogOptions {
        dir: dir.to_path_buf(),
        instance_id: "here".to_owned(),
        replay_window: Duration::from_hours(24),
        bytes_max: Some(1 << 30),
        initial_seq: Seq(1),
        known_seq: Seq(0),
        segment_bytes: 4_000,
        sync_interval: Duration::ZERO,
        recent_bytes: 2_000,
        compression: 1,
    }
}

impl Log {
    fn open() -> Self {
        Self::open_with(|_| {})
    }

    fn open_with(change: impl FnOnce(&mut LogOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path());
        change(&mut options);
        let (appender, reader) =
            eventlog::open(options, Clock::system(), Box::new(|_| {})).unwrap();
        Self { dir, appender, reader }
    }

    /// The same log after a restart.
    async fn reopened(self) -> Self {
        self.appender.close().await;
        let (appender, reader) =
            eventlog::open(options(self.dir.path()), Clock::system(), Box::new(|_| {})).unwrap();
        Self { dir: self.dir, appender, reader }
    }

    /// Appends events and waits until they are durable; gives their frames. Ten at a time, because a
    /// segment ends only between two batches.
    async fn append(&self, count: u64, bytes: usize) -> Vec<Bytes> {
        let first = self.reader.window().head.0 + 1;
        let seqs: Vec<_> = (first..first + count).collect();
        for ten in seqs.chunks(10) {
            let entries = ten.iter().map(|seq| entry(*seq, bytes)).collect();
            self.appender.append(entries).await.unwrap();
            self.appender.barrier().await.unwrap();
        }
        seqs.into_iter().map(|seq| Bytes::from(entry(seq, bytes).frame.with_seq(seq))).collect()
    }

    /// Lets retention run until something is gone.
    async fn prune(&self) {
        self.appender.set_checkpoint(self.reader.window().head);
        tokio::time::timeout(Duration::from_secs(20), async {
            while !self.reader.has_lost() || self.reader.disk_bytes() > self.reader.bytes_max() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }
}

fn entry(number: u64, bytes: usize) -> Entry {
    Entry {
        kind: EventKind::Commit,
        account: AccountNo(number),
        host: HostId(1),
        epoch: Epoch(1),
        host_seq: HostSeq(number),
        note: Bytes::new(),
        frame: Unsequenced {
            before: Bytes::from(format!("event {number} has seq ")),
            after: Bytes::from(vec![b'x'; bytes]),
        },
    }
}

/// A running consumer and the other end of its pipe.
struct Connected {
    socket: DuplexStream,
    reason: JoinHandle<CloseReason>,
    register: Register,
    closing: CancellationToken,
}

#[expect(clippy::disallowed_methods, reason = "the test waits for it by its handle")]
async fn connect(log: &Log, cursor: Option<u64>, room: usize) -> Connected {
    let (ours, theirs) = tokio::io::duplex(room);
    let register = Register::default();
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (_id, tally) = register.enter(address, "test\n", 7, Seq(cursor.unwrap_or(0)));
    let closing = CancellationToken::new();
    let consumer = Consumer::new(
        ours,
        Arc::new(Feed::new(log.reader.clone(), Hidden::default())),
        (cursor.map(Seq), log.reader.window().head),
        tally,
        (Pacing::default(), closing.clone()),
    )
    .await;
    Connected { socket: theirs, reason: tokio::spawn(consumer.serve()), register, closing }
}

/// The client side of the WebSocket.
struct Client {
    socket: WebSocketStream<DuplexStream>,
    reason: JoinHandle<CloseReason>,
    closing: CancellationToken,
}

async fn client(log: &Log, cursor: Option<u64>) -> Client {
    let connected = connect(log, cursor, 1 << 20).await;
    let socket = WebSocketStream::from_raw_socket(connected.socket, Role::Client, None).await;
    Client { socket, reason: connected.reason, closing: connected.closing }
}

impl Client {
    async fn frames(&mut self, count: usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while frames.len() < count {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Binary(frame) => frames.push(frame),
                other => panic!("{other:?} after {} frames", frames.len()),
            }
        }
        frames
    }

    /// Code and words of the close frame that must come next, and why it was sent.
    async fn closed(mut self) -> (u16, String, CloseReason) {
        let close = match self.socket.next().await.unwrap().unwrap() {
            Message::Close(Some(close)) => close,
            other => panic!("{other:?}"),
        };
        // Answers the close frame, like any client does; we may have given up waiting for it.
        drop(self.socket.next().await);
        (close.code.into(), close.reason.to_string(), self.reason.await.unwrap())
    }
}

/// Payloads of whole binary frames in raw bytes of a server.
fn parse(mut raw: &[u8]) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    while let [first, second, rest @ ..] = raw {
        let (length, rest) = match second {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>().unwrap();
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>().unwrap();
                (usize::try_from(u64::from_be_bytes(*length)).unwrap(), rest)
            }
            short => (usize::from(*short), rest),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if *first == 0x82 {
            payloads.push(Bytes::copy_from_slice(payload));
        }
        raw = rest;
    }
    payloads
}

/// CUR-1…4: each cursor gives exactly the rest, then what is live, over many segments.
#[tokio::test]
async fn every_cursor_gets_exactly_the_rest_and_then_live() {
    let log = Log::open();
    let old = log.append(40, 300).await;
    let mut clients = vec![(None, client(&log, None).await)];
    for cursor in 0..=40 {
        clients.push((Some(cursor), client(&log, Some(cursor)).await));
    }
    for (cursor, client) in &mut clients {
        let rest = &old[usize::try_from(cursor.unwrap_or(40)).unwrap()..];
        assert_eq!(client.frames(rest.len()).await, rest, "{cursor:?}");
    }
    let new = log.append(5, 300).await;
    for (cursor, client) in &mut clients {
        assert_eq!(client.frames(5).await, new, "{cursor:?}");
    }
}

/// CUR-5, WS-5: also right after a restart, when nothing was appended yet.
#[tokio::test]
async fn a_cursor_ahead_of_the_head_gets_an_error_frame_and_1008() {
    let log = Log::open();
    let frames = log.append(3, 10).await;
    let log = log.reopened().await;

    let mut ahead = client(&log, Some(4)).await;
    let mut at_head = client(&log, Some(3)).await;
    let mut before = client(&log, Some(2)).await;

    let words = CloseReason::FutureCursor.words();
    assert_eq!(ahead.frames(1).await[0], error_frame("FutureCursor", Some(words)));
    let expected = (1008, "FutureCursor".to_owned(), CloseReason::FutureCursor);
    assert_eq!(ahead.closed().await, expected);
    assert_eq!(before.frames(1).await[0], frames[2]);
    let next = log.append(1, 10).await;
    assert_eq!(at_head.frames(1).await, next);
}

/// CUR-2, CUR-6: `#info OutdatedCursor` is the first frame, then the whole window, then live.
#[tokio::test]
async fn a_cursor_before_the_window_gets_outdated_cursor_then_the_whole_window() {
    let log = Log::open_with(|options| options.bytes_max = Some(40_000));
    let frames = log.append(200, 300).await;
    log.prune().await;
    let oldest = log.reader.window().oldest.0;
    assert!((2..200).contains(&oldest), "{oldest}");
    let words = "Requested cursor exceeded limit. Possibly missing events";
    let info = info_frame("OutdatedCursor", Some(words));

    for cursor in [0, 1, oldest - 2] {
        let mut outdated = client(&log, Some(cursor)).await;
        assert_eq!(outdated.frames(1).await[0], info, "{cursor}");
        let window = &frames[usize::try_from(oldest - 1).unwrap()..];
        assert_eq!(outdated.frames(window.len()).await, window);
    }
    let mut complete = client(&log, Some(oldest - 1)).await;
    let first = &frames[usize::try_from(oldest - 1).unwrap()];
    assert_eq!(complete.frames(1).await[0], first, "control: nothing was missing");
}

/// CUR-2, CUR-9: a floor is no lost history, also after a restart.
#[tokio::test]
async fn cursor_zero_of_a_log_with_a_floor_has_no_info() {
    let log = Log::open_with(|options| options.initial_seq = Seq(1_000));
    let frames = log.append(2, 10).await;
    assert_eq!(client(&log, Some(0)).await.frames(2).await, frames);
    let log = log.reopened().await;
    assert_eq!(client(&log, Some(0)).await.frames(2).await, frames);
}

/// DESIGN 10.12, OUT-6: who is overtaken by retention is told, never given a silent gap.
#[tokio::test]
async fn a_consumer_overtaken_by_retention_is_told_that_it_was_too_slow() {
    let log = Log::open_with(|options| options.bytes_max = Some(60_000));
    log.append(100, 300).await;
    let mut stalled = connect(&log, Some(0), 64).await;
    // The first bytes are there: it has begun, and a batch of 64 KiB is on its way.
    let mut raw = vec![0; 2];
    stalled.socket.read_exact(&mut raw).await.unwrap();
    while log.reader.window().oldest.0 < 400 {
        log.append(100, 300).await;
        log.prune().await;
    }

    stalled.socket.read_to_end(&mut raw).await.unwrap();

    let got = parse(&raw);
    let words = CloseReason::TooSlow.words();
    let (last, events) = got.split_last().unwrap();
    assert_eq!(*last, error_frame("ConsumerTooSlow", Some(words)));
    assert_eq!(stalled.reason.await.unwrap(), CloseReason::TooSlow);
    let expected: Vec<_> = (1..)
        .map(|seq| Bytes::from(entry(seq, 300).frame.with_seq(seq)))
        .take(events.len())
        .collect();
    assert_eq!(events, expected, "no gap before the error");
}

/// DESIGN 10.12: a socket that takes less than 64 KiB in 60 s with data waiting is closed.
#[tokio::test]
async fn a_consumer_that_takes_nothing_is_closed_after_a_minute() {
    let log = Log::open_with(|options| options.recent_bytes = 1 << 20);
    log.append(300, 1_000).await;
    tokio::time::pause();
    let start = Instant::now();
    let stalled = connect(&log, Some(0), 1_024).await;

    assert_eq!(stalled.reason.await.unwrap(), CloseReason::TooSlow);

    // A minute of waiting, then five seconds for the last words.
    let took = start.elapsed();
    assert!((65..66).contains(&took.as_secs()), "{took:?}");
}

/// WS-8, DESIGN 10.12: lag alone never closes; a slow but steady consumer gets everything. The one
/// that is a little slower than the limit is the control.
#[tokio::test]
async fn a_slow_but_steady_consumer_gets_everything_however_late() {
    let log = Log::open_with(|options| options.recent_bytes = 4 << 20);
    let frames = log.append(1_000, 1_000).await;
    tokio::time::pause();
    // Each frame has a head of four bytes.
    let all: usize = frames.iter().map(|frame| frame.len() + 4).sum();
    for (bytes_per_second, survives) in [(1_200, true), (1_000, false)] {
        let start = Instant::now();
        let mut steady = connect(&log, Some(0), 1_024).await;
        let mut raw = Vec::new();
        while raw.len() < all {
            let before = raw.len();
            let portion = bytes_per_second.min(all - before);
            let mut portion = (&mut steady.socket).take(u64::try_from(portion).unwrap());
            portion.read_to_end(&mut raw).await.unwrap();
            if raw.len() == before {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let got = parse(&raw);
        if survives {
            assert_eq!(got, frames);
            assert!(start.elapsed() > Duration::from_mins(10), "control: it was slow");
            assert!(!steady.reason.is_finished());
        } else {
            assert!(got.len() < frames.len());
            assert_eq!(steady.reason.await.unwrap(), CloseReason::TooSlow);
        }
    }
}

/// WS-7: a quiet consumer is pinged; one that answers stays for ever.
#[tokio::test]
async fn a_quiet_consumer_that_answers_pings_stays() {
    let log = Log::open();
    tokio::time::pause();
    let mut quiet = client(&log, None).await;
    let mut pings = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_mins(20) {
        match quiet.socket.next().await.unwrap().unwrap() {
            // The library answers by itself with the next read.
            Message::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pings, 40);
    assert!(!quiet.reason.is_finished());
}

/// WS-7: one that does not answer is closed 60 s after the ping.
#[tokio::test]
async fn a_quiet_consumer_that_answers_no_ping_is_closed() {
    let log = Log::open();
    tokio::time::pause();
    let start = Instant::now();
    let mut deaf = connect(&log, None, 1_024).await;

    let mut raw = Vec::new();
    deaf.socket.read_to_end(&mut raw).await.unwrap();

    assert_eq!(deaf.reason.await.unwrap(), CloseReason::NoPong);
    assert_eq!(raw[..2], [0x89, 0], "a ping without payload");
    assert_eq!(raw[2..6], [0x88, 8, 0x03, 0xf0], "then close 1008");
    let took = start.elapsed();
    assert!((90..93).contains(&took.as_secs()), "{took:?}");
}

/// WS-6: what a client sends is ignored up to 4 KiB, and closes with 1009 above.
#[tokio::test]
async fn client_messages_are_ignored_and_oversized_ones_end_with_1009() {
    let log = Log::open();
    let mut chatty = client(&log, None).await;
    chatty.socket.send(Message::text("hello")).await.unwrap();
    chatty.socket.send(Message::binary(vec![0; 4_096])).await.unwrap();
    chatty.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    let pong = chatty.socket.next().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"there?")), "control: it is still served");

    chatty.socket.send(Message::binary(vec![0; 4_097])).await.unwrap();
    let told = chatty.closed().await;
    assert_eq!(told, (1009, "FrameTooLarge".to_owned(), CloseReason::FrameTooLarge));
}

/// A client that closes gets its close frame back.
#[tokio::test]
async fn a_consumer_that_closes_is_answered() {
    let log = Log::open();
    let mut leaving = client(&log, None).await;
    leaving.socket.close(None).await.unwrap();
    assert!(matches!(leaving.socket.next().await, Some(Ok(Message::Close(_)))));
    assert_eq!(leaving.reason.await.unwrap(), CloseReason::Gone);

    let vanishing = connect(&log, None, 64).await;
    drop(vanishing.socket);
    assert_eq!(vanishing.reason.await.unwrap(), CloseReason::Gone);
}

/// OUT-7: at shutdown everything up to the head is sent, then 1001.
#[tokio::test]
async fn at_shutdown_a_consumer_gets_the_rest_and_1001() {
    let log = Log::open();
    let frames = log.append(100, 500).await;
    let mut behind = client(&log, Some(0)).await;
    let idle = client(&log, None).await;
    behind.closing.cancel();
    idle.closing.cancel();

    assert_eq!(behind.frames(100).await, frames);
    let words = "the relay is shutting down".to_owned();
    assert_eq!(behind.closed().await, (1001, words.clone(), CloseReason::Shutdown));
    assert_eq!(idle.closed().await, (1001, words, CloseReason::Shutdown));
}

/// OUT-7: one that takes nothing cannot hold up a shutdown for more than five seconds.
#[tokio::test]
async fn a_stalled_consumer_does_not_hold_up_a_shutdown() {
    let log = Log::open_with(|options| options.recent_bytes = 1 << 20);
    log.append(100, 1_000).await;
    tokio::time::pause();
    let stalled = connect(&log, Some(0), 64).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let start = Instant::now();
    stalled.closing.cancel();

    assert_eq!(stalled.reason.await.unwrap(), CloseReason::Shutdown);

    assert!(start.elapsed() <= Duration::from_secs(5), "{:?}", start.elapsed());
}

/// WS-4: a frame of the largest size arrives whole, between small ones.
#[tokio::test]
async fn the_largest_frame_arrives_whole() {
    let log = Log::open_with(|options| options.segment_bytes = 64 << 20);
    let mut frames = log.append(3, 100).await;
    frames.extend(log.append(1, 4_900_000).await);
    frames.extend(log.append(3, 100).await);
    let mut reader = client(&log, Some(0)).await;
    assert_eq!(reader.frames(7).await, frames);
}

/// SEC-10: what the API shows of a consumer.
#[tokio::test]
async fn a_consumer_is_shown_with_what_it_was_sent() {
    let log = Log::open();
    let frames = log.append(10, 100).await;
    let mut connected = connect(&log, Some(4), 1 << 20).await;
    let expected: usize = frames[4..].iter().map(|frame| frame.len() + 2).sum();
    let mut raw = vec![0; expected];
    connected.socket.read_exact(&mut raw).await.unwrap();
    connected.closing.cancel();
    assert_eq!(connected.reason.await.unwrap(), CloseReason::Shutdown);

    let view = connected.register.views().pop().unwrap();
    assert_eq!((view.seq, view.events, view.since_ms), (10, 6, 7));
    assert_eq!(view.user_agent, "test\\n");
    assert!(view.bytes >= u64::try_from(expected).unwrap(), "{view:?}");
}
