//! The ground that the stages stand on: all of the start that can fail.
//!
//! Nothing of it runs by itself but the log's writer, which is closed before an error is given. So a
//! start that fails leaves no task, no thread, no port and no lock behind.

use std::{path::PathBuf, sync::Arc, time::Duration};

use relay_protocol::Hostname;
use tokio::sync::mpsc;

use super::{
    Fatal, SOFTWARE,
    listeners::Listeners,
    lock::{self, DataLock},
};
use crate::{
    accounts::hidden::Hidden,
    actions::{self, ActionParts, Actions, PolicySettings, Rules, SiblingParts, Siblings},
    alerts::{AlertOptions, AlertParts},
    backfill::{Backfill, BackfillParts},
    checkpoint::{self, Checkpointer},
    clock::Clock,
    collections::{
        self, Projection,
        index::{Index, Options},
    },
    config::Config,
    discovery::{CandidateMode, Discovery, DiscoveryParts, Earlier},
    domain::{AccountNo, Seq},
    drops::Drops,
    eventlog::{self, Appender, Durable, Files, LogOptions, Machine, Reader},
    firehose::Firehose,
    hosts::{HostOptions, Hosts, Leniency},
    identity::Identities,
    ingest::{Ingest, IngestParts, VerdictLine},
    net::{Net, NetOptions},
    store::Store,
    tasks::Tasks,
    units::Day,
    upstream::{Upstream, UpstreamOptions, UpstreamParts},
};

/// Least time between two sync starts of the log (DESIGN 10.9); a flood of events makes it 10 ms, for a
/// sync costs as much CPU time as ten signatures. See `docs/decisions` for the figures.
const SYNC_INTERVAL: Duration = Duration::from_millis(4);
/// Newest records that readers find in memory; about ten seconds of the full network.
const RECENT_BYTES: usize = 64 << 20;

/// What belongs to this process alone.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) locks: [DataLock; 2],
    /// The file that holds the admin password, unless one was set.
    pub(super) password_file: Option<PathBuf>,
    pub(super) listeners: Listeners,
}

/// What all stages stand on: open, recovered, and nothing runs on it yet.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) clock: Clock,
    pub(super) net: Net,
    pub(super) store: Store,
    pub(super) hosts: Hosts,
    pub(super) appender: Appender,
    pub(super) reader: Reader,
    pub(super) hidden: Hidden,
    pub(super) collections: Index,
    pub(super) rules: Rules,
    last_account: AccountNo,
    earlier: Earlier,
}

/// The cheap and likely failures come first: directory, ports, settings of the database.
///
/// * `log_files` – under the event log; `None` = the machine's
pub(super) async fn prepare(
    config: &mut Config,
    clock: Clock,
    log_files: Option<Arc<dyn Files>>,
) -> Result<(Door, Ground), Fatal> {
    let locks = [
        DataLock::take(&config.data_dir, lock::DATA)?,
        DataLock::take(&config.persist_dir, lock::LOG)?,
    ];
    let more = config.admin_password_file.clone();
    config.add_admin_passwords(&more).map_err(Fatal::new)?;
    let password_file = config.ensure_admin_password().map_err(Fatal::new)?;
    let listeners = Listeners::bind(config)?;
    let net = open_net(config)?;
    // One connection is that of the claim.
    let connections = config.database_connections.saturating_sub(1);
    let store = Store::open(config.database_url.expose(), connections)
        .await
        .map_err(Fatal::new)?
        .with_account_limit(config.default_account_limit);
    let files = log_files.unwrap_or_else(|| Arc::new(Machine));
    match Kept::open(config, (&store, &net), &clock, files).await {
        Ok(kept) => Ok((
            Door { locks, password_file, listeners },
            Ground {
                clock,
                net,
                store,
                hosts: kept.hosts,
                appender: kept.appender,
                reader: kept.reader,
                hidden: kept.hidden,
                collections: kept.collections,
                rules: kept.rules,
                last_account: kept.last_account,
                earlier: kept.earlier,
            },
        )),
        Err(why) => {
            store.close().await;
            Err(why)
        }
    }
}

