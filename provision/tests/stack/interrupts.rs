//! Ctrl-C at every moment of a start, and the end of everything, by the program as a person types it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions,
};
use provision::{
    image::{Engine, LABEL as PART, SCOPE},
    stack::sweep,
};
use tokio::time::Instant;

use crate::number;

/// Longest that a moment may be waited for, and that an end may take.
const PATIENCE: Duration = Duration::from_mins(4);

/// A start that a person may interrupt.
struct Start {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Start {
    /// Starts `provision stack up` with these words.
    fn new(scope: &str, state: &Path, relay: &Path, words: &[&str]) -> Result<Self> {
        let mut child = provision(scope, state, relay)
            .arg("up")
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, said })
    }

    /// Waits until it says this.
    fn until(&self, words: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).with_context(|| format!("no `{words}`"))?;
            if line.contains(words) {
                return Ok(());
            }
        }
    }

    /// Ctrl-C; gives the exit code, `None` when the signal itself ended it.
    fn interrupt(mut self) -> Result<Option<i32>> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(Instant::now() < end, "it does not end");
            // Its words are waited for instead of time; they end when it does.
            if self.said.recv_timeout(Duration::from_millis(50)).is_err() {}
        }
    }
}

fn provision(scope: &str, state: &Path, relay: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    command.arg("stack").env("PROVISION_STACK_SCOPE", scope);
    command.env("PROVISION_STATE_DIR", state).env("RELAY_BINARY", relay);
    command
}

/// What the engine has of a scope: containers, networks, volumes, images.
async fn counts(engine: &Engine, scope: &str) -> Result<[usize; 4]> {
    let docker = engine.docker();
    let is_of = |label: Option<&String>| label.is_some_and(|label| label == scope);
    let all = ListContainersOptionsBuilder::default().all(true).build();
    let containers = docker.list_containers(Some(all)).await?;
    let containers = containers.iter().filter_map(|one| one.labels.as_ref());
    let networks = docker.list_networks(None::<ListNetworksOptions>).await?;
    let networks = networks.iter().filter_map(|one| one.labels.as_ref());
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await?.volumes;
    let volumes = volumes.iter().flatten().map(|one| &one.labels);
    let images = bollard::query_parameters::ListImagesOptionsBuilder::default().all(true).build();
    let images = docker.list_images(Some(images)).await?;
    let images = images.iter().map(|one| &one.labels);
    Ok([
        containers.filter(|labels| is_of(labels.get(SCOPE))).count(),
        networks.filter(|labels| is_of(labels.get(SCOPE))).count(),
        volumes.filter(|labels| is_of(labels.get(SCOPE))).count(),
        images.filter(|labels| is_of(labels.get(SCOPE)) && labels.contains_key(PART)).count(),
    ])
}

/// A person who changes their mind types Ctrl-C, whenever it is: nothing of the stack is left, and the
/// exit code says whether there was one. `down --all --images` takes away the images too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine: just stage build,stack"]
async fn ctrl_c_at_any_moment_and_down_all_leave_nothing() -> Result<()> {
    let scope = format!("test-keys-{}", std::process::id());
    let (engine, state) = (Engine::connect().await?, tempfile::tempdir()?);
    let relay = provision::image::built_relay(crate::named_relay())?;
    let name = format!("{scope}-one");
    let before = counts(&engine, &scope).await?;
    assert_eq!(before, [0; 4]);
    let moments = [
        // The first of a scope, which has no images yet; `--keep` is for a stack that is up.
        ("making the image", 1, &["--keep"][..]),
        ("made atproto-relay/", 1, &[]),
        ("all containers run", 1, &["--keep"]),
        ("an account wrote a record", 1, &[]),
        ("Ctrl-C ends it", 0, &[]),
    ];
    let outcome = async {
        for (words, expected, more) in moments {
            let words_of_it = [&["--name", &name], more].concat();
            let start = Start::new(&scope, state.path(), &relay, &words_of_it)?;
            start.until(words)?;
            let began = Instant::now();
            let code = start.interrupt()?;
            let seconds = began.elapsed().as_secs_f64();
            let [containers, networks, volumes, images] = counts(&engine, &scope).await?;
            eprintln!(
                "Ctrl-C at `{words}`: exit code {code:?} after {seconds:.1} s, {images} images"
            );
            ensure!(code == Some(expected), "exit code {code:?} at `{words}`");
            ensure!((containers, networks, volumes) == (0, 0, 0), "something stayed at `{words}`");
            let secrets = state.path().join("stacks").join(&name);
            ensure!(!secrets.exists(), "the secrets stayed at `{words}`");
        }
        ensure!(counts(&engine, &scope).await?[3] > 2, "no images were made");
        Ok(())
    };
    let outcome = outcome.await;
    let ended =
        provision(&scope, state.path(), &relay).args(["down", "--all", "--images"]).status();
    outcome?;
    ensure!(ended?.success(), "down failed");
    assert_eq!(counts(&engine, &scope).await?, before, "something is left");
    Ok(())
}

/// The same at moments of chance; `STACK_ROUNDS` says how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine and minutes: just nightly"]
async fn slow_ctrl_c_at_moments_of_chance_leaves_nothing() -> Result<()> {
    let state = tempfile::tempdir()?;
    let engine = Engine::connect().await?;
    let relay = provision::image::built_relay(crate::named_relay())?;
    let name = format!("test-chance-{}", std::process::id());
    for round in 0..number("STACK_ROUNDS")?.unwrap_or(12) {
        let start = Start::new("", state.path(), &relay, &["--name", &name])?;
        // Not a wait for something: the moment itself is what is tried.
        let after = Duration::from_millis(rand::random_range(0..9_000));
        tokio::time::sleep(after).await;
        let code = start.interrupt().with_context(|| format!("round {round}, {after:?}"))?;
        let left = sweep::count(&engine, Some(&name)).await?;
        eprintln!("Ctrl-C after {after:?}: exit code {code:?}");
        // Without a code the program had not begun to listen.
        ensure!(matches!(code, None | Some(0 | 1)), "exit code {code:?} after {after:?}");
        ensure!((left.containers, left.networks, left.volumes) == (0, 0, 0), "{left:?} {after:?}");
        ensure!(!state.path().join("stacks").join(&name).exists(), "secrets stayed: {after:?}");
    }
    Ok(())
}
