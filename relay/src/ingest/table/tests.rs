//! The table: what is kept, what is forgotten, what a checkpoint copies.

use relay_protocol::VerifyingKey;

use super::*;
use crate::{
    domain::{LocalStatus, Seq, UpstreamStatus},
    ingest::keys::ACCOUNTS_PER_KEY,
};

fn account(number: u64) -> Account {
    Account {
        number: AccountNo(number),
        did: did(number),
        host: HostId(1),
        upstream: UpstreamStatus::Active,
        local: LocalStatus::None,
        repo: None,
        key: None,
        identity_checked_ms: 0,
        last: None,
        last_seq: Seq(0),
    }
}

fn did(number: u64) -> Did {
    Did::parse(&format!("did:web:a{number}.example.com")).expect("a valid DID")
}

/// The whole copy at once.
fn snapshot(table: &mut Table, ticket: u64) -> Copied {
    table.begin_copy(ticket);
    table.copy_some(usize::MAX).unwrap()
}

fn written(table: &mut Table, ticket: u64) {
    table.checkpointed(ticket);
    assert!(table.settle_some(usize::MAX));
}

/// DESIGN 10.4: 400 bytes per account in memory, with everything that belongs to it counted.
#[test]
fn an_account_in_memory_takes_at_most_400_bytes() {
    const POINTER: usize = size_of::<usize>();
    // A list node holds key, value and two pointers; the hash table a pair of pointers and a byte
    // for each of its places, of which up to half are free; an allocation its length.
    let listed = |pair: usize| pair + 2 * POINTER + (2 * POINTER + 1) * 8 / 7 * 2 + POINTER;
    let row = listed(size_of::<Did>() + size_of::<Entry>());
    // 32 characters and two counters, shared by row, key and dirty list.
    let text = 32 + 2 * POINTER + POINTER;
    let key = listed(34 + size_of::<VerifyingKey>()) / ACCOUNTS_PER_KEY;
    assert!(row + text + key <= 400, "{row} + {text} + {key}");
}

/// I5: the table stays at its limit, the least recently used go first.
#[test]
fn the_least_recently_used_row_is_forgotten_first() {
    let mut table = Table::new(3);
    for number in 1..=3 {
        table.loaded(account(number));
    }
    assert!(table.get(&did(1)).is_some());
    table.loaded(account(4));
    assert_eq!(table.len(), 3);
    assert!(table.peek(&did(2)).is_none());
    assert!(table.peek(&did(1)).is_some());
}

/// DESIGN 10.5: a row that no checkpoint has written is never forgotten.
#[test]
fn an_unwritten_row_is_not_forgotten() {
    let mut table = Table::new(2);
    table.created(account(1));
    for number in 2..=20 {
        table.loaded(account(number));
    }
    assert!(table.peek(&did(1)).is_some());
    snapshot(&mut table, 1);
    written(&mut table, 1);
    for number in 21..=30 {
        table.loaded(account(number));
    }
    assert!(table.peek(&did(1)).is_none());
}

/// DESIGN 10.5: a row that changes while the checkpoint writes stays unwritten.
#[test]
fn a_row_that_changed_after_the_snapshot_stays_dirty() {
    let mut table = Table::new(10);
    table.created(account(1));
    table.created(account(2));
    let (rows, counts) = snapshot(&mut table, 7);
    assert_eq!(rows.len(), 2);
    assert_eq!(counts, [(HostId(1), 2)]);
    table.change(&did(2), |entry| entry.account.upstream = UpstreamStatus::Deleted);
    written(&mut table, 6);
    assert_eq!(table.dirty_len(), 2, "another ticket writes nothing off");
    written(&mut table, 7);
    let rest: Vec<_> =
        table.dirty_after(AccountNo(0), 10).iter().map(|account| account.number.0).collect();
    assert_eq!(rest, [2]);
    assert_eq!(snapshot(&mut table, 8).1, [(HostId(1), -1)]);
}