impl Ground {
    pub(super) fn ingest_parts(
        &self,
        config: &Config,
        identities: &Identities,
        drops: &Arc<Drops>,
        verdicts: Option<mpsc::Sender<VerdictLine>>,
    ) -> IngestParts {
        IngestParts {
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
            hidden: self.hidden.clone(),
            last_account: self.last_account,
            verdicts,
        }
    }

    pub(super) fn upstream_parts(
        &self,
        config: &Config,
        options: UpstreamOptions,
        ingest: &Ingest,
        drops: &Arc<Drops>,
    ) -> UpstreamParts<Ingest> {
        UpstreamParts {
            hosts: self.hosts.clone(),
            inlet: ingest.clone(),
            net: self.net.clone(),
            drops: Arc::clone(drops),
            clock: self.clock.clone(),
            options: UpstreamOptions { handshakes_max: config.handshakes_max, ..options },
        }
    }

    /// * `tasks` – of the edge: actions under way end before it does
    pub(super) fn actions(
        &self,
        config: &Config,
        (ingest, firehose, (discovery, backfill)): (&Ingest, &Firehose, (&Discovery, &Backfill)),
        tasks: &Tasks,
    ) -> Actions {
        let siblings = SiblingParts {
            password: config.admin_passwords.first().cloned(),
            store: self.store.clone(),
            net: self.net.clone(),
            clock: self.clock.clone(),
        };
        Actions::new(ActionParts {
            store: self.store.clone(),
            hosts: self.hosts.clone(),
            ingest: ingest.clone(),
            firehose: firehose.clone(),
            discovery: discovery.clone(),
            backfill: backfill.clone(),
            rules: self.rules.clone(),
            siblings: Siblings::start(siblings, &config.sibling_relays, tasks),
            settings: PolicySettings {
                trusted_domains: self.hosts.trusted_domains(),
                siblings: config.sibling_relays.clone(),
            },
            clock: self.clock.clone(),
            dev: config.dev,
            tasks: tasks.clone(),
        })
    }

    /// Reads lists of others, from where they were left. It stops with the subscriptions: what it finds
    /// would not be read any more.
    pub(super) fn start_discovery(
        &mut self,
        config: &Config,
        (ingest, identities): (&Ingest, &Identities),
        tasks: &Tasks,
    ) -> Discovery {
        let named = config.bootstrap_from.iter();
        let parts = DiscoveryParts {
            store: self.store.clone(),
            hosts: self.hosts.clone(),
            ingest: ingest.clone(),
            identities: identities.clone(),
            net: self.net.clone(),
            clock: self.clock.clone(),
            bootstrap_from: named
                .filter_map(|name| Hostname::parse(name, config.dev).ok())
                .collect(),
            candidates: match config.host_candidates.as_str() {
                "off" => CandidateMode::Off,
                "add" => CandidateMode::Add,
                _ => CandidateMode::List,
            },
            plc_url: config.plc_host.clone(),
            plc_stream: config.plc_stream,
            dev: config.dev,
        };
        Discovery::start(parts, std::mem::take(&mut self.earlier), tasks)
    }

    /// Fills the index of collections, from where it was left.
    pub(super) fn start_backfill(
        &self,
        config: &Config,
        (ingest, discovery, checkpointer): (&Ingest, &Discovery, &Checkpointer),
        tasks: &Tasks,
    ) -> Backfill {
        let parts = BackfillParts {
            index: self.collections.clone(),
            store: self.store.clone(),
            ingest: ingest.clone(),
            hosts: self.hosts.clone(),
            discovery: discovery.clone(),
            checkpointer: checkpointer.clone(),
            log: self.reader.clone(),
            net: self.net.clone(),
            clock: self.clock.clone(),
            questions: config.collections_questions,
        };
        Backfill::start(parts, tasks)
    }

