//! Passwords of a stack: made for it alone, kept in a file that only its owner reads.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What a stack's parts and people authenticate with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// Password of the relay's admin API; the user is `admin`.
    pub relay_admin: String,
    /// Password of the PDS's admin API.
    pub pds_admin: String,
    /// What the PDS signs tokens with.
    pub pds_tokens: String,
    /// Key with which the PDS changes identities, 64 hexadecimal digits.
    pub pds_rotation_key: String,
    /// Password of the user `relay` in Postgres.
    pub postgres: String,
    /// Password of the accounts that the stack makes.
    pub accounts: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secrets")
    }
}

impl Secrets {
    /// New ones.
    pub fn generate() -> Self {
        let word = || {
            let bytes: [u8; 32] = rand::random();
            data_encoding::HEXLOWER.encode(&bytes)
        };
        Self {
            relay_admin: word(),
            pds_admin: word(),
            pds_tokens: word(),
            pds_rotation_key: word(),
            postgres: word(),
            accounts: word(),
        }
    }

    /// None at all, for what only looks at the shape of a stack; variables for Compose instead.
    pub(super) fn blank() -> Self {
        let variable = |name: &str| format!("${{{name}}}");
        Self {
            relay_admin: variable("RELAY_ADMIN_PASSWORD"),
            pds_admin: variable("PDS_ADMIN_PASSWORD"),
            pds_tokens: variable("PDS_SECRET"),
            pds_rotation_key: variable("PDS_ROTATION_KEY"),
            postgres: variable("POSTGRES_PASSWORD"),
            accounts: variable("ACCOUNTS_PASSWORD"),
        }
    }

    /// All, in the order of the fields.
    pub(super) fn list(&self) -> [&str; 6] {
        [
            &self.relay_admin,
            &self.pds_admin,
            &self.pds_tokens,
            &self.pds_rotation_key,
            &self.postgres,
            &self.accounts,
        ]
    }

    pub(super) fn store(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the secrets")?;
        private(file, text.as_bytes())
    }

    pub(super) fn load(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("read {}", file.display()))
    }
}

/// Writes a file that only its owner reads.
pub(super) fn private(file: &Path, contents: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
        out.write_all(contents)
    };
    write().with_context(|| format!("write {}", file.display()))
}

/// The directory with secrets and certificate of a stack: below `PROVISION_STATE_DIR`, else
/// `$XDG_STATE_HOME/atproto-relay`, else `~/.local/state/atproto-relay`.
pub(super) fn directory(name: &str) -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let usual = || {
        let home = || from("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        Some(from("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?.join("atproto-relay"))
    };
    let parent = from("PROVISION_STATE_DIR").map(PathBuf::from).or_else(usual);
    let parent = parent.context("HOME is not set; say where secrets go by PROVISION_STATE_DIR")?;
    Ok(parent.join("stacks").join(name))
}

/// Makes it.
pub(super) fn make_directory(name: &str) -> Result<PathBuf> {
    let directory = directory(name)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("make {}", directory.display()))?;
    Ok(directory)
}
