//! Composes the rooms; the one file that names every stage.
//!
//! Start: first the [`Ground`], all that can fail: lock, password, ports, store, log, recovery. Then
//! the stages: identities, shards, firehose, listeners, hosts, so that consumers are served before the
//! first host is read. Nothing runs before all of the ground is there. Stop: the same way back (OUT-7).

mod ground;
mod listeners;
pub(crate) mod lock;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use crate::{
    actions::Actions,
    alerts::{self, AlertOptions},
    api::{ApiParts, ApiState, Room},
    checkpoint::{self, Checkpointer},
    clock::Clock,
    config::Config,
    descriptors,
    domain::Seq,
    drops::Drops,
    eventlog::{Appender, Files, LogHealth, Reader},
    firehose::{Firehose, FirehoseOptions},
    hosts::Hosts,
    identity::{Identities, IdentityOptions},
    ingest::{Ingest, VerdictLine},
    store::Store,
    tasks::Tasks,
    telemetry::{self, StatusFacts},
    upstream::{Upstream, UpstreamOptions},
};

use self::ground::{Door, Ground};
pub(crate) use self::ground::{host_options, open_net};

/// What `Server` and `User-Agent` begin with (WS-11, UP-1).
pub const SOFTWARE: &str = concat!("relay/", env!("CARGO_PKG_VERSION"));

/// Shutdown waits this long for events that are still being judged; parked ones may take longer and
/// come again from their hosts, because their cursors were not passed (I2).
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// The last checkpoint may take this long: consumers are told to go meanwhile, and the log holds what
/// it would have written.
const LAST_CHECKPOINT_MAX: Duration = Duration::from_secs(4);
/// A database that still works on a statement is left to it after this time.
const STORE_CLOSE_MAX: Duration = Duration::from_secs(1);
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
    /// Files of the event log; `None` = the machine's.
    pub log_files: Option<Arc<dyn Files>>,
    /// Limits of the firehose; the number of consumers comes from the settings.
    pub firehose: FirehoseOptions,
    /// How hosts are dialled; the number of handshakes comes from the settings.
    pub upstream: UpstreamOptions,
    /// How alerts are looked for and sent; where and when comes from the settings.
    pub alerts: AlertOptions,
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
    /// The file that holds the admin password, unless one was set.
    pub password_file: Option<PathBuf>,
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
    /// What operators do.
    pub actions: Actions,
    /// Policy file; empty = none.
    policy_file: PathBuf,
    /// Head when it started, for the count of events since.
    first_head: Seq,
    checkpointer: Checkpointer,
    appender: Appender,
    store: Store,
    tasks: Stages,
    // Held until everything else has ended.
    _locks: [lock::DataLock; 2],
}

/// One set of tasks per stage, so that they can be stopped in order.
#[derive(Debug, Default)]
struct Stages {
    upstream: Tasks,
    ingest: Tasks,
    edge: Tasks,
    fatal: Tasks,
}

impl Stages {
    /// Returns when any stage has failed or stops.
    async fn any_stopping(&self) {
        tokio::select! {
            () = self.upstream.stopping().cancelled() => {}
            () = self.ingest.stopping().cancelled() => {}
            () = self.edge.stopping().cancelled() => {}
            () = self.fatal.stopping().cancelled() => {}
        }
    }

    /// Why the process must stop; the log's own words before those of a stage that missed it.
    fn failure(&self) -> Option<String> {
        [&self.fatal, &self.ingest, &self.upstream, &self.edge].into_iter().find_map(Tasks::failure)
    }
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
        // All of it at once is too large for the stacks of those who wait for it.
        Box::pin(Self::begin(config, extras)).await
    }

    async fn begin(config: Config, extras: Extras) -> Result<Running, Fatal> {
        telemetry::metrics::describe();
        let mut config = config;
        let Extras { clock, verdicts, log_files, firehose, upstream, alerts } = extras;
        let prepared = Box::pin(ground::prepare(&mut config, clock, log_files)).await?;
        let running = compose(config, (verdicts, firehose, upstream, alerts), prepared);
        Box::pin(running.follow_policy()).await;
        let forgetting = Box::pin(running.actions.siblings().forget_others());
        if let Err(error) = forgetting.await {
            tracing::warn!(%error, "what waits for former siblings stays");
        }
        Ok(running)
    }
}

/// What a caller may choose of the stages.
type Wishes = (bool, FirehoseOptions, UpstreamOptions, AlertOptions);

