//! Hosts and domains as operators find, steer and ban them, on live connections (HOST-*, API-6).

use relay_simnet::Pds;
use serde_json::{Value, json};

use crate::{
    http::{Answer, post},
    relay::{PASSWORD, Relay},
};

async fn ask(relay: &Relay, path: &str, body: &Value) -> Answer {
    let password = format!("Authorization: Bearer {PASSWORD}");
    post(relay.running.admin, &format!("/admin/v1/{path}"), &[&password], &body.to_string()).await
}

async fn connection(relay: &Relay, pds: &Pds, open: bool) {
    let name = pds.hostname();
    let is = || relay.running.hosts.view(&name).is_some_and(|view| view.connected == open);
    relay.until("the connection is as it should be", is).await;
}

/// HOST-3, T21: a ban ends the connection at once, holds over a restart, and its end connects again.
#[tokio::test]
async fn a_ban_ends_a_connection_and_its_end_makes_one() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let host = json!({ "host": pds.hostname(), "note": "sends garbage" });

    let banned = ask(&relay, "hosts/ban", &host).await.json();
    assert_eq!(
        (&banned["before"]["status"], &banned["after"]["status"]),
        (&json!("active"), &json!("banned"))
    );
    assert_eq!(banned["host"]["statusReason"], "sends garbage");
    connection(&relay, &pds, false).await;
    let relay = relay.restarted().await;
    let shown = relay.admin("/admin/v1/hosts?status=banned").await.json();
    assert_eq!(
        (&shown["total"], &shown["hosts"][0]["hostname"]),
        (&json!(1), &json!(pds.hostname()))
    );
    let refused = ask(&relay, "hosts/reconnect", &host).await;
    assert_eq!((refused.status, refused.error().as_str()), (409, "HostBanned"));

    assert_eq!(ask(&relay, "hosts/unban", &host).await.status, 200);
    connection(&relay, &pds, true).await;
    let history =
        relay.admin(&format!("/admin/v1/hosts/history?host={}", pds.hostname())).await.json();
    let history = history["history"].as_array().unwrap();
    let by_admin: Vec<_> =
        history.iter().filter(|change| change["actor"] == "admin:admin").collect();
    assert!(by_admin.len() >= 2, "{history:?}");
    assert!(by_admin.iter().any(|change| change["reason"] == "sends garbage"));
    relay.stop().await;
}

/// HOST-3, defect 14 of the reference relay: a ban of a domain counts for open connections and over a
/// restart; its end brings the hosts back without anybody asking.
#[tokio::test]
async fn a_ban_of_a_domain_counts_for_open_connections() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let domain = json!({ "domain": "LocalHost", "note": "all of it" });

    let banned = ask(&relay, "domains/ban", &domain).await.json();
    assert_eq!(
        (&banned["domain"], &banned["before"]["banned"]),
        (&json!("localhost"), &json!(false))
    );
    connection(&relay, &pds, false).await;
    let relay = relay.restarted().await;
    let shown = relay.admin("/admin/v1/domains").await.json();
    assert_eq!(shown["banned"][0]["actor"], "admin:admin");
    assert_eq!(relay.running.upstream.connected(), 0);
    let unbanned = ask(&relay, "domains/unban", &domain).await.json();
    assert_eq!(unbanned["before"]["banned"], true);
    connection(&relay, &pds, true).await;
    relay.stop().await;
}

