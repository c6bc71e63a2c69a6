//! What holds on both databases.

use relay::{
    domain::{
        Account, AccountNo, Epoch, HostId, HostSeq, HostStatus, LastEvent, LocalStatus, OwnLimits,
        RepoState, Seq, Strictness, UpstreamStatus,
    },
    store::{Checkpoint, HostRow, Store, StoreError},
};
use relay_protocol::{CommitCid, DataCid, Did, Rev};

use super::Place;

const NOW_MS: u64 = 1_700_000_000_000;

fn did(number: u64) -> Did {
    let digits: String =
        format!("{number:08}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
    Did::parse(&format!("did:plc:aaaaaaaaaaaaaaaa{digits}")).unwrap()
}

pub(crate) fn account(number: u64, host: HostId) -> Account {
    Account {
        number: AccountNo(number),
        did: did(number),
        host,
        upstream: UpstreamStatus::Active,
        local: LocalStatus::None,
        repo: Some(RepoState {
            rev: Rev::parse("3jzfcijpj2z2a").unwrap(),
            data: DataCid([7; 32]),
            commit: CommitCid([9; 32]),
        }),
        key: Some([3; 34]),
        identity_checked_ms: NOW_MS,
        last: Some(LastEvent { host, epoch: Epoch(1), host_seq: HostSeq(55) }),
        last_seq: Seq(number + 1000),
    }
}

/// As many accounts as there are numbers, each with all that an account in use has.
pub(crate) fn accounts(numbers: std::ops::RangeInclusive<u64>) -> Vec<Account> {
    numbers.map(|number| account(number, HostId(1))).collect()
}

fn names<const N: usize>(names: [&str; N]) -> Vec<(String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), true)).collect()
}

async fn one_host(store: &Store) -> HostRow {
    store.add_hosts(&names(["pds.example"]), NOW_MS).await.unwrap().remove(0)
}

pub(crate) async fn write(store: &Store, accounts: Vec<Account>) {
    let position = Seq(1);
    store.checkpoint(&Checkpoint { position, accounts, ..Checkpoint::default() }).await.unwrap();
}

async fn read(store: &Store, number: u64) -> Account {
    store.accounts(&[did(number)]).await.unwrap().remove(0)
}

/// DESIGN 10.3, 10.4: every field survives, in every form that it can take.
pub(crate) async fn an_account_comes_back_as_it_was(place: Place) {
    let store = place.open().await;
    let mut rows = vec![
        account(1, HostId(1)),
        Account {
            did: Did::parse("did:web:a.bc.de").unwrap(),
            upstream: UpstreamStatus::Other("frozen".into()),
            local: LocalStatus::Suspended,
            repo: None,
            key: None,
            identity_checked_ms: 0,
            last: None,
            last_seq: Seq(0),
            ..account(2, HostId(7))
        },
        Account {
            host: HostId(u32::MAX),
            upstream: UpstreamStatus::ActiveThrottled,
            last: Some(LastEvent {
                host: HostId(u32::MAX),
                epoch: Epoch(u32::MAX),
                host_seq: HostSeq(u64::MAX),
            }),
            last_seq: Seq::MAX,
            ..account(3, HostId(1))
        },
    ];
    write(&store, rows.clone()).await;
    store.close().await;

    let store = place.open().await;
    let dids: Vec<Did> = rows.iter().map(|row| row.did.clone()).chain([did(99)]).collect();
    let mut found = store.accounts(&dids).await.unwrap();

    found.sort_by_key(|row| row.number);
    assert_eq!(found, rows);
    // And once more when every field changes.
    for row in &mut rows {
        row.host = HostId(5);
        row.upstream = UpstreamStatus::Deactivated;
        row.repo = row.repo.is_none().then(|| account(1, HostId(1)).repo).flatten();
        row.key = row.key.is_none().then_some([8; 34]);
        row.identity_checked_ms += 5000;
        row.last = row.last.is_none().then(|| account(1, HostId(1)).last).flatten();
        row.last_seq = Seq(5);
    }
    write(&store, rows.clone()).await;
    assert_eq!(store.accounts_after(AccountNo(0), 10).await.unwrap(), rows);
    let mut numbers: Vec<_> = rows.iter().rev().map(|row| row.number).collect();
    numbers.push(AccountNo(1_000_000));
    let mut found = store.accounts_numbered(&numbers).await.unwrap();
    found.sort_by_key(|row| row.number);
    assert_eq!(found, rows, "by their numbers, without those that nobody has");
}

