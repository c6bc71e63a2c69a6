//! Audit rows, letters to siblings, entries of the policy file: what holds on both databases.

use relay::{
    domain::LocalStatus,
    store::{AuditFilter, Begun, Letter, PolicyRow, Store},
};
use relay_protocol::Did;

use super::Place;

const NOW_MS: u64 = 1_700_000_000_000;

fn begun<'a>(action: &'a str, subject: &'a str) -> Begun<'a> {
    Begun { at_ms: NOW_MS, actor: "admin:admin", client: "192.0.2.1", action, subject }
}

fn letter(sibling: &str, body: &str) -> Letter {
    let (target, body) = ("/admin/subs/banDomain".to_owned(), body.to_owned());
    Letter { id: 0, sibling: sibling.to_owned(), at_ms: NOW_MS, target, body }
}

async fn bodies(store: &Store, sibling: &str) -> Vec<String> {
    store.letters(sibling, 100).await.unwrap().into_iter().map(|letter| letter.body).collect()
}

/// API-6: an action that a crash cut off is seen, and one that ended tells what it found and left.
pub(crate) async fn an_action_is_noted_before_and_after_it(place: Place) {
    let store = place.open().await;
    let cut_off = store.audit_begin(begun("host.ban", "a.example")).await.unwrap();
    let ended = store.audit_begin(begun("host.ban", "b.example")).await.unwrap();
    store
        .audit_end(ended, ("{\"status\":\"active\"}", "null\0"), "done", &[letter("s", "x")])
        .await
        .unwrap();
    store.close().await;

    let store = place.open().await;
    let rows = store.audit(AuditFilter::default(), 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [ended, cut_off], "newest first");
    assert_eq!((rows[1].outcome.as_str(), rows[1].before.as_str()), ("begun", ""));
    assert_eq!(rows[0].outcome, "done");
    assert_eq!(
        (rows[0].before.as_str(), rows[0].after.as_str()),
        ("{\"status\":\"active\"}", "null")
    );
    assert_eq!((rows[0].actor.as_str(), rows[0].client.as_str()), ("admin:admin", "192.0.2.1"));
    assert_eq!((rows[0].at_ms, rows[0].action.as_str()), (NOW_MS, "host.ban"));
    assert_eq!(bodies(&store, "s").await, ["x"], "the letter came with the row");
}

/// API-6: the log is read by subject, by action, and in pages.
pub(crate) async fn audit_rows_are_found_by_subject_and_action(place: Place) {
    let store = place.open().await;
    for (action, subject) in [("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")] {
        store.audit_begin(begun(action, subject)).await.unwrap();
    }
    let found = async |filter| {
        let rows = store.audit(filter, 2).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let all = AuditFilter::default();
    assert_eq!(found(all).await, [4, 3]);
    assert_eq!(found(AuditFilter { before: Some(3), ..all }).await, [2, 1]);
    assert_eq!(found(AuditFilter { subject: Some("x"), ..all }).await, [4, 2]);
    assert_eq!(found(AuditFilter { subject: Some("x"), action: Some("a"), ..all }).await, [4, 1]);
    assert_eq!(found(AuditFilter { subject: Some("nobody"), ..all }).await, [0_u64; 0]);
}

/// The log is bounded: rows that are older than two years go when new ones come.
pub(crate) async fn old_audit_rows_are_forgotten(place: Place) {
    let store = place.open().await;
    let old = Begun { at_ms: 1, ..begun("old", "x") };
    store.audit_begin(old).await.unwrap();
    for _ in 0..255 {
        store.audit_begin(begun("new", "x")).await.unwrap();
    }
    let filter = AuditFilter { action: Some("old"), ..AuditFilter::default() };
    assert_eq!(store.audit(filter, 10).await.unwrap(), []);
    let rows = store.audit(AuditFilter::default(), 1_000).await.unwrap();
    assert_eq!(rows.len(), 255, "control: the others stay");
}

/// A sibling that is away gets everything, each once, in order; nothing is kept for strangers.
pub(crate) async fn letters_wait_in_order_until_they_were_taken(place: Place) {
    let store = place.open().await;
    let put =
        [letter("a", "1"), letter("b", "1"), letter("a", "1"), letter("a", "2"), letter("a", "1")];
    for one in put {
        store.put_letters(&[one]).await.unwrap();
    }
    store.close().await;
    let store = place.open().await;
    assert_eq!(bodies(&store, "a").await, ["1", "2", "1"], "a repetition says nothing new");
    assert_eq!(store.letters_waiting("a").await.unwrap(), (3, Some(NOW_MS)));
    assert_eq!(store.letters_waiting("nobody").await.unwrap(), (0, None));

    let first = store.letters("a", 1).await.unwrap().remove(0);
    store.letter_done(first.id).await.unwrap();
    assert_eq!(bodies(&store, "a").await, ["2", "1"]);
    assert_eq!(store.forget_letters_except(&["a".to_owned()]).await.unwrap(), 1);
    assert_eq!((bodies(&store, "a").await.len(), bodies(&store, "b").await.len()), (2, 0));
}

/// What the policy file set is known after a restart, and rules stay as they were set last.
pub(crate) async fn entries_of_the_policy_file_and_rules_are_kept(place: Place) {
    let store = place.open().await;
    let row = |kind: &str, subject: &str, value: &str| PolicyRow {
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        value: value.to_owned(),
    };
    for one in [row("domain", "a", "1"), row("takedown", "b", ""), row("domain", "a", "2")] {
        store.policy_set(&one).await.unwrap();
    }
    store.policy_unset("takedown", "b").await.unwrap();
    store.set_rule("x", "1").await.unwrap();
    store.set_rule("x", "2").await.unwrap();
    store.close().await;

    let store = place.open().await;
    assert_eq!(store.policy_rows().await.unwrap(), [row("domain", "a", "2")]);
    assert_eq!(store.rule("x").await.unwrap().as_deref(), Some("2"));
    assert_eq!(store.rule("y").await.unwrap(), None);
}

/// API-2: the list of takedowns is walked in pages, and holds no other decision.
pub(crate) async fn takedowns_are_listed_in_pages(place: Place) {
    let store = place.open().await;
    let did = |n: u32| Did::parse(&format!("did:web:h{n:02}.example.com")).unwrap();
    for n in 0..5 {
        store.set_local_status(&did(n), LocalStatus::Takendown).await.unwrap();
    }
    store.set_local_status(&did(1), LocalStatus::None).await.unwrap();
    store.set_local_status(&did(2), LocalStatus::Suspended).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.decided(LocalStatus::Takendown, &after, 2).await.unwrap();
        let Some((_, last)) = page.last() else { break };
        after.clone_from(last);
        seen.extend(page.into_iter().map(|(did, _)| did));
    }
    assert_eq!(seen, [did(0), did(3), did(4)]);
    let all = store.decided(LocalStatus::Takendown, "no cursor of ours", 10).await.unwrap();
    assert_eq!(all.len(), 3);
}
