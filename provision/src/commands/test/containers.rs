//! The tests in containers: sees that an engine runs, makes the images, runs the tests.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use provision::run;

use super::{
    Outcome, Workplace, now,
    stages::{cargo_test, passed},
};
use crate::{out, tools};

/// Longest that an engine may take to answer after its start.
const START_MAX: Duration = Duration::from_mins(1);
/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Runs the tests of `provision/tests/stack`, the example for other projects, and the page about CI.
pub(super) fn run(work: &Workplace) -> Result<Outcome> {
    let _engine = match engine(work) {
        Ok(engine) => engine,
        Err(error) => {
            out::line(&format!("{error:#}"));
            return Ok(work.without());
        }
    };
    let release = work.target.join("release");
    let began = now();
    let program = release.join("provision");
    let images = run::program(&work.root, &[&program.to_string_lossy(), "image", "all"]);
    if !run::streamed(with_places(work, images))? {
        return Ok(Outcome::Failed);
    }
    out::line(&format!("the images are there after {} s", now().duration_since(began).as_secs()));
    let mut good = true;
    for what in [
        // What takes minutes is for `just nightly`.
        &["--test", "stack", "--", "--ignored", "--show-output", "--test-threads=2", "--skip=slow"]
            [..],
        &["--example", "in_a_test", "--", "--ignored"],
    ] {
        let mut tests = cargo_test(work);
        tests.args(what);
        good &= run::streamed(with_places(work, tests))?;
    }
    Ok(passed(good))
}

/// Sees that an engine runs: that of the machine, or one that ends with the value.
pub(super) fn engine(work: &Workplace) -> Result<Option<Started>> {
    if answers(&work.root) {
        out::line("the engine of this machine is used");
        return Ok(None);
    }
    start(work).map(Some)
}

/// Where the relay and the downloads are.
pub(super) fn with_places(work: &Workplace, mut command: Command) -> Command {
    command
        .env("RELAY_BINARY", work.target.join("release/relay"))
        .env("PROVISION_CACHE_DIR", &work.cache)
        // `provision stack down --all` of somebody on this machine leaves these alone.
        .env("PROVISION_STACK_SCOPE", "provision-test");
    command
}

/// Whether an engine answers.
fn answers(root: &Path) -> bool {
    tools::on_path("docker")
        && run::quiet(run::program(root, &["docker", "version", "--format", "{{.Server.Version}}"]))
            .is_ok()
}

/// An engine that was started here, and ends with this value.
pub(super) struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It asks its helpers to end too, which a harder signal would not let it do.
        let pid = self.0.id().to_string();
        let asked = run::quiet(run::program(Path::new("/"), &["kill", &pid]));
        if asked.is_err() || self.0.wait().is_err() {
            out::line("the container engine that was started here did not end");
        }
    }
}

/// Starts Docker, which keeps its images in the cache.
fn start(work: &Workplace) -> Result<Started> {
    if !tools::on_path("dockerd") {
        bail!(
            "no container engine answers and none is installed; install: apt-get install docker.io"
        );
    }
    let log = work.cache.join("dockerd.log");
    let out = File::create(&log).with_context(|| format!("write {}", log.display()))?;
    let data = work.cache.join("docker");
    let mut command = run::program(&work.root, &["dockerd", "--data-root"]);
    command.arg(&data).stdout(Stdio::null()).stderr(out);
    let mut engine = Started(command.spawn().context("start dockerd")?);
    let began = now();
    while !answers(&work.root) {
        let ended = engine.0.try_wait().context("look at dockerd")?;
        if ended.is_some() || now().duration_since(began) > START_MAX {
            bail!("dockerd does not answer; its log is {}", log.display());
        }
        pause();
    }
    out::line(&format!("Docker was started; its log is {}", log.display()));
    Ok(engine)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rule is for the relay; here nothing else is going on"
)]
fn pause() {
    std::thread::sleep(ASK_EVERY);
}
