//! The closed set of what operators can do. Pure.

use relay_protocol::Did;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Alert, Steer, collections::Fill, siblings::Forward};
use crate::{domain::LocalStatus, hosts::Edit, telemetry::escape};

/// Names of a batch that are kept as its subject.
const NAMED_MAX: usize = 3;
/// Longest text from outside that becomes a subject, in characters before escaping.
const SUBJECT_CHARS_MAX: usize = 300;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Commits of the account stop, what it wrote is not replayed, and consumers are told.
    TakeDown(Did),
    /// Commits of the account stop, and consumers are told; what it wrote is still replayed.
    Suspend(Did),
    /// Ends a takedown, and nothing else that was decided.
    ReverseTakedown(Did),
    /// Ends whatever was decided about the account.
    Restore(Did),
    /// The DID document is fetched again.
    RefreshIdentity(Did),
    /// A host is added without the public checks; one that is known is tried at once.
    AddHost(String),
    /// The same for many.
    AddHosts(Vec<String>),
    /// Many, each with the accounts that it is to have room for at least.
    AddHostsFor(Vec<(String, u64)>),
    /// The lists of hosts of these relays are read.
    PullHosts(Vec<String>),
    /// The operations of the PLC directory are read for hosts that they name.
    ScanDirectory {
        /// Pages of a thousand operations a second at most.
        rate: u32,
        /// Admit what is found.
        add: bool,
    },
    /// The lists of accounts of these hosts are read.
    Resync(Vec<String>),
    /// The index of collections is filled from hosts or other relays.
    FillCollections(Fill),
    /// So many accounts of the index of collections are compared with what their hosts say.
    VerifyCollections(u64),
    /// One host is banned, connected, limited, ….
    Steer(String, Steer),
    /// A domain and all below it is banned.
    BanDomain(String),
    /// That ends.
    UnbanDomain(String),
    /// A sibling told people about the accounts of a host.
    AlertSent(String, Alert),
    /// These domains are trusted, and no others.
    Trust(Vec<String>),
    /// Only these hosts and domains are read, or all.
    Allow(Option<Vec<String>>),
    /// These are the siblings.
    SetSiblings(Vec<String>),
    /// So many hosts may be added by strangers in a day.
    NewHostsPerDay(u64),
    /// A consumer of the firehose is closed.
    DisconnectConsumer(u64),
    /// Whether requestCrawl from outside is taken.
    TakeCrawls(bool),
}

impl Action {
    /// The name in the audit log and in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TakeDown(_) => "account.takeDown",
            Self::Suspend(_) => "account.suspend",
            Self::ReverseTakedown(_) => "account.reverseTakedown",
            Self::Restore(_) => "account.restore",
            Self::RefreshIdentity(_) => "account.refreshIdentity",
            Self::AddHost(_) | Self::AddHosts(_) | Self::AddHostsFor(_) => "host.add",
            Self::PullHosts(_) => "host.pull",
            Self::ScanDirectory { .. } => "host.scanDirectory",
            Self::Resync(_) => "host.resync",
            Self::FillCollections(_) => "collections.backfill",
            Self::VerifyCollections(_) => "collections.verify",
            Self::Steer(_, steer) => steer.name(),
            Self::BanDomain(_) => "domain.ban",
            Self::UnbanDomain(_) => "domain.unban",
            Self::AlertSent(..) => "host.alertSent",
            Self::Trust(_) => "rule.trustedDomains",
            Self::Allow(_) => "rule.allowedHosts",
            Self::SetSiblings(_) => "rule.siblings",
            Self::NewHostsPerDay(_) => "rule.newHostsPerDay",
            Self::DisconnectConsumer(_) => "consumer.disconnect",
            Self::TakeCrawls(_) => "rule.requestCrawl",
        }
    }

    /// Whom it is about, as the audit log tells it; text from outside is escaped and cut.
    pub fn subject(&self) -> String {
        match self {
            Self::TakeDown(did)
            | Self::Suspend(did)
            | Self::ReverseTakedown(did)
            | Self::Restore(did)
            | Self::RefreshIdentity(did) => did.to_string(),
            Self::AddHost(name) | Self::Steer(name, _) | Self::AlertSent(name, _) => {
                subject(&name.trim().to_ascii_lowercase())
            }
            Self::BanDomain(domain) | Self::UnbanDomain(domain) => {
                subject(&domain.trim().to_ascii_lowercase())
            }
            Self::Trust(_) => "trusted domains".to_owned(),
            Self::Allow(_) => "allowed hosts".to_owned(),
            Self::SetSiblings(_) => "siblings".to_owned(),
            Self::NewHostsPerDay(_) => "new hosts per day".to_owned(),
            Self::AddHosts(names) | Self::PullHosts(names) | Self::Resync(names) => {
                let first: Vec<_> =
                    names.iter().take(NAMED_MAX).map(|name| subject(name)).collect();
                several(&first, names.len())
            }
            Self::AddHostsFor(hosts) => {
                let first = hosts.iter().take(NAMED_MAX).map(|(name, _)| subject(name));
                several(&first.collect::<Vec<_>>(), hosts.len())
            }
            Self::ScanDirectory { .. } => "directory".to_owned(),
            Self::FillCollections(fill) => fill.subject(),
            Self::VerifyCollections(sample) => format!("{sample} accounts"),
            Self::DisconnectConsumer(id) => id.to_string(),
            Self::TakeCrawls(_) => "requestCrawl".to_owned(),
        }
    }

    /// What siblings are told: what the reference relay tells its own, in its form, and decisions about
    /// accounts that only this one knows.
    ///
    /// * `before` – the state that the action found
    pub(super) fn forward(&self, before: &Value) -> Option<Forward> {
        let about = |path: &str, did: &Did| {
            Some(Forward { target: path.to_owned(), body: json!({ "did": did.as_str() }) })
        };
        match self {
            Self::TakeDown(did) => about("/admin/repo/takeDown", did),
            Self::ReverseTakedown(did) => about("/admin/repo/reverseTakedown", did),
            Self::Suspend(did) => about("/admin/v1/accounts/suspend", did),
            Self::Restore(did) if before["localStatus"] == LocalStatus::Takendown.as_text() => {
                about("/admin/repo/reverseTakedown", did)
            }
            Self::Restore(did) => about("/admin/v1/accounts/restore", did),
            Self::AddHost(name) => Some(crawl(name)),
            Self::BanDomain(domain) => Some(about_domain("/admin/subs/banDomain", domain)),
            Self::UnbanDomain(domain) => Some(about_domain("/admin/subs/unbanDomain", domain)),
            Self::Steer(name, steer) => steered(name, steer),
            // Each relay's own matter: its lists, its consumers, what its file says.
            _ => None,
        }
    }
}

