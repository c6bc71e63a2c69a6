//! The hosts we subscribe to: admission, status, cursor (low-water mark), and why (HOST-1…5, UP-*).
//!
//! All hosts are in memory (some thousands); the store keeps what must survive. [`Hosts::flush`] and
//! the checkpoint write it there. In: requests to crawl, news from the subscriptions, settled
//! events. Out: credit to read on, marks, views, wake-ups. Keeps I2: a mark never passes an event
//! that is neither durable nor dropped for a counted reason.

mod admission;
mod alarm;
mod bans;
mod commands;
mod domains;
mod growth;
mod host;
mod leniency;
mod life;
mod limits;
mod low_water;
mod newcomers;
mod pace;
mod quota;
mod readiness;
mod record;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
};

use metrics::gauge;
use parking_lot::{Mutex, RwLock};
use relay_protocol::Hostname;
use tokio::sync::{Semaphore, broadcast};

use self::{
    admission::Admission, host::Shared, limits::TRUSTED_DEFAULT, newcomers::Newcomers,
    record::Draft,
};
pub use self::{
    admission::is_relay,
    bans::normalised as normalised_domain,
    commands::{CommandError, Edit, LimitsEdit},
    domains::{normal_domain, normal_pattern},
    host::Host,
    leniency::Leniency,
    limits::Limits,
    pace::{Span, Turn},
    quota::Usage,
    readiness::Readiness,
};
use crate::{
    clock::Clock,
    domain::{
        AccountLimits, Actor, DomainBan, Epoch, HostId, HostSeq, HostStatus, OwnLimits, Strictness,
    },
    net::Net,
    store::{HostRow, Store, StoreError},
    telemetry::metrics as names,
};

/// Unsettled bytes over all hosts (DESIGN 10.7); then no host is read.
const BYTES_MAX: usize = 256 << 20;

/// Wake-ups that a listener may have open; one that lags looks at all hosts instead.
const WAKE_UPS_MAX: usize = 1_024;

/// Rules for all hosts; `Default` is strict and takes no development hosts.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// `--dev` (DESIGN 10.16).
    pub dev: bool,
    /// Who is spared by validation (DESIGN 10.14).
    pub leniency: Leniency,
    /// Unsettled events that one host may have (DESIGN 10.7); then it is not read.
    pub unsettled_max: usize,
    /// Hosts that strangers may add in 24 hours (HOST-3), unless an operator said otherwise at run time.
    pub new_per_day: u64,
    /// Whether limits grow with good behaviour (HOST-8).
    pub grows: bool,
    /// What one account may send (HOST-12, VAL-20).
    pub account_limits: AccountLimits,
    /// Relays that are read as sources of events (HOST-13), `host` or `host:port`.
    pub sources: Vec<String>,
    /// Domains whose hosts have large limits (HOST-6): `pds.example.com`, or `*.example.com` for all
    /// below a domain.
    pub trusted: Vec<String>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            dev: false,
            leniency: Leniency::default(),
            unsettled_max: host::EVENTS_MAX,
            new_per_day: newcomers::PER_DAY,
            grows: true,
            account_limits: AccountLimits::default(),
            sources: Vec::new(),
            trusted: vec![TRUSTED_DEFAULT.to_owned()],
        }
    }
}

