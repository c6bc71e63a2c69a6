//! The hosts and the directory of a plan as servers, and the player that lets hosts send.
//!
//! A host keeps frames only: what was sent lately, in all at most [`FleetOptions::retained_bytes`].
//! Everything else that it is asked follows from the population.

mod directory;
mod host;
mod subscription;
mod xrpc;

use super::{Event, Ledger, Pace, Plan, Population, Source};
use crate::{
    Authority,
    server::{Connections, Server, lock},
};
use anyhow::{Context, Result, ensure};
use host::Host;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Pause when a host has too much to deliver, and between steps of a rate.
const PAUSE: Duration = Duration::from_millis(1);

/// Events after which the servers get a turn.
const ROUND: u64 = 64;

/// Frames that are looked at to make room for one.
const FORGET_MAX: usize = 8;

/// How long [`Fleet::connected`] waits.
const PATIENCE: Duration = Duration::from_mins(5);

/// Limits of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetOptions {
    /// Bytes of frames that all hosts together keep for replays; what a relay was not given yet is
    /// never among those that go.
    pub retained_bytes: u64,
    /// Events that one host may owe its relay before the player waits.
    pub backlog_max: u64,
    /// Events that all hosts together may owe before the player waits.
    pub owed_max: u64,
    /// Whether the hosts have TLS.
    pub tls: bool,
    /// How long a host takes to answer who asks for its stream.
    pub answer_after: Duration,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            retained_bytes: 512 << 20,
            backlog_max: 256,
            owed_max: 20_000,
            tls: false,
            answer_after: Duration::ZERO,
        }
    }
}

/// What the servers share.
#[derive(Debug)]
struct World {
    population: Population,
    ledger: Arc<Ledger>,
    /// Rev and commit of each account, as its host tells them.
    heads: Mutex<Vec<Head>>,
    /// Ports of the hosts.
    ports: Vec<u16>,
    authority: Option<Authority>,
    /// Hosts that a relay reads.
    subscribed: AtomicU64,
    lookups: AtomicU64,
    answer_after: Duration,
    handshakes: Handshakes,
}

/// Requests for streams that are not answered yet.
#[derive(Debug, Default)]
struct Handshakes {
    now: AtomicU64,
    most: AtomicU64,
}

/// Counts one for as long as it lives.
struct Handshake<'a>(&'a Handshakes);

impl Handshakes {
    fn begin(&self) -> Handshake<'_> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Handshake(self)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Head {
    rev: u64,
    commit: [u8; 32],
}

impl World {
    /// `http://localhost:<port>`, as documents name a host; https with TLS.
    fn endpoint(&self, host: u32) -> String {
        let port = self.ports.get(host as usize).copied().unwrap_or(0);
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{port}")
    }
}

/// The hosts of all kept frames in the order in which these were sent.
#[derive(Debug, Default)]
struct Retained {
    order: VecDeque<u32>,
    bytes: u64,
}

/// The servers of a plan. They stop when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    options: FleetOptions,
    world: Arc<World>,
    hosts: Vec<Arc<Host>>,
    servers: Vec<Server>,
    directory: Server,
    retained: Mutex<Retained>,
    /// When each event was handed to its host, by its digest; only if someone wants to know.
    stamps: Mutex<Option<BTreeMap<u64, Instant>>>,
}

impl Fleet {
    /// Starts all hosts of a plan, on ports of their own, and the directory.
    ///
    /// # Errors
    /// When there are too few ports or file descriptors; each host needs one and its relay another.
    pub async fn start(plan: &Plan, options: FleetOptions) -> Result<Self> {
        plan.check()?;
        let population = Population::of(plan);
        let mut listeners = Vec::new();
        for number in 0..plan.hosts {
            let bound = Server::bind().await;
            listeners.push(bound.with_context(|| format!("start host {number}"))?);
        }
        let world = Arc::new(World {
            population,
            ledger: Arc::new(Ledger::new(population, plan.each_fault_per_mille > 0)?),
            heads: Mutex::new(vec![Head::default(); usize::try_from(plan.accounts)?]),
            ports: listeners.iter().map(|(_, addr)| addr.port()).collect(),
            authority: if options.tls { Some(Authority::new()?) } else { None },
            subscribed: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
            answer_after: options.answer_after,
            handshakes: Handshakes::default(),
        });
        let (mut hosts, mut servers) = (Vec::new(), Vec::new());
        for (number, (listener, addr)) in (0_u32..).zip(listeners) {
            let connections = Connections::default();
            let host = Arc::new(Host::new(number, Arc::clone(&world), connections.clone()));
            let router = xrpc::router(Arc::clone(&host));
            let tls = world.authority.clone();
            servers.push(Server::start_with(listener, addr, (connections, router), (tls, None)));
            hosts.push(host);
        }
        let (listener, addr) = Server::bind().await?;
        let router = directory::router(Arc::clone(&world));
        let directory = Server::start(listener, addr, Connections::default(), router);
        Ok(Self {
            options,
            world,
            hosts,
            servers,
            directory,
            retained: Mutex::default(),
            stamps: Mutex::default(),
        })
    }

