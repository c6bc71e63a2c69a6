//! Metrics: every one is in the catalogue with a help text, and no stranger adds a label (SEC-4, I5).

use std::collections::{BTreeMap, BTreeSet};

use relay::telemetry::aliases::ALIASES;
use relay_simnet::{Consumer, Fault, Start};

use crate::{
    http::{post, send},
    relay::Relay,
};

/// Longest value of a label that is a word of ours: a path.
const VALUE_CHARS_MAX: usize = 60;

/// Name and labels of each series.
fn series(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, _value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
            let labels = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
            let pair = |pair: &str| {
                let (key, value) = pair.split_once("=\"").unwrap();
                (key.to_owned(), value.trim_end_matches('"').to_owned())
            };
            (name.to_owned(), labels.map(pair).collect())
        })
        .collect()
}

/// The metrics now.
async fn scraped(relay: &Relay) -> String {
    send(relay.running.metrics, "GET", "/metrics", &[]).await.body
}

/// The sum of all series of a metric that have this label, if one is asked for.
fn sum(text: &str, name: &str, only: Option<(&str, &str)>) -> Option<f64> {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
            && only.is_none_or(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    });
    let values: Vec<f64> =
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Dashboards and alerts that were made for the reference relay show what this one does: every name of
/// theirs is there and follows ours.
#[tokio::test]
async fn every_name_of_the_reference_relay_is_there_and_follows_ours() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    let first = consumer.take(2).await.unwrap().len();
    let before = scraped(&relay).await;
    for _ in 0..5 {
        alice.post("more").await.unwrap();
    }
    alice.with(Fault::WrongKey).post("bad").await.unwrap();
    relay.settled().await;
    consumer.take(5 + 2 - first).await.unwrap();
    relay.running.checkpoint().await.unwrap();

    let text = scraped(&relay).await;

    for alias in ALIASES {
        let parts: &[&str] = if text.contains(&format!("# TYPE {} histogram", alias.name)) {
            &["_sum", "_count"]
        } else {
            &[""]
        };
        for part in parts {
            let (theirs, ours) = (format!("{}{part}", alias.name), format!("{}{part}", alias.ours));
            let shown = sum(&text, &theirs, None).unwrap_or_else(|| panic!("{theirs} is missing"));
            let expected =
                sum(&text, &ours, alias.only).unwrap_or(0.0) / alias.divisor + alias.plus;
            assert!(
                (shown - expected).abs() <= expected.abs() * 1e-9,
                "{theirs}: {shown}, {expected}"
            );
        }
    }
    let grew = |name: &str| sum(&text, name, None).unwrap() - sum(&before, name, None).unwrap();
    for (name, least) in [
        ("events_received_counter", 6.0),
        ("repo_commits_received_counter", 6.0),
        ("validator_account_verify_warnings", 1.0),
        ("events_sent_counter", 5.0),
        ("disk_persister_current_seq", 5.0),
        ("events_handle_duration_count", 1.0),
        ("http_requests_total", 1.0),
    ] {
        assert!(grew(name) >= least, "{name} grew by {}", grew(name));
    }
    assert!(sum(&text, "relay_new_users_discovered", None) >= Some(1.0));
    assert!(sum(&text, "process_start_time_seconds", None) > Some(1.7e9));
    relay.stop().await;
}

