//! Lists of hosts of other relays, read by a running relay.

use relay::clock::Clock;
use serde_json::{Value, json};

use crate::{
    http::{Answer, post},
    relay::{PASSWORD, Relay},
    stand_in::{Fault, StandIn, host},
};

const HOUR_US: u64 = 3_600_000_000;

async fn ask(relay: &Relay, body: Value) -> Answer {
    let password = format!("Authorization: Bearer {PASSWORD}");
    post(relay.running.admin, "/admin/v1/pull", &[&password], &body.to_string()).await
}

/// The run through the list of this relay, once `holds` is true of it.
async fn pull_until(relay: &Relay, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let pulls = relay.admin("/admin/v1/pull").await.json();
        let found = pulls["pulls"].as_array().unwrap().iter().find(|pull| pull["from"] == name);
        if let Some(pull) = found.filter(|pull| holds(pull)) {
            return pull.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |pull| pull["status"] == status
}

/// HOST-13, HOST-7: an operator asks for the hosts of two relays; each new one is subscribed to once,
/// has room for twice what it has there, and what those relays gave up stays out.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_other_relays_read_are_added_once_with_room_for_their_accounts() {
    let relay = Relay::start_with(&[("RELAY_DEFAULT_ACCOUNT_LIMIT", "50")]).await;
    let known = relay.host("known").await;
    let real = relay.net.pds("real").await.unwrap();
    let one = StandIn::start(vec![
        vec![
            host(&real.hostname(), "active", (7, 300)),
            host("localhost:1", "offline", (7, 1)),
            host("localhost:2", "active", (0, 1)),
        ],
        vec![
            host(&known.hostname(), "active", (7, 9_000)),
            host("localhost:3", "idle", (1, 3)),
            host("10.0.0.1", "active", (7, 1)),
        ],
    ])
    .await;
    let other = StandIn::start(vec![vec![host(&real.hostname(), "active", (7, 300))]]).await;

    assert_eq!(ask(&relay, json!({ "from": [one.name(), other.name()] })).await.status, 200);

    let first = pull_until(&relay, &one.name(), is("finished")).await;
    let second = pull_until(&relay, &other.name(), is("finished")).await;
    assert_eq!(
        (&first["listed"], &first["passedOver"], &first["refused"]),
        (&json!(6), &json!(2), &json!(1))
    );
    let sum = |key: &str| first[key].as_u64().unwrap() + second[key].as_u64().unwrap();
    assert!(sum("added") >= 2 && sum("added") + sum("known") == 4, "{first} {second}");
    real.connected().await.unwrap();
    let hosts = relay.admin("/admin/v1/hosts").await.json();
    let mut limits: Vec<(String, u64)> = hosts["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| {
            let limit = host["accountLimit"].as_u64().unwrap();
            (host["hostname"].as_str().unwrap().to_owned(), limit)
        })
        .collect();
    limits.sort();
    let mut expected =
        vec![(known.hostname(), 50), (real.hostname(), 600), ("localhost:3".to_owned(), 50)];
    expected.sort();
    assert_eq!(limits, expected);
    relay.stop().await;
}

/// HOST-13: a relay that is stopped in the middle of a list goes on at that page by itself, and one
/// that met an error goes on there when it is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_cut_is_read_on_from_the_same_page() {
    let page = |number: u16| vec![host(&format!("localhost:{number}"), "active", (1, 1))];
    let source = StandIn::start((1..=4).map(page).collect()).await;
    source.fault(1, Some(Fault::Silence));
    source.fault(2, Some(Fault::Always(400)));
    let relay = Relay::start().await;
    ask(&relay, json!({ "from": [source.name()] })).await;
    pull_until(&relay, &source.name(), |pull| pull["added"] == 1).await;
    relay.until("the second page was asked for", || source.asked().len() == 2).await;

    let relay = {
        let stopped = relay.restarted();
        source.fault(1, None);
        Box::pin(stopped).await
    };

    let stopped = pull_until(&relay, &source.name(), is("stopped")).await;
    assert_eq!(source.asked(), ["", "1", "1", "2"]);
    assert_eq!((&stopped["added"], &stopped["lastError"]), (&json!(2), &json!("it answered 400")));
    let relay = relay.restarted().await;
    source.fault(2, None);
    ask(&relay, json!({ "from": [source.name()] })).await;
    let whole = pull_until(&relay, &source.name(), is("finished")).await;
    assert_eq!(source.asked(), ["", "1", "1", "2", "2", "3"]);
    assert_eq!((&whole["added"], &whole["lastError"]), (&json!(4), &Value::Null));
    relay.stop().await;
}