/// Starts every stage on the ground; nothing of it can fail.
fn compose(
    config: Config,
    (wants_verdicts, options, dialling, alerting): Wishes,
    (door, mut ground): (Door, Ground),
) -> Running {
    let tasks = Stages::default();
    let drops = Arc::new(Drops::default());
    let identities = identities(&config, &ground, &tasks.ingest);
    let (verdict_in, verdicts) = verdict_lines(wants_verdicts);
    let parts = ground.ingest_parts(&config, &identities, &drops, verdict_in);
    let ingest = Ingest::start(parts, &tasks.ingest);
    announce_pending(&ingest, &tasks.ingest);
    let options = firehose_options(&config, &ground, options);
    let firehose =
        Firehose::with_options(ground.reader.clone(), ground.clock.clone(), &tasks.edge, options);
    let parts = ground.upstream_parts(&config, dialling, &ingest, &drops);
    let upstream = Upstream::start(parts, &tasks.upstream);
    let discovery = ground.start_discovery(&config, (&ingest, &identities), &tasks.upstream);
    let checkpointer = ground.checkpointer(&ingest);
    let filling = (&ingest, &discovery, &checkpointer);
    let backfill = ground.start_backfill(&config, filling, &tasks.upstream);
    let acting = (&ingest, &firehose, (&discovery, &backfill));
    let actions = ground.actions(&config, acting, &tasks.edge);
    let alerts = alerts::start(ground.alert_parts(&config, alerting, &upstream), &tasks.edge);
    let state = ApiState::new(ApiParts {
        alerts,
        store: ground.store.clone(),
        ingest: ingest.clone(),
        hosts: ground.hosts.clone(),
        discovery,
        backfill,
        host_away: config.collections_host_away,
        identities,
        drops: Arc::clone(&drops),
        log: ground.reader.clone(),
        firehose: firehose.clone(),
        upstream: upstream.clone(),
        clock: ground.clock.clone(),
        // The first that stop, while consumers are still served.
        tasks: tasks.upstream.clone(),
        software: SOFTWARE,
        contact: config.contact.clone(),
        dev: config.dev,
        actions: actions.clone(),
        settings: config.effective().to_vec(),
        admin_passwords: config.admin_passwords.clone(),
    });
    let room = room_for_clients(&ground.hosts, &firehose);
    let addresses = door.listeners.serve(&state, room, &config.trusted_proxies, &tasks.edge);
    tasks.fatal.start(checkpointer.clone().run(tasks.fatal.child()));
    keep_up(&ground, &tasks.edge);
    watch_log(&ground.reader, &tasks.fatal);
    keep_claim(&ground.store, &tasks.fatal);
    crawl((config.crawl, config.source_relays), &ground, &tasks.upstream);

    let Ground { hosts, store, appender, reader, .. } = ground;
    Running {
        first_head: reader.window().head,
        api: addresses.api,
        admin: addresses.admin,
        metrics: addresses.metrics,
        password_file: door.password_file,
        verdicts,
        hosts,
        ingest,
        upstream,
        firehose,
        log: reader,
        drops,
        actions,
        policy_file: config.policy_file,
        checkpointer,
        appender,
        store,
        tasks,
        _locks: door.locks,
    }
}

/// What the settings say of the firehose, and what a caller chose beside.
fn firehose_options(config: &Config, ground: &Ground, chosen: FirehoseOptions) -> FirehoseOptions {
    FirehoseOptions {
        consumers_max: config.max_consumers,
        per_client_max: config.max_consumers_per_client,
        hidden: ground.hidden.clone(),
        ..chosen
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
        self.tasks.any_stopping().await;
        Fatal(self.tasks.failure().unwrap_or_else(|| "the relay was stopped".to_owned()))
    }

    /// Writes a checkpoint now; the daemon does so by itself every 30 s.
    ///
    /// # Errors
    /// The database or the log.
    pub async fn checkpoint(&self) -> Result<(), checkpoint::CheckpointError> {
        self.checkpointer.write().await
    }

    /// Makes everything as the policy file says, at the start and on SIGHUP. One that is wrong changes
    /// nothing and is told in the log.
    pub async fn follow_policy(&self) {
        if self.policy_file.as_os_str().is_empty() {
            return;
        }
        match self.actions.follow_policy(&self.policy_file).await {
            Ok(changes) => {
                tracing::info!(changes = changes.len(), "the policy file was followed");
                for change in changes {
                    tracing::info!(change, "policy file");
                }
            }
            Err(why) => tracing::error!(%why, "the policy file was not followed"),
        }
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
        let failure = self.tasks.failure();
        if failure.is_none() && !self.is_full() {
            // Consumers are given all that was drained. The checkpoint meets the same error.
            drop(self.appender.barrier().await);
        }
        let last = async {
            match failure {
                None => self.last_checkpoint().await,
                Some(why) => {
                    self.tasks.fatal.stop().await;
                    Err(Fatal(why))
                }
            }
        };
        // Side by side: each waits some seconds for those who take or send nothing any more.
        let (written, (), ()) = tokio::join!(last, self.firehose.close(), self.tasks.edge.stop());
        self.tasks.ingest.stop().await;
        self.appender.close().await;
        if tokio::time::timeout(STORE_CLOSE_MAX, self.store.close()).await.is_err() {
            tracing::warn!("the database did not end its last work in time");
        }
        written
    }

    fn is_full(&self) -> bool {
        *self.log.health().borrow() == LogHealth::DiskFull
    }

    /// With a full disk there is none: it would wait for events that cannot be written. What the log
    /// holds is replayed by the next start, the rest comes again from the hosts (I2, I3).
    async fn last_checkpoint(&self) -> Result<(), Fatal> {
        let written = async {
            self.tasks.fatal.stop().await;
            if self.is_full() {
                tracing::warn!(
                    "the disk is full: no checkpoint, the next start replays the event log"
                );
                return Ok(());
            }
            self.checkpointer.write().await.map_err(Fatal::new)
        };
        tokio::time::timeout(LAST_CHECKPOINT_MAX, written).await.unwrap_or_else(|_late| {
            Err(Fatal::new(
                "the database did not take the last checkpoint in time; the next start replays the event log",
            ))
        })
    }
}

