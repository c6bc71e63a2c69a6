//! From nothing to live: `just deploy` against a blank Debian over ssh, exactly as for a person, and what a
//! consumer outside then sees, through an upgrade, a rollback and a restart.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use provision::run;
use relay_simnet::Account;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    authority::Authority,
    deployment::{CADDY, Deployment, Network, named},
    host::{Host, NAME, wait},
    person::Person,
    root, second_host,
};

/// A port that answers does so far sooner on one machine.
const CONNECT_MAX: Duration = Duration::from_millis(300);
/// Ports that are tried at once.
const TRIES: usize = 1024;
/// What may be reached: ssh and Caddy.
const PUBLIC: [u16; 3] = [22, 80, 443];
/// What listens on the host besides.
const PRIVATE: [u16; 9] = [2470, 2471, 2472, 2473, 9090, 9093, 9100, 9115, 9187];
/// Says which relay runs.
const RUNS: [&str; 2] = ["readlink", "/opt/relay/current"];
/// Exposure of the relay's unit at most, in tenths.
const EXPOSURE_MAX: &str = "15";

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
pub(crate) struct Consumer {
    child: Child,
    out: PathBuf,
}

impl Consumer {
    pub(crate) fn start(host: &Host, out: PathBuf, plc: &str) -> Result<Self> {
        let watch = [env!("CARGO_BIN_EXE_provision"), "watch", NAME, "--cursor", "0"];
        let words = [&watch[..], &["--json", "--verify", "--plc", plc]].concat();
        let enter = host.mounts.enter();
        let all: Vec<_> = enter.iter().map(String::as_str).chain(words).collect();
        let mut command: Command = run::program(&root(), &all);
        command.stdout(std::fs::File::create(&out)?);
        let child = command.stderr(Stdio::null()).spawn()?;
        Ok(Self { child, out })
    }

    pub(crate) fn events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.out)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).context("read an event")).collect()
    }

    /// The revs of all commits that it has, in order.
    fn revs(&self) -> Result<Vec<String>> {
        let events = self.events()?;
        let commits = events.iter().filter(|event| event["type"] == "commit");
        Ok(commits.filter_map(|event| event["rev"].as_str()).map(str::to_owned).collect())
    }

    /// Waits until it has these commits, and sees that each came once and in order.
    fn has(&self, revs: &[String]) -> Result<()> {
        wait(&format!("the consumer has {} commits", revs.len()), || {
            let seen: BTreeSet<_> = self.revs()?.into_iter().collect();
            Ok(revs.iter().all(|rev| seen.contains(rev)))
        })?;
        let events = self.events()?;
        let seqs: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        ensure!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
        let all = self.revs()?;
        let once: BTreeSet<_> = all.iter().collect();
        ensure!(once.len() == all.len(), "a commit came twice: {all:?}");
        Ok(())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.child.kill().is_err() || self.child.wait().is_err() {
            eprintln!("the consumer did not end");
        }
    }
}

/// Posts until it is told to end, and notes the rev of each commit.
async fn posts(
    account: Arc<Account>,
    stop: Arc<AtomicBool>,
    revs: Arc<Mutex<Vec<String>>>,
) -> Result<()> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let sent = account.post(&format!("number {count}")).await?;
        revs.lock().map_err(|_poisoned| anyhow!("a test has failed"))?.push(sent.rev);
        count += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
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
fn broken(deployment: &Deployment<'_>) -> Result<String> {
    let path = deployment.file("broken");
    let text = "#!/bin/sh\n[ \"$1\" != serve ] || exit 1\nexec /opt/relay/current/relay \"$@\"\n";
    std::fs::write(&path, text)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode)?;
    Ok(path.display().to_string())
}

/// The same relay in other bytes.
fn same_in_other_bytes(deployment: &Deployment<'_>, relay: &Path) -> Result<String> {
    let (other, relay) = (deployment.file("other"), relay.to_string_lossy());
    let other = other.to_string_lossy();
    run::quiet(run::program(&root(), &["strip", "-o", &other, &relay]))?;
    Ok(other.into_owned())
}

/// Rules that lock ssh out are taken back by the host itself.
fn a_wrong_firewall_is_taken_back(deployment: &Deployment<'_>) -> Result<()> {
    let host = deployment.host;
    let before = host.exec(&["nft", "list", "table", "inet", "relay"])?;
    let wrong = ["-e", "firewall_ssh_port=2222", "-e", "firewall_confirm_seconds=10"];
    let words = [&["site.yml", "--tags", "firewall"], &wrong[..]].concat();
    let said = deployment.played(&words)?.failure("blank");
    assert!(said.contains("were taken back. Is 2222 the port of ssh"), "{said}");
    assert_eq!(host.exec(&["nft", "list", "table", "inet", "relay"])?, before);
    let kept = host.exec(&["grep", "-c", "2222", "/etc/nftables.conf"]);
    ensure!(kept.is_err(), "the wrong rules come with the next start");
    Ok(())
}

