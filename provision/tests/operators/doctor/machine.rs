//! Settings, disk, limits, kernel and backups: files as a machine has them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::Result;
use provision::doctor::State;

use super::{look, one, patient};
use crate::program::provision;

fn write(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    Ok(fs::write(path, text)?)
}

/// The kernel's files of a small machine whose root is mounted so.
fn kernel(root: &Path, filesystem: &str, options: &str) -> Result<()> {
    write(root, "proc/self/status", "Cpus_allowed_list:\t0-3\n")?;
    write(root, "proc/meminfo", "MemTotal: 16000000 kB\nSwapTotal: 0 kB\n")?;
    let mount = format!("26 1 8:1 / / {options} shared:1 - {filesystem} /dev/sda1 rw\n");
    write(root, "proc/self/mountinfo", &mount)
}

const GOOD: &str = "ENVIRONMENT=production\nRELAY_CONTACT=mailto:ops@example.com\n";

/// What the relay would refuse, ignore or leak is told before it starts.
#[tokio::test]
async fn settings_that_are_wrong_or_readable_are_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut well = patient(dir.path(), GOOD)?;
    one(&well, "settings", State::Ok).await;
    let file = dir.path().join("env");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let line = one(&well, "settings", State::Fail).await;
    assert!(line.what.contains("0644") && line.fix.contains("chmod 600"), "{line:?}");
    well.files = vec![dir.path().join("nothing")];
    let line = one(&well, "settings", State::Fail).await;
    assert!(line.fix.contains("provision init"), "{line:?}");

    let wrong = patient(dir.path(), &format!("{GOOD}RELAY_SHARDS=many\n"))?;
    let line = one(&wrong, "settings", State::Fail).await;
    assert!(line.cause.contains("shards is \"many\""), "{line:?}");
    let odd = patient(dir.path(), &format!("{GOOD}RELAY_SHARD=2\n"))?;
    let line = one(&odd, "settings", State::Warn).await;
    assert!(line.what.contains("did you mean RELAY_SHARDS"), "{line:?}");
    let bare = patient(dir.path(), "A=b\n")?;
    let lines = look(&bare, "settings").await;
    assert!(lines.len() == 2 && lines[0].what.contains("RELAY_CONTACT"), "{lines:?}");
    Ok(())
}

/// What `init` writes is well.
#[test]
fn what_init_wrote_passes_the_check_of_settings() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (place, env) = (dir.path().display().to_string(), dir.path().join("env"));
    provision(&["init", "relay.example.com", "--contact", "mailto:a@b.example", "--dir", &place]);
    let env = env.display().to_string();
    let said = provision(&["doctor", "--before", "--env", &env, "--only", "settings", "--json"]);
    let answer = said.json();
    assert!(answer["worst"] == "ok" && answer["host"] == "relay.example.com", "{said:?}");
    Ok(())
}

/// A window that this machine's disk cannot hold.
#[tokio::test]
async fn a_machine_that_is_too_small_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().display();
    let patient =
        patient(dir.path(), &format!("RELAY_DATA_DIR={data}\nRELAY_REPLAY_WINDOW=8760h\n"))?;
    let lines = look(&patient, "machine").await;
    let refused = lines.iter().find(|line| line.state == State::Fail);
    let refused = refused.expect("a refusal");
    assert!(refused.what.contains("a window of 8760h takes 76.8 TB"), "{lines:?}");
    Ok(())
}

/// Mount options that lose data, and those that only cost.
#[tokio::test]
async fn mount_options_are_judged() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (filesystem, options, state, words) in [
        ("xfs", "ro,noatime", State::Fail, "read-only"),
        ("xfs", "rw,noatime,nobarrier", State::Fail, "without barriers"),
        ("xfs", "rw,relatime", State::Warn, "without noatime"),
        ("ext4", "rw,noatime", State::Warn, "not XFS"),
    ] {
        kernel(dir.path(), filesystem, options)?;
        let mut patient = patient(dir.path(), "RELAY_DATA_DIR=/\n")?;
        patient.root = dir.path().to_path_buf();
        let lines = look(&patient, "disk").await;
        let found = lines.iter().find(|line| line.state == state && line.what.contains(words));
        assert!(found.is_some(), "{filesystem} {options}: {lines:?}");
    }
    // How full this disk is belongs to the machine of the test.
    kernel(dir.path(), "xfs", "rw,noatime")?;
    let mut patient = patient(dir.path(), "RELAY_DATA_DIR=/\n")?;
    patient.root = dir.path().to_path_buf();
    let lines = look(&patient, "disk").await;
    assert!(lines.iter().all(|line| line.what.contains("free")), "{lines:?}");
    Ok(())
}

