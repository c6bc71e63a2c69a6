//! `provision mutants`: makes the product wrong in one place after the other and sees whether the test
//! that must notice does.
//!
//! The wrong versions and their tests are in `relay/mutants`. Everything happens in a copy of the
//! checkout beside the cache, so that an interrupted run leaves nothing wrong behind; dependencies are
//! those of the other stages.

mod baseline;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use provision::{cache::Cache, run};

use self::baseline::Mutant;
use crate::out;

/// Directory of the patches and of the table that says what becomes of each.
const MUTANTS: &str = "relay/mutants";
/// Seconds for one test, far above what any takes, so that one that hangs is told from one that fails.
const TEST_SECONDS: &str = "600";
/// What `timeout` gives for a program that it ended.
const TIMED_OUT: i32 = 124;

/// Which mutants.
#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Only these; without, all.
    names: Vec<String>,
    /// One JSON object per mutant.
    #[arg(long)]
    json: bool,
    /// Where build results and the copy of the checkout are kept.
    #[arg(long, env = "PROVISION_CACHE_DIR", value_name = "DIR")]
    cache: PathBuf,
}

/// Runs them; `true` when each did what the table expects.
pub(crate) fn run(args: &MutantsArgs) -> Result<bool> {
    let root = std::env::current_dir().context("find the checkout")?;
    let cache = Cache::open(&args.cache)?;
    let page =
        fs::read_to_string(root.join(MUTANTS).join("README.md")).context("read the table")?;
    let mut mutants = baseline::read(&page)?;
    if let Some(unknown) = args.names.iter().find(|name| mutants.iter().all(|m| m.name != **name)) {
        bail!("there is no mutant `{unknown}`");
    }
    mutants.retain(|mutant| args.names.is_empty() || args.names.contains(&mutant.name));
    // Tests of one binary one after the other, because each change of the product builds it anew.
    mutants.sort_by(|a, b| a.target.cmp(&b.target));
    let lab = Lab { tree: args.cache.join("mutants"), target: cache.target(&root)? };
    copy_checkout(&root, &lab.tree)?;

    let mut all_as_expected = true;
    for mutant in &mutants {
        let outcome = lab.try_one(mutant)?;
        let as_expected = outcome == mutant.expected;
        all_as_expected &= as_expected;
        let verdict = if as_expected { "" } else { "  NOT AS EXPECTED" };
        out::line(&if args.json {
            let Mutant { name, .. } = mutant;
            format!(r#"{{"mutant":"{name}","outcome":"{outcome}","as_expected":{as_expected}}}"#)
        } else {
            format!("{:<36} {outcome}{verdict}", mutant.name)
        });
    }
    Ok(all_as_expected)
}

/// The copy of the checkout, and where it is built.
struct Lab {
    tree: PathBuf,
    target: PathBuf,
}

impl Lab {
    /// What becomes of a mutant, in the word of the table.
    fn try_one(&self, mutant: &Mutant) -> Result<String> {
        let patch = self.tree.join(MUTANTS).join(format!("{}.patch", mutant.name));
        let patch = patch.to_string_lossy();
        match self.test(mutant)? {
            Seen::Passes => {}
            other => return Ok(format!("without the patch the test {}", other.word())),
        }
        let apply = |words: &[&str]| {
            run::quiet(run::program(&self.tree, &[&["git", "apply"], words, &[&*patch]].concat()))
        };
        apply(&[]).with_context(|| format!("apply {}", mutant.name))?;
        let seen = self.test(mutant);
        apply(&["--reverse"]).with_context(|| format!("take back {}", mutant.name))?;
        Ok(match seen? {
            Seen::Fails => "caught".to_owned(),
            Seen::Passes => "survived".to_owned(),
            other => format!("the test {}", other.word()),
        })
    }

    /// Builds and runs the test of a mutant in the copy as it is now.
    fn test(&self, mutant: &Mutant) -> Result<Seen> {
        let mut build = self.cargo(mutant);
        build.arg("--no-run");
        if !run::captured(build)?.0 {
            return Ok(Seen::DoesNotCompile);
        }
        let mut test = self.cargo(mutant);
        test.args(["--", &mutant.test]);
        let (code, said) = run::coded(test)?;
        Ok(match code {
            Some(0) if ran_one(&said) => Seen::Passes,
            Some(0) => Seen::IsNotThere,
            Some(TIMED_OUT) => Seen::Hangs,
            _ => Seen::Fails,
        })
    }

    fn cargo(&self, mutant: &Mutant) -> Command {
        let words = ["timeout", TEST_SECONDS, "cargo", "test", "--release", "--locked"];
        let mut command = run::program(&self.tree, &words);
        // Quick to compile again: a wrong version needs no speed, and changes in one place.
        for member in ["relay", "relay-protocol"] {
            for quick in ["opt-level=0", "debug=false", "codegen-units=256"] {
                command.args(["--config", &format!("profile.release.package.{member}.{quick}")]);
            }
        }
        command
            .args(["--package", &mutant.target.package])
            .args(&mutant.target.flags)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1");
        command
    }
}

/// What a test did.
enum Seen {
    Passes,
    Fails,
    Hangs,
    DoesNotCompile,
    IsNotThere,
}

impl Seen {
    const fn word(&self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Fails => "fails",
            Self::Hangs => "hangs",
            Self::DoesNotCompile => "does not compile",
            Self::IsNotThere => "is not there",
        }
    }
}

