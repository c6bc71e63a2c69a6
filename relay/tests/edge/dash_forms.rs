//! The forms of the page: what they change holds, and stands in the audit log.

use relay_simnet::{Consumer, Start};

use crate::{
    dash::{hidden, page, session, url_encoded},
    http::{Answer, post},
    relay::{PASSWORD, Relay},
};

/// Sends a form of the page as a browser does; gives where it leads, or what went wrong.
async fn send_form(relay: &Relay, session: &str, path: &str, fields: &str) -> Answer {
    let token = hidden(&page(relay, session, "/dash").await.body, "token");
    post(relay.running.admin, path, &[session], &format!("token={token}&{fields}")).await
}

/// What an operator decides by a form holds, is told to consumers, and stands in the audit log.
#[tokio::test]
async fn decisions_of_the_page_hold_and_stand_in_the_audit_log() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let session = session(&relay).await;
    let account = format!("/dash/account?q={}", url_encoded(alice.did()));

    let fields = format!("did={}&do=takedown&note=spam+%3Cb%3E", url_encoded(alice.did()));
    let bare = post(relay.running.admin, "/dash/account", &[&session], &fields).await;
    assert_eq!(bare.status, 403, "without its token");
    let done = send_form(&relay, &session, "/dash/account", &fields).await;
    let to = format!("{account}&done=takendown");
    assert_eq!((done.status, done.header("location")), (303, Some(to.as_str())), "{done:?}");
    let after = page(&relay, &session, &to).await.body;
    for part in ["The account was taken down, and consumers were told.", "Restore", "takendown"] {
        assert!(after.contains(part), "{part}: {after}");
    }
    let status = relay.sync(&format!("getRepoStatus?did={}", alice.did())).await.json();
    assert_eq!(status["status"], "takendown");
    let list = page(&relay, &session, "/dash/moderation").await.body;
    assert!(list.contains(alice.did()), "{list}");

    let fields = format!("did={}&do=restore", url_encoded(alice.did()));
    assert_eq!(send_form(&relay, &session, "/dash/account", &fields).await.status, 303);
    let status = relay.sync(&format!("getRepoStatus?did={}", alice.did())).await.json();
    assert_eq!(status["active"], true);
    let list = page(&relay, &session, "/dash/moderation").await.body;
    assert!(!list.contains(alice.did()), "{list}");

    let audit = page(&relay, &session, "/dash/audit").await.body;
    let (restored, taken) = (audit.find("account.restore"), audit.find("account.takeDown"));
    assert!(restored.unwrap() < taken.unwrap(), "newest first: {audit}");
    assert!(audit.contains("spam &lt;b&gt;") && audit.contains("127.0.0.1"), "{audit}");
    let other = page(&relay, &session, "/dash/audit?subject=did:web:other.example.com").await.body;
    assert!(other.contains("Nothing was done yet."), "{other}");

    for (path, fields, status) in [
        ("/dash/account", "did=nonsense&do=takedown", 400),
        ("/dash/account", "did=did:web:a.example.com&do=nothing", 400),
        ("/dash/account", "do=takedown", 400),
        ("/dash/consumers", "id=x", 400),
        ("/dash/consumers", "id=77", 404),
        ("/dash/hosts", "hostname=10.0.0.1", 400),
    ] {
        let refused = send_form(&relay, &session, path, fields).await;
        assert_eq!(refused.status, status, "{path} {fields}: {refused:?}");
        assert!(refused.body.contains("That did not work"), "{refused:?}");
    }
    relay.stop().await;
}

