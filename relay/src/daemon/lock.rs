//! One process per data directory.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use super::Fatal;

/// Holds an exclusive lock on `<data_dir>/lock` until dropped.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the directory if needed and takes the lock.
    ///
    /// # Errors
    /// A sentence when the directory cannot be used or another process holds it.
    pub(crate) fn take(dir: &Path) -> Result<Self, Fatal> {
        let shown = dir.display();
        // Not for everybody: the admin password may lie in it.
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(|error| {
            Fatal::new(format_args!(
                "the data directory {shown} cannot be created ({error}); set RELAY_DATA_DIR to a directory that this user may write"
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
                    "the data directory {shown} cannot be written ({error}); give this user the right to write it, or set RELAY_DATA_DIR"
                ))
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Fatal::new(format_args!(
                "another relay runs on the data directory {shown}; stop it, or set RELAY_DATA_DIR to another directory"
            ))),
            Err(TryLockError::Error(error)) => Err(Fatal::new(format_args!(
                "the data directory {shown} cannot be locked ({error}); it must lie on a file system with locks"
            ))),
        }
    }
}
