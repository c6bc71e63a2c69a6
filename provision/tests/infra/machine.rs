//! A machine that can be restarted: what runs on it is in the file `phase`, and its sshd is a real one.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use provision_stub::robot::{PASSWORD, Robot, SERVER, USER};
use tempfile::TempDir;

const NO_SSHD: &str = "an sshd and root are needed; install: apt-get install openssh-server";

/// The programs of the rescue system that an installation uses.
const PROGRAMS: [(&str, &str); 6] = [
    ("hostname", "grep -q rescue \"$MACHINE/phase\" && echo rescue || echo relay"),
    (
        "ls",
        "echo Debian-1200-bookworm-amd64-base.tar.gz; echo Debian-1211-bookworm-amd64-base.tar.gz; echo Ubuntu-2404-noble-amd64-base.tar.gz",
    ),
    ("readlink", "sed -n \"s|^$2 ||p\" \"$MACHINE/disks\""),
    ("lsblk", "grep -q \" $3\\$\" \"$MACHINE/disks\" && echo disk"),
    (
        "installimage",
        "echo run >>\"$MACHINE/runs\"; cat \"$3\" >\"$MACHINE/config\"\n\
         while test -e \"$MACHINE/hold\"; do sleep 0.1; done\n\
         test ! -e \"$MACHINE/broken\" || { echo 'disk is broken'; exit 1; }\n\
         touch \"$MACHINE/written\"",
    ),
    (
        "reboot",
        "test -e \"$MACHINE/written\" && echo installed >\"$MACHINE/phase\" || echo old >\"$MACHINE/phase\"",
    ),
];

/// The machine and the service that can restart it.
pub(crate) struct Machine {
    pub(crate) robot: Robot,
    dir: TempDir,
    port: u16,
    ends: Arc<AtomicBool>,
    door: Option<JoinHandle<()>>,
}

fn run(words: &[&str]) -> Output {
    let (name, rest) = words.split_first().expect("a program");
    let output =
        Command::new(name).args(rest).stdin(Stdio::null()).output().expect("run a program");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl Machine {
    /// A machine with an old system on it. `None` when there is no sshd: the caller skips.
    pub(crate) fn new() -> Option<Self> {
        let is_root = String::from_utf8_lossy(&run(&["id", "-u"]).stdout).trim() == "0";
        if !Path::new("/usr/sbin/sshd").is_file() || !is_root {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{NO_SSHD}");
            println!("skipped: {NO_SSHD}");
            return None;
        }
        // Without it sshd does not start.
        fs::create_dir_all("/run/sshd").expect("make /run/sshd");
        let dir = tempfile::tempdir().expect("make a directory");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("bin")).expect("make a directory");
        fs::create_dir_all(path("home")).expect("make a directory");
        for (name, text) in PROGRAMS {
            fs::write(path("bin").join(name), format!("#!/bin/sh\n{text}\n"))
                .expect("write a program");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(path("bin").join(name), mode).expect("make a program");
        }
        fs::write(path("disks"), "/dev/disk/by-id/one /dev/nvme0n1\n/dev/disk/by-id/two /dev/nvme1n1\n/dev/disk/by-id/data /dev/nvme2n1\n").expect("write the disks");
        for key in ["old", "rescue", "installed", "mine"] {
            let file = path(key);
            run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &file.to_string_lossy()]);
        }
        fs::write(path("phase"), "old\n").expect("write the phase");
        for phase in ["old", "rescue", "installed"] {
            let keys = if phase == "old" { "none" } else { "mine.pub" };
            let shown = dir.path().display();
            let config = format!(
                "HostKey {shown}/{phase}\nPidFile none\nAuthorizedKeysFile {shown}/{keys}\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nPermitRootLogin prohibit-password\n\
                 SetEnv PATH={shown}/bin:/usr/bin:/bin HOME={shown}/home MACHINE={shown}\n"
            );
            fs::write(path(&format!("{phase}.config")), config).expect("write a configuration");
        }
        let robot = Robot::start().expect("start the service");
        robot.machine(dir.path().to_owned(), &[&fingerprint(&path("rescue.pub"))]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("find a port");
        let port = listener.local_addr().expect("find a port").port();
        let ends = Arc::new(AtomicBool::new(false));
        let door = {
            let (ends, dir) = (Arc::clone(&ends), dir.path().to_owned());
            std::thread::spawn(move || open_door(&listener, &dir, &ends))
        };
        Some(Self { robot, dir, port, ends, door: Some(door) })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// How often something was written to the disks.
    pub(crate) fn runs(&self) -> usize {
        self.text("runs").lines().count()
    }

    /// An installation of this machine under a word.
    pub(crate) fn install(&self, word: &str, more: &[&str]) -> Command {
        let number = SERVER.to_string();
        let mut command = self.provision(&["install", &number, "--word", word]);
        command
            .args([
                "--hostname",
                "relay.example.com",
                "--port",
                &self.port.to_string(),
                "--wait",
                "30s",
            ])
            .arg("--key")
            .arg(self.path("mine.pub"))
            .arg("--identity")
            .arg(self.path("mine"))
            .arg("--journal")
            .arg(self.path("journal.json"))
            .args(more);
        command
    }

    /// The same with the machine's disks, confirmed.
    pub(crate) fn usual(&self, word: &str) -> Command {
        let disk = |name: &str| format!("/dev/disk/by-id/{name}");
        self.install(
            word,
            &[
                "--confirm",
                "321",
                "--raid-level",
                "1",
                "--system-disk",
                &disk("one"),
                "--system-disk",
                &disk("two"),
                "--data-disk",
                &disk("data"),
            ],
        )
    }

    /// Terraform in the machine's directory. Whatever it starts uses the machine's port, key and account.
    pub(crate) fn terraform(&self, words: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        with_account(&mut command, &self.robot)
            .args(words)
            .arg("-no-color")
            .current_dir(self.dir.path())
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .env("CHECKPOINT_DISABLE", "1")
            .env("ROBOT_SSH_PORT", self.port.to_string())
            .env("ROBOT_IDENTITY", self.path("mine"))
            .env_remove("TF_DATA_DIR");
        command
    }

    pub(crate) fn provision(&self, words: &[&str]) -> Command {
        provision(&self.robot, words)
    }
}

