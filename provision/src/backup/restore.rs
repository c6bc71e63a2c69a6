//! Restoring on an empty machine.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{Counts, Database, Manifest, SETTINGS, floor, open, settings};
use crate::{env_file::EnvFile, files, moment};

/// The setting below which no seq is given.
const FLOOR: &str = "RELAY_INITIAL_SEQ_NUMBER";

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// What is in the database.
    pub counts: Counts,
    /// Up to which seq the backup knew what happened.
    pub position: u64,
    /// The first seq that the relay will give.
    pub floor: u64,
}

/// Restores a backup into the empty places that the settings name, and writes the floor of the seq into
/// the settings. Settings that are not there are taken from a backup with secrets.
///
/// * `env_file` – the settings of the relay on this machine
/// * `dir` – the directory in which it runs
///
/// # Errors
/// When the backup is damaged, a place is not empty, or the settings name another kind of database.
/// Then nothing was changed.
pub async fn restore(backup: &Path, env_file: &Path, dir: &Path) -> Result<Restored> {
    let manifest = open(backup)?;
    let shown = env_file.display();
    let is_new = !env_file.exists();
    let text = if is_new { from_backup(backup, &manifest, env_file)? } else { read(env_file)? };
    if is_new {
        files::write(env_file, &text, 0o600)?;
    }
    let config = settings(env_file, dir)?;
    let database = Database::of(&config)?;
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
    let log = &config.persist_dir;
    ensure!(
        !log.exists() || fs::read_dir(log).is_ok_and(|mut files| files.next().is_none()),
        "{} is not empty; the event log of another time does not go with this database, move it away",
        log.display()
    );
    database.fill(backup).await?;
    let counts = database.counts().await?;
    ensure!(
        counts == manifest.counts,
        "the restored database holds {counts:?}, not {:?}",
        manifest.counts
    );
    let floor = above(&text, floor(&manifest, moment::now_ms()));
    files::write(env_file, &with_floor(&text, floor), 0o600)?;
    Ok(Restored { counts, position: manifest.position, floor })
}

fn read(env_file: &Path) -> Result<String> {
    let text = files::read(env_file)?;
    text.with_context(|| format!("there is no file {}", env_file.display()))
}

fn from_backup(backup: &Path, manifest: &Manifest, env_file: &Path) -> Result<String> {
    ensure!(
        manifest.has_secrets,
        "there is no file {}, and the backup holds the settings without their secrets; copy its \
         {SETTINGS} there and fill in what is missing",
        env_file.display()
    );
    read(&backup.join(SETTINGS))
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
