//! DID documents: PLC and did:web, coalesced, budgeted, guarded (RES-1…6, DOC-*, PLC-*).
//!
//! The positive cache is the account row; this room keeps only failures and lookups under way.
//!
//! In: a DID. Out: its document, or why there is none. Owns: the budgets of the PLC directory and of
//! each did:web host, one lookup per DID at a time, and for a while what failed. Everything is
//! bounded (I5); a slow directory delays only who asks it (RES-6).

mod failures;
mod plc;
mod rate;
mod web;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use metrics::{counter, gauge, histogram};
use parking_lot::Mutex;
use relay_protocol::{Did, DidDocument, DidMethod, Hostname};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, timeout},
};
use tracing::{Instrument as _, trace_span};

use self::{failures::Failures, plc::Plc, web::Web};
use crate::{
    clock::Clock,
    net::{Net, NetError},
    tasks::Tasks,
    telemetry::{SPANS, metrics as names},
};

/// Longest time that one lookup may take, waiting for its turn included.
const LOOKUP_MAX: Duration = Duration::from_secs(30);

/// Longest wait for a turn at a source; leaves time for the requests themselves.
const TURN_MAX: Duration = Duration::from_secs(20);

/// Lookups under way or waiting for their turn. More than [`TURN_MAX`] × the highest sensible rate
/// could never be served in time; whoever comes then is told to come again.
const LOOKUPS_MAX: u16 = 10_000;

/// Largest DID document (RES-1).
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Sightings that a listener may have open; one that lags misses some.
const SIGHTINGS_MAX: usize = 1_024;

/// A DID document names a host.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Whose document.
    pub did: Did,
    /// The host.
    pub host: Hostname,
}

/// How identities are fetched.
#[derive(Debug, Clone)]
pub struct IdentityOptions {
    /// Base URL of the PLC directory, without slash at the end (`RELAY_PLC_HOST`).
    pub plc_url: String,
    /// Requests per second to it (`RELAY_PLC_RATE`).
    pub plc_rate: u32,
    /// Requests to it under way at once, and half as many to hosts of did:web
    /// (`RELAY_IDENTITY_CONCURRENCY`). It limits what a silent directory ties up.
    pub concurrency: usize,
    /// `--dev`.
    pub allow_insecure: bool,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The source says that there is none. Conclusive for 5–15 minutes (RES-2).
    #[error("the DID is not registered: {0}")]
    NotFound(String),
    /// Confirmed by the operation log (ACC-13).
    #[error("the DID is tombstoned")]
    Tombstoned,
    /// The document is not usable as JSON or names another DID.
    #[error("the DID document is not valid: {0}")]
    Invalid(String),
    /// Try again: timeout, 429, 5xx, no connection, no budget.
    #[error("the identity could not be fetched: {0}")]
    Unavailable(String),
}

type Answer = Result<Arc<DidDocument>, IdentityError>;

/// An error and whether it says something about the DID; a missing turn does not.
#[derive(Debug)]
struct Trouble {
    error: IdentityError,
    keep: bool,
}

impl From<IdentityError> for Trouble {
    fn from(error: IdentityError) -> Self {
        Self { error, keep: true }
    }
}

impl Trouble {
    /// The source could not be asked in time.
    fn no_turn(why: impl Into<String>) -> Self {
        Self { error: IdentityError::Unavailable(why.into()), keep: false }
    }
}

/// Fetches DID documents; cheap to clone.
#[derive(Debug, Clone)]
pub struct Identities {
    parts: Arc<Parts>,
}

/// What all clones share.
#[derive(Debug)]
struct Parts {
    dev: bool,
    clock: Clock,
    tasks: Tasks,
    plc: Plc,
    web: Web,
    under_way: Mutex<HashMap<Did, watch::Receiver<Option<Answer>>>>,
    failures: Mutex<Failures>,
    sightings: broadcast::Sender<Sighting>,
}

impl Identities {
    /// Starts with empty caches.
    pub fn new(options: IdentityOptions, net: Net, clock: Clock, tasks: &Tasks) -> Self {
        gauge!(names::IDENTITY_LOOKUPS_LIMIT).set(f64::from(LOOKUPS_MAX));
        let parts = Parts {
            dev: options.allow_insecure,
            clock,
            tasks: tasks.clone(),
            plc: Plc::new(options.plc_url, options.plc_rate, options.concurrency, net.clone()),
            web: Web::new(options.concurrency / 2, net),
            under_way: Mutex::default(),
            failures: Mutex::default(),
            sightings: broadcast::Sender::new(SIGHTINGS_MAX),
        };
        Self { parts: Arc::new(parts) }
    }