/// What follows the rest and holds up nothing: metrics, and the index of collections.
fn keep_up(ground: &Ground, tasks: &Tasks) {
    tasks.start(ground.projection().run(tasks.child()));
    let stopping = tasks.stopping().clone();
    tasks.start(async move {
        stopping.run_until_cancelled(telemetry::metrics::keep_up()).await;
    });
}

fn identities(config: &Config, ground: &Ground, tasks: &Tasks) -> Identities {
    Identities::new(identity_options(config), ground.net.clone(), ground.clock.clone(), tasks)
}

fn identity_options(config: &Config) -> IdentityOptions {
    IdentityOptions {
        plc_url: config.plc_host.clone(),
        plc_rate: config.plc_rate,
        concurrency: config.identity_concurrency,
        allow_insecure: config.dev,
    }
}

fn watch_log(reader: &Reader, tasks: &Tasks) {
    let (mut health, owner) = (reader.health(), tasks.clone());
    tasks.start(async move {
        let mut was_well = true;
        loop {
            let now = health.borrow_and_update().clone();
            let is_well = now == LogHealth::Writing;
            match now {
                LogHealth::Failed(why) => return owner.fail(why),
                LogHealth::DiskFull => tracing::error!(
                    "the disk is full: hosts are not read until there is room, consumers are served"
                ),
                LogHealth::AwaitingCheckpoint => tracing::error!(
                    "the event log is over its limit and may not shrink before the next checkpoint: \
                     hosts are not read until the database takes it, consumers are served"
                ),
                LogHealth::Damaged(what) => tracing::error!(%what, "the event log is damaged"),
                LogHealth::Writing if was_well => {}
                LogHealth::Writing => tracing::info!("the event log is well again"),
            }
            was_well = is_well;
            tokio::select! {
                () = owner.stopping().cancelled() => return,
                changed = health.changed() => if changed.is_err() { return },
            }
        }
    });
}

/// Connections that may be open beside all hosts and the consumers that there are.
fn room_for_clients(hosts: &Hosts, firehose: &Firehose) -> Room {
    let known = hosts.all().len();
    if descriptors::needed_for(known) > descriptors::limit() {
        tracing::warn!(
            "{} files may be open, which is little for {known} hosts: raise the limit to {} or more \
             (`LimitNOFILE=` of the service, or `ulimit -n`)",
            descriptors::limit(),
            descriptors::needed_for(known)
        );
    }
    let (hosts, firehose) = (hosts.clone(), firehose.clone());
    Arc::new(move || descriptors::for_clients(hosts.all().len()).saturating_sub(firehose.count()))
}

/// Two relays must not write one database: the one that lost it stops.
fn keep_claim(store: &Store, tasks: &Tasks) {
    let (store, owner) = (store.clone(), tasks.clone());
    tasks.start(async move {
        tokio::select! {
            () = owner.stopping().cancelled() => {}
            why = store.keep_claim() => owner.fail(why.to_string()),
        }
    });
}

/// Announces what was decided about accounts and a crash kept from being told (DESIGN 10.13).
fn announce_pending(ingest: &Ingest, tasks: &Tasks) {
    let (ingest, stopping) = (ingest.clone(), tasks.stopping().clone());
    tasks.start(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            announced = ingest.announce_pending() => if let Err(error) = announced {
                tracing::warn!(%error, "decisions about accounts are announced at the next start");
            }
        }
    });
}

fn crawl((names, relays): (Vec<String>, Vec<String>), ground: &Ground, tasks: &Tasks) {
    let hosts = ground.hosts.clone();
    ground.read_sources(relays, tasks);
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
