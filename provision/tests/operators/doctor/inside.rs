//! A private Postgres, and the built relay.

use std::time::Duration;

use anyhow::Result;
use provision::{
    doctor::{Patient, State},
    feed::{Address, Arrival, Feed},
};
use relay_simnet::Net;

use super::{look, one, patient};
use crate::{
    binaries,
    postgres::Cluster,
    process::{PASSWORD, RelayProcess, Setup, free_port},
    program::provision,
};

/// Postgres that is unsafe, too small or away, each with what to type.
#[tokio::test]
async fn postgres_is_asked_whether_it_is_safe_and_tuned() -> Result<()> {
    let Some(cluster) = Cluster::start() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let url = cluster.database("relay");
    let data = dir.path().display();
    let settings = |url: &str| format!("DATABASE_URL={url}\nRELAY_DATA_DIR={data}\n");
    let well = patient(dir.path(), &settings(&url))?;
    let lines = look(&well, "postgres").await;
    let about = |words: &str| lines.iter().find(|line| line.what.contains(words));
    // The cluster of the tests is started without fsync and with small buffers.
    assert_eq!(about("fsync is off").map(|line| line.state), Some(State::Fail), "{lines:?}");
    let small = about("shared_buffers is 32 MiB").expect("small buffers");
    assert!(small.state == State::Warn && small.fix.contains("provision tune"), "{lines:?}");
    assert!(about("synchronous_commit").is_none() && about("max_connections").is_none());

    cluster.sql("postgres", "ALTER SYSTEM SET synchronous_commit = off");
    cluster.sql("postgres", "ALTER SYSTEM SET wal_buffers = '2MB'");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    let many = patient(dir.path(), &format!("{}MAX_DB_CONNECTIONS=60\n", settings(&url)))?;
    let lines = until(&many, "synchronous_commit is off").await;
    let about = |words: &str| lines.iter().any(|line| line.what.contains(words));
    assert!(about("max_connections is 60, and the relay may open 60"), "{lines:?}");
    assert!(
        about("wal_buffers take effect after a restart") || about("wal_buffers, "),
        "{lines:?}"
    );

    let stranger = patient(dir.path(), &settings(&url.replace("secret-", "wrong-")))?;
    let line = one(&stranger, "postgres", State::Fail).await;
    assert!(line.cause.contains("password authentication failed"), "{line:?}");
    assert!(!format!("{line:?}").contains("wrong-relay"), "{line:?}");
    cluster.stop();
    let line = one(&well, "postgres", State::Fail).await;
    assert!(line.fix.contains("systemctl status postgresql"), "{line:?}");

    let without = patient(dir.path(), &format!("RELAY_DATA_DIR={data}\n"))?;
    one(&without, "postgres", State::Ok).await;
    Ok(())
}

