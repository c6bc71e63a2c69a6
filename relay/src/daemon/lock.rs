//! One process per data directory, and per directory of an event log, which may lie elsewhere.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use super::Fatal;

/// What a directory is for a person, and the setting that names it.
pub(crate) type Purpose = (&'static str, &'static str);

/// The directory with everything else.
pub(crate) const DATA: Purpose = ("data directory", "RELAY_DATA_DIR");
/// The directory of the segments.
pub(crate) const LOG: Purpose = ("directory of the event log", "RELAY_PERSIST_DIR");

/// Holds an exclusive lock on `<dir>/lock` until dropped.
#[derive(Debug)]
pub(crate) struct DataLock {
    file: File,
}

impl DataLock {
    /// Creates the directory if needed and takes the lock.
    ///
    /// # Errors
    /// A sentence when the directory cannot be used or another process holds it.
    pub(crate) fn take(dir: &Path, (what, setting): Purpose) -> Result<Self, Fatal> {
        let shown = dir.display();
        create(dir).map_err(|error| {
            Fatal::new(format_args!(
                "the {what} {shown} cannot be created ({error}); set {setting} to a directory that this user may write"
            ))
        })?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| {
                Fatal::new(format_args!(
                    "the {what} {shown} cannot be written ({error}); give this user the right to write it, or set {setting}"
                ))
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Fatal::new(format_args!(
                "another relay runs on the {what} {shown}; stop it, or set {setting} to another directory"
            ))),
            Err(TryLockError::Error(error)) => Err(Fatal::new(format_args!(
                "the {what} {shown} cannot be locked ({error}); it must lie on a file system with locks"
            ))),
        }
    }
}

impl Drop for DataLock {
    /// Closing the file is not enough: a program that this process is just starting shares it for a
    /// moment, and with it the lock.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the lock of a directory could not be given back");
        }
    }
}

/// Creates a directory with its parents, durably: what is synced below a directory that a power cut
/// takes away is lost with it.
fn create(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    // Not for everybody: the admin password may lie in it.
    DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
    for made in missing.into_iter().rev() {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