/// A disk that is full says so before the relay stops reading.
#[tokio::test]
async fn a_full_disk_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // Of a file system that can hold nothing, nothing is free.
    let patient = patient(dir.path(), "RELAY_DATA_DIR=/sys\n")?;
    let lines = look(&patient, "disk").await;
    assert!(lines.iter().any(|line| line.what.contains("0 % of /sys")), "{lines:?}");
    Ok(())
}

/// The limit of the process that runs counts, then that of its unit.
#[tokio::test]
async fn a_low_limit_of_open_files_is_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = dir.path();
    let unit = "etc/systemd/system/relay.service.d/50-tune.conf";
    let mut patient = patient(root, GOOD)?;
    patient.root = root.to_path_buf();
    write(root, unit, "[Service]\nLimitNOFILE=1024\n")?;
    let line = one(&patient, "limits", State::Fail).await;
    assert!(line.what.contains("the relay's unit may open 1,024"), "{line:?}");
    write(root, unit, "[Service]\nLimitNOFILE=65536\n")?;
    one(&patient, "limits", State::Ok).await;
    write(root, "proc/7/comm", "relay\n")?;
    write(
        root,
        "proc/7/limits",
        "Max open files            4096                 65536      files\n",
    )?;
    let line = one(&patient, "limits", State::Fail).await;
    assert!(line.what.contains("the running relay may open 4,096"), "{line:?}");
    Ok(())
}

/// What `tune` would set and is not set is named with its value; more than planned is fine.
#[tokio::test]
async fn settings_of_the_kernel_are_compared_with_the_plan() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let root = dir.path();
    kernel(root, "xfs", "rw,noatime")?;
    write(root, "proc/sys/net/core/somaxconn", "65535\n")?;
    write(root, "proc/sys/vm/swappiness", "10\n")?;
    let mut patient = patient(root, "RELAY_DATA_DIR=/\n")?;
    patient.root = root.to_path_buf();
    let line = one(&patient, "kernel", State::Ok).await;
    assert!(line.what.starts_with("2 settings"), "{line:?}");
    write(root, "proc/sys/vm/swappiness", "60\n")?;
    let line = one(&patient, "kernel", State::Warn).await;
    assert!(line.what.contains("vm.swappiness is 60, not 10"), "{line:?}");
    assert!(line.fix.contains("sysctl --system"), "{line:?}");
    Ok(())
}

/// No backup, none that is new, none that has anything in it.
#[tokio::test]
async fn missing_and_old_backups_are_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let place = dir.path().join("backups");
    let mut patient = patient(dir.path(), "")?;
    let line = one(&patient, "backups", State::Warn).await;
    assert!(line.fix.contains("--backups"), "{line:?}");
    patient.backups = Some(place.clone());
    let line = one(&patient, "backups", State::Fail).await;
    assert!(line.what.contains("cannot be read"), "{line:?}");
    fs::create_dir(&place)?;
    fs::write(place.join("broken"), "")?;
    let line = one(&patient, "backups", State::Fail).await;
    assert!(line.what.contains("holds no backup"), "{line:?}");
    fs::write(place.join("relay.dump"), "dump")?;
    patient.now_ms = provision::moment::now_ms();
    one(&patient, "backups", State::Ok).await;
    patient.now_ms += u64::try_from(Duration::from_hours(50).as_millis())?;
    let line = one(&patient, "backups", State::Fail).await;
    assert!(line.what.contains("50 hours old"), "{line:?}");
    Ok(())
}