fn about_domain(path: &str, domain: &str) -> Forward {
    Forward { target: path.to_owned(), body: json!({ "Domain": domain.trim() }) }
}

/// Where a cursor stands, how a host is judged and when it is dialled is each relay's own matter.
fn steered(name: &str, steer: &Steer) -> Option<Forward> {
    let query = |path: &str| {
        let host: String = form_urlencoded::byte_serialize(name.trim().as_bytes()).collect();
        Some(Forward { target: format!("{path}?host={host}"), body: Value::Null })
    };
    let limits = |mut body: Value| {
        body["host"] = json!(name.trim());
        Some(Forward { target: "/admin/pds/changeLimits".to_owned(), body })
    };
    match steer {
        Steer::Ban => query("/admin/pds/block"),
        Steer::Unban => query("/admin/pds/unblock"),
        Steer::Disconnect => query("/admin/subs/killUpstream"),
        Steer::Limits(edit) => match edit.accounts {
            Edit::Set(accounts) => limits(json!({ "repo_limit": accounts })),
            Edit::Keep | Edit::Clear => None,
        },
        Steer::Silence(until_ms) => {
            limits(json!({ "account_limit_alerts_silenced": *until_ms > 0 }))
        }
        Steer::Reconnect | Steer::ResetCursor | Steer::Strictness(_) => None,
    }
}

/// A host is to be read. By the admin API also when it asked by itself: the address of a sibling may be
/// that of its admin API alone.
pub(super) fn crawl(hostname: &str) -> Forward {
    Forward {
        target: "/admin/pds/requestCrawl".to_owned(),
        body: json!({ "hostname": hostname.trim() }),
    }
}

/// The first names, and how many more there are.
pub(super) fn several(first: &[String], count: usize) -> String {
    let first = first.join(", ");
    match count.saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

pub(super) fn subject(text: &str) -> String {
    escape(text.trim(), SUBJECT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-10: what the audit log shows as subject is short and cannot break a line.
    #[test]
    fn subjects_are_short_and_escaped() {
        let hostile = Action::AddHost(format!("a\n\u{1b}[2J{}", "x".repeat(5_000)));
        // A name means the same in capitals, and is kept without.
        assert!(hostile.subject().starts_with("a\\n\\u{1b}[2j"));
        assert!(hostile.subject().chars().count() < 400);
        let batch = Action::AddHosts((0..1_000).map(|n| format!("h{n}.example.com")).collect());
        assert_eq!(batch.subject(), "h0.example.com, h1.example.com, h2.example.com and 997 more");
    }
}