/// The built program, with an account.
pub(crate) fn provision(robot: &Robot, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    with_account(&mut command, robot).arg("robot").args(words);
    command
}

fn with_account<'c>(command: &'c mut Command, robot: &Robot) -> &'c mut Command {
    command
        .env("ROBOT_URL", robot.url())
        .env("ROBOT_USER", USER)
        .env("ROBOT_PASSWORD", PASSWORD)
        .env("ROBOT_PAUSE", "100ms")
        .env("ROBOT_ANSWER_MAX", "3s")
        .stdin(Stdio::null())
}

/// Runs it; its exit code and all that it said.
pub(crate) fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("start provision");
    let text =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    (output.status.code(), text)
}

/// As Robot shows it.
pub(crate) fn fingerprint(key: &Path) -> String {
    let shown = run(&["ssh-keygen", "-l", "-E", "md5", "-f", &key.to_string_lossy()]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    text.split_whitespace()
        .find_map(|word| word.strip_prefix("MD5:"))
        .expect("a fingerprint")
        .to_owned()
}

/// Lets everybody in to the sshd of what runs on the machine now.
fn open_door(listener: &TcpListener, dir: &Path, ends: &AtomicBool) {
    let mut running = Vec::new();
    for socket in listener.incoming() {
        if ends.load(Ordering::SeqCst) {
            break;
        }
        let Ok(socket) = socket else { continue };
        let phase = fs::read_to_string(dir.join("phase")).unwrap_or_default();
        let config = dir.join(format!("{}.config", phase.trim()));
        let (input, output) =
            (OwnedFd::from(socket.try_clone().expect("a socket")), OwnedFd::from(socket));
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-i", "-e", "-f"])
            .arg(config)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::null())
            .spawn();
        running.push(sshd.expect("start sshd"));
    }
    for mut sshd in running {
        sshd.wait().expect("wait for sshd");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Whatever waits for this file goes on and ends.
        drop(fs::remove_file(self.path("hold")));
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(door) = self.door.take() {
            drop(door.join());
        }
    }
}
