//! A stack from its start to its end, as people and other projects use it.

use std::{net::TcpStream, process::Command};

use anyhow::{Context as _, Result, ensure};
use provision::{
    image::Engine,
    stack::{Profile, Stack, sweep},
};
use serde_json::Value;

use crate::{options, traffic::foreign_events};

/// What the public may reach answers by the relay's name with Caddy's certificate; a record goes from
/// the PDS to a consumer of ours and to one that is not ours, which verifies it. The admin API, the
/// metrics and the database are not there for strangers. In the end nothing is left.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn a_stack_serves_its_public_name_and_leaves_nothing() -> Result<()> {
    let mut options = options("life", Profile::ProdLike);
    options.foreign_consumer = true;
    let name = options.name.clone();
    let engine = Engine::connect().await?;
    let before = sweep::count(&engine, Some(&name)).await?;
    let stack = Stack::up(options).await?;
    let during = sweep::count(&engine, Some(&name)).await?;
    assert_eq!((during.containers, during.networks, during.volumes), (7, 1, 5));

    public_name(&stack).await?;
    closed(&stack).await?;
    foreign(&stack).await?;

    let secrets = stack.addresses().secrets.clone();
    ensure!(secrets.exists(), "no secrets file");
    stack.down().await?;
    let after = sweep::count(&engine, Some(&name)).await?;
    assert_eq!((after.containers, after.networks, after.volumes), (0, 0, 0));
    assert_eq!(before.containers, 0);
    assert!(!secrets.exists(), "the secrets stayed");
    Ok(())
}

async fn public_name(stack: &Stack) -> Result<()> {
    let relay = &stack.addresses().relay;
    let get = |path: &str| stack.client().get(format!("{relay}{path}")).send();
    let health = get("/xrpc/_health").await?;
    assert_eq!(health.status(), 200);
    let hosts: Value = get("/xrpc/com.atproto.sync.listHosts").await?.json().await?;
    assert_eq!(hosts["hosts"][0]["hostname"], "pds.test", "{hosts}");
    // Who does not know the authority does not believe the certificate.
    let stranger = reqwest::Client::builder().build()?;
    assert!(stranger.get(format!("{relay}/xrpc/_health")).send().await.is_err());
    Ok(())
}

async fn closed(stack: &Stack) -> Result<()> {
    let relay = &stack.addresses().relay;
    let password = &stack.secrets().relay_admin;
    for path in ["/admin/v1/status", "/admin/v1/hosts", "/admin/pds/list", "/metrics", "/dash"] {
        let request = stack.client().get(format!("{relay}{path}"));
        let answer = request.basic_auth("admin", Some(password)).send().await?;
        assert_eq!(answer.status(), 404, "{path} through the public name");
    }
    // With the password, on this machine's loopback, it is there.
    assert!(stack.admin("/admin/v1/status").await?.is_object());
    for (service, port) in [("postgres", 5432), ("relay", 2470), ("relay", 2471)] {
        let published = stack.containers().port(service, port).await;
        assert!(published.is_err(), "{service} {port} is reached from outside");
    }
    // What is published listens on the loopback alone.
    let port = stack.containers().port("relay", 2472).await?;
    let other = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    if let Ok(other) = other {
        assert!(TcpStream::connect((other.ip(), port)).is_err(), "{} answers", other.ip());
    }
    Ok(())
}

/// The consumer that is not ours has verified a record that was written while it read.
async fn foreign(stack: &Stack) -> Result<()> {
    let account = stack.account("bob").await?;
    let record = stack.post(&account, "seen by a stranger").await?;
    let events = foreign_events(stack, |events| {
        events.iter().any(|event| event["rev"] == record.rev.as_str())
    })
    .await?;
    // The relay knows where it is, although it came through Caddy like everybody.
    let consumers = stack.admin("/admin/consumers/list").await?;
    let caddy = stack.containers().caddy().await?.to_string();
    let addresses = consumers.as_array().context("a list")?.iter().map(|row| &row["remote_addr"]);
    let addresses: Vec<_> = addresses.collect();
    ensure!(!addresses.is_empty(), "nobody reads");
    assert!(addresses.iter().all(|address| **address != caddy), "{caddy}: {addresses:?}");
    let complaints: Vec<_> = events.iter().filter(|event| event["error"].is_string()).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// Two stacks of one machine do not know each other, and the end of all is the end of all, by the
/// program as a person types it.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn two_stacks_run_side_by_side_and_down_all_ends_both() -> Result<()> {
    let scope = format!("test-all-{}", std::process::id());
    let state = tempfile::tempdir()?;
    let provision = |words: &[&str]| -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command.arg("stack").args(words);
        command.env("PROVISION_STACK_SCOPE", &scope).env("PROVISION_STATE_DIR", state.path());
        command.env("RELAY_BINARY", provision::image::built_relay(crate::named_relay())?);
        let output = command.output()?;
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    let outcome = beside(&scope, &provision);
    // Whatever came out, nothing of it stays.
    let (good, _) = provision(&["down", "--all", "--images"])?;
    outcome?;
    ensure!(good, "down failed");
    let (_, told) = provision(&["status", "--json"])?;
    assert_eq!(told, "");
    nothing_of(&scope).await
}

