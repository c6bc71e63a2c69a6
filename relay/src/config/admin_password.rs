//! Makes an admin password where none is set.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Config, ConfigError,
    secret::Secret,
    value::{Kind, Parsed},
};

/// Name of the file in the data directory.
const FILE: &str = "admin-password";

impl Config {
    /// Adds the passwords of a file, one per line; none when the path is empty. Blocks on the disk.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, holds none, or when everyone may read it.
    pub fn add_admin_passwords(&mut self, file: &Path) -> Result<(), ConfigError> {
        if !file.as_os_str().is_empty() {
            self.admin_passwords.extend(read_all(file)?);
        }
        Ok(())
    }

    /// Without an admin password, takes the one of `<data_dir>/admin-password`, which is made with
    /// mode 0600 at the first start. Blocks on the disk.
    ///
    /// Returns the path of that file when it is used: people are shown the path only (I8).
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read or made, or when others may read it.
    pub fn ensure_admin_password(&mut self) -> Result<Option<PathBuf>, ConfigError> {
        if !self.admin_passwords.is_empty() {
            return Ok(None);
        }
        let path = self.data_dir.join(FILE);
        let password = read(&path)?.map_or_else(|| make(&self.data_dir, &path), Ok)?;
        self.admin_passwords.push(password);
        Ok(Some(path))
    }

    /// A password that opens the admin API of the relay that runs with these settings; makes none.
    /// Blocks on the disk.
    ///
    /// * `file` – a file that holds it, when a person says so
    ///
    /// # Errors
    /// [`ConfigError`] when there is none to be read.
    pub fn known_admin_password(&self, file: Option<&Path>) -> Result<Secret, ConfigError> {
        if let (None, Some(password)) = (file, self.admin_passwords.first()) {
            return Ok(password.clone());
        }
        let own = self.data_dir.join(FILE);
        let path = file.unwrap_or(&own);
        let text = fs::read_to_string(path).map_err(|error| trouble(path, error))?;
        let text = text.trim();
        if text.is_empty() {
            return Err(trouble(path, "the file is empty"));
        }
        Ok(Secret::new(text))
    }
}

/// The passwords of a file of the settings, one per line.
fn read_all(path: &Path) -> Result<Vec<Secret>, ConfigError> {
    let metadata = fs::metadata(path).map_err(|error| trouble(path, error))?;
    // Those of systemd may belong to a group of their own.
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(trouble(path, "others may read it; type `chmod 600` on it"));
    }
    let text = fs::read_to_string(path).map_err(|error| trouble(path, error))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err(trouble(path, "there is none in it"));
    }
    match Kind::Passwords.parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()) {
        Some(Parsed::Secrets(secrets)) => Ok(secrets),
        _ => Err(trouble(path, format!("allowed is {}", Kind::Passwords.allowed()))),
    }
}

/// The password in the file; `None` when there is none, or an empty one that a crash left.
fn read(path: &Path) -> Result<Option<Secret>, ConfigError> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(trouble(path, "others may read it; type `chmod 600` on it"));
    }
    let text = fs::read_to_string(path).map_err(|error| trouble(path, error))?;
    let text = text.trim();
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

fn make(data_dir: &Path, path: &Path) -> Result<Secret, ConfigError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(data_dir)
        .map_err(|error| trouble(data_dir, error))?;
    let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
    // Written beside and moved, so that a crash leaves no half of a password.
    let beside = path.with_extension("new");
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| trouble(path, error))?;
    Ok(Secret::new(text))
}

fn trouble(path: &Path, why: impl std::fmt::Display) -> ConfigError {
    ConfigError(vec![format!(
        "the admin password in {} cannot be used: {why}; or set RELAY_ADMIN_PASSWORD",
        path.display()
    )])
}
