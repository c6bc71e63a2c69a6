//! What stands beside the database: the settings of the relay and of its front door, and its secrets.
//!
//! A relay has no file of rules: what an operator decided (bans, limits, takedowns) stands in the
//! database. A file that comes to the settings of a deployment belongs into [`Papers::read`] and
//! [`Papers::put`].

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use relay::config::Config;

use crate::{env_file::EnvFile, files};

/// The environment of the relay, in a backup.
pub(super) const SETTINGS: &str = "settings.env";
/// The file that `RELAY_CONFIG` names.
const TOML: &str = "settings.toml";
/// The name for the Caddyfile.
const CADDY: &str = "caddy.env";
/// How the names of what lay below `secrets` begin.
const SECRET: &str = "secret-";
/// Names whose values are secrets, besides what the relay calls so itself.
const SECRET_WORDS: [&str; 4] = ["PASSWORD", "KEY", "TOKEN", "SECRET"];

/// A deployment's settings.
pub(super) struct Papers {
    /// As the relay reads them, with `secrets/relay.env`.
    pub(super) config: Config,
    /// The file with the environment of the relay.
    env_file: PathBuf,
    /// The directory in which the relay runs.
    dir: PathBuf,
}

impl Papers {
    /// Reads the settings.
    pub(super) fn read(env_file: &Path, dir: &Path) -> Result<Self> {
        let shown = env_file.display();
        let text = files::read(env_file)?;
        let text = text.with_context(|| format!("there is no file {shown}"))?;
        let env = match EnvFile::of_deployment(env_file) {
            Ok((env, _)) => env,
            // A timer that may not read the secrets backs up what needs none of them.
            Err(error) if error.error.kind() == ErrorKind::PermissionDenied => EnvFile::new(text),
            Err(error) => return Err(error.into()),
        };
        let config = env.config(dir).with_context(|| format!("read the settings {shown}"))?;
        Ok(Self { config, env_file: env_file.to_path_buf(), dir: dir.to_path_buf() })
    }

    /// What goes into a backup, by name.
    pub(super) fn copy(&self, with_secrets: bool) -> Result<BTreeMap<String, Vec<u8>>> {
        let beside = self.env_file.parent().unwrap_or(Path::new("."));
        let env = files::read(&self.env_file)?.unwrap_or_default();
        let toml = toml_of(&env, &self.dir);
        let mut papers = BTreeMap::new();
        let texts = [
            (SETTINGS, Some(self.env_file.clone())),
            (TOML, toml),
            (CADDY, Some(beside.join(CADDY))),
        ];
        for (name, path) in texts {
            let Some(text) = path.map(|path| files::read(&path)).transpose()?.flatten() else {
                continue;
            };
            let text = if with_secrets { text } else { without_secrets(&text) };
            papers.insert(name.to_owned(), text.into_bytes());
        }
        if with_secrets {
            papers.extend(secrets(&beside.join("secrets"))?);
        }
        Ok(papers)
    }

    /// Puts what a backup holds where it belongs, as far as nothing is there; gives what it made.
    ///
    /// * `plain` – the directory of the backup
    pub(super) fn put(plain: &Path, env_file: &Path, dir: &Path) -> Result<Placed> {
        let beside = env_file.parent().unwrap_or(Path::new("."));
        let mut placed = Placed::default();
        let env = match files::read(env_file)? {
            Some(env) => env,
            None => files::read(&plain.join(SETTINGS))?.unwrap_or_default(),
        };
        placed.put(&plain.join(SETTINGS), env_file)?;
        placed.put(&plain.join(CADDY), &beside.join(CADDY))?;
        if let Some(toml) = toml_of(&env, dir) {
            placed.put(&plain.join(TOML), &toml)?;
        }
        for entry in fs::read_dir(plain).context("list the backup")? {
            let path = entry.context("list the backup")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(name) = name.strip_prefix(SECRET) {
                placed.put(&path, &beside.join("secrets").join(name))?;
            }
        }
        Ok(placed)
    }
}

/// Files that a restore made; they vanish unless it comes to its end.
#[derive(Default)]
pub(super) struct Placed {
    made: Vec<PathBuf>,
}

impl Placed {
    fn put(&mut self, from: &Path, to: &Path) -> Result<()> {
        if to.exists() || !from.exists() {
            return Ok(());
        }
        let text = files::read(from)?.unwrap_or_default();
        files::write(to, &text, 0o600)?;
        self.made.push(to.to_path_buf());
        Ok(())
    }

    /// They stay.
    pub(super) fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.made)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        for path in &self.made {
            // It is the text of the backup, in a place where nothing was.
            if fs::remove_file(path).is_err() {}
        }
    }
}

/// The file that the environment names for more settings.
fn toml_of(env: &str, dir: &Path) -> Option<PathBuf> {
    let entry = EnvFile::new(env).value("RELAY_CONFIG")?;
    Some(dir.join(entry.value))
}