/// Everything odd that may end up in a label if one is careless.
async fn provoke(relay: &Relay, mark: &str) {
    let agent = format!("User-Agent: {mark}");
    let requests = [
        ("GET", format!("/xrpc/com.example.{mark}"), 501),
        ("GET", format!("/{mark}/{mark}"), 404),
        ("GET", format!("/xrpc/com.atproto.sync.getRepoStatus?did=did:web:{mark}.com"), 404),
        ("GET", format!("/xrpc/com.atproto.sync.getHostStatus?hostname={mark}.com"), 404),
        ("GET", format!("/xrpc/com.atproto.sync.subscribeRepos?cursor={mark}"), 400),
        ("POST", format!("/xrpc/com.atproto.sync.listRepos?cursor={mark}"), 405),
        (mark, "/".to_owned(), 405),
    ];
    for (method, path, status) in requests {
        assert_eq!(send(relay.api(), method, &path, &[&agent]).await.status, status, "{path}");
    }
    let body = "{\"hostname\":\"localhost:9\"}";
    let crawl = "/xrpc/com.atproto.sync.requestCrawl";
    assert_eq!(post(relay.api(), crawl, &[&agent], body).await.status, 400);
    assert_eq!(send(relay.running.admin, "GET", "/admin/v1/hosts", &[&agent]).await.status, 401);
    let wrong = format!("Authorization: Bearer {mark}");
    let refused = send(relay.running.admin, "GET", "/admin/v1/hosts", &[&wrong]).await;
    assert_eq!(refused.status, 401);
}

/// Issue 3, section 5: one catalogue; SEC-4: labels come from closed sets.
#[tokio::test]
async fn every_series_is_in_the_catalogue_and_no_stranger_names_one() {
    let relay = Relay::start().await;
    let pds = relay.host("alpha").await;
    let alice = relay.account(&pds, "alice").await;
    alice.with(Fault::WrongKey).post("bad").await.unwrap();
    relay.settled().await;
    let url = format!("http://{}", relay.api());
    let mut consumer = Consumer::connect(&url, Start::After(0)).await.unwrap();
    consumer.take(2).await.unwrap();
    relay.running.checkpoint().await.unwrap();
    for mark in ["xxmarkone", "XXMARKTWO"] {
        provoke(&relay, mark).await;
    }

    let text = send(relay.running.metrics, "GET", "/metrics", &[]).await.body;

    let mut known: BTreeMap<_, _> = relay::telemetry::metrics::catalogue().into_iter().collect();
    known.extend(ALIASES.iter().map(|alias| {
        (alias.name.to_owned(), format!("The reference relay's name for {}", alias.ours))
    }));
    let found = series(&text);
    assert!(found.len() > 130, "{text}");
    let mut named = BTreeSet::new();
    for (name, labels) in &found {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let base = base.filter(|base| known.contains_key(*base)).unwrap_or(name);
        let help = known.get(base).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert!(text.contains(&format!("# HELP {base} {help}")), "{base} has no help text");
        named.insert(base.to_owned());
        for (key, value) in labels {
            let keys = ["route", "class", "reason", "outcome", "kind", "status", "source", "cause"];
            let theirs = ["path", "code", "directory", "version", "way", "list"];
            let known = keys.contains(&key.as_str())
                || theirs.contains(&key.as_str())
                || ["start", "le"].contains(&key.as_str());
            assert!(known, "{name} has the label {key}");
            assert!(value.len() <= VALUE_CHARS_MAX, "{name} {key}={value}");
            let told = value.to_ascii_lowercase();
            let strange = ["xxmark", "did:", "localhost", "127.0.0.1", "alice", "observer"];
            assert!(strange.iter().all(|part| !told.contains(part)), "{name} {key}={value}");
        }
    }
    // A control for the parser: some that must be there after what was done.
    for (name, label) in [
        ("relay_api_requests_total", "other"),
        ("relay_api_admin_refused_total", "wrong"),
        ("relay_firehose_refused_total", "bad_cursor"),
        ("relay_ingest_dropped_total", "bad_signature"),
        ("relay_hosts_admissions_total", "unreachable"),
    ] {
        let has = |labels: &[(String, String)]| labels.iter().any(|(_, value)| value == label);
        assert!(found.iter().any(|(found, labels)| found == name && has(labels)), "{name} {label}");
    }
    assert!(named.contains("relay_process_resident_bytes") && named.len() > 30, "{named:?}");
    relay.stop().await;
}
