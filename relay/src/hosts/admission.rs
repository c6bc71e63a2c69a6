//! Who may be subscribed to: requestCrawl and the operator's list (HOST-2…5, UP-11).

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use lru::LruCache;
use metrics::counter;
use parking_lot::Mutex;
use relay_protocol::Hostname;
use tokio::sync::Semaphore;

use super::{Host, Hosts, Refusal};
use crate::{domain::HostStatus, telemetry::metrics as names};

/// How long a host is not asked again about itself, nor woken up again (HOST-4).
const CHECK_INTERVAL: Duration = Duration::from_mins(1);

/// How long a host that answered well is believed without asking again (HOST-3).
const CHECK_HOLDS: Duration = Duration::from_mins(5);

/// Names whose last check is remembered.
const CHECKS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Checks under way at once: each may take 5 s, and strangers start them.
const CHECKS_AT_ONCE: usize = 32;

/// When to come back if so many checks are under way.
const BUSY_SECONDS: u64 = 5;

/// Largest describeServer answer that is read.
const DESCRIPTION_BYTES_MAX: usize = 64 << 10;

/// Longest text that is looked at as a host name: a name of 253 characters in a URL.
const HOSTNAME_BYTES_MAX: usize = 512;

/// What marks another relay in its `Server` header (WS-11, UP-11).
const RELAY_MARK: &str = "atproto-relay";

/// Whether a `Server` header is that of a relay (UP-11).
pub fn is_relay(server_header: Option<&str>) -> bool {
    server_header.is_some_and(|server| server.to_ascii_lowercase().contains(RELAY_MARK))
}

/// What is remembered of a name; times in ms of the steady clock.
#[derive(Debug, Clone)]
enum Check {
    UnderWay { since_ms: u64 },
    Done { at_ms: u64, result: Result<(), Refusal> },
}

/// The checks of the last minutes; bounded.
#[derive(Debug)]
pub(super) struct Admission {
    checks: Mutex<LruCache<String, Check>>,
    places: Semaphore,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            checks: Mutex::new(LruCache::new(CHECKS_MAX)),
            places: Semaphore::new(CHECKS_AT_ONCE),
        }
    }
}

