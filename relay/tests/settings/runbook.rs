//! The environment of the widespread runbook for the older, archival relay, taken as it stands.

use std::fs;

use crate::{
    http::{post, send},
    name_server::NameServer,
    postgres_cluster::Cluster,
    process::{Program, until},
};

const RUNBOOK: &str = include_str!("../data/archival-relay.env");

/// A program whose settings are all in its `.env`.
fn program(env: &str) -> Program {
    let program = Program::new().unset("RELAY_ADMIN_PASSWORD");
    fs::write(program.dir().join(".env"), env).unwrap();
    program
}

/// Issue 3, section 5: the placeholder is refused, also in an address, and nothing secret is shown.
#[tokio::test]
async fn the_runbook_is_refused_while_it_holds_placeholders() {
    let refused = program(RUNBOOK).run().await;

    assert_eq!(refused.code, Some(1));
    for name in ["database_url is (redacted) (.env DATABASE_URL)", "(.env RELAY_ADMIN_KEY)"] {
        assert!(refused.stderr.contains(name), "{name}: {}", refused.stderr);
    }
    assert_eq!(refused.stderr.matches("other than CHANGEME").count(), 2, "{}", refused.stderr);
    let half = RUNBOOK.replace("RELAY_ADMIN_KEY=CHANGEME", "RELAY_ADMIN_KEY=better");
    let refused = program(&half).run().await;
    assert_eq!(refused.stderr.matches("other than CHANGEME").count(), 1, "{}", refused.stderr);
}

/// Issue 3, section 5: with real values each name has its effect, and the four of the archive warn.
#[tokio::test]
async fn every_name_of_the_runbook_has_an_effect_or_warns() {
    let Some(cluster) = Cluster::shared() else { return };
    let server = NameServer::start(false).await;
    let url = cluster.database("relay-runbook");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("bigsky");
    let env = RUNBOOK
        .replace("postgres://relay:CHANGEME@localhost:5432/bgs", &url)
        .replace("8.8.8.8:53", &server.at.to_string())
        .replace("/data/bigsky", &data.display().to_string())
        .replace("CHANGEME", "hunter2");
    assert!(!env.contains("CHANGEME") && env.contains(&url));

    let relay = program(&env).start().await;

    let log = relay.log();
    for name in [
        "CARSTORE_DATABASE_URL",
        "MAX_CARSTORE_CONNECTIONS",
        "MAX_FETCH_CONCURRENCY",
        "RELAY_COMPACT_INTERVAL",
    ] {
        let warning =
            format!("\"WARN\",\"message\":\"{name} is obsolete: this relay archives nothing\"");
        assert!(log.contains(&warning), "{name}: {log}");
    }
    assert_eq!(log.matches("\"WARN\"").count(), 5, "these, and that there are no hosts: {log}");
    assert!(log.contains("\"INFO\"") && !log.contains("\"DEBUG\""), "GOLOG_LOG_LEVEL: {log}");
    assert!(data.join("lock").exists(), "DATA_DIR");
    let events = fs::read_dir(data.join("events")).unwrap().flatten();
    assert!(events.count() > 0, "RELAY_PERSISTER_DIR");
    assert_eq!(relay.metric("relay_hosts_unsettled_limit").await.as_deref(), Some("2048"));
    assert_eq!(relay.metric("relay_ingest_queue_limit").await.as_deref(), Some("200"));

    let key = ["Authorization: Bearer hunter2"];
    let body = "{\"hostname\":\"pds.example.com\"}";
    let added = post(relay.at().admin, "/admin/pds/requestCrawl", &key, body).await;
    assert_eq!(added.status, 200, "RELAY_ADMIN_KEY: {added:?}");
    let stored = cluster.sql("relay-runbook", "SELECT hostname, account_limit FROM relay_host");
    assert_eq!(stored, "pds.example.com|500000", "DATABASE_URL, RELAY_DEFAULT_REPO_LIMIT");
    // The server says that the name is of this machine, where production does not go.
    until("the host was refused", async || {
        let hosts = send(relay.at().admin, "GET", "/admin/v1/hosts", &key).await.json();
        let error = hosts["hosts"][0]["lastError"].as_str().unwrap_or_default().to_owned();
        error.contains("127.0.0.1 is not public")
    })
    .await;
    assert!(server.asked_over_udp() > 0, "RESOLVE_ADDRESS");
    assert_eq!(server.asked_over_tcp(), 0, "FORCE_DNS_UDP");
    let log = relay.stop().await;
    assert!(!log.contains("hunter2") && !log.contains("secret-relay-runbook"), "I8: {log}");
}
