//! `provision doctor`: every check has a case in which it fails, on real listeners, files, a real
//! Postgres and the built relay.

pub(crate) mod front;
mod inside;
mod machine;
mod network;
mod servers;

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::Result;
use provision::{
    doctor::{CHECKS, Line, Patient, Stage, State, chosen, examine},
    env_file::EnvFile,
    feed::Address,
    moment,
};

use crate::program::provision;

/// Somebody who is well, as far as a directory can be.
pub(crate) fn patient(dir: &Path, settings: &str) -> Result<Patient> {
    let file = dir.join("env");
    fs::write(&file, settings)?;
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(Patient {
        address: Address::parse("relay.example.com")?,
        stage: Stage::After,
        root: "/".into(),
        files: vec![file],
        env: EnvFile::new(settings),
        name_server: None,
        addresses: Vec::new(),
        http_port: 80,
        time_from: String::new(),
        backups: None,
        backup_age_max: Duration::from_hours(48),
        listen: Duration::from_secs(20),
        link_mbit: None,
        now_ms: moment::now_ms(),
    })
}

/// The lines of one check, each with a cause and a fix when it is not well.
pub(crate) async fn look(patient: &Patient, check: &'static str) -> Vec<Line> {
    let lines = examine(patient, check).await;
    assert!(!lines.is_empty(), "{check} says nothing");
    for line in &lines {
        let told = !line.cause.is_empty() && !line.fix.is_empty();
        assert!(line.check == check && told != (line.state == State::Ok), "{line:?}");
    }
    lines
}

/// The one line of a check that has this state.
pub(crate) async fn one(patient: &Patient, check: &'static str, state: State) -> Line {
    let lines = look(patient, check).await;
    let found: Vec<&Line> = lines.iter().filter(|line| line.state == state).collect();
    assert_eq!(found.len(), 1, "{state:?} {check}: {lines:?}");
    found[0].clone()
}

/// Wrong usage is told with what there is; a machine that is not ready ends with 1, and says why in JSON.
#[test]
fn what_failed_is_in_the_exit_code_and_in_json() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let env = dir.path().join("env").display().to_string();
    let base = ["doctor", "--env", &env];
    let nobody = provision(&base);
    assert!(nobody.code == Some(2) && nobody.err.contains("PROVISION_HOST"), "{nobody:?}");
    let unknown = provision(&[&base[..], &["relay.example.com", "--only", "moon"]].concat());
    assert!(unknown.code == Some(2) && unknown.err.contains("websocket"), "{unknown:?}");
    let wrong = provision(&[&base[..], &["relay.example.com", "--listen", "long"]].concat());
    assert!(wrong.code == Some(2) && wrong.err.contains("30s"), "{wrong:?}");

    let bad = ["relay.example.com", "--only", "settings,backups"];
    let text = provision(&[&base[..], &bad[..]].concat());
    assert!(text.code == Some(1) && text.out.contains("FAIL settings   there is no "), "{text:?}");
    assert!(text.out.contains("do:  provision init HOST"), "{text:?}");
    let json = provision(&[&base[..], &bad[..], &["--json"]].concat()).json();
    assert!(json["worst"] == "fail" && json["lines"][1]["state"] == "warn", "{json}");

    fs::write(dir.path().join("env"), "PROVISION_HOST=relay.example.com\n")?;
    let warned = provision(&[&base[..], &["--only", "backups"]].concat());
    assert!(
        warned.code == Some(0) && warned.out.contains("0 ok, 1 to look at, 0 failed"),
        "{warned:?}"
    );
    Ok(())
}

/// The list names every check, and each is for after; what needs a relay is not made before.
#[test]
fn checks_are_for_before_or_after() {
    let listed = provision(&["doctor", "--list"]);
    let names: BTreeSet<&str> =
        listed.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let after = chosen(Stage::After, &[]).expect("no name is wrong");
    assert_eq!(names, after.iter().copied().collect());
    assert_eq!(after.len(), CHECKS.len());
    let before = chosen(Stage::Before, &[]).expect("no name is wrong");
    assert!(before.contains(&"postgres") && !before.contains(&"live"), "{before:?}");
}
