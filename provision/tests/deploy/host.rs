//! A blank host: a Debian with systemd in a container, with ssh, a login with sudo, and a blank disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use provision::{cache::Cache, run};

use crate::{
    disks::{Disk, Mounts, run},
    root,
};

const IMAGE: &str = "atproto-relay/blank-host";
/// What systemd needs in a container, and what the roles use: mounts, rules of the firewall, attributes of
/// files, processes that look at each other while a user namespace is set up, and backups of secrets.
const CAPABILITIES: [&str; 6] =
    ["SYS_ADMIN", "NET_ADMIN", "MKNOD", "LINUX_IMMUTABLE", "SYS_PTRACE", "DAC_READ_SEARCH"];
/// Holes, all of it.
const DISK_BYTES: u64 = 200_000_000_000;
/// Longest that a start may take on a busy machine.
const START_MAX: Duration = Duration::from_mins(2);
pub(crate) const NAME: &str = "relay.example.com";

/// How many were started; each has a name of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// The host, and this side's directory for it.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Where the public name is known, to what is started there.
    pub(crate) mounts: Mounts,
    tunnel: Option<Child>,
    disk: Disk,
    dir: tempfile::TempDir,
}

fn cache() -> Result<Cache> {
    let named = std::env::var_os("PROVISION_CACHE_DIR").map(PathBuf::from);
    Cache::open(&named.map_or_else(provision::cache::usual_place, Ok)?)
}

/// What a blank host has before anybody comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System {
    /// Its Debian.
    pub(crate) release: &'static str,
    /// Packages besides those of every image.
    pub(crate) packages: &'static [&'static str],
}

/// The oldest that is known here, as providers have it.
pub(crate) const BOOKWORM: System = System { release: "bookworm", packages: &[] };

/// Makes the image, unless it is there.
fn image(system: System) -> Result<String> {
    let (folder, words) = cache()?.blank_host(&root(), system.release, system.packages)?;
    let tag = folder.file_name().context("a name")?.to_string_lossy().into_owned();
    let image = format!("{IMAGE}:{}-{tag}", system.release);
    if run(&["docker", "image", "inspect", "--format", "{{.Id}}", &image]).is_ok() {
        return Ok(image);
    }
    let archive = folder.join("host.tar");
    if !archive.exists() {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        run(&words).context("make the system of the blank host")?;
    }
    let archive = archive.to_string_lossy();
    let start = "CMD [\"/usr/local/sbin/machine\"]";
    let path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    run(&["docker", "import", "--change", start, "--change", path, &archive, &image])?;
    Ok(image)
}

impl Host {
    /// Starts it.
    pub(crate) fn start() -> Result<Self> {
        Self::start_as(BOOKWORM)
    }

    /// Starts another one.
    pub(crate) fn start_as(system: System) -> Result<Self> {
        let image = image(system)?;
        let dir = tempfile::tempdir()?;
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("blank-{}-{}-{nth}", system.release, std::process::id());
        let disk = Disk::blank(dir.path(), "data", DISK_BYTES)?;
        run(&["docker", "network", "create", &name])?;
        let (address, mounts) = (String::new(), Mounts::own()?);
        let mut host = Self { name, address, mounts, tunnel: None, disk, dir };
        host.run_container(&image, system)?;
        host.running()?;
        host.let_in()?;
        Ok(host)
    }

