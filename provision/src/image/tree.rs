//! The files of an image, sorted, with what is inside of them or where it comes from.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::EPOCH;

/// What stands at a path.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory.
    Directory,
    /// A file with these contents.
    Bytes(Vec<u8>),
    /// A copy of a file of this machine; its length and the time of its last change, in nanoseconds.
    File(PathBuf, u64, i128),
    /// A symbolic link.
    Link(String),
}

/// One path of an image.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, the same number.
    pub owner: u64,
    /// What stands there.
    pub source: Source,
}

/// All paths of an image, without a slash at the beginning.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// Adds a file with these contents.
    pub fn text(&mut self, at: &str, mode: u32, contents: impl Into<Vec<u8>>) {
        self.insert(at, Entry { mode, owner: 0, source: Source::Bytes(contents.into()) });
    }

    /// Adds a directory of an owner.
    pub fn directory(&mut self, at: &str, mode: u32, owner: u64) {
        self.insert(at, Entry { mode, owner, source: Source::Directory });
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, at: &str, to: &str) {
        self.insert(at, Entry { mode: 0o777, owner: 0, source: Source::Link(to.to_owned()) });
    }

    /// Adds a copy of a file, following links.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn file(&mut self, at: &str, mode: u32, from: &Path) -> Result<()> {
        let found = fs::metadata(from).with_context(|| format!("read {}", from.display()))?;
        ensure!(found.is_file(), "{} is not a file", from.display());
        let changed = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        let source = Source::File(from.to_owned(), found.len(), changed);
        self.insert(at, Entry { mode, owner: 0, source });
        Ok(())
    }

    /// Adds a directory with all below it that `keep` wants, links as links.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn copy(&mut self, at: &str, from: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<()> {
        let list = || format!("list {}", from.display());
        for entry in fs::read_dir(from).with_context(list)? {
            let path = entry.with_context(list)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let inside = format!("{at}/{name}");
            let found = fs::symlink_metadata(&path)?;
            if !keep(&path) {
                continue;
            }
            if found.is_symlink() {
                self.link(&inside, &fs::read_link(&path)?.to_string_lossy());
            } else if found.is_dir() {
                self.copy(&inside, &path, keep)?;
            } else if found.is_file() {
                let mode = if found.mode() & 0o100 == 0 { 0o644 } else { 0o755 };
                self.file(&inside, mode, &path)?;
            }
        }
        Ok(())
    }

    /// Whether something stands at this path.
    pub fn contains(&self, at: &str) -> bool {
        self.entries.contains_key(at.trim_start_matches('/'))
    }

    /// All paths with what stands there.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Adds the directories above too, unless they are there.
    fn insert(&mut self, at: &str, entry: Entry) {
        let at = at.trim_matches('/');
        for (end, _) in at.match_indices('/') {
            let parent = at.get(..end).unwrap_or_default();
            self.entries.entry(parent.to_owned()).or_insert_with(|| Entry {
                mode: 0o755,
                owner: 0,
                source: Source::Directory,
            });
        }
        self.entries.insert(at.to_owned(), entry);
    }

    /// Adds what tells this tree from others, without reading the files of the machine.
    pub(super) fn fingerprint(&self, hash: &mut Sha256) {
        for (path, entry) in &self.entries {
            hash.update(format!("{path}\n{:o} {}\n", entry.mode, entry.owner));
            match &entry.source {
                Source::Directory => hash.update("directory\n"),
                Source::Link(to) => hash.update(format!("link {to}\n")),
                Source::Bytes(bytes) => hash.update(bytes),
                Source::File(_, length, changed) => hash.update(format!("{length} {changed}\n")),
            }
        }
    }

    /// Writes the layer.
    ///
    /// # Errors
    /// When a file changed or went away meanwhile, or `out` takes no more.
    pub(super) fn write(&self, out: impl Write) -> Result<()> {
        let mut tar = tar::Builder::new(out);
        for (path, entry) in &self.entries {
            append(&mut tar, path, entry).with_context(|| format!("add {path} to the image"))?;
        }
        tar.finish()?;
        Ok(())
    }
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, entry: &Entry) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner);
    header.set_gid(entry.owner);
    header.set_mtime(EPOCH);
    header.set_size(0);
    match &entry.source {
        Source::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Source::Link(to) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, to)?;
        }
        Source::Bytes(bytes) => {
            header.set_size(u64::try_from(bytes.len())?);
            tar.append_data(&mut header, path, bytes.as_slice())?;
        }
        Source::File(from, length, _) => {
            let file = File::open(from).with_context(|| format!("read {}", from.display()))?;
            ensure!(file.metadata()?.len() == *length, "{} changed meanwhile", from.display());
            header.set_size(*length);
            tar.append_data(&mut header, path, file)?;
        }
    }
    Ok(())
}
