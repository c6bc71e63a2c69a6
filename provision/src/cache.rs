//! Where downloads and build results are kept between runs: one directory outside the checkout, with
//! a folder per lock file, so that a changed lock file starts afresh and an old one is found again.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result};

use crate::run;

/// Folders of one kind that are kept; older ones are removed.
const KEPT_PER_KIND: usize = 2;

/// The cache directory: `PROVISION_CACHE_DIR`, else `$XDG_CACHE_HOME/atproto-relay`, else
/// `~/.cache/atproto-relay`.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// `$XDG_CACHE_HOME/atproto-relay`, else `~/.cache/atproto-relay`.
///
/// # Errors
/// When neither variable is set.
pub fn usual_place() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || from("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let parent = from("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Ok(parent.context("neither HOME nor XDG_CACHE_HOME is set; say --cache")?.join("atproto-relay"))
}

impl Cache {
    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("create the cache {}", root.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// Cargo's target directory for the checkout's lock file and the present compiler.
    ///
    /// # Errors
    /// When the compiler does not say which it is, or a file cannot be read.
    pub fn target(&self, root: &Path) -> Result<PathBuf> {
        let rustc = run::quiet(run::program(root, &["rustc", "-vV"]))?;
        let folder = self.folder("target", &[root.join("Cargo.lock")], &rustc)?;
        claim(&folder, root)?;
        Ok(folder)
    }

    /// The folder of a blank Debian on which the tests of the deployment play, and the words that make its
    /// `host.tar` where there is none.
    ///
    /// # Errors
    /// When a file cannot be read or the folder cannot be made.
    pub fn blank_host(
        &self,
        root: &Path,
        release: &str,
        packages: &[&str],
    ) -> Result<(PathBuf, Vec<String>)> {
        let here = root.join("provision/tests/deploy/host");
        let parts = ["system", "machine", "container-fstab.service"].map(|name| here.join(name));
        let kind = format!("blank-host-{release}");
        let folder = self.folder(&kind, &parts, &packages.join(" "))?;
        let archive = folder.join("host.tar");
        let [program, archive] =
            [&here.join("system"), &archive].map(|path| path.to_string_lossy().into_owned());
        let mut words = vec![program, release.to_owned(), archive];
        words.extend(packages.iter().map(|name| (*name).to_owned()));
        Ok((folder, words))
    }

    /// The folder of `kind` for the present contents of `lock_files` and `extra`. Marks it as used
    /// and removes the least recently used ones of its kind.
    ///
    /// # Errors
    /// When a file cannot be read or the folder cannot be made.
    pub fn folder(&self, kind: &str, lock_files: &[PathBuf], extra: &str) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        extra.hash(&mut hasher);
        for file in lock_files {
            fs::read(file).with_context(|| format!("read {}", file.display()))?.hash(&mut hasher);
        }
        let parent = self.root.join(kind);
        let folder = parent.join(format!("{:016x}", hasher.finish()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        fs::write(folder.join(".used"), "").context("mark the cache folder as used")?;
        prune(&parent, &folder)?;
        Ok(folder)
    }
}

/// Removes what another checkout has built of its own crates. Cargo compares ages only: what was built
/// there after this checkout was made would be taken for the build of this one.
fn claim(folder: &Path, root: &Path) -> Result<()> {
    let mark = folder.join(".checkout");
    let root_text =
        root.canonicalize().context("find the checkout")?.to_string_lossy().into_owned();
    // A mark that cannot be read is as good as none.
    if fs::read_to_string(&mark).is_ok_and(|known| known == root_text) {
        return Ok(());
    }
    for profile in ["release", "dist"] {
        if folder.join(profile).is_dir() {
            let words =
                ["cargo", "clean", "--quiet", "--locked", "--workspace", "--profile", profile];
            let mut clean = run::program(root, &words);
            clean.env("CARGO_TARGET_DIR", folder);
            run::quiet(clean).context("remove what another checkout has built")?;
        }
    }
    fs::write(&mark, root_text).context("mark the builds as those of this checkout")
}

fn prune(parent: &Path, current: &Path) -> Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(parent).context("list the cache")? {
        let path = entry.context("list the cache")?.path();
        if path != current {
            let used = fs::metadata(path.join(".used")).and_then(|found| found.modified());
            others.push((used.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(KEPT_PER_KIND);
    for (_, path) in others.into_iter().take(surplus) {
        fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed lock file gets a new folder, an unchanged one its old folder with its contents.
    #[test]
    fn a_folder_lives_as_long_as_its_lock_file() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let lock = dir.path().join("lock");
        let cache = Cache::open(&dir.path().join("cache"))?;

        fs::write(&lock, "one")?;
        let first = cache.folder("target", std::slice::from_ref(&lock), "")?;
        fs::write(first.join("kept"), "")?;
        fs::write(&lock, "two")?;
        let second = cache.folder("target", std::slice::from_ref(&lock), "")?;
        fs::write(&lock, "one")?;
        let again = cache.folder("target", std::slice::from_ref(&lock), "")?;

        assert_ne!(first, second);
        assert_eq!(first, again);
        assert!(again.join("kept").exists());
        Ok(())
    }

    /// Two checkouts with one lock file do not run each other's programs; what neither of them wrote is
    /// built once for both.
    #[test]
    fn a_checkout_does_not_run_what_another_one_built() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let cache = Cache::open(&dir.path().join("cache"))?;
        let mut programs = Vec::new();
        for (name, text) in [("one", "1"), ("two", "2"), ("one", "1")] {
            let root = dir.path().join(name);
            fs::create_dir_all(root.join("src"))?;
            fs::write(
                root.join("Cargo.toml"),
                "[package]\nname = \"shown\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
            )?;
            let main = root.join("src/main.rs");
            if !main.exists() {
                fs::write(&main, format!("fn main() {{ print!(\"{text}\") }}"))?;
            }
            run::quiet(run::program(&root, &["cargo", "generate-lockfile", "--offline"]))?;
            let target = cache.target(&root)?;
            // As old as a checkout that was there before the other one was built.
            fs::File::open(&main)?.set_modified(SystemTime::UNIX_EPOCH)?;
            let mut build = run::program(&root, &["cargo", "build", "--release", "--offline"]);
            build.env("CARGO_TARGET_DIR", &target);
            run::quiet(build)?;
            let shown = target.join("release/shown").to_string_lossy().into_owned();
            programs.push(run::quiet(run::program(&root, &[&shown]))?);
        }
        assert_eq!(programs, ["1", "2", "1"]);
        Ok(())
    }

    /// Only the most recent folders of a kind stay.
    #[test]
    fn old_folders_are_removed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let cache = Cache::open(dir.path())?;
        for extra in ["a", "b", "c", "d"] {
            cache.folder("npm", &[], extra)?;
        }
        assert_eq!(fs::read_dir(dir.path().join("npm"))?.count(), KEPT_PER_KIND);
        Ok(())
    }
}