/// What a person asks of a relay that runs.
fn verbs_look_after_it(host: &Host, person: &Person) -> Result<()> {
    let status = person.types(host, &["status", "blank"])?.text;
    let parts =
        ["relay", "health", "stream", "hosts", "caddy", "postgresql", "public", "certificate"];
    for part in parts {
        ensure!(status.contains(&format!("ok   {part} ")), "{part} is not well: {status}");
    }
    // No name server knows the name, which the doctor of the host says too.
    let doctor = person.types(host, &["doctor", "blank", "--listen", "5s"])?.text;
    for check in ["tls", "websocket", "admin", "live", "postgres", "window"] {
        ensure!(doctor.contains(&format!("ok   {check} ")), "{check} is not well: {doctor}");
    }
    person.types(host, &["backup", "blank", "--verify"])?.well()?;
    let said = person.types(host, &["selfcheck", "blank", "--listen", "5s"])?.well()?;
    ensure!(said.contains(", 0 failed"), "{said}");
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

/// Who types `just deploy` gets a relay on XFS behind TLS, of which nothing but ssh and Caddy can be
/// reached. A wrong disk stops it, an interruption is gone on with, a second run changes nothing; an
/// upgrade, a bad one, a rollback and a restart cost no event, and a second host takes over from a backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, a container engine and Ansible: just stage build,deploy"]
async fn a_blank_host_becomes_a_relay_and_stays_one() -> Result<()> {
    let relay = named("RELAY_BINARY", "cargo build --release -p relay --bin relay")?;
    let caddy = named("CADDY_BINARY", CADDY)?;
    let network = Network::start(&relay).await?;
    let plc = network.net.plc().url();
    let mut host = Host::start()?;
    let authority = Authority::start(&host.mounts, &caddy)?;
    host.trust(&authority.root())?;
    let ports = network.ports(&authority).await?;
    host.reaches(&ports)?;
    let person = Person::with_key(&host.key())?;
    let stop = Arc::new(AtomicBool::new(false));
    let revs = Arc::new(Mutex::new(Vec::new()));
    let mut posting = JoinSet::new();
    posting.spawn(posts(Arc::clone(&network.account), Arc::clone(&stop), Arc::clone(&revs)));

    let deployment = Deployment { name: "blank", host: &host, person: &person };
    deployment.begin(&network.variables(&authority)?, &network.settings())?;
    deployment.a_wrong_disk_stops_it()?;
    deployment.it_goes_on_after_an_interruption()?;
    let from = revs.lock().map_err(|_poisoned| anyhow!("a test has failed"))?.len();
    let second = person.types(&host, &["deploy", "blank"])?.well()?;
    ensure!(second.contains(" s  0 changed ("), "the second run changed something: {second}");
    looks_right(&host, &(1..=u16::MAX).collect::<Vec<_>>())?;
    is_looked_after(&host)?;
    a_wrong_firewall_is_taken_back(&deployment)?;

    let consumer = Consumer::start(&host, deployment.file("consumed.jsonl"), &plc)?;
    verbs_look_after_it(&host, &person)?;
    let other = same_in_other_bytes(&deployment, &relay)?;
    let first = host.exec(&RUNS)?;
    person.types(&host, &["upgrade", "blank", "--relay", &other])?.well()?;
    let upgraded = host.exec(&RUNS)?;
    assert_ne!(first, upgraded);
    let bad = person.types(&host, &["upgrade", "blank", "--relay", &broken(&deployment)?])?;
    bad.failed("runs again")?;
    assert_eq!(host.exec(&RUNS)?, upgraded);
    person.types(&host, &["rollback", "blank"])?.well()?;
    assert_eq!(host.exec(&RUNS)?, first);
    second_host::takes_over(&deployment, &network).await?;
    host.restart()?;
    host.reaches(&ports)?;
    host.until("the relay serves again", &["systemctl", "is-active", "relay"])?;
    looks_right(&host, &[&PUBLIC[..], &PRIVATE].concat())?;
    stop.store(true, Ordering::Relaxed);
    posting.join_next().await.context("it was started")???;
    let revs = revs.lock().map_err(|_poisoned| anyhow!("a test has failed"))?.split_off(from);
    ensure!(revs.len() > 20, "only {} were posted meanwhile", revs.len());
    consumer.has(&revs)
}