/// HOST-1: hosts are listed in the order of first sight, whatever is added again.
pub(crate) async fn hosts_get_numbers_in_order_and_keep_them(place: Place) {
    let store = place.open().await.with_account_limit(500_000);
    let given = [("b.example".to_owned(), true), ("localhost:2583".to_owned(), false)];
    let first = store.add_hosts(&given, NOW_MS).await.unwrap();
    let again = names(["c.example", "b.example", "c.example"]);
    let second = store.add_hosts(&again, NOW_MS + 1).await.unwrap();

    assert_eq!(
        first[0],
        HostRow {
            id: HostId(1),
            hostname: "b.example".to_owned(),
            secure: true,
            status: HostStatus::Active,
            epoch: Epoch(0),
            cursor: None,
            account_count: 0,
            account_limit: 500_000,
            first_seen_ms: NOW_MS,
            ever_connected: false,
            last_error: None,
            clean_commits: 0,
            strict_for_good: false,
            cursor_reset_ms: 0,
            own_limits: OwnLimits::default(),
            growth: 0,
            strictness: Strictness::Default,
            silenced_until_ms: 0,
            status_reason: None,
            status_since_ms: 0,
            by_request: false,
            changes: 0,
        }
    );
    let seen = |rows: &[HostRow]| -> Vec<(u32, String, bool)> {
        rows.iter().map(|row| (row.id.0, row.hostname.clone(), row.secure)).collect()
    };
    assert_eq!(
        seen(&second),
        [(1, "b.example".to_owned(), true), (3, "c.example".to_owned(), true)]
    );
    let all = seen(&store.hosts().await.unwrap());
    assert_eq!(all.len(), 3);
    assert_eq!(all[1], (2, "localhost:2583".to_owned(), false));
    assert!(store.add_hosts(&[], NOW_MS).await.unwrap().is_empty());
}

/// Numbers are given by one call at a time, or two hosts would get one.
pub(crate) async fn hosts_added_at_once_get_different_numbers(place: Place) {
    let store = place.open().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        calls.spawn(async move {
            let name = format!("h{number}.example");
            store.add_hosts(&[(name, true)], NOW_MS).await.map(|rows| rows.len())
        });
    }

    let results = calls.join_all().await;

    assert!(results.iter().all(|rows| matches!(rows, Ok(1))), "{results:?}");
    let ids: Vec<u32> = store.hosts().await.unwrap().iter().map(|row| row.id.0).collect();
    assert_eq!(ids, (1..=20).collect::<Vec<u32>>());
}

/// UP-9: what a slow task knows of a host must not move its cursor back.
pub(crate) async fn saving_a_host_leaves_cursor_and_count_alone(place: Place) {
    let store = place.open().await;
    let before = one_host(&store).await;
    store.save_cursors(&[(before.id, Epoch(0), HostSeq(40))]).await.unwrap();
    let deltas = vec![(before.id, 3)];
    store.checkpoint(&Checkpoint { count_deltas: deltas, ..Checkpoint::default() }).await.unwrap();

    let saved = HostRow {
        secure: false,
        status: HostStatus::Offline,
        account_limit: 7,
        ever_connected: true,
        last_error: Some("x".repeat(600)),
        clean_commits: 999,
        strict_for_good: true,
        cursor_reset_ms: 5,
        own_limits: OwnLimits { accounts: Some(0), per_hour: Some(7), ..OwnLimits::default() },
        growth: 150,
        strictness: Strictness::LenientUntil(u64::MAX),
        silenced_until_ms: 6,
        status_reason: Some("down".to_owned()),
        status_since_ms: 8,
        by_request: true,
        changes: 9,
        ..before.clone()
    };
    store.save_hosts(std::slice::from_ref(&saved)).await.unwrap();

    let expected = HostRow {
        cursor: Some(HostSeq(40)),
        account_count: 3,
        last_error: Some("x".repeat(500)),
        ..saved
    };
    assert_eq!(store.hosts().await.unwrap(), std::slice::from_ref(&expected));
    // A row with a higher epoch takes the cursor of the older one away; a lower one changes nothing.
    for epoch in [Epoch(2), Epoch(1)] {
        store.save_hosts(&[HostRow { epoch, ..expected.clone() }]).await.unwrap();
        let row = store.hosts().await.unwrap().remove(0);
        assert_eq!((row.epoch, row.cursor), (Epoch(2), None));
    }
}

