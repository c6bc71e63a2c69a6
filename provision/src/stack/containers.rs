//! Containers of a stack: make, start, wait, read the log, and what a fault does to them.

use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, bail};
use bollard::{
    exec::{CreateExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerState, EndpointIpamConfig,
        EndpointSettings, HealthConfig, HealthStatusEnum, HostConfig, Mount, MountType,
        NetworkConnectRequest, NetworkDisconnectRequest, NetworkingConfig, PortBinding,
        RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
        KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptions,
        RestartContainerOptions, StartContainerOptions, StopContainerOptions,
    },
};
use futures_util::StreamExt as _;
use ipnet::Ipv4Net;
use tokio::time::{Instant, sleep};

use super::{LABEL, PATIENCE, Profile, Service, plan, ports};
use crate::image::{self, Engine, SCOPE, Say, scope};

/// Pause between two looks at a container.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After this long without a change a person is told what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A part that ends again and again will not become well by waiting.
const RESTARTS_MAX: i64 = 3;
/// Lines of a log that an error holds.
const LOG_LINES: &str = "40";
const SECOND: i64 = 1_000_000_000;

/// The containers of one stack.
#[derive(Debug, Clone)]
pub struct Containers {
    engine: Engine,
    stack: String,
}

impl Containers {
    /// Those of the stack of this name, whether there are any or not.
    pub fn of(engine: Engine, stack: &str) -> Self {
        Self { engine, stack: stack.to_owned() }
    }

    /// The engine that they run in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the engine calls a container of this stack.
    pub fn id(&self, service: &str) -> String {
        format!("{}-{service}", self.stack)
    }

