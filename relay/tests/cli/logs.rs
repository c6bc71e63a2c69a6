//! How logs look: JSON where nobody watches, text and a live line on a terminal.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{Place, client, system};

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
    let mut script = system("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]).env("SHELL", "/bin/sh");
    for name in ["RELAY_API_BIND", "RELAY_ADMIN_BIND", "RELAY_METRICS_LISTEN"] {
        script.env(name, "127.0.0.1:0");
    }
    let mut terminal = place.spawn(script);
    let live =
        "hosts 0/0 | 0 events/s | verified 0 | dropped 0 | consumers 0 | head 0 | window 0 events";
    terminal.until("the live line", |terminal| terminal.out().contains(live)).await;
    let pid = terminal.out().lines().next().unwrap().trim().parse::<i32>().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();

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
#[test]
fn an_answer_that_nobody_reads_to_its_end_is_no_failure() {
    let place = Place::new();
    // The reader is gone before the first line is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut relay = Command::new(env!("CARGO_BIN_EXE_relay"));
    relay.arg("config").env_clear().current_dir(place.path()).stdout(writer);
    let ended = relay.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert!(ended.status.success(), "{ended:?}");
}

/// What reads the log may end before the relay: it goes on and ends as always.
#[tokio::test]
async fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let place = Place::new();
    let mut shell = system("sh");
    let relay = env!("CARGO_BIN_EXE_relay");
    // `head` is gone after the first line, which names the address.
    let script =
        format!("(sh -c 'echo $$ > pid; exec {relay}'; echo code $? > code) 2>&1 | head -1");
    shell.args(["-c", &script]).env("RELAY_LOG_FORMAT", "text");
    for name in ["RELAY_API_BIND", "RELAY_ADMIN_BIND", "RELAY_METRICS_LISTEN"] {
        shell.env(name, "127.0.0.1:0");
    }
    let mut shell = place.spawn(shell);
    shell.until("the first line", |shell| shell.out().contains("/xrpc/")).await;
    let out = shell.out();
    let api = out.split_once("ws://").unwrap().1.split_once('/').unwrap().0;

    // Each is a line of the log that cannot be written.
    for _ in 0..3 {
        let url = format!("http://{api}/xrpc/com.atproto.sync.requestCrawl");
        let body = serde_json::json!({ "hostname": "pds.test" });
        assert_eq!(client().post(url).json(&body).send().await.unwrap().status(), 400);
    }
    let pid = std::fs::read_to_string(place.path().join("pid")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    shell.ended().await;
    let code = std::fs::read_to_string(place.path().join("code")).unwrap();
    assert_eq!(code, "code 0\n");
}
