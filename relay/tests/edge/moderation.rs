//! What a moderator does through the admin API, and what consumers and callers see of it (T24).

use relay_simnet::{Account, Consumer, Kind, Received, Start};
use serde_json::{Value, json};

use crate::{
    http::{Answer, post},
    relay::{PASSWORD, Relay},
};

/// A POST with the password.
async fn ask(relay: &Relay, path: &str, body: &Value) -> Answer {
    let password = format!("Authorization: Bearer {PASSWORD}");
    post(relay.running.admin, path, &[&password], &body.to_string()).await
}

async fn consume(relay: &Relay, from: u64) -> Consumer {
    let url = format!("ws://{}", relay.api());
    Consumer::connect(&url, Start::After(from)).await.unwrap()
}

/// Everything up to the head, from the beginning.
async fn replayed(relay: &Relay, did: &str) -> Vec<Kind> {
    let head = i64::try_from(relay.running.log.window().head.0).unwrap();
    let mut consumer = consume(relay, 0).await;
    let events: Vec<Received> = consumer.until(|event| event.seq == head).await.unwrap();
    events.into_iter().filter(|event| event.did == did).map(|event| event.kind).collect()
}

fn content(kinds: &[Kind]) -> usize {
    kinds.iter().filter(|kind| matches!(kind, Kind::Commit | Kind::Sync)).count()
}

/// Status of the methods that tell of one account: getRepoStatus, getLatestCommit, getRepo, listRepos.
async fn told(relay: &Relay, account: &Account) -> (Value, u16, u16, Value) {
    let did = account.did();
    let status = relay.sync(&format!("getRepoStatus?did={did}")).await.json();
    let latest = relay.sync(&format!("getLatestCommit?did={did}")).await.status;
    let repo = relay.sync(&format!("getRepo?did={did}")).await.status;
    let listed = relay.sync("listRepos").await.json()["repos"]
        .as_array()
        .unwrap()
        .iter()
        .find(|repo| repo["did"] == did)
        .map_or(Value::Null, |repo| json!([repo["active"], repo["status"]]));
    (json!([status["active"], status["status"]]), latest, repo, listed)
}

/// T24, ACC-12, ROLE-6: a takedown through the API holds in the stream, in the replay, in all four
/// methods and over a restart, from the moment of its answer; its end brings everything back.
#[tokio::test]
async fn a_takedown_by_an_operator_holds_everywhere_until_it_ends() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let (alice, bob) = (relay.account(&pds, "alice").await, relay.account(&pds, "bob").await);
    let did = alice.did();
    let before = replayed(&relay, did).await;
    assert!(content(&before) > 0, "control");
    let active = (json!([true, null]), 200, 302, json!([true, null]));
    assert_eq!(told(&relay, &alice).await, active, "control");

    let mut live = consume(&relay, relay.running.log.window().head.0).await;
    let answer = ask(&relay, "/admin/repo/takeDown", &json!({ "did": did })).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "success": "true" })));
    let gone = (json!([false, "takendown"]), 403, 403, json!([false, "takendown"]));
    assert_eq!(told(&relay, &alice).await, gone);
    let takedowns = relay.admin("/admin/repo/takedowns").await.json();
    assert_eq!(takedowns, json!({ "dids": [did] }));
    alice.post("is not passed on").await.unwrap();
    let passed = bob.post("is passed on").await.unwrap();
    relay.settled().await;
    let events = live.until(|event| event.did == bob.did()).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.did.as_str(), event.kind)).collect();
    assert_eq!(kinds, [(did, Kind::Account), (bob.did(), Kind::Commit)], "{passed:?}");
    assert_eq!(content(&replayed(&relay, did).await), 0);

    let relay = relay.restarted().await;
    relay.until("connected again", || relay.running.upstream.connected() == 1).await;
    assert_eq!(told(&relay, &alice).await, gone, "after a restart");
    assert_eq!(content(&replayed(&relay, did).await), 0, "after a restart");

    let answer = ask(&relay, "/admin/repo/reverseTakedown", &json!({ "did": did })).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "success": "true" })));
    assert_eq!(told(&relay, &alice).await, active);
    assert_eq!(content(&replayed(&relay, did).await), content(&before));
    assert_eq!(relay.admin("/admin/repo/takedowns").await.json(), json!({ "dids": [] }));
    alice.post("is passed on again").await.unwrap();
    relay.settled().await;
    assert_eq!(content(&replayed(&relay, did).await), content(&before) + 1);
    relay.stop().await;
}