/// HOST-7: limits and strictness of one host are set, shown, and left to the rules again.
#[tokio::test]
async fn limits_and_strictness_of_a_host_are_set_and_left_to_the_rules() {
    let relay = Relay::start_with(&[("RELAY_LENIENT_SYNC_VALIDATION", "true")]).await;
    let pds = relay.host("alpha").await;
    let name = pds.hostname();

    let set = json!({ "host": name, "accounts": 5000, "perSecond": 7 });
    let answer = ask(&relay, "hosts/limits", &set).await.json();
    assert_eq!(answer["host"]["ownLimits"]["accounts"], 5000);
    assert_eq!(answer["host"]["limits"]["perSecond"], 7);
    let clear = json!({ "host": name, "accounts": "default" });
    let answer = ask(&relay, "hosts/limits", &clear).await.json();
    assert_eq!(answer["host"]["ownLimits"]["accounts"], Value::Null);
    assert_eq!(answer["host"]["ownLimits"]["perSecond"], 7, "what is not spoken of stays");

    let answer =
        ask(&relay, "hosts/strictness", &json!({ "host": name, "strictness": "strict" })).await;
    assert_eq!((answer.status, &answer.json()["host"]["strict"]), (200, &json!(true)));
    for wrong in [
        json!({ "host": name }),
        json!({ "host": name, "accounts": -1 }),
        json!({ "host": name, "perSecond": 0 }),
        json!({ "accounts": 1 }),
    ] {
        assert_eq!(ask(&relay, "hosts/limits", &wrong).await.error(), "InvalidRequest", "{wrong}");
    }
    for wrong in ["loose", ""] {
        let body = json!({ "host": name, "strictness": wrong });
        assert_eq!(ask(&relay, "hosts/strictness", &body).await.error(), "InvalidRequest");
    }
    relay.stop().await;
}

/// An operator finds hosts by status, by reason of drops and by text, in any order, page by page.
#[tokio::test]
async fn hosts_are_found_by_what_is_known_of_them() {
    let relay = Relay::start().await;
    let names: Vec<String> =
        ["alpha", "beta", "gamma"].iter().map(|name| (*name).to_owned()).collect();
    let mut hosts = Vec::new();
    for name in &names {
        hosts.push(relay.host(name).await);
    }
    let alice = relay.account(&hosts[1], "alice").await;
    alice.with(relay_simnet::Fault::HighS).post("bad").await.unwrap();
    relay.settled().await;
    ask(&relay, "hosts/ban", &json!({ "host": hosts[2].hostname(), "note": "spam wave" })).await;

    let found = async |query: &str| {
        let answer = relay.admin(&format!("/admin/v1/hosts?{query}")).await.json();
        let found = answer["hosts"].as_array().unwrap().clone();
        let names: Vec<_> =
            found.iter().map(|host| host["hostname"].as_str().unwrap().to_owned()).collect();
        (names, answer["cursor"].as_str().map(str::to_owned))
    };
    let [alpha, beta, gamma] = [0, 1, 2].map(|n: usize| hosts[n].hostname());
    assert_eq!(found("status=banned").await.0, [gamma.as_str()]);
    assert_eq!(found("reason=bad_signature").await.0, [beta.as_str()]);
    assert_eq!(found("text=SPAM").await.0, [gamma.as_str()]);
    assert_eq!(found("sort=accounts&order=desc&limit=1").await.0, [beta.as_str()]);
    let mut seen = Vec::new();
    let mut cursor = Some(String::new());
    while let Some(at) = cursor {
        let (names, next) = found(&format!("sort=hostname&limit=1&cursor={at}")).await;
        seen.extend(names);
        cursor = next;
    }
    let mut sorted = vec![alpha.clone(), beta.clone(), gamma.clone()];
    sorted.sort_unstable();
    assert_eq!(seen, sorted);
    let (first, next) = found("limit=2&order=desc").await;
    assert_eq!(first, [gamma.as_str(), beta.as_str()]);
    let (rest, end) = found(&format!("limit=2&order=desc&cursor={}", next.unwrap())).await;
    assert_eq!((rest, end), (vec![alpha], None));
    for wrong in ["status=x", "reason=x", "sort=x", "order=x", "cursor=x", "limit=0"] {
        let refused = relay.admin(&format!("/admin/v1/hosts?{wrong}")).await;
        assert_eq!(refused.error(), "InvalidRequest", "{wrong}");
    }
    relay.stop().await;
}

/// I8: settings are shown with their origin, and no secret is among them.
#[tokio::test]
async fn settings_are_shown_without_secrets() {
    let relay = Relay::start().await;
    let shown = relay.admin("/admin/v1/settings").await;
    assert!(!shown.body.contains(PASSWORD), "{}", shown.body);
    let settings = shown.json();
    let all = settings["settings"].as_array().unwrap();
    let password = all.iter().find(|one| one["key"] == "admin_passwords").unwrap();
    assert_eq!(
        (&password["value"], &password["origin"]),
        (&json!("(redacted)"), &json!("env RELAY_ADMIN_PASSWORD"))
    );
    assert_eq!(settings["now"]["requestCrawl"], true);
    relay.stop().await;
}
