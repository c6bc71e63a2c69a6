//! What recovery makes of a log and a store, whatever happened to either before (I3).

use std::{path::Path, time::Duration};

use bytes::Bytes;
use relay_protocol::{Did, account_frame, identity_frame};

use super::{Recovered, Since, recover};
use crate::{
    clock::Clock,
    domain::{
        Account, AccountNo, Epoch, EventKind, HostId, HostSeq, LastEvent, LocalStatus, Seq,
        UpstreamStatus,
    },
    eventlog::{self, Appender, Entry, LogHealth, LogOptions, Reader},
    store::{Checkpoint, Store},
};

const TIME: &str = "2026-01-01T00:00:00.000Z";
const ACCOUNTS: u64 = 5;

/// DESIGN 5: busy accounts share the write of a row as long as a restart stays quick; marks alone are
/// written every 4 s where that is cheap (UP-9).
#[tokio::test(start_paused = true)]
async fn a_checkpoint_waits_until_it_is_worth_its_rows_but_not_for_long() {
    let since = Since::at(Seq(1_000));
    let head = |events: u64| Seq(1_000 + events);
    let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
    advance(29).await;
    assert!(!since.is_checkpoint_due(head(29_000), 1), "too early");
    assert!(since.is_checkpoint_due(head(120_000), 1), "much to replay");
    assert!(since.is_checkpoint_due(head(50_000), 120_000), "much to write");
    assert!(since.are_cursors_due(head(29_000), 100));
    assert!(!since.are_cursors_due(head(29_000), 3_000), "one row for ten events");
    advance(1).await;
    assert!(since.are_cursors_due(head(30_000), 3_000), "30 s");
    assert!(since.is_checkpoint_due(head(30_000), 7_500), "four events for a row");
    assert!(!since.is_checkpoint_due(head(30_000), 7_501));
    advance(89).await;
    assert!(!since.is_checkpoint_due(head(90_000), 30_000));
    advance(1).await;
    assert!(since.is_checkpoint_due(head(90_000), 30_000), "two minutes");
    assert!(since.is_checkpoint_due(head(0), 0), "also when nothing came");
}

/// I3: what many events of few accounts made is written once.
#[tokio::test]
async fn recovery_writes_each_row_once() {
    let place = Place::new().await;
    let (appender, reader) = place.log();
    let entries = (0..5_000).map(|number| place.entry(number)).collect();
    appender.append(entries).await.unwrap();
    appender.barrier().await.unwrap();

    let recovered = recover(&place.store, &reader).await.unwrap();

    assert_eq!((recovered.events, recovered.accounts), (5_000, ACCOUNTS));
    assert_eq!(place.accounts().await.len() as u64, ACCOUNTS);
}

/// A log and a store in a directory of their own.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
    host: HostId,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
        let store = Store::open(&url, 1).await.unwrap();
        let hosts = store.add_hosts(&[("pds.example.net".to_owned(), true)], 1).await.unwrap();
        Self { dir, store, host: hosts[0].id }
    }

    fn log(&self) -> (Appender, Reader) {
        let options = LogOptions {
            dir: self.dir.path().join("log"),
            instance_id: "here".to_owned(),
            replay_window: Duration::from_hours(24),
            bytes_max: Some(1 << 30),
            initial_seq: Seq(1),
            known_seq: Seq(0),
            segment_bytes: 2_000,
            sync_interval: Duration::ZERO,
            recent_bytes: 1_000,
            compression: 1,
        };
        eventlog::open(options, Clock::system(), Box::new(|_| {})).unwrap()
    }

    /// An event of one of the accounts, in turn: `#identity` twice, then `#account`.
    fn entry(&self, number: u64) -> Entry {
        let account = number % ACCOUNTS + 1;
        let did = did(account);
        let is_account = number / ACCOUNTS % 3 == 2;
        let frame = if is_account {
            account_frame(did.as_str(), TIME, false, Some("deactivated"))
        } else {
            identity_frame(did.as_str(), TIME, None)
        };
        Entry {
            kind: if is_account { EventKind::Account } else { EventKind::Identity },
            account: AccountNo(account),
            host: self.host,
            epoch: Epoch(2),
            host_seq: HostSeq(number + 100),
            note: Bytes::new(),
            frame,
        }
    }

    async fn append(&self, appender: &Appender, numbers: std::ops::Range<u64>) {
        for number in numbers {
            appender.append(vec![self.entry(number)]).await.unwrap();
            appender.barrier().await.unwrap();
        }
    }

    async fn accounts(&self) -> Vec<Account> {
        self.store.accounts_after(AccountNo(0), 100).await.unwrap()
    }

    async fn count(&self) -> u64 {
        self.store.hosts().await.unwrap()[0].account_count
    }

    fn segments(&self) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(self.dir.path().join("log")).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        paths.sort();
        paths
    }
}