/// Whether the output of `cargo test` tells of one test that passed.
fn ran_one(output: &str) -> bool {
    output.contains("test result: ok. 1 passed;")
}

/// Makes `tree` what the checkout is: its files that are tracked or new, and no others. Files that are
/// the same keep their times, so that little is built anew.
fn copy_checkout(root: &Path, tree: &Path) -> Result<()> {
    let words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let listed = run::quiet(run::program(root, &words)).context("list the checkout")?;
    let names: Vec<&str> = listed.split('\0').filter(|name| !name.is_empty()).collect();
    for name in &names {
        let (from, to) = (root.join(name), tree.join(name));
        let bytes = match fs::read(&from) {
            Ok(bytes) => bytes,
            // Deleted, but not yet for git.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("read {name}")),
        };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let parent = to.parent().context("every file has a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::write(&to, bytes).with_context(|| format!("write {}", to.display()))?;
    }
    // What was deleted since the last run must not be compiled or counted.
    let stale = stale(tree, tree, &names)?;
    for path in stale {
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    ensure!(!names.is_empty(), "git lists no files: is this a checkout?");
    Ok(())
}

/// Files below `dir` that are not among the names, which begin at `tree`.
fn stale(tree: &Path, dir: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry.context("list the copy of the checkout")?.path();
        if path.is_dir() {
            found.extend(stale(tree, &path, names)?);
        } else if path
            .strip_prefix(tree)
            .is_ok_and(|name| !names.iter().any(|n| name == Path::new(n)))
        {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of no test, as after a renaming, proves nothing.
    #[test]
    fn a_test_that_did_not_run_has_not_passed() {
        assert!(ran_one("running 1 test\n.\ntest result: ok. 1 passed; 0 failed; 0 ignored"));
        assert!(!ran_one("running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored"));
    }

    /// The copy follows the checkout, also in what is deleted; files that stay keep their times.
    #[test]
    fn the_copy_is_what_the_checkout_is() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (root, tree) = (dir.path().join("root"), dir.path().join("tree"));
        fs::create_dir_all(root.join("sub"))?;
        run::quiet(run::program(&root, &["git", "init", "--quiet"]))?;
        fs::write(root.join(".gitignore"), "ignored\n")?;
        for name in ["stays", "sub/goes", "ignored"] {
            fs::write(root.join(name), name)?;
        }
        copy_checkout(&root, &tree)?;
        let time = fs::metadata(tree.join("stays"))?.modified()?;
        assert!(tree.join("sub/goes").exists() && !tree.join("ignored").exists());

        fs::remove_file(root.join("sub/goes"))?;
        fs::write(root.join("comes"), "new")?;
        fs::write(tree.join("stays-not"), "left by an interrupted run")?;
        copy_checkout(&root, &tree)?;

        assert!(!tree.join("sub/goes").exists() && !tree.join("stays-not").exists());
        assert_eq!(fs::read(tree.join("comes"))?, b"new");
        assert_eq!(fs::metadata(tree.join("stays"))?.modified()?, time);
        Ok(())
    }
}