/// What the API shows of a host.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each shown by its name")]
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
    /// Accounts that it may have (HOST-7).
    pub account_limit: u64,
    /// Accounts that are held because it has more than it may (ACC-9).
    pub held_accounts: u64,
    /// A socket is open now.
    pub connected: bool,
    /// Ever connected.
    pub ever_connected: bool,
    /// Last error in words.
    pub last_error: Option<String>,
    /// When that was, ms since 1970; `None` when before the start of this process.
    pub last_error_ms: Option<u64>,
    /// What it does now, in words: `connected for 3 min`, `next try in 40 s (attempt 7)`.
    pub doing: String,
    /// Events received since start.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Received and not yet durable or dropped.
    pub unsettled: usize,
    /// When the host last said that it had deleted what we asked for (UP-4), ms since 1970.
    pub gap_ms: Option<u64>,
    /// Strict validation applies.
    pub strict: bool,
    /// Why it has its status, in words, as an operator or the relay gave it.
    pub status_reason: Option<String>,
    /// Since when it has its status, ms since 1970.
    pub status_since_ms: u64,
    /// The banned domain that covers it.
    pub domain_ban: Option<String>,
    /// First seen, ms since 1970.
    pub first_seen_ms: u64,
    /// Its domain is trusted (HOST-6).
    pub trusted: bool,
    /// What it may do now, by all rules together.
    pub limits: Limits,
    /// Limits that were set for it alone.
    pub own_limits: OwnLimits,
    /// How much of its limits it uses, and whether that becomes dangerous.
    pub usage: Usage,
    /// What its limits grew by with good behaviour, in percent (HOST-8).
    pub growth: u64,
    /// What was decided about its validation.
    pub strictness: Strictness,
    /// Strict for good (DESIGN 10.14).
    pub ratcheted: bool,
    /// Until when alerts about it are silenced, ms since 1970, 0 = not at all.
    pub silenced_until_ms: u64,
}

/// Why a host was not admitted; `name()` is the XRPC error name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// Strangers have added as many hosts as they may in a day (HOST-3).
    #[error(
        "this relay takes {per_day} new hosts in 24 hours and has them; try again in {wait_s} s, or \
         write to its operator"
    )]
    TooManyNew {
        /// So many.
        per_day: u64,
        /// Until one more is taken.
        wait_s: u64,
    },
    /// Too many calls.
    #[error("too many requests; try again in {0} s")]
    RateLimited(u64),
    /// The database.
    #[error("{0}")]
    Store(String),
}

impl Refusal {
    /// The error name in an XRPC answer.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BadHostname(_) | Self::IsRelay => "InvalidRequest",
            Self::Banned => "HostBanned",
            Self::Unreachable(_) => "HostNotFound",
            Self::RateLimited(_) | Self::TooManyNew { .. } => "RateLimitExceeded",
            Self::Store(_) => "ServiceUnavailable",
        }
    }

    /// The status of an XRPC answer.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::BadHostname(_) | Self::IsRelay | Self::Unreachable(_) => 400,
            Self::Banned => 403,
            Self::RateLimited(_) | Self::TooManyNew { .. } => 429,
            Self::Store(_) => 503,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// All hosts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hosts {
    parts: Arc<Parts>,
}

/// What all clones share.
#[derive(Debug)]
struct Parts {
    store: Store,
    net: Net,
    clock: Clock,
    dev: bool,
    shared: Shared,
    roster: RwLock<Roster>,
    admission: Admission,
    newcomers: Newcomers,
    grows: bool,
    /// Hosts of which the log says that they are about to lose events.
    told_losing: Mutex<BTreeSet<HostId>>,
    /// When growth was last looked at, ms of the steady clock.
    grown_ms: AtomicU64,
    wake_ups: broadcast::Sender<HostId>,
    /// Bans of domains by domain. Locked before the roster where both are.
    /// Hosts and domains that are read; `None` = all.
    allowed: RwLock<Option<Vec<String>>>,
    bans: RwLock<BTreeMap<String, DomainBan>>,
    /// Held while host rows or bans are written, so that a row read before a command is not written
    /// after it.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Roster {
    by_id: BTreeMap<HostId, Arc<Host>>,
    by_name: HashMap<String, HostId>,
}

