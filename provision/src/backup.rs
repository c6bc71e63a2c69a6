//! Backups of a relay: what cannot be had again, which is the database with hosts, their cursors,
//! accounts and decisions, and the settings.
//!
//! The event log is not part of it: hosts send again what they still keep, and consumers are told what
//! is missing. What must never happen is that a seq is used twice; so a restored relay begins far above
//! every seq that can have been given since ([`floor`]).
//!
//! A backup is a directory, here or in a bucket, with a manifest that names each file and its digest.
//! Its files may be encrypted; the manifest is not, so that damage is found without a key. The relay may
//! run meanwhile.

mod bucket;
mod database;
mod keep;
mod papers;
mod place;
mod restore;
mod seal;
mod server;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    files, moment,
    told::{Tell, Told},
};
use papers::Papers;

pub use bucket::Bucket;
pub use database::{Counts, Database};
pub use keep::{Fate, Listed, Policy};
pub use place::{Local, Place};
pub use restore::{Home, Restored, restore};
pub use seal::{Identities, Recipients};
pub use server::Server;

/// The form of a manifest.
const FORMAT: u32 = 1;
/// The form of a manifest of encrypted files.
const FORMAT_SEALED: u32 = 2;
/// How the directories of backups begin.
const PREFIX: &str = "relay-";
pub(crate) const MANIFEST: &str = "manifest.json";
/// More seqs than any relay can give in a second.
const SEQS_PER_SECOND: u64 = 100_000;
/// Seqs above that, for a clock that was set back.
const SEQS_MARGIN: u64 = 1_000_000;

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
    /// The age recipients who can read the files; empty when they are not encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted_for: Vec<String>,
    /// SHA-256 of each file as it lies there, in hexadecimal.
    pub files: BTreeMap<String, String>,
    /// Bytes of each.
    #[serde(default)]
    pub sizes: BTreeMap<String, u64>,
}

impl Manifest {
    /// Reads one, and sees that it leads nowhere else.
    ///
    /// * `shown` – the backup, for a person
    ///
    /// # Errors
    /// When it is none, or of a form that is not known yet.
    pub(crate) fn parse(text: &str, shown: &str) -> Result<Self> {
        let manifest: Self =
            serde_json::from_str(text).with_context(|| format!("read {MANIFEST} of {shown}"))?;
        ensure!(
            [FORMAT, FORMAT_SEALED].contains(&manifest.format),
            "{shown} has the form {}, this program reads up to {FORMAT_SEALED}; use the one that made it: {}",
            manifest.format,
            manifest.made_by
        );
        manifest.files.keys().try_for_each(|name| plain_name(name))?;
        Ok(manifest)
    }

    /// Whether the files are encrypted.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        !self.encrypted_for.is_empty()
    }

    /// Whether a file has as many bytes as it should; manifests of old do not tell.
    fn has_size(&self, file: &str, size: u64) -> bool {
        self.sizes.get(file).is_none_or(|expected| *expected == size)
    }
}

/// The first seq of a relay that is restored at this moment: above everything that any consumer can have
/// seen since the backup.
#[must_use]
pub fn floor(manifest: &Manifest, now_ms: u64) -> u64 {
    let seconds = now_ms.saturating_sub(manifest.made_ms).div_ceil(1_000);
    let since = seconds.saturating_mul(SEQS_PER_SECOND);
    manifest.position.saturating_add(since).saturating_add(SEQS_MARGIN)
}

/// What to back up, and how.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The file with the environment of the relay.
    pub env_file: &'a Path,
    /// The directory in which the relay runs.
    pub dir: &'a Path,
    /// For whom it is encrypted; for nobody is not at all.
    pub recipients: &'a Recipients,
    /// Whether the secrets are in it.
    pub with_secrets: bool,
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// How a person names it: its path or `s3://` address.
    pub shown: String,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Makes a backup.
