//! The policy file: what it says is made so, at the start and on SIGHUP (`RELAY_POLICY_FILE`).
//!
//! What the file set is remembered apart from what operators set, so that an entry that leaves the file
//! is undone and nothing else is. What an operator undoes by hand the file sets again when it is next
//! read. A file that is wrong changes nothing.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use relay_protocol::Did;

pub use self::file::{HostPolicy, Policy, Wrong, parse};
use super::{Action, Actions, By, Refused, Steer};
use crate::{
    domain::{Actor, LocalStatus, OwnLimits, Strictness},
    hosts::{Edit, LimitsEdit},
    store::{PolicyRow, StoreError},
};

const TAKEDOWN: &str = "takedown";
const HOST: &str = "host";

/// Why a policy file was not followed. It changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("the policy file {path} cannot be read: {why}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// It is wrong.
    #[error("the policy file {path} is wrong at {wrong}; nothing was changed")]
    Wrong {
        /// Its path.
        path: String,
        /// What, and where.
        wrong: Wrong,
    },
    /// The database.
    #[error("the policy file was not followed: {0}")]
    Store(#[from] StoreError),
}

/// One thing that the file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In words, as `ban the domain spam.example`.
    pub words: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Do(Action),
    Mark(PolicyRow),
    Unmark { kind: &'static str, subject: String },
}

/// What is known of the last time that the file was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyState {
    /// Where it is; `None` when none is set.
    pub path: Option<PathBuf>,
    /// When it was last followed, ms since 1970.
    pub followed_ms: Option<u64>,
    /// What was wrong with it since.
    pub trouble: Option<String>,
}

/// Where the state of the file is kept.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<PolicyState>);

impl Actions {
    /// What is known of the policy file.
    pub fn policy_state(&self) -> PolicyState {
        self.inner.policy.0.lock().clone()
    }

    /// Reads the file and makes everything as it says; gives what was changed, in words.
    ///
    /// # Errors
    /// [`PolicyError`]; after one of the database part of it may have been done, and reading it again
    /// does the rest.
    pub async fn follow_policy(&self, path: &Path) -> Result<Vec<String>, PolicyError> {
        let followed = self.try_follow(path).await;
        let mut state = self.inner.policy.0.lock();
        state.path = Some(path.to_path_buf());
        match &followed {
            Ok(_) => {
                state.followed_ms = Some(self.parts().clock.now_ms());
                state.trouble = None;
            }
            Err(why) => state.trouble = Some(why.to_string()),
        }
        followed
    }

    async fn try_follow(&self, path: &Path) -> Result<Vec<String>, PolicyError> {
        let (_text, policy) = read(path, self.parts().dev)?;
        let mut done = Vec::new();
        for change in self.plan_policy(&policy).await? {
            match self.carry_out(&change).await {
                Ok(()) => done.push(change.words),
                Err(Refused::Store(error)) => return Err(error.into()),
                // One entry that cannot be followed, such as a host that is no host, stops no other.
                Err(why) => tracing::warn!(%why, entry = change.words, "policy file"),
            }
        }
        Ok(done)
    }

    async fn carry_out(&self, change: &Change) -> Result<(), Refused> {
        for step in &change.steps {
            match step {
                Step::Do(action) => {
                    self.run(By::policy(), action.clone()).await?;
                }
                Step::Mark(row) => self.parts().store.policy_set(row).await?,
                Step::Unmark { kind, subject } => {
                    self.parts().store.policy_unset(kind, subject).await?;
                }
            }
        }
        Ok(())
    }