impl Hosts {
    /// requestCrawl and admin: all checks of HOST-3 (admin skips the public ones), creates, wakes a
    /// sleeping subscription (HOST-4).
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, hostname: &str, admin: bool) -> Result<Arc<Host>, Refusal> {
        counted(self.try_admit(hostname, admin).await)
    }

    async fn try_admit(
        &self,
        hostname: &str,
        admin: bool,
    ) -> Result<(Arc<Host>, &'static str), Refusal> {
        let hostname = self.parse(hostname)?;
        if self.domain_ban_of(hostname.as_str()).is_some() {
            return Err(Refusal::Banned);
        }
        if let Some(host) = self.by_name(hostname.as_str()) {
            if host.status() == HostStatus::Banned {
                return Err(Refusal::Banned);
            }
            host.wanted_again(self.parts.clock.now_ms());
            if !host.is_connected() && (admin || self.may_wake(hostname.as_str())) {
                self.wake(&host);
            }
            return Ok((host, "known"));
        }
        let place = if admin {
            None
        } else {
            self.check(&hostname).await?;
            Some(self.take_place()?)
        };
        let host = self.create(&[hostname], &HashMap::new(), place.is_some()).await?.pop();
        if let Some(place) = place {
            place.used();
        }
        let host = host.ok_or_else(|| Refusal::Store("the host was not stored".to_owned()))?;
        Ok((host, "added"))
    }

    /// Adds the operator's hosts in one transaction, without the public checks, and wakes those that
    /// sleep; one answer per name, in order.
    pub async fn add_many(&self, hostnames: &[String]) -> Vec<Result<Arc<Host>, Refusal>> {
        let hosts: Vec<_> = hostnames.iter().map(|hostname| (hostname.as_str(), 0)).collect();
        self.add_many_for(&hosts).await
    }

    /// The same with the accounts that each is to have room for at least, so that one that others
    /// know as a large one is not throttled here for being new.
    pub async fn add_many_for(&self, hosts: &[(&str, u64)]) -> Vec<Result<Arc<Host>, Refusal>> {
        let parse = |hostname: &str| {
            let hostname = self.parse(hostname)?;
            let ban = self.domain_ban_of(hostname.as_str());
            if ban.is_some() { Err(Refusal::Banned) } else { Ok(hostname) }
        };
        let parsed: Vec<_> = hosts.iter().map(|(hostname, _)| parse(hostname)).collect();
        let mut seen = HashSet::new();
        // In the order given: it becomes the order of the lists.
        let (known, new): (Vec<_>, Vec<_>) = parsed
            .iter()
            .flatten()
            .filter(|hostname| seen.insert(hostname.as_str()))
            .cloned()
            .partition(|hostname| self.by_name(hostname.as_str()).is_some());
        for host in known.iter().filter_map(|hostname| self.by_name(hostname.as_str())) {
            if host.status() != HostStatus::Banned && !host.is_connected() {
                host.wanted_again(self.parts.clock.now_ms());
                self.wake(&host);
            }
        }
        let accounts: HashMap<&str, u64> = parsed
            .iter()
            .zip(hosts)
            .filter_map(|(parsed, (_, accounts))| Some((parsed.as_ref().ok()?.as_str(), *accounts)))
            .collect();
        let created = self.create(&new, &accounts, false).await;
        let found = |hostname: Hostname| match self.by_name(hostname.as_str()) {
            Some(host) if host.status() == HostStatus::Banned => Err(Refusal::Banned),
            Some(host) if known.contains(&hostname) => Ok((host, "known")),
            Some(host) => Ok((host, "added")),
            None => Err(created
                .as_ref()
                .err()
                .cloned()
                .unwrap_or_else(|| Refusal::Store("the host was not stored".to_owned()))),
        };
        parsed.into_iter().map(|hostname| counted(hostname.and_then(found))).collect()
    }

    fn parse(&self, hostname: &str) -> Result<Hostname, Refusal> {
        if hostname.len() > HOSTNAME_BYTES_MAX {
            return Err(Refusal::BadHostname("the host name is too long".to_owned()));
        }
        Hostname::parse(hostname.trim(), self.parts.dev)
            .map_err(|invalid| Refusal::BadHostname(invalid.to_string()))
    }

    /// * `accounts` – that a host is to have room for at least, by its name
    /// * `by_request` – they count against the quota of the day
    async fn create(
        &self,
        hostnames: &[Hostname],
        accounts: &HashMap<&str, u64>,
        by_request: bool,
    ) -> Result<Vec<Arc<Host>>, Refusal> {
        if hostnames.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<(String, bool, u64)> = hostnames
            .iter()
            .map(|hostname| {
                let accounts = accounts.get(hostname.as_str()).copied().unwrap_or(0);
                (hostname.as_str().to_owned(), hostname.is_secure(), accounts)
            })
            .collect();
        let (store, now_ms) = (&self.parts.store, self.parts.clock.now_ms());
        let rows = if by_request {
            store.add_requested_hosts(&names, now_ms).await?
        } else {
            store.add_hosts_for(&names, now_ms).await?
        };
        let hosts = self.enrol(&rows)?;
        for host in &hosts {
            tracing::info!(host = %host.hostname(), "host added");
            self.wake(host);
        }
        Ok(hosts)
    }

    /// Once a minute per name, a request wakes a subscription that waits for its next try. More often
    /// it is answered all the same: the try that was asked for has just been made.
    fn may_wake(&self, name: &str) -> bool {
        let now_ms = self.parts.clock.steady_ms();
        let mut checks = self.parts.admission.checks.lock();
        let recent = checks.get(name).is_some_and(|check| match check {
            Check::UnderWay { since_ms: at_ms } | Check::Done { at_ms, .. } => {
                since(*at_ms, now_ms) < CHECK_INTERVAL
            }
        });
        if !recent {
            checks.put(name.to_owned(), Check::Done { at_ms: now_ms, result: Ok(()) });
        }
        !recent
    }

    /// Asks an unknown host whether it is one, at most once a minute per name (HOST-3).
    async fn check(&self, hostname: &Hostname) -> Result<(), Refusal> {
        let admission = &self.parts.admission;
        let now_ms = self.parts.clock.steady_ms();
        let _place = {
            let mut checks = admission.checks.lock();
            match checks.get(hostname.as_str()) {
                Some(Check::UnderWay { since_ms }) if since(*since_ms, now_ms) < CHECK_INTERVAL => {
                    return Err(Refusal::RateLimited(BUSY_SECONDS));
                }
                Some(Check::Done { at_ms, result: Ok(()) })
                    if since(*at_ms, now_ms) < CHECK_HOLDS =>
                {
                    return Ok(());
                }
                Some(Check::Done { at_ms, result: Err(refusal) })
                    if since(*at_ms, now_ms) < CHECK_INTERVAL =>
                {
                    let left = CHECK_INTERVAL.saturating_sub(since(*at_ms, now_ms));
                    return Err(again(refusal, left));
                }
                _ => {}
            }
            let place = admission.places.try_acquire();
            let place = place.map_err(|_full| Refusal::RateLimited(BUSY_SECONDS))?;
            checks.put(hostname.as_str().to_owned(), Check::UnderWay { since_ms: now_ms });
            place
        };
        let result = self.describe(hostname).await;
        let done = Check::Done { at_ms: self.parts.clock.steady_ms(), result: result.clone() };
        admission.checks.lock().put(hostname.as_str().to_owned(), done);
        result
    }

    async fn describe(&self, hostname: &Hostname) -> Result<(), Refusal> {
        let scheme = if hostname.is_secure() { "https" } else { "http" };
        let url = format!("{scheme}://{hostname}/xrpc/com.atproto.server.describeServer");
        let answer = self
            .parts
            .net
            .get(&url, DESCRIPTION_BYTES_MAX)
            .await
            .map_err(|error| unreachable(hostname, &error.to_string()))?;
        // Before the status: a relay does not serve this method, and that is the lesser reason.
        if is_relay(answer.server.as_deref()) {
            return Err(Refusal::IsRelay);
        }
        if answer.status != 200 {
            return Err(unreachable(hostname, &format!("it answered {}", answer.status)));
        }
        match serde_json::from_slice::<serde_json::Value>(&answer.body) {
            Ok(serde_json::Value::Object(_)) => Ok(()),
            Ok(_) | Err(_) => Err(unreachable(hostname, "its answer is not a JSON object")),
        }
    }
}

