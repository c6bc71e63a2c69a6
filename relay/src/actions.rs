//! What operators do: one entry for the API, the page, the policy file and sibling relays (API-6).
//!
//! In: an [`Action`] and [`By`] whom it is done. Out: commands to the owners of the state, a row of the
//! audit log begun before the action and completed after it, and letters to sibling relays. An action
//! runs to its end also when who asked for it goes away. Actions about one subject happen one after the
//! other, so that each row tells the state that it found.
//!
//! To do one: `actions.run(By::client(address), Action::TakeDown(did)).await?` gives a [`Done`], or says
//! why it was [`Refused`]; nothing else has to be written or told.

mod accounts;
mod action;
mod alerts;
mod by;
mod collections;
mod hosts;
mod lists;
mod policy;
mod rules;
mod siblings;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::{Mutex, oneshot};

pub use self::{
    action::Action,
    alerts::Alert,
    by::By,
    collections::Fill,
    hosts::Steer,
    policy::{
        Change, HostPolicy, Policy, PolicyError, PolicyState, Wrong, parse as parse_policy,
        read as read_policy,
    },
    rules::Rules,
    siblings::{SiblingParts, SiblingView, Siblings},
};
use crate::{
    backfill::Backfill,
    clock::Clock,
    discovery::Discovery,
    firehose::Firehose,
    hosts::{Hosts, Refusal},
    ingest::Ingest,
    store::{Begun, Store, StoreError},
    tasks::Tasks,
    telemetry::{escape, metrics},
};

/// Turns of actions about one subject; others rarely share one.
const TURNS: usize = 64;

/// What actions are done with.
#[derive(Debug, Clone)]
pub struct ActionParts {
    /// Store.
    pub store: Store,
    /// Hosts.
    pub hosts: Hosts,
    /// Shards.
    pub ingest: Ingest,
    /// Consumers.
    pub firehose: Firehose,
    /// Lists of others.
    pub discovery: Discovery,
    /// Fills the index of collections.
    pub backfill: Backfill,
    /// Rules for the whole relay.
    pub rules: Rules,
    /// Other relays of the same operators.
    pub siblings: Siblings,
    /// Clock.
    pub clock: Clock,
    /// What the settings say where the policy file may say more.
    pub settings: PolicySettings,
    /// Development mode.
    pub dev: bool,
    /// Actions under way; shutdown waits for them.
    pub tasks: Tasks,
}

/// Lists of the settings to which the policy file adds, or in whose place it says something else.
#[derive(Debug, Clone, Default)]
pub struct PolicySettings {
    /// Domains that are trusted.
    pub trusted_domains: Vec<String>,
    /// Sibling relays.
    pub siblings: Vec<String>,
}

/// Does what operators ask for; cheap to clone.
#[derive(Debug, Clone)]
pub struct Actions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: ActionParts,
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
    policy: policy::Known,
}

/// What an action did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Done {
    /// State before, as the audit log tells it.
    pub before: Value,
    /// State after.
    pub after: Value,
    /// What else who asked may want to know, such as one result per host of a batch.
    pub answer: Value,
}

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such account, host or consumer.
    #[error("{what}")]
    Unknown {
        /// Name of the error.
        name: &'static str,
        /// In words.
        what: String,
    },
    /// It contradicts something else that was decided.
    #[error("{what}")]
    Conflict {
        /// Name of the error.
        name: &'static str,
        /// In words.
        what: String,
    },
    /// The host is not admitted.
    #[error(transparent)]
    Host(#[from] Refusal),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The relay stops.
    #[error("the relay is stopping")]
    Stopping,
}

impl Actions {
    /// Ready to act.
    pub fn new(parts: ActionParts) -> Self {
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        Self {
            inner: Arc::new(Inner {
                parts,
                turns,
                hasher: RandomState::new(),
                policy: policy::Known::default(),
            }),
        }
    }

    /// Rules for the whole relay.
    pub fn rules(&self) -> &Rules {
        &self.inner.parts.rules
    }

    /// Other relays of the same operators.
    pub fn siblings(&self) -> &Siblings {
        &self.inner.parts.siblings
    }

    /// Tells siblings of a host that asked to be crawled and was admitted. Its admission is for each of
    /// them to decide; that it is a host was checked here.
    ///
    /// # Errors
    /// [`StoreError`]; then nobody is told.
    pub async fn pass_on_crawl(&self, hostname: &str) -> Result<(), StoreError> {
        self.siblings().pass_on(&action::crawl(hostname)).await
    }

