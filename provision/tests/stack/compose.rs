//! The file for people who use Compose, with Compose itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use provision::image::{Engine, Kit};
use serde_json::Value;

use crate::cache;

/// Compose as PyPI has it.
fn program() -> Result<PathBuf> {
    // Fetched once, also by tests side by side.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _fetching = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = cache().map_or_else(provision::cache::usual_place, Ok)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let kit = Kit::open(&root, &cache)?;
    kit.peers.compose(&root)
}

/// Runs Compose in a directory; gives what it wrote.
fn compose(directory: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(program()?).args(words).current_dir(directory).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Writes the file with the program; gives its directory.
fn written(profile: &str, name: &str) -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_provision"))
        .args(["stack", "compose", "--profile", profile, "--name", name, "--output"])
        .arg(directory.path())
        .env("RELAY_BINARY", provision::image::built_relay(crate::named_relay())?)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(directory)
}

/// Compose itself finds nothing wrong with the file, and reads from it what `up` starts.
#[test]
#[ignore = "needs Compose, which is fetched: just stage build,stack"]
fn compose_accepts_the_file_of_each_profile() -> Result<()> {
    for (profile, parts) in [("dev", 4), ("prod-like", 6)] {
        let directory = written(profile, "mine")?;
        let read = compose(directory.path(), &["config", "--format", "json"])?;
        let read: Value = serde_json::from_str(&read)?;
        let services = read["services"].as_object().context("no services")?;
        ensure!(services.len() == parts, "{services:?}");
        for (name, service) in services {
            let environment = service["environment"].as_object();
            let blank = environment.into_iter().flatten().find(|(_, value)| *value == "");
            ensure!(blank.is_none(), "{name} lacks a value: {blank:?}");
        }
    }
    Ok(())
}

/// A person types `docker compose up` beside the file and has the stack; `down` takes it away.
#[tokio::test]
#[ignore = "needs a container engine and Compose: just stage build,stack"]
async fn compose_runs_the_stack_from_the_file() -> Result<()> {
    let name = format!("test-compose-{}", std::process::id());
    let directory = written("prod-like", &name)?;
    let at = directory.path();
    let outcome = async {
        let wait = Duration::from_mins(3).as_secs().to_string();
        compose(at, &["up", "--detach", "--wait", "--wait-timeout", &wait])?;
        let port = compose(at, &["port", "caddy", "443"])?;
        let address: std::net::SocketAddr = port.trim().parse()?;
        let authority = at.join("root.crt");
        let inside = "caddy:/data/caddy/pki/authorities/local/root.crt";
        compose(at, &["cp", inside, &authority.to_string_lossy()])?;
        let authority = reqwest::Certificate::from_pem(&std::fs::read(authority)?)?;
        let client = reqwest::Client::builder()
            .tls_certs_only([authority])
            .resolve("relay.test", address)
            .build()?;
        let url = format!("https://relay.test:{}/xrpc/_health", address.port());
        let answer: Value = client.get(url).send().await?.error_for_status()?.json().await?;
        ensure!(answer["status"] == "ok", "{answer}");
        Ok(())
    };
    let outcome = outcome.await;
    let down = compose(at, &["down", "--volumes"]);
    outcome?;
    down?;
    let label = format!("com.docker.compose.project={name}");
    let filter = std::collections::HashMap::from([("label".to_owned(), vec![label])]);
    let options = bollard::query_parameters::ListContainersOptionsBuilder::default();
    let options = options.all(true).filters(&filter).build();
    let left = Engine::connect().await?.docker().list_containers(Some(options)).await?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
