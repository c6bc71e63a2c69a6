//! A private Postgres cluster from the binaries of the system, in a temporary directory.
//!
//! It listens on a Unix socket in its directory only, so it needs no port and meets no other
//! server. Postgres refuses to run as root: then it runs as the user `postgres`, or `nobody`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says why")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Where packages of Debian, Fedora, and a build from source put the binaries.
const PLACES: [&str; 3] = ["/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql"];

/// A running cluster; stops and vanishes with its last holder.
#[derive(Debug)]
pub(crate) struct Cluster {
    bin: PathBuf,
    /// User and group to run as, when the tests run as root.
    user: Option<(u32, u32)>,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// The cluster of this test process, started for the first test that asks.
    ///
    /// `None` when Postgres is not installed: the caller skips. Under `CI=true` that is a failure.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static RUNNING: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = running.upgrade() {
            return Some(cluster);
        }
        let cluster = Arc::new(Self::start()?);
        *running = Arc::downgrade(&cluster);
        Some(cluster)
    }

    /// A cluster of the caller's own, to stop and start at will.
    pub(crate) fn start() -> Option<Self> {
        let Some(bin) = binaries() else {
            let sentence = "skipped: no Postgres server on this machine; to run this test, type \
                            `apt-get install postgresql`";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{sentence}");
            println!("{sentence}");
            return None;
        };
        let dir = tempfile::tempdir().expect("make a directory for the cluster");
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).expect("give it away");
        }
        let cluster = Self { bin, user, dir };
        let data = cluster.data();
        run(cluster
            .command("initdb")
            .args(["--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C"])
            .arg("--auth=trust")
            .arg("--pgdata")
            .arg(&data));
        // Everyone but the superuser has to know the password.
        fs::write(
            data.join("pg_hba.conf"),
            "local all postgres trust\nlocal all all scram-sha-256\n",
        )
        .expect("write pg_hba.conf");
        fs::set_permissions(data.join("pg_hba.conf"), fs::Permissions::from_mode(0o644))
            .expect("let the server read it");
        cluster.resume();
        Some(cluster)
    }

    /// Starts the server and returns when it takes connections.
    pub(crate) fn resume(&self) {
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=off \
             -c shared_buffers=32MB -c max_connections=60",
            self.dir.path().display()
        );
        let log = self.dir.path().join("log");
        let mut command = self.command("pg_ctl");
        command.args(["start", "--wait", "--silent", "--options", &options]);
        run(command.arg("--log").arg(log).arg("--pgdata").arg(self.data()));
    }

    /// Stops the server; open connections break.
    pub(crate) fn stop(&self) {
        let mut command = self.command("pg_ctl");
        command.args(["stop", "--wait", "--silent", "--mode=immediate"]);
        run(command.arg("--pgdata").arg(self.data()));
    }

    /// Makes a database with an owner of the same name, whose password is `secret-NAME`.
    ///
    /// Gives the URL to connect as that owner.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE USER \"{name}\" PASSWORD 'secret-{name}'"));
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\" OWNER \"{name}\""));
        self.url(name, &format!("secret-{name}"), name)
    }

    /// The URL of a database for a user with this password.
    pub(crate) fn url(&self, user: &str, password: &str, database: &str) -> String {
        let socket = self.dir.path().display();
        format!("postgres://{user}:{password}@localhost/{database}?host={socket}")
    }

    /// The URL of a database for its owner through a door on this port of 127.0.0.1.
    pub(crate) fn url_through(port: u16, name: &str) -> String {
        format!("postgres://{name}:secret-{name}@127.0.0.1:{port}/{name}?sslmode=disable")
    }

    /// The socket on which it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    /// Stops all its processes as a machine without CPU time would, or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal =
            if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("its process id");
        let first: i32 =
            file.lines().next().and_then(|pid| pid.parse().ok()).expect("a process id");
        let children = format!("/proc/{first}/task/{first}/children");
        let children = fs::read_to_string(children).expect("its children");
        // The parent first, so that it starts no other child meanwhile.
        for pid in std::iter::once(&*first.to_string()).chain(children.split_whitespace()) {
            let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw).expect("an id");
            let sent = rustix::process::kill_process(pid, signal);
            assert!(matches!(sent, Ok(()) | Err(rustix::io::Errno::SRCH)), "{sent:?}");
        }
    }

    /// Runs statements as the superuser and gives what they print.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut command = self.command("psql");
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        command.args(["--set=ON_ERROR_STOP=1", "--username=postgres"]);
        run(command.arg("--host").arg(self.dir.path()).args(["--dbname", database, "-c", sql]))
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = self.command("pg_ctl");
        command.args(["stop", "--wait", "--silent", "--mode=immediate", "--pgdata"]);
        command.arg(self.data()).stdout(Stdio::null()).stderr(Stdio::null());
        // A test may have stopped it already; in a panic there is nothing better to do than go on.
        drop(command.status());
    }
}

/// The server inherits the output of `pg_ctl`, so that of a file is read, not that of a pipe.
fn run(command: &mut Command) -> String {
    let output = tempfile::NamedTempFile::new().expect("make a file for the output");
    let both = output.reopen().expect("open the output");
    let errors = both.try_clone().expect("open the output twice");
    let status = command.stdout(both).stderr(errors).status();
    let said = fs::read_to_string(output.path()).unwrap_or_default();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {said}");
    said.trim().to_owned()
}

/// The newest version below one of the usual places, or what the search path offers.
fn binaries() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = PLACES
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten()
        .flatten()
        .map(|entry| {
            let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
            (version, entry.path().join("bin"))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).or_else(|| {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
    })
}

/// Whom to become: nobody else when the tests do not run as root.
fn unprivileged() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    ["postgres", "nobody"].into_iter().find_map(|name| {
        let fields: Vec<&str> =
            users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').collect();
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    })
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(Path::new("/proc/self")).is_ok_and(|own| own.uid() == 0)
}
