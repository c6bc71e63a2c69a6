//! What a person wants to see of a firehose.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use relay_protocol::{Did, Nsid};

use super::Shown;

/// Types of events, as `--type` takes them.
const KINDS: [&str; 4] = ["commit", "sync", "identity", "account"];

/// Lets events pass that fit everything that was asked for; without questions, all.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Whole names, or beginnings that end with a dot.
    collections: Vec<String>,
    dids: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Filter {
    /// Reads what was typed: collections such as `app.bsky.feed.post` or `app.bsky.*`, DIDs, and types
    /// of events.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn parse(collections: &[String], dids: &[String], kinds: &[String]) -> Result<Self> {
        let mut filter = Self::default();
        for text in collections {
            let is_name = Nsid::parse(text).is_ok();
            match text.strip_suffix('*') {
                Some(start) if start.ends_with('.') => filter.collections.push(start.to_owned()),
                None if is_name => filter.collections.push(text.clone()),
                _ => bail!(
                    "`{text}` is no collection; write `app.bsky.feed.post`, or `app.bsky.*` for many"
                ),
            }
        }
        for text in dids {
            match Did::parse(text) {
                Ok(did) => filter.dids.insert(did.as_str().to_owned()),
                Err(invalid) => bail!("`{text}` is no DID: {invalid}"),
            };
        }
        for text in kinds {
            let kind = text.trim_start_matches('#');
            if !KINDS.contains(&kind) {
                bail!("`{text}` is no type of event; there are {}", KINDS.join(", "));
            }
            filter.kinds.insert(kind.to_owned());
        }
        Ok(filter)
    }

    /// Whether the event is to be shown. Of a commit, operations in other collections are taken away;
    /// one that has no others is not shown.
    pub fn lets_pass(&self, shown: &mut Shown) -> bool {
        if !self.kinds.is_empty() && !self.kinds.contains(shown.kind) {
            return false;
        }
        if !self.dids.is_empty() && !self.dids.contains(&shown.did) {
            return false;
        }
        if self.collections.is_empty() {
            return true;
        }
        let wanted = |path: &str| {
            let collection = path.split('/').next().unwrap_or_default();
            self.collections.iter().any(|name| match name.strip_suffix('.') {
                Some(_) => collection.starts_with(name.as_str()),
                None => collection == name,
            })
        };
        shown.ops.retain(|op| wanted(&op.path));
        !shown.ops.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::show::ShownOp;

    fn commit(paths: &[&str]) -> Shown {
        let op = |path: &&str| ShownOp { action: "create", path: (*path).to_owned(), cid: None };
        Shown {
            kind: "commit",
            did: "did:web:a.example".to_owned(),
            ops: paths.iter().map(op).collect(),
            ..Shown::default()
        }
    }

    fn filter(collections: &[&str]) -> Filter {
        let texts: Vec<_> = collections.iter().map(|&text| text.to_owned()).collect();
        Filter::parse(&texts, &[], &[]).unwrap()
    }

    /// Who looks for posts does not see likes, not even in the same commit.
    #[test]
    fn only_operations_of_the_collection_are_left() {
        let mut both = commit(&["app.bsky.feed.post/a", "app.bsky.feed.like/b"]);
        assert!(filter(&["app.bsky.feed.post"]).lets_pass(&mut both));
        assert_eq!(both.ops.len(), 1);
        assert!(
            !filter(&["app.bsky.feed.pos.*"]).lets_pass(&mut commit(&["app.bsky.feed.post/a"]))
        );
        assert!(filter(&["app.bsky.*"]).lets_pass(&mut commit(&["app.bsky.feed.post/a"])));
        assert!(!filter(&["app.bsky.*"]).lets_pass(&mut commit(&["app.bskyx.post/a"])));
        assert!(filter(&[]).lets_pass(&mut commit(&[])));
        assert!(!filter(&["app.bsky.*"]).lets_pass(&mut commit(&[])));
    }

    /// A typing mistake would otherwise look like a silent network.
    #[test]
    fn what_cannot_be_looked_for_is_refused() {
        let wrong = |collections: &[&str], dids: &[&str], kinds: &[&str]| {
            let own =
                |texts: &[&str]| -> Vec<_> { texts.iter().map(|&text| text.to_owned()).collect() };
            Filter::parse(&own(collections), &own(dids), &own(kinds)).is_err()
        };
        assert!(wrong(&["posts"], &[], &[]) && wrong(&["app.bsky*"], &[], &[]));
        assert!(wrong(&[], &["alice.test"], &[]) && wrong(&[], &[], &["commits"]));
        assert!(!wrong(&["app.bsky.feed.post"], &["did:web:a.example"], &["#commit", "account"]));
    }
}
