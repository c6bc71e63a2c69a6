//! The start of a stack, step by step, each with a condition that says that it is done.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bollard::{
    errors::Error,
    models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::DownloadFromContainerOptionsBuilder,
};
use futures_util::{TryStreamExt as _, future::try_join_all};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Addresses, Containers, LABEL, Options, PATIENCE, PDS_NAME, Profile, RELAY_NAME, Secrets,
    Service, Stack, Trust, plan, secrets, sweep,
};
use crate::{
    cache,
    image::{self, Engine, Kit, RELAY_USER, Ready, Say},
};

/// Where Caddy keeps the certificate of its own authority.
const AUTHORITY: &str = "/data/caddy/pki/authorities/local/root.crt";
/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often a subnet is chosen, when others make networks at the same time.
const NETWORK_TRIES: u32 = 10;
/// The account that makes the first event.
const FIRST_ACCOUNT: &str = "alice";

/// Why a start ended that nobody wants any more.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// Says that nobody wants the stack any more.
#[derive(Debug, Clone)]
struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Waits for something that may be dropped half-way: no request that makes a thing is in it.
    async fn or<T>(&self, waiting: impl Future<Output = Result<T>>) -> Result<T> {
        let mut told = self.0.clone();
        tokio::select! {
            biased;
            Ok(_) = told.wait_for(|told| *told) => Err(Interrupted.into()),
            done = Box::pin(waiting) => done,
        }
    }
}

/// `None` when it was interrupted.
pub(super) async fn up(
    options: Options,
    interrupted: impl Future<Output = ()>,
) -> Result<Option<Stack>> {
    options.check()?;
    let (tell, told) = watch::channel(false);
    let mut work = pin!(made(&options, Interrupt(told)));
    tokio::select! {
        made = &mut work => return made.map(Some),
        () = interrupted => {}
    }
    (options.say)("interrupted: removing what was started");
    tell.send_replace(true);
    // It may have come to its end in the same moment, or failed for another reason.
    match work.await {
        Ok(stack) => stack.down().await?,
        Err(error) if error.is::<Interrupted>() => {}
        Err(error) => return Err(error),
    }
    Ok(None)
}

/// Gives the stack, or leaves nothing.
async fn made(options: &Options, interrupt: Interrupt) -> Result<Stack> {
    let engine = Engine::connect().await?;
    let name = &options.name;
    if !sweep::list(&engine, Some(name)).await?.is_empty() {
        bail!(
            "the stack {name} is there already; end it with `provision stack down --name {name}`"
        );
    }
    let images = interrupt.or(images(&engine, options)).await?;
    match Box::pin(started(&engine, options, &images, &interrupt)).await {
        Ok(stack) => Ok(stack),
        Err(error) if options.keep && !error.is::<Interrupted>() => Err(error),
        Err(error) => match sweep::down(&engine, name).await {
            Ok(()) => Err(error),
            Err(second) => Err(second.context(format!("{error:#}, and what was started stays"))),
        },
    }
}

async fn images(engine: &Engine, options: &Options) -> Result<Vec<Ready>> {
    let cache = options.cache.clone().map_or_else(cache::usual_place, Ok)?;
    let root = options.checkout.canonicalize().context("find the checkout")?;
    let kit = Arc::new(Kit::open(&root, &cache)?);
    let relay = image::built_relay(options.relay.clone())?.into();
    image::provide(engine, &kit, &relay, &options.profile.parts(), &options.say).await
}

