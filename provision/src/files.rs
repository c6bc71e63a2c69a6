//! Writing files whole or not at all, and only when something changes.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

/// What happened to a file, or would happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Made,
    /// Its text was another.
    Changed,
    /// Nothing had to be done.
    Unchanged,
}

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}{}", .path.display(), hint(.error))]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this with sudo, or give another place",
        io::ErrorKind::InvalidData => {
            "; it is not UTF-8 text: look with `file` what it is, and convert it, for instance with \
             `iconv -f latin1 -t utf-8`"
        }
        _ => "",
    }
}

/// Reads a text; `None` when there is no file.
///
/// # Errors
/// [`FileError`] for everything else.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError { path: path.to_path_buf(), error }),
    }
}

/// What writing this text would do.
///
/// # Errors
/// [`FileError`] when the file is there and cannot be read.
pub fn change(path: &Path, text: &str) -> Result<Change, FileError> {
    Ok(match read(path)? {
        None => Change::Made,
        Some(old) if old == text => Change::Unchanged,
        Some(_) => Change::Changed,
    })
}

/// Writes a text, with its directories. A file that is there keeps its mode and owner; a new one gets
/// `mode`. After a crash there is the old file or the new one.
///
/// # Errors
/// [`FileError`].
pub fn write(path: &Path, text: &str, mode: u32) -> Result<Change, FileError> {
    let change = change(path, text)?;
    if change != Change::Unchanged {
        replace(path, text, mode).map_err(|error| FileError { path: path.to_path_buf(), error })?;
    }
    Ok(change)
}

/// Writes a new file that nobody else reads.
///
/// # Errors
/// [`FileError`], also when there is one.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| FileError { path: path.to_path_buf(), error })
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // A link stays one: what it points to is written.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(&path) {
        Ok(old) => {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(old.permissions())?;
        }
        Err(_) => file.set_permissions(fs::Permissions::from_mode(mode))?,
    }
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// A new file has the mode that was asked for, an old one keeps its own.
    #[test]
    fn the_mode_of_a_file_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        assert_eq!(write(&path, "one", 0o600).unwrap(), Change::Made);
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(write(&path, "two", 0o600).unwrap(), Change::Changed);
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap()), (0o640, "two".to_owned()));
        assert_eq!(write(&path, "two", 0o600).unwrap(), Change::Unchanged);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    /// What a crash left beside the file does not stop the next attempt, and a link stays a link.
    #[test]
    fn leftovers_and_links_are_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        fs::write(dir.path().join("real.new"), "half").unwrap();
        write(&link, "new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn an_error_names_the_file() {
        let error = write(Path::new("/proc/nowhere/file"), "x", 0o600).unwrap_err().to_string();
        assert!(error.starts_with("/proc/nowhere/file: "), "{error}");
    }
}
