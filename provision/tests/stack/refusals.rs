//! What does not belong together: tables that are too new for the relay, a log and a database of
//! different relays. The relay refuses in a sentence, harms nothing however often it is started, and
//! goes on as soon as it is put right.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{InspectContainerOptions, RemoveVolumeOptions},
};
use provision::{
    image::{Engine, Part, SCOPE, scope},
    stack::{LABEL, Profile, Stack, sweep},
};
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use tokio::time::{Instant, sleep};

use crate::{
    image::{remove, run, well},
    operations::place,
    options, provided, say,
    traffic::Traffic,
};

/// Starts that are refused before it is looked at: the engine waits longer after each, so that there is
/// time to look while none goes on.
const STARTS: i64 = 4;
/// Longest that so many starts may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Tables of a version that no relay of today reads.
const NEWER: &str = "INSERT INTO relay_schema (version, readable_from) VALUES (900, 800)";
const NOT_NEWER: &str = "DELETE FROM relay_schema WHERE version = 900";
const TOO_NEW: &str = "tables of version 900";
const STRANGERS: &str = "one of the two was replaced or restored";

/// DESIGN 10.17, 10.18: after a rollback of the relay alone, or a restore of one half, an operator finds
/// the sentence in the log and the part in `stack status`; the engine may start the relay as often as it
/// likes; put right, it serves by itself, and no event is lost.
#[tokio::test]
#[ignore = "needs a container engine and root: just stage build,stack"]
async fn what_does_not_belong_together_is_refused_and_goes_on_when_it_is_put_right() -> Result<()> {
    let stack = Arc::new(Stack::up(options("refusals", Profile::ProdLike)).await?);
    let mut traffic = Traffic::start(&stack).await?;
    let containers = stack.containers();

    containers.stop("relay").await?;
    database(&stack, NEWER).await?;
    refused(&stack, TOO_NEW).await?;
    database(&stack, NOT_NEWER).await?;
    traffic.flows().await.context("after the tables were put right")?;
    containers.well("relay", &say()).await?;

    let data = place(containers).await?;
    let (own, away) = (data.join("persist"), data.join("persist-of-this-one"));
    containers.stop("relay").await?;
    fs::rename(&own, &away)?;
    another_log(containers.engine(), &own).await?;
    refused(&stack, STRANGERS).await?;
    containers.stop("relay").await?;
    fs::remove_dir_all(&own)?;
    fs::rename(&away, &own)?;
    containers.start("relay").await?;
    traffic.flows().await.context("after the log was put right")?;
    containers.well("relay", &say()).await?;

    let outcome = traffic.end().await?;
    eprintln!("two refusals: {outcome:?}");
    Arc::into_inner(stack).context("traffic still runs")?.down().await
}

/// Starts the relay, lets the engine start it again, and looks at what an operator sees.
async fn refused(stack: &Stack, sentence: &str) -> Result<()> {
    let containers = stack.containers();
    let data = place(containers).await?;
    let before = digests(&data)?;
    containers.start("relay").await?;
    let began = Instant::now();
    let id = containers.id("relay");
    let docker = containers.engine().docker();
    let state = loop {
        let found = docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
        let (starts, state) = (found.restart_count.unwrap_or_default(), found.state);
        let state = state.context("no state")?;
        if starts >= STARTS && state.restarting == Some(true) {
            break state;
        }
        ensure!(began.elapsed() < PATIENCE, "it is not refused: {state:?}");
        sleep(Duration::from_millis(50)).await;
    };
    ensure!(digests(&data)? == before, "a refused start has changed the data");
    ensure!(state.exit_code == Some(1), "{state:?}");
    let (good, told) = provision(stack, &["status"])?;
    ensure!(!good && told.contains("relay"), "status says that all is well: {told}");
    let (good, log) = provision(stack, &["logs", "relay"])?;
    let times = log.lines().filter(|line| line.contains(sentence)).count();
    ensure!(good && times > 2, "said {times} times:\n{log}");
    Ok(())
}

/// Runs the program as an operator does; whether it succeeded, and what it wrote.
fn provision(stack: &Stack, words: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    let output = command.arg("stack").args(words).args(["--name", stack.name()]).output()?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

async fn database(stack: &Stack, sql: &str) -> Result<()> {
    let words = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "relay", "-d", "relay", "-c", sql];
    stack.containers().exec("postgres", &words).await.map(drop)
}

/// Digests of all files below a directory but locks, whose holders leave their number in them.
fn digests(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.append(&mut digests(&path)?);
        } else if !path.ends_with("lock") {
            let digest = Sha256::digest(fs::read(&path)?).to_vec();
            found.insert(path, digest);
        }
    }
    Ok(found)
}

/// Lets another relay make a log, and puts it there.
async fn another_log(engine: &Engine, to: &Path) -> Result<()> {
    let volume = format!("test-other-{}", std::process::id());
    let data = started_once(engine, &volume).await?;
    let copied = Command::new("cp").arg("-a").arg(data.join("persist")).arg(to).status()?;
    ensure!(copied.success(), "the other log was not copied");
    engine.docker().remove_volume(&volume, None::<RemoveVolumeOptions>).await?;
    Ok(())
}

/// Lets a relay start on a volume; gives where its data lie on this machine.
async fn started_once(engine: &Engine, volume: &str) -> Result<PathBuf> {
    let image = provided(engine, Part::Relay).await?.image;
    let docker = engine.docker();
    let id = run(docker, &image, volume).await?;
    let outcome = well(docker, &id).await;
    remove(docker, &id).await?;
    outcome?;
    Ok(PathBuf::from(docker.inspect_volume(volume).await?.mountpoint))
}

/// A person who starts a stack on data that are too new for this relay is told so by `up` itself.
#[tokio::test]
#[ignore = "needs a container engine and root: just stage build,stack"]
async fn up_shows_why_a_relay_refuses_its_data() -> Result<()> {
    let options = options("too-new", Profile::Dev);
    let name = options.name.clone();
    let engine = Engine::connect().await?;
    let volume = format!("{name}-relay");
    let labels = [(LABEL.to_owned(), name.clone()), (SCOPE.to_owned(), scope())].into();
    let request = VolumeCreateRequest {
        name: Some(volume.clone()),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    };
    engine.docker().create_volume(request).await?;
    let file = started_once(&engine, &volume).await?.join("relay.sqlite");
    let url = format!("sqlite://{}", file.display());
    let mut tables = sqlx::SqliteConnection::connect(&url).await?;
    sqlx::query(NEWER).execute(&mut tables).await?;
    tables.close().await?;

    let error = Stack::up(options).await.err().context("it started")?;

    let error = format!("{error:#}");
    ensure!(error.contains("relay to be well") && error.contains(TOO_NEW), "{error}");
    ensure!(error.contains("its last exit code is 1"), "{error}");
    let after = sweep::count(&engine, Some(&name)).await?;
    assert_eq!((after.containers, after.networks, after.volumes), (0, 0, 0));
    Ok(())
}
