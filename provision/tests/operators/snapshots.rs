//! `provision snapshot` of the built relay, and what it says of the time between two.

use std::fs;

use anyhow::Result;
use relay_simnet::Net;

use crate::{
    binaries,
    postgres::Cluster,
    process::{PASSWORD, RelayProcess, Setup, free_port},
    program::{mode, provision},
};

/// Events that came between two snapshots are counted, a new host is named, no password is in the file,
/// and what cannot be had is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_snapshots_tell_what_happened_between_them() -> Result<()> {
    let Some(cluster) = Cluster::start() else { return Ok(()) };
    let url = cluster.database("snapshot");
    let net = Net::seeded(331).await?;
    let alice = net.pds("alpha").await?.account("alice").await?;
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let more = [("RELAY_METRICS_LISTEN", metrics.as_str()), ("DATABASE_URL", url.as_str())];
    let setup = Setup { binary: Some(binaries::relay()?), settings: &more, ..Setup::default() };
    let mut relay = RelayProcess::start(&net, setup).await?;
    relay.crawl(&net).await?;
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(
        dir.path().join("env"),
        format!(
            "RELAY_API_BIND={}\nRELAY_METRICS_LISTEN={metrics}\nRELAY_ADMIN_BIND={}\n\
             RELAY_DATA_DIR={}\nRELAY_ADMIN_PASSWORD={PASSWORD}\nDATABASE_URL={url}\n",
            relay.url().replace("http://", ""),
            relay.admin_address(),
            relay.data().display(),
        ),
    )?;
    let take = |name: &str| provision(&["snapshot", "--env", &path("env"), "--out", &path(name)]);

    let first = take("before.json");
    assert!(first.out.contains("before.json"), "{first:?}");
    assert_eq!(mode(&dir.path().join("before.json")), 0o600);
    let text = fs::read_to_string(dir.path().join("before.json"))?;
    assert!(!text.contains(PASSWORD) && !text.contains("secret-snapshot"), "{text}");
    let parts = &serde_json::from_str::<serde_json::Value>(&text)?["parts"];
    assert_eq!(parts["health"]["value"]["status"], "ok");
    assert_eq!(parts["hosts"]["value"]["hosts"].as_array().map(Vec::len), Some(1));
    let tables = parts["postgres"]["value"]["tables"].as_array().map(Vec::len);
    assert!(tables > Some(2), "{}", parts["postgres"]);
    assert!(parts["disk"]["value"]["log"]["free_inodes"].is_u64(), "{}", parts["disk"]);
    assert!(parts["top"]["value"][0]["cpuSeconds"].is_u64(), "{}", parts["top"]);
    let processes = parts["relay process"]["value"].as_array();
    let mine = |it: &serde_json::Value| it["process"]["pid"] == relay.pid();
    assert!(processes.is_some_and(|all| all.iter().any(mine)), "{}", parts["relay process"]);

    net.pds("beta").await?;
    relay.crawl(&net).await?;
    for text in ["one", "two", "three"] {
        alice.post(text).await?;
    }
    relay.reach(&net).await?;
    take("after.json");
    let diff =
        provision(&["snapshot", "diff", &path("before.json"), &path("after.json"), "--json"]);
    let found = diff.json();
    let hosts = found["hosts"].as_array().expect("lines");
    assert!(
        hosts.iter().any(|line| line.as_str().is_some_and(|l| l.ends_with(" is new"))),
        "{found}"
    );
    let counters = found["counters"].as_array().expect("counters");
    let three = |it: &serde_json::Value| {
        let name = it["name"].as_str().unwrap_or_default();
        name.contains("commit") && it["after"].as_f64() >= it["before"].as_f64().map(|n| n + 3.0)
    };
    assert!(counters.iter().any(three), "{found}");
    let shown = provision(&["snapshot", "diff", &path("before.json"), &path("after.json")]);
    assert!(shown.code == Some(0) && shown.out.contains("COUNTED"), "{shown:?}");
    let turned = provision(&["snapshot", "diff", &path("after.json"), &path("before.json")]);
    assert!(turned.code == Some(1) && turned.err.contains("older one first"), "{turned:?}");

    relay.stop().await?;
    let away = take("away.json");
    assert!(away.code == Some(1) && away.err.contains("hosts is missing: ask http://"), "{away:?}");
    let diff = provision(&["snapshot", "diff", &path("after.json"), &path("away.json")]);
    assert!(diff.out.contains("metrics is missing in the second"), "{diff:?}");
    Ok(())
}
