//! The closed set of what operators can do. Pure.

use relay_protocol::Did;

use crate::telemetry::escape;

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
            Self::AddHost(name) => subject(name),
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
            Self::DisconnectConsumer(id) => id.to_string(),
            Self::TakeCrawls(_) => "requestCrawl".to_owned(),
        }
    }
}

/// The first names, and how many more there are.
fn several(first: &[String], count: usize) -> String {
    let first = first.join(", ");
    match count.saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn subject(text: &str) -> String {
    escape(text.trim(), SUBJECT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-10: what the audit log shows as subject is short and cannot break a line.
    #[test]
    fn subjects_are_short_and_escaped() {
        let hostile = Action::AddHost(format!("a\n\u{1b}[2J{}", "x".repeat(5_000)));
        assert!(hostile.subject().starts_with("a\\n\\u{1b}[2J"));
        assert!(hostile.subject().chars().count() < 400);
        let batch = Action::AddHosts((0..1_000).map(|n| format!("h{n}.example.com")).collect());
        assert_eq!(batch.subject(), "h0.example.com, h1.example.com, h2.example.com and 997 more");
    }
}
