//! Composes the rooms; the one file that names every stage.
//!
//! Start: lock, store, log, recovery, identities, shards, firehose, listeners, hosts, in this order,
//! so that consumers are served before the first host is read. Stop: the same way back (OUT-7).

mod listeners;
mod lock;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::{
    api::{ApiParts, ApiState},
    checkpoint::{self, Checkpointer},
    clock::Clock,
    config::Config,
    domain::Seq,
    drops::Drops,
    eventlog::{self, Appender, Durable, LogHealth, LogOptions, Reader},
    firehose::Firehose,
    hosts::Hosts,
    identity::{Identities, IdentityOptions},
    ingest::{Ingest, IngestParts, VerdictLine},
    net::{Net, NetOptions},
    store::Store,
    tasks::Tasks,
    telemetry::{self, StatusFacts},
    upstream::{Upstream, UpstreamOptions, UpstreamParts},
};

/// What `Server` and `User-Agent` begin with (WS-11, UP-1).
pub const SOFTWARE: &str = concat!("relay/", env!("CARGO_PKG_VERSION"));

/// How far seq jumps when the log is gone but the database remembers it (CUR-9, DESIGN 10.18).
const LOST_LOG_JUMP: u64 = 1_000_000_000;
/// Shutdown waits this long for events that are still being judged; parked ones may take longer and
/// come again from their hosts, because their cursors were not passed (I2).
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// Least time between two sync starts of the log (DESIGN 10.9).
const SYNC_INTERVAL: Duration = Duration::from_millis(4);
/// Newest records that readers find in memory; about ten seconds of the full network.
const RECENT_BYTES: usize = 64 << 20;
/// Verdict lines that may wait for `relay dev` to print them.
const VERDICT_LINES_MAX: usize = 10_000;

/// Why the daemon did not start, or had to stop: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(String);