async fn started(
    engine: &Engine,
    options: &Options,
    images: &[Ready],
    interrupt: &Interrupt,
) -> Result<Stack> {
    let began = Instant::now();
    let say = &options.say;
    let directory = secrets::make_directory(&options.name)?;
    let secrets = Secrets::generate();
    secrets.store(&directory.join("secrets.json"))?;
    let containers = Containers::of(engine.clone(), &options.name);
    network(&containers, &options.name).await?;
    let services = plan::services(options.profile, &secrets, &options.settings);
    for service in &services {
        let small = options.relay_data_bytes.filter(|_| service.name == "relay");
        volume(&containers, service, small).await?;
        for before in &service.after {
            interrupt.or(containers.well(before, say)).await?;
        }
        let image = image_of(images, service)?;
        containers.start_new(service, image, options.profile).await?;
        interrupt.or(async { Ok(()) }).await?;
    }
    say("all containers run; waiting until each is well");
    let all_well = try_join_all(services.iter().map(|service| well(&containers, service, say)));
    interrupt.or(all_well).await?;
    let pem = interrupt.or(authority(&containers, say)).await?;
    secrets::private(&directory.join("ca.pem"), &pem)?;
    if options.foreign_consumer {
        let consumer = plan::consumer();
        let image = image_of(images, &consumer)?;
        containers.start_new(&consumer, image, options.profile).await?;
    }
    let stack = connected(containers, &options.name, options.keep).await?;
    let seq = interrupt.or(proven(&stack, say)).await;
    let seq = match seq {
        Ok(seq) => seq,
        Err(error) => {
            // Its end is not the business of `Drop`: whoever asked for it is told of the outcome.
            stack.leave();
            return Err(error);
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "the first event, number {seq}, came through TLS and is verified, {seconds:.1} s after the start"
    ));
    Ok(stack)
}

/// Gives the number of the first event that went through all of it.
async fn proven(stack: &Stack, say: &Say) -> Result<u64> {
    answers(stack, say).await?;
    Box::pin(first_event(stack, say)).await
}

fn image_of<'a>(images: &'a [Ready], service: &Service) -> Result<&'a str> {
    let ready = images.iter().find(|ready| ready.part == service.part.name());
    Ok(&ready.with_context(|| format!("no image of {}", service.name))?.image)
}

async fn well(containers: &Containers, service: &Service, say: &Say) -> Result<()> {
    if service.tells_health {
        containers.well(service.name, say).await
    } else {
        containers.running(service.name, say).await
    }
}

/// The engine chooses a free subnet, and the network is made again with it: only then may a container
/// keep an address, as Caddy does ([`Containers::caddy`]).
async fn network(containers: &Containers, name: &str) -> Result<()> {
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        labels: Some(containers.labels()),
        ..NetworkCreateRequest::default()
    };
    let docker = containers.engine().docker();
    for _ in 0..NETWORK_TRIES {
        docker.create_network(request.clone()).await.context("make the network")?;
        let subnet = containers.subnet().await?;
        docker.remove_network(name).await.context("remove the network")?;
        let config = IpamConfig { subnet: Some(subnet.to_string()), ..IpamConfig::default() };
        let ipam = Some(Ipam { config: Some(vec![config]), ..Ipam::default() });
        let again = NetworkCreateRequest { ipam, ..request.clone() };
        match docker.create_network(again).await {
            Ok(_made) => return Ok(()),
            // Another network took it in between.
            Err(Error::DockerResponseServerError { message, .. })
                if message.contains("overlap") => {}
            Err(error) => return Err(error).context("make the network again"),
        }
    }
    bail!("other networks took each subnet that was free, {NETWORK_TRIES} times")
}

/// * `bytes` – of memory that it lies in, instead of the disk
async fn volume(containers: &Containers, service: &Service, bytes: Option<u64>) -> Result<()> {
    if service.volume.is_none() {
        return Ok(());
    }
    let request = VolumeCreateRequest {
        name: Some(containers.id(service.name)),
        labels: Some(containers.labels()),
        driver_opts: bytes.map(in_memory),
        ..VolumeCreateRequest::default()
    };
    let made = containers.engine().docker().create_volume(request).await;
    made.map(drop).with_context(|| format!("make the volume of {}", service.name))
}