    /// Does it. What it changed is durable, and its audit row complete, when this returns.
    ///
    /// # Errors
    /// [`Refused`]; then the row says so. After [`Refused::Store`] it may have been done in part: doing
    /// it again completes it.
    pub async fn run(&self, by: By, action: Action) -> Result<Done, Refused> {
        let (answer, answered) = oneshot::channel();
        let actions = self.clone();
        self.inner.parts.tasks.start(async move {
            let ran = actions.audited(&by, action).await;
            if answer.send(ran).is_err() {
                tracing::debug!("who asked for an action did not wait for its end");
            }
        });
        answered.await.unwrap_or(Err(Refused::Stopping))
    }

    async fn audited(&self, by: &By, action: Action) -> Result<Done, Refused> {
        let Inner { parts, turns, hasher, .. } = &*self.inner;
        let (name, subject) = (action.name(), action.subject());
        let place = usize::try_from(hasher.hash_one(&subject)).unwrap_or(0) % TURNS;
        let _turn = match turns.get(place) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let client = by.client.map(|client| client.to_string()).unwrap_or_default();
        let actor = by.actor.to_string();
        let begun = Begun {
            at_ms: parts.clock.now_ms(),
            actor: &actor,
            client: &client,
            action: name,
            subject: &subject,
        };
        let row = parts.store.audit_begin(begun).await?;
        let told = action.clone();
        let ran = self.perform(by, action).await;
        let letters = match &ran {
            Ok(done) if !by.relayed => {
                told.forward(&done.before).map(|it| parts.siblings.letters(&it))
            }
            _ => None,
        };
        let letters = letters.unwrap_or_default();
        let (before, after, outcome) = match &ran {
            Ok(done) => (text(&done.before), text(&done.after), "done".to_owned()),
            Err(why) => (String::new(), String::new(), format!("refused: {why}")),
        };
        parts.store.audit_end(row, (&before, &after), &outcome, &letters).await?;
        if !letters.is_empty() {
            parts.siblings.wake();
        }
        let label = if ran.is_ok() { "done" } else { "refused" };
        ::metrics::counter!(metrics::ACTIONS, "kind" => name, "outcome" => label).increment(1);
        let subject = escape(&subject, 300);
        tracing::info!(actor, client, action = name, subject, outcome, "operator");
        ran
    }

    async fn perform(&self, by: &By, action: Action) -> Result<Done, Refused> {
        match action {
            Action::TakeDown(did) => accounts::take_down(self, by, &did).await,
            Action::Suspend(did) => accounts::suspend(self, by, &did).await,
            Action::ReverseTakedown(did) => accounts::reverse_takedown(self, by, &did).await,
            Action::Restore(did) => accounts::restore(self, by, &did).await,
            Action::RefreshIdentity(did) => accounts::refresh_identity(self, &did).await,
            Action::AddHost(name) => hosts::add(self, &name).await,
            Action::AddHosts(names) => {
                let hosts: Vec<_> = names.into_iter().map(|name| (name, 0)).collect();
                hosts::add_many(self, &hosts).await
            }
            Action::AddHostsFor(hosts) => hosts::add_many(self, &hosts).await,
            Action::PullHosts(from) => lists::pull(self, &from),
            Action::ScanDirectory { rate, add } => lists::scan(self, rate, add).await,
            Action::Resync(names) => lists::resync(self, &names).await,
            Action::FillCollections(fill) => collections::fill(self, &fill).await,
            Action::VerifyCollections(sample) => collections::verify(self, sample),
            Action::Steer(name, steer) => hosts::steer(self, by, &name, steer).await,
            Action::BanDomain(domain) => hosts::ban_domain(self, by, &domain).await,
            Action::UnbanDomain(domain) => hosts::unban_domain(self, by, &domain).await,
            Action::AlertSent(name, alert) => alerts::note(self, &name, alert).await,
            Action::Trust(domains) => rules::trust(self, &domains),
            Action::Allow(allowed) => rules::allow(self, allowed).await,
            Action::SetSiblings(names) => Ok(rules::set_siblings(self, &names)),
            Action::NewHostsPerDay(limit) => rules::new_hosts_per_day(self, limit).await,
            Action::DisconnectConsumer(id) => rules::disconnect(self, id),
            Action::TakeCrawls(takes) => rules::take_crawls(self, takes).await,
        }
        .map(|done| by.noted(done))
    }

    fn parts(&self) -> &ActionParts {
        &self.inner.parts
    }
}

fn text(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string() }
}
