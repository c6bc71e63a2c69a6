//! The settings and secrets with which a relay begins.
//!
//! Nothing that is there is changed: missing lines are added to `env`, missing secrets are made. So it
//! can be run again, after an answer was forgotten or a file was lost.

pub mod answers;

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use self::answers::{Answers, Store};
use crate::{
    env_file::{Conflict, EnvFile},
    files::{self, Change, FileError},
};

/// The Caddy of the same machine, by either loopback address.
const LOCAL_PROXY: &str = "127.0.0.1,::1";
/// For the owner alone.
const PRIVATE: u32 = 0o600;
/// Bytes of chance in a secret.
const SECRET_BYTES: usize = 24;

/// A file that was looked after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// What was done, or would be.
    pub change: Change,
    /// What it is for.
    pub about: &'static str,
    /// Whether it holds a secret.
    pub secret: bool,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begun {
    /// The files, none of their secrets.
    pub files: Vec<Kept>,
    /// Answers that differ from what the files say already; the files stayed as they are.
    pub conflicts: Vec<Conflict>,
}

/// Secrets that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Two files hold two passwords.
    #[error(
        "{} has another database password than {}; decide for one of them, or remove the line \
         DATABASE_URL and run this again", .0.display(), .1.display()
    )]
    TwoPasswords(PathBuf, PathBuf),
    /// Others may read a secret.
    #[error("{}: others may read it; type `chmod 600 {}`", .0.display(), .0.display())]
    Readable(PathBuf),
}

/// Makes the files of a relay below `dir`; with `dry_run` only says what would happen.
///
/// # Errors
/// [`InitError`]; nothing that was there is lost then either.
pub fn begin(dir: &Path, answers: &Answers, dry_run: bool) -> Result<Begun, InitError> {
    let secrets = dir.join("secrets");
    let mut begun = Begun { files: Vec::new(), conflicts: Vec::new() };
    let env = dir.join("env");
    begun.lines(&env, &settings(answers), "settings of the relay", dry_run)?;
    let caddy = [("RELAY_SITE", answers.host.clone())];
    begun.lines(&dir.join("caddy.env"), &caddy, "the name for the Caddyfile", dry_run)?;

    let admin_file = secrets.join("admin-password");
    let admin = begun.secret(&admin_file, "opens the admin API", dry_run)?;
    let mut lines = vec![("RELAY_ADMIN_PASSWORD", admin)];
    if let Store::Postgres { address, .. } = &answers.store {
        let file = secrets.join("database-password");
        let password = begun.secret(&file, "of the role `relay` in Postgres", dry_run)?;
        let url = format!("postgres://relay:{password}@{address}/relay");
        lines.push(("DATABASE_URL", url));
    }
    let environment = secrets.join("relay.env");
    agree(&environment, &lines, &secrets)?;
    begun.lines(&environment, &lines, "the secrets as the relay reads them", dry_run)?;
    // What differs there is a secret, and was refused above or is the person's own address.
    let is_secret = matches!(answers.store, Store::Postgres { .. });
    begun.conflicts.retain(|conflict| !(is_secret && conflict.name == "DATABASE_URL"));
    Ok(begun)
}

/// The lines of `env`, in the order of the questions.
fn settings(answers: &Answers) -> Vec<(&'static str, String)> {
    let (database, _) = answers.store.names();
    let mut lines = vec![
        ("PROVISION_HOST", answers.host.clone()),
        ("PROVISION_PROVIDER", answers.provider.clone()),
        ("PROVISION_DATABASE", database.to_owned()),
        ("ENVIRONMENT", "production".to_owned()),
        ("RELAY_CONTACT", answers.contact.clone()),
        ("RELAY_DATA_DIR", answers.data_dir.clone()),
        ("RELAY_TRUSTED_PROXIES", LOCAL_PROXY.to_owned()),
    ];
    if let Store::Socket { dir } = &answers.store {
        // No secret: whoever runs as `relay` is let in.
        let host = dir.replace('/', "%2F");
        lines.push(("DATABASE_URL", format!("postgres://relay@{host}/relay")));
    }
    lines.extend(answers.window.clone().map(|window| ("RELAY_REPLAY_WINDOW", window)));
    lines
}

/// A password that was changed in one place only would lock the relay out.
fn agree(environment: &Path, lines: &[(&str, String)], secrets: &Path) -> Result<(), InitError> {
    let Some(text) = files::read(environment)? else { return Ok(()) };
    private(environment)?;
    let known = EnvFile::new(text);
    for (name, wanted) in lines {
        let Some(entry) = known.value(name) else { continue };
        let same = if *name == "DATABASE_URL" {
            password(&entry.value) == password(wanted)
        } else {
            entry.value == *wanted
        };
        if !same {
            let file = if *name == "DATABASE_URL" { "database-password" } else { "admin-password" };
            return Err(InitError::TwoPasswords(environment.to_path_buf(), secrets.join(file)));
        }
    }
    Ok(())
}

fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

fn private(path: &Path) -> Result<(), InitError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata =
        std::fs::metadata(path).map_err(|error| FileError { path: path.to_path_buf(), error })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(InitError::Readable(path.to_path_buf()));
    }
    Ok(())
}

impl Begun {
    /// The secret in a file, which is made when there is none.
    fn secret(
        &mut self,
        path: &Path,
        about: &'static str,
        dry_run: bool,
    ) -> Result<String, InitError> {
        let old = files::read(path)?.map(|text| text.trim().to_owned());
        if let Some(old) = old.filter(|text| !text.is_empty()) {
            private(path)?;
            let (path, change) = (path.to_path_buf(), Change::Unchanged);
            self.files.push(Kept { path, change, about, secret: true });
            return Ok(old);
        }
        let made = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
        let text = format!("{made}\n");
        let change =
            if dry_run { files::change(path, &text)? } else { files::write(path, &text, PRIVATE)? };
        self.files.push(Kept { path: path.to_path_buf(), change, about, secret: true });
        Ok(made)
    }

    /// Adds the lines whose names are not there.
    fn lines(
        &mut self,
        path: &Path,
        lines: &[(&str, String)],
        about: &'static str,
        dry_run: bool,
    ) -> Result<(), InitError> {
        let old = files::read(path)?.unwrap_or_default();
        let known = EnvFile::new(old.clone());
        let mut text = old;
        if text.is_empty() {
            text = format!("# {about}; lines of your own are kept\n");
        } else if !text.ends_with('\n') {
            text.push('\n');
        }
        for (name, value) in lines {
            let Some(entry) = known.value_by_hand(name) else {
                text.extend([name, "=", &quoted(value), "\n"]);
                continue;
            };
            if entry.value != *value {
                let (name, kept, line) = (entry.name, entry.value, entry.line);
                self.conflicts.push(Conflict { name, line, kept, planned: value.clone() });
            }
        }
        let change =
            if dry_run { files::change(path, &text)? } else { files::write(path, &text, PRIVATE)? };
        let secret = path.ends_with("secrets/relay.env");
        self.files.push(Kept { path: path.to_path_buf(), change, about, secret });
        Ok(())
    }
}

/// As dotenv, systemd and Docker all read it; answers hold no quotes.
fn quoted(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.:@,+=?&%~".contains(&b);
    if value.bytes().all(plain) { value.to_owned() } else { format!("\"{value}\"") }
}
