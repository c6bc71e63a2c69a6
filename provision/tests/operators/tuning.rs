//! `provision tune` writes what the relay, Postgres and the kernel really take.

use std::{collections::BTreeMap, fs, path::Path};

use provision::{env_file::EnvFile, sizing};
use relay::config::{Config, Flags};

use crate::{
    postgres::Cluster,
    program::{Said, in_repository, mode, provision},
};

/// Runs it for one of the example machines below a root.
fn tune(root: &Path, machine: &str, more: &[&str]) -> Said {
    let facts = in_repository(&format!("provision/tests/machines/{machine}.json"));
    let (facts, root) = (facts.display().to_string(), root.display().to_string());
    let mut arguments = vec!["tune", "--facts", &facts, "--root", &root];
    arguments.extend(more);
    provision(&arguments)
}

const WITH_POSTGRES: [&str; 3] = ["--database", "postgres", "--write"];

fn written(root: &Path) -> BTreeMap<String, String> {
    let mut left = vec![root.to_path_buf()];
    let mut found = BTreeMap::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").path()),
            );
        } else {
            let name = path.strip_prefix(root).expect("below").display().to_string();
            found.insert(name, fs::read_to_string(&path).expect("a text"));
        }
    }
    found
}

/// A setting that the relay does not know would be a warning at every start, and no tuning.
#[test]
fn every_setting_that_tune_writes_is_one_of_the_relay() {
    let example = fs::read_to_string(in_repository("env.example")).expect("env.example");
    let root = tempfile::tempdir().expect("a directory");
    let said = tune(root.path(), "ovh-advance-1", &WITH_POSTGRES);
    assert_eq!(said.code, Some(0), "{said:?}");
    let env = &written(root.path())["etc/relay/env"];
    let entries = EnvFile::new(env.clone()).all();
    assert_eq!(entries.len(), 10, "{env}");
    for entry in &entries {
        assert!(example.contains(&format!("\n#{}=", entry.name)), "{}", entry.name);
    }
    let pairs: Vec<(String, String)> =
        entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
    let config = Config::load(&Flags::default(), &pairs, root.path()).expect("the relay takes it");
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert_eq!((config.shards, config.database_connections), (5, 11));
}

/// Postgres starts with the file, and has every value that the person was shown.
#[test]
fn postgres_takes_every_value() {
    let Some(cluster) = Cluster::start() else { return };
    let root = tempfile::tempdir().expect("a directory");
    tune(root.path(), "small-vps", &WITH_POSTGRES);
    let text = &written(root.path())["etc/relay/postgresql.conf"];
    let data = cluster.sql("postgres", "SHOW data_directory");
    let data = Path::new(&data);
    // The server of the tests has its own of these two on its command line.
    let lines = text.lines().filter(|line| !line.starts_with("max_connections = "));
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("shared_buffers = ")).collect();
    let config = data.join("postgresql.conf");
    let old = fs::read_to_string(&config).expect("its settings");
    fs::write(&config, format!("{old}\n{}\n", lines.join("\n"))).expect("write its settings");
    cluster.stop();
    cluster.resume();
    let wrong = "SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL \
                 AND name NOT IN ('max_connections', 'shared_buffers')";
    assert_eq!(cluster.sql("postgres", wrong), "");
    let mut checked = 0;
    for line in lines.iter().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.split_once(" = ").expect("a setting");
        // Compared by the server, which knows that 512MB are 65536 pages.
        let sql = format!(
            "SELECT set_config('{name}', {value}, true) = before FROM \
             (SELECT current_setting('{name}') AS before) AS it"
        );
        let fixed = format!(
            "SELECT context IN ('postmaster', 'sighup') FROM pg_settings WHERE name = '{name}'"
        );
        let same = if cluster.sql("postgres", &fixed) == "t" {
            let shown = cluster.sql("postgres", &format!("SHOW {name}"));
            shown_alike(&shown, value)
        } else {
            cluster.sql("postgres", &sql) == "t"
        };
        assert!(same, "{line}: it has {}", cluster.sql("postgres", &format!("SHOW {name}")));
        checked += 1;
    }
    assert!(checked > 15, "{text}");
}