/// Whether the program succeeded, and what it wrote.
type Told = Result<(bool, String)>;

/// Starts two and asks about them.
fn beside(scope: &str, provision: &impl Fn(&[&str]) -> Told) -> Result<()> {
    let mut addresses = Vec::new();
    for name in ["one", "two"] {
        let name = format!("{scope}-{name}");
        let (good, told) = provision(&["up", "--keep", "--json", "--name", &name])?;
        ensure!(good, "{name} did not start");
        let told: Value = serde_json::from_str(&told)?;
        let secrets = told["addresses"]["secrets"].as_str().context("no secrets")?.to_owned();
        ensure!(std::fs::metadata(&secrets)?.is_file(), "{secrets}");
        addresses.push(told["addresses"]["relay"].as_str().context("no address")?.to_owned());
    }
    assert_ne!(addresses[0], addresses[1]);
    let (good, told) = provision(&["status", "--json"])?;
    ensure!(good, "not well: {told}");
    assert_eq!(told.lines().count(), 8, "{told}");
    let (good, log) = provision(&["logs", "relay", "--name", &format!("{scope}-one")])?;
    ensure!(good && log.contains("the firehose is at"), "{log}");
    Ok(())
}

/// The engine itself says that there is nothing.
async fn nothing_of(scope: &str) -> Result<()> {
    let engine = Engine::connect().await?;
    let images = bollard::query_parameters::ListImagesOptionsBuilder::default()
        .filters(&std::collections::HashMap::from([(
            "label".to_owned(),
            vec![format!("{}={scope}", provision::image::SCOPE)],
        )]))
        .build();
    assert!(engine.docker().list_images(Some(images)).await?.is_empty());
    for name in ["one", "two"] {
        let name = format!("{scope}-{name}");
        let labels = format!("{}={name}", provision::stack::LABEL);
        let filter = std::collections::HashMap::from([("label".to_owned(), vec![labels])]);
        let networks = bollard::query_parameters::ListNetworksOptionsBuilder::default()
            .filters(&filter)
            .build();
        assert!(engine.docker().list_networks(Some(networks)).await?.is_empty());
        let volumes = bollard::query_parameters::ListVolumesOptionsBuilder::default()
            .filters(&filter)
            .build();
        let volumes = engine.docker().list_volumes(Some(volumes)).await?;
        assert!(volumes.volumes.unwrap_or_default().is_empty());
    }
    Ok(())
}

/// A part that cannot start is named with the end of its log, and nothing is left of the others.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn a_part_that_fails_is_named_with_its_log_and_nothing_stays() -> Result<()> {
    let mut options = options("fails", Profile::Dev);
    options.settings = vec![("RELAY_REPLAY_WINDOW".to_owned(), "soon".to_owned())];
    let name = options.name.clone();
    let error = Stack::up(options).await.err().context("it started")?;
    let error = format!("{error:#}");
    assert!(error.contains("relay to be well") && error.contains("RELAY_REPLAY_WINDOW"), "{error}");
    let engine = Engine::connect().await?;
    let after = sweep::count(&engine, Some(&name)).await?;
    assert_eq!((after.containers, after.networks, after.volumes), (0, 0, 0));
    Ok(())
}

/// A test of another project that panics leaves no containers behind.
#[tokio::test]
#[ignore = "needs a container engine: just stage build,stack"]
async fn a_dropped_stack_is_gone() -> Result<()> {
    let options = options("dropped", Profile::Dev);
    let name = options.name.clone();
    let stack = Stack::up(options).await?;
    drop(stack);
    let engine = Engine::connect().await?;
    let after = sweep::count(&engine, Some(&name)).await?;
    assert_eq!((after.containers, after.networks, after.volumes), (0, 0, 0));
    Ok(())
}