/// An operator limits, bans and releases a host by forms; each change stands in its history.
#[tokio::test]
async fn a_host_is_steered_by_forms() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let session = session(&relay).await;
    let name = format!("name={}", url_encoded(&pds.hostname()));
    let steer = async |fields: &str, word: &str| {
        let answer = send_form(&relay, &session, "/dash/host", &format!("{name}&{fields}")).await;
        let to = answer.header("location").unwrap_or_default().to_owned();
        assert!(answer.status == 303 && to.ends_with(&format!("&done={word}")), "{answer:?}");
        page(&relay, &session, &to).await.body
    };
    let view = || relay.running.hosts.view(&pds.hostname()).unwrap();

    let shown = steer("do=limits&accounts=12%2C345&note=it+grew", "limited").await;
    assert_eq!(view().own_limits.accounts, Some(12_345));
    for part in ["The limits are set", "value=\"12345\"", "it grew", "admin:admin"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    steer("do=limits&accounts=", "limited").await;
    assert_eq!(view().own_limits.accounts, None, "left to the rules again");
    steer("do=strictness&strictness=lenient&until=2099-01-01", "steered").await;
    assert_eq!(view().strictness.as_text(), "lenient");

    let banned = steer("do=ban&note=spam", "banned").await;
    assert_eq!(view().status, relay::domain::HostStatus::Banned);
    assert!(banned.contains("is banned on this relay") && banned.contains("spam"), "{banned}");
    pds.disconnected().await.unwrap();
    steer("do=unban", "unbanned").await;
    pds.connected().await.unwrap();
    steer("do=reset&note=lost", "reset").await;
    steer("do=reconnect", "reconnected").await;
    for (fields, status) in [
        ("do=limits&accounts=many", 400),
        ("do=limits&per_second=0", 400),
        ("do=strictness&strictness=lenient&until=tomorrow", 400),
        ("do=nothing", 400),
    ] {
        let refused = send_form(&relay, &session, "/dash/host", &format!("{name}&{fields}")).await;
        assert_eq!(refused.status, status, "{fields}: {refused:?}");
    }
    let unknown = "name=unknown.example.com&do=ban";
    assert_eq!(send_form(&relay, &session, "/dash/host", unknown).await.status, 404);

    let fields = "do=ban&domain=worse.example.net&note=they+spam";
    let answer = send_form(&relay, &session, "/dash/moderation", fields).await;
    assert_eq!(answer.header("location"), Some("/dash/moderation?done=domain-banned"));
    let list = page(&relay, &session, "/dash/moderation").await.body;
    assert!(list.contains("worse.example.net") && list.contains("they spam"), "{list}");
    let fields = "do=unban&domain=worse.example.net";
    let answer = send_form(&relay, &session, "/dash/moderation", fields).await;
    assert_eq!(answer.header("location"), Some("/dash/moderation?done=domain-unbanned"));
    let list = page(&relay, &session, "/dash/moderation").await.body;
    assert!(!list.contains("worse.example.net"), "{list}");
    let wrong = send_form(&relay, &session, "/dash/moderation", "do=ban&domain=%2F").await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let audit = page(&relay, &session, "/dash/audit").await.body;
    for action in ["host.limits", "host.ban", "host.resetCursor", "domain.ban", "domain.unban"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    relay.stop().await;
}

/// An operator adds a host and closes a consumer without a command line.
#[tokio::test]
async fn hosts_are_added_and_consumers_closed_by_forms() {
    let relay = Relay::start().await;
    let pds = relay.net.pds("alpha").await.unwrap();
    let session = session(&relay).await;
    let fields = format!("hostname={}", url_encoded(&pds.hostname()));
    let added = send_form(&relay, &session, "/dash/hosts", &fields).await;
    let to = added.header("location").unwrap().to_owned();
    assert_eq!((added.status, to.ends_with("&done=added")), (303, true), "{added:?}");
    pds.connected().await.unwrap();
    let host = page(&relay, &session, &to).await.body;
    assert!(host.contains("The host is known now"), "{host}");

    let url = format!("ws://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    relay.until("the consumer counts", || relay.running.firehose.count() == 1).await;
    let id = relay.running.firehose.consumers()[0].id;
    let listed = page(&relay, &session, "/dash/consumers").await.body;
    assert!(listed.contains(&format!("name=\"id\" value=\"{id}\"")), "{listed}");
    let closed = send_form(&relay, &session, "/dash/consumers", &format!("id={id}")).await;
    assert_eq!(closed.header("location"), Some("/dash/consumers?done=disconnected"));
    assert!(consumer.take(1).await.is_err(), "its connection ended");
    relay.stop().await;
}

/// Of many suspended accounts and consumers a page shows some, and leads to the others.
#[tokio::test]
async fn long_lists_of_decisions_and_consumers_come_in_pages() {
    let relay = Relay::start().await;
    let session = session(&relay).await;
    let password = format!("Authorization: Bearer {PASSWORD}");
    let did = |number: usize| format!("did:web:a{number:03}.example.com");
    let shown = |page: &str| (0..101).filter(|number| page.contains(&did(*number))).count();
    for number in 0..101 {
        let body = serde_json::json!({ "did": did(number) }).to_string();
        let path = "/admin/v1/accounts/suspend";
        let answer = post(relay.running.admin, path, &[&password], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let first = page(&relay, &session, "/dash/moderation").await.body;
    assert_eq!(shown(&first), 100);
    let mut links = first.split("href=\"").filter_map(|rest| rest.split('"').next());
    let next = links.find(|to| to.starts_with("/dash/moderation?suspended=")).unwrap();
    let second = page(&relay, &session, next.split('#').next().unwrap()).await.body;
    assert_eq!(shown(&second), 1, "{second}");
    assert!(second.contains(&did(100)) && second.contains("First"), "{second}");

    let url = format!("http://{}", relay.api());
    let _one = Consumer::connect(&url, Start::Live).await.unwrap();
    let _two = Consumer::connect(&url, Start::Live).await.unwrap();
    relay.until("both are there", || relay.running.firehose.count() == 2).await;
    for (from, rows) in [("", 2), ("?from=1", 1), ("?from=2", 0), ("?from=99", 0), ("?from=x", 2)] {
        let list = page(&relay, &session, &format!("/dash/consumers{from}")).await.body;
        assert!(list.contains("2 consumers"), "{list}");
        assert_eq!(list.matches("name=\"id\"").count(), rows, "{from}: {list}");
        assert_eq!(list.contains("First"), rows < 2, "{from}");
    }
    relay.stop().await;
}