    fn run_container(&self, image: &str, system: System) -> Result<()> {
        // Packages that an earlier run has fetched; on a machine they come from the network.
        let packages = cache()?.folder("blank-host-packages", &[], system.release)?;
        let packages = format!("{}:/var/cache/apt/archives", packages.display());
        let device = &self.disk.device;
        let mut words = vec!["docker", "run", "--detach", "--name", &self.name];
        words.extend(["--network", &self.name, "--hostname", "blank", "--cgroupns=host"]);
        words.extend(["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--volume", &packages]);
        words.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]);
        words.extend(CAPABILITIES.iter().flat_map(|name| ["--cap-add", name]));
        // With it systemd ends in order, as a machine does; with the usual one it is killed in the end.
        words.extend(["--stop-signal", "SIGRTMIN+3"]);
        words.extend(["--security-opt", "seccomp=unconfined"]);
        words.extend(["--security-opt", "apparmor=unconfined", "--device", device, image]);
        run(&words).map(drop)
    }

    /// Waits until systemd has started everything, and asks for the address.
    fn running(&mut self) -> Result<()> {
        self.until("systemd has started", &["systemctl", "is-system-running"])?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = run(&["docker", "inspect", "--format", format, &self.name])?;
        address.trim().clone_into(&mut self.address);
        Ok(())
    }

    /// A key for the login, and a name that leads here.
    fn let_in(&self) -> Result<()> {
        let key = self.file("key");
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key])?;
        let public = fs::read_to_string(format!("{key}.pub"))?;
        let script = format!(
            "install -d -m 700 -o admin -g admin ~admin/.ssh; echo '{}' >~admin/.ssh/authorized_keys",
            public.trim()
        );
        self.exec(&["sh", "-ec", &script])?;
        let hosts = self.file("hosts");
        fs::write(&hosts, format!("127.0.0.1 localhost\n{} {NAME}\n", self.address))?;
        self.mounts.run(&["mount", "--bind", &hosts, "/etc/hosts"]).map(drop)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn ssh(&self) -> Vec<String> {
        let known = self.file("known_hosts");
        let options =
            [format!("UserKnownHostsFile={known}"), "StrictHostKeyChecking=accept-new".to_owned()];
        let mut words = vec!["-i".to_owned(), self.file("key")];
        words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        words
    }

    /// Runs a program on the host, as root, and gives what it printed.
    pub(crate) fn exec(&self, words: &[&str]) -> Result<String> {
        run(&[&["docker", "exec", &self.name], words].concat())
    }

    /// Repeats a command on the host until it succeeds.
    pub(crate) fn until(&self, what: &str, words: &[&str]) -> Result<()> {
        wait(what, || Ok(self.exec(words).is_ok()))
    }

    /// The key that is let in.
    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// Ports of this side that the host reaches under its own loopback.
    pub(crate) fn reaches(&mut self, ports: &[String]) -> Result<()> {
        self.ends_tunnel();
        let mut command = run::program(&root(), &["ssh", "-N", "-o", "ExitOnForwardFailure=yes"]);
        command.args(self.ssh());
        for port in ports {
            command.arg("-R").arg(format!("{port}:127.0.0.1:{port}"));
        }
        command.arg(format!("admin@{}", self.address));
        self.tunnel = Some(command.spawn()?);
        let listens = format!("ss -Hltn 'sport = :{}' | grep -q .", ports.last().context("none")?);
        self.until("the host reaches the network of this side", &["sh", "-c", &listens])
    }

    /// Has the host, and programs that are started in [`Self::mounts`], trust an authority.
    pub(crate) fn trust(&self, authority: &Path) -> Result<()> {
        let there = format!("{}:/usr/local/share/ca-certificates/authority.crt", self.name);
        run(&["docker", "cp", &authority.to_string_lossy(), &there])?;
        self.exec(&["update-ca-certificates"])?;
        let system = "/etc/ssl/certs/ca-certificates.crt";
        let text = fs::read_to_string(system)? + &fs::read_to_string(authority)?;
        let file = self.file("certificates");
        fs::write(&file, text)?;
        self.mounts.run(&["mount", "--bind", &file, system]).map(drop)
    }

    /// Off and on again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        run(&["docker", "restart", "--time", "60", &self.name])?;
        let before = std::mem::take(&mut self.address);
        self.running()?;
        ensure!(before == self.address, "the address is another one");
        Ok(())
    }

    fn ends_tunnel(&mut self) {
        if let Some(mut tunnel) = self.tunnel.take()
            && let Err(error) = tunnel.kill().and_then(|()| tunnel.wait())
        {
            eprintln!("the tunnel did not end: {error}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ends_tunnel();
        let name = &*self.name;
        let removals = [["docker", "rm", "--force", name], ["docker", "network", "rm", name]];
        for words in removals {
            if let Err(error) = run(&words) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Repeats a question until the answer is yes.
pub(crate) fn wait(what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_within(START_MAX, what, holds)
}

/// The same for what takes longer.
#[expect(clippy::disallowed_methods, reason = "the pause between two questions")]
pub(crate) fn wait_within(
    max: Duration,
    what: &str,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        if began.elapsed() > max {
            bail!("after {} s it is not so that {what}", max.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