    /// Base address of the directory.
    pub fn plc_url(&self) -> String {
        format!("http://{}", self.directory.addr())
    }

    /// How often a document was asked for.
    pub fn lookups(&self) -> u64 {
        self.world.lookups.load(Ordering::Relaxed)
    }

    /// `localhost:<port>` of every host, as a relay in development mode knows it.
    pub fn hostnames(&self) -> Vec<String> {
        self.world.ports.iter().map(|port| format!("localhost:{port}")).collect()
    }

    /// What an operator tells a relay of every host: its name, with `wss://` if it has TLS.
    pub fn addresses(&self) -> Vec<String> {
        let scheme = if self.world.authority.is_some() { "wss://" } else { "" };
        self.hostnames().into_iter().map(|name| format!("{scheme}{name}")).collect()
    }

    /// The authority of the hosts if they have TLS; a relay has to trust it.
    pub fn authority(&self) -> Option<&Authority> {
        self.world.authority.as_ref()
    }

    /// Number of the newest event of every host, in the order of [`Self::hostnames`].
    pub fn heads(&self) -> Vec<u64> {
        self.hosts.iter().map(|host| host.head()).collect()
    }

    /// The accounts.
    pub fn population(&self) -> Population {
        self.world.population
    }

    /// What has to come out of a relay.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.world.ledger
    }

    /// Hosts that a relay reads now.
    pub fn subscribed(&self) -> u64 {
        self.world.subscribed.load(Ordering::Relaxed)
    }

    /// Most handshakes of a relay that were under way at once since the last call.
    pub fn take_handshakes_most(&self) -> u64 {
        self.world.handshakes.most.swap(0, Ordering::Relaxed)
    }

    /// Waits until a relay reads every host.
    ///
    /// # Errors
    /// When that does not happen within five minutes.
    pub async fn connected(&self) -> Result<()> {
        let all = self.hosts.len() as u64;
        let waiting = async {
            while self.subscribed() < all {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .with_context(|| format!("only {} of {all} hosts are read", self.subscribed()))
    }

    /// Remembers from now on when each event is handed to its host.
    pub fn stamp(&self) {
        *lock(&self.stamps) = Some(BTreeMap::new());
    }

    /// When each event since [`Self::stamp`] was handed to its host, by the upper half of
    /// [`crate::Received::digest`]; those whose bytes a relay may change cannot be found.
    pub fn take_stamps(&self) -> BTreeMap<u64, Instant> {
        lock(&self.stamps).take().unwrap_or_default()
    }

    /// Ends every connection to every host at once, without a close frame.
    pub fn cut_all(&self) {
        for server in &self.servers {
            server.cut();
        }
    }

    /// Lets the hosts send so many events; returns how many there still were. Falls behind rather
    /// than letting hosts owe a relay more than the options permit.
    ///
    /// # Errors
    /// When the events are of another plan, or one could not be read or made.
    pub async fn play(&self, source: &mut Source, events: u64, pace: Pace) -> Result<u64> {
        ensure!(Population::of(source.plan()) == self.world.population, "events of another plan");
        let begin = Instant::now();
        let mut played = 0;
        while played < events {
            let Some(event) = source.next().await? else { break };
            while pace.due(begin.elapsed()).is_some_and(|due| due <= played) {
                tokio::time::sleep(PAUSE).await;
            }
            self.send(event).await?;
            played += 1;
            if played % ROUND == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(played)
    }

    async fn send(&self, event: Event) -> Result<()> {
        let host = self.hosts.get(event.host as usize).context("a host")?;
        while host.was_asked()
            && (host.owed() >= self.options.backlog_max
                || self.world.ledger.undelivered() >= self.options.owed_max)
        {
            tokio::time::sleep(PAUSE).await;
        }
        self.world.ledger.sent(&event)?;
        if let Some(stamps) = &mut *lock(&self.stamps) {
            stamps.insert(event.digest, Instant::now());
        }
        if event.rev > 0
            && self.world.population.host(event.account) == event.host
            && let Some(head) = lock(&self.world.heads).get_mut(event.account as usize)
        {
            *head = Head { rev: event.rev, commit: event.commit };
        }
        let bytes = event.frame.len() as u64;
        host.push(event.number, event.frame);
        self.retain(event.host, bytes);
        Ok(())
    }

    /// Forgets the oldest frames beyond the limit, as far as they were delivered.
    fn retain(&self, host: u32, bytes: u64) {
        let mut retained = lock(&self.retained);
        retained.order.push_back(host);
        retained.bytes += bytes;
        for _ in 0..FORGET_MAX {
            if retained.bytes <= self.options.retained_bytes {
                return;
            }
            let Some(oldest) = retained.order.pop_front() else { return };
            let host = self.hosts.get(oldest as usize);
            match host.and_then(|host| host.forget_oldest()) {
                Some(bytes) => retained.bytes -= bytes as u64,
                // It is still owed to a relay, and has its turn again later.
                None => retained.order.push_back(oldest),
            }
        }
    }
}
