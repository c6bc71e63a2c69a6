//! Alerts to people: what is told to whom, how often, and what happens when nobody listens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use parking_lot::Mutex;
use relay::{alerts::AlertOptions, clock::Clock, daemon::Extras, tasks::Tasks};
use relay_simnet::{Account, Consumer, Pds, Start, clock::wall_micros};
use serde_json::{Value, json};

use crate::{
    dash::{page, session, url_encoded},
    http::{post, send},
    relay::{PASSWORD, Relay},
};

const MINUTE: u64 = 60_000_000;

/// A message as it came.
#[derive(Clone, Debug)]
struct Message {
    path: String,
    token: String,
    body: Value,
}

/// A server on this machine that takes messages.
#[derive(Clone)]
struct Server {
    address: String,
    messages: Arc<Mutex<Vec<Message>>>,
    /// Messages that it does not take yet.
    refusals: Arc<AtomicUsize>,
}

impl Server {
    async fn start(tasks: &Tasks) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            messages: Arc::default(),
            refusals: Arc::default(),
        };
        let router = Router::new().fallback(take).with_state(server.clone());
        let stopping = tasks.stopping().clone();
        tasks.start(async move {
            let serving = axum::serve(listener, router).into_future();
            stopping.run_until_cancelled(serving).await;
        });
        server
    }

    /// All alerts that a webhook was told, as `kind state host`.
    fn told(&self) -> Vec<String> {
        let messages = self.messages.lock();
        let alerts = messages.iter().flat_map(|message| message.body["alerts"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        alerts
            .map(|one| {
                format!("{} {} {}", text(&one["kind"]), text(&one["state"]), text(&one["host"]))
            })
            .collect()
    }

    fn count(&self) -> usize {
        self.messages.lock().len()
    }
}

async fn take(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let refuse = |left: usize| left.checked_sub(1);
    if server.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
        return (StatusCode::SERVICE_UNAVAILABLE, "");
    }
    let token = headers.get("authorization").and_then(|token| token.to_str().ok());
    server.messages.lock().push(Message {
        path: uri.path().to_owned(),
        token: token.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap(),
    });
    (StatusCode::OK, "{\"ok\":true}")
}

/// A relay whose clock the test moves, and that tells both servers.
struct Scene {
    relay: Relay,
    clock: Clock,
    webhook: Server,
    slack: Server,
    tasks: Tasks,
}

impl Scene {
    /// * `deaf_hosts_min` – connected hosts from which on silence is told
    async fn start(deaf_hosts_min: usize, settings: &[(&str, &str)]) -> Self {
        let (tasks, clock) = (Tasks::default(), Clock::manual(wall_micros()));
        let (webhook, slack) = (Server::start(&tasks).await, Server::start(&tasks).await);
        let alerts = AlertOptions {
            look_every: Duration::from_millis(10),
            slack_url: format!("{}/api/chat.postMessage", slack.address),
            first_retry: Duration::from_millis(10),
            deaf_hosts_min,
        };
        let hook = format!("{}/hook/webhookSecret", webhook.address);
        let usual = [
            ("RELAY_ALERT_WEBHOOK", hook.as_str()),
            ("RELAY_SLACK_ALERT_TOKEN", "slackSecret"),
            ("RELAY_SLACK_ALERT_CHANNEL", "#ops"),
            ("RELAY_ALERT_DASHBOARD_URL", "https://dash.example.com"),
        ];
        let settings: Vec<_> = usual.into_iter().chain(settings.iter().copied()).collect();
        let extras = Extras { clock: clock.clone(), alerts, ..Extras::default() };
        let relay = Relay::start_from(extras, &settings).await;
        Self { relay, clock, webhook, slack, tasks }
    }

    fn minutes(&self, count: u64) {
        self.clock.advance_us(count * MINUTE);
    }

    /// Waits until the webhook was told these, in any number of messages, and nothing else.
    async fn told(&self, alerts: &[String]) {
        let what = format!("told are {alerts:?}");
        self.relay.until(&what, || self.webhook.told().len() >= alerts.len()).await;
        assert_eq!(self.webhook.told(), alerts);
    }

    async fn stop(self) {
        self.relay.stop().await;
        self.tasks.stop().await;
    }
}

async fn accounts(relay: &Relay, pds: &Pds, count: usize) -> Vec<Account> {
    let mut accounts = Vec::new();
    for number in 0..count {
        accounts.push(relay.account(pds, &format!("{}-{number}", pds.name())).await);
    }
    accounts
}

