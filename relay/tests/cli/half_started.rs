//! A start that fails, in this process, so that what it leaves behind can be counted.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use relay::{
    config::{Config, Flags},
    daemon::{Daemon, Extras, Running},
};
use sqlx::Connection as _;

use crate::program::Settings;

/// Longest that the end of tasks and threads may take.
const PATIENCE: Duration = Duration::from_mins(1);

async fn start(dir: &Path, settings: Settings<'_>) -> Result<Running, String> {
    let data = dir.join("data").display().to_string();
    let usual = [
        ("RELAY_DATA_DIR", data.as_str()),
        ("RELAY_API_BIND", "127.0.0.1:0"),
        ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
        ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
    ];
    let env: Vec<_> = usual
        .iter()
        .filter(|(name, _)| settings.iter().all(|(other, _)| other != name))
        .chain(settings)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = Config::load(&Flags::default(), &env, dir).unwrap();
    Daemon::start(config, Extras::default()).await.map_err(|why| why.to_string())
}

/// Tasks of this test's runtime that have not ended.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Threads of this process that write an event log; no other test here has one in this process.
fn writers() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).ok();
    threads.filter_map(|thread| name(thread.ok()?)).filter(|name| name.trim() == "eventlog").count()
}

/// Waits until nothing of a start is left: the pools of the database end in their own time.
async fn until_quiet(before: usize) {
    let quiet = async {
        while tasks() > before || writers() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let quiet = tokio::time::timeout(PATIENCE, quiet).await;
    assert!(quiet.is_ok(), "{} tasks and {} writers go on", tasks() - before, writers());
}

/// Fails, says why in one line, and leaves nothing.
async fn fails(dir: &Path, settings: Settings<'_>, words: &str) {
    let before = tasks();
    let why = start(dir, settings).await.err().unwrap_or_default();
    assert!(why.contains(words) && why.lines().count() == 1, "{words}: {why}");
    until_quiet(before).await;
}

/// Issue 3, section 5: each step that fails stops the start with one sentence and leaves no task, no
/// thread, no port and no lock behind: the same directory serves at once when the cause is gone.
#[tokio::test]
async fn a_start_that_fails_at_any_step_leaves_nothing_half_started() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let text = dir.join("text");
    fs::write(&text, "this is no database, but text of some length").unwrap();
    let not_sqlite = format!("sqlite://{}", text.display());
    let below_a_file = text.join("log").display().to_string();

    fails(dir, &[("RELAY_API_BIND", &port)], "set RELAY_API_BIND to another address").await;
    fails(dir, &[("RELAY_ADMIN_BIND", &port)], "set RELAY_ADMIN_BIND to another address").await;
    fails(dir, &[("RELAY_METRICS_LISTEN", &port)], "set RELAY_METRICS_LISTEN to").await;
    fails(dir, &[("DATABASE_URL", &not_sqlite)], "is not usable").await;
    let nobody = "postgres://someone@127.0.0.1:1/none";
    fails(dir, &[("DATABASE_URL", nobody)], "cannot be reached").await;
    fails(dir, &[("RELAY_PERSIST_DIR", &below_a_file)], "cannot be created").await;
    serves(dir).await;

    // The newest part of the log has lost what was synced.
    let persist = dir.join("data/persist");
    let files = fs::read_dir(&persist).unwrap().map(|file| file.unwrap().path());
    let newest = files.filter(|file| file.extension().is_some_and(|end| end == "log")).max();
    let newest = newest.unwrap();
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, b"no segment at all").unwrap();
    fails(dir, &[], "restore the log from a backup").await;
    fs::write(&newest, whole).unwrap();
    serves(dir).await;

    // The last step: the log is open and its writer runs when the database turns out to be damaged.
    let url = format!("sqlite://{}", dir.join("data/relay.sqlite").display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("ALTER TABLE relay_account RENAME TO gone").execute(&mut database).await.unwrap();
    fails(dir, &[], "no such table").await;
    sqlx::raw_sql("ALTER TABLE gone RENAME TO relay_account").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    serves(dir).await;
}

async fn serves(dir: &Path) {
    let before = tasks();
    let running = start(dir, &[]).await.unwrap();
    let health = crate::program::client().get(format!("http://{}/_health", running.api)).send();
    assert_eq!(health.await.unwrap().status(), 200);
    running.stop().await.unwrap();
    until_quiet(before).await;
}