/// A reload is taken up by new connections a moment later.
async fn until(patient: &Patient, words: &str) -> Vec<provision::doctor::Line> {
    let looking = async {
        loop {
            let lines = look(patient, "postgres").await;
            if lines.iter().any(|line| line.what.contains(words)) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.expect(words)
}

struct Scene {
    net: Net,
    relay: RelayProcess,
    dir: tempfile::TempDir,
    settings: String,
}

impl Scene {
    /// A relay with one host and two events, whose first seq is another than its settings say now.
    async fn start(seed: u64, initial: &str) -> Result<Self> {
        let (net, dir) = (Net::seeded(seed).await?, tempfile::tempdir()?);
        let alice = net.pds("alpha").await?.account("alice").await?;
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let more =
            [("RELAY_METRICS_LISTEN", metrics.as_str()), ("RELAY_INITIAL_SEQ_NUMBER", initial)];
        let binary = Some(binaries::relay()?);
        let setup = Setup { binary, settings: &more, ..Setup::default() };
        let relay = RelayProcess::start(&net, setup).await?;
        relay.crawl(&net).await?;
        alice.post("one").await?;
        relay.reach(&net).await?;
        let settings = format!(
            "RELAY_API_BIND={}\nRELAY_METRICS_LISTEN={metrics}\nRELAY_ADMIN_BIND={}\n\
             RELAY_DATA_DIR={}\nRELAY_ADMIN_PASSWORD={PASSWORD}\n",
            relay.url().replace("http://", ""),
            relay.admin_address(),
            relay.data().display(),
        );
        Ok(Self { net, relay, dir, settings })
    }

    fn patient(&self, more: &str) -> Result<Patient> {
        patient(self.dir.path(), &format!("{}{more}", self.settings))
    }
}

/// A young relay is still filling its window; one that threw events away has a shorter one than it
/// promised; one that is away is told.
#[tokio::test]
async fn the_window_is_measured_on_the_relay() -> Result<()> {
    let mut young = Scene::start(311, "1").await?;
    let line = one(&young.patient("")?, "window", State::Ok).await;
    assert!(line.what.contains("still filling"), "{line:?}");
    let full = young.patient("RELAY_REPLAY_WINDOW=1m\n")?;
    let line = one(&full, "window", State::Ok).await;
    assert!(line.what.contains("of a window of 1m"), "{line:?}");
    young.relay.stop().await?;
    let line = one(&young.patient("")?, "window", State::Fail).await;
    assert!(line.fix.contains("systemctl status relay"), "{line:?}");

    let cut = Scene::start(312, "1000").await?;
    let line = one(&cut.patient("")?, "window", State::Warn).await;
    assert!(line.what.contains("of a window of 72h"), "{line:?}");
    drop(cut.net);
    Ok(())
}

/// A backup that `provision backup` made is looked into: one whose disk lost a bit is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_damaged_is_no_backup() -> Result<()> {
    let scene = Scene::start(314, "1").await?;
    let mut patient = scene.patient("")?;
    let (env, to) = (scene.dir.path().join("env"), scene.dir.path().join("backups"));
    let (env, place) = (env.display().to_string(), to.display().to_string());
    let made = provision(&["backup", "--env", &env, "--to", &place, "--json"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    patient.backups = Some(to);
    patient.now_ms = provision::moment::now_ms();
    one(&patient, "backups", State::Ok).await;
    patient.now_ms += 50 * 3_600_000;
    let line = one(&patient, "backups", State::Fail).await;
    assert!(line.what.contains("50 hours old"), "{line:?}");

    let backup = made.json()["path"].as_str().map(std::path::PathBuf::from).expect("a path");
    let settings = backup.join("settings.env");
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, text.replacen('=', "-", 1))?;
    let line = one(&patient, "backups", State::Fail).await;
    assert!(line.what.contains("is not whole") && line.cause.contains("damaged"), "{line:?}");
    Ok(())
}

/// Two consumers on a link for one: who runs the relay hears it before the consumers do.
#[tokio::test]
async fn too_many_consumers_for_the_link_are_told() -> Result<()> {
    let scene = Scene::start(313, "1").await?;
    let mut feeds = Vec::new();
    for _ in 0..2 {
        let mut feed = Feed::new(Address::parse(&scene.relay.url())?, None);
        assert!(matches!(feed.next().await?, Arrival::Connected { .. }));
        feeds.push(feed);
    }
    let wide = Patient { link_mbit: Some(1_000), ..scene.patient("")? };
    let line = one(&wide, "consumers", State::Ok).await;
    assert!(line.what.starts_with("2 consumers: 60 Mbit/s, 19.4 TB a month"), "{line:?}");
    let narrow = Patient { link_mbit: Some(30), ..scene.patient("")? };
    let line = one(&narrow, "consumers", State::Warn).await;
    assert!(line.cause.contains("serves 1, by the link"), "{line:?}");
    let stranger = scene.patient("RELAY_ADMIN_PASSWORD=other\n")?;
    let line = one(&stranger, "consumers", State::Fail).await;
    assert!(line.cause.contains("401"), "{line:?}");
    Ok(())
}
