//! Consumers of the firehose: each is a reader with a place in the log (WS-*, CUR-*, DESIGN 10.12).
//!
//! In: upgraded connections and the event log. Out: frames as they lie in the log, never decoded or
//! encoded again. There is no queue per consumer: one that is behind reads older segments, and it is
//! closed only when retention overtakes it or when its socket takes nothing.
//!
//! Limits: seats in all and per client, tries per client and minute, 64 KiB in hand per consumer.

mod consumer;
mod farewell;
mod line;
mod pace;
mod position;
mod reel;
mod seats;
mod tally;
mod upgrade;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http::header::USER_AGENT;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use consumer::Pacing;
pub use position::{Start, cursor_of, position};
pub use seats::{ClientRate, Full, Seat, Seats, client_key};

use crate::{
    accounts::hidden::Hidden, clients::Client, clock::Clock, eventlog::Reader, tasks::Tasks,
    telemetry::metrics,
};
use consumer::{Consumer, Feed};
use tally::Register;
use upgrade::{Refusal, Wish};

/// The path of the firehose (WS-1).
pub const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";
/// How long an accepted upgrade may take to become a socket.
const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// Limits of the firehose; `Default` is what the relay runs with.
#[derive(Debug, Clone)]
pub struct FirehoseOptions {
    /// Most consumers in all. One that reads everything takes about 30 Mbit/s, so the network of the
    /// machine is at its end long before.
    pub consumers_max: usize,
    /// Most consumers of one client (spec section 13: 10–50).
    pub per_client_max: usize,
    /// Most tries of one client per minute (SEC-7).
    pub tries_per_minute: u32,
    /// Addresses that stand for many clients when they name none: the reverse proxy on the same
    /// machine.
    pub shared: Vec<IpAddr>,
    /// When a consumer is closed.
    pub pacing: Pacing,
    /// Accounts whose content is not replayed (ACC-12).
    pub hidden: Hidden,
}

impl Default for FirehoseOptions {
    fn default() -> Self {
        Self {
            consumers_max: 2_000,
            per_client_max: 50,
            tries_per_minute: 120,
            shared: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            pacing: Pacing::default(),
            hidden: Hidden::default(),
        }
    }
}

/// Serves consumers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Firehose {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    feed: Arc<Feed>,
    clock: Clock,
    tasks: Tasks,
    options: FirehoseOptions,
    seats: Seats,
    tries: ClientRate,
    register: Register,
    served: TaskTracker,
    closing: CancellationToken,
}

/// A consumer as the API shows it.
#[derive(Debug, Clone)]
pub struct ConsumerView {
    /// Number since start.
    pub id: u64,
    /// Address.
    pub address: IpAddr,
    /// `User-Agent`, escaped and cut to 200 characters.
    pub user_agent: String,
    /// Last seq sent, before the first one where it started.
    pub seq: u64,
    /// Events sent.
    pub events: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Since when, ms since 1970.
    pub since_ms: u64,
}

impl Firehose {
    /// Starts with no consumers and the usual limits.
    pub fn new(reader: Reader, clock: Clock, tasks: &Tasks) -> Self {
        Self::with_options(reader, clock, tasks, FirehoseOptions::default())
    }

    /// Starts with no consumers.
    pub fn with_options(
        reader: Reader,
        clock: Clock,
        tasks: &Tasks,
        options: FirehoseOptions,
    ) -> Self {
        let limit = u32::try_from(options.consumers_max).unwrap_or(u32::MAX);
        ::metrics::gauge!(metrics::FIREHOSE_CONSUMERS_LIMIT).set(limit);
        ::metrics::gauge!(metrics::FIREHOSE_CONSUMERS).set(0);
        Self {
            inner: Arc::new(Inner {
                feed: Arc::new(Feed::new(reader, options.hidden.clone())),
                clock,
                tasks: tasks.clone(),
                seats: Seats::new(options.consumers_max, options.per_client_max),
                tries: ClientRate::new(options.tries_per_minute, Duration::from_mins(1)),
                register: Register::default(),
                served: TaskTracker::new(),
                closing: tasks.stopping().child_token(),
                options,
            }),
        }
    }

