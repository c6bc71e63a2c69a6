//! `provision fuzz`: searches for bytes that break a decoder, target by target, steered by the code
//! that an input reaches.
//!
//! The fuzzed program is the release build's but for the members of the workspace, which
//! `relay/fuzz/rustc` compiles with libFuzzer's counters. What a search finds stays in the target
//! directory for the next one; `--keep` takes from it into `relay/fuzz/corpus` what reaches new code.

mod outcome;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::outcome::Outcome;
use provision::{cache::Cache, run};

use crate::out;

/// Where the inputs are that every checkout has.
const CORPUS: &str = "relay/fuzz/corpus";

/// Options of libFuzzer that every search has: inputs as long as the longest of the corpus, no input
/// that takes seconds or gigabytes.
const SEARCH: [&str; 4] =
    ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"];

/// Targets that try some hundred inputs a second: seconds of a search say nothing about them, so CI
/// tries their inputs in the corpus only.
const SLOW: [&str; 1] = ["segment"];

/// What to search.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Only these targets; without, all.
    targets: Vec<String>,
    /// How long in all, such as `90s`, `10m` or `4h`.
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "10m")]
    time: Duration,
    /// Take what reaches new code into the repository's corpus.
    #[arg(long)]
    keep: bool,
    /// One JSON object per target.
    #[arg(long)]
    json: bool,
    /// Where build results are kept.
    #[arg(long, env = "PROVISION_CACHE_DIR", value_name = "DIR")]
    cache: PathBuf,
}

/// Builds and searches; `true` when nothing was found.
pub(crate) fn run(args: &FuzzArgs) -> Result<bool> {
    let root = std::env::current_dir().context("find the checkout")?;
    let target = Cache::open(&args.cache)?.target(&root)?;
    let search = Search::build(&root, &target)?;
    let outcomes = search.all(&search.chosen(&args.targets)?, args.time)?;
    if args.json {
        for outcome in &outcomes {
            out::line(&outcome.json());
        }
    } else {
        print(&outcomes);
    }
    if args.keep {
        for outcome in outcomes.iter().filter(|outcome| outcome.failure.is_none()) {
            search.keep(&outcome.target)?;
        }
    }
    Ok(outcomes.iter().all(|outcome| outcome.failure.is_none()))
}

/// The same as a stage of `provision test`, over all targets that a minute is enough for.
pub(crate) fn stage(root: &Path, target: &Path, time: Duration) -> Result<bool> {
    let search = Search::build(root, target)?;
    let mut targets = search.chosen(&[])?;
    targets.retain(|target| !SLOW.contains(&target.as_str()));
    let outcomes = search.all(&targets, time)?;
    print(&outcomes);
    Ok(outcomes.iter().all(|outcome| outcome.failure.is_none()))
}

fn print(outcomes: &[Outcome]) {
    for line in outcome::table(outcomes) {
        out::line(&line);
    }
}

/// The fuzzed program and its directories.
struct Search {
    root: PathBuf,
    program: PathBuf,
    /// What earlier searches left, one directory per target; failures beside them.
    work: PathBuf,
}

impl Search {
    fn build(root: &Path, target: &Path) -> Result<Self> {
        let mut build = run::program(
            root,
            &["cargo", "build", "--quiet", "--release", "--locked", "--workspace"],
        );
        // Quick to compile: the search is as good with slower code.
        for quick in ["relay.opt-level=1", "relay-simnet.opt-level=1"] {
            build.args(["--config", &format!("profile.release.package.{quick}")]);
        }
        build
            .args(["--features", "relay-fuzz/engine", "--example", "fuzz"])
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTC_WORKSPACE_WRAPPER", root.join("relay/fuzz/rustc"));
        ensure!(run::streamed(build)?, "the fuzzed program does not compile");
        Ok(Self {
            root: root.to_owned(),
            program: target.join("release/examples/fuzz"),
            work: target.join("fuzz"),
        })
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.root.join(CORPUS).join(target)
    }

