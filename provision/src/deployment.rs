//! Deployments: relays on machines of their own, begun and looked after from one checkout.
//!
//! Each has a directory `deployments/NAME` with everything that is known of it on this side: settings,
//! secrets, the inventory, the keys of its host, what was done to it; for hosts that Terraform makes also
//! variables and state. Git does not see it.

pub mod backups;
pub mod begin;
pub mod checkup;
pub mod dash;
pub mod deploy;
pub mod destroy;
mod host;
pub mod job;
pub mod journal;
mod lines;
pub mod nixos;
mod order;
pub mod playbook;
mod progress;
mod remote;
pub mod replace;
mod rows;
pub mod selfcheck;
pub mod status;
pub mod stop;
mod summary;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

pub use self::{
    host::{DataDisk, Host, System},
    remote::Remote,
};

/// The directory of all of them.
const PLACE: &str = "deployments";
/// Longest name; it is a part of the names that providers take.
const NAME_MAX: usize = 32;

/// One relay of a checkout.
#[derive(Debug, Clone)]
pub struct Deployment {
    name: String,
    checkout: PathBuf,
    directory: PathBuf,
}

impl Deployment {
    /// The place of a deployment, which need not be there yet.
    ///
    /// * `checkout` – the directory that has `ansible` and `terraform`
    ///
    /// # Errors
    /// When the name is none, or the checkout is none.
    pub fn place(checkout: &Path, name: &str) -> Result<Self> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
                && name.len() <= NAME_MAX
                && !name.ends_with('-')
                && name.bytes().all(is_plain),
            "`{name}` is no name of a deployment: at most {NAME_MAX} lower-case letters, digits and hyphens, such as hil"
        );
        let checkout = root(checkout)?;
        let directory = checkout.join(PLACE).join(name);
        Ok(Self { name: name.to_owned(), checkout, directory })
    }

    /// Finds a deployment that was begun; without a name the only one that there is.
    ///
    /// # Errors
    /// When there is no such one, or there are several and none was named.
    pub fn open(checkout: &Path, name: Option<&str>) -> Result<Self> {
        if let Some(name) = name {
            let found = Self::place(checkout, name)?;
            if found.directory.is_dir() {
                return Ok(found);
            }
            let all = Self::names(checkout)?;
            bail!("there is no deployment {name}; {}", there_are(&all))
        }
        let all = Self::names(checkout)?;
        match &*all {
            [only] => Self::place(checkout, only),
            [] => bail!("{}", there_are(&all)),
            _ => bail!("say which deployment is meant; {}", there_are(&all)),
        }
    }

    /// All that were begun, by their names.
    ///
    /// # Errors
    /// When the checkout is none, or cannot be read.
    pub fn all(checkout: &Path) -> Result<Vec<Self>> {
        Self::names(checkout)?.iter().map(|name| Self::place(checkout, name)).collect()
    }

    fn names(checkout: &Path) -> Result<Vec<String>> {
        let place = root(checkout)?.join(PLACE);
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("list {}", place.display())),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.with_context(|| format!("list {}", place.display()))?.file_name();
            // What is no name of a deployment is something that a person keeps there.
            if let Some(name) = name.to_str()
                && place.join(name).is_dir()
                && Self::place(checkout, name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checkout.
    #[must_use]
    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file of its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Its inventory for Ansible.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.file("inventory.yml")
    }

    /// The host contract, from the inventory.
    ///
    /// # Errors
    /// When there is no inventory yet, or it is none.
    pub fn host(&self) -> Result<Host> {
        Host::read(self)
    }

    /// The way to its host.
    ///
    /// # Errors
    /// See [`Deployment::host`].
    pub fn remote(&self) -> Result<Remote> {
        Ok(Remote::new(self, &self.host()?))
    }
}

fn root(checkout: &Path) -> Result<PathBuf> {
    let checkout = checkout.canonicalize().context("find the checkout")?;
    ensure!(
        checkout.join("ansible/site.yml").is_file() || checkout.join("terraform/main.tf").is_file(),
        "{} is no checkout of the relay: it has neither ansible/site.yml nor terraform/main.tf; run this in one, \
         or name it with --checkout",
        checkout.display()
    );
    Ok(checkout)
}

fn there_are(names: &[String]) -> String {
    if names.is_empty() {
        return "there is none yet; begin one with `just init relay.example.com`".to_owned();
    }
    format!("there are: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("ansible"))?;
        fs::write(dir.path().join("ansible/site.yml"), "")?;
        Ok(dir)
    }

    /// Whoever has one relay need not name it; whoever has two must, and is told their names.
    #[test]
    fn the_only_deployment_needs_no_name() -> Result<()> {
        let dir = checkout()?;
        let none = Deployment::open(dir.path(), None).expect_err("none").to_string();
        assert!(none.contains("just init"), "{none}");
        fs::create_dir_all(dir.path().join("deployments/ash/secrets"))?;
        fs::create_dir(dir.path().join("deployments/.git"))?;
        fs::write(dir.path().join("deployments/notes"), "")?;
        assert_eq!(Deployment::open(dir.path(), None)?.name(), "ash");
        fs::create_dir(dir.path().join("deployments/hil"))?;
        let two = Deployment::open(dir.path(), None).expect_err("two").to_string();
        assert!(two.contains("ash, hil"), "{two}");
        let other = Deployment::open(dir.path(), Some("fsn")).expect_err("other").to_string();
        assert!(other.contains("no deployment fsn; there are: ash, hil"), "{other}");
        Ok(())
    }

    /// A name becomes a path and a name at providers: nothing else than a plain word is taken.
    #[test]
    fn a_name_is_a_plain_word() -> Result<()> {
        let dir = checkout()?;
        for name in ["", "../x", "Ash", "-a", "a-", "a b", "1a", &"a".repeat(33)] {
            let refused = Deployment::place(dir.path(), name).expect_err(name).to_string();
            assert!(refused.contains("no name of a deployment"), "{refused}");
        }
        let elsewhere = tempfile::tempdir()?;
        let refused = Deployment::place(elsewhere.path(), "ash").expect_err("no checkout");
        assert!(refused.to_string().contains("--checkout"), "{refused:#}");
        Ok(())
    }
}
