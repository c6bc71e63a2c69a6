//! What was decided about hosts and domains, on both databases.

use relay::{
    domain::{Actor, DomainBan, HOST_CHANGES_MAX, HostChange, HostChangeKind, HostId, HostStatus},
    store::{HostRow, Store},
};

use super::Place;

const NOW_MS: u64 = 1_700_000_000_000;

async fn one_host(store: &Store) -> HostRow {
    store.add_hosts(&[("pds.example".to_owned(), true)], NOW_MS).await.unwrap().remove(0)
}

fn change(number: u64) -> HostChange {
    HostChange {
        at_ms: NOW_MS + number,
        kind: HostChangeKind::Limits,
        before: format!("{number}"),
        after: "x".repeat(600),
        reason: "asked by their people\0".to_owned(),
        actor: Actor::admin("ann"),
    }
}

/// HOST-8: every change can be read afterwards, newest first, with its reason and who made it; the
/// host is written with it or not at all.
pub(crate) async fn what_changed_about_a_host_is_kept_in_order(place: Place) {
    let store = place.open().await;
    let host = one_host(&store).await;
    let status = HostChange { kind: HostChangeKind::Status, actor: Actor::Relay, ..change(2) };
    let changes = [(host.id, 1, change(1)), (host.id, 2, status.clone())];
    let banned = HostRow { status: HostStatus::Banned, changes: 2, ..host.clone() };
    store.save_hosts_with(&[banned], &changes).await.unwrap();
    store.close().await;

    let store = place.open().await;
    let row = store.hosts().await.unwrap().remove(0);
    assert_eq!((row.status, row.changes), (HostStatus::Banned, 2));
    let kept = |change: HostChange| HostChange {
        after: "x".repeat(500),
        reason: "asked by their people".to_owned(),
        ..change
    };
    let found = store.host_changes(host.id).await.unwrap();
    assert_eq!(found, [kept(status), kept(change(1))]);
    assert_eq!(store.host_changes(HostId(77)).await.unwrap(), []);
}

/// I5: a host that flaps for years has no more rows than any other, and they are the last ones.
pub(crate) async fn a_host_has_a_bounded_history(place: Place) {
    let store = place.open().await;
    let host = one_host(&store).await;
    let last = HOST_CHANGES_MAX + 30;
    for number in 1..=last {
        store.save_hosts_with(&[], &[(host.id, number, change(number))]).await.unwrap();
    }
    let found = store.host_changes(host.id).await.unwrap();
    let numbers: Vec<u64> = found.iter().map(|change| change.at_ms - NOW_MS).collect();
    let expected: Vec<u64> = (31..=last).rev().collect();
    assert_eq!(numbers, expected);
}

/// HOST-3: a ban survives a restart with all that is known of it, and may be replaced and ended.
pub(crate) async fn bans_of_domains_come_back_as_they_were(place: Place) {
    let store = place.open().await;
    let ban = |domain: &str, actor| DomainBan {
        domain: domain.to_owned(),
        at_ms: NOW_MS,
        actor,
        note: "spam".to_owned(),
    };
    let later = DomainBan { note: String::new(), ..ban("b.example", Actor::Policy) };
    for ban in [&ban("b.example", Actor::admin("ann")), &ban("a.example", Actor::Relay), &later] {
        store.ban_domain(ban).await.unwrap();
    }
    store.close().await;

    let store = place.open().await;
    let found = store.domain_bans().await.unwrap();
    assert_eq!(found, [ban("a.example", Actor::Relay), later]);
    assert!(store.unban_domain("a.example").await.unwrap());
    assert!(!store.unban_domain("a.example").await.unwrap());
    assert_eq!(store.domain_bans().await.unwrap().len(), 1);
}
