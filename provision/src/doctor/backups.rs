//! The newest backup.

use std::{fs, path::Path, time::UNIX_EPOCH};

use super::{Line, Patient};

const CHECK: &str = "backups";
const FIX: &str = "make one now, and look at the timer that should have: `systemctl list-timers`";

pub(super) fn check(patient: &Patient) -> Line {
    let Some(dir) = &patient.backups else {
        return Line::warn(
            CHECK,
            "no place of backups is known",
            "takedowns, limits and cursors would be lost with the disk",
            "say with --backups, or PROVISION_BACKUPS in the settings, where they are",
        );
    };
    let shown = dir.display();
    let newest = match newest_ms(dir) {
        Ok(Some(newest)) => newest,
        Ok(None) => {
            return Line::fail(
                CHECK,
                format!("{shown} holds no backup"),
                "none was ever made",
                FIX,
            );
        }
        Err(error) => {
            return Line::fail(CHECK, format!("{shown} cannot be read"), error.to_string(), FIX);
        }
    };
    let hours = patient.now_ms.saturating_sub(newest) / 3_600_000;
    let what = format!("the newest backup in {shown} is {hours} hours old");
    if u128::from(patient.now_ms.saturating_sub(newest)) <= patient.backup_age_max.as_millis() {
        return Line::ok(CHECK, what);
    }
    Line::fail(CHECK, what, "what was decided since would be lost with the disk", FIX)
}

/// When the newest file with something in it was written.
fn newest_ms(dir: &Path) -> std::io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let metadata = entry?.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            continue;
        }
        let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        newest = newest.max(u64::try_from(since.as_millis()).ok());
    }
    Ok(newest)
}
