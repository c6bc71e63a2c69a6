//! `relay log verify` and `relay log repair` as a person in trouble meets them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use relay::{
    clock::Clock,
    domain::{AccountNo, Epoch, EventKind, HostId, HostSeq, Seq},
    eventlog::{self, Entry, LogOptions},
};
use relay_protocol::Unsequenced;

use crate::program::Place;

/// Events of the log.
const EVENTS: u64 = 600;

fn entry(number: u64) -> Entry {
    Entry {
        kind: EventKind::Commit,
        account: AccountNo(number % 7 + 1),
        host: HostId(u32::try_from(number % 3).unwrap() + 1),
        epoch: Epoch(1),
        host_seq: HostSeq(number + 1),
        note: Bytes::new(),
        frame: Unsequenced {
            before: Bytes::from(format!("event {number} ")),
            after: Bytes::from(vec![b'x'; 500]),
        },
    }
}

/// A closed log of several files where the program looks for it; gives the files, oldest first.
async fn log(place: &Place) -> Vec<PathBuf> {
    let dir = place.data().join("persist");
    let options = LogOptions {
        dir: dir.clone(),
        instance_id: "here".to_owned(),
        replay_window: Duration::from_hours(1_000),
        bytes_max: Some(1 << 30),
        initial_seq: Seq(1),
        known_seq: Seq(0),
        segment_bytes: 64 << 10,
        sync_interval: Duration::ZERO,
        recent_bytes: 1_000,
        compression: 0,
    };
    let (appender, _reader) =
        eventlog::open(options, Clock::system(), Box::new(|_durable| {})).unwrap();
    for number in (0..EVENTS).step_by(20) {
        appender.append((number..number + 20).map(entry).collect()).await.unwrap();
        appender.barrier().await.unwrap();
    }
    appender.close().await;
    files(&dir, "log")
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|is| is == extension));
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// DESIGN 10.10: damage is said with file, byte, what is lost and of when; nothing is changed before a
/// person says so; afterwards the log is sound and the damaged bytes are still there.
#[tokio::test]
async fn a_damaged_log_is_explained_and_repaired_when_told() {
    let place = Place::new();
    let paths = log(&place).await;
    assert!(paths.len() > 4, "{paths:?}");

    let sound = place.run(&["log", "verify"], &[]).await;
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.out.contains(&format!("{EVENTS} events, seq 1 to {EVENTS}")), "{}", sound.out);
    let nothing = place.run(&["log", "repair", "--yes"], &[]).await;
    assert_eq!(nothing.code, Some(0), "{nothing:?}");
    assert!(nothing.out.contains("nothing to repair"), "{}", nothing.out);

    flip(&paths[2], 5_000);
    let damaged = fs::read(&paths[2]).unwrap();
    let told = place.run(&["log", "verify"], &[]).await;
    assert_eq!(told.code, Some(3), "{told:?}");
    let name = paths[2].file_name().unwrap().to_str().unwrap();
    for words in [
        name,
        ", byte ",
        "wrong checksum",
        "of account",
        "lost: ",
        "cannot be read",
        "hosts number 1, 2, 3",
    ] {
        assert!(told.out.contains(words), "{words}: {}", told.out);
    }
    let json = place.run(&["log", "verify", "--json"], &[]).await;
    assert_eq!(json.code, Some(3), "{json:?}");
    let report: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report["sound"], false);
    assert_eq!(report["files"][2]["faults"][0]["kind"], "bad_record");
    assert_eq!(report["window"][1], EVENTS);
    let oldest = report["window"][0].as_u64().unwrap();

    let planned = place.run(&["log", "repair", "--dry-run"], &[]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let refused = place.run(&["log", "repair"], &[]).await;
    assert!(refused.one_sentence().contains("--yes"), "{refused:?}");
    assert_eq!(files(&place.data().join("persist"), "log"), paths, "nothing was changed");
    for told in [planned, refused] {
        assert!(told.out.contains("set ") && told.out.contains("lost: "), "{}", told.out);
    }

    let done = place.run(&["log", "repair", "--yes"], &[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let sound = place.run(&["log", "verify"], &[]).await;
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.out.contains(&format!("seq {oldest} to {EVENTS}")), "{}", sound.out);
    assert_eq!(fs::read(paths[2].with_extension("damaged")).unwrap(), damaged);
}

/// A running relay's log is verified, and not repaired.
#[tokio::test]
async fn the_log_of_a_running_relay_is_looked_at_and_not_touched() {
    let place = Place::new();
    let mut relay = place.start(&["serve"], &[]);
    relay.up().await;
    let verified = place.run(&["log", "verify"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let refused = place.run(&["log", "repair", "--yes"], &[]).await;
    assert!(refused.one_sentence().contains("another relay runs on"), "{refused:?}");
    relay.stop().await;

    let nowhere = Place::new().run(&["log", "verify"], &[]).await;
    assert!(nowhere.one_sentence().contains("RELAY_PERSIST_DIR"), "{nowhere:?}");
}
