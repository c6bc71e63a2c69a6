//! What is told of one account: status, last commit, where its repository is (API-3, API-4).

use relay::{clock::Clock, domain::LocalStatus};
use relay_protocol::Did;
use relay_simnet::Answer as Document;

use crate::{http::Answer, relay::Relay};

/// Status and error name, `""` when there is none.
fn told(answer: &Answer) -> (u16, String) {
    let name = if answer.status >= 400 { answer.error() } else { String::new() };
    (answer.status, name)
}

/// Spec 12, rows getRepoStatus, getLatestCommit, getRepo, through the life of an account.
#[tokio::test]
async fn the_three_methods_follow_the_life_of_an_account() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let did = alice.did().to_owned();
    let (rev, head) = alice.latest_commit().await.unwrap();
    let status = async || relay.sync(&format!("getRepoStatus?did={did}")).await;
    let latest = async || relay.sync(&format!("getLatestCommit?did={did}")).await;
    let repo = async || relay.sync(&format!("getRepo?did={did}")).await;

    let active = serde_json::json!({ "did": did, "active": true, "rev": rev });
    assert_eq!(status().await.json(), active);
    assert_eq!(latest().await.json(), serde_json::json!({ "cid": head, "rev": rev }));
    assert_eq!(repo().await.status, 302);

    alice.deactivate().await.unwrap();
    relay.settled().await;
    let expected = serde_json::json!({ "did": did, "active": false, "status": "deactivated" });
    assert_eq!(status().await.json(), expected);
    assert_eq!(told(&latest().await), (403, "RepoDeactivated".to_owned()));
    assert_eq!(told(&repo().await), (403, "RepoDeactivated".to_owned()));

    alice.takedown().await.unwrap();
    relay.settled().await;
    assert_eq!(status().await.json()["status"], "takendown");
    assert_eq!(told(&repo().await), (403, "RepoTakendown".to_owned()));

    alice.reverse_takedown().await.unwrap();
    relay.settled().await;
    assert_eq!(latest().await.status, 200, "control: active again");

    alice.delete_account().await.unwrap();
    relay.settled().await;
    assert_eq!(status().await.json()["status"], "deleted");
    assert_eq!(told(&latest().await), (404, "RepoNotFound".to_owned()));
    assert_eq!(told(&repo().await), (404, "RepoNotFound".to_owned()));
    relay.stop().await;
}

/// API-3, spec 12: what this relay decided counts, also for getRepo.
#[tokio::test]
async fn a_local_takedown_holds_for_all_methods() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let did = Did::parse(alice.did()).unwrap();

    let known = relay.running.ingest.set_local_status(&did, LocalStatus::Takendown).await.unwrap();

    assert!(known);
    let status = relay.sync(&format!("getRepoStatus?did={did}")).await.json();
    assert_eq!((&status["active"], &status["status"]), (&false.into(), &"takendown".into()));
    assert_eq!(status.get("rev"), None);
    for method in ["getLatestCommit", "getRepo"] {
        let answer = relay.sync(&format!("{method}?did={did}")).await;
        assert_eq!(told(&answer), (403, "RepoTakendown".to_owned()), "{method}");
    }
    let repos = relay.sync("listRepos").await.json();
    assert_eq!(repos["repos"][0]["status"], "takendown");

    relay.running.ingest.set_local_status(&did, LocalStatus::None).await.unwrap();
    assert_eq!(relay.sync(&format!("getRepo?did={did}")).await.status, 302, "control");
    relay.stop().await;
}

/// API-4: scheme and port of the document, the same query, nothing cached, no lookup of a fresh one.
#[tokio::test]
async fn get_repo_points_to_the_host_with_the_same_query() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let lookups = relay.net.plc().total_lookups();

    let query = format!("did={}&since=3jzfcijpj2z2a&later=%2F%26x", alice.did());
    let answer = relay.sync(&format!("getRepo?{query}")).await;

    assert_eq!(answer.status, 302);
    let target = format!("{}/xrpc/com.atproto.sync.getRepo?{query}", pds.url());
    assert_eq!(answer.header("location"), Some(target.as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(relay.net.plc().total_lookups(), lookups);
    assert_eq!(pds.requests("getRepo"), 0, "ROLE-3: the relay itself never fetches");
    relay.stop().await;
}

/// Spec 12: unknown accounts are 404 and cost no lookup, wrong DIDs are 400.
#[tokio::test]
async fn unknown_accounts_are_404_and_wrong_dids_400() {
    let relay = Relay::start().await;
    for method in ["getRepoStatus", "getLatestCommit", "getRepo"] {
        let unknown = relay.sync(&format!("{method}?did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")).await;
        assert_eq!(told(&unknown), (404, "RepoNotFound".to_owned()), "{method}");
        for wrong in ["", "did=", "did=alice.test", "did=did:", "did=did:plc:%1b[2J"] {
            let answer = relay.sync(&format!("{method}?{wrong}")).await;
            assert_eq!(told(&answer), (400, "InvalidRequest".to_owned()), "{method} {wrong}");
            assert!(!answer.body.contains('\u{1b}'), "SEC-10");
        }
    }
    assert_eq!(relay.net.plc().total_lookups(), 0, "SEC-3: strangers cannot spend the budget");
    relay.stop().await;
}

/// API-4, spec 12: what we hold for longer than a day is looked up again, since an account may have
/// moved without a word; no PDS is 404, and a directory that is down is no reason to forget a host.
#[tokio::test]
async fn an_old_place_is_looked_up_before_it_is_told() {
    let clock = Clock::manual(Clock::system().now_us());
    let relay = Relay::start_at(clock.clone(), &[]).await;
    let (alpha, beta) = (relay.host("alpha").await, relay.net.pds("beta").await.unwrap());
    let alice = relay.account(&alpha, "alice").await;
    let bob = relay.account(&alpha, "bob").await;
    let carol = relay.account(&alpha, "carol").await;
    let path = |did: &str| format!("getRepo?did={did}");
    let target = |pds: &relay_simnet::Pds, did: &str| {
        format!("{}/xrpc/com.atproto.sync.getRepo?did={did}", pds.url())
    };
    // The relay does not know beta and hears nothing of alpha: only the document says where she went.
    alpha.down();
    alice.migrate_to(&beta).await.unwrap();
    relay.net.plc().answer(bob.did(), Document::NoHost);
    let young = relay.sync(&path(bob.did())).await;
    assert_eq!(young.header("location"), Some(target(&alpha, bob.did()).as_str()), "control");

    clock.advance_us(25 * 3_600 * 1_000_000);

    let moved = relay.sync(&path(alice.did())).await;
    assert_eq!(moved.status, 302);
    assert_eq!(moved.header("location"), Some(target(&beta, alice.did()).as_str()));
    assert_eq!(told(&relay.sync(&path(bob.did())).await), (404, "RepoNotFound".to_owned()));
    relay.net.plc().down();
    let held = relay.sync(&path(carol.did())).await;
    assert_eq!(held.header("location"), Some(target(&alpha, carol.did()).as_str()));
    relay.stop().await;
}
