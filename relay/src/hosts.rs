//! The hosts we subscribe to: admission, status, cursor (low-water mark), and why (HOST-1…5, UP-*).

use std::sync::Arc;

use relay_protocol::Hostname;

use crate::{
    clock::Clock,
    domain::{Epoch, HostId, HostSeq, HostStatus},
    net::Net,
    store::{Store, StoreError},
};

/// One host, shared by its subscription, the shards and the API.
#[derive(Debug)]
pub struct Host {}

impl Host {
    /// Number.
    pub fn id(&self) -> HostId {
        todo!()
    }
    /// Name and scheme.
    pub fn hostname(&self) -> &Hostname {
        todo!()
    }
    /// Epoch of its cursor now.
    pub fn epoch(&self) -> Epoch {
        todo!()
    }
    /// Waits until this host may have one more unsettled event (DESIGN 10.7: 4,096 events or 16 MiB
    /// per host, 256 MiB in all), then notes it. Called by the subscription in order of arrival.
    pub async fn receive(&self, _host_seq: HostSeq, _frame_bytes: usize) {
        todo!()
    }
    /// The event is durable or dropped for a counted reason (I2). Of an older epoch: ignored.
    pub fn settle(&self, _epoch: Epoch, _host_seq: HostSeq) {
        todo!()
    }
    /// Low-water mark: all at or below is settled.
    pub fn mark(&self) -> Option<(Epoch, HostSeq)> {
        todo!()
    }
    /// One commit that proved inductively, or one that did not, for the ratchet; gives whether the
    /// host is strict for good now (DESIGN 10.14).
    pub fn note_commit(&self, _inductive: bool) -> bool {
        todo!()
    }
    /// Whether strict validation applies: global strictness or ratcheted.
    pub fn is_strict(&self) -> bool {
        todo!()
    }
    /// Adds to the count of live accounts (HOST-10).
    pub fn add_accounts(&self, _delta: i64) {
        todo!()
    }
}

/// What the API shows of a host.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Number, also the list order.
    pub id: HostId,
    /// `host` or `host:port`.
    pub hostname: String,
    /// Status.
    pub status: HostStatus,
    /// Durable cursor.
    pub seq: Option<HostSeq>,
    /// Live accounts.
    pub account_count: u64,
    /// A socket is open now.
    pub connected: bool,
    /// Ever connected.
    pub ever_connected: bool,
    /// Last error in words.
    pub last_error: Option<String>,
    /// What it does now, in words: `connected for 3 min`, `next try in 40 s (attempt 7)`.
    pub doing: String,
    /// Events received since start.
    pub events: u64,
}

/// Why a host was not admitted; `name()` is the XRPC error name.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// HOST-2, SYN-10.
    #[error("{0}")]
    BadHostname(String),
    /// Banned.
    #[error("the host is banned")]
    Banned,
    /// describeServer failed (HOST-3).
    #[error("{0}")]
    Unreachable(String),
    /// UP-11.
    #[error("the host is a relay itself")]
    IsRelay,
    /// Too many calls.
    #[error("too many requests; try again in {0} s")]
    RateLimited(u64),
    /// The database.
    #[error("{0}")]
    Store(String),
}

/// All hosts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hosts {}

impl Hosts {
    /// Reads all hosts from the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(
        _store: Store,
        _net: Net,
        _clock: Clock,
        _dev: bool,
        _lenient: bool,
    ) -> Result<Self, StoreError> {
        todo!()
    }
    /// By number.
    pub fn get(&self, _id: HostId) -> Option<Arc<Host>> {
        todo!()
    }
    /// By normalised name.
    pub fn by_name(&self, _name: &str) -> Option<Arc<Host>> {
        todo!()
    }
    /// All, in order of number.
    pub fn all(&self) -> Vec<Arc<Host>> {
        todo!()
    }
    /// requestCrawl and admin: all checks of HOST-3 (admin skips the public ones), creates, wakes a
    /// sleeping subscription (HOST-4).
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, _hostname: &str, _admin: bool) -> Result<Arc<Host>, Refusal> {
        todo!()
    }
    /// Views of hosts with a higher number, in order, for listHosts.
    pub fn list(&self, _after: HostId, _limit: usize) -> Vec<HostView> {
        todo!()
    }
    /// One view.
    pub fn view(&self, _name: &str) -> Option<HostView> {
        todo!()
    }
    /// Moved low-water marks since the last call.
    pub fn take_moved_marks(&self) -> Vec<(HostId, Epoch, HostSeq)> {
        todo!()
    }
    /// Told whenever a host is added or should be tried at once; upstream listens.
    pub fn wake_ups(&self) -> tokio::sync::broadcast::Receiver<HostId> {
        todo!()
    }
}