///
/// # Errors
/// When the database cannot be read or the place takes nothing. What was begun is taken back.
pub async fn make(place: &Place, wanted: Wanted<'_>, tell: &mut Tell<'_>) -> Result<Made> {
    let papers = Papers::read(wanted.env_file, wanted.dir)?;
    let database = Database::of(&papers.config)?;
    place.reach().await?;
    let made_ms = moment::now_ms();
    let name = keep::name_of(made_ms);
    let stage = place.stage(&name)?;
    // What is not encrypted yet is never seen by a place that may be somebody else's.
    let aside = if wanted.recipients.is_empty() { None } else { Some(place::temporary()?) };
    let plain = aside.as_ref().map_or(stage.path(), TempDir::path);
    tell(Told::Doing("copying the database".to_owned()));
    let (counts, position) = database.dump(plain).await?;
    for (name, bytes) in papers.copy(wanted.with_secrets)? {
        files::write_private(&plain.join(name), &bytes)?;
    }
    if !wanted.recipients.is_empty() {
        tell(Told::Doing("encrypting".to_owned()));
        for path in paths(plain)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let sealed = stage.path().join(format!("{name}{}", seal::SUFFIX));
            wanted.recipients.seal(&path, &sealed)?;
        }
    }
    tell(Told::Doing("computing digests".to_owned()));
    let (digests, sizes) = described(stage.path())?;
    let manifest = Manifest {
        format: if wanted.recipients.is_empty() { FORMAT } else { FORMAT_SEALED },
        made_by: concat!("provision/", env!("CARGO_PKG_VERSION")).to_owned(),
        made_ms,
        database: database.word().to_owned(),
        position,
        counts,
        has_secrets: wanted.with_secrets,
        encrypted_for: wanted.recipients.names(),
        files: digests,
        sizes,
    };
    let text = serde_json::to_string_pretty(&manifest).context("write the manifest")?;
    files::write(&stage.path().join(MANIFEST), &format!("{text}\n"), 0o600)?;
    place.keep(stage, &name, tell).await?;
    Ok(Made { shown: place.shown(&name), manifest })
}

/// Removes what no rule keeps, and what was never finished; gives what becomes of each, newest first.
///
/// * `dry_run` – only say what would go
///
/// # Errors
/// When the place cannot be read or does not remove something.
pub async fn prune(place: &Place, policy: Policy, dry_run: bool) -> Result<Vec<Fate>> {
    let good = newest_whole(place).await?;
    let all = place.list().await?;
    let good = good.as_ref().map(|backup| backup.name.as_str());
    let fates = keep::fates(&all, policy, good, moment::now_ms());
    for fate in fates.iter().filter(|fate| !fate.kept && !dry_run) {
        place.remove(&fate.name).await?;
    }
    Ok(fates)
}

/// The newest backup whose files are all there: of a directory they are compared with their digests, of a
/// bucket with their sizes.
///
/// # Errors
/// When the place cannot be read.
pub async fn newest_whole(place: &Place) -> Result<Option<Listed>> {
    for backup in place.list().await?.into_iter().rev().filter(|backup| backup.finished) {
        if place.is_whole(&backup.name).await? {
            return Ok(Some(backup));
        }
    }
    Ok(None)
}

/// Reads a backup's manifest and compares every file with it. No key is needed.
///
/// # Errors
/// When something is missing or was changed.
pub fn open(backup: &Path) -> Result<Manifest> {
    let shown = backup.display();
    let text = files::read(&backup.join(MANIFEST))?;
    let text = text.with_context(|| format!("{shown} is no backup: it has no {MANIFEST}"))?;
    let manifest = Manifest::parse(&text, &shown.to_string())?;
    for (name, expected) in &manifest.files {
        let found = digest(&backup.join(name))?;
        ensure!(found == *expected, "{name} of {shown} is damaged: its digest is {found}");
    }
    Ok(manifest)
}

/// The files of a backup as they were before they were encrypted.
struct Plain {
    dir: PathBuf,
    /// Removes what was decrypted.
    _decrypted: Option<TempDir>,
}

