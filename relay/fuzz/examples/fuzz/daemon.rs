//! Decoders of the daemon: what consumers and operators write, and its own files.
#![expect(clippy::expect_used, clippy::panic, reason = "a target says by a panic what it found")]

pub(crate) mod disk;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use relay::{
    clock::Clock,
    config::{Config, Flags, parse},
    domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq},
    eventlog::{Appender, Entry, Event, LogOptions, ReadError, Reader, ReplayWindow, open_on},
    firehose::{Start, cursor_of, position},
};
use relay_fuzz::{Choices, Target};
use relay_protocol::account_frame;

use self::disk::{DIR, Disk};

/// The targets of the daemon.
pub(crate) const TARGETS: [Target; 3] = [
    Target { name: "cursor", run: cursor },
    Target { name: "settings", run: settings },
    Target { name: "segment", run: segment },
];

/// CUR-1…8: any query string against any window.
fn cursor(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (span, from, pruned) =
        (choices.short() as u64, choices.short() as u64, choices.below(2) == 1);
    let window = ReplayWindow { oldest: Seq(from + 1), head: Seq(from + span) };
    let Ok(query) = str::from_utf8(choices.rest()) else { return };
    let cursor = cursor_of(Some(query));
    let expected = plainly_read(query);
    assert_eq!(cursor.as_ref().ok().copied(), expected.ok().map(|cursor| cursor.map(Seq)));

    let Ok(cursor) = cursor else { return };
    let before_all = Seq(from);
    let start = position(cursor, window, pruned);
    match (cursor, start) {
        (None, Start::After(seq)) => assert_eq!(seq, window.head, "live"),
        (Some(cursor), Start::Future) => assert!(cursor > window.head),
        (Some(cursor), Start::After(seq)) => {
            assert!(cursor <= window.head && seq >= before_all);
            // Exclusive, and nothing that is retained is left out.
            assert_eq!(seq, cursor.max(before_all));
            assert!(cursor >= before_all || (cursor == Seq(0) && !pruned), "something is missing");
        }
        (Some(cursor), Start::Outdated(seq)) => {
            assert_eq!(seq, before_all);
            assert!(cursor < before_all && (pruned || cursor > Seq(0)));
        }
        (None, other) => panic!("{other:?} without a cursor"),
    }
}

/// What a query string says of `cursor`, byte by byte.
fn plainly_read(query: &str) -> Result<Option<u64>, &'static str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs = pairs.map(|(name, value)| (plain(name), plain(value)));
    let value = pairs.find(|(name, _)| name == b"cursor").map(|(_, value)| value);
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let mut number = 0_u64;
    for byte in value {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10).ok_or("no digit")?;
        let shifted = number.checked_mul(10).and_then(|number| number.checked_add(digit.into()));
        number = shifted.ok_or("too large")?;
    }
    if number < 1 << 53 { Ok(Some(number)) } else { Err("too large") }
}