    /// The route `/xrpc/com.atproto.sync.subscribeRepos` (WS-1, 2, 10; CUR-7 before the upgrade). The
    /// server must give the [`Client`].
    pub fn router(&self) -> Router {
        Router::new().route(PATH, any(subscribe)).with_state(self.clone())
    }

    /// All consumers, in order of arrival.
    pub fn consumers(&self) -> Vec<ConsumerView> {
        self.inner.register.views()
    }

    /// Closes one consumer with 1008 (API-6); gives what it was, `None` when there is none with this
    /// id. It may connect again: that is for its address to be kept from.
    pub fn disconnect(&self, id: u64) -> Option<ConsumerView> {
        self.inner.register.dismiss(id)
    }

    /// Events sent since the start, over all consumers.
    pub fn sent(&self) -> u64 {
        self.inner.register.sent()
    }

    /// How many consumers are connected.
    pub fn count(&self) -> usize {
        self.inner.register.len()
    }

    /// Sends everything up to the head, closes all with 1001 and waits (OUT-7). Takes no new ones.
    /// Bounded: a consumer that does not take the rest within [`Pacing::drain_max`] is closed as it is.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.served.close();
        self.inner.served.wait().await;
    }

    /// Takes a seat for a request that reads right.
    fn admit(&self, client: Client) -> Result<Seat, Refusal> {
        let inner = &self.inner;
        if inner.closing.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let Client { address, named } = client;
        let shared = !named && inner.options.shared.contains(&address);
        if !shared {
            inner
                .tries
                .take(address, Instant::now())
                .map_err(|wait| Refusal::ClientLimit(wait.as_secs().saturating_add(1)))?;
        }
        inner.seats.take(address, shared).map_err(|full| match full {
            Full::Total => Refusal::TotalLimit,
            Full::Client => Refusal::ClientLimit(60),
        })
    }

    /// Starts the task of one consumer; it begins when the 101 has been sent.
    fn start(&self, upgrade: OnUpgrade, wish: &Wish, who: Who, seat: Seat) {
        let firehose = self.clone();
        let cursor = wish.cursor;
        // "From now" is from before the 101: who has seen it misses nothing that comes after (CUR-1).
        let arrived = self.inner.feed.reader.window().head;
        let served = self.inner.served.track_future(async move {
            let inner = &firehose.inner;
            let upgraded = tokio::select! {
                upgraded = tokio::time::timeout(UPGRADE_MAX, upgrade) => upgraded,
                () = inner.closing.cancelled() => return,
            };
            let Ok(Ok(socket)) = upgraded else { return };
            let start = cursor.unwrap_or(arrived);
            let (id, tally) =
                inner.register.enter(who.address, &who.user_agent, inner.clock.now_ms(), start);
            ::metrics::gauge!(metrics::FIREHOSE_CONSUMERS).increment(1);
            tracing::debug!(consumer = id, address = %who.address, ?cursor, "consumer connected");
            let reason = Consumer::new(
                TokioIo::new(socket),
                Arc::clone(&inner.feed),
                (cursor, arrived),
                tally,
                (inner.options.pacing, inner.closing.clone()),
            )
            .await
            .serve()
            .await;
            inner.register.leave(id);
            ::metrics::gauge!(metrics::FIREHOSE_CONSUMERS).decrement(1);
            ::metrics::counter!(metrics::FIREHOSE_CLOSED, "reason" => reason.label()).increment(1);
            tracing::debug!(consumer = id, reason = reason.label(), "consumer gone");
            drop(seat);
        });
        self.inner.tasks.start(served);
    }
}

/// Who reads, as the list of consumers shows it.
#[derive(Debug)]
struct Who {
    address: IpAddr,
    user_agent: String,
}

async fn subscribe(State(firehose): State<Firehose>, request: Request) -> Response {
    let (mut parts, _body) = request.into_parts();
    let wish = match Wish::read(&parts) {
        Ok(wish) => wish,
        Err(refusal) => return refusal.into_response(),
    };
    let client = Client::of(&parts.extensions);
    let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return Refusal::NoUpgrade.into_response();
    };
    let seat = match firehose.admit(client) {
        Ok(seat) => seat,
        Err(refusal) => return refusal.into_response(),
    };
    let user_agent = parts
        .headers
        .get(USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    firehose.start(upgrade, &wish, Who { address: client.address, user_agent }, seat);
    wish.answer()
}

#[cfg(test)]
mod tests;
