//! `just deploy` for hosts that run NixOS: the real Nix builds a system on this side, copies it over ssh and
//! switches the other side to it.
//!
//! The system itself needs nixpkgs, so a small one stands in its place: a derivation with a
//! `switch-to-configuration` that says what it was made from. The host is an sshd in a mount namespace of
//! its own, with its own store and its own `/run`.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use provision::deployment::nixos::flake_text;
use tempfile::TempDir;

use crate::{binaries::root, page::with_text};

const NAME: &str = "ash";
/// Nix as root without a daemon, users for builds, and a network.
const NIX_CONF: &str = "substituters =\nbuild-users-group =\nsandbox = false\n";
/// How long sshd may take to listen, and to end.
const SSHD_MAX: Duration = Duration::from_secs(30);

/// A system as `just deploy` sees it.
const SYSTEM: &str = r#"{
  outputs = _: {
    nixosConfigurations.ash.config.system.build.toplevel =
      let
        host = builtins.fromJSON (builtins.readFile ./host.json);
      in
      derivation {
        name = "nixos-system-ash";
        system = builtins.currentSystem;
        builder = "/bin/sh";
        args = [
          "-ec"
          ''
            PATH=/usr/bin:/bin
            mkdir -p $out/bin
            cat >$out/bin/switch-to-configuration <<'END'
            #!/bin/sh
            test "$1" = switch || exit 2
            test "$(readlink -f /nix/var/nix/profiles/system)" = "$(readlink -f "''${0%/bin/*}")" || exit 3
            ${import ./configuration.nix}
            ln -sfn "''${0%/bin/*}" /run/current-system
            echo "${host.hostname} ${host.settings.RELAY_REPLAY_WINDOW}" >/run/switched
            END
            chmod +x $out/bin/switch-to-configuration
          ''
        ];
      };
  };
}
"#;

/// A checkout with one deployment, and a host.
struct Scene {
    dir: TempDir,
    sshd: Child,
    port: u16,
}

impl Scene {
    /// `None` where no mount namespace can be had.
    fn start() -> Result<Option<Self>> {
        let can = Command::new("unshare").args(["--mount", "true"]).output()?;
        if !can.status.success() {
            println!("skipped: this place has no mount namespaces for a host of its own");
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = |name: &str| dir.path().join(name);
        for key in ["key", "host-key"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(file(key)))?;
        }
        fs::write(file("os-release"), "ID=nixos\nPRETTY_NAME='NixOS 26.05'\n")?;
        fs::write(file("nix.conf"), NIX_CONF)?;
        fs::write(file("host.sh"), host_script(dir.path(), port))?;
        let mut unshare = in_namespace(&[&file("host.sh").to_string_lossy()]);
        let sshd = unshare.stdout(Stdio::null()).stderr(fs::File::create(file("sshd.log"))?);
        let scene = Self { sshd: sshd.spawn().context("start sshd")?, dir, port };
        scene.begin()?;
        scene.listens()?;
        Ok(Some(scene))
    }

    /// Waits until sshd listens.
    #[expect(clippy::disallowed_methods, reason = "the pause between two questions")]
    fn listens(&self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            ensure!(began.elapsed() < SSHD_MAX, "{}", fs::read_to_string(self.file("sshd.log"))?);
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A checkout as far as it is looked at, and the deployment that `init` begins.
    fn begin(&self) -> Result<()> {
        let home = self.file("deployments/ash");
        for directory in ["secrets", "nixos", "group_vars"] {
            fs::create_dir_all(home.join(directory))?;
        }
        fs::create_dir(self.file("ansible"))?;
        fs::write(self.file("ansible/site.yml"), "")?;
        let inventory = format!(
            "relay:\n  hosts:\n    {NAME}:\n      ansible_host: 127.0.0.1\n      ansible_user: root\n      \
             ansible_port: {}\n      ansible_ssh_private_key_file: {}\n      relay_hostname: localhost\n      \
             ipv4: 127.0.0.1\n      ipv6: ::1\n      os: nixos\n      nixos_system_disk: /dev/disk/by-id/SYSTEM\n      \
             hosts_from: []\n      data_disks: []\n",
            self.port,
            self.file("key").display()
        );
        fs::write(home.join("inventory.yml"), inventory)?;
        fs::write(home.join("env"), "RELAY_REPLAY_WINDOW=48h\n")?;
        fs::write(home.join("caddy.env"), "RELAY_SITE=localhost\n")?;
        fs::write(home.join("secrets/relay.env"), "RELAY_ADMIN_PASSWORD=a-password\n")?;
        fs::write(home.join("secrets/admin-password"), "a-password\n")?;
        fs::write(home.join("nixos/flake.nix"), SYSTEM)?;
        self.configuration("true")
    }

    /// What the switch does besides.
    fn configuration(&self, line: &str) -> Result<()> {
        let path = self.file("deployments/ash/nixos/configuration.nix");
        Ok(fs::write(path, format!("\"{line}\"\n"))?)
    }

    /// Types it; nothing serves there, so it ends at its last step. Gives what it said.
    fn deploy(&self) -> Result<String> {
        // A store of this side's own, too.
        let script = format!(
            "mkdir -p /nix && mount -t tmpfs tmpfs /nix && mount --bind {store} /nix\n\
             exec {provision} deployment --checkout {checkout} deploy {NAME} --again --wait-live 1s\n",
            store = self.file("store").display(),
            provision = env!("CARGO_BIN_EXE_provision"),
            checkout = self.dir.path().display(),
        );
        fs::create_dir_all(self.file("store"))?;
        fs::write(self.file("deploy.sh"), script)?;
        let mut command = in_namespace(&[&self.file("deploy.sh").to_string_lossy()]);
        command.env("NIX_CONFIG", NIX_CONF).env("HOME", self.dir.path());
        let output = command.stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// A line on the host.
    fn exec(&self, line: &str) -> Result<String> {
        let known = format!("UserKnownHostsFile={}", self.file("known").display());
        run(Command::new("ssh")
            .args([
                "-p",
                &self.port.to_string(),
                "-o",
                &known,
                "-o",
                "StrictHostKeyChecking=no",
                "-i",
            ])
            .arg(self.file("key"))
            .args(["-o", "LogLevel=ERROR", "root@127.0.0.1", line]))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The first process of its own process namespace: all that runs there ends with it.
        if let Err(error) = self.sshd.kill().and_then(|()| self.sshd.wait().map(drop)) {
            println!("sshd did not end: {error}");
        }
    }
}

/// `sh SCRIPT` with mounts of its own that are gone with it.
fn in_namespace(words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "sh", "-e"]).args(words).process_group(0);
    command
}

/// Makes the namespace a host with NixOS, as far as ssh and Nix see it.
fn host_script(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "mkdir -p /nix; mount -t tmpfs tmpfs /nix; mount -t tmpfs tmpfs /run; mkdir /run/sshd\n\
         cp -a /etc {dir}/etc; rm -f {dir}/etc/os-release; cp {dir}/os-release {dir}/etc/\n\
         mount --bind {dir}/etc /etc\n\
         mount -t tmpfs tmpfs /root; mkdir -p -m 700 /root/.ssh /root/.config/nix\n\
         cp {dir}/key.pub /root/.ssh/authorized_keys; cp {dir}/nix.conf /root/.config/nix/\n\
         exec /usr/sbin/sshd -D -e -f /dev/null -p {port} -o ListenAddress=127.0.0.1 -o PidFile=none \\\n\
         -o HostKey={dir}/host-key -o PermitRootLogin=yes -o StrictModes=no\n"
    )
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first run brings the system, made from the contract and the settings, and the password, which is not
/// in the store; a run without a change changes nothing; a change is switched to; a system that does not
/// switch is told, with the way back.
#[test]
#[ignore = "needs Nix and sshd; type `just stage build,nix`"]
fn a_host_with_nixos_is_switched_to_what_nix_builds_here() -> Result<()> {
    let Some(scene) = Scene::start()? else { return Ok(()) };
    let first = scene.deploy()?;
    ensure!(first.contains("switched to /nix/store/"), "{first}");
    ensure!(first.contains("the step `live`"), "it goes on to the last step: {first}");
    assert_eq!(scene.exec("cat /run/switched")?, "localhost 48h\n");
    assert_eq!(scene.exec("cat /etc/relay-secrets/admin-password")?, "a-password\n");
    assert_eq!(scene.exec("stat -c %a /etc/relay-secrets/admin-password")?, "600\n");
    let found = scene.exec("grep -rl a-password /nix/store || true")?;
    assert_eq!(found, "", "the password is in the store");

    let again = scene.deploy()?;
    ensure!(again.contains("0 changed"), "{again}");

    scene.configuration("touch /run/a-change")?;
    let changed = scene.deploy()?;
    ensure!(changed.contains("switched to"), "{changed}");
    scene.exec("test -e /run/a-change")?;

    scene.configuration("echo a unit failed; exit 4")?;
    let failed = scene.deploy()?;
    ensure!(failed.contains("a unit failed") && failed.contains("--rollback"), "{failed}");
    Ok(())
}

/// What `just deploy` writes for Nix is a relay by the name of the deployment.
#[test]
#[ignore = "needs Nix; type `just stage build,nix`"]
fn the_flake_of_a_deployment_is_a_relay() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for file in ["configuration.nix", "host.json"] {
        let from = root().join("nix/examples/deployed").join(file);
        fs::copy(&from, dir.path().join(file)).with_context(|| from.display().to_string())?;
    }
    let modules = root().join("nix/modules");
    let text = flake_text(NAME, &modules.to_string_lossy());
    let hosts = with_text(
        "users",
        &text.replace(
            "./configuration.nix",
            &dir.path().join("configuration.nix").to_string_lossy(),
        ),
    )?;
    assert_eq!(hosts[NAME], "AT Protocol relay relay.example.com");
    Ok(())
}