/// Setting `bootstrap_from`, HOST-13: a new relay fills itself from the relays that the settings name,
/// asks them again after six hours, not at the next start, and reads no events from them.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_relay_fills_itself_and_asks_again_after_some_hours() {
    let source = StandIn::start(vec![vec![host("localhost:1", "active", (1, 1))]]).await;
    let clock = Clock::manual(1_800_000_000_000_000);
    let name = source.name();
    let relay = Relay::start_at(clock.clone(), &[("RELAY_UPSTREAM", name.as_str())]).await;
    pull_until(&relay, &name, is("finished")).await;
    source.add(0, host("localhost:2", "active", (1, 1)));

    clock.advance_us(7 * HOUR_US);

    let again =
        pull_until(&relay, &name, |pull| pull["known"] == 1 && pull["status"] == "finished");
    assert_eq!(again.await["added"], 1);
    assert_eq!(source.asked().len(), 2);
    let names: Vec<_> =
        relay.running.hosts.all().iter().map(|host| host.hostname().to_string()).collect();
    assert_eq!(names, ["localhost:1", "localhost:2"], "the relay itself is no host");
    relay.stop().await;
}

/// HOST-13: another relay may ask us to come later.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_asks_us_to_wait_is_asked_again() {
    let source = StandIn::start(vec![vec![host("localhost:1", "active", (1, 1))]]).await;
    source.fault(0, Some(Fault::Wait(1)));
    let relay = Relay::start().await;

    ask(&relay, json!({ "from": [source.name()] })).await;

    pull_until(&relay, &source.name(), is("finished")).await;
    assert_eq!(source.asked().len(), 2);
    relay.stop().await;
}

/// HOST-7: a batch that says how large its hosts are elsewhere gives them room for twice as many
/// accounts, as a list that is pulled does; the others have the usual limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_makes_room_for_the_accounts_that_hosts_have_elsewhere() {
    let relay = Relay::start_with(&[("RELAY_DEFAULT_ACCOUNT_LIMIT", "50")]).await;
    let password = format!("Authorization: Bearer {PASSWORD}");
    let names = ["localhost:1", "localhost:2"];
    let body = json!({ "hostnames": names, "accountCounts": { "localhost:1": 4_000 } }).to_string();

    let added = post(relay.running.admin, "/admin/v1/hosts", &[&password], &body).await;

    assert_eq!(added.status, 200);
    let hosts = relay.admin("/admin/v1/hosts").await.json();
    let limits = [0, 1].map(|place| hosts["hosts"][place]["accountLimit"].as_u64());
    assert_eq!(limits, [Some(8_000), Some(50)]);
    relay.stop().await;
}

/// API-6: wrong requests are refused in words, strangers without a word about lists.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_for_lists_are_refused() {
    let relay = Relay::start().await;
    for body in [json!({}), json!({ "from": [] }), json!({ "from": ["10.0.0.1"] }), json!([])] {
        let answer = ask(&relay, body.clone()).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "InvalidRequest"), "{body}");
    }
    let stranger = post(relay.running.admin, "/admin/v1/pull", &[], "{}").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(relay.admin("/admin/v1/pull").await.json(), json!({ "pulls": [] }));
    relay.stop().await;
}
