//! HTTP: xrpc, admin, health (spec 12). Reads all rooms, changes only by commands.
//!
//! Three routers for three listeners: the public one with the firehose, the admin one behind a
//! password (DESIGN 10.15), and metrics. Public and admin may be merged into one. Every answer of any
//! of them is dressed the same way: `Server`, JSON errors, CORS for what is public (API-1, WS-11).
//!
//! Limits: 16 KiB of headers and of public bodies, 1 MiB of admin bodies, 8 KiB of path and query,
//! connections in all and per client, seconds for headers, body and answer (SEC-7).

mod admin;
mod dash;
mod dress;
mod error;
mod health;
mod home;
mod params;
mod scrape;
mod serve;
mod sidecar;
mod table;
mod xrpc;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use tokio::{sync::Semaphore, time::Instant};

pub use health::Trouble;
pub use serve::{Room, serve};

use crate::{
    actions::Actions,
    alerts::Alerts,
    backfill::Backfill,
    clock::Clock,
    config::{Effective, Secret},
    discovery::Discovery,
    drops::Drops,
    eventlog::Reader,
    firehose::{ClientRate, Firehose},
    hosts::Hosts,
    identity::Identities,
    ingest::Ingest,
    store::Store,
    tasks::Tasks,
    units::time_text,
    upstream::Upstream,
};
use admin::Gate;
use dash::{History, STREAMS_MAX, Sessions};
use health::Health;

/// The `Server` header of every answer; peers know a relay by it (WS-11).
const SERVER: &str = concat!("relay/", env!("CARGO_PKG_VERSION"), " (atproto-relay)");

/// Calls of requestCrawl per client and minute (HOST-4). A PDS calls once in twenty minutes (HOST-5).
const CRAWLS_PER_MINUTE: u32 = 10;

/// The rooms and facts that the API shows.
#[derive(Debug, Clone)]
pub struct ApiParts {
    /// Store.
    pub store: Store,
    /// Shards.
    pub ingest: Ingest,
    /// Hosts.
    pub hosts: Hosts,
    /// Lists of others that are read.
    pub discovery: Discovery,
    /// Fills the index of collections.
    pub backfill: Backfill,
    /// Accounts whose host is away for so long are not listed by their collections.
    pub host_away: Duration,
    /// Identities.
    pub identities: Identities,
    /// Reasons of dropped events.
    pub drops: Arc<Drops>,
    /// Event log.
    pub log: Reader,
    /// Firehose.
    pub firehose: Firehose,
    /// Subscriptions.
    pub upstream: Upstream,
    /// Clock.
    pub clock: Clock,
    /// Once these stop, health says that the relay is shutting down.
    pub tasks: Tasks,
    /// Name and version, `relay/1.2.3`.
    pub software: &'static str,
    /// Whom to write to about this relay; may be empty.
    pub contact: String,
    /// `--dev`.
    pub dev: bool,
    /// What people are told of.
    pub alerts: Alerts,
    /// What operators do.
    pub actions: Actions,
    /// Settings in effect, secrets redacted.
    pub settings: Vec<Effective>,
    /// Any of these opens the admin API; none closes it.
    pub admin_passwords: Vec<Secret>,
}

/// What all handlers share; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: ApiParts,
    started: Instant,
    crawls: ClientRate,
    gate: Gate,
    health: Health,
    sessions: Sessions,
    history: History,
    /// Places for pages that stay current.
    streams: Arc<Semaphore>,
}

impl std::ops::Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.shared.parts
    }
}

impl ApiState {
    /// Takes the rooms.
    pub fn new(parts: ApiParts) -> Self {
        Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                crawls: ClientRate::new(CRAWLS_PER_MINUTE, Duration::from_mins(1)),
                gate: Gate::new(parts.admin_passwords.clone()),
                health: Health::default(),
                sessions: Sessions::new(parts.admin_passwords.clone()),
                history: History::default(),
                streams: Arc::new(Semaphore::new(STREAMS_MAX)),
                parts,
            }),
        }
    }
}

/// What the public may reach: xrpc, firehose, `/`, health, status.
pub fn public_router(state: &ApiState) -> Router {
    let router = Router::new()
        .route("/", get(home::home))
        .route("/_health", get(health::public))
        .route("/xrpc/_health", get(health::public))
        .route("/v1/listCollections", get(sidecar::list_collections))
        .merge(dash::public_routes())
        .merge(xrpc::routes())
        .with_state(state.clone())
        .merge(state.firehose.router());
    dressed(router)
}

/// What operators reach with a password: the admin API and the page.
pub fn admin_router(state: &ApiState) -> Router {
    dressed(admin::routes(state).merge(dash::routes(state)).with_state(state.clone()))
}

/// Method and path of everything in [`admin_router`], for those who must know all of it.
pub fn admin_routes() -> Vec<(&'static str, &'static str)> {
    admin::table().listed().to_vec()
}

/// Method and path of everything of the page that is behind its login.
pub fn dash_routes() -> Vec<(&'static str, &'static str)> {
    dash::table().listed().to_vec()
}

/// Metrics and health in detail; for this machine only.
pub fn metrics_router(state: &ApiState) -> Router {
    let router = Router::new()
        .route("/metrics", get(scrape::metrics))
        .route("/_health", get(health::detailed))
        .with_state(state.clone());
    dressed(router)
}

fn dressed(router: Router) -> Router {
    router.layer(middleware::from_fn(dress::dress))
}
