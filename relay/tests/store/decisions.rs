//! What was decided about hosts and domains, on both databases.

use relay::{
    domain::{
        Account, Actor, DomainBan, HOST_CHANGES_MAX, HeldFor, Hold, HostChange, HostChangeKind,
        HostId, HostStatus, LocalStatus, Seq,
    },
    store::{Checkpoint, HostRow, Store},
};
use relay_protocol::Did;

use super::{Place, cases::accounts};

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

/// ACC-9, T22: the accounts over a host's limit are held until they are released, the oldest first; what
/// an operator decides meanwhile is neither replaced by a hold nor undone by a release.
pub(crate) async fn accounts_are_held_and_released_in_order(place: Place) {
    let store = place.open().await;
    let host = one_host(&store).await.id;
    let accounts = accounts(1..=5);
    let dids: Vec<_> = accounts.iter().map(|account| account.did.clone()).collect();
    store.set_local_status(&dids[4], LocalStatus::Takendown).await.unwrap();
    // Before the accounts have rows, one of them twice, and one that was taken down before.
    let asked = [&dids[3], &dids[1], &dids[2], &dids[1], &dids[4]].map(Clone::clone);
    store.hold_accounts(&asked).await.unwrap();
    assert_eq!(store.held_counts().await.unwrap(), [], "they have no rows yet");
    let position = Seq(1);
    store.checkpoint(&Checkpoint { position, accounts, ..Checkpoint::default() }).await.unwrap();
    assert_eq!(store.held_counts().await.unwrap(), [(host, 3)]);
    assert_eq!(store.held_accounts(host, 2).await.unwrap(), dids[1..3]);
    let mut pending = store.unannounced().await.unwrap();
    pending.sort_by_key(|(did, _)| did.to_string());
    let held = |did: &Did| (did.clone(), LocalStatus::Throttled);
    let taken = (dids[4].clone(), LocalStatus::Takendown);
    assert_eq!(pending, [held(&dids[1]), held(&dids[2]), held(&dids[3]), taken]);

    assert!(store.release_account(&dids[1]).await.unwrap());
    assert!(!store.release_account(&dids[1]).await.unwrap(), "twice");
    store.set_local_status(&dids[2], LocalStatus::Takendown).await.unwrap();
    assert!(!store.release_account(&dids[2]).await.unwrap(), "an operator decided since");
    assert!(!store.release_account(&dids[4]).await.unwrap());
    assert_eq!(store.held_accounts(host, 9).await.unwrap(), dids[3..4]);
    store.hold_accounts(&dids[1..2]).await.unwrap();
    assert_eq!(store.held_accounts(host, 9).await.unwrap(), [dids[1].clone(), dids[3].clone()]);

    // A checkpoint may write the row of a new account before the hold itself comes.
    let mut late = accounts_of(6);
    late[0].local = LocalStatus::Throttled;
    let did = late[0].did.clone();
    store
        .checkpoint(&Checkpoint { position, accounts: late, ..Checkpoint::default() })
        .await
        .unwrap();
    store.hold_accounts(std::slice::from_ref(&did)).await.unwrap();
    assert!(store.unannounced().await.unwrap().contains(&held(&did)));
    assert!(store.release_account(&did).await.unwrap());
}

fn accounts_of(number: u64) -> Vec<Account> {
    accounts(number..=number)
}

/// HOST-12, VAL-20: a hold with an end is found when its time has come, in order; an operator's decision
/// is neither replaced nor released.
pub(crate) async fn holds_end_by_themselves(place: Place) {
    let store = place.open().await;
    let dids: Vec<Did> = accounts(1..=4).into_iter().map(|account| account.did).collect();
    let hold = |n: usize, why, until_ms| Hold { did: dids[n].clone(), why, until_ms };
    store.set_local_status(&dids[3], LocalStatus::Takendown).await.unwrap();
    assert_eq!(store.next_due_hold().await.unwrap(), None);
    let holds = [
        hold(0, HeldFor::Rate, 50),
        hold(1, HeldFor::Rate, 2_000),
        hold(0, HeldFor::Discontinuities, 3_000),
        hold(3, HeldFor::Rate, 10),
    ];
    store.hold_until(&holds).await.unwrap();
    store.hold_accounts(&dids[2..3]).await.unwrap();

    assert_eq!(store.next_due_hold().await.unwrap(), Some(2_000));
    assert_eq!(store.due_holds(1_999, 9).await.unwrap(), []);
    assert_eq!(store.due_holds(3_000, 9).await.unwrap(), [dids[1].clone(), dids[0].clone()]);
    assert_eq!(store.due_holds(3_000, 1).await.unwrap(), dids[1..2]);
    assert_eq!(store.hold_of(&dids[0]).await.unwrap(), Some(holds[2].clone()));
    assert_eq!(store.hold_of(&dids[2]).await.unwrap(), Some(hold(2, HeldFor::HostFull, 0)));
    assert_eq!(store.hold_of(&dids[3]).await.unwrap(), None);

    assert!(store.release_account(&dids[1]).await.unwrap());
    store.set_local_status(&dids[0], LocalStatus::Suspended).await.unwrap();
    assert_eq!(store.due_holds(9_000, 9).await.unwrap(), []);
    assert_eq!(store.next_due_hold().await.unwrap(), None);
    assert_eq!(store.hold_of(&dids[0]).await.unwrap(), None);
}
