//! Looking after a relay on another machine: what goes on there while nobody looks on, and is seen again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use provision::run;
use serde_json::{Value, json};

use crate::{
    host::{Host, wait},
    root,
};

/// Lines that the unit says before a backup is made; some seconds of them.
const STEPS: usize = 40;
const LINES: usize = 200;

/// A relay with what belongs to it, as far as these tests need it: programs, settings, units.
const SET_UP: &str = r#"set -e
install -D -m 755 /root/relay /opt/relay/0123456789abcdef/relay
ln -s /opt/relay/0123456789abcdef /opt/relay/current
install -m 755 /root/provision /usr/local/bin/provision
mkdir -p /etc/relay/secrets /var/lib/relay
cat >/etc/relay/env <<END
PROVISION_HOST=ws://127.0.0.1:2470
RELAY_DATA_DIR=/var/lib/relay
END
echo 'RELAY_ADMIN_PASSWORD="a password of the host"' >/etc/relay/secrets/relay.env
useradd --system relay
chown -R relay: /etc/relay
chmod 600 /etc/relay/env /etc/relay/secrets/relay.env
cat >/etc/systemd/system/relay.service <<END
[Service]
Type=notify
ExecStart=/opt/relay/current/relay serve
EnvironmentFile=/etc/relay/env
EnvironmentFile=/etc/relay/secrets/relay.env
WorkingDirectory=/var/lib/relay
[Install]
WantedBy=multi-user.target
END
cat >/etc/systemd/system/relay-backup.service <<END
[Service]
Type=oneshot
ExecStartPre=/bin/sh -c 'for step in \$(seq STEPS); do echo "step \$step."; sleep 0.1; done; [ ! -e /root/broken ]'
ExecStart=/usr/local/bin/provision backup --env /etc/relay/env --to /var/backups/relay --keep 3
WorkingDirectory=/var/lib/relay
END
systemctl daemon-reload
systemctl enable --now relay
"#;

/// This side: a checkout with one deployment.
struct Here {
    dir: tempfile::TempDir,
}

impl Here {
    fn begin(host: &Host) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let home = dir.path().join("deployments/blank");
        fs::create_dir_all(&home)?;
        fs::create_dir(dir.path().join("ansible"))?;
        fs::write(dir.path().join("ansible/site.yml"), "")?;
        fs::write(home.join("env"), "")?;
        let inventory = json!({ "relay": { "hosts": { "blank": {
            "ansible_host": host.address,
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": host.key(),
            "relay_hostname": format!("http://{}:2470", host.address),
            "ipv4": host.address,
            "data_disks": [],
            "selfcheck_checks": [],
        } } } });
        fs::write(home.join("inventory.yml"), inventory.to_string())?;
        Ok(Self { dir })
    }

    fn backups(&self) -> PathBuf {
        self.dir.path().join("deployments/blank/backups")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut all = vec![env!("CARGO_BIN_EXE_provision"), "deployment"];
        all.extend(words);
        run::program(self.dir.path(), &all)
    }

    /// Exit code, results, and what was said beside them.
    fn run(&self, words: &[&str]) -> Result<(Option<i32>, String, String)> {
        let said = self.command(words).output()?;
        let [out, err] =
            [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok((said.status.code(), out, err))
    }

    fn json(&self, words: &[&str]) -> Result<(Option<i32>, Value)> {
        let (code, out, err) = self.run(&[words, &["--json"]].concat())?;
        Ok((code, serde_json::from_str(&out).with_context(|| format!("{out}{err}"))?))
    }
}

/// A verb that somebody looks on at.
struct Watched {
    child: Child,
    file: tempfile::NamedTempFile,
}

