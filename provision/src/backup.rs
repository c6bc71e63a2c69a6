//! Backups of a relay: what cannot be had again, which is the database with hosts, their cursors,
//! accounts and decisions, and the settings.
//!
//! The event log is not part of it: hosts send again what they still keep, and consumers are told what
//! is missing. What must never happen is that a seq is used twice; so a restored relay begins far above
//! every seq that can have been given since ([`floor`]).
//!
//! A backup is a directory with a manifest that names each file and its digest. It has its name only
//! when it is whole. The relay may run meanwhile.

mod database;
mod restore;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use relay::config::{Config, Flags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{env_file::EnvFile, files, moment};

pub use database::{Counts, Database};
pub use restore::{Restored, restore};

/// The form of the manifest.
const FORMAT: u32 = 1;
/// How the directories of backups begin.
const PREFIX: &str = "relay-";
const MANIFEST: &str = "manifest.json";
const SETTINGS: &str = "settings.env";
/// More seqs than any relay can give in a second.
const SEQS_PER_SECOND: u64 = 100_000;
/// Seqs above that, for a clock that was set back.
const SEQS_MARGIN: u64 = 1_000_000;
/// Names whose values are secrets, besides what the relay calls so itself.
const SECRET_WORDS: [&str; 4] = ["PASSWORD", "KEY", "TOKEN", "SECRET"];

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The form of this file.
    pub format: u32,
    /// What made it.
    pub made_by: String,
    /// When, ms since 1970.
    pub made_ms: u64,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// Up to which seq the database knows what happened.
    pub position: u64,
    /// What is in the database.
    pub counts: Counts,
    /// Whether the settings hold their secrets.
    pub has_secrets: bool,
    /// SHA-256 of each file, in hexadecimal.
    pub files: BTreeMap<String, String>,
}

/// The first seq of a relay that is restored at this moment: above everything that any consumer can have
/// seen since the backup.
#[must_use]
pub fn floor(manifest: &Manifest, now_ms: u64) -> u64 {
    let seconds = now_ms.saturating_sub(manifest.made_ms).div_ceil(1_000);
    let since = seconds.saturating_mul(SEQS_PER_SECOND);
    manifest.position.saturating_add(since).saturating_add(SEQS_MARGIN)
}

/// The settings of a relay as it would read them.
///
/// * `env_file` – the file with its environment
/// * `dir` – the directory in which it runs
///
/// # Errors
/// When the file cannot be read, or the relay would refuse it.
pub fn settings(env_file: &Path, dir: &Path) -> Result<Config> {
    let text = files::read(env_file)?;
    let text = text.with_context(|| format!("there is no file {}", env_file.display()))?;
    let entries = EnvFile::new(text).all().into_iter();
    let env: Vec<_> = entries.map(|entry| (entry.name, entry.value)).collect();
    Config::load(&Flags::default(), &env, dir)
        .with_context(|| format!("read the settings {}", env_file.display()))
}

/// Makes a backup; gives its directory and manifest.
///
/// * `to` – the directory of all backups
/// * `keep` – how many are kept there; the oldest are removed
///
/// # Errors
/// When the database cannot be read or the directory cannot be written.
pub async fn make(
    env_file: &Path,
    dir: &Path,
    to: &Path,
    (keep, with_secrets): (usize, bool),
) -> Result<(PathBuf, Manifest)> {
    let config = settings(env_file, dir)?;
    let database = Database::of(&config)?;
    let made_ms = moment::now_ms();
    let name = format!("{PREFIX}{made_ms:015}");
    let (partial, whole) = (to.join(format!(".{name}.partial")), to.join(&name));
    private_directory(&partial)?;
    let made = async {
        let (counts, position) = database.dump(&partial).await?;
        let text = files::read(env_file)?.unwrap_or_default();
        let text = if with_secrets { text } else { without_secrets(&text) };
        files::write(&partial.join(SETTINGS), &text, 0o600)?;
        let mut digests = BTreeMap::new();
        for file in [database.file(), SETTINGS] {
            digests.insert(file.to_owned(), digest(&partial.join(file))?);
        }
        let manifest = Manifest {
            format: FORMAT,
            made_by: concat!("provision/", env!("CARGO_PKG_VERSION")).to_owned(),
            made_ms,
            database: database.word().to_owned(),
            position,
            counts,
            has_secrets: with_secrets,
            files: digests,
        };
        let text = serde_json::to_string_pretty(&manifest).context("write the manifest")?;
        files::write(&partial.join(MANIFEST), &format!("{text}\n"), 0o600)?;
        sync(&partial)?;
        fs::rename(&partial, &whole).with_context(|| format!("name {}", whole.display()))?;
        anyhow::Ok(manifest)
    };
    match made.await {
        Ok(manifest) => {
            retain(to, keep)?;
            Ok((whole, manifest))
        }
        Err(error) => {
            fs::remove_dir_all(&partial).context("remove the half backup")?;
            Err(error)
        }
    }
}

/// Reads a backup's manifest and compares every file with it.
///
/// # Errors
/// When something is missing or was changed.
pub fn open(backup: &Path) -> Result<Manifest> {
    let shown = backup.display();
    let text = files::read(&backup.join(MANIFEST))?;
    let text = text.with_context(|| format!("{shown} is no backup: it has no {MANIFEST}"))?;
    let manifest: Manifest =
        serde_json::from_str(&text).with_context(|| format!("read {MANIFEST} of {shown}"))?;
    ensure!(
        manifest.format == FORMAT,
        "{shown} has the form {}, this program reads {FORMAT}; use the one that made it: {}",
        manifest.format,
        manifest.made_by
    );
    for (name, expected) in &manifest.files {
        let found = digest(&backup.join(name))?;
        ensure!(found == *expected, "{name} of {shown} is damaged: its digest is {found}");
    }
    Ok(manifest)
}