    /// All targets, or those that were asked for.
    fn chosen(&self, wanted: &[String]) -> Result<Vec<String>> {
        let mut known = Vec::new();
        for entry in fs::read_dir(self.root.join(CORPUS)).context("list the targets")? {
            known.push(
                entry.context("list the targets")?.file_name().to_string_lossy().into_owned(),
            );
        }
        known.sort();
        if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
            bail!("there is no target `{unknown}`; targets: {}", known.join(", "));
        }
        Ok(if wanted.is_empty() { known } else { wanted.to_vec() })
    }

    /// Searches the targets, as many at once as there are processors, each for its share of the time.
    fn all(&self, targets: &[String], time: Duration) -> Result<Vec<Outcome>> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let seconds = share(time, workers, targets.len());
        let waiting = Mutex::new(targets.iter());
        // The lock is free again before the search begins.
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut outcomes = thread::scope(|scope| -> Result<Vec<Outcome>> {
            let work = || -> Result<Vec<Outcome>> {
                std::iter::from_fn(next).map(|target| self.one(target, seconds)).collect()
            };
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for worker in workers {
                match worker.join() {
                    Ok(outcomes) => all.extend(outcomes?),
                    Err(_) => bail!("a search ended by a panic of this program"),
                }
            }
            Ok(all)
        })?;
        outcomes.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(outcomes)
    }

    /// Searches one target.
    fn one(&self, target: &str, seconds: u64) -> Result<Outcome> {
        let work = self.work.join(target);
        fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
        let (work, corpus) = (work.to_string_lossy(), self.corpus(target));
        let program = self.program.to_string_lossy();
        let mut command = run::program(&self.root, &[&program, &work, &corpus.to_string_lossy()]);
        command
            .args(SEARCH)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}-", self.work.join(target).display()))
            .env("FUZZ_TARGET", target);
        let (success, text) = run::captured(command)?;
        Ok(Outcome::read(target, success, &text))
    }

    /// Replaces the repository's inputs of a target by the fewest that reach the same code as they
    /// and all that was found.
    fn keep(&self, target: &str) -> Result<()> {
        let kept = self.work.join(format!("{target}.kept"));
        if kept.exists() {
            fs::remove_dir_all(&kept).context("empty a directory of ours")?;
        }
        fs::create_dir_all(&kept).with_context(|| format!("create {}", kept.display()))?;
        let (corpus, work) = (self.corpus(target), self.work.join(target));
        let paths = [&self.program, &kept, &corpus, &work].map(|path| path.to_string_lossy());
        let words: Vec<&str> = paths.iter().map(AsRef::as_ref).collect();
        let mut command = run::program(&self.root, &words);
        command.args(["-set_cover_merge=1", "-use_counters=0", "-max_len=4096"]);
        command.env("FUZZ_TARGET", target);
        run::quiet(command)?;
        fs::remove_dir_all(&corpus).with_context(|| format!("empty {}", corpus.display()))?;
        fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
        for entry in fs::read_dir(&kept).context("list what is kept")? {
            let entry = entry.context("list what is kept")?;
            fs::copy(entry.path(), corpus.join(entry.file_name())).context("keep an input")?;
        }
        Ok(())
    }
}

/// Seconds for one target, at least one.
fn share(time: Duration, workers: usize, targets: usize) -> u64 {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).max(1);
    (time.as_secs().saturating_mul(count(workers.min(targets))) / count(targets)).max(1)
}

/// Reads `90s`, `10m` or `4h`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write 90s, 10m or 4h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_ignored| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(span("4h"), Ok(Duration::from_hours(4)));
        for wrong in ["", "s", "10", "-1s", "1.5h", "10d", "ü"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    /// The time is for all targets together, whatever runs at once.
    #[test]
    fn the_time_is_shared_by_all_targets() {
        assert_eq!(share(Duration::from_mins(1), 2, 12), 10);
        assert_eq!(share(Duration::from_mins(1), 8, 1), 60);
        assert_eq!(share(Duration::from_secs(3), 1, 12), 1);
    }
}