    pub(super) fn alert_parts(
        &self,
        config: &Config,
        options: AlertOptions,
        upstream: &Upstream,
    ) -> AlertParts {
        AlertParts {
            hosts: self.hosts.clone(),
            upstream: upstream.clone(),
            log: self.reader.clone(),
            replay_window: config.replay_window,
            collections: self.collections.clone(),
            net: self.net.clone(),
            clock: self.clock.clone(),
            data_dir: config.data_dir.clone(),
            settings: config.alerts.clone(),
            options,
        }
    }

    pub(super) fn projection(&self) -> Projection {
        Projection {
            index: self.collections.clone(),
            reader: self.reader.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Takes the relays that are sources of events among the hosts (HOST-13).
    pub(super) fn read_sources(&self, names: Vec<String>, tasks: &Tasks) {
        if names.is_empty() {
            return;
        }
        let (hosts, stopping) = (self.hosts.clone(), tasks.stopping().clone());
        tasks.start(async move {
            let Some(added) = stopping.run_until_cancelled(hosts.add_many(&names)).await else {
                return;
            };
            for (name, added) in names.iter().zip(added) {
                match added {
                    Ok(_) => tracing::info!(relay = name, "a relay is read as a source of events"),
                    Err(why) => tracing::warn!(relay = name, %why, "a relay is not read"),
                }
            }
        });
    }

    pub(super) fn checkpointer(&self, ingest: &Ingest) -> Checkpointer {
        let kept = (self.store.clone(), ingest.clone(), self.hosts.clone());
        Checkpointer::new(kept, (self.appender.clone(), self.reader.clone()))
    }
}

/// What was kept in database and log, brought to one state.
struct Kept {
    hosts: Hosts,
    appender: Appender,
    reader: Reader,
    hidden: Hidden,
    collections: Index,
    rules: Rules,
    last_account: AccountNo,
    earlier: Earlier,
}

impl Kept {
    async fn open(
        config: &Config,
        (store, net): (&Store, &Net),
        clock: &Clock,
        files: Arc<dyn Files>,
    ) -> Result<Self, Fatal> {
        store.claim(&config.data_dir).await.map_err(Fatal::new)?;
        let hosts = Hosts::load(store.clone(), net.clone(), clock.clone(), host_options(config))
            .await
            .map_err(Fatal::new)?;
        allow_hosts(config, &hosts).await?;
        let rules = Rules::load(store, !config.disable_request_crawl).await.map_err(Fatal::new)?;
        let earlier = Earlier::read(store).await.map_err(Fatal::new)?;
        let (appender, reader) = open_log(config, store, (&hosts, clock), files).await?;
        let recovered = async {
            let recovered = recover(store, &appender, &reader).await?;
            Ok::<_, Fatal>((recovered, open_collections(config, store, &reader).await?))
        };
        match Box::pin(recovered).await {
            Ok(((last_account, hidden), collections)) => Ok(Self {
                hosts,
                appender,
                reader,
                hidden,
                collections,
                rules,
                last_account,
                earlier,
            }),
            Err(why) => {
                appender.close().await;
                Err(why)
            }
        }
    }
}

/// Where only listed hosts are read, no other is dialled, not for a moment. A policy file that is wrong
/// stops the start: without it more would be passed on than is wanted.
async fn allow_hosts(config: &Config, hosts: &Hosts) -> Result<(), Fatal> {
    if config.policy_file.as_os_str().is_empty() {
        return Ok(());
    }
    let (_text, policy) =
        actions::read_policy(&config.policy_file, config.dev).map_err(Fatal::new)?;
    hosts.set_allowed(policy.allowed).await.map_err(Fatal::new)
}

/// Replays the log's tail into the database (I3); gives the highest account number then, and who is
/// taken down.
async fn recover(
    store: &Store,
    appender: &Appender,
    reader: &Reader,
) -> Result<(AccountNo, Hidden), Fatal> {
    let recovered = checkpoint::recover(store, reader).await.map_err(Fatal::new)?;
    appender.set_checkpoint(recovered.position);
    if recovered.events > 0 {
        tracing::info!(
            events = recovered.events,
            accounts = recovered.accounts,
            position = recovered.position.0,
            "state replayed from the event log"
        );
    }
    let last_account = store.last_account_number().await.map_err(Fatal::new)?;
    Ok((last_account, Hidden::of(store.taken_down().await.map_err(Fatal::new)?)))
}

/// The index of collections, if it belongs to this log and this database.
async fn open_collections(config: &Config, store: &Store, reader: &Reader) -> Result<Index, Fatal> {
    let dir = config.data_dir.join("collections");
    let options = Options { memory_bytes: config.collections_memory };
    let history = store.instance_id().await.map_err(Fatal::new)?;
    let head = reader.window().head;
    // It reads files: not on a worker.
    tokio::task::spawn_blocking(move || collections::open(&dir, options, (&history, head)))
        .await
        .map_err(Fatal::new)?
        .map_err(Fatal::new)
}

/// Outgoing connections as these settings have them.
pub(crate) fn open_net(config: &Config) -> Result<Net, Fatal> {
    Net::new(NetOptions {
        allow_insecure: config.dev,
        name_servers: config.resolve_address.clone(),
        udp_only: config.force_dns_udp,
        user_agent: user_agent(&config.contact),
    })
    .map_err(Fatal::new)
}

/// UP-1: software, version, the mark of a relay, and where its people are reached.
fn user_agent(contact: &str) -> String {
    let product = format!("{SOFTWARE} (atproto-relay)");
    if contact.is_empty() { product } else { format!("{product} (+{contact})") }
}

/// The relays that are read as sources of events.
fn sources(config: &Config) -> Vec<Hostname> {
    let names = config.source_relays.iter();
    names.filter_map(|name| Hostname::parse(name, config.dev).ok()).collect()
}

/// Rules for all hosts as these settings have them.
pub(crate) fn host_options(config: &Config) -> HostOptions {
    let spared = config.lenient_hosts.iter().filter_map(|(name, until)| {
        let hostname = Hostname::parse(name, config.dev).ok()?;
        Some((hostname.as_str().to_owned(), until.begin_ms()))
    });
    let leniency = Leniency {
        everywhere: config.lenient,
        until_ms: spared.collect(),
        strict_since_ms: config.strict_since.map(Day::begin_ms),
    };
    let lower = |pattern: &String| pattern.to_ascii_lowercase();
    let trusted = config.trusted_domains.iter().map(lower).collect();
    HostOptions {
        dev: config.dev,
        leniency,
        unsettled_max: config.host_concurrency,
        new_per_day: config.new_hosts_per_day,
        grows: config.limits_grow,
        account_limits: config.account_limits,
        sources: sources(config).iter().map(|name| name.as_str().to_owned()).collect(),
        trusted,
    }
}

async fn open_log(
    config: &Config,
    store: &Store,
    (hosts, clock): (&Hosts, &Clock),
    files: Arc<dyn Files>,
) -> Result<(Appender, Reader), Fatal> {
    let known_seq = store.last_checkpoint().await.map_err(Fatal::new)?.unwrap_or_default();
    let floor = store.seq_floor().await.map_err(Fatal::new)?;
    let options = LogOptions {
        dir: config.persist_dir.clone(),
        instance_id: store.instance_id().await.map_err(Fatal::new)?,
        replay_window: config.replay_window,
        bytes_max: config.replay_max_bytes,
        initial_seq: Seq(config.initial_seq).max(floor),
        known_seq,
        segment_bytes: config.segment_bytes,
        sync_interval: SYNC_INTERVAL,
        recent_bytes: RECENT_BYTES,
        compression: config.log_compression,
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
        eventlog::open_on(files, options, clock, Box::new(settle))
    })
    .await
    .map_err(Fatal::new)?
    .map_err(Fatal::new)
}
