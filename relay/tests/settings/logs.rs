//! What is written to standard error, and how.

use serde_json::Value;

use crate::process::{Program, free_addresses};

/// On addresses that are known before, since a quiet relay does not say them.
fn program() -> Program {
    let [api, admin, metrics] = free_addresses();
    Program::new()
        .set("RELAY_API_BIND", &api)
        .set("RELAY_ADMIN_BIND", &admin)
        .set("RELAY_METRICS_LISTEN", &metrics)
        // Something to warn of, whatever happens later.
        .set("RELAY_COMPACT_INTERVAL", "0")
}

/// Levels of the lines of a JSON log.
fn levels(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")))
        .map(|line| line["level"].as_str().unwrap().to_owned())
        .collect()
}

/// Setting `log_level`: a line appears from its level on; the names of older relays count.
#[tokio::test]
async fn the_level_decides_what_is_logged() {
    let rows = [
        ("RELAY_LOG_LEVEL", "error", [false, false, false]),
        ("RELAY_LOG_LEVEL", "warn", [true, false, false]),
        ("GOLOG_LOG_LEVEL", "info", [true, true, false]),
        ("LOG_LEVEL", "debug", [true, true, true]),
    ];
    for (name, level, expected) in rows {
        let log = program().set(name, level).start().await.stop().await;
        let found = levels(&log);
        let has = ["WARN", "INFO", "DEBUG"].map(|level| found.iter().any(|one| one == level));
        assert_eq!(has, expected, "{name}={level}: {log}");
    }
    let refused = program().set("RELAY_LOG_LEVEL", "loud").run().await;
    assert_eq!(refused.code, Some(1));
    let sentence = "log_level is \"loud\" (env RELAY_LOG_LEVEL): allowed is `error`, `warn`";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
}

/// Setting `log_format`: text for people, JSON for machines, and JSON when nobody looks.
#[tokio::test]
async fn the_format_decides_how_a_line_looks() {
    for (format, is_json) in [("text", false), ("json", true), ("auto", true)] {
        let log = program().set("RELAY_LOG_FORMAT", format).start().await.stop().await;
        let lines: Vec<_> = log.lines().collect();
        assert!(lines.len() > 1, "{log}");
        for line in lines {
            let json = serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
            assert_eq!(json, is_json, "{format}: {line}");
        }
    }
}
