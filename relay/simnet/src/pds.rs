//! A scriptable host: its event stream, its endpoints and what it was asked.

mod limiter;
mod raw;
mod script;
mod stream;
mod subscription;
mod tricks;
mod xrpc;

use crate::{
    Account, AccountOptions, Authority, RawFrame,
    account::Inner,
    block::Cid36,
    net::World,
    oracle::{Ledger, SentEvent},
    server::{Connections, Server, lock},
    wire::{Fields, Kind},
};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

pub use limiter::Limiter;
use script::Script;
pub use script::Upgrade;
use stream::Stream;
pub(crate) use stream::{Outgoing, SeqClaim};
pub(crate) use subscription::switch;
pub(crate) use tricks::Intercept;

/// How many requests a host remembers word for word.
const REQUESTS_KEPT: usize = 10_000;

/// How long [`Pds::connected`] and its siblings wait before they give up.
const PATIENCE: Duration = Duration::from_mins(1);

/// User agent of our own consumers; what they are sent does not count as delivered to a relay.
pub(crate) const OBSERVER: &str = "relay-simnet observer";

/// One request that a host has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Path without the query.
    pub path: String,
    /// Query without the question mark.
    pub query: String,
    /// `User-Agent`, empty if there was none.
    pub user_agent: String,
}

/// What a host tells of a repository.
#[derive(Debug, Clone)]
pub(crate) struct RepoEntry {
    pub(crate) active: bool,
    pub(crate) status: Option<String>,
    pub(crate) rev: u64,
    pub(crate) commit: Option<Cid36>,
    /// Those that have a record.
    pub(crate) collections: Vec<String>,
    /// Whose it is, for exports.
    pub(crate) account: Weak<Inner>,
}

#[derive(Debug, Default)]
struct Requests {
    seen: VecDeque<Seen>,
    counts: BTreeMap<String, u64>,
    cursors: Vec<String>,
    handshakes: Vec<(Instant, Instant)>,
}

/// What the tasks of a host share; it knows nothing of the rest of the network.
#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    number: u32,
    port: u16,
    secure: bool,
    stream: Mutex<Stream>,
    /// Counts changes of the stream.
    changed: watch::Sender<u64>,
    /// Tells all subscriptions to end as too slow.
    commands: broadcast::Sender<()>,
    subscribers: watch::Sender<u64>,
    script: Mutex<Script>,
    requests: Mutex<Requests>,
    repos: Mutex<BTreeMap<String, RepoEntry>>,
    connections: Connections,
}

impl Shared {
    fn log(&self, request: &Request<axum::body::Body>, cursor: Option<&str>) {
        if is_observer(request.headers()) {
            return;
        }
        let user_agent = request.headers().get(header::USER_AGENT);
        let seen = Seen {
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            user_agent: user_agent
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
        };
        let mut requests = lock(&self.requests);
        *requests.counts.entry(seen.path.clone()).or_default() += 1;
        if let Some(cursor) = cursor {
            requests.cursors.push(cursor.to_owned());
        }
        requests.seen.push_back(seen);
        if requests.seen.len() > REQUESTS_KEPT {
            requests.seen.pop_front();
        }
    }

    fn ledger(&self) -> Arc<Ledger> {
        lock(&self.stream).ledger()
    }

    /// Number of the host, as the oracle compares it.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `http://localhost:<port>`, as DID documents name the host; https with TLS.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.port)
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Appends an event to the stream; returns its number.
    pub(crate) fn send(&self, outgoing: Outgoing) -> u64 {
        let number = lock(&self.stream).push_event(outgoing);
        self.notify();
        number
    }

    /// Appends events whose frames are ready.
    pub(crate) fn send_prepared(&self, events: impl IntoIterator<Item = (Bytes, SentEvent)>) {
        let mut stream = lock(&self.stream);
        for (frame, event) in events {
            stream.push_prepared(frame, event);
        }
        drop(stream);
        self.notify();
    }

    /// Whether a relay ever asked for the stream.
    pub(crate) fn was_asked(&self) -> bool {
        !lock(&self.requests).cursors.is_empty()
    }