    /// Labels of everything of this stack.
    pub(super) fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.stack.clone()), (SCOPE.to_owned(), scope())])
    }

    /// Makes and starts a container; does not wait for it.
    pub(super) async fn start_new(
        &self,
        service: &Service,
        image: &str,
        profile: Profile,
    ) -> Result<()> {
        let ports = service.publish.iter().map(|port| Ok((*port, ports::free()?)));
        let ports = ports.collect::<Result<_>>()?;
        self.start_on(service, image, profile, &ports).await
    }

    /// Runs another image in the place of a container, on its volume and ports, as an upgrade does.
    /// Does not wait until it is well.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn replace(&self, service: &Service, image: &str, profile: Profile) -> Result<()> {
        let mut ports = HashMap::new();
        for inside in &service.publish {
            ports.insert(*inside, self.port(service.name, *inside).await?);
        }
        self.stop(service.name).await?;
        let id = self.id(service.name);
        let docker = self.engine.docker();
        docker
            .remove_container(&id, None::<RemoveContainerOptions>)
            .await
            .with_context(|| format!("remove the container {id}"))?;
        self.start_on(service, image, profile, &ports).await
    }

    /// * `ports` – of this machine, by those inside
    async fn start_on(
        &self,
        service: &Service,
        image: &str,
        profile: Profile,
        ports: &HashMap<u16, u16>,
    ) -> Result<()> {
        let id = self.id(service.name);
        let mut labels = self.labels();
        labels.insert(image::LABEL.to_owned(), service.name.to_owned());
        labels.insert(format!("{LABEL}.profile"), profile.name().to_owned());
        let options = CreateContainerOptionsBuilder::default().name(&id).build();
        let mut body = self.body(service, image, labels, ports);
        let caddy = self.caddy().await?;
        if service.name == "relay" {
            let trust = format!("{}={caddy}", plan::TRUSTED_PROXIES);
            let environment = body.env.get_or_insert_default();
            if !environment.iter().any(|line| line.starts_with(plan::TRUSTED_PROXIES)) {
                environment.push(trust);
            }
        }
        let endpoint = HashMap::from([(self.stack.clone(), Self::endpoint(service, caddy))]);
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoint) });
        let docker = self.engine.docker();
        docker
            .create_container(Some(options), body)
            .await
            .with_context(|| format!("make the container {id}"))?;
        docker
            .start_container(&id, None::<StartContainerOptions>)
            .await
            .with_context(|| format!("start the container {id}"))
    }

    fn body(
        &self,
        service: &Service,
        image: &str,
        labels: HashMap<String, String>,
        ports: &HashMap<u16, u16>,
    ) -> ContainerCreateBody {
        let port = |port: &u16| format!("{port}/tcp");
        let bindings = ports.iter().map(|(inside, outside)| {
            let outside = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(outside.to_string()),
            };
            (port(inside), Some(vec![outside]))
        });
        let mount = |of: &str, target: &str, read_only: bool| Mount {
            target: Some(target.to_owned()),
            source: Some(self.id(of)),
            typ: Some(MountType::VOLUME),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let own = service.volume.map(|target| mount(service.name, target, false));
        let other = service.reads.map(|(of, target)| mount(of, target, true));
        let command = (!service.command.is_empty()).then(|| service.command.clone());
        let environment = service.environment.iter().map(|(name, value)| format!("{name}={value}"));
        ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: command,
            env: Some(environment.collect()),
            labels: Some(labels),
            exposed_ports: Some(service.publish.iter().map(port).collect()),
            // Asked more often than for years: somebody waits for the first answer.
            healthcheck: (service.name == "relay")
                .then(|| HealthConfig { interval: Some(SECOND), ..HealthConfig::default() }),
            host_config: Some(HostConfig {
                mounts: Some(own.into_iter().chain(other).collect()),
                port_bindings: Some(bindings.collect()),
                readonly_rootfs: Some(true),
                tmpfs: Some(HashMap::from(
                    plan::SCRATCH.map(|at| (at.to_owned(), "mode=1777".to_owned())),
                )),
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                    maximum_retry_count: None,
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// The network's addresses.
    ///
    /// # Errors
    /// When there is no network.
    pub(super) async fn subnet(&self) -> Result<Ipv4Net> {
        let docker = self.engine.docker();
        let found = docker.inspect_network(&self.stack, None::<InspectNetworkOptions>).await;
        let found = found.with_context(|| format!("look at the network {}", self.stack))?;
        let configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let subnet = configs.iter().find_map(|config| config.subnet.as_ref()?.parse().ok());
        subnet.with_context(|| format!("the network {} has no IPv4 addresses", self.stack))
    }

    /// The address that Caddy keeps for as long as the network is there, and that the relay trusts: the
    /// last one, because the engine gives them away from the first on.
    ///
    /// # Errors
    /// When there is no network.
    pub async fn caddy(&self) -> Result<Ipv4Addr> {
        self.subnet().await?.hosts().next_back().context("the network has no room")
    }

    fn endpoint(service: &Service, caddy: Ipv4Addr) -> EndpointSettings {
        let names = std::iter::once(service.name).chain(service.aliases.iter().copied());
        let fixed = (service.name == "caddy").then(|| EndpointIpamConfig {
            ipv4_address: Some(caddy.to_string()),
            ..EndpointIpamConfig::default()
        });
        EndpointSettings {
            ipam_config: fixed,
            aliases: Some(names.map(str::to_owned).collect()),
            ..EndpointSettings::default()
        }
    }

    /// Waits until the engine says that a container is well.
    ///
    /// # Errors
    /// When it ends, or takes longer than three minutes; the text holds the end of its log.
    pub async fn well(&self, service: &str, say: &Say) -> Result<()> {
        self.until(service, say, "to be well", |state| {
            let health = state.health.as_ref().and_then(|health| health.status);
            health == Some(HealthStatusEnum::HEALTHY)
        })
        .await
    }

    /// Waits until a container runs.
    ///
    /// # Errors
    /// As [`Self::well`].
    pub async fn running(&self, service: &str, say: &Say) -> Result<()> {
        self.until(service, say, "to run", |state| state.running == Some(true)).await
    }

    async fn until(
        &self,
        service: &str,
        say: &Say,
        what: &str,
        holds: impl Fn(&ContainerState) -> bool,
    ) -> Result<()> {
        let (began, mut told) = (Instant::now(), Instant::now());
        // Those of an outage before count for nothing.
        let before = self.inspect(service).await?.restart_count.unwrap_or_default();
        loop {
            let found = self.inspect(service).await?;
            let restarts = found.restart_count.unwrap_or_default().saturating_sub(before);
            let state = found.state.unwrap_or_default();
            if holds(&state) {
                return Ok(());
            }
            let waited = began.elapsed().as_secs();
            let is_alive = state.running == Some(true) || state.restarting == Some(true);
            if !is_alive || restarts > RESTARTS_MAX || began.elapsed() > PATIENCE {
                let code = state.exit_code.unwrap_or_default();
                let checked = last_check(&state);
                let log = self.log(service).await?;
                bail!(
                    "waited {waited} s for {service} {what}; it was started {} times, its last exit code is {code}{checked}. The end of its log:\n{log}",
                    restarts + 1
                );
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                say(&format!("waiting for {service} {what} ({waited} s)"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// What the engine says of a container.
    ///
    /// # Errors
    /// When there is none.
    pub async fn state(&self, service: &str) -> Result<ContainerState> {
        Ok(self.inspect(service).await?.state.unwrap_or_default())
    }

    async fn inspect(&self, service: &str) -> Result<ContainerInspectResponse> {
        let id = self.id(service);
        let found = self.engine.docker().inspect_container(&id, None::<InspectContainerOptions>);
        found.await.with_context(|| format!("look at the container {id}"))
    }

    /// The port of this machine that leads to a port of a container.
    ///
    /// # Errors
    /// When it is not published.
    pub async fn port(&self, service: &str, inside: u16) -> Result<u16> {
        let id = self.id(service);
        let found = self.inspect(service).await?;
        let ports = found.host_config.and_then(|config| config.port_bindings).unwrap_or_default();
        let bindings = ports.get(&format!("{inside}/tcp")).cloned().flatten().unwrap_or_default();
        let port = bindings.iter().find_map(|one| one.host_port.as_ref()?.parse().ok());
        port.with_context(|| format!("port {inside} of {id} is not published"))
    }

    /// The end of a container's log.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn log(&self, service: &str) -> Result<String> {
        self.log_lines(service, LOG_LINES).await
    }

    /// So many lines of a container's log, or `all`.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn log_lines(&self, service: &str, lines: &str) -> Result<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(lines).build();
        let id = self.id(service);
        let mut chunks = self.engine.docker().logs(&id, Some(options));
        let mut text = String::new();
        while let Some(chunk) = chunks.next().await {
            text.push_str(&chunk.with_context(|| format!("read the log of {id}"))?.to_string());
        }
        Ok(text)
    }

    /// Runs a program in a container; gives what it said.
    ///
    /// # Errors
    /// When it cannot be started, or ends with another code than 0.
    pub async fn exec(&self, service: &str, words: &[&str]) -> Result<String> {
        let docker = self.engine.docker();
        let options = CreateExecOptions {
            cmd: Some(words.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let id = docker.create_exec(&self.id(service), options).await?.id;
        let mut said = String::new();
        if let StartExecResults::Attached { mut output, .. } = docker.start_exec(&id, None).await? {
            while let Some(chunk) = output.next().await {
                said.push_str(&chunk?.to_string());
            }
        }
        let code = docker.inspect_exec(&id).await?.exit_code;
        anyhow::ensure!(code == Some(0), "`{}` in {service}: {code:?} {said}", words.join(" "));
        Ok(said)
    }

    /// Ends the process of a container as the kernel does it when memory is short; the engine starts
    /// it again.
    ///
    /// # Errors
    /// When it does not run, or this user may not.
    pub async fn crash(&self, service: &str) -> Result<()> {
        let pid = self.state(service).await?.pid.unwrap_or_default();
        anyhow::ensure!(pid > 1, "{service} does not run");
        let pid = pid.to_string();
        crate::run::quiet(crate::run::program(std::path::Path::new("/"), &["kill", "-9", &pid]))
            .map(drop)
    }

    /// Ends a container with SIGKILL; it stays down until [`Self::start`].
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn kill(&self, service: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        Ok(self.engine.docker().kill_container(&self.id(service), Some(options)).await?)
    }

    /// Starts one that is down.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn start(&self, service: &str) -> Result<()> {
        let docker = self.engine.docker();
        Ok(docker.start_container(&self.id(service), None::<StartContainerOptions>).await?)
    }

    /// Stops one as a person does.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn stop(&self, service: &str) -> Result<()> {
        let docker = self.engine.docker();
        Ok(docker.stop_container(&self.id(service), None::<StopContainerOptions>).await?)
    }

    /// Stops and starts one as a person does.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn restart(&self, service: &str) -> Result<()> {
        let docker = self.engine.docker();
        Ok(docker.restart_container(&self.id(service), None::<RestartContainerOptions>).await?)
    }

    /// Lets a container stand still.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn pause(&self, service: &str) -> Result<()> {
        Ok(self.engine.docker().pause_container(&self.id(service)).await?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn unpause(&self, service: &str) -> Result<()> {
        Ok(self.engine.docker().unpause_container(&self.id(service)).await?)
    }

    /// Takes a container off the network.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn cut(&self, service: &str) -> Result<()> {
        let request = NetworkDisconnectRequest { container: self.id(service), force: Some(true) };
        Ok(self.engine.docker().disconnect_network(&self.stack, request).await?)
    }

    /// Puts it back, under its names.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn join(&self, service: &Service) -> Result<()> {
        let request = NetworkConnectRequest {
            container: self.id(service.name),
            endpoint_config: Some(Self::endpoint(service, self.caddy().await?)),
        };
        Ok(self.engine.docker().connect_network(&self.stack, request).await?)
    }
}

/// What the last check of its health said, if it is not well.
fn last_check(state: &ContainerState) -> String {
    let log = state.health.as_ref().and_then(|health| health.log.as_deref()).unwrap_or_default();
    let said = log.last().and_then(|check| check.output.as_deref()).unwrap_or_default().trim();
    if said.is_empty() { String::new() } else { format!(", its last check said: {said}") }
}