impl Watched {
    fn start(here: &Here, words: &[&str]) -> Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let mut command = here.command(words);
        command.stdin(Stdio::null()).stdout(file.reopen()?).stderr(file.reopen()?);
        // Both write behind each other.
        let (out, err) = (append(file.path())?, append(file.path())?);
        Ok(Self { child: command.stdout(out).stderr(err).spawn()?, file })
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file.path())?)
    }

    fn says(&mut self, words: &str) -> Result<()> {
        wait(&format!("it says {words:?}"), || {
            let said = self.said()?;
            let is_said = said.contains(words);
            ensure!(is_said || self.child.try_wait()?.is_none(), "it ended: {said}");
            Ok(is_said)
        })
    }

    /// The connection is lost.
    fn cut(&self) -> Result<()> {
        let id = self.child.id();
        let mut children = Vec::new();
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            children.push(fs::read_to_string(thread?.path().join("children"))?);
        }
        let children = children.concat();
        let ssh = children.split_whitespace().last().context("no ssh runs")?;
        run::quiet(run::program(Path::new("/"), &["kill", "-KILL", ssh])).map(drop)
    }

    /// Ctrl-C; gives the exit code and all that was said.
    fn interrupt(mut self) -> Result<(Option<i32>, String)> {
        let id = self.child.id().to_string();
        run::quiet(run::program(Path::new("/"), &["kill", "-INT", &id]))?;
        let code = self.child.wait()?.code();
        Ok((code, self.said()?))
    }

    fn end(mut self) -> Result<(Option<i32>, String)> {
        wait("it ends", || Ok(self.child.try_wait()?.is_some()))?;
        let code = self.child.wait()?.code();
        Ok((code, self.said()?))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn append(path: &Path) -> Result<fs::File> {
    Ok(fs::File::options().append(true).open(path)?)
}

/// The numbers of what is said, in their order.
fn numbers(said: &str, word: &str) -> Vec<usize> {
    let behind = said.lines().filter_map(|line| line.rsplit_once(word)).map(|(_, number)| number);
    behind.filter_map(|number| number.trim_end_matches('.').parse().ok()).collect()
}

/// Every line once, in order, whatever happens to the connection.
fn logs_go_on_where_they_were(host: &Host, here: &Here) -> Result<()> {
    let talk = format!("for line in $(seq {LINES}); do echo \"line $line\"; sleep 0.02; done");
    host.exec(&["systemd-run", "--quiet", "--unit=talks", "sh", "-c", &talk])?;
    let words = ["logs", "-f", "--unit", "talks", "--since", "1h"];
    let mut logs = Watched::start(here, &words)?;
    for line in [30, 90, 150] {
        logs.says(&format!("line {line}\n"))?;
        logs.cut()?;
    }
    logs.says(&format!("line {LINES}\n"))?;
    let (code, said) = logs.interrupt()?;
    assert_eq!(numbers(&said, " line "), (1..=LINES).collect::<Vec<_>>(), "{said}");
    assert_eq!((code, said.matches("the connection to").count()), (Some(0), 3), "{said}");
    Ok(())
}

/// A closed laptop ends no backup: the same command finds it again, and tells how it ended.
fn a_backup_outlives_who_looks_on(host: &Host, here: &Here) -> Result<()> {
    let mut first = Watched::start(here, &["backup"])?;
    first.says("step 5.")?;
    let (code, said) = first.interrupt()?;
    assert!(code == Some(1) && said.contains("the backup is still made"), "{code:?} {said}");
    let mut second = Watched::start(here, &["backup", "blank", "--fetch"])?;
    second.says("it was begun before, and goes on")?;
    second.says("step 15.")?;
    second.cut()?;
    let (code, said) = second.end()?;
    assert_eq!(numbers(&said, " step "), (1..=STEPS).collect::<Vec<_>>(), "{said}");
    assert!(code == Some(0) && said.contains("it is back; going on where it was"), "{said}");
    assert!(said.contains("it was restored on trial here: whole"), "{said}");

    let mut third = Watched::start(here, &["backup"])?;
    third.says("step 1.")?;
    third.interrupt()?;
    let ended = ["sh", "-c", "systemctl show -P SubState relay-job-backup | grep -qx exited"];
    host.until("the backup has ended", &ended)?;
    let (code, found) = here.json(&["backup"])?;
    assert_eq!((code, &found["found"]), (Some(0), &json!("ended")), "{found}");
    host.exec(&["touch", "/root/broken"])?;
    let (code, out, err) = here.run(&["backup"])?;
    assert!(code == Some(1) && err.contains("the backup failed (exit-code)"), "{out}{err}");
    host.exec(&["rm", "/root/broken"]).map(drop)
}

/// A copy that was cut off goes on where it was; one that is damaged is not taken for whole.
fn a_copy_goes_on_where_it_was(here: &Here) -> Result<()> {
    let (_, found) = here.json(&["backup", "--fetch-only"])?;
    let name = found["name"].as_str().context("a name")?.to_owned();
    let (whole, partial) =
        (here.backups().join(&name), here.backups().join(format!(".{name}.partial")));
    let file = partial.join("relay.sqlite");
    for damage in [false, true] {
        fs::rename(&whole, &partial)?;
        let bytes = fs::read(&file)?;
        let mut half = bytes[..bytes.len() / 2].to_vec();
        if damage {
            half[0] ^= 1;
        }
        fs::write(&file, &half)?;
        let (code, out, err) = here.run(&["backup", "--fetch-only"])?;
        if damage {
            assert!(code == Some(1) && err.contains("it was damaged on the way"), "{out}{err}");
            assert!(!whole.exists() && !partial.exists(), "{out}{err}");
        } else {
            assert!(
                code == Some(0) && fs::read(whole.join("relay.sqlite"))? == bytes,
                "{out}{err}"
            );
        }
    }
    let (code, out, err) = here.run(&["backup", "--fetch-only"])?;
    assert!(code == Some(0) && whole.is_dir(), "{out}{err}");
    Ok(())
}

/// What is told of the host, and of what it lacks.
fn status_and_doctor_see_both_sides(host: &Host, here: &Here) -> Result<()> {
    let (code, status) = here.json(&["status"])?;
    let row = |part: &str| -> Result<(String, String)> {
        let rows = status["rows"].as_array().context("rows")?;
        let row = rows
            .iter()
            .find(|row| row["part"] == part)
            .with_context(|| format!("{part}: {status}"))?;
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        Ok((text("state"), text("what")))
    };
    assert_eq!(code, Some(1), "Caddy does not run: {status:#}");
    for (part, state, words) in [
        ("relay", "ok", "program 0123456789abcdef"),
        ("health", "ok", "all is well"),
        ("caddy", "fail", "it does not run"),
        ("backup", "warn", "none was restored on trial yet"),
        ("units", "warn", "relay-backup.service"),
    ] {
        let (found, what) = row(part)?;
        assert!(found == state && what.contains(words), "{part}: {found} {what}");
    }
    let (code, found) = here.json(&["doctor", "--listen", "1s"])?;
    let findings = found["findings"].as_array().context("findings")?;
    let of_host = findings.iter().filter(|one| one["from"] == "host");
    let checks: Vec<_> = of_host.filter_map(|one| one["check"].as_str()).collect();
    assert!(checks.contains(&"backups") && checks.contains(&"postgres"), "{checks:?}");
    assert!(!checks.contains(&"host"), "its doctor was not found: {found:#}");
    assert!(code.is_some_and(|code| code <= 1), "{found:#}");
    host.exec(&["systemctl", "stop", "relay"])?;
    let (code, out, err) = here.run(&["status"])?;
    assert!(code == Some(1) && out.contains("FAIL relay        it does not run"), "{out}{err}");
    assert!(out.contains("do: just logs --unit relay; then systemctl start relay"), "{out}{err}");
    host.exec(&["systemctl", "start", "relay"]).map(drop)
}

/// The host looks by itself when it is time, also when it was off at that moment.
fn a_selfcheck_of_later_outlives_a_restart(host: &mut Host, here: &Here) -> Result<()> {
    let own = ["--against", "ws://127.0.0.1:2470", "--for", "1s", "--settle", "1s", "--hosts", "0"];
    let words = [&["selfcheck", "--after", "3s", "--"][..], &own].concat();
    let (code, out, err) = here.run(&words)?;
    assert!(code == Some(0) && out.contains("the host looks by itself at"), "{out}{err}");
    host.restart()?;
    let result = ["test", "-f", "/var/lib/relay-selfcheck/result.json"];
    host.until("the host has looked", &result)?;
    let (code, found) = here.json(&["selfcheck"])?;
    let judged = &found["later"]["result"];
    assert_eq!(judged["hosts"]["verdict"], "kept", "{found:#}");
    assert_eq!(judged["events"]["verdict"], "unknown", "silence is no proof: {found:#}");
    assert_eq!((code, &found["later"]["next"]), (Some(1), &Value::Null), "{found:#}");
    Ok(())
}

/// Whoever looks after a relay may lose the connection, close the laptop, or restart the host: logs go on
/// where they were, backups and selfchecks are made, and the next look tells how they ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, a container engine and Ansible: just stage build,deploy"]
async fn what_runs_on_a_host_outlives_who_looks_on() -> Result<()> {
    let relay = std::env::var_os("RELAY_BINARY")
        .map(PathBuf::from)
        .context("RELAY_BINARY is not set: cargo build --release -p relay --bin relay")?;
    let mut host = Host::start()?;
    for (from, to) in
        [(&*relay.to_string_lossy(), "relay"), (env!("CARGO_BIN_EXE_provision"), "provision")]
    {
        let to = format!("{}:/root/{to}", host.name);
        run::quiet(run::program(&root(), &["docker", "cp", from, &to]))?;
    }
    host.exec(&["sh", "-c", &SET_UP.replace("STEPS", &STEPS.to_string())])?;
    let here = Here::begin(&host)?;
    logs_go_on_where_they_were(&host, &here)?;
    a_backup_outlives_who_looks_on(&host, &here)?;
    a_copy_goes_on_where_it_was(&here)?;
    status_and_doctor_see_both_sides(&host, &here)?;
    a_selfcheck_of_later_outlives_a_restart(&mut host, &here)
}