/// What lies in the directory of secrets.
fn secrets(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    if !dir.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry.context("list the secrets")?.path();
        let shown = path.display().to_string();
        if path.is_file() {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("the name of {shown} is no text"))?;
            let text = files::read(&path)?.unwrap_or_default();
            found.insert(format!("{SECRET}{name}"), text.into_bytes());
        }
    }
    Ok(found)
}

/// Settings with the values of secrets taken out, so that a reader sees which are needed.
fn without_secrets(text: &str) -> String {
    let is_secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        name == "DATABASE_URL" || SECRET_WORDS.iter().any(|word| name.contains(word))
    };
    // A list of TOML may go on in the next lines.
    let mut is_open = false;
    let line = |line: &str| {
        if is_open {
            is_open = !line.contains(']');
            return String::new();
        }
        let plain = line.trim_start();
        match plain.trim_start_matches("export ").split_once('=') {
            Some((name, value)) if !plain.starts_with('#') && is_secret(name.trim()) => {
                is_open = value.trim_start().starts_with('[') && !value.contains(']');
                format!("#{}= (a secret, not in this backup)\n", name.trim())
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backup that is copied somewhere holds no password, and says which are needed.
    #[test]
    fn secrets_are_taken_out_of_the_settings() {
        let text = "RELAY_CONTACT=mailto:a@b\nDATABASE_URL=postgres://u:pomegranate@h/d\n\
                    # a remark = pom\nexport RELAY_ADMIN_PASSWORD=pomegranate\n\
                    admin_passwords = [\n  \"pomegranate\",\n]\nshards = 1\n";
        let found = without_secrets(text);
        assert!(!found.contains("pomegranate"), "{found}");
        assert!(found.contains("RELAY_CONTACT=mailto:a@b\n#DATABASE_URL="), "{found}");
        assert!(found.contains("# a remark = pom\n#RELAY_ADMIN_PASSWORD="), "{found}");
        assert!(found.ends_with("not in this backup)\nshards = 1\n"), "{found}");
    }

    /// The places of a deployment, with a secret in each of them.
    fn deployment() -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("secrets"))?;
        fs::write(at("env"), "RELAY_CONTACT=mailto:a@b.example\nRELAY_CONFIG=more.toml\n")?;
        fs::write(at("more.toml"), "replay_window = \"48h\"\nadmin_passwords = \"pomegranate\"\n")?;
        fs::write(at("caddy.env"), "RELAY_SITE=relay.example.com\n")?;
        fs::write(at("secrets/relay.env"), "DATABASE_URL=postgres://u:pomegranate@h/d\n")?;
        fs::write(at("secrets/database-password"), "pomegranate\n")?;
        Ok(dir)
    }

    /// All that a deployment reads is in a backup, and its secrets only when they were asked for.
    #[test]
    fn a_backup_holds_all_settings_and_secrets_only_on_request() -> Result<()> {
        let dir = deployment()?;
        let papers = Papers::read(&dir.path().join("env"), dir.path())?;
        assert!(papers.config.database_url.expose().starts_with("postgres://u:"));
        let plain = papers.copy(false)?;
        assert_eq!(plain.keys().collect::<Vec<_>>(), [CADDY, SETTINGS, TOML]);
        let text: Vec<u8> = plain.values().flatten().copied().collect();
        assert!(!String::from_utf8_lossy(&text).contains("pomegranate"));
        let all = papers.copy(true)?;
        let secrets: Vec<_> = all.keys().filter(|name| name.starts_with(SECRET)).collect();
        assert_eq!(secrets, ["secret-database-password", "secret-relay.env"]);
        Ok(())
    }

    /// On an empty machine everything comes back where it was; what a person made anew stays, and a
    /// restore that fails leaves nothing behind.
    #[test]
    fn settings_come_back_where_nothing_is() -> Result<()> {
        let dir = deployment()?;
        let backup = tempfile::tempdir()?;
        for (name, bytes) in Papers::read(&dir.path().join("env"), dir.path())?.copy(true)? {
            fs::write(backup.path().join(name), bytes)?;
        }
        let new = tempfile::tempdir()?;
        let at = |name: &str| new.path().join(name);
        drop(Papers::put(backup.path(), &at("etc/env"), &at("run"))?);
        assert!(!at("etc/env").exists() && !at("etc/secrets/relay.env").exists());
        fs::write(at("etc/caddy.env"), "RELAY_SITE=new.example.com\n")?;
        let made = Papers::put(backup.path(), &at("etc/env"), &at("run"))?.keep();
        assert_eq!(made.len(), 4, "{made:?}");
        for (old, new) in [
            ("env", "etc/env"),
            ("more.toml", "run/more.toml"),
            ("secrets/relay.env", "etc/secrets/relay.env"),
            ("secrets/database-password", "etc/secrets/database-password"),
        ] {
            assert_eq!(fs::read(dir.path().join(old))?, fs::read(at(new))?, "{new}");
        }
        assert!(fs::read_to_string(at("etc/caddy.env"))?.contains("new.example.com"));
        Ok(())
    }
}