/// I2, UP-9.
pub(crate) async fn a_lower_cursor_never_overwrites_a_higher_one(place: Place) {
    let store = place.open().await;
    let host = one_host(&store).await.id;
    let cursor = async |marks: &[(u32, u64)]| {
        let marks: Vec<_> =
            marks.iter().map(|(epoch, seq)| (host, Epoch(*epoch), HostSeq(*seq))).collect();
        store.save_cursors(&marks).await.unwrap();
        let row = store.hosts().await.unwrap().remove(0);
        (row.epoch.0, row.cursor.map(|seq| seq.0))
    };

    assert_eq!(cursor(&[(0, 10)]).await, (0, Some(10)));
    assert_eq!(cursor(&[(0, 9)]).await, (0, Some(10)), "lower");
    assert_eq!(cursor(&[(0, 12), (0, 11)]).await, (0, Some(12)), "twice in one call");
    assert_eq!(cursor(&[(1, 3)]).await, (1, Some(3)), "a new epoch counts from its own start");
    assert_eq!(cursor(&[(0, 99)]).await, (1, Some(3)), "an older epoch");
    assert_eq!(cursor(&[]).await, (1, Some(3)));
    // The same rule for the marks of a checkpoint.
    let cursors = vec![(host, Epoch(1), HostSeq(2))];
    store.checkpoint(&Checkpoint { cursors, ..Checkpoint::default() }).await.unwrap();
    assert_eq!(cursor(&[]).await, (1, Some(3)));
}

/// UP-6.
pub(crate) async fn a_cursor_reset_begins_an_epoch(place: Place) {
    let store = place.open().await;
    let before = one_host(&store).await;
    let host = before.id;
    store.save_cursors(&[(host, Epoch(0), HostSeq(1_000_000))]).await.unwrap();

    let anew = HostRow { epoch: Epoch(1), cursor_reset_ms: NOW_MS, ..before };
    store.save_hosts(&[anew]).await.unwrap();

    let row = store.hosts().await.unwrap().remove(0);
    assert_eq!((row.epoch, row.cursor, row.cursor_reset_ms), (Epoch(1), None, NOW_MS));
    // What was under way in the old epoch comes too late.
    store.save_cursors(&[(host, Epoch(0), HostSeq(1_000_001))]).await.unwrap();
    assert_eq!(store.hosts().await.unwrap()[0].cursor, None);
    store.save_cursors(&[(host, Epoch(1), HostSeq(1))]).await.unwrap();
    assert_eq!(store.hosts().await.unwrap()[0].cursor, Some(HostSeq(1)));
}

/// I3: a checkpoint that fails at its last account leaves position, cursors and counts as they were.
pub(crate) async fn a_checkpoint_writes_all_or_nothing(place: Place) {
    let store = place.open().await;
    let host = one_host(&store).await.id;
    assert_eq!(store.last_checkpoint().await.unwrap(), None);
    let good = Checkpoint {
        mark: 1,
        position: Seq(10),
        accounts: vec![account(1, host), account(2, host)],
        cursors: vec![(host, Epoch(0), HostSeq(5))],
        count_deltas: vec![(host, 2)],
    };
    store.checkpoint(&good).await.unwrap();
    // An account that has another number already.
    let bad = Checkpoint {
        mark: 2,
        position: Seq(20),
        accounts: vec![account(3, host), Account { did: did(1), ..account(4, host) }],
        cursors: vec![(host, Epoch(0), HostSeq(50))],
        count_deltas: vec![(host, 2)],
    };

    let error = store.checkpoint(&bad).await.unwrap_err();

    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    assert_eq!(store.last_mark().await.unwrap(), Some(1));
    // A number that another account has.
    let worse = Checkpoint { accounts: vec![Account { did: did(8), ..account(1, host) }], ..bad };
    let error = store.checkpoint(&worse).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    assert_eq!(store.last_checkpoint().await.unwrap(), Some(Seq(10)));
    let row = store.hosts().await.unwrap().remove(0);
    assert_eq!((row.cursor, row.account_count), (Some(HostSeq(5)), 2));
    assert_eq!(store.accounts_after(AccountNo(0), 10).await.unwrap(), good.accounts);
    assert_eq!(store.last_account_number().await.unwrap(), AccountNo(2));
}

