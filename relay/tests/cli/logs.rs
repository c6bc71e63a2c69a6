//! How logs look: JSON where nobody watches, text and a live line on a terminal.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::Place;

fn entries(log: &str) -> Vec<Value> {
    let entry = |line| {
        let entry: Value = serde_json::from_str(line).unwrap_or_default();
        assert!(entry.is_object(), "this line is not a JSON object: {line}");
        entry
    };
    log.lines().map(entry).collect()
}

/// Issue 3, section 5: off a terminal every line is JSON, from the first warning to the last word, also
/// when the start fails.
#[tokio::test]
async fn off_a_terminal_every_line_of_the_log_is_json() {
    let place = Place::new();
    let settings = [("RELAY_LOG_FORMAT", "auto"), ("RELAY_SHRADS", "2")];
    let mut relay = place.start(&[], &settings);
    relay.up().await;
    let second = place.run(&[], &settings).await;
    let first = relay.stop().await;

    let said = |log: &[Value], level: &str, words: &str| {
        log.iter().any(|entry| {
            entry["level"] == level && entry["message"].as_str().unwrap().contains(words)
        })
    };
    let log = entries(&first.err);
    assert!(said(&log, "WARN", "RELAY_SHRADS is not a setting; did you mean RELAY_SHARDS?"));
    assert!(said(&log, "INFO", "the firehose is at ws://"));
    assert!(log.iter().all(|entry| entry["timestamp"].is_string()), "{log:?}");
    assert_eq!((first.out.as_str(), second.out.as_str()), ("", ""));
    assert_eq!(second.code, Some(1));
    assert!(said(&entries(&second.err), "ERROR", "another relay runs on the data directory"));
}

/// Issue 3, section 5: on a terminal the log is text, and the status line stands below it and is taken
/// away at the end. `script` makes the terminal.
#[tokio::test]
async fn on_a_terminal_a_live_line_stands_below_the_text_of_the_log() {
    let place = Place::new();
    // `exec`, so that the signal reaches the relay itself.
    let command = format!("echo $$; exec {}", env!("CARGO_BIN_EXE_relay"));
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]).env("SHELL", "/bin/sh");
    for name in ["RELAY_API_BIND", "RELAY_ADMIN_BIND", "RELAY_METRICS_LISTEN"] {
        script.env(name, "127.0.0.1:0");
    }
    let mut terminal = place.spawn(script);
    let live =
        "hosts 0/0 | 0 events/s | verified 0 | dropped 0 | consumers 0 | head 0 | window 0 events";
    terminal.until("the live line", |terminal| terminal.out().contains(live)).await;
    let pid = terminal.out().lines().next().unwrap().trim().parse::<i32>().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::TERM)
        .unwrap();

    let ended = terminal.ended().await;

    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.out;
    let (before, after) = text.split_once(live).unwrap();
    assert!(
        before.contains("the firehose is at ws://") && !before.contains("{\"timestamp"),
        "{text}"
    );
    // Wiped before the last words of the log, which stay.
    let last = after.rsplit("\x1b[2K").next().unwrap();
    assert!(last.contains("stopped") && !last.contains("hosts 0/0"), "{text:?}");
}

/// `relay config | head -1` is no failure and no panic.
#[tokio::test]
async fn an_answer_that_nobody_reads_to_its_end_is_no_failure() {
    let place = Place::new();
    let mut pipe = Command::new("/bin/sh");
    let relay = env!("CARGO_BIN_EXE_relay");
    // The reader is gone before the first line is written.
    pipe.args(["-c", &format!("(sleep 0.2; {relay} config; echo code $? >&2) | true")]);
    let ended = place.spawn(pipe).ended().await;
    assert_eq!(ended.err, "code 0\n");
}