fn in_memory(bytes: u64) -> HashMap<String, String> {
    let options = format!("size={bytes},uid={RELAY_USER},gid={RELAY_USER},mode=0750");
    [("type", "tmpfs".to_owned()), ("device", "tmpfs".to_owned()), ("o", options)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// Takes over a stack that runs.
pub(super) async fn attach(engine: Engine, name: &str) -> Result<Stack> {
    if sweep::list(&engine, Some(name)).await?.is_empty() {
        bail!("there is no stack {name}; start it with `provision stack up --name {name}`");
    }
    let stack = connected(Containers::of(engine, name), name, true).await?;
    answers(&stack, &(Arc::new(|_: &str| {}) as Say)).await?;
    Ok(stack)
}

/// What the stack's clients need to know, read from what runs.
async fn connected(containers: Containers, name: &str, keep: bool) -> Result<Stack> {
    let directory = secrets::directory(name)?;
    let (ca, file) = (directory.join("ca.pem"), directory.join("secrets.json"));
    let pem = std::fs::read(&ca).with_context(|| format!("read {}", ca.display()))?;
    let trust = Trust::new(&pem, containers.port("caddy", 443).await?)?;
    let local = |port: u16| format!("http://127.0.0.1:{port}");
    let lines = sweep::list(containers.engine(), Some(name)).await?;
    let has_prometheus = lines.iter().any(|line| line.service == "prometheus");
    let prometheus =
        if has_prometheus { Some(local(containers.port("prometheus", 9090).await?)) } else { None };
    let profile = lines.first().and_then(|line| Profile::parse(&line.profile));
    let port = trust.port();
    let addresses = Addresses {
        relay: format!("https://localhost:{port}"),
        firehose: format!("wss://localhost:{port}/xrpc/com.atproto.sync.subscribeRepos"),
        admin: local(containers.port("relay", 2472).await?),
        pds: local(containers.port("pds", 80).await?),
        plc: local(containers.port("plc", 2582).await?),
        prometheus,
        ca,
        secrets: file.clone(),
    };
    Ok(Stack {
        name: name.to_owned(),
        profile: profile
            .with_context(|| format!("the containers of {name} lack {LABEL}.profile"))?,
        keep,
        client: trust.client()?,
        secrets: Secrets::load(&file)?,
        containers,
        addresses,
        trust,
    })
}

/// The certificate of Caddy's authority, as soon as Caddy made it.
async fn authority(containers: &Containers, say: &Say) -> Result<Vec<u8>> {
    let began = Instant::now();
    let options = DownloadFromContainerOptionsBuilder::default().path(AUTHORITY).build();
    let id = containers.id("caddy");
    loop {
        let docker = containers.engine().docker();
        let chunks = docker.download_from_container(&id, Some(options.clone()));
        if let Ok(chunks) = chunks.try_collect::<Vec<_>>().await {
            let bytes = chunks.concat();
            let mut archive = tar::Archive::new(bytes.as_slice());
            let mut entry = archive.entries()?.next().context("an empty archive")??;
            let mut pem = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut pem)?;
            return Ok(pem);
        }
        containers.running("caddy", say).await?;
        if began.elapsed() > PATIENCE {
            bail!(
                "Caddy made no authority. The end of its log:\n{}",
                containers.log("caddy").await?
            );
        }
        sleep(ASK_EVERY).await;
    }
}

/// Waits until the relay answers by its public name, which needs Caddy, the certificate and the relay.
async fn answers(stack: &Stack, say: &Say) -> Result<()> {
    let began = Instant::now();
    let url = format!("https://{RELAY_NAME}:{}/xrpc/_health", stack.trust.port());
    loop {
        let answer = stack.client.get(&url).send().await;
        let said = match answer {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("{}", answer.status()),
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        };
        if began.elapsed() > PATIENCE {
            let log = stack.containers.log("caddy").await?;
            bail!(
                "the relay does not answer through Caddy: {said}. The end of Caddy's log:\n{log}"
            );
        }
        // Says so when it ended meanwhile.
        stack.containers.running("caddy", say).await?;
        sleep(ASK_EVERY).await;
    }
}

/// Lets an account write and follows its commit to the consumer's side.
async fn first_event(stack: &Stack, say: &Say) -> Result<u64> {
    let host = format!("http://{PDS_NAME}");
    let added = stack.tell_admin("/admin/v1/hosts", &json!({ "hostnames": [host] })).await?;
    ensure!(added["hosts"][0]["id"].is_number(), "the relay refuses the PDS: {added}");
    let account = stack.account(FIRST_ACCOUNT).await?;
    let record = stack.post(&account, "the first event").await?;
    say("an account wrote a record; waiting for it at the relay's public name");
    let key = stack.key(&account).await?;
    let mut firehose = stack.firehose(Some(0)).await?;
    loop {
        let commit = firehose.next_commit().await?;
        if commit.did == account.did {
            commit.verify(&key)?;
            if commit.rev == record.rev {
                return Ok(commit.seq);
            }
        }
    }
}