/// DESIGN 5: admin actions are durable at once, and the row of a checkpoint may be older.
pub(crate) async fn a_checkpoint_does_not_undo_a_decision(place: Place) {
    let store = place.open().await;
    write(&store, vec![account(1, HostId(1))]).await;

    store.set_local_status(&did(1), LocalStatus::Takendown).await.unwrap();
    write(&store, vec![Account { last_seq: Seq(9), ..account(1, HostId(1)) }]).await;

    let row = read(&store, 1).await;
    assert_eq!((row.local, row.last_seq), (LocalStatus::Takendown, Seq(9)));
    // The reverse: a row that still says "taken down" after the restoration.
    store.set_local_status(&did(1), LocalStatus::None).await.unwrap();
    let stale = Account { local: LocalStatus::Takendown, ..account(1, HostId(1)) };
    write(&store, vec![stale]).await;
    assert_eq!(read(&store, 1).await.local, LocalStatus::None);
}

/// DESIGN 5: a crash between the decision and the first checkpoint of the account forgets nothing.
pub(crate) async fn a_decision_is_durable_before_the_account_has_a_row(place: Place) {
    let store = place.open().await;
    store.set_local_status(&did(1), LocalStatus::Suspended).await.unwrap();
    store.close().await;

    let store = place.open().await;

    let decided = store.local_statuses(&[did(1), did(2)]).await.unwrap();
    assert_eq!(decided, [(did(1), LocalStatus::Suspended)]);
    assert!(store.accounts(&[did(1)]).await.unwrap().is_empty());
    write(&store, vec![account(1, HostId(1))]).await;
    assert_eq!(read(&store, 1).await.local, LocalStatus::Suspended);
}

/// ACC-12: who is taken down, and only they, is known by number once there is a row.
pub(crate) async fn accounts_that_were_taken_down_are_known_by_number(place: Place) {
    let store = place.open().await;
    for (number, status) in [
        (3, LocalStatus::Takendown),
        (1, LocalStatus::Takendown),
        (2, LocalStatus::Suspended),
        (9, LocalStatus::Takendown),
    ] {
        store.set_local_status(&did(number), status).await.unwrap();
    }
    assert!(store.taken_down().await.unwrap().is_empty(), "nobody has a row");

    write(&store, accounts(1..=4)).await;
    assert_eq!(store.taken_down().await.unwrap(), [AccountNo(1), AccountNo(3)]);
    store.set_local_status(&did(1), LocalStatus::None).await.unwrap();
    assert_eq!(store.taken_down().await.unwrap(), [AccountNo(3)]);
}

/// DESIGN 10.13: a decision is pending until its announcement is durable, and news only while it is.
pub(crate) async fn a_decision_is_pending_until_it_was_announced(place: Place) {
    let store = place.open().await;
    assert!(store.set_local_status(&did(1), LocalStatus::Takendown).await.unwrap());
    assert!(store.set_local_status(&did(1), LocalStatus::Takendown).await.unwrap(), "still is");
    assert!(store.set_local_status(&did(2), LocalStatus::Suspended).await.unwrap());
    store.close().await;

    let store = place.open().await;
    let pending = [(did(1), LocalStatus::Takendown), (did(2), LocalStatus::Suspended)];
    assert_eq!(store.unannounced().await.unwrap(), pending);

    store.announced(&did(1), LocalStatus::Takendown).await.unwrap();
    store.announced(&did(2), LocalStatus::None).await.unwrap();
    assert_eq!(store.unannounced().await.unwrap(), pending[1..], "another decision was announced");
    assert!(!store.set_local_status(&did(1), LocalStatus::Takendown).await.unwrap());
    assert!(store.set_local_status(&did(1), LocalStatus::None).await.unwrap());
}

/// HOST-10, DESIGN 10.4.
pub(crate) async fn counts_follow_their_deltas(place: Place) {
    let store = place.open().await;
    let hosts = store.add_hosts(&names(["a.example", "b.example"]), NOW_MS).await.unwrap();
    let (a, b) = (hosts[0].id, hosts[1].id);
    let counts = async |deltas: &[(HostId, i64)]| {
        let count_deltas = deltas.to_vec();
        store.checkpoint(&Checkpoint { count_deltas, ..Checkpoint::default() }).await.unwrap();
        let rows = store.hosts().await.unwrap();
        [rows[0].account_count, rows[1].account_count]
    };

    assert_eq!(counts(&[(a, 2), (b, 1), (a, 3)]).await, [5, 1]);
    // An account moves from one host to the other.
    assert_eq!(counts(&[(a, -1), (b, 1)]).await, [4, 2]);
    assert_eq!(counts(&[(b, -3)]).await, [4, 0], "never below zero");
}

