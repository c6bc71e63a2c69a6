//! What becomes of accounts whose events the index has missed.

use std::time::Duration;

use bytes::Bytes;
use relay_protocol::{CommitCid, DataCid, Did, Rev};

use super::{super::*, index, unsure};
use crate::{
    domain::{Epoch, EventKind, HostId, HostSeq, LocalStatus, RepoState},
    eventlog::{self, Appender, LogOptions},
    store::Checkpoint,
};

/// Everything that a projection needs, with accounts in the store.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
    index: Index,
}

impl Place {
    /// * `accounts` – status and `last_seq` of each, from number 1 on
    async fn new(accounts: &[(UpstreamStatus, u64)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("relay.sqlite").display());
        let store = Store::open(&url, 1).await.unwrap();
        let hosts = store.add_hosts(&[("pds.example.net".to_owned(), true)], 1).await.unwrap();
        let rows = (1..).zip(accounts).map(|(number, (upstream, last_seq))| Account {
            number: AccountNo(number),
            did: Did::parse(&format!("did:web:{number}.example.com")).unwrap(),
            host: hosts[0].id,
            upstream: upstream.clone(),
            local: LocalStatus::None,
            repo: Some(RepoState {
                // By a clock that is years behind: it is the host's.
                rev: Rev::from_u64(1_500_000_000_000_000 << 10).unwrap(),
                data: DataCid([1; 32]),
                commit: CommitCid([2; 32]),
            }),
            key: None,
            identity_checked_ms: 0,
            last: None,
            last_seq: Seq(*last_seq),
        });
        let checkpoint = Checkpoint {
            position: Seq(900),
            accounts: rows.collect(),
            cursors: Vec::new(),
            count_deltas: Vec::new(),
            mark: 1,
        };
        store.checkpoint(&checkpoint).await.unwrap();
        let index = index(&dir);
        Self { dir, store, index }
    }

    /// A log that has lost all up to seq 1,000, with one event after that.
    async fn log(&self) -> (Appender, Reader) {
        let options = LogOptions {
            dir: self.dir.path().join("log"),
            instance_id: "here".to_owned(),
            replay_window: Duration::from_hours(24),
            bytes_max: Some(1 << 30),
            initial_seq: Seq(1),
            known_seq: Seq(1_000),
            segment_bytes: 64 << 10,
            sync_interval: Duration::ZERO,
            recent_bytes: 1 << 20,
            compression: 1,
        };
        let (appender, reader) =
            eventlog::open(options, Clock::system(), Box::new(|_| {})).unwrap();
        let entry = eventlog::Entry {
            kind: EventKind::Identity,
            account: AccountNo(1),
            host: HostId(1),
            epoch: Epoch(0),
            host_seq: HostSeq(1),
            note: Bytes::new(),
            frame: relay_protocol::identity_frame(
                "did:web:1.example.com",
                "2026-01-01T00:00:00.000Z",
                None,
            ),
        };
        appender.append(vec![entry]).await.unwrap();
        appender.barrier().await.unwrap();
        (appender, reader)
    }

    /// Follows the log until the index has reached its head.
    async fn follow(&self) {
        let (appender, reader) = self.log().await;
        let head = reader.window().head;
        let (index, store, clock) = (self.index.clone(), self.store.clone(), Clock::system());
        let tasks = Tasks::default();
        tasks.start(Projection { index, reader, store, clock }.run(tasks.child()));
        let reached = async {
            while self.index.position() < Some(head) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap();
        tasks.stop().await;
        appender.close().await;
    }

    fn wholes(&self, accounts: u64) -> Vec<Whole> {
        let known = (1..=accounts).map(|number| self.index.of_account(AccountNo(number)));
        known.map(|known| known.unwrap().0).collect()
    }
}

/// An index that begins beside accounts that were there before it asks for all of them, and for none that
/// is deleted.
#[tokio::test]
async fn a_new_index_is_unsure_of_all_accounts_that_there_are() {
    let accounts =
        [(UpstreamStatus::Active, 1), (UpstreamStatus::Deleted, 1), (UpstreamStatus::Active, 900)];
    let place = Place::new(&accounts).await;
    place.follow().await;
    let older = unsure(Doubt::OlderRecords);
    assert_eq!(place.wholes(3), [older, Whole::Unmarked, older]);
}

/// Where the log does not reach back to the index, those whose rows were written since are asked for
/// again, whatever the clocks of their hosts say; those who were deleted are gone, those who left are
/// asked for when they return, and all others stay as they are known.
#[tokio::test]
async fn accounts_that_may_have_written_while_the_log_was_lost_are_unsure() {
    let deactivated = UpstreamStatus::from_wire(false, Some("deactivated"));
    let active = UpstreamStatus::Active;
    let accounts = [
        (active.clone(), 300),
        (active.clone(), 700),
        (UpstreamStatus::Deleted, 300),
        (active.clone(), 400),
        (active.clone(), 300),
        (active.clone(), 300),
        (deactivated, 300),
        (active, 300),
    ];
    let place = Place::new(&accounts).await;
    let mark = |number, whole| Change::Mark { account: AccountNo(number), whole };
    let complete = [1, 2, 3, 4, 7].map(|number| mark(number, Whole::Complete));
    let others = [mark(5, unsure(Doubt::Sync)), mark(8, unsure(Doubt::Inactive))];
    let batch = Batch {
        position: Some(Seq(500)),
        changes: complete.into_iter().chain(others).collect(),
        progress: vec![(CHECKPOINT_KEY.to_vec(), Some(400_u64.to_be_bytes().to_vec()))],
    };
    place.index.apply(&batch).unwrap();
    place.follow().await;
    let lost = unsure(Doubt::LogLost);
    let expected = [
        Whole::Complete,
        lost,
        Whole::Gone,
        lost,
        unsure(Doubt::Sync),
        lost,
        unsure(Doubt::Inactive),
        lost,
    ];
    assert_eq!(
        place.wholes(8),
        expected,
        "the fourth may have written after it was copied, the sixth is new, the last has returned"
    );
}

/// The checkpoint that tells whose rows are older than a gap is noted as soon as the index has come to
/// where the log ended after it; without a note anybody may have written.
#[tokio::test]
async fn the_checkpoint_that_a_gap_is_measured_by_follows_the_index() {
    let place = Place::new(&[(UpstreamStatus::Active, 1)]).await;
    let complete = Change::Mark { account: AccountNo(1), whole: Whole::Complete };
    let position = Some(Seq(500));
    place.index.apply(&Batch { position, changes: vec![complete], ..Batch::default() }).unwrap();
    assert_eq!(place.index.progress(CHECKPOINT_KEY), None);
    place.follow().await;
    assert_eq!(place.wholes(1), [unsure(Doubt::LogLost)]);
    let noted = place.index.progress(CHECKPOINT_KEY);
    assert_eq!(noted, Some(900_u64.to_be_bytes().to_vec()), "that of the store");
}
