//! The relay's image in a container that has little memory and one core, under a load that fills both.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bollard::{
    Docker,
    models::{ContainerCreateBody, ContainerState, HostConfig, Mount, MountType},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveVolumeOptions, StartContainerOptions,
    },
};
use futures_util::TryStreamExt as _;
use provision::image::{Engine, Part};
use relay_simnet::{
    Consumer, Report, Start,
    scale::{Fleet, FleetOptions, Pace, Plan, Source},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{number, provided};

/// What the engine gives the container.
const MEMORY: u64 = 512 << 20;
const NANO_CPUS: i64 = 1_000_000_000;
/// Longest that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);
/// Consumers that read the whole log again and again, and such that never read.
const REPLAYING: usize = 12;
const STALLED: usize = 12;
const PASSWORD: &str = "limited-password";

/// `STACK_LOAD_EVENTS` is another number of events after the introductions.
fn plan() -> Result<Plan> {
    let events = number("STACK_LOAD_EVENTS")?.unwrap_or(25_000);
    Ok(Plan { seed: 512, hosts: 300, accounts: 15_000, events, ..Plan::default() })
}

/// An operator with a small machine, or a small share of one: `tune` derives the settings from what the
/// control group allows, and with them the relay is never ended for its memory, whatever its hosts send
/// and its consumers read; each event comes out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a container engine: just stage build,stack"]
async fn half_a_gigabyte_and_one_core_are_enough_under_load() -> Result<()> {
    let engine = Engine::connect().await?;
    let image = provided(&engine, Part::Relay).await?.image;
    let docker = engine.docker();
    let plan = plan()?;
    let tuned = tuned(docker, &image, plan.hosts).await?;
    let fleet = Fleet::start(&plan, FleetOptions::default()).await?;
    let volume = format!("test-limits-{}", std::process::id());
    let ports = [free_port()?, free_port()?, free_port()?];
    let body = limited(&image, &volume, environment(&tuned, &fleet, ports)?);
    let id = created(docker, body).await?;
    let outcome = loaded(docker, &id, &fleet, ports).await;
    if outcome.is_err() {
        eprintln!("{}", log(docker, &id, "100").await?);
    }
    remove(docker, &id).await?;
    docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await?;
    outcome
}

/// What `provision tune` says in a container of the same limits.
async fn tuned(docker: &Docker, image: &str, hosts: u32) -> Result<Value> {
    let mut body = limited(image, "", Vec::new());
    body.entrypoint = Some(vec!["/provision".to_owned()]);
    let hosts = hosts.to_string();
    let words = ["tune", "--json", "--no-probe", "--path", "/data", "--hosts", &hosts];
    body.cmd = Some(words.map(str::to_owned).to_vec());
    let config = body.host_config.as_mut().context("no settings")?;
    config.mounts = Some(vec![Mount {
        target: Some("/provision".to_owned()),
        source: Some(env!("CARGO_BIN_EXE_provision").to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..Mount::default()
    }]);
    let id = created(docker, body).await?;
    let ended = ended(docker, &id).await;
    let said = log(docker, &id, "all").await;
    remove(docker, &id).await?;
    let (code, said) = (ended?.exit_code, said?);
    // 1 when this machine's disk is too full for a window, which is not asked here.
    ensure!(matches!(code, Some(0 | 1)), "tune ended with {code:?}: {said}");
    // What is said to a person stands before and after it.
    let (_, json) = said.split_once("{\n").with_context(|| said.clone())?;
    let json = format!("{{{json}");
    let tuned = serde_json::Deserializer::from_str(&json).into_iter().next();
    let tuned: Value = tuned.context("no JSON")??;
    ensure!(tuned["facts"]["memory"]["limit_bytes"] == MEMORY, "{}", tuned["facts"]);
    ensure!(tuned["facts"]["cores"]["quota_percent"] == 100, "{}", tuned["facts"]);
    Ok(tuned)
}

/// The settings that were derived, and where everything is.
fn environment(tuned: &Value, fleet: &Fleet, ports: [u16; 3]) -> Result<Vec<String>> {
    let derived = tuned["plan"]["relay"].as_array().context("no settings of the relay")?;
    let mut settings = HashMap::new();
    for one in derived {
        let text = |key: &str| one[key].as_str().map(str::to_owned).context("not as text");
        settings.insert(text("name")?, text("value")?);
    }
    let [api, admin, metrics] = ports.map(|port| format!("127.0.0.1:{port}"));
    let others = [
        ("RELAY_PLC_HOST", fleet.plc_url()),
        // This directory is no public one, which would be spared.
        ("RELAY_PLC_RATE", "10000".to_owned()),
        // More than `tune` gives such a container.
        ("RELAY_MAX_CONSUMERS", "64".to_owned()),
        ("RELAY_ALLOW_INSECURE_HOSTS", "true".to_owned()),
        ("RELAY_DEFAULT_ACCOUNT_LIMIT", "1000000".to_owned()),
        ("RELAY_REPLAY_WINDOW", "1h".to_owned()),
        ("RELAY_REPLAY_MAX_BYTES", "2GiB".to_owned()),
        ("RELAY_ADMIN_PASSWORD", PASSWORD.to_owned()),
        ("RELAY_API_BIND", api),
        ("RELAY_ADMIN_BIND", admin),
        ("RELAY_METRICS_LISTEN", metrics),
    ];
    settings.extend(others.map(|(name, value)| (name.to_owned(), value)));
    Ok(settings.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// A container with the limits, on the machine's own network, where the hosts are.
fn limited(image: &str, volume: &str, environment: Vec<String>) -> ContainerCreateBody {
    let mount = Mount {
        target: Some("/data".to_owned()),
        source: Some(volume.to_owned()),
        typ: Some(MountType::VOLUME),
        ..Mount::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        env: Some(environment),
        host_config: Some(HostConfig {
            memory: Some(MEMORY.cast_signed()),
            // No more with swap than without.
            memory_swap: Some(MEMORY.cast_signed()),
            nano_cpus: Some(NANO_CPUS),
            network_mode: Some("host".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            mounts: (!volume.is_empty()).then(|| vec![mount]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Plays the load, compares what comes, and looks at the container.
async fn loaded(docker: &Docker, id: &str, fleet: &Fleet, ports: [u16; 3]) -> Result<()> {
    let url = format!("ws://127.0.0.1:{}", ports[0]);
    serves(docker, id, &format!("http://127.0.0.1:{}/_health", ports[0])).await?;
    add_hosts(fleet, ports[1]).await?;
    fleet.connected().await?;
    let plan = plan()?;
    let mut source = Source::live(&plan)?;
    let mut consumer = Consumer::connect(&url, Start::After(0)).await?.patient(PATIENCE);
    let mut checker = fleet.ledger().checker();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(Consumer::connect(&url, Start::After(0)).await?);
    }
    let mut replaying = JoinSet::new();
    for _ in 0..REPLAYING {
        replaying.spawn(replay(url.clone(), plan.total()));
    }
    let began = Instant::now();
    let (played, report) =
        tokio::join!(fleet.play(&mut source, u64::MAX, Pace::Fast), checker.settle(&mut consumer));
    let seconds = began.elapsed().as_secs_f64();
    ensure!(played? == plan.total(), "the plan was not played to its end");
    let report = report.and_then(Report::clean)?;
    while let Some(done) = replaying.join_next().await {
        done??;
    }
    let replayed = began.elapsed().as_secs_f64();
    let found = spared(docker, id).await?;
    let events = f64::from(u32::try_from(plan.total())?);
    eprintln!(
        "512 MiB, one core: {} hosts, {} events in {seconds:.1} s ({:.0} a second), {REPLAYING} \
         replays of all of them done after {replayed:.1} s, {STALLED} stalled consumers; {found}; {report}",
        plan.hosts,
        plan.total(),
        events / seconds,
    );
    drop(stalled);
    Ok(())
}

/// Reads everything from the beginning.
async fn replay(url: String, events: u64) -> Result<()> {
    let mut consumer = Consumer::connect(&url, Start::After(0)).await?.patient(PATIENCE);
    for number in 0..events {
        ensure!(consumer.skip().await, "a replay ended after {number} of {events} events");
    }
    Ok(())
}

/// The kernel did not end anything in the container; gives what it used.
async fn spared(docker: &Docker, id: &str) -> Result<String> {
    let found = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
    let state = found.state.context("no state")?;
    ensure!(state.running == Some(true) && state.oom_killed != Some(true), "{state:?}");
    ensure!(found.restart_count.unwrap_or_default() == 0, "it was started again");
    let pid = state.pid.context("no process")?;
    let group = group(pid)?;
    let limit = either(&group, "memory.limit_in_bytes", "memory.max")?;
    ensure!(limit.trim() == MEMORY.to_string(), "the limit is {limit}");
    let events = either(&group, "memory.oom_control", "memory.events")?;
    let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    ensure!(kills == Some("0"), "{events}");
    let peak: u64 = either(&group, "memory.max_usage_in_bytes", "memory.peak")?.trim().parse()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let resident = resident.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
    Ok(format!(
        "peak {} MiB resident, {} MiB with the kernel's cache of files, 0 ended for memory",
        resident.parse::<u64>()? >> 10,
        peak >> 20
    ))
}

/// The control group of a process, as far as it is about memory.
fn group(pid: i64) -> Result<std::path::PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let of = |controllers: &str| {
        let line = text.lines().find_map(|line| line.split_once(':')?.1.split_once(controllers));
        line.map(|(_, path)| path.trim_start_matches('/').to_owned())
    };
    let mounts = Path::new("/sys/fs/cgroup");
    match of("memory:") {
        Some(path) => Ok(mounts.join("memory").join(path)),
        None => Ok(mounts.join(of(":").with_context(|| text.clone())?)),
    }
}

/// A file of version 1, or of version 2.
fn either(group: &Path, one: &str, two: &str) -> Result<String> {
    let file = [one, two].map(|name| group.join(name)).into_iter().find(|file| file.exists());
    let file = file.with_context(|| format!("{} has neither {one} nor {two}", group.display()))?;
    Ok(fs::read_to_string(file)?)
}

async fn add_hosts(fleet: &Fleet, port: u16) -> Result<()> {
    let client = reqwest::Client::builder().build()?;
    for some in fleet.addresses().chunks(50) {
        let request = client.post(format!("http://127.0.0.1:{port}/admin/v1/hosts"));
        let request = request.basic_auth("admin", Some(PASSWORD));
        let answer = request.json(&json!({ "hostnames": some })).send().await?;
        let answer: Value = answer.error_for_status()?.json().await?;
        let hosts = answer["hosts"].as_array().context("no list")?;
        ensure!(hosts.iter().all(|host| host["id"].is_number()), "not admitted: {answer}");
    }
    Ok(())
}

async fn created(docker: &Docker, body: ContainerCreateBody) -> Result<String> {
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    Ok(id)
}

async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    Ok(docker.remove_container(id, Some(options)).await?)
}

async fn log(docker: &Docker, id: &str, lines: &str) -> Result<String> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(lines).build();
    let chunks: Vec<_> = docker.logs(id, Some(options)).try_collect().await?;
    Ok(chunks.iter().map(ToString::to_string).collect())
}

/// Waits until it has ended.
async fn ended(docker: &Docker, id: &str) -> Result<ContainerState> {
    let began = Instant::now();
    loop {
        let found = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
        let state = found.state.context("no state")?;
        if state.running != Some(true) {
            return Ok(state);
        }
        ensure!(began.elapsed() < PATIENCE, "it does not end: {state:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the relay answers.
async fn serves(docker: &Docker, id: &str, url: &str) -> Result<()> {
    let began = Instant::now();
    let client = reqwest::Client::builder().build()?;
    while !client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        let found = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
        let running = found.state.and_then(|state| state.running) == Some(true);
        ensure!(running && began.elapsed() < PATIENCE, "it does not serve");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