    pub(crate) fn head(&self) -> u64 {
        lock(&self.stream).head()
    }

    pub(crate) fn undelivered(&self) -> u64 {
        lock(&self.stream).undelivered()
    }

    pub(crate) fn forget_account(&self, did: &str) {
        lock(&self.stream).forget(did);
    }

    /// What the endpoints tell of a repository; `None` when it is gone.
    pub(crate) fn set_repo(&self, did: &str, entry: Option<RepoEntry>) {
        let mut repos = lock(&self.repos);
        match entry {
            Some(entry) => drop(repos.insert(did.to_owned(), entry)),
            None => drop(repos.remove(did)),
        }
    }

    /// Whether a subscription at this position lags more than the script permits.
    fn too_slow(&self, position: u64) -> bool {
        let lag_max = lock(&self.script).lag_max;
        lag_max.is_some_and(|max| lock(&self.stream).end().saturating_sub(position) > max)
    }
}

/// Whether a request comes from our own consumer.
pub(crate) fn is_observer(headers: &HeaderMap) -> bool {
    headers.get(header::USER_AGENT).is_some_and(|agent| agent == OBSERVER)
}

/// A host of the simulated network. Clones are the same host.
#[derive(Debug, Clone)]
pub struct Pds {
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: Arc<Server>,
    pub(crate) world: Arc<World>,
}