/// HOST-7; settings `alert_webhook`, `slack_alert_token`, `slack_alert_channel`,
/// `account_limit_alert_threshold`, `account_limit_alert_interval`,
/// `account_limit_alert_repeat_interval`, `account_limit_alert_dashboard_url`: people hear of a host at four
/// of five accounts when that is looked at, again after the time that they set, and when it is over.
#[tokio::test]
async fn people_hear_of_a_host_near_its_limit_again_and_when_it_is_over() {
    let scene = Scene::start(
        50,
        &[
            ("RELAY_DEFAULT_ACCOUNT_LIMIT", "5"),
            ("RELAY_ACCOUNT_LIMIT_ALERT_THRESHOLD", "0.8"),
            ("RELAY_ACCOUNT_LIMIT_ALERT_INTERVAL", "10m"),
            ("RELAY_ACCOUNT_LIMIT_ALERT_REPEAT_INTERVAL", "3h"),
        ],
    )
    .await;
    let relay = &scene.relay;
    let (alpha, beta) = (relay.host("alpha").await, relay.host("beta").await);
    let users = accounts(relay, &alpha, 4).await;
    let (full, other) = (alpha.hostname(), beta.hostname());
    let alert = |state: &str, host: &str| format!("account_limit {state} {host}");
    // Not before ten minutes have passed. The clock stands, so that nothing else can be said.
    scene.minutes(9);
    assert_eq!(scene.webhook.count(), 0);
    scene.minutes(1);
    let mut expected = vec![alert("began", &full)];
    scene.told(&expected).await;
    let first = scene.webhook.messages.lock()[0].clone();
    assert_eq!(first.path, "/hook/webhookSecret");
    assert_eq!(first.body["alerts"][0]["words"], format!("{full} has 4 of 5 accounts (80 %)"));
    relay.until("Slack is told", || scene.slack.count() == 1).await;
    let slack = scene.slack.messages.lock()[0].clone();
    assert_eq!(
        (slack.path.as_str(), slack.token.as_str()),
        ("/api/chat.postMessage", "Bearer slackSecret")
    );
    assert_eq!(slack.body["channel"], "#ops");
    assert!(slack.body.to_string().contains("4 of 5 accounts"), "{slack:?}");
    assert!(slack.body.to_string().contains("https://dash.example.com"), "{slack:?}");

    // Two hours later another host is news, and the first one is not.
    accounts(relay, &beta, 5).await;
    scene.minutes(120);
    expected.push(alert("began", &other));
    scene.told(&expected).await;
    let words = scene.webhook.messages.lock()[1].body["alerts"][0]["words"].clone();
    assert!(words.as_str().unwrap().ends_with("further ones are not passed"), "{words}");
    scene.minutes(60);
    expected.push(alert("lasts", &full));
    scene.told(&expected).await;

    for user in &users[1..] {
        user.delete_account().await.unwrap();
    }
    relay.settled().await;
    scene.minutes(10);
    expected.push(alert("over", &full));
    scene.told(&expected).await;
    Box::pin(scene.stop()).await;
}

