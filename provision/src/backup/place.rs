//! Where backups lie: below a directory, or in a bucket of S3-compatible storage.
//!
//! A backup has its name, or its manifest, only when everything else is there. So one that was cut off
//! is never taken for one, whatever happened meanwhile.

use std::{
    fs::{self, File},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{
    MANIFEST,
    bucket::{self, Bucket},
    keep::{Listed, made_of},
};
use crate::told::Tell;

/// A place of backups.
#[derive(Debug)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// Storage elsewhere.
    Bucket(Box<Bucket>),
}

impl Place {
    /// Reads `s3://BUCKET/PREFIX` or a path.
    ///
    /// # Errors
    /// When the environment does not say how to reach the bucket.
    pub fn parse(text: &str) -> Result<Self> {
        match text.strip_prefix(bucket::SCHEME) {
            Some(rest) => Ok(Self::Bucket(Box::new(Bucket::parse(rest)?))),
            None => Ok(Self::Directory(text.into())),
        }
    }

    /// How a person names a backup of this place.
    #[must_use]
    pub fn shown(&self, name: &str) -> String {
        match self {
            Self::Directory(dir) => dir.join(name).display().to_string(),
            Self::Bucket(bucket) => bucket.shown(name),
        }
    }

    /// All that lie there, and what was begun and not finished; oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let mut all = match self {
            Self::Directory(dir) => listed(dir)?,
            Self::Bucket(bucket) => bucket.list().await?,
        };
        all.sort();
        Ok(all)
    }

    /// Sees before the long work that the place takes something.
    pub(super) async fn reach(&self) -> Result<()> {
        match self {
            Self::Directory(_) => Ok(()),
            Self::Bucket(bucket) => bucket.list().await.map(drop),
        }
    }

    /// Where the files of a new backup are put together.
    pub(super) fn stage(&self, name: &str) -> Result<Stage> {
        match self {
            Self::Directory(dir) => {
                let partial = dir.join(format!(".{name}.partial"));
                private_directory(&partial)?;
                Ok(Stage::Partial(partial))
            }
            Self::Bucket(_) => temporary().map(Stage::Temporary),
        }
    }

    /// Makes a backup of what was put together.
    pub(super) async fn keep(&self, stage: Stage, name: &str, tell: &mut Tell<'_>) -> Result<()> {
        match self {
            Self::Directory(dir) => {
                sync(stage.path())?;
                let whole = dir.join(name);
                fs::rename(stage.path(), &whole)
                    .with_context(|| format!("name {}", whole.display()))?;
                File::open(dir).and_then(|dir| dir.sync_all()).context("sync the directory")
            }
            Self::Bucket(bucket) => bucket.upload(stage.path(), name, tell).await,
        }
    }

    /// Whether a finished backup holds all that its manifest names.
    pub(super) async fn is_whole(&self, name: &str) -> Result<bool> {
        match self {
            Self::Directory(dir) => Ok(super::open(&dir.join(name)).is_ok()),
            Self::Bucket(bucket) => bucket.is_whole(name).await,
        }
    }

    /// Removes a backup. It ceases to be one before anything of it is gone.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        match self {
            Self::Directory(dir) => {
                let path = dir.join(name);
                let manifest = path.join(MANIFEST);
                let removed = || {
                    if manifest.exists() {
                        fs::remove_file(&manifest)?;
                    }
                    fs::remove_dir_all(&path)
                };
                removed().with_context(|| format!("remove {}", path.display()))
            }
            Self::Bucket(bucket) => bucket.remove(name).await,
        }
    }
}

/// Files of a backup that is being made; they vanish unless they become one.
pub(super) enum Stage {
    /// Beside the finished ones.
    Partial(PathBuf),
    /// Elsewhere on this machine.
    Temporary(TempDir),
}

impl Stage {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Partial(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Self::Partial(path) = self
            && path.exists()
        {
            // What cannot be removed now is listed as unfinished, and goes after a day.
            drop(fs::remove_dir_all(path));
        }
    }
}

/// A backup on this machine, fetched when it was elsewhere.
#[derive(Debug)]
pub struct Local {
    /// Its directory.
    pub dir: PathBuf,
    /// How a person names it.
    pub shown: String,
    /// Removes what was fetched.
    fetched: Option<TempDir>,
}