    /// Fetches now, joining a lookup of the same DID that is under way. `fresh` also ignores a kept
    /// failure. Waits for budget; gives [`IdentityError::Unavailable`] after about 30 s at most.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// Cancel safety: the lookup goes on for the others who wait for it.
    pub async fn fetch(&self, did: &Did, fresh: bool) -> Result<Arc<DidDocument>, IdentityError> {
        let method = did
            .method(self.parts.dev)
            .map_err(|invalid| IdentityError::Invalid(invalid.to_string()))?;
        let now_ms = self.parts.clock.steady_ms();
        if !fresh && let Some(kept) = self.parts.failures.lock().get(did, now_ms) {
            counter!(names::IDENTITY_REQUESTS, "source" => source(method), "outcome" => "kept")
                .increment(1);
            return Err(kept);
        }
        let mut answer = self.join(did, method)?;
        let seen = answer.wait_for(Option::is_some).await;
        match seen.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            Ok(None) | Err(_) => Err(unavailable("the lookup was stopped")),
        }
    }

    /// Told of the host that each document names.
    pub fn sightings(&self) -> broadcast::Receiver<Sighting> {
        self.parts.sightings.subscribe()
    }

    /// Lookups under way or waiting.
    pub fn depth(&self) -> usize {
        self.parts.under_way.lock().len()
    }

    /// Takes part in the lookup that is under way, or starts one.
    fn join(
        &self,
        did: &Did,
        method: DidMethod,
    ) -> Result<watch::Receiver<Option<Answer>>, IdentityError> {
        let mut under_way = self.parts.under_way.lock();
        let depth = under_way.len();
        match under_way.entry(did.clone()) {
            Entry::Occupied(lookup) => Ok(lookup.get().clone()),
            Entry::Vacant(_) if depth >= usize::from(LOOKUPS_MAX) => {
                Err(unavailable("too many lookups are waiting"))
            }
            Entry::Vacant(place) => {
                let (tell, answer) = watch::channel(None);
                place.insert(answer.clone());
                gauge!(names::IDENTITY_LOOKUPS_DEPTH).increment(1);
                let lookup = Lookup { parts: Arc::clone(&self.parts), did: did.clone(), tell };
                self.parts.tasks.start(lookup.run(method));
                Ok(answer)
            }
        }
    }
}

/// One lookup under way. Leaves the table when dropped, also after a panic.
struct Lookup {
    parts: Arc<Parts>,
    did: Did,
    tell: watch::Sender<Option<Answer>>,
}

impl Lookup {
    async fn run(self, method: DidMethod) {
        let stopping = self.parts.tasks.stopping().clone();
        let span = trace_span!(target: SPANS, "identity.lookup", source = source(method));
        let answer = tokio::select! {
            answer = timeout(LOOKUP_MAX, self.ask(method).instrument(span)) => answer
                .unwrap_or_else(|_elapsed| Err(unavailable("no answer in 30 s").into())),
            () = stopping.cancelled() => Err(Trouble::no_turn("the relay is stopping")),
        };
        let answer = match answer {
            Ok(document) => {
                self.parts.failures.lock().forget(&self.did);
                self.sighted(&document);
                Ok(Arc::new(document))
            }
            Err(Trouble { error, keep }) => {
                if keep {
                    let now_ms = self.parts.clock.steady_ms();
                    self.parts.failures.lock().keep(&self.did, &error, now_ms);
                }
                Err(error)
            }
        };
        // Left first, so that whoever asks after hearing the answer starts a new lookup.
        self.leave();
        self.tell.send_replace(Some(answer));
    }

    async fn ask(&self, method: DidMethod) -> Result<DidDocument, Trouble> {
        let begun = Instant::now();
        let asked = match method {
            DidMethod::Plc => self.parts.plc.fetch(&self.did).await,
            DidMethod::Web => self.parts.web.fetch(&self.did).await,
        };
        let document = asked.and_then(|json| {
            DidDocument::parse(&json, &self.did, self.parts.dev)
                .map_err(|invalid| IdentityError::Invalid(invalid.to_string()).into())
        });
        histogram!(names::IDENTITY_REQUEST_SECONDS, "source" => source(method))
            .record(begun.elapsed());
        counter!(
            names::IDENTITY_REQUESTS,
            "source" => source(method),
            "outcome" => outcome(document.as_ref().err()),
        )
        .increment(1);
        document
    }

    fn sighted(&self, document: &DidDocument) {
        let Some(pds) = &document.pds else { return };
        let sighting = Sighting { did: self.did.clone(), host: pds.host.clone() };
        if self.parts.sightings.send(sighting).is_err() {
            tracing::trace!(did = %self.did, "nobody listens to sightings");
        }
    }

    fn leave(&self) {
        let mut under_way = self.parts.under_way.lock();
        let ours = |answer: &watch::Receiver<_>| answer.same_channel(&self.tell.subscribe());
        if under_way.get(&self.did).is_some_and(ours) {
            under_way.remove(&self.did);
            gauge!(names::IDENTITY_LOOKUPS_DEPTH).decrement(1);
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.leave();
    }
}

fn unavailable(why: impl Into<String>) -> IdentityError {
    IdentityError::Unavailable(why.into())
}

fn source(method: DidMethod) -> &'static str {
    match method {
        DidMethod::Plc => "plc",
        DidMethod::Web => "web",
    }
}

fn outcome(trouble: Option<&Trouble>) -> &'static str {
    match trouble {
        None => "ok",
        Some(Trouble { keep: false, .. }) => "no_turn",
        Some(Trouble { error, .. }) => match error {
            IdentityError::NotFound(_) => "not_found",
            IdentityError::Tombstoned => "tombstoned",
            IdentityError::Invalid(_) => "invalid",
            IdentityError::Unavailable(_) => "unavailable",
        },
    }
}

/// A request that gave no answer: an address that we may not reach is a fault of the document's
/// owner, everything else may pass.
fn no_answer(error: NetError) -> IdentityError {
    match error {
        NetError::Refused(why) => IdentityError::Invalid(why),
        NetError::Failed(why) => IdentityError::Unavailable(why),
    }
}

#[cfg(test)]
mod tests;