/// DESIGN 10.5, ACC-8: a copy in pieces holds each row once, and exactly the counts of what it
/// holds: a change before the row's turn belongs to it, one after its turn to the next checkpoint.
#[test]
fn a_copy_in_pieces_counts_what_its_rows_hold() {
    let mut table = Table::new(100);
    for number in 1..=6 {
        table.created(account(number));
    }
    snapshot(&mut table, 1);
    written(&mut table, 1);
    let moved = |table: &mut Table, number: u64, host: u32| {
        table.change(&did(number), |entry| entry.account.host = HostId(host)).unwrap();
    };
    for number in 1..=4 {
        moved(&mut table, number, 2);
    }
    table.begin_copy(2);
    assert_eq!(table.copy_some(2), None, "two of four");
    moved(&mut table, 1, 3);
    moved(&mut table, 4, 5);
    moved(&mut table, 6, 7);

    let (rows, counts) = table.copy_some(usize::MAX).unwrap();

    let hosts: Vec<_> = rows.iter().map(|row| (row.number.0, row.host.0)).collect();
    assert_eq!(hosts, [(1, 2), (2, 2), (3, 2), (4, 5), (6, 7)]);
    let counted = [(HostId(1), -5), (HostId(2), 3), (HostId(5), 1), (HostId(7), 1)];
    assert_eq!(counts, counted);
    table.checkpointed(2);
    assert!(!table.settle_some(3), "three of five");
    moved(&mut table, 2, 9);
    assert!(table.settle_some(2));
    let next = snapshot(&mut table, 3);
    let hosts: Vec<_> = next.0.iter().map(|row| (row.number.0, row.host.0)).collect();
    assert_eq!(hosts, [(1, 3), (2, 9)], "what changed after its turn");
    assert_eq!(next.1, [(HostId(2), -2), (HostId(3), 1), (HostId(9), 1)]);
}

/// A checkpoint that failed is not lost: the next snapshot holds everything again.
#[test]
fn a_failed_checkpoint_leaves_everything_dirty() {
    let mut table = Table::new(10);
    table.created(account(1));
    snapshot(&mut table, 1);
    let (rows, counts) = snapshot(&mut table, 2);
    assert_eq!((rows.len(), counts.as_slice()), (1, [(HostId(1), 1)].as_slice()));
    written(&mut table, 2);
    assert_eq!(snapshot(&mut table, 3), (Vec::new(), Vec::new()));
}

/// ACC-8: an account that leaves, is deleted or returns changes the counts of its hosts.
#[test]
fn live_counts_follow_the_account() {
    let mut table = Table::new(10);
    table.created(account(1));
    let mut step = |change: fn(&mut Account)| {
        table.change(&did(1), |entry| change(&mut entry.account)).map(|((), moved)| moved)
    };
    let moved = |from: Option<u32>, to: Option<u32>| {
        Some(Moved { from: from.map(HostId), to: to.map(HostId) })
    };
    assert_eq!(step(|account| account.host = HostId(2)), moved(Some(1), Some(2)));
    assert_eq!(step(|account| account.upstream = UpstreamStatus::Deactivated), moved(None, None));
    assert_eq!(step(|account| account.upstream = UpstreamStatus::Deleted), moved(Some(2), None));
    assert_eq!(step(|account| account.upstream = UpstreamStatus::Active), moved(None, Some(2)));
    assert_eq!(snapshot(&mut table, 1).1, [(HostId(2), 1)]);
}

/// The API pages over numbers (T23).
#[test]
fn dirty_rows_come_in_order_of_number_above_the_given_one() {
    let mut table = Table::new(10);
    for number in [5, 3, 9, 7] {
        table.created(account(number));
    }
    let page: Vec<_> =
        table.dirty_after(AccountNo(3), 2).iter().map(|account| account.number.0).collect();
    assert_eq!(page, [5, 7]);
}