impl Pds {
    pub(crate) async fn start(
        (name, number): (&str, u32),
        ledger: Arc<Ledger>,
        tls: Option<&Authority>,
    ) -> Result<(Arc<Shared>, Arc<Server>)> {
        let (listener, addr) = Server::bind().await.context("start a host")?;
        let connections = Connections::default();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            number,
            port: addr.port(),
            secure: tls.is_some(),
            stream: Mutex::new(Stream::new(ledger)),
            changed: watch::Sender::new(0),
            commands: broadcast::Sender::new(1),
            subscribers: watch::Sender::new(0),
            script: Mutex::new(Script::default()),
            requests: Mutex::default(),
            repos: Mutex::default(),
            connections: connections.clone(),
        });
        let router = xrpc::router(Arc::clone(&shared));
        let intercept: Arc<dyn Intercept> = Arc::<Shared>::clone(&shared);
        let manners = (tls.cloned(), Some(intercept));
        let server = Server::start_with(listener, addr, (connections, router), manners);
        Ok((shared, Arc::new(server)))
    }

    /// Name given by the test.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// `localhost:<port>`, as a relay in development mode knows the host.
    pub fn hostname(&self) -> String {
        format!("localhost:{}", self.shared.port)
    }

    /// What an operator tells a relay: the hostname, with `wss://` if it has TLS.
    pub fn address(&self) -> String {
        let scheme = if self.shared.secure { "wss://" } else { "" };
        format!("{scheme}{}", self.hostname())
    }

    /// `http://localhost:<port>`, as DID documents name it; https with TLS.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// `ws://127.0.0.1:<port>`, for a consumer of our own; wss with TLS.
    pub fn stream_url(&self) -> String {
        let scheme = if self.shared.secure { "wss" } else { "ws" };
        format!("{scheme}://{}", self.server.addr())
    }

    /// The account of this name; created with the announcements of the reference PDS (spec 9.3).
    pub async fn account(&self, name: &str) -> Result<Account> {
        self.account_with(name, AccountOptions::default()).await
    }

    /// The same with a choice of DID method, curve and form of the key.
    pub async fn account_with(&self, name: &str, options: AccountOptions) -> Result<Account> {
        Account::join(self, name, options).await
    }

    /// Number of the newest event.
    pub fn head(&self) -> u64 {
        self.shared.head()
    }

    /// Events that no relay was given yet.
    pub fn undelivered(&self) -> u64 {
        self.shared.undelivered()
    }

    /// Keeps at most so many events and bytes from now on; older cursors get `OutdatedCursor`.
    pub fn retain(&self, events: usize, bytes: usize) {
        let mut stream = lock(&self.shared.stream);
        (stream.retained_events, stream.retained_bytes) = (events, bytes);
        stream.trim();
    }

    /// Forgets all events so far, as if the retention time had passed.
    pub fn forget_events(&self) {
        lock(&self.shared.stream).forget_all();
    }

    /// Leaves out numbers before the next event.
    pub fn skip_seq(&self, numbers: u64) {
        lock(&self.shared.stream).skip(numbers);
    }

    /// Loses the sequence: all events are gone, numbers start at 1, connections are cut (UP-6).
    pub fn reset_sequence(&self) {
        lock(&self.shared.stream).reset(1);
        self.cut();
    }

    /// Ends every open connection at once, without a close frame.
    pub fn cut(&self) {
        self.server.cut();
    }

    /// Refuses connections, and cuts the open ones, until [`Self::up`].
    pub fn down(&self) {
        self.server.stop();
    }

    /// Answers again, on the same port.
    pub async fn up(&self) -> Result<()> {
        self.server.resume().await
    }

    /// Stops and starts, on the same port, with the same events.
    pub async fn restart(&self) -> Result<()> {
        self.down();
        self.up().await
    }

    /// Sends `ConsumerTooSlow` to every subscriber that is up to date, and closes.
    pub fn send_consumer_too_slow(&self) {
        // An error only says that there is no subscriber.
        drop(self.shared.commands.send(()));
    }

    /// Sends a frame that is no event, to one subscriber once.
    pub fn send_raw(&self, raw: RawFrame) {
        raw::send(&mut lock(&self.shared.stream), raw, true);
        self.shared.notify();
    }

    /// The same, and again to everyone who asks for events from before it.
    pub fn send_raw_for_ever(&self, raw: RawFrame) {
        raw::send(&mut lock(&self.shared.stream), raw, false);
        self.shared.notify();
    }

    /// Sends an event of the test's own making under the next number, which it returns. The oracle
    /// is not told of it.
    pub fn send_payload(&self, kind: Kind, payload: Fields) -> u64 {
        let number = raw::send_payload(&mut lock(&self.shared.stream), kind, payload);
        self.shared.notify();
        number
    }

    /// How often a path ending like this was asked for, such as `getRepo`.
    pub fn requests(&self, end_of_path: &str) -> u64 {
        let requests = lock(&self.shared.requests);
        let matching = requests.counts.iter().filter(|(path, _)| path.ends_with(end_of_path));
        matching.map(|(_, count)| count).sum()
    }

    /// The newest requests in order.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.requests).seen.iter().cloned().collect()
    }

    /// The cursors of all requests for the stream in order; empty text for none.
    pub fn cursors(&self) -> Vec<String> {
        lock(&self.shared.requests).cursors.clone()
    }

    /// Begin and end of every handshake of a relay that was answered with the stream.
    pub fn handshakes(&self) -> Vec<(Instant, Instant)> {
        lock(&self.shared.requests).handshakes.clone()
    }

    /// How many relays are subscribed now.
    pub fn subscribers(&self) -> u64 {
        *self.shared.subscribers.borrow()
    }

    /// Waits until a relay is subscribed.
    pub async fn connected(&self) -> Result<()> {
        self.wait(|count| count > 0).await.context("no relay subscribed within a minute")
    }

    /// Waits until no relay is subscribed.
    pub async fn disconnected(&self) -> Result<()> {
        self.wait(|count| count == 0).await.context("a relay stayed subscribed for a minute")
    }

    async fn wait(&self, fits: impl Fn(u64) -> bool) -> Result<()> {
        let mut subscribers = self.shared.subscribers.subscribe();
        tokio::time::timeout(PATIENCE, subscribers.wait_for(|count| fits(*count))).await??;
        Ok(())
    }

    /// Waits until the stream was asked for `times` times since the start.
    pub async fn asked(&self, times: usize) -> Result<()> {
        let asked = async {
            while lock(&self.shared.requests).cursors.len() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.with_context(|| {
            format!("the stream was asked for less than {times} times in a minute")
        })
    }
}