/// Restores a backup into a scratch database and counts what is there.
///
/// * `scratch` – an empty database of Postgres, for a backup of one; a SQLite backup needs none
///
/// # Errors
/// When the backup is damaged, cannot be restored, or holds something else than it says.
pub async fn verify(backup: &Path, scratch: Option<&str>) -> Result<Manifest> {
    let manifest = open(backup)?;
    let place = tempfile::tempdir().context("make a directory for the scratch database")?;
    let database = match (manifest.database.as_str(), scratch) {
        ("sqlite", _) => Database::Sqlite(place.path().join("scratch.sqlite")),
        ("postgres", Some(url)) => Database::parse(url)?,
        ("postgres", None) => bail!(
            "a backup of Postgres is verified in an empty database of it: give --scratch \
             postgres://USER:PASSWORD@HOST/DATABASE"
        ),
        (other, _) => bail!("the backup is of a database `{other}`, which is not known here"),
    };
    database.fill(backup).await?;
    let found = database.counts().await?;
    let expected = manifest.counts;
    database.discard().await?;
    ensure!(found == expected, "the restored database holds {found:?}, not {expected:?}");
    Ok(manifest)
}

/// Whether this is the directory of a backup that was finished. Their names sort by time.
pub(crate) fn is_one(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && path.join(MANIFEST).is_file()
}

/// Removes the oldest backups until so many are left. What is no backup stays.
fn retain(to: &Path, keep: usize) -> Result<()> {
    let mut all = Vec::new();
    for entry in fs::read_dir(to).with_context(|| format!("list {}", to.display()))? {
        let path = entry.context("list the backups")?.path();
        if is_one(&path) {
            all.push(path);
        }
    }
    all.sort();
    let surplus = all.len().saturating_sub(keep.max(1));
    for old in all.into_iter().take(surplus) {
        fs::remove_dir_all(&old).with_context(|| format!("remove {}", old.display()))?;
    }
    Ok(())
}

/// The settings with the values of secrets taken out, so that a reader sees which are needed.
fn without_secrets(text: &str) -> String {
    let is_secret =
        |name: &str| name == "DATABASE_URL" || SECRET_WORDS.iter().any(|word| name.contains(word));
    let line = |line: &str| match line.trim_start().trim_start_matches("export ").split_once('=') {
        Some((name, _)) if !line.trim_start().starts_with('#') && is_secret(name.trim()) => {
            format!("#{}= (a secret, not in this backup)\n", name.trim())
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn private_directory(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the directory {}", path.display()))?;
    let only_us = fs::Permissions::from_mode(0o700);
    fs::set_permissions(path, only_us).with_context(|| format!("close {}", path.display()))
}

fn digest(path: &Path) -> Result<String> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("open {shown}"))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).with_context(|| format!("read {shown}"))?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let mut text = String::with_capacity(64);
    text.extend(hasher.finalize().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit));
    Ok(text)
}

/// A number below 16 as hexadecimal.
fn hex_digit(number: u8) -> char {
    char::from_digit(u32::from(number), 16).unwrap_or('0')
}

/// Everything is on the disk before the backup has its name.
fn sync(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).context("list the backup")? {
        let path = entry.context("list the backup")?.path();
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        file.sync_all().with_context(|| format!("sync {}", path.display()))?;
    }
    File::open(dir).and_then(|dir| dir.sync_all()).context("sync the directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            made_by: "test".to_owned(),
            made_ms: 1_000_000,
            database: "sqlite".to_owned(),
            position: 500,
            counts: Counts::default(),
            has_secrets: false,
            files: BTreeMap::new(),
        }
    }

    /// A consumer never sees a number twice, however long the relay ran after its backup, and also
    /// when the clock of the new machine is behind.
    #[test]
    fn the_floor_is_above_all_that_can_have_been_given() {
        let manifest = manifest();
        assert_eq!(floor(&manifest, 1_000_000), 500 + SEQS_MARGIN);
        assert_eq!(floor(&manifest, 1_001_001), 500 + 2 * SEQS_PER_SECOND + SEQS_MARGIN);
        assert_eq!(floor(&manifest, 0), 500 + SEQS_MARGIN);
        let year = 365 * 86_400 * 1_000;
        assert!(floor(&manifest, year) < 1 << 53, "every language can hold it");
    }

    /// A backup that is copied somewhere holds no password, and says which are needed.
    #[test]
    fn secrets_are_taken_out_of_the_settings() {
        let text = "RELAY_CONTACT=mailto:a@b\nDATABASE_URL=postgres://u:pomegranate@h/d\n\
                    # a remark = pom\nexport RELAY_ADMIN_PASSWORD=pomegranate\n";
        let found = without_secrets(text);
        assert!(!found.contains("pomegranate"), "{found}");
        assert!(found.contains("RELAY_CONTACT=mailto:a@b\n#DATABASE_URL="), "{found}");
        assert!(found.contains("# a remark = pom\n#RELAY_ADMIN_PASSWORD="), "{found}");
    }

    #[test]
    fn only_the_newest_backups_are_kept() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["relay-1", "relay-2", "relay-3", "other", "relay-0-not-whole"] {
            fs::create_dir(dir.path().join(name))?;
            if !name.contains("not") {
                fs::write(dir.path().join(name).join(MANIFEST), "")?;
            }
        }
        retain(dir.path(), 2)?;
        let left = |name: &str| dir.path().join(name).exists();
        assert!(!left("relay-1") && left("relay-2") && left("relay-3"));
        assert!(left("other") && left("relay-0-not-whole"));
        Ok(())
    }
}