/// The first alert, when there is one that is silenced or is not.
async fn shown(relay: &Relay, silenced: bool) -> Value {
    let looked = async {
        loop {
            let answer = relay.admin("/admin/v1/alerts").await.json();
            let first = &answer["alerts"][0];
            if first["silenced"] == silenced {
                return answer;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looked).await.unwrap()
}

/// Operators read which alerts are open and which are silenced, also where nobody is told; and of each
/// host how much of its limits it uses.
#[tokio::test]
async fn open_and_silenced_alerts_are_read_also_where_nobody_is_told() {
    let clock = Clock::manual(wall_micros());
    let alerts = AlertOptions { look_every: Duration::from_millis(10), ..AlertOptions::default() };
    let extras = Extras { clock: clock.clone(), alerts, ..Extras::default() };
    let relay = Relay::start_from(extras, &[("RELAY_DEFAULT_ACCOUNT_LIMIT", "2")]).await;
    let pds = relay.host("alpha").await;
    accounts(&relay, &pds, 1).await;
    let host = relay.admin("/admin/v1/hosts").await.json()["hosts"][0].clone();
    assert_eq!((&host["usage"]["near"], &host["heldAccounts"]), (&json!(false), &json!(0)));
    assert_eq!(relay.admin("/admin/v1/alerts").await.json()["alerts"], json!([]));

    let third = relay.account(&pds, "second").await;
    third.post("one more").await.unwrap();
    relay.settled().await;
    clock.advance_us(10 * MINUTE);

    let open = shown(&relay, false).await;
    let alert = &open["alerts"][0];
    assert_eq!((&alert["kind"], &alert["host"]), (&json!("account_limit"), &json!(pds.hostname())));
    assert!(alert["words"].as_str().unwrap().contains("2 of 2 accounts"), "{alert}");
    assert!(alert["since"].is_string() && open["lookedAt"].is_string(), "{open}");
    let host = relay.admin("/admin/v1/hosts").await.json()["hosts"][0].clone();
    assert_eq!(host["usage"]["near"], true, "{host}");
    let session = session(&relay).await;
    let path = format!("/dash/host?name={}", url_encoded(&pds.hostname()));
    let text = page(&relay, &session, &path).await.body;
    assert!(text.contains("It uses more than four fifths of one of its limits."), "{text}");
    assert!(text.contains("<td class=\"num\">100 %</td>"), "{text}");
    assert_eq!(
        (&host["usage"]["losing"], &host["usage"]["behindSeconds"]),
        (&json!(false), &json!(0))
    );

    let body = json!({ "host": pds.hostname(), "silenced": true }).to_string();
    let password = format!("Authorization: Bearer {PASSWORD}");
    let silence = "/admin/v1/hosts/silence";
    assert_eq!(post(relay.running.admin, silence, &[&password], &body).await.status, 200);
    clock.advance_us(10 * MINUTE);
    let silenced = shown(&relay, true).await;
    assert_eq!(silenced["alerts"][0]["since"], Value::Null, "{silenced}");
    assert_eq!(silenced["alerts"].as_array().map(Vec::len), Some(1), "{silenced}");
    relay.stop().await;
}

/// What is open outlives a restart: people are not told once more what they know.
#[tokio::test]
async fn a_restart_tells_nothing_anew() {
    let scene = Scene::start(50, &[("RELAY_DEFAULT_ACCOUNT_LIMIT", "1")]).await;
    let pds = scene.relay.host("alpha").await;
    accounts(&scene.relay, &pds, 1).await;
    scene.minutes(10);
    let expected = [format!("account_limit began {}", pds.hostname())];
    scene.told(&expected).await;
    let Scene { relay, webhook, slack, tasks, .. } = scene;

    let relay = relay.restarted().await;
    let text = |text: &str| {
        text.lines().any(|line| line.starts_with("relay_alerts_open{kind=\"account_limit\"} 1"))
    };
    let looked =
        async { while !text(&send(relay.running.metrics, "GET", "/metrics", &[]).await.body) {} };
    tokio::time::timeout(Duration::from_secs(30), looked).await.unwrap();

    assert_eq!(webhook.told(), expected);
    assert_eq!(slack.count(), 1);
    relay.stop().await;
    tasks.stop().await;
}

/// A relay to which its hosts say nothing any more, and one that lost events before their time, say so, and
/// when it is over.
#[tokio::test]
async fn a_deaf_relay_and_a_shrunk_window_are_told() {
    let scene = Scene::start(
        1,
        &[
            ("RELAY_REPLAY_MAX_BYTES", "1MiB"),
            ("RELAY_SEGMENT_BYTES", "64KiB"),
            ("RELAY_LOG_COMPRESSION", "off"),
        ],
    )
    .await;
    let pds = scene.relay.host("alpha").await;
    let alice = scene.relay.account(&pds, "alice").await;
    // Looked at once before the time passes, or there is no silence to count.
    let looked = async {
        while !send(scene.relay.running.metrics, "GET", "/metrics", &[])
            .await
            .body
            .contains("relay_alerts_open{kind=\"deaf\"} 0")
        {}
    };
    tokio::time::timeout(Duration::from_secs(30), looked).await.unwrap();
    let deaf = async {
        while scene.webhook.told().is_empty() {
            scene.minutes(1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), deaf).await.unwrap();
    scene.told(&["deaf began -".to_owned()]).await;
    alice.post("here I am").await.unwrap();
    scene.told(&["deaf began -".to_owned(), "deaf over -".to_owned()]).await;

    for _ in 0..60 {
        alice.post(&"x".repeat(40_000)).await.unwrap();
    }
    scene.relay.settled().await;
    let shrunk = || scene.webhook.told().iter().any(|told| told == "window_shrunk began -");
    scene.relay.until("the window is found too short", shrunk).await;
    Box::pin(scene.stop()).await;
}

/// A receiver that is away for a moment gets its message later; one that never answers holds up neither
/// the other receiver nor an event.
#[tokio::test]
async fn receivers_that_fail_get_it_later_and_hold_up_nobody() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/", silent.local_addr().unwrap());
    let tasks = Tasks::default();
    let slack = Server::start(&tasks).await;
    slack.refusals.store(3, Ordering::SeqCst);
    let alerts = AlertOptions {
        look_every: Duration::from_millis(10),
        slack_url: slack.address.clone(),
        first_retry: Duration::from_millis(10),
        deaf_hosts_min: 50,
    };
    let clock = Clock::manual(wall_micros());
    let extras = Extras { clock: clock.clone(), alerts, ..Extras::default() };
    let settings = [
        ("RELAY_ALERT_WEBHOOK", hook.as_str()),
        ("RELAY_SLACK_ALERT_TOKEN", "slackSecret"),
        ("RELAY_SLACK_ALERT_CHANNEL", "#ops"),
        ("RELAY_DEFAULT_ACCOUNT_LIMIT", "1"),
    ];
    let relay = Relay::start_from(extras, &settings).await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    clock.advance_us(10 * MINUTE);

    relay.until("Slack got it at the fourth try", || slack.count() == 1).await;
    assert_eq!(slack.refusals.load(Ordering::SeqCst), 0);
    let (_held, _) = silent.accept().await.unwrap();
    let mut consumer =
        Consumer::connect(&format!("http://{}", relay.api()), Start::Live).await.unwrap();
    relay.until("the consumer is there", || relay.running.firehose.count() == 1).await;
    let sent = alice.post("meanwhile").await.unwrap();
    assert_eq!(consumer.next().await.unwrap().rev.as_deref(), Some(sent.rev.as_str()));
    relay.stop().await;
    tasks.stop().await;
}