/// `1GB` is `1024MB`, `1min` is `60s`.
fn shown_alike(shown: &str, written: &str) -> bool {
    let units = [("GB", 1024.0), ("MB", 1.0), ("min", 60.0), ("s", 1.0)];
    let number = |text: &str| {
        let text = text.trim_matches('\'');
        let found =
            units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let (digits, factor) = found.unwrap_or((text, &1.0));
        digits.parse::<f64>().ok().map(|number| number * factor)
    };
    match (number(shown), number(written)) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        _ => shown == written.trim_matches('\''),
    }
}

/// A misspelt name in sysctl.d is ignored by the kernel without a word that anybody reads.
#[test]
fn the_kernel_knows_every_name() {
    let root = tempfile::tempdir().expect("a directory");
    tune(root.path(), "ovh-advance-1", &WITH_POSTGRES);
    let files = written(root.path());
    let text = &files["etc/sysctl.d/60-relay.conf"];
    let mut checked = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.split_once(" = ").expect("a setting");
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let Ok(now) = fs::read_to_string(&path) else {
            // A container does not see what belongs to the whole machine.
            assert!(name.starts_with("net.core."), "{name}: {} is missing", path.display());
            continue;
        };
        let (fields, numbers) = (value.split_whitespace(), now.split_whitespace().count());
        assert_eq!(fields.count(), numbers, "{line}: now {now}");
        checked += 1;
    }
    assert!(checked >= 10, "{text}");
}

/// Tuning again changes nothing, and says so; what has to be restarted is named.
#[test]
fn writing_twice_changes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let first = tune(root.path(), "ovh-advance-2-le", &WITH_POSTGRES);
    assert!(first.out.contains("made           ") && first.out.contains("sysctl --system"));
    let files = written(root.path());
    assert_eq!(files.len(), 4, "{files:?}");
    assert_eq!(mode(&root.path().join("etc/relay/env")), 0o600);
    let second = tune(root.path(), "ovh-advance-2-le", &WITH_POSTGRES);
    assert_eq!(second.out.matches("unchanged      ").count(), 4, "{second:?}");
    assert_eq!(written(root.path()), files);
    let unit = &files["etc/systemd/system/relay.service.d/50-tune.conf"];
    let (of_unit, of_service) = unit.split_once("[Service]").expect("two sections");
    assert!(of_unit.contains("[Unit]") && of_unit.contains("\nRequiresMountsFor=/data/relay\n"));
    assert!(of_service.contains("\nLimitNOFILE=65536\n") && of_service.contains("\nMemoryMax="));
}

/// An operator's own value stays, and the operator is told what the plan would have been.
#[test]
fn a_value_set_by_hand_stays_and_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let env = root.path().join("etc/relay/env");
    fs::create_dir_all(env.parent().expect("a directory")).expect("make it");
    fs::write(&env, "# mine\nRELAY_SHARDS=3\nRELAY_EVENT_PLAYBACK_TTL=24h\n").expect("write");
    let said = tune(root.path(), "ovh-advance-2-le", &WITH_POSTGRES);
    assert!(said.out.contains("RELAY_SHARDS = 3 in line 2, where the plan is 5"), "{said:?}");
    let text = fs::read_to_string(&env).expect("read");
    assert!(text.starts_with("# mine\nRELAY_SHARDS=3\n") && !text.contains("RELAY_SHARDS=5"));
    // The window is the operator's: the log's limit follows it.
    assert!(!text.contains("RELAY_REPLAY_WINDOW"), "{text}");
    let day = EnvFile::new(text).value("RELAY_REPLAY_MAX_BYTES").expect("a limit").value;
    assert_eq!(day, "246GiB");
    let other = tune(root.path(), "ovh-advance-2-le", &["--window", "72h", "--write"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.err.contains("RELAY_EVENT_PLAYBACK_TTL is 24h in line 3"), "{other:?}");
}

