//! What a container cannot show: a kernel that takes settings and modules, a mirror of two disks that
//! loses one, and starts of the machine. A virtual machine without help of the processor, so it is slow.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use provision::{cache::Cache, run};

use crate::{
    ansible::{Played, play},
    disks::run,
    host::wait,
    root,
};

/// Holes, all of it. Room for a quarter of an hour of the stream.
const DISK_BYTES: u64 = 6_000_000_000;
const DISK_GB: u64 = 6;
/// The part of the roles that asks something of a kernel.
const KERNEL: [&str; 3] = ["site.yml", "--tags", "base,storage,settings,kernel"];
const STORAGE: [&str; 3] = ["site.yml", "--tags", "storage"];
/// On a busy machine the kernel does not trust the clock that it is given.
const APPEND: &str = "root=LABEL=root rw console=ttyS0 net.ifnames=0 no_timer_check quiet";
const NO_QEMU: &str = "start a virtual machine; install: apt-get install qemu-system-x86";
const PLACE: &str = "/data/relay";

/// A virtual machine that is off or on.
struct Guest {
    dir: tempfile::TempDir,
    image: PathBuf,
    port: u16,
    machine: Option<Child>,
}

/// What it starts from, made once.
fn image() -> Result<PathBuf> {
    let named = std::env::var_os("PROVISION_CACHE_DIR").map(PathBuf::from);
    let cache = Cache::open(&named.map_or_else(provision::cache::usual_place, Ok)?)?;
    let program = root().join("provision/tests/deploy/host/guest");
    let folder = cache.folder("guest", std::slice::from_ref(&program), "")?;
    if !folder.join("root.img").exists() {
        let [program, folder] = [&program, &folder].map(|path| path.to_string_lossy());
        run(&[&program, &folder]).context("make the system of the virtual machine")?;
    }
    Ok(folder)
}

impl Guest {
    fn new() -> Result<Self> {
        let (dir, image) = (tempfile::tempdir()?, image()?);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let it = Self { dir, image, port, machine: None };
        let [key, disk, place] = [it.file("key"), it.file("root.img"), it.file("place")];
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key])?;
        let from = it.image.join("root.img").to_string_lossy().into_owned();
        run(&["cp", "--sparse=always", &from, &disk])?;
        fs::create_dir(&place)?;
        let script = format!(
            "mount -o loop {disk} {place}; install -d -m 700 {place}/home/admin/.ssh
cp {key}.pub {place}/home/admin/.ssh/authorized_keys
chroot {place} chown -R admin:admin /home/admin/.ssh; umount {place}"
        );
        run(&["unshare", "--mount", "--propagation", "private", "sh", "-ec", &script])?;
        for name in ["one", "two", "three"] {
            fs::File::create(it.file(name))?.set_len(DISK_BYTES)?;
        }
        Ok(it)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// Switches it on with these data disks, and waits until it lets people in.
    fn start(&mut self, disks: &[&str]) -> Result<()> {
        let [kernel, initrd] = ["vmlinuz", "initrd"].map(|name| self.image.join(name));
        let mut command =
            run::program(&root(), &["qemu-system-x86_64", "-machine", "q35,accel=tcg"]);
        command.args(["-cpu", "max", "-smp", "2", "-m", "1536", "-nographic", "-no-reboot"]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        command.args(["-append", APPEND]);
        for name in ["root.img"].iter().chain(disks) {
            let id = name.trim_end_matches(".img");
            command.arg("-drive");
            command.arg(format!("file={},format=raw,if=none,id={id}", self.file(name)));
            command.arg("-device").arg(format!("virtio-blk-pci,drive={id},serial=TEST_{id}"));
        }
        command.arg("-netdev");
        command.arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", self.port));
        command.args(["-device", "virtio-net-pci,netdev=net", "-monitor", "none"]);
        command.arg("-serial").arg(format!("file:{}", self.file("console.log")));
        self.machine = Some(command.stdin(Stdio::null()).spawn().context(NO_QEMU)?);
        wait("the virtual machine lets people in", || Ok(self.exec("true").is_ok()))
    }

    /// Switches it off, as a person does.
    fn stop(&mut self) -> Result<()> {
        // The connection ends with the machine.
        let asked = self.exec("sudo systemctl poweroff");
        let mut machine = self.machine.take().context("it is on")?;
        let ended = wait("the virtual machine is off", || Ok(machine.try_wait()?.is_some()));
        if ended.is_err() {
            machine.kill()?;
            machine.wait()?;
        }
        ended.with_context(|| format!("{asked:?}"))
    }

    fn ssh(&self) -> String {
        let known = self.file("known_hosts");
        format!(
            "-i {} -o UserKnownHostsFile={known} -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR",
            self.file("key")
        )
    }

    /// Runs a line on it, as somebody who may use sudo.
    fn exec(&self, line: &str) -> Result<String> {
        let port = self.port.to_string();
        let options = self.ssh();
        let mut words = vec!["ssh"];
        words.extend(options.split(' '));
        words.extend(["-o", "ConnectTimeout=10", "-p", &port, "admin@127.0.0.1", line]);
        run(&words)
    }

    /// Begins the deployment, or says which disks it has now.
    fn inventory(&self, disks: &[&str]) -> Result<PathBuf> {
        let deployment = self.dir.path().join("deployment");
        let program = env!("CARGO_BIN_EXE_provision");
        if !deployment.exists() {
            let words = ["init", "relay.example.com", "--contact", "mailto:ops@example.com"];
            let more = ["--window", "15m", "--database", "postgres"];
            let socket = ["--database-address", "/run/postgresql", "--dir"];
            let shown = deployment.to_string_lossy();
            run(&[&[program], &words[..], &more, &socket, &[&shown]].concat())?;
        }
        let small = self.file("provision");
        run(&["strip", "-o", &small, program])?;
        let disk = |name: &&str| {
            let by_id = format!("/dev/disk/by-id/virtio-TEST_{name}");
            serde_json::json!({ "by_id": by_id, "mount": PLACE, "size_gb": DISK_GB })
        };
        let inventory = serde_json::json!({ "relay": { "hosts": { "guest": {
            "ansible_host": "127.0.0.1",
            "ansible_user": "admin",
            "ansible_port": self.port,
            "ansible_ssh_common_args": self.ssh(),
            "relay_name": "guest",
            "relay_hostname": "relay.example.com",
            "data_disks": disks.iter().map(disk).collect::<Vec<_>>(),
            "relay_provision_program": small,
            // Each takes a minute here, and the container has them.
            "base_tools": [],
        } } } });
        let path = deployment.join("inventory.yml");
        fs::write(&path, inventory.to_string())?;
        Ok(path)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(mut machine) = self.machine.take()
            && let Err(error) = machine.kill().and_then(|()| machine.wait())
        {
            eprintln!("the virtual machine did not end: {error}");
        }
    }
}