/// Time between two readings of the steady clock.
fn since(at_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(at_ms))
}

/// Counts how a request for a host ended.
fn counted(admitted: Result<(Arc<Host>, &'static str), Refusal>) -> Result<Arc<Host>, Refusal> {
    let outcome = match &admitted {
        Ok((_, outcome)) => outcome,
        Err(refusal) => outcome_of(refusal),
    };
    counter!(names::HOSTS_ADMISSIONS, "outcome" => outcome).increment(1);
    admitted.map(|(host, _)| host)
}

fn unreachable(hostname: &Hostname, why: &str) -> Refusal {
    Refusal::Unreachable(format!("describeServer of {hostname} failed: {why}"))
}

/// The kept refusal, and when the next check is possible.
fn again(refusal: &Refusal, left: Duration) -> Refusal {
    match refusal {
        Refusal::Unreachable(why) => {
            Refusal::Unreachable(format!("{why} (next check in {} s)", left.as_secs() + 1))
        }
        other => other.clone(),
    }
}

fn outcome_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::BadHostname(_) => "bad_hostname",
        Refusal::Banned => "banned",
        Refusal::Unreachable(_) => "unreachable",
        Refusal::IsRelay => "is_relay",
        Refusal::TooManyNew { .. } => "quota",
        Refusal::RateLimited(_) => "rate_limited",
        Refusal::Store(_) => "store",
    }
}