/// A suspension stops an account but does not hide what it wrote; ending a takedown does not end it.
#[tokio::test]
async fn a_suspension_is_not_a_takedown() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let did = json!({ "did": alice.did(), "note": "spam wave" });
    let before = replayed(&relay, alice.did()).await;

    let answer = ask(&relay, "/admin/v1/accounts/suspend", &did).await.json();
    assert_eq!(answer["before"], json!({ "localStatus": "none" }));
    assert_eq!(answer["after"]["localStatus"], "suspended");
    assert_eq!(answer["known"], true);
    assert_eq!(told(&relay, &alice).await.0, json!([false, "suspended"]));
    assert_eq!(content(&replayed(&relay, alice.did()).await), content(&before));
    let suspended = relay.admin("/admin/v1/accounts?status=suspended").await.json();
    assert_eq!(suspended, json!({ "dids": [alice.did()] }));

    let reversed = ask(&relay, "/admin/repo/reverseTakedown", &did).await;
    assert_eq!(reversed.status, 200);
    assert_eq!(told(&relay, &alice).await.0, json!([false, "suspended"]), "it was no takedown");
    assert_eq!(ask(&relay, "/admin/v1/accounts/restore", &did).await.status, 200);
    assert_eq!(told(&relay, &alice).await.0, json!([true, null]));

    let audit = relay.admin(&format!("/admin/v1/audit?subject={}", alice.did())).await.json();
    let actions: Vec<_> =
        audit["audit"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
    assert_eq!(actions, ["account.restore", "account.reverseTakedown", "account.suspend"]);
    assert_eq!(audit["audit"][2]["after"]["note"], "spam wave");
    relay.stop().await;
}

/// A moderator may act before the relay has seen the account, and is told of slips in words.
#[tokio::test]
async fn a_takedown_may_come_first_and_slips_are_answered_in_words() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = pds.account("alice").await.unwrap();
    relay.settled().await;
    let unseen = "did:web:unseen.example.com";

    let answer = ask(&relay, "/admin/v1/accounts/takeDown", &json!({ "DID": unseen })).await.json();
    assert_eq!((&answer["known"], &answer["did"]), (&false.into(), &unseen.into()));
    let shown = relay.admin(&format!("/admin/v1/accounts?did={unseen}")).await.json();
    assert_eq!((&shown["account"], &shown["decided"]), (&Value::Null, &"takendown".into()));
    let restored = ask(&relay, "/admin/repo/reverseTakedown", &json!({ "did": unseen })).await;
    assert_eq!(restored.status, 200);

    let stranger = json!({ "did": "did:web:stranger.example.com" });
    for path in ["/admin/repo/reverseTakedown", "/admin/v1/accounts/refreshIdentity"] {
        let refused = ask(&relay, path, &stranger).await;
        assert_eq!((refused.status, refused.error().as_str()), (404, "RepoNotFound"), "{path}");
    }
    for body in [json!({}), json!({ "did": "nonsense" }), json!({ "did": 1 }), json!([])] {
        for path in ["/admin/repo/takeDown", "/admin/v1/accounts/suspend"] {
            let refused = ask(&relay, path, &body).await;
            assert_eq!(
                (refused.status, refused.error().as_str()),
                (400, "InvalidRequest"),
                "{body}"
            );
        }
    }
    let asked =
        ask(&relay, "/admin/v1/accounts/refreshIdentity", &json!({ "did": alice.did() })).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let refused = relay.admin("/admin/v1/audit?limit=1000").await.json()["audit"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["outcome"].as_str().unwrap().starts_with("refused: "))
        .count();
    assert_eq!(refused, 2, "what made sense and was refused is in the log too");
    relay.stop().await;
}

/// I7: an account is found with its state, its last events, and why events were dropped.
#[tokio::test]
async fn an_account_is_shown_with_its_last_events_and_what_was_dropped() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let post = alice.post("second").await.unwrap();
    alice.with(relay_simnet::Fault::HighS).post("bad").await.unwrap();
    relay.settled().await;

    let shown = relay.admin(&format!("/admin/v1/accounts?did={}", alice.did())).await.json();
    assert_eq!(shown["account"]["host"], pds.hostname());
    assert_eq!(shown["decided"], "none");
    assert_eq!(shown["events"][0]["kind"], "#commit", "newest first: {shown}");
    assert_eq!(shown["events"][0]["hostSeq"], post.seq);
    assert!(shown["events"].as_array().unwrap().len() >= 3);
    assert_eq!(shown["drops"][0]["reason"], "bad_signature");
    assert_eq!(shown["audit"], json!([]));
    for wrong in ["", "?did=nonsense", "?status=gone", "?status=takendown&limit=0"] {
        let refused = relay.admin(&format!("/admin/v1/accounts{wrong}")).await;
        assert_eq!(refused.error(), "InvalidRequest", "{wrong}");
    }
    relay.stop().await;
}
