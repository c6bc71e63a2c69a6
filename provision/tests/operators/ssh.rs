//! `provision hosts --ssh`: the relay is on another machine, played by an `sshd` of one's own.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use relay_simnet::Net;
use tempfile::TempDir;

use crate::{
    binaries,
    process::{PASSWORD, RelayProcess, Setup, free_port},
    program::{Said, provision, provision_with},
};

const SSHD: &str = "/usr/sbin/sshd";
/// Needed by `sshd` of Debian when it is started as root; a machine that has started one has it.
const SEPARATION: &str = "/run/sshd";
/// Longest that `sshd` may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine with `sshd`. It ends when it is dropped.
pub(crate) struct Machine {
    sshd: Child,
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
}

impl Machine {
    /// `None` when there is no `sshd`: the caller skips. Under `CI=true` that is a failure.
    pub(crate) async fn start() -> Result<Option<Self>> {
        if !Path::new(SSHD).is_file() {
            let sentence = "skipped: no sshd on this machine; to run this test, type \
                            `apt-get install openssh-server`";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{sentence}");
            println!("{sentence}");
            return Ok(None);
        }
        let is_root = rustix::process::geteuid().is_root();
        if is_root && !Path::new(SEPARATION).is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(SEPARATION)?;
        }
        let dir = tempfile::tempdir()?;
        for name in ["host", "known", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-N", "", "-t", "ed25519", "-C", name, "-f"]);
            let made = keygen.arg(dir.path().join(name)).stdin(Stdio::null()).status()?;
            ensure!(made.success(), "ssh-keygen failed");
        }
        fs::copy(dir.path().join("known.pub"), dir.path().join("authorized"))?;
        let port = free_port()?;
        let home = dir.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\n\
             PermitRootLogin yes\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPidFile none\n"
        );
        fs::write(dir.path().join("sshd_config"), config)?;
        let log = File::create(dir.path().join("log"))?;
        let mut command = Command::new(SSHD);
        command.args(["-D", "-e", "-f"]).arg(dir.path().join("sshd_config"));
        let sshd = command.stdin(Stdio::null()).stderr(log).spawn().context("start sshd")?;
        let mut machine = Self { sshd, dir, port };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                ensure!(machine.sshd.try_wait()?.is_none(), "sshd ended: {}", machine.log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, listens).await.context("sshd does not listen")??;
        Ok(Some(machine))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A configuration of `ssh` with which it gets in, or does not.
    ///
    /// * `key` – `known` or `stranger`
    /// * `host` – the machine's key, as it is known here
    fn config(&self, key: &str, host: &str, port: u16) -> Result<PathBuf> {
        let home = self.dir.path().display();
        let host_key = fs::read_to_string(self.dir.path().join(format!("{host}.pub")))?;
        let known = self.dir.path().join(format!("known-hosts-{host}"));
        fs::write(&known, format!("[127.0.0.1]:{port} {host_key}"))?;
        let path = self.dir.path().join(format!("config-{key}-{host}-{port}"));
        let config = format!(
            "Host far\nHostName 127.0.0.1\nPort {port}\nIdentityFile {home}/{key}\nIdentitiesOnly yes\n\
             UserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n",
            known.display()
        );
        fs::write(&path, config)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }
}

impl Machine {
    /// Switches it off.
    pub(crate) fn end(&mut self) {
        // It may have ended by itself.
        drop(self.sshd.kill());
        drop(self.sshd.wait());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// From a laptop, hosts are handed to a relay whose admin API is reached on its own machine only. What
/// goes wrong on the way is said with what to do, and nothing waits for an answer of a person.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_handed_to_a_relay_on_another_machine() -> Result<()> {
    let Some(machine) = Machine::start().await? else { return Ok(()) };
    let net = Net::seeded(331).await?;
    let pds = net.pds("alpha").await?;
    let setup = Setup { binary: Some(binaries::relay()?), ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (list, env, password) = (at("list.txt"), at("env"), at("password"));
    fs::write(&list, format!("{}\n", pds.hostname()))?;
    fs::write(&env, "RELAY_ALLOW_INSECURE_HOSTS=true\n")?;
    fs::write(&password, PASSWORD)?;
    let admin = format!("http://{}", relay.admin_address());
    let run = |config: &Path, admin: &str| -> Said {
        let config = config.display().to_string();
        let base = ["hosts", &list, "--env", &env, "--password-file", &password, "--admin", admin];
        provision(&[&base[..], &["--ssh", "far", "--ssh-config", &config, "--add"]].concat())
    };
    let good = machine.config("known", "host", machine.port)?;
    let added = run(&good, &admin);
    assert!(added.code == Some(0), "{added:?}\n{}", machine.log());
    assert!(added.err.contains("1 added, 0 refused"), "{added:?}");
    let again = run(&good, &admin);
    assert!(again.err.contains("0 new, 1 known"), "the relay does not know it: {again:?}");

    let closed = format!("http://127.0.0.1:{}", free_port()?);
    let nowhere = machine.config("known", "host", free_port()?)?;
    for (config, admin, says) in [
        (machine.config("stranger", "host", machine.port)?, &admin, "it takes no key of yours"),
        (machine.config("known", "stranger", machine.port)?, &admin, "its key is not known here"),
        (nowhere, &admin, "Connection refused"),
        (good.clone(), &closed, "is the relay running there"),
    ] {
        let failed = run(&config, admin);
        assert!(failed.code == Some(1) && failed.err.contains(says), "{says}: {failed:?}");
    }
    let config = good.display().to_string();
    let words = ["hosts", &list, "--env", &env, "--ssh", "far", "--ssh-config", &config];
    let without =
        provision_with(&[("PATH", "/nowhere"), ("RELAY_ADMIN_PASSWORD", PASSWORD)], &words);
    assert!(without.err.contains("package openssh-client"), "{without:?}");
    Ok(())
}
