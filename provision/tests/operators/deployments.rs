//! `provision deployment`: what is looked at on another machine, played by an `sshd` of one's own. What
//! needs systemd there is tested on a blank host.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::Net;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    binaries,
    process::{PASSWORD, RelayProcess, Setup},
    program::{Said, provision},
    ssh::Machine,
};

/// Longest that something may take that takes a second.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A checkout with one deployment, whose host is the machine.
struct Checkout {
    dir: TempDir,
}

impl Checkout {
    /// * `relay` – what runs there
    fn begin(machine: &Machine, relay: &RelayProcess, backups: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("deployments/far");
        fs::create_dir_all(home.join("secrets"))?;
        fs::create_dir(dir.path().join("ansible"))?;
        fs::write(dir.path().join("ansible/site.yml"), "")?;
        let etc = dir.path().join("etc");
        fs::create_dir_all(etc.join("secrets"))?;
        let (metrics, admin) = (relay.metrics_address(), relay.admin_address());
        let env =
            format!("# of the host\nRELAY_METRICS_LISTEN={metrics}\nRELAY_ADMIN_BIND={admin}\n");
        fs::write(etc.join("env"), env)?;
        let secret = format!("RELAY_ADMIN_PASSWORD=\"{PASSWORD}\"\n");
        fs::write(etc.join("secrets/relay.env"), secret)?;
        fs::write(home.join("env"), "RELAY_ALLOW_INSECURE_HOSTS=true\n")?;
        let known = home.join("known_hosts");
        let host_key = fs::read_to_string(machine.dir.path().join("host.pub"))?;
        fs::write(&known, format!("[127.0.0.1]:{} {host_key}", machine.port))?;
        let inventory = json!({ "relay": { "hosts": { "far": {
            "ansible_host": "127.0.0.1",
            "ansible_port": machine.port,
            "ansible_user": whoami()?,
            "ansible_ssh_private_key_file": machine.dir.path().join("known"),
            "relay_hostname": relay.url(),
            "relay_etc": etc,
            "backup_directory": backups,
            "status_prometheus": "127.0.0.1:1",
            "ipv4": "127.0.0.1",
            "data_disks": [],
        } } } });
        fs::write(home.join("inventory.yml"), inventory.to_string())?;
        Ok(Self { dir })
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let checkout = self.dir.path().to_str().expect("a path of text");
        [&["deployment", "--checkout", checkout], words].concat()
    }

    fn run(&self, words: &[&str]) -> Said {
        provision(&self.words(words))
    }
}

/// Who runs the tests.
fn whoami() -> Result<String> {
    let said = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

/// The row of a part.
fn row<'a>(status: &'a Value, part: &str) -> &'a Value {
    let rows = status["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().find(|row| row["part"] == part).unwrap_or(&Value::Null)
}