    /// What following this policy would change now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plan_policy(&self, policy: &Policy) -> Result<Vec<Change>, StoreError> {
        let rows = self.parts().store.policy_rows().await?;
        let marked = |kind: &str| -> BTreeMap<String, String> {
            let of_kind = rows.iter().filter(|row| row.kind == kind);
            of_kind.map(|row| (row.subject.clone(), row.value.clone())).collect()
        };
        let mut changes = self.plan_lists(policy);
        self.plan_domains(policy, &mut changes);
        self.plan_hosts(policy, &marked(HOST), &mut changes);
        self.plan_takedowns(policy, &marked(TAKEDOWN), &mut changes).await?;
        Ok(changes)
    }

    /// Lists that hold as long as the relay runs.
    fn plan_lists(&self, policy: &Policy) -> Vec<Change> {
        let mut changes = Vec::new();
        let hosts = &self.parts().hosts;
        let mut trusted = self.parts().settings.trusted_domains.clone();
        trusted.extend(policy.trusted_domains.iter().cloned());
        trusted.sort_unstable();
        trusted.dedup();
        let mut now = hosts.trusted_domains();
        now.sort_unstable();
        if trusted != now {
            let words = format!("trust {}", listed(&trusted));
            changes.push(Change::to(words, Action::Trust(trusted)));
        }
        if policy.allowed != hosts.allowed() {
            let words = policy.allowed.as_ref().map_or_else(
                || "read hosts of all names".to_owned(),
                |allowed| format!("read only {}", listed(allowed)),
            );
            changes.push(Change::to(words, Action::Allow(policy.allowed.clone())));
        }
        let siblings = policy.siblings.as_ref().unwrap_or(&self.parts().settings.siblings);
        if *siblings != self.siblings().names() {
            let words = format!("take as siblings {}", listed(siblings));
            changes.push(Change::to(words, Action::SetSiblings(siblings.clone())));
        }
        changes
    }

    /// A ban knows who made it: one that a person made is no matter of the file.
    fn plan_domains(&self, policy: &Policy, changes: &mut Vec<Change>) {
        let bans = self.parts().hosts.domain_bans();
        let banned: BTreeSet<&str> = bans.iter().map(|ban| ban.domain.as_str()).collect();
        for domain in &policy.banned_domains {
            if !banned.contains(domain.as_str()) {
                let words = format!("ban the domain {domain}");
                changes.push(Change::to(words, Action::BanDomain(domain.clone())));
            }
        }
        for ban in bans.iter().filter(|ban| ban.actor == Actor::Policy) {
            if !policy.banned_domains.contains(&ban.domain) {
                let words = format!("end the ban of the domain {}", ban.domain);
                changes.push(Change::to(words, Action::UnbanDomain(ban.domain.clone())));
            }
        }
    }

    fn plan_hosts(
        &self,
        policy: &Policy,
        marked: &BTreeMap<String, String>,
        changes: &mut Vec<Change>,
    ) {
        for (name, rules) in &policy.hosts {
            let view = self.parts().hosts.view(name);
            let (limits, strictness) = wanted(*rules);
            let mut change = Change { words: format!("host {name}:"), steps: Vec::new() };
            if view.is_none() {
                change.and("add it", Action::AddHost(name.clone()));
            }
            let (has, judged) = view.map_or((OwnLimits::default(), Strictness::Default), |view| {
                (view.own_limits, view.strictness)
            });
            if limits != has {
                let words = format!("limits {}", limits_in_words(limits));
                change.and(&words, Action::Steer(name.clone(), Steer::Limits(edit(limits))));
            }
            if strictness != judged {
                let words = format!("validation {}", strictness.as_text());
                change.and(&words, Action::Steer(name.clone(), Steer::Strictness(strictness)));
            }
            if !change.steps.is_empty() || !marked.contains_key(name) {
                change.steps.push(Step::Mark(row(HOST, name)));
            }
            // One whose rules stand already is only noted.
            if change.steps.len() == 1 {
                change.words = format!("host {name}: note that the file names it");
            }
            if !change.steps.is_empty() {
                changes.push(change);
            }
        }
        for name in marked.keys().filter(|name| !policy.hosts.contains_key(*name)) {
            let words = format!("host {name}: leave it to the rules for all");
            let mut change = Change { words, steps: Vec::new() };
            if self.parts().hosts.view(name).is_some() {
                let clear = edit(OwnLimits::default());
                change.steps.push(Step::Do(Action::Steer(name.clone(), Steer::Limits(clear))));
                let usual = Action::Steer(name.clone(), Steer::Strictness(Strictness::Default));
                change.steps.push(Step::Do(usual));
            }
            change.steps.push(Step::Unmark { kind: HOST, subject: name.clone() });
            changes.push(change);
        }
    }

    async fn plan_takedowns(
        &self,
        policy: &Policy,
        marked: &BTreeMap<String, String>,
        changes: &mut Vec<Change>,
    ) -> Result<(), StoreError> {
        let left: Vec<Did> = marked
            .keys()
            .filter_map(|did| Did::parse(did).ok())
            .filter(|did| !policy.takedowns.contains(did))
            .collect();
        let all = [policy.takedowns.as_slice(), &left].concat();
        let decided = self.parts().store.local_statuses(&all).await?;
        let down: BTreeSet<&Did> = decided
            .iter()
            .filter_map(|(did, local)| (*local == LocalStatus::Takendown).then_some(did))
            .collect();
        for did in policy.takedowns.iter().filter(|did| !down.contains(did)) {
            let mut change = Change::to(format!("take down {did}"), Action::TakeDown(did.clone()));
            change.steps.push(Step::Mark(row(TAKEDOWN, did.as_str())));
            changes.push(change);
        }
        for did in &left {
            let words = format!("end the takedown of {did}");
            let mut change = Change { words, steps: Vec::new() };
            if down.contains(did) {
                change.steps.push(Step::Do(Action::ReverseTakedown(did.clone())));
            }
            change.steps.push(Step::Unmark { kind: TAKEDOWN, subject: did.to_string() });
            changes.push(change);
        }
        Ok(())
    }

    /// What a person decides about an account is no longer the file's to undo.
    pub(super) async fn is_by_hand(&self, did: &Did) -> Result<(), StoreError> {
        self.parts().store.policy_unset(TAKEDOWN, did.as_str()).await
    }
}

