//! Restoring on an empty machine.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{
    Counts, Database, Identities, Manifest, floor, open,
    papers::{Papers, Placed, SETTINGS},
    plain,
};
use crate::{
    env_file::EnvFile,
    files, moment,
    told::{Tell, Told},
};

/// The setting below which no seq is given.
const FLOOR: &str = "RELAY_INITIAL_SEQ_NUMBER";

/// Where a relay is to go on.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// The settings of the relay on this machine.
    pub env_file: &'a Path,
    /// The directory in which it runs.
    pub dir: &'a Path,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What is in the database.
    pub counts: Counts,
    /// Up to which seq the backup knew what happened.
    pub position: u64,
    /// The first seq that the relay will give.
    pub floor: u64,
    /// When the backup was made, ms since 1970.
    pub made_ms: u64,
    /// Settings and secrets that were taken from the backup.
    pub files: Vec<std::path::PathBuf>,
}

/// Restores a backup into the empty places that the settings name.
///
/// The floor of the seq is written into the settings. Where there are none, they and the secrets are taken
/// from a backup with secrets.
///
/// # Errors
/// When the backup is damaged or cannot be read, a place is not empty, or the settings name another kind
/// of database. Then nothing was changed.
pub async fn restore(
    backup: &Path,
    home: Home<'_>,
    identities: &Identities,
    tell: &mut Tell<'_>,
) -> Result<Restored> {
    tell(Told::Doing("comparing digests".to_owned()));
    let manifest = open(backup)?;
    if manifest.is_sealed() {
        tell(Told::Doing("decrypting".to_owned()));
    }
    let plain = plain(backup, &manifest, identities)?;
    let placed = settings(&plain.dir, &manifest, home)?;
    let papers = Papers::read(home.env_file, home.dir)?;
    let database = Database::of(&papers.config)?;
    let shown = home.env_file.display();
    ensure!(
        database.word() == manifest.database,
        "the backup is of {}, and {shown} names a database of {}; set DATABASE_URL",
        manifest.database,
        database.word()
    );
    ensure!(
        !database.is_used().await?,
        "{database:?} holds a relay's tables already; restore into an empty place, or move them away"
    );
    let log = &papers.config.persist_dir;
    ensure!(
        !log.exists() || fs::read_dir(log).is_ok_and(|mut files| files.next().is_none()),
        "{} is not empty; the event log of another time does not go with this database, move it away",
        log.display()
    );
    tell(Told::Doing("restoring the database".to_owned()));
    database.fill(&plain.dir).await?;
    let counts = database.counts().await?;
    if counts != manifest.counts {
        database.discard().await.context("take away what is not as it should be")?;
    }
    ensure!(
        counts == manifest.counts,
        "the restored database holds {counts:?}, not {:?}; it was taken away again",
        manifest.counts
    );
    let text = files::read(home.env_file)?.unwrap_or_default();
    let floor = above(&text, floor(&manifest, moment::now_ms()));
    files::write(home.env_file, &with_floor(&text, floor), 0o600)?;
    let (position, made_ms) = (manifest.position, manifest.made_ms);
    Ok(Restored { counts, position, floor, made_ms, files: placed.keep() })
}

/// A machine without settings is given those of the backup.
fn settings(plain: &Path, manifest: &Manifest, home: Home<'_>) -> Result<Placed> {
    if home.env_file.exists() {
        return Ok(Placed::default());
    }
    ensure!(
        manifest.has_secrets,
        "there is no file {}, and the backup holds the settings without their secrets; copy its \
         {SETTINGS} there and fill in what is missing",
        home.env_file.display()
    );
    Papers::put(plain, home.env_file, home.dir)
}

/// A floor that somebody set higher stays.
fn above(text: &str, floor: u64) -> u64 {
    let set = EnvFile::new(text).value(FLOOR).and_then(|entry| entry.value.parse().ok());
    set.map_or(floor, |set: u64| set.max(floor))
}

/// The text with this floor and no other.
fn with_floor(text: &str, floor: u64) -> String {
    let is_floor = |line: &&str| {
        let name = line.trim_start().trim_start_matches("export ").split('=').next();
        name.is_some_and(|name| name.trim() == FLOOR)
    };
    let mut kept = String::with_capacity(text.len() + 128);
    kept.extend(text.lines().filter(|line| !is_floor(line)).flat_map(|line| [line, "\n"]));
    kept.push_str("# Above every number that was given before the restore.\n");
    kept.extend([format!("{FLOOR}={floor}\n")]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_replaces_a_lower_one_and_spares_a_higher_one() {
        let text = "A=1\nexport RELAY_INITIAL_SEQ_NUMBER=5\nB=2\n";
        assert_eq!(above(text, 7), 7);
        assert_eq!(above(text, 3), 5);
        let changed = with_floor(text, 7);
        assert_eq!(changed.matches(FLOOR).count(), 1, "{changed}");
        assert!(changed.starts_with("A=1\nB=2\n#"), "{changed}");
        assert!(changed.ends_with("RELAY_INITIAL_SEQ_NUMBER=7\n"), "{changed}");
    }
}