impl Hosts {
    /// Reads all hosts from the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(
        store: Store,
        net: Net,
        clock: Clock,
        options: HostOptions,
    ) -> Result<Self, StoreError> {
        let HostOptions { dev, leniency, unsettled_max, new_per_day, grows, .. } = options;
        let rows = store.hosts().await?;
        let bans = store.domain_bans().await?;
        let newcomers = Newcomers::load(&store, &rows, new_per_day).await?;
        let bytes = Arc::new(Semaphore::new(BYTES_MAX));
        let shared = Shared {
            bytes,
            leniency: Arc::new(leniency),
            clock: clock.clone(),
            events_max: unsettled_max,
            account_limits: options.account_limits,
            sources: options.sources.into(),
            trusted: Arc::new(RwLock::new(options.trusted)),
        };
        let grown_ms = AtomicU64::new(clock.steady_ms());
        let (wake_ups, _) = broadcast::channel(WAKE_UPS_MAX);
        let parts = Parts {
            store,
            net,
            clock,
            dev,
            shared,
            roster: RwLock::default(),
            admission: Admission::default(),
            newcomers,
            grows,
            told_losing: Mutex::default(),
            grown_ms,
            wake_ups,
            allowed: RwLock::default(),
            bans: RwLock::new(bans.into_iter().map(|ban| (ban.domain.clone(), ban)).collect()),
            writing: tokio::sync::Mutex::default(),
        };
        let hosts = Self { parts: Arc::new(parts) };
        hosts.enrol(&rows)?;
        gauge!(names::HOSTS_UNSETTLED_BYTES_LIMIT).set(as_gauge(BYTES_MAX));
        gauge!(names::HOSTS_UNSETTLED_LIMIT).set(as_gauge(unsettled_max));
        Ok(hosts)
    }

    /// Takes rows of the store into memory; those that are there already stay as they are.
    fn enrol(&self, rows: &[HostRow]) -> Result<Vec<Arc<Host>>, StoreError> {
        let bans = self.parts.bans.read();
        let mut roster = self.parts.roster.write();
        let mut enrolled = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(host) = roster.by_id.get(&row.id) {
                enrolled.push(Arc::clone(host));
                continue;
            }
            let scheme = if row.secure { "https" } else { "http" };
            // Development mode may have written the row; whether the host may be reached in this
            // mode is decided when it is dialled.
            let hostname = Hostname::parse(&format!("{scheme}://{}", row.hostname), true).map_err(
                |invalid| StoreError::Damaged(format!("host `{}`: {invalid}", row.hostname)),
            )?;
            let host = Arc::new(Host::new(row, hostname, self.parts.shared.clone()));
            let ban = bans::covering(&bans, &row.hostname);
            host.life.lock().domain_ban = ban.map(|ban| ban.domain.clone());
            roster.by_name.insert(row.hostname.clone(), row.id);
            roster.by_id.insert(row.id, Arc::clone(&host));
            enrolled.push(host);
        }
        Ok(enrolled)
    }

    /// By number.
    pub fn get(&self, id: HostId) -> Option<Arc<Host>> {
        self.parts.roster.read().by_id.get(&id).map(Arc::clone)
    }

    /// By normalised name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Host>> {
        let roster = self.parts.roster.read();
        roster.by_id.get(roster.by_name.get(name)?).map(Arc::clone)
    }

    /// All, in order of number.
    pub fn all(&self) -> Vec<Arc<Host>> {
        self.parts.roster.read().by_id.values().map(Arc::clone).collect()
    }

    /// Views of hosts with a higher number, in order, for listHosts.
    pub fn list(&self, after: HostId, limit: usize) -> Vec<HostView> {
        let first = HostId(after.0.saturating_add(1));
        let now_ms = self.parts.clock.now_ms();
        let roster = self.parts.roster.read();
        roster.by_id.range(first..).take(limit).map(|(_, host)| view(host, now_ms)).collect()
    }

    /// One view.
    pub fn view(&self, name: &str) -> Option<HostView> {
        self.by_name(name).map(|host| view(&host, self.parts.clock.now_ms()))
    }

    /// Moved low-water marks since the last call, to be written to the store (UP-9).
    pub fn take_moved_marks(&self) -> Vec<(HostId, Epoch, HostSeq)> {
        let roster = self.parts.roster.read();
        roster.by_id.values().filter_map(|host| host.take_moved_mark()).collect()
    }

    /// Marks that were taken could not be written: they will be taken again.
    pub fn return_marks(&self, marks: &[(HostId, Epoch, HostSeq)]) {
        for host in marks.iter().filter_map(|(id, _, _)| self.get(*id)) {
            host.return_mark();
        }
    }

    /// Writes what changed of hosts other than cursors and counts, and refreshes the gauges; to be
    /// called every few seconds and at shutdown.
    ///
    /// # Errors
    /// [`StoreError`]; what was not written stays to be written.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.review_growth().await?;
        let _writing = self.parts.writing.lock().await;
        let hosts = self.all();
        self.measure(&hosts);
        let dirty: Vec<_> = hosts.into_iter().filter(|host| host.take_dirty()).collect();
        if dirty.is_empty() {
            return Ok(());
        }
        let mut drafts: Vec<_> = dirty.iter().map(|host| host.draft()).collect();
        let changes: Vec<_> = drafts.iter_mut().flat_map(Draft::numbered).collect();
        let rows: Vec<HostRow> = drafts.iter().map(|draft| draft.row.clone()).collect();
        let saved = self.parts.store.save_hosts_with(&rows, &changes).await;
        for (host, draft) in dirty.iter().zip(drafts) {
            match &saved {
                Ok(()) => host.wrote(&draft.row),
                Err(_) => host.give_back(draft.changes),
            }
        }
        saved
    }

    /// Forgets the cursor of a host that lost its sequence (UP-6).
    ///
    /// # Errors
    /// [`StoreError`]; then nothing changed.
    pub async fn reset_cursor(&self, host: &Arc<Host>) -> Result<Epoch, StoreError> {
        self.begin_anew(host, (&Actor::Relay, "the host no longer knows our cursor")).await
    }

    /// Told whenever a host is added or should be tried at once; upstream listens. A listener that
    /// lags must look at [`Self::all`].
    pub fn wake_ups(&self) -> broadcast::Receiver<HostId> {
        self.parts.wake_ups.subscribe()
    }

    /// Asks for an immediate try.
    fn wake(&self, host: &Host) {
        if self.parts.wake_ups.send(host.id()).is_err() {
            tracing::debug!(host = %host.hostname(), "nobody listens to wake-ups yet");
        }
    }

    fn measure(&self, hosts: &[Arc<Host>]) {
        let losing: Vec<_> = hosts.iter().filter(|host| host.usage().losing).collect();
        gauge!(names::HOSTS_LOSING).set(as_gauge(losing.len()));
        alarm::tell(&self.parts.told_losing, &losing);
        let held = hosts.iter().map(|host| host.held()).fold(0, u64::saturating_add);
        gauge!(names::HOSTS_HELD_ACCOUNTS)
            .set(as_gauge(usize::try_from(held).unwrap_or(usize::MAX)));
        for status in HostStatus::ALL {
            let count = hosts.iter().filter(|host| host.status() == status).count();
            gauge!(names::HOSTS_KNOWN, "status" => status.as_text()).set(as_gauge(count));
        }
        let events = hosts.iter().map(|host| host.unsettled().0).sum();
        gauge!(names::HOSTS_UNSETTLED).set(as_gauge(events));
        let bytes = BYTES_MAX.saturating_sub(self.parts.shared.bytes.available_permits());
        gauge!(names::HOSTS_UNSETTLED_BYTES).set(as_gauge(bytes));
    }
}

