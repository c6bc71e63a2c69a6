//! `provision upgrade --check` between the built relay and ones that differ from it in one thing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use relay_simnet::Net;
use serde_json::Value;

use crate::{
    binaries,
    process::{RelayProcess, Setup},
    program,
};

/// The built relay, with what it says to one verb changed by this script of `sed`.
fn other_relay(dir: &Path, name: &str, changes: &[(&str, &str)]) -> Result<PathBuf> {
    let relay = binaries::relay()?;
    let relay = relay.display();
    let mut script = "#!/bin/sh\ncase \"$1\" in\n".to_owned();
    for (verb, change) in changes {
        script.extend([format!("{verb}) \"{relay}\" \"$@\" | sed -e '{change}' ;;\n")]);
    }
    script.extend([format!("*) exec \"{relay}\" \"$@\" ;;\nesac\n")]);
    let path = dir.join(name);
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Runs the check in a directory; gives exit code and findings.
async fn check(from: &Path, to: &Path, env: &Path, dir: &Path) -> Result<(Option<i32>, Value)> {
    let text = |path: &Path| path.display().to_string();
    let (from, to, env, dir) = (text(from), text(to), text(env), text(dir));
    let words = ["upgrade", "--check", "--from", &from, "--to", &to, "--env", &env, "--dir", &dir];
    let ended = program::run(&[&words[..], &["--json"]].concat()).await?;
    let report = serde_json::from_str(&ended.out).with_context(|| format!("{ended:?}"))?;
    Ok((ended.code, report))
}

/// The findings of a weight, as text.
fn of_weight(report: &Value, weight: &str) -> Vec<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    findings
        .filter(|finding| finding["weight"] == weight)
        .map(|finding| format!("{} | {}", finding["what"], finding["advice"]))
        .collect()
}

/// The same version again changes nothing, and asking makes no database.
#[tokio::test]
async fn the_same_relay_changes_nothing_and_nothing_is_written() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let env = dir.path().join("env");
    fs::write(&env, "RELAY_CONTACT=mailto:ops@example.com\nRELAY_DATA_DIR=data\n")?;
    let relay = binaries::relay()?;
    let (code, report) = check(&relay, &relay, &env, dir.path()).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["from"], report["to"]);
    let notes = of_weight(&report, "note");
    assert!(notes.len() == 1 && notes[0].contains("no tables yet"), "{report}");
    let left: Vec<_> = fs::read_dir(dir.path())?.collect::<Result<_, _>>()?;
    assert_eq!(left.len(), 1, "only the settings: {left:?}");
    Ok(())
}

/// An operator sees before the upgrade what would surprise afterwards: a name that is gone, a default
/// that is another, a new setting, and tables from which there is no way back.
#[tokio::test]
async fn what_a_new_version_changes_is_told_before() -> Result<()> {
    let net = Net::seeded(401).await?;
    let old = binaries::relay()?;
    let setup = Setup { binary: Some(old.clone()), ..Setup::default() };
    let relay = RelayProcess::start(&net, setup).await?;
    let dir = tempfile::tempdir()?;
    let env = dir.path().join("env");
    let data = relay.data();
    let settings = format!("RELAY_CONTACT=mailto:a@b.example\nRELAY_DATA_DIR={}\n", data.display());
    fs::write(&env, settings)?;
    let new_setting =
        r"s/^Hosts:$/Hosts:\n      --fresh <N>  Something new. [RELAY_FRESH; default 7]/";
    let new = other_relay(
        dir.path(),
        "new",
        &[
            ("--help", &format!("s/RELAY_CONTACT/RELAY_OPERATOR/; {new_setting}")),
            ("config", "s/^replay_window = \"72h\"/replay_window = \"48h\"/"),
            (
                "tables",
                "s/^known = [0-9]*/known = 90/; s/^readable_from_known = [0-9]*/readable_from_known = 90/",
            ),
        ],
    )?;

    let (code, report) = check(&old, &new, &env, dir.path()).await?;
    assert_eq!(code, Some(1), "{report}");
    let troubles = of_weight(&report, "trouble").join("\n");
    assert!(troubles.contains("RELAY_CONTACT is set"), "{report}");
    assert!(troubles.contains("no way back"), "{report}");
    let changes = of_weight(&report, "change").join("\n");
    assert!(changes.contains("replay_window becomes") && changes.contains("48h"), "{report}");
    assert!(changes.contains("to 90") && changes.contains("backup"), "{report}");
    let notes = of_weight(&report, "note").join("\n");
    assert!(notes.contains("RELAY_FRESH (7): Something new."), "{report}");

    let (code, back) = check(&new, &old, &env, dir.path()).await?;
    assert_eq!(code, Some(0), "the way back of the settings alone: {back}");
    Ok(())
}

/// A setting that the new relay refuses is told in the relay's own words, before it refuses it.
#[tokio::test]
async fn a_setting_that_is_refused_is_told_in_the_words_of_the_relay() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let env = dir.path().join("env");
    fs::write(&env, "RELAY_SHARDS=1000\n")?;
    let relay = binaries::relay()?;
    let (code, report) = check(&relay, &relay, &env, dir.path()).await?;
    assert_eq!(code, Some(1), "{report}");
    let troubles = of_weight(&report, "trouble").join("\n");
    assert!(troubles.contains("RELAY_SHARDS") && troubles.contains("256"), "{report}");

    let text = |path: &Path| path.display().to_string();
    let words = ["upgrade", "--check", "--from", &text(&relay), "--to", "/bin/true"];
    let ended = program::run(&words).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.notes.contains("is it a relay?"), "{ended:?}");
    assert_eq!(program::run(&["upgrade", "--to", "x"]).await?.code, Some(2), "without --check");
    Ok(())
}
