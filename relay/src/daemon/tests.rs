//! A failure of any stage ends the daemon.

use std::time::Duration;

use super::*;
use crate::config::Flags;

fn config(dir: &std::path::Path) -> Config {
    let data = dir.join("data").display().to_string();
    let env = [
        ("RELAY_DATA_DIR", data.as_str()),
        ("RELAY_API_BIND", "127.0.0.1:0"),
        ("RELAY_ADMIN_BIND", "127.0.0.1:0"),
        ("RELAY_METRICS_LISTEN", "127.0.0.1:0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
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
        let running = Daemon::start(config(dir.path()), Extras::default()).await.unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(20), running.failed()).await;
        assert!(nothing.is_err(), "it failed by itself");

        stage(&running.tasks).fail(format!("stage {number} failed"));

        assert_eq!(running.failed().await.to_string(), format!("stage {number} failed"));
        let stopped = running.stop().await.unwrap_err();
        assert_eq!(stopped.to_string(), format!("stage {number} failed"));
    }
}
