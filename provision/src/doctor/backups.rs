//! The newest backup: one of `provision backup`, whose files are compared with its manifest, or a file
//! of somebody else's making. In a bucket it is seen that all files are there in full.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::Result;

use super::{Line, Patient};
use crate::backup::{self, Place};

const CHECK: &str = "backups";
const FIX: &str = "make one now, and look at the timer that should have: `systemctl list-timers`";

pub(super) async fn check(patient: &Patient) -> Line {
    let Some(dir) = &patient.backups else {
        return Line::warn(
            CHECK,
            "no place of backups is known",
            "takedowns, limits and cursors would be lost with the disk",
            "say with --backups, or PROVISION_BACKUPS in the settings, where they are",
        );
    };
    let shown = dir.display();
    let newest = match newest(dir).await {
        Ok(Some(Newest::Own(path))) => match backup::open(&path) {
            Ok(manifest) => manifest.made_ms,
            Err(error) => {
                let what = format!("{} is not whole", path.display());
                return Line::fail(CHECK, what, format!("{error:#}"), FIX);
            }
        },
        Ok(Some(Newest::File(written_ms) | Newest::Elsewhere(written_ms))) => written_ms,
        Ok(None) => {
            return Line::fail(
                CHECK,
                format!("{shown} holds no backup"),
                "none was ever made",
                FIX,
            );
        }
        Err(error) => {
            return Line::fail(CHECK, format!("{shown} cannot be read"), format!("{error:#}"), FIX);
        }
    };
    let hours = patient.now_ms.saturating_sub(newest) / 3_600_000;
    let what = format!("the newest backup in {shown} is {hours} hours old");
    if u128::from(patient.now_ms.saturating_sub(newest)) <= patient.backup_age_max.as_millis() {
        return Line::ok(CHECK, what);
    }
    Line::fail(CHECK, what, "what was decided since would be lost with the disk", FIX)
}

/// A backup as it lies there.
enum Newest {
    /// The directory of one of `provision backup`.
    Own(PathBuf),
    /// When a file was written, ms since 1970.
    File(u64),
    /// When one in a bucket was made, of which all files are there, ms since 1970.
    Elsewhere(u64),
}

async fn newest(place: &Path) -> Result<Option<Newest>> {
    match place.to_str().filter(|text| text.starts_with("s3://")) {
        Some(bucket) => {
            let newest = backup::newest_whole(&Place::parse(bucket)?).await?;
            Ok(newest.map(|backup| Newest::Elsewhere(backup.made_ms)))
        }
        None => Ok(newest_here(place)?),
    }
}

/// The newest of `provision backup`; without one, the newest file with something in it.
fn newest_here(dir: &Path) -> std::io::Result<Option<Newest>> {
    let (mut own, mut written) = (None, None);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() && backup::is_one(&entry.path()) {
            // Their names sort by time.
            own = own.max(Some(entry.path()));
        }
        if metadata.is_file() && metadata.len() > 0 {
            let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            written = written.max(u64::try_from(since.as_millis()).ok());
        }
    }
    Ok(own.map(Newest::Own).or(written.map(Newest::File)))
}