/// Undoes the encoding of a form.
fn plain(text: &str) -> Vec<u8> {
    let mut choices = Choices::new(text.as_bytes());
    let mut out = Vec::new();
    while !choices.is_done() {
        let byte = choices.byte();
        let digits = choices.clone().take(2);
        let escaped = str::from_utf8(digits)
            .ok()
            .filter(|digits| {
                digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, escaped) {
            (b'%', Some(escaped)) => {
                choices.take(2);
                out.push(escaped);
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out
}

/// I6, I8: a settings file, a `.env` file, the environment and flags, parts of the input between
/// zero bytes. Whatever they hold, a password is shown nowhere.
fn settings(data: &[u8]) {
    const PASSWORD: &str = "zebra-quartz-81";
    let Ok(text) = str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let dir = directory();
    for name in ["relay.toml", ".env"] {
        let text = parts.next().unwrap_or_default();
        fs::write(dir.join(name), text).expect("write to a directory of our own");
    }
    let environment = parts.next().unwrap_or_default().lines();
    let mut env: Vec<(String, String)> = environment
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    env.push(("RELAY_CONFIG".to_owned(), "relay.toml".to_owned()));
    env.push(("RELAY_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()));
    env.push(("DATABASE_URL".to_owned(), format!("postgres://relay:{PASSWORD}@localhost/relay")));
    let flags = parts.next().map(|flags| parse(std::iter::once("relay").chain(flags.lines())));
    let flags = flags.and_then(Result::ok).map_or_else(Flags::default, |(_, flags)| flags);

    let shown = match Config::load(&flags, &env, dir) {
        Ok(config) => {
            assert!(config.shards >= 1 && config.segment_bytes >= 64 << 10);
            assert!(!(config.dev && config.environment == "production"));
            format!("{config:?}\n{:?}\n{:?}", config.effective(), config.warnings())
        }
        Err(error) => {
            assert!(!error.0.is_empty() && error.0.iter().all(|sentence| !sentence.is_empty()));
            error.to_string()
        }
    };
    assert!(!shown.contains(PASSWORD) || text.contains("zebra"), "a password is shown: {shown}");
}

/// A directory of this process.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| tempfile::tempdir().expect("create a directory")).path()
}

/// OUT-4, I1, I4: any files as the event log. It opens or says why not; what it shows rises without
/// a gap that it does not admit, takes an event, and is the same after the next start.
fn segment(data: &[u8]) {
    let disk = Arc::new(Disk::of(data));
    let runtime = runtime();
    let Some((first, head)) = runtime.block_on(live(&disk, Seq(0))) else { return };
    let (again, _) = runtime.block_on(live(&disk, head)).expect("what was mended opens again");
    let (last, kept) = again.split_last().expect("an event was appended before");
    assert_eq!(last.0, head, "the last event is the one that was appended");
    let first: Vec<_> = first.iter().filter(|event| again.first() <= Some(event)).collect();
    assert_eq!(first, kept.iter().collect::<Vec<_>>());
}

/// One life of the log: opens, reads everything, appends one event. Gives what was read and the seq
/// of the new event.
pub(crate) async fn live(disk: &Arc<Disk>, known: Seq) -> Option<(Vec<(Seq, Vec<u8>)>, Seq)> {
    let files = Arc::clone(disk);
    let clock = Clock::manual(1_000_000_000);
    let (appender, reader) = open_on(files, options(known), clock, Box::new(|_| {})).ok()?;
    let events = read_all(&reader).await;
    let head = append(&appender).await;
    appender.close().await;
    Some((events.iter().map(plain_event).collect(), head?))
}

fn options(known_seq: Seq) -> LogOptions {
    LogOptions {
        dir: PathBuf::from(DIR),
        instance_id: "here".to_owned(),
        replay_window: Duration::from_hours(24 * 365 * 100),
        bytes_max: Some(1 << 30),
        initial_seq: Seq(1),
        known_seq,
        segment_bytes: 64 << 10,
        sync_interval: Duration::ZERO,
        recent_bytes: 1 << 10,
        // A thread that compresses beside would make the outcome depend on chance.
        compression: 0,
    }
}

/// The whole window. Where reading finds damage, the window begins behind it.
async fn read_all(reader: &Reader) -> Vec<Event> {
    loop {
        let window = reader.window();
        assert!(window.oldest.0 <= window.head.0 + 1, "{window:?}");
        let mut position = reader.after(Seq(window.oldest.0.saturating_sub(1)));
        let mut events: Vec<Event> = Vec::new();
        let end = loop {
            match position.read(4_096).await {
                Ok(some) if some.is_empty() => break Ok(()),
                Ok(some) => events.extend(some),
                Err(error) => break Err(error),
            }
        };
        assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq), "seq rises");
        assert!(events.iter().all(|event| event.seq <= window.head), "durable before visible");
        match end {
            Ok(()) => return events,
            Err(ReadError::Overtaken) => {
                assert!(reader.window().oldest > window.oldest, "damage moves the window");
            }
            Err(ReadError::Io(why)) => panic!("a disk without faults: {why}"),
        }
    }
}

/// Appends an event; its seq, `None` when the log does not take it.
async fn append(appender: &Appender) -> Option<Seq> {
    appender.append(vec![entry()]).await.ok()?;
    appender.barrier().await.ok()
}

fn plain_event(event: &Event) -> (Seq, Vec<u8>) {
    (event.seq, event.frame.to_vec())
}

fn entry() -> Entry {
    Entry {
        kind: EventKind::Account,
        account: AccountNo(1),
        host: HostId(1),
        epoch: Epoch(1),
        host_seq: HostSeq(1),
        note: bytes::Bytes::new(),
        frame: account_frame(
            "did:plc:7iza6de2dwap2sbkpav7c6c6",
            "2026-01-01T00:00:00Z",
            true,
            None,
        ),
    }
}

pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        builder.expect("start a runtime")
    })
}