/// A count as a gauge wants it; exact up to 2^32.
fn as_gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn view(host: &Host, now_ms: u64) -> HostView {
    let (events, bytes) = host.traffic();
    let (seq, unsettled) = (host.mark().map(|(_, seq)| seq), host.unsettled().0);
    let usage = host.usage();
    let (limits, trusted, row) = (host.limits(), host.is_trusted(), host.row());
    let life = host.life.lock();
    HostView {
        id: host.id(),
        hostname: row.hostname,
        status: life.status(),
        seq,
        account_count: row.account_count,
        account_limit: limits.accounts,
        held_accounts: host.held(),
        connected: life.phase.is_connected(),
        ever_connected: life.ever_connected,
        last_error: life.last_error.clone(),
        last_error_ms: life.last_error_ms,
        doing: life.phase.in_words(now_ms),
        events,
        bytes,
        unsettled,
        gap_ms: life.gap_ms,
        strict: host.is_strict(),
        status_reason: life.status_reason(),
        status_since_ms: life.status_since_ms.max(row.first_seen_ms),
        domain_ban: life.domain_ban.clone(),
        first_seen_ms: row.first_seen_ms,
        trusted,
        limits,
        own_limits: row.own_limits,
        usage,
        growth: row.growth,
        strictness: row.strictness,
        ratcheted: row.strict_for_good,
        silenced_until_ms: row.silenced_until_ms,
    }
}

#[cfg(test)]
mod tests;