/// Decrypts a backup whose files are what its manifest says; all of it, or nothing.
fn plain(backup: &Path, manifest: &Manifest, identities: &Identities) -> Result<Plain> {
    if !manifest.is_sealed() {
        return Ok(Plain { dir: backup.to_path_buf(), _decrypted: None });
    }
    identities.ensure_any(&manifest.encrypted_for)?;
    let aside = place::temporary()?;
    for name in manifest.files.keys() {
        let plain = name.strip_suffix(seal::SUFFIX);
        let plain = plain.with_context(|| format!("{name} is not encrypted as it should be"))?;
        let to = aside.path().join(plain);
        identities.open(&backup.join(name), &to, &manifest.encrypted_for)?;
    }
    Ok(Plain { dir: aside.path().to_path_buf(), _decrypted: Some(aside) })
}

/// Restores a backup into a scratch database and counts what is there.
///
/// * `scratch` – an empty database of Postgres, for a backup of one; a SQLite backup needs none
///
/// # Errors
/// When the backup is damaged, cannot be read or restored, or holds something else than it says.
pub async fn verify(
    backup: &Path,
    scratch: Option<&str>,
    identities: &Identities,
    tell: &mut Tell<'_>,
) -> Result<Manifest> {
    tell(Told::Doing("comparing digests".to_owned()));
    let manifest = open(backup)?;
    let aside = place::temporary()?;
    let database = match (manifest.database.as_str(), scratch) {
        ("sqlite", _) => Database::Sqlite(aside.path().join("scratch.sqlite")),
        ("postgres", Some(url)) => Database::parse(url)?,
        ("postgres", None) => bail!(
            "a backup of Postgres is verified in an empty database of it: give --scratch \
             postgres://USER:PASSWORD@HOST/DATABASE"
        ),
        (other, _) => bail!("the backup is of a database `{other}`, which is not known here"),
    };
    ensure!(
        !database.is_used().await?,
        "{database:?} holds a relay's tables; the scratch database is emptied afterwards, so it must be \
         an empty one"
    );
    if manifest.is_sealed() {
        tell(Told::Doing("decrypting".to_owned()));
    }
    let plain = plain(backup, &manifest, identities)?;
    tell(Told::Doing("restoring into the scratch database".to_owned()));
    database.fill(&plain.dir).await?;
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

/// The name of a file of a backup leads nowhere else.
fn plain_name(name: &str) -> Result<()> {
    let leads_away = name.contains(['/', '\\']) || name.starts_with('.') || name.is_empty();
    ensure!(
        !leads_away,
        "the manifest names `{}`, which is no file of a backup",
        name.escape_debug()
    );
    Ok(())
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).context("list the backup")? {
        found.push(entry.context("list the backup")?.path());
    }
    Ok(found)
}

/// Digest and bytes of each file of a directory.
fn described(dir: &Path) -> Result<(BTreeMap<String, String>, BTreeMap<String, u64>)> {
    let (mut digests, mut sizes) = (BTreeMap::new(), BTreeMap::new());
    for path in paths(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = fs::metadata(&path).with_context(|| format!("look at {name}"))?.len();
        digests.insert(name.clone(), digest(&path)?);
        sizes.insert(name, size);
    }
    Ok((digests, sizes))
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
            encrypted_for: Vec::new(),
            files: BTreeMap::new(),
            sizes: BTreeMap::new(),
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

    /// A manifest that somebody else wrote does not make a restore read or write elsewhere.
    #[test]
    fn a_manifest_leads_nowhere_else() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["../secret", "/etc/passwd", ".hidden", "a/b", ""] {
            let files = BTreeMap::from([(name.to_owned(), String::new())]);
            let text = serde_json::to_string(&Manifest { files, ..manifest() })?;
            fs::write(dir.path().join(MANIFEST), text)?;
            let refused = open(dir.path()).expect_err(name);
            assert!(refused.to_string().contains("no file of a backup"), "{refused:#}");
        }
        Ok(())
    }

    /// Backups of before encryption are read as ever.
    #[test]
    fn a_manifest_without_sizes_is_read() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut value = serde_json::to_value(manifest())?;
        let fields = value.as_object_mut().context("an object")?;
        fields.remove("sizes");
        fs::write(dir.path().join(MANIFEST), value.to_string())?;
        let read = open(dir.path())?;
        assert!(!read.is_sealed() && read.has_size("relay.sqlite", 7));
        Ok(())
    }
}