fn well(inventory: &Path, words: &[&str]) -> Result<Played> {
    let played = play(&[], inventory, words)?;
    let (changed, failed) = played.counts("guest");
    ensure!(failed == 0, "{}: {}", words.join(" "), played.failure("guest"));
    eprintln!("{}: {changed} changed", words.join(" "));
    Ok(played)
}

fn kernel_has(guest: &Guest) -> Result<()> {
    let asked = "sysctl -n net.ipv4.tcp_congestion_control net.core.default_qdisc vm.swappiness";
    let said = guest.exec(&format!("sudo {asked}"))?;
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["bbr", "fq", "10"]);
    Ok(())
}

/// Whoever has two disks keeps what is on them when one breaks, over starts of the machine, and gets a
/// new one into its place; settings of the kernel are there from the first moment.
#[test]
#[ignore = "takes half an hour in a virtual machine without KVM: just nightly"]
fn nightly_a_machine_keeps_its_settings_and_the_half_of_a_mirror() -> Result<()> {
    let mut guest = Guest::new()?;
    guest.start(&["one", "two"])?;
    let inventory = guest.inventory(&["one", "two"])?;
    well(&inventory, &KERNEL)?;
    let again = well(&inventory, &KERNEL)?;
    assert_eq!((again.counts("guest").0, again.changes("guest")), (0, vec![]));
    kernel_has(&guest)?;
    guest.exec(&format!("echo mine | sudo tee {PLACE}/kept"))?;
    wait("both halves are the same", || Ok(guest.exec("cat /proc/mdstat")?.contains("[UU]")))?;
    guest.stop()?;

    guest.start(&["two"])?;
    wait("the half is mounted", || Ok(guest.exec(&format!("cat {PLACE}/kept")).is_ok()))?;
    kernel_has(&guest)?;
    let degraded = guest.exec("cat /proc/mdstat")?;
    assert!(degraded.contains("[U_]") || degraded.contains("[_U]"), "{degraded}");
    guest.exec(&format!("sudo umount {PLACE} && sudo mdadm --stop --scan"))?;
    let again = well(&inventory, &STORAGE)?.changes("guest");
    assert_eq!(again, ["Put the mirror together", "Mount it now and at every start"]);
    assert_eq!(well(&inventory, &STORAGE)?.changes("guest"), Vec::<String>::new());
    guest.stop()?;

    guest.start(&["two", "three"])?;
    let inventory = guest.inventory(&["two", "three"])?;
    wait("the half is mounted", || Ok(guest.exec(&format!("cat {PLACE}/kept")).is_ok()))?;
    let added = well(&inventory, &STORAGE)?.changes("guest");
    assert_eq!(added, ["Add disks to the mirror"]);
    wait("the new half is the same", || Ok(guest.exec("cat /proc/mdstat")?.contains("[UU]")))?;
    assert_eq!(well(&inventory, &STORAGE)?.changes("guest"), Vec::<String>::new());
    assert_eq!(guest.exec(&format!("cat {PLACE}/kept"))?, "mine\n");
    guest.stop()
}