impl Fatal {
    pub(crate) fn new(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// What a caller may replace or observe; `Default` is the machine's clock and nothing else.
#[derive(Debug, Default)]
pub struct Extras {
    /// Clock of all rooms.
    pub clock: Clock,
    /// Receive one line per judged event.
    pub verdicts: bool,
}

/// A running relay.
#[derive(Debug)]
pub struct Running {
    /// Where xrpc and the firehose answer.
    pub api: SocketAddr,
    /// Where the admin API answers.
    pub admin: SocketAddr,
    /// Where metrics and health answer.
    pub metrics: SocketAddr,
    /// Verdict lines, when asked for.
    pub verdicts: Option<mpsc::Receiver<VerdictLine>>,
    /// Hosts.
    pub hosts: Hosts,
    /// Shards.
    pub ingest: Ingest,
    /// Subscriptions.
    pub upstream: Upstream,
    /// Firehose.
    pub firehose: Firehose,
    /// Event log.
    pub log: Reader,
    /// Reasons of dropped events.
    pub drops: Arc<Drops>,
    /// Head when it started, for the count of events since.
    first_head: Seq,
    checkpointer: Checkpointer,
    appender: Appender,
    store: Store,
    tasks: Stages,
    // Held until everything else has ended.
    _lock: lock::DataLock,
}

/// One set of tasks per stage, so that they can be stopped in order.
#[derive(Debug, Default)]
struct Stages {
    upstream: Tasks,
    ingest: Tasks,
    edge: Tasks,
    fatal: Tasks,
}

/// The relay itself.
#[derive(Debug)]
pub struct Daemon;

impl Daemon {
    /// Starts everything and returns once the listeners answer.
    ///
    /// # Errors
    /// [`Fatal`], one sentence: what, where, what to do.
    pub async fn start(config: Config, extras: Extras) -> Result<Running, Fatal> {
        telemetry::metrics::describe();
        let lock = lock::DataLock::take(&config.data_dir)?;
        let listeners = listeners::Listeners::bind(&config)?;
        let ground = Ground::lay(&config, extras.clock).await?;
        let tasks = Stages::default();
        let drops = Arc::new(Drops::default());
        let identities = Identities::new(
            identity_options(&config),
            ground.net.clone(),
            ground.clock.clone(),
            &tasks.ingest,
        );
        let (verdict_in, verdicts) = verdict_lines(extras.verdicts);
        let ingest = Ingest::start(
            ground.ingest_parts(&config, &identities, &drops, verdict_in).await?,
            &tasks.ingest,
        );
        let firehose = Firehose::new(ground.reader.clone(), ground.clock.clone(), &tasks.edge);
        let upstream =
            Upstream::start(ground.upstream_parts(&config, &ingest, &drops), &tasks.upstream);
        let state = ApiState::new(ApiParts {
            store: ground.store.clone(),
            ingest: ingest.clone(),
            hosts: ground.hosts.clone(),
            identities,
            drops: Arc::clone(&drops),
            log: ground.reader.clone(),
            firehose: firehose.clone(),
            upstream: upstream.clone(),
            clock: ground.clock.clone(),
            tasks: tasks.edge.clone(),
            software: SOFTWARE,
            contact: config.contact.clone(),
            dev: config.dev,
            disable_request_crawl: config.disable_request_crawl,
            admin_passwords: config.admin_passwords.clone(),
        });
        let addresses = listeners.serve(&state, &tasks.edge)?;
        let checkpointer = ground.checkpointer(&ingest);
        tasks.fatal.start(checkpointer.clone().run(tasks.fatal.child()));
        watch_log(&ground.reader, &tasks.fatal);
        crawl(config.crawl, ground.hosts.clone(), &tasks.upstream);

        let Ground { hosts, store, appender, reader, .. } = ground;
        Ok(Running {
            first_head: reader.window().head,
            api: addresses.api,
            admin: addresses.admin,
            metrics: addresses.metrics,
            verdicts,
            hosts,
            ingest,
            upstream,
            firehose,
            log: reader,
            drops,
            checkpointer,
            appender,
            store,
            tasks,
            _lock: lock,
        })
    }
}

/// What all stages stand on: open, recovered, and nothing runs on it yet.
struct Ground {
    clock: Clock,
    net: Net,
    store: Store,
    hosts: Hosts,
    appender: Appender,
    reader: Reader,
}

impl Ground {
    /// Opens store and log and replays the log's tail into the store (I3).
    async fn lay(config: &Config, clock: Clock) -> Result<Self, Fatal> {
        let net = open_net(config)?;
        let store = Store::open(config.database_url.expose(), config.database_connections)
            .await
            .map_err(Fatal::new)?
            .with_account_limit(config.default_account_limit);
        let hosts =
            Hosts::load(store.clone(), net.clone(), clock.clone(), config.dev, config.lenient)
                .await
                .map_err(Fatal::new)?;
        let (appender, reader) = open_log(config, &store, &hosts, &clock).await?;
        let recovered = checkpoint::recover(&store, &reader).await.map_err(Fatal::new)?;
        appender.set_checkpoint(recovered.position);
        if recovered.events > 0 {
            tracing::info!(
                events = recovered.events,
                accounts = recovered.accounts,
                position = recovered.position.0,
                "state replayed from the event log"
            );
        }
        Ok(Self { clock, net, store, hosts, appender, reader })
    }

    async fn ingest_parts(
        &self,
        config: &Config,
        identities: &Identities,
        drops: &Arc<Drops>,
        verdicts: Option<mpsc::Sender<VerdictLine>>,
    ) -> Result<IngestParts, Fatal> {
        Ok(IngestParts {
            shards: config.shards,
            dev: config.dev,
            host_queue: config.host_queue,
            appender: self.appender.clone(),
            hosts: self.hosts.clone(),
            identities: identities.clone(),
            store: self.store.clone(),
            net: self.net.clone(),
            drops: Arc::clone(drops),
            clock: self.clock.clone(),
            accounts_max: config.account_cache,
            last_account: self.store.last_account_number().await.map_err(Fatal::new)?,
            verdicts,
        })
    }

    fn upstream_parts(
        &self,
        config: &Config,
        ingest: &Ingest,
        drops: &Arc<Drops>,
    ) -> UpstreamParts<Ingest> {
        UpstreamParts {
            hosts: self.hosts.clone(),
            inlet: ingest.clone(),
            net: self.net.clone(),
            drops: Arc::clone(drops),
            clock: self.clock.clone(),
            options: UpstreamOptions {
                handshakes_max: config.handshakes_max,
                ..UpstreamOptions::default()
            },
        }
    }

    fn checkpointer(&self, ingest: &Ingest) -> Checkpointer {
        Checkpointer {
            store: self.store.clone(),
            ingest: ingest.clone(),
            appender: self.appender.clone(),
            reader: self.reader.clone(),
            hosts: self.hosts.clone(),
        }
    }
}

/// Both ends of the verdict lines, when somebody wants them.
fn verdict_lines(
    wanted: bool,
) -> (Option<mpsc::Sender<VerdictLine>>, Option<mpsc::Receiver<VerdictLine>>) {
    wanted.then(|| mpsc::channel(VERDICT_LINES_MAX)).unzip()
}

impl Running {
    /// Returns when something happened after which the process must not go on.
    pub async fn failed(&self) -> Fatal {
        self.tasks.fatal.stopping().cancelled().await;
        Fatal(self.tasks.fatal.failure().unwrap_or_else(|| "the relay was stopped".to_owned()))
    }

    /// Writes a checkpoint now; the daemon does so by itself every 30 s.
    ///
    /// # Errors
    /// The database or the log.
    pub async fn checkpoint(&self) -> Result<(), checkpoint::CheckpointError> {
        self.checkpointer.write().await
    }

    /// What the status line shows now.
    pub fn status(&self) -> StatusFacts {
        let window = self.log.window();
        StatusFacts {
            hosts_connected: self.upstream.connected(),
            hosts_known: self.hosts.all().len(),
            verified: window.head.0.saturating_sub(self.first_head.0),
            dropped: self
                .drops
                .totals()
                .into_iter()
                .map(|(reason, count)| (reason.label(), count))
                .collect(),
            head: window.head.0,
            window_events: (window.head.0 + 1).saturating_sub(window.oldest.0),
            window_bytes: self.log.disk_bytes(),
            consumers: self.firehose.count(),
        }
    }

    /// Stops reading hosts, drains, syncs, closes consumers with 1001, writes the last checkpoint.
    ///
    /// # Errors
    /// What could not be written; the next start replays it from the log.
    pub async fn stop(self) -> Result<(), Fatal> {
        self.upstream.stop().await;
        self.tasks.upstream.stop().await;
        let drained = tokio::time::timeout(DRAIN_MAX, self.ingest.settled()).await.is_ok();
        if !drained {
            tracing::info!(
                "some events still wait for an identity; their hosts will send them again"
            );
        }
        let failure = self.tasks.fatal.failure();
        self.tasks.fatal.stop().await;
        let written = match failure {
            None => self.checkpointer.write().await.map_err(Fatal::new),
            Some(why) => Err(Fatal(why)),
        };
        self.firehose.close().await;
        self.tasks.edge.stop().await;
        self.tasks.ingest.stop().await;
        self.appender.close().await;
        self.store.close().await;
        written
    }
}

fn open_net(config: &Config) -> Result<Net, Fatal> {
    Net::new(NetOptions {
        allow_insecure: config.dev,
        name_servers: config.resolve_address.clone(),
        udp_only: config.force_dns_udp,
        user_agent: format!("{SOFTWARE} (atproto-relay; {})", config.contact),
    })
    .map_err(Fatal::new)
}

fn identity_options(config: &Config) -> IdentityOptions {
    IdentityOptions {
        plc_url: config.plc_host.clone(),
        plc_rate: config.plc_rate,
        allow_insecure: config.dev,
    }
}

async fn open_log(
    config: &Config,
    store: &Store,
    hosts: &Hosts,
    clock: &Clock,
) -> Result<(Appender, Reader), Fatal> {
    let dir = config.persist_dir.clone();
    let options = LogOptions {
        dir: dir.clone(),
        instance_id: store.instance_id().await.map_err(Fatal::new)?,
        replay_window: config.replay_window,
        bytes_max: config.replay_max_bytes,
        initial_seq: initial_seq(config, store, &dir).await?,
        segment_bytes: config.segment_bytes,
        sync_interval: SYNC_INTERVAL,
        recent_bytes: RECENT_BYTES,
    };
    let (clock, hosts) = (clock.clone(), hosts.clone());
    // Recovery scans files: not on a worker.
    tokio::task::spawn_blocking(move || {
        let settle = move |durable: &[Durable]| {
            for event in durable {
                if let Some(host) = hosts.get(event.host) {
                    host.settle(event.epoch, event.host_seq);
                }
            }
        };
        eventlog::open(options, clock, Box::new(settle))
    })
    .await
    .map_err(Fatal::new)?
    .map_err(Fatal::new)
}

/// The floor for the next seq. When the log is gone but the database remembers a position, seq must
/// not be reused (I4): it jumps far above.
async fn initial_seq(config: &Config, store: &Store, dir: &Path) -> Result<Seq, Fatal> {
    let configured = config.initial_seq;
    let Some(position) = store.last_checkpoint().await.map_err(Fatal::new)? else {
        return Ok(Seq(configured));
    };
    if position == Seq(0) || has_entries(dir) {
        return Ok(Seq(configured));
    }
    let jumped = position.0.saturating_add(LOST_LOG_JUMP);
    tracing::warn!(
        dir = %dir.display(), position = position.0, next = jumped,
        "the event log is gone; seq jumps far above the last known one so that none is used twice"
    );
    Ok(Seq(jumped.max(configured)))
}

fn has_entries(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

fn watch_log(reader: &Reader, tasks: &Tasks) {
    let (mut health, owner) = (reader.health(), tasks.clone());
    tasks.start(async move {
        loop {
            let now = health.borrow_and_update().clone();
            match now {
                LogHealth::Failed(why) => return owner.fail(why),
                LogHealth::DiskFull => tracing::error!(
                    "the disk is full: hosts are not read until there is room, consumers are served"
                ),
                LogHealth::Damaged(what) => tracing::error!(%what, "the event log is damaged"),
                LogHealth::Writing => {}
            }
            tokio::select! {
                () = owner.stopping().cancelled() => return,
                changed = health.changed() => if changed.is_err() { return },
            }
        }
    });
}

fn crawl(names: Vec<String>, hosts: Hosts, tasks: &Tasks) {
    if names.is_empty() {
        return;
    }
    let stopping = tasks.stopping().clone();
    tasks.start(async move {
        for name in names {
            let admitted = tokio::select! {
                () = stopping.cancelled() => return,
                admitted = hosts.admit(&name, true) => admitted,
            };
            match admitted {
                Ok(host) => tracing::info!(host = %host.hostname(), "host added"),
                Err(why) => tracing::warn!(host = name, %why, "host not added"),
            }
        }
    });
}
