//! The built `relay` as a process in a directory of its own, on free ports, without the environment
//! of the tests.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest that a condition may take; far above what it takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Names and values in the environment.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// What ports and logs are unless a test says otherwise. As text each failure is one plain line.
const USUAL: [(&str, &str); 4] = [
    ("RELAY_API_BIND", "127.0.0.1:0"),
    ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
    ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
    ("RELAY_LOG_FORMAT", "text"),
];

/// A program of the system, found by the tests' `PATH`, with nothing else of their environment.
pub(crate) fn system(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// A place to run in; also the working directory.
#[derive(Clone)]
pub(crate) struct Place(Arc<TempDir>);

impl Place {
    pub(crate) fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The data directory that is used unless a setting names another one.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data/relay")
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str], settings: Settings<'_>) -> Program {
        let usual =
            USUAL.iter().filter(|(name, _)| settings.iter().all(|(other, _)| other != name));
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command.args(arguments).env_clear().envs(usual.copied()).envs(settings.iter().copied());
        self.spawn(command)
    }

    /// Starts any command here, with its output in files.
    pub(crate) fn spawn(&self, mut command: Command) -> Program {
        let number = fs::read_dir(self.path()).unwrap().count();
        let [out, err] = ["out", "err"].map(|name| self.path().join(format!("{name}-{number}")));
        let child = command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Program { child, out, err, _place: self.clone() }
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str], settings: Settings<'_>) -> Ended {
        self.start(arguments, settings).ended().await
    }
}

/// How a program ended, and all that it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Asserts the exit code 1 and exactly one line on standard error, and gives that line.
    pub(crate) fn one_sentence(&self) -> &str {
        assert_eq!((self.code, self.err.lines().count()), (Some(1), 1), "{self:?}");
        self.err.trim_end()
    }
}

/// A started program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    _place: Place,
}

impl Program {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap()).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap()).into_owned()
    }

    /// Waits until a condition holds; fails at once when the program has ended before.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut waited = Duration::ZERO;
        while !holds(self) {
            let running = self.child.try_wait().unwrap().is_none();
            // Looked at again after the end: it may have come true with the last line.
            assert!(running || holds(self), "ended before {what}: {}{}", self.out(), self.err());
            assert!(waited < PATIENCE, "waited for {what}: {}{}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(10)).await;
            waited += Duration::from_millis(10);
        }
    }

    /// Waits until it serves; gives the addresses of firehose, admin API and metrics.
    pub(crate) async fn up(&mut self) -> [String; 3] {
        self.until("it serves", |program| program.err().contains("/metrics")).await;
        let log = self.err();
        let after = |mark: &str| {
            let rest = log.split_once(mark).unwrap().1;
            rest.split(['/', ',']).next().unwrap().to_owned()
        };
        [
            after("the firehose is at ws://"),
            after("admin API on http://"),
            after("metrics on http://"),
        ]
    }

    /// Waits until standard error says this.
    pub(crate) async fn says(&mut self, text: &str) {
        self.until(text, |program| program.err().contains(text)).await;
    }

    /// Waits until standard output has this many lines that fit; gives them.
    pub(crate) async fn lines(&mut self, count: usize, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let fitting = |program: &Self| {
            let out = program.out();
            // The last line may not be whole yet.
            let whole = out.rfind('\n').map_or("", |end| out.split_at(end).0);
            whole.lines().filter(|line| fits(line)).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        self.until("enough lines", |program| fitting(program).len() >= count).await;
        fitting(self)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let mut waited = Duration::ZERO;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(waited < PATIENCE, "it does not end: {}{}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(10)).await;
            waited += Duration::from_millis(10);
        };
        assert_eq!(status.signal(), None, "{}{}", self.out(), self.err());
        Ended { code: status.code(), out: self.out(), err: self.err() }
    }

    /// Ends it as systemd and Docker do; gives what it printed.
    pub(crate) async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// An HTTP client without the guard and the redirects of the relay's own.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Value and origin of a setting in what `relay config` prints: `key = "value"   # origin`.
pub(crate) fn printed(out: &str, key: &str) -> (String, String) {
    let line = out.lines().find(|line| line.starts_with(&format!("{key} = ")));
    let (setting, origin) = line.unwrap().rsplit_once(" # ").unwrap();
    let value = setting.split_once(" = ").unwrap().1.trim().trim_matches('"');
    (value.to_owned(), origin.to_owned())
}