/// T23: pages of one row show every account once, also when rows come in between.
pub(crate) async fn accounts_are_listed_in_order_of_number(place: Place) {
    let store = place.open().await;
    write(&store, [5, 1, 3].map(|number| account(number, HostId(1))).to_vec()).await;

    let mut seen = Vec::new();
    let mut after = AccountNo(0);
    while let Some(row) = store.accounts_after(after, 1).await.unwrap().pop() {
        after = row.number;
        seen.push(row.number.0);
        if seen.len() == 2 {
            write(&store, [2, 4].map(|number| account(number, HostId(1))).to_vec()).await;
        }
    }

    assert_eq!(seen, [1, 3, 4, 5]);
    assert_eq!(store.accounts_after(AccountNo(0), 2).await.unwrap().len(), 2);
    assert_eq!(store.last_account_number().await.unwrap(), AccountNo(5));
}

/// A checkpoint is cut into statements; of two rows of one account the later counts.
pub(crate) async fn more_rows_than_one_statement_takes_are_written(place: Place) {
    let store = place.open().await;
    let mut rows: Vec<Account> = (1..=1203).map(|number| account(number, HostId(1))).collect();
    rows.push(Account { last_seq: Seq(1), ..account(700, HostId(1)) });
    let hosts: Vec<_> = (0..1203).map(|number| (format!("h{number}.example"), true)).collect();

    write(&store, rows).await;
    let added = store.add_hosts(&hosts, NOW_MS).await.unwrap();
    let cursors: Vec<_> = added.iter().map(|row| (row.id, Epoch(0), HostSeq(8))).collect();
    store.save_cursors(&cursors).await.unwrap();
    let offline: Vec<_> =
        added.iter().map(|row| HostRow { status: HostStatus::Offline, ..row.clone() }).collect();
    store.save_hosts(&offline).await.unwrap();

    let dids: Vec<Did> = (1..=1203).map(did).collect();
    assert_eq!(store.accounts(&dids).await.unwrap().len(), 1203);
    assert_eq!(read(&store, 700).await.last_seq, Seq(1));
    let hosts = store.hosts().await.unwrap();
    assert_eq!(hosts.len(), 1203);
    assert!(
        hosts.iter().all(|row| row.cursor == Some(HostSeq(8)) && row.status == HostStatus::Offline)
    );
}

/// DESIGN 10.18: the id that log and database share.
pub(crate) async fn the_instance_id_stays(place: Place) {
    let store = place.open().await;
    let id = store.instance_id().await.unwrap();
    store.close().await;

    assert_eq!(place.open().await.instance_id().await.unwrap(), id);
    let other = Place::sqlite();
    assert_ne!(other.open().await.instance_id().await.unwrap(), id);
    assert_eq!(id.len(), 32);
}

/// STYLE 9: the caller waits or answers 503, it does not crash.
pub(crate) async fn a_closed_store_is_unavailable(place: Place) {
    let store = place.open().await;
    store.ping().await.unwrap();

    store.close().await;

    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    let written = store.checkpoint(&Checkpoint::default()).await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
}

/// SEC-10: Postgres takes no NUL in a text, and hosts choose their texts.
pub(crate) async fn a_text_with_nul_from_outside_is_stored_without_it(place: Place) {
    let store = place.open().await;
    let host = one_host(&store).await;
    let last_error = Some("said \0 and \u{1f980}".to_owned());
    store.save_hosts(&[HostRow { last_error, ..host }]).await.unwrap();
    let upstream = UpstreamStatus::Other("fro\0zen".into());
    write(&store, vec![Account { upstream, ..account(1, HostId(1)) }]).await;

    let row = store.hosts().await.unwrap().remove(0);

    assert_eq!(row.last_error.as_deref(), Some("said  and \u{1f980}"));
    assert_eq!(read(&store, 1).await.upstream, UpstreamStatus::Other("frozen".into()));
}