fn did(number: u64) -> Did {
    let letters: String = std::iter::repeat_n('a', 23).collect();
    let last = char::from(b'a' + u8::try_from(number).unwrap());
    Did::parse(&format!("did:plc:{letters}{last}")).unwrap()
}

fn base(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// I3: rows are what the log says, wherever the last checkpoint was; replay that is cut off and done
/// again counts no account twice (HOST-10).
#[tokio::test]
async fn rows_after_recovery_are_those_of_the_last_events_wherever_the_checkpoint_was() {
    for checkpoint_at in [0, 1, 7, 33, 59, 60] {
        let place = Place::new().await;
        let (appender, reader) = place.log();
        place.append(&appender, 0..checkpoint_at).await;
        recover(&place.store, &reader).await.unwrap();
        place.append(&appender, checkpoint_at..60).await;
        appender.close().await;

        let (_appender, reader) = place.log();
        let recovered = recover(&place.store, &reader).await.unwrap();

        assert_eq!((recovered.events, recovered.position), (60 - checkpoint_at, Seq(60)));
        let rows = place.accounts().await;
        assert_eq!(rows.len() as u64, ACCOUNTS);
        for row in rows {
            // The last round of `#account` was the last but none: 55 to 59.
            let number = 54 + row.number.0;
            let last =
                LastEvent { host: place.host, epoch: Epoch(2), host_seq: HostSeq(number + 100) };
            assert_eq!((row.last, row.last_seq), (Some(last), Seq(number + 1)));
            assert_eq!(row.did, did(row.number.0));
            assert_eq!(row.upstream, UpstreamStatus::Deactivated);
        }
        assert_eq!(place.count().await, ACCOUNTS);
        assert_eq!(place.store.last_checkpoint().await.unwrap(), Some(Seq(60)));
        let again = recover(&place.store, &reader).await.unwrap();
        assert_eq!(again, Recovered { events: 0, accounts: 0, position: Seq(60) });
        assert_eq!(place.count().await, ACCOUNTS);
    }
}

/// I3, DESIGN 10.5: a fuzzy checkpoint holds rows of events after its position; replay applies these
/// again and ends in the same rows.
#[tokio::test]
async fn events_that_a_row_already_holds_change_nothing() {
    let place = Place::new().await;
    let (appender, reader) = place.log();
    place.append(&appender, 0..60).await;
    recover(&place.store, &reader).await.unwrap();
    let rows = place.accounts().await;
    let earlier = Checkpoint { position: Seq(12), ..Checkpoint::default() };
    place.store.checkpoint(&earlier).await.unwrap();

    let recovered = recover(&place.store, &reader).await.unwrap();

    assert_eq!(recovered.events, 48);
    assert_eq!(place.accounts().await, rows);
    assert_eq!(place.count().await, ACCOUNTS);
}

/// DESIGN 10.10: a damaged segment after the checkpoint does not keep the relay from starting: what
/// follows it is replayed, health says so.
#[tokio::test]
async fn recovery_passes_a_damaged_segment() {
    let place = Place::new().await;
    let (appender, _reader) = place.log();
    place.append(&appender, 0..60).await;
    appender.close().await;
    let segments = place.segments();
    assert!(segments.len() > 4, "{segments:?}");
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    bytes[128 + 80] ^= 1;
    std::fs::write(&segments[1], bytes).unwrap();

    let (_appender, reader) = place.log();
    let recovered = recover(&place.store, &reader).await.unwrap();

    let after = base(&segments[2]);
    assert_eq!(reader.window().oldest, Seq(after));
    assert_eq!(recovered.position, Seq(60));
    assert_eq!(recovered.events, base(&segments[1]) - 1 + (60 - (after - 1)));
    assert!(matches!(&*reader.health().borrow(), LogHealth::Damaged(_)));
    for row in place.accounts().await {
        assert_eq!(row.last_seq, Seq(55 + row.number.0));
    }
}

/// DESIGN 5: a decision about an account survives a replay of the events that it came after.
#[tokio::test]
async fn a_takedown_survives_the_replay_of_older_events() {
    let place = Place::new().await;
    let (appender, reader) = place.log();
    place.append(&appender, 0..10).await;
    place.store.set_local_status(&did(3), LocalStatus::Takendown).await.unwrap();

    recover(&place.store, &reader).await.unwrap();

    let rows = place.accounts().await;
    let taken: Vec<_> = rows.iter().filter(|row| row.local != LocalStatus::None).collect();
    assert_eq!(taken.len(), 1);
    assert_eq!((&taken[0].did, &taken[0].local), (&did(3), &LocalStatus::Takendown));
}