impl Local {
    /// Finds a backup by its path or `s3://` address. Of a place with several it is the newest.
    ///
    /// # Errors
    /// When there is none, or it cannot be fetched.
    pub async fn find(text: &str, tell: &mut Tell<'_>) -> Result<Self> {
        let text = text.trim_end_matches('/');
        if !text.starts_with(bucket::SCHEME) && Path::new(text).join(MANIFEST).is_file() {
            return Ok(Self { dir: text.into(), shown: text.to_owned(), fetched: None });
        }
        let (place, name) = match text.rsplit_once('/') {
            Some((place, name)) if made_of(name).is_some() => (Place::parse(place)?, name),
            _ => (Place::parse(text)?, ""),
        };
        let name = if name.is_empty() { newest(&place, text).await? } else { name.to_owned() };
        match &place {
            Place::Directory(dir) => {
                Ok(Self { dir: dir.join(&name), shown: place.shown(&name), fetched: None })
            }
            Place::Bucket(bucket) => {
                let dir = temporary()?;
                bucket.download(&name, dir.path(), tell).await?;
                let shown = place.shown(&name);
                Ok(Self { dir: dir.path().to_path_buf(), shown, fetched: Some(dir) })
            }
        }
    }

    /// Whether it was fetched from elsewhere.
    #[must_use]
    pub const fn is_fetched(&self) -> bool {
        self.fetched.is_some()
    }
}

async fn newest(place: &Place, text: &str) -> Result<String> {
    if let Place::Directory(dir) = place
        && !dir.is_dir()
    {
        bail!("there is no backup {text}")
    }
    let all = place.list().await?;
    let newest = all.into_iter().rfind(|backup| backup.finished);
    let newest = newest
        .with_context(|| format!("{text} is no backup: it has no {MANIFEST}, and holds none"))?;
    Ok(newest.name)
}

/// What lies below a directory; what is neither a backup nor the beginning of one is left out.
fn listed(dir: &Path) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    if !dir.exists() {
        return Ok(all);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry.context("list the backups")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let partial = name.strip_prefix('.').and_then(|name| name.strip_suffix(".partial"));
        let finished = partial.is_none();
        let Some(made_ms) = made_of(partial.unwrap_or(&name)) else { continue };
        if finished && !path.join(MANIFEST).is_file() {
            continue;
        }
        let bytes = size(&path)?;
        all.push(Listed { made_ms, name, finished, bytes });
    }
    Ok(all)
}

fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry.context("list a backup")?;
        bytes += entry.metadata().context("look at a file of a backup")?.len();
    }
    Ok(bytes)
}

/// A directory of one's own that vanishes again, where `TMPDIR` says.
pub(super) fn temporary() -> Result<TempDir> {
    tempfile::Builder::new().prefix("provision-backup-").tempdir().with_context(|| {
        format!(
            "make a directory in {}; TMPDIR names another place",
            std::env::temp_dir().display()
        )
    })
}

fn private_directory(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the directory {}", path.display()))?;
    let only_us = fs::Permissions::from_mode(0o700);
    fs::set_permissions(path, only_us).with_context(|| format!("close {}", path.display()))
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

    /// What somebody else put there is neither listed nor touched.
    #[tokio::test]
    async fn only_backups_and_beginnings_of_them_are_listed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let whole = ["relay-000000000000003", "relay-1", "other", "relay-7x"];
        for name in whole.iter().chain(&["relay-9", ".relay-000000000000004.partial"]) {
            fs::create_dir(dir.path().join(name))?;
            if whole.contains(name) {
                fs::write(dir.path().join(name).join(MANIFEST), "{}")?;
            }
        }
        let place = Place::parse(&dir.path().display().to_string())?;
        let all = place.list().await?;
        let found: Vec<_> = all.iter().map(|one| (one.made_ms, one.finished, one.bytes)).collect();
        assert_eq!(found, [(1, true, 2), (3, true, 2), (4, false, 0)]);
        place.remove("relay-1").await?;
        assert_eq!(place.list().await?.len(), 2);
        assert!(dir.path().join("relay-9").exists());
        Ok(())
    }

    /// A name with the newest is what is meant when a person names the place alone.
    #[tokio::test]
    async fn of_a_place_the_newest_finished_one_is_taken() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let shown = dir.path().display().to_string();
        let none = Local::find(&shown, &mut |_| true).await.expect_err("it is empty");
        assert!(none.to_string().contains("holds none"), "{none:#}");
        for name in ["relay-000000000000003", "relay-000000000000001"] {
            fs::create_dir(dir.path().join(name))?;
            fs::write(dir.path().join(name).join(MANIFEST), "{}")?;
        }
        fs::create_dir(dir.path().join(".relay-000000000000009.partial"))?;
        let found = Local::find(&format!("{shown}/"), &mut |_| true).await?;
        assert!(found.dir.ends_with("relay-000000000000003"), "{found:?}");
        let found = Local::find(&format!("{shown}/relay-000000000000001"), &mut |_| true).await?;
        assert!(found.dir.ends_with("relay-000000000000001"), "{found:?}");
        Ok(())
    }
}