/// A window that does not fit is refused with one that does, and nothing is written.
#[test]
fn a_window_that_the_disk_cannot_hold_is_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let long = tune(root.path(), "small-vps", &["--window", "72h", "--write"]);
    assert_eq!((long.code, written(root.path()).len()), (Some(1), 0), "{long:?}");
    let (_, rest) = long.out.split_once("provision tune --window ").expect("a command to type");
    let fitting = rest.split(['`', ',']).next().expect("a window");
    assert_eq!(tune(root.path(), "small-vps", &["--window", fitting]).code, Some(0), "{fitting}");
    let hours: u64 = fitting.trim_end_matches('h').parse().expect("hours");
    let longer = format!("{}h", hours + 1);
    assert_eq!(tune(root.path(), "small-vps", &["--window", &longer]).code, Some(1), "{longer}");
}

/// A dry run says what would be written, and writes nothing.
#[test]
fn a_dry_run_writes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let said = tune(root.path(), "ovh-advance-1", &["--write", "--dry-run", "--json"]);
    let answer = said.json();
    let files = answer["written"]["files"].as_array().expect("files");
    assert!(files.len() == 3 && files.iter().all(|file| file["change"] == "made"), "{files:?}");
    assert_eq!(written(root.path()).len(), 0);
}

/// Two clusters of Postgres: guessing would tune the wrong one.
#[test]
fn of_two_postgres_clusters_one_must_be_named() {
    let root = tempfile::tempdir().expect("a directory");
    let conf = |version| format!("etc/postgresql/{version}/main/conf.d");
    fs::create_dir_all(root.path().join(conf("15"))).expect("make it");
    let one = tune(root.path(), "ovh-advance-1", &WITH_POSTGRES);
    assert!(one.code == Some(0) && one.out.contains("15/main/conf.d/50-relay.conf"), "{one:?}");
    fs::create_dir_all(root.path().join(conf("17"))).expect("make it");
    let two = tune(root.path(), "ovh-advance-1", &WITH_POSTGRES);
    assert!(two.code == Some(1) && two.err.contains("--postgres-conf"), "{two:?}");
}

/// This machine: it is measured, and the facts that it prints can be used elsewhere.
#[test]
fn the_facts_of_this_machine_can_be_carried_elsewhere() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().display().to_string();
    let place = ["--root", &path, "--path", &path];
    let said = provision(&[&["tune", "--print-facts", "--link-mbit", "100"], &place[..]].concat());
    let facts = said.json();
    assert!(facts["disk"]["syncs_per_s"].as_u64() > Some(0) && said.err.contains("three seconds"));
    let file = root.path().join("machine.json");
    fs::write(&file, &said.out).expect("write");
    let file = file.display().to_string();
    let again = provision(&["tune", "--facts", &file, "--root", &path, "--json", "--window", "1h"]);
    assert_eq!(again.json()["facts"], facts, "{again:?}");
}

/// Slips are told with what is allowed, and end with 2; a file that is none with 1.
#[test]
fn wrong_usage_is_told_with_what_is_allowed() {
    let root = tempfile::tempdir().expect("a directory");
    for (more, said) in [
        (&["--window", "soon"][..], "72h"),
        (&["--now", "tomorrow"], "2027-01-31"),
        (&["--database", "mysql"], "elsewhere"),
        (&["--monthly-traffic", "much"], "20TB"),
        (&["--growth", "1000"], "0..=100"),
    ] {
        let answer = tune(root.path(), "small-vps", more);
        assert!(answer.code == Some(2) && answer.err.contains(said), "{more:?}: {answer:?}");
    }
    // Told at once, not after the machine was measured.
    let measuring = ["tune", "--root", &root.path().display().to_string(), "--window", "soon"];
    let answer = provision(&measuring);
    assert!(answer.code == Some(2) && !answer.err.contains("measuring"), "{answer:?}");
    let none = provision(&["tune", "--facts", "Cargo.toml"]);
    assert!(none.code == Some(1) && none.err.contains("--print-facts"), "{none:?}");
}

/// A price that nobody wrote down is not made up, and every price says when it was said.
#[test]
fn the_cost_guide_is_dated() {
    for cost in sizing::guide() {
        assert!(cost.said.starts_with("20") && !cost.source.is_empty(), "{cost:?}");
        assert!(cost.monthly.is_none_or(|price| price.starts_with('$')), "{cost:?}");
    }
}
