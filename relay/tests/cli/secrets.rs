//! I8: no password in any output or log.

use crate::program::{Place, client, printed};

const SECRETS: [&str; 3] = ["dbSecretOne", "adminSecretTwo", "adminSecretThree"];

fn assert_silent(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in: {text}");
    }
}

/// I8: `relay config` prints every setting with its value and where it came from, secrets redacted.
#[tokio::test]
async fn the_effective_settings_are_printed_with_their_origin_and_without_secrets() {
    let settings = [
        ("DATABASE_URL", "postgres://relay:dbSecretOne@db.example.com/relay"),
        ("RELAY_ADMIN_KEY", "adminSecretTwo"),
        ("RELAY_REPLAY_WINDOW", "48h"),
    ];
    let ended = Place::new().run(&["config", "--shards", "3"], &settings).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_silent(&ended.out);
    for (key, value, origin) in [
        ("data_dir", "data/relay", "default"),
        ("database_url", "postgres://relay:redacted@db.example.com/relay", "env DATABASE_URL"),
        ("admin_passwords", "(redacted)", "env RELAY_ADMIN_KEY"),
        ("replay_window", "48h", "env RELAY_REPLAY_WINDOW"),
        ("shards", "3", "flag --shards"),
    ] {
        assert_eq!(printed(&ended.out, key), (value.to_owned(), origin.to_owned()));
    }
    assert_eq!(ended.out.lines().count(), relay::config::SETTINGS.len());
}

/// I8: neither a database that cannot be reached nor a value that is refused brings a password to
/// light, however much is logged.
#[tokio::test]
async fn a_failed_start_names_no_secret() {
    let broken = [
        ("postgres://relay:dbSecretOne@127.0.0.1:1/relay", "cannot be reached"),
        ("postgres://relay:dbSecretOne@127.0.0.1:port/relay", "DATABASE_URL cannot be used"),
        ("mysql://relay:dbSecretOne@127.0.0.1/relay", "database_url is"),
    ];
    for (url, words) in broken {
        let settings = [
            ("DATABASE_URL", url),
            ("RELAY_LOG_LEVEL", "trace"),
            ("RELAY_ADMIN_PASSWORD", "adminSecretTwo"),
        ];
        let ended = Place::new().run(&["--admin-password", "adminSecretThree"], &settings).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(words), "{ended:?}");
        assert_silent(&ended.err);
        assert_silent(&ended.out);
    }
    let place = Place::new();
    std::fs::write(place.path().join(".env"), "RELAY_ADMIN_PASSWORD='adminSecretTwo\n").unwrap();
    let ended = place.run(&[], &[]).await;
    assert!(ended.one_sentence().contains(".env has an error in line 1"), "{ended:?}");
    assert_silent(&ended.err);
}

/// I8: a running relay that logs everything keeps the passwords that it is given to itself, right and
/// wrong ones.
#[tokio::test]
async fn a_running_relay_logs_no_password_that_it_is_given() {
    let settings = [("RELAY_ADMIN_PASSWORD", "adminSecretTwo"), ("RELAY_LOG_LEVEL", "trace")];
    let mut relay = Place::new().start(&[], &settings);
    let [_, admin, metrics] = relay.up().await;
    for (password, status) in [("adminSecretTwo", 200), ("adminSecretThree", 401)] {
        let url = format!("http://{admin}/admin/v1/hosts");
        let answer = client().get(url).basic_auth("admin", Some(password)).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_silent(&answer.text().await.unwrap());
    }
    let counted = client().get(format!("http://{metrics}/metrics")).send().await.unwrap();
    assert_silent(&counted.text().await.unwrap());
    let ended = relay.stop().await;
    assert_silent(&ended.err);
    assert_silent(&ended.out);
}

/// I8: one half of Slack's settings stops the start with a sentence about the other half, and without the
/// token.
#[tokio::test]
async fn half_of_the_settings_of_slack_stops_the_start() {
    for (name, value, words) in [
        ("RELAY_SLACK_ALERT_TOKEN", "adminSecretTwo", "together with slack_alert_channel"),
        ("RELAY_SLACK_ALERT_CHANNEL", "#ops", "together with slack_alert_token"),
    ] {
        let ended = Place::new().run(&[], &[(name, value)]).await;
        assert!(ended.one_sentence().contains(words), "{ended:?}");
        assert_silent(&ended.err);
    }
    let both = [
        ("RELAY_SLACK_ALERT_TOKEN", "adminSecretTwo"),
        ("RELAY_SLACK_ALERT_CHANNEL", "#ops"),
        ("RELAY_ALERT_WEBHOOK", "https://example.com/adminSecretThree"),
    ];
    let ended = Place::new().run(&["config"], &both).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_silent(&ended.out);
}

/// I8: a webhook that cannot be reached is spoken of, and its address, which is a secret, is not.
#[tokio::test]
async fn a_webhook_that_is_away_is_told_without_its_address() {
    let net = relay_simnet::Net::seeded(8).await.unwrap();
    let pds = net.pds("alpha").await.unwrap();
    pds.account("alice").await.unwrap().post("hello").await.unwrap();
    let (plc, host) = (net.plc().url(), pds.hostname());
    let settings = [
        ("RELAY_ALLOW_INSECURE_HOSTS", "true"),
        ("RELAY_PLC_HOST", plc.as_str()),
        ("RELAY_CRAWL", host.as_str()),
        ("RELAY_DEFAULT_ACCOUNT_LIMIT", "1"),
        ("RELAY_LOG_LEVEL", "trace"),
        ("RELAY_ALERT_WEBHOOK", "http://127.0.0.1:1/adminSecretTwo"),
    ];
    let place = Place::new();
    let mut relay = place.start(&[], &settings);
    let [_, _, metrics] = relay.up().await;
    let full = async {
        loop {
            let url = format!("http://{metrics}/metrics");
            let text = client().get(url).send().await.unwrap().text().await.unwrap();
            if text.contains("relay_hosts_nearly_full 1") {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), full).await.unwrap();
    relay.stop().await;

    // Its first look finds what the last run left.
    let mut relay = place.start(&[], &settings);
    relay.says("alert is sent again later").await;
    let ended = relay.stop().await;
    assert_silent(&ended.err);
    assert_silent(&ended.out);
}