impl Change {
    fn to(words: String, action: Action) -> Self {
        Self { words, steps: vec![Step::Do(action)] }
    }

    fn and(&mut self, words: &str, action: Action) {
        let comma = if self.steps.is_empty() { " " } else { ", " };
        self.words.push_str(comma);
        self.words.push_str(words);
        self.steps.push(Step::Do(action));
    }
}

/// Reads and checks a policy file; gives its text too. Blocks on the disk for a moment, as at a start.
///
/// # Errors
/// [`PolicyError`].
pub fn read(path: &Path, dev: bool) -> Result<(String, Policy), PolicyError> {
    let unreadable =
        |why: String| PolicyError::Unreadable { path: path.display().to_string(), why };
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > file::BYTES_MAX {
        return Err(unreadable(format!("it has more than {} bytes", file::BYTES_MAX)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    match parse(&text, dev) {
        Ok(policy) => Ok((text, policy)),
        Err(wrong) => Err(PolicyError::Wrong { path: path.display().to_string(), wrong }),
    }
}

fn row(kind: &str, subject: &str) -> PolicyRow {
    PolicyRow { kind: kind.to_owned(), subject: subject.to_owned(), value: String::new() }
}

fn wanted(rules: HostPolicy) -> (OwnLimits, Strictness) {
    let limits = OwnLimits {
        accounts: rules.account_limit,
        per_second: rules.events_per_second,
        per_hour: rules.events_per_hour,
        per_day: rules.events_per_day,
    };
    (limits, rules.strictness)
}

/// All four limits, each set or left to the rules.
fn edit(limits: OwnLimits) -> LimitsEdit {
    let one = |limit: Option<u64>| limit.map_or(Edit::Clear, Edit::Set);
    LimitsEdit {
        accounts: one(limits.accounts),
        per_second: one(limits.per_second),
        per_hour: one(limits.per_hour),
        per_day: one(limits.per_day),
    }
}

fn limits_in_words(limits: OwnLimits) -> String {
    let named = [
        ("accounts", limits.accounts),
        ("per second", limits.per_second),
        ("per hour", limits.per_hour),
        ("per day", limits.per_day),
    ];
    let set = named.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{limit} {name}")));
    let set = set.collect::<Vec<_>>().join(" and ");
    if set.is_empty() { "by the rules for all".to_owned() } else { set }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names {
        [] => "nobody".to_owned(),
        names if names.len() > SHOWN => {
            let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            format!("{first} and {} more", names.len() - SHOWN)
        }
        names => names.join(", "),
    }
}