/// One command says how a relay on another machine is: what runs is told with its numbers, what is down
/// with what to do, and nothing of it hides the rest. A host that is away is told too, beside what the
/// public name says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_a_far_relay_is_told_part_by_part() -> Result<()> {
    let Some(mut machine) = Machine::start().await? else { return Ok(()) };
    let net = Net::seeded(341).await?;
    let alpha = net.pds("alpha").await?;
    let alice = alpha.account("alice").await?;
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    let mut relay = RelayProcess::start(&net, setup).await?;
    relay.crawl(&net).await?;
    alice.post("one").await?;
    relay.reach(&net).await?;
    let backups = tempfile::tempdir()?;
    let checkout = Checkout::begin(&machine, &relay, backups.path())?;

    let said = checkout.run(&["status", "far", "--json"]);
    assert_eq!(said.code, Some(1), "units are down: {said:?}\n{}", machine.log());
    let status = said.json();
    for (part, state, words) in [
        ("health", "ok", "all is well"),
        ("hosts", "ok", "1 connected of 1 known"),
        ("consumers", "ok", "0; the slowest is 0 events behind"),
        ("public", "ok", "answers from here"),
        ("backup", "warn", "there is none"),
        ("alerts", "fail", "Prometheus does not answer"),
        ("certificate", "fail", "is asked without TLS"),
    ] {
        let row = row(&status, part);
        assert_eq!(row["state"], state, "{part}: {status:#}");
        assert!(row["what"].as_str().unwrap_or_default().contains(words), "{part}: {row}");
        assert_eq!(row["todo"] == "", state == "ok", "what to do is said when something is: {row}");
    }
    let head = status["host"]["metrics"]["relay_eventlog_head_seq"].as_f64();
    assert!(head.is_some_and(|head| head >= 1.0), "{status:#}");

    fs::create_dir(backups.path().join("relay-000000000000001"))?;
    fs::write(backups.path().join("relay-000000000000001/manifest.json"), r#"{"madeMs":1000}"#)?;
    relay.stop().await?;
    let said = checkout.run(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for words in [
        "FAIL health       the relay does not answer on its host: [Errno 111] Connection refused",
        "do: just logs --unit relay",
        "FAIL backup       relay-000000000000001 is ",
        "FAIL public ",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    machine.end();
    let said = checkout.run(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("FAIL host ") && said.out.contains("Connection refused"), "{said:?}");
    assert!(said.out.contains("FAIL public "), "what is seen from here is shown too: {said:?}");
    Ok(())
}

/// A `dash` that runs. It ends when it is dropped.
struct Dash {
    child: Child,
    dir: TempDir,
}

impl Dash {
    fn start(words: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [out, err] = ["out", "err"].map(|name| fs::File::create(dir.path().join(name)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command.args(words).stdin(Stdio::null()).stdout(out?).stderr(err?);
        Ok(Self { child: command.spawn()?, dir })
    }

    fn said(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.dir.path().join(name))?)
    }

    /// Waits until it has said this.
    async fn says(&mut self, name: &str, words: &str) -> Result<String> {
        let says = async {
            loop {
                let said = self.said(name)?;
                if said.contains(words) {
                    return Ok(said);
                }
                ensure!(self.child.try_wait()?.is_none(), "it ended: {}", self.said("err")?);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, says).await.with_context(|| format!("no {words:?}"))?
    }

    /// The `ssh` that it has started last.
    fn ssh(&self) -> Result<Option<i32>> {
        let id = self.child.id();
        let mut children = Vec::new();
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            children.push(fs::read_to_string(thread?.path().join("children"))?);
        }
        Ok(children.concat().split_whitespace().last().and_then(|id| id.parse().ok()))
    }
}

impl Drop for Dash {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An operator's browser reaches the admin API of a machine that shows it to nobody else, and goes on when
/// the connection was lost: who asks meanwhile waits and gets the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_outlives_a_lost_connection() -> Result<()> {
    let Some(machine) = Machine::start().await? else { return Ok(()) };
    let net = Net::seeded(342).await?;
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    let checkout = Checkout::begin(&machine, &relay, machine.dir.path())?;
    let port = |address: String| address.rsplit(':').next().unwrap_or_default().to_owned();
    let (admin, metrics) = (port(relay.admin_address()), port(relay.metrics_address()));
    let words = ["dash", "--admin", &admin, "--prometheus", &metrics];
    let mut dash = Dash::start(&checkout.words(&words))?;
    let said = dash.says("out", "Prometheus").await?;
    dash.says("err", "deployments/far/secrets/relay.env").await?;
    let urls: Vec<&str> = said.split_whitespace().filter(|word| word.starts_with("http")).collect();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let ask = async |index: usize, path: &str| -> Result<(u16, String)> {
        let base = urls[index].trim_end_matches("/dash").trim_end_matches('/');
        let asked = client.get(format!("{base}{path}")).basic_auth("admin", Some(PASSWORD));
        let answer = asked.send().await.with_context(|| said.clone())?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let (code, text) = ask(0, "/admin/v1/status").await?;
    assert!(code == 200 && text.contains("uptimeSeconds"), "{code} {text}");
    let (code, text) = ask(0, "/dash").await?;
    assert!(code == 401 && text.contains("Log in"), "{code} {text}");
    assert!(urls[0].ends_with("/dash"), "{said}");
    assert!(ask(1, "/metrics").await?.1.contains("relay_eventlog_head_seq"));

    let ssh = dash.ssh()?.and_then(rustix::process::Pid::from_raw).context("no ssh runs")?;
    rustix::process::kill_process(ssh, rustix::process::Signal::KILL)?;
    dash.says("err", "is lost; waiting for it").await?;
    assert_eq!(ask(0, "/admin/v1/status").await?.0, 200, "{}", dash.said("err")?);
    dash.says("err", "it is back").await?;
    assert_eq!(ask(1, "/metrics").await?.0, 200);
    let pid = rustix::process::Pid::from_raw(i32::try_from(dash.child.id())?).context("a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    assert_eq!(dash.child.wait()?.code(), Some(0), "Ctrl-C is how it is ended");
    Ok(())
}

/// What a person mistypes is told before anything is asked of a host.
#[test]
fn wrong_words_are_told_before_a_host_is_asked() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::create_dir_all(dir.path().join("deployments/far"))?;
    fs::create_dir(dir.path().join("ansible"))?;
    fs::write(dir.path().join("ansible/site.yml"), "")?;
    let checkout = Checkout { dir };
    for (words, says) in [
        (&["status", "near"][..], "there is no deployment near; there are: far"),
        (&["logs", "--unit=--vacuum-size=1"], "is no name of a unit"),
        (&["doctor", "--listen", "soon"], "--listen is \"soon\""),
        (&["selfcheck", "--after", "0s"], "allowed is a duration such as"),
    ] {
        let said = checkout.run(words);
        assert!(said.code == Some(2) && said.err.contains(says), "{words:?}: {said:?}");
    }
    let said = checkout.run(&["status"]);
    assert!(said.code == Some(1) && said.err.contains("just deploy far"), "{said:?}");
    Ok(())
}
