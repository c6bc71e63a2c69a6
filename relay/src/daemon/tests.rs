//! A failure of any stage ends the daemon; a start that fails leaves nothing behind.

use std::time::Duration;

use super::*;
use crate::config::Flags;

fn config(dir: &std::path::Path, settings: &[(&str, &str)]) -> Config {
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
    Config::load(&Flags::default(), &env, dir).unwrap()
}

/// I3, I6, DESIGN 10.9: whichever stage fails, the daemon says so and does not go on as if nothing
/// had happened; stopping it then gives the failure, so that the process ends with it.
#[tokio::test]
async fn a_failure_of_any_stage_stops_the_daemon_with_its_sentence() {
    let stages: [fn(&Stages) -> &Tasks; 4] =
        [|all| &all.upstream, |all| &all.ingest, |all| &all.edge, |all| &all.fatal];
    for (number, stage) in stages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let running = Daemon::start(config(dir.path(), &[]), Extras::default()).await.unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(20), running.failed()).await;
        assert!(nothing.is_err(), "it failed by itself");

        stage(&running.tasks).fail(format!("stage {number} failed"));

        assert_eq!(running.failed().await.to_string(), format!("stage {number} failed"));
        let stopped = running.stop().await.unwrap_err();
        assert_eq!(stopped.to_string(), format!("stage {number} failed"));
    }
}

/// Tasks of this test's runtime that have not ended.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Waits until nothing of a start is left: the pools of the database end on their own time.
async fn until_quiet(before: usize) {
    let quiet = async {
        while tasks() > before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), quiet).await.expect("a task goes on");
}

/// Issue 3, section 5: each step that fails stops the start with one sentence and leaves no task, no
/// port and no lock behind: the same directory and ports serve at once when the cause is gone.
#[tokio::test]
async fn a_start_that_fails_leaves_nothing_half_started() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let not_a_database = dir.path().join("text");
    std::fs::write(&not_a_database, "this is no database, but text of some length").unwrap();
    let text = format!("sqlite://{}", not_a_database.display());
    let file = not_a_database.join("log").display().to_string();
    let before = tasks();
    let broken: [(&[(&str, &str)], &str); 5] = [
        (&[("RELAY_API_BIND", &port)], "set RELAY_API_BIND to another address"),
        (&[("RELAY_METRICS_LISTEN", &port)], "set RELAY_METRICS_LISTEN to another address"),
        (&[("DATABASE_URL", &text)], "is not usable"),
        (&[("DATABASE_URL", "postgres://someone@127.0.0.1:1/none")], "cannot be reached"),
        (&[("RELAY_PERSIST_DIR", &file)], "cannot be created"),
    ];
    for (settings, sentence) in broken {
        let failed = Daemon::start(config(dir.path(), settings), Extras::default()).await;
        let why = failed.expect_err(sentence).to_string();
        assert!(why.contains(sentence) && why.lines().count() == 1, "{why}");
        until_quiet(before).await;
    }

    let running = Daemon::start(config(dir.path(), &[]), Extras::default()).await.unwrap();
    running.stop().await.unwrap();
    until_quiet(before).await;

    // Recovery runs on what was kept: its failure comes when everything else is open.
    let files = std::fs::read_dir(data.join("persist")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let newest = files.find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
    let whole = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, b"no segment at all").unwrap();
    let failed = Daemon::start(config(dir.path(), &[]), Extras::default()).await;
    let why = failed.expect_err("the log is damaged").to_string();
    assert!(why.contains("Restore the log from a backup"), "{why}");
    until_quiet(before).await;

    std::fs::write(&newest, whole).unwrap();
    let running = Daemon::start(config(dir.path(), &[]), Extras::default()).await.unwrap();
    running.stop().await.unwrap();
}
