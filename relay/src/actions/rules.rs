//! Rules for the whole relay that operators change while it runs, and consumers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;

use super::{Actions, Done, Refused};
use crate::store::{Store, StoreError};

/// Name of the rule in the store.
const TAKES_CRAWLS: &str = "request_crawl";

/// Rules in effect; cheap to clone.
#[derive(Debug, Clone)]
pub struct Rules {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    takes_crawls: AtomicBool,
    /// What the setting says.
    setting_takes_crawls: bool,
}

impl Rules {
    /// What operators set before the start, unless the setting was changed since then: the last word
    /// counts.
    ///
    /// * `takes_crawls` – what the setting says
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(store: &Store, takes_crawls: bool) -> Result<Self, StoreError> {
        let kept = store.rule(TAKES_CRAWLS).await?;
        let kept = kept.as_deref().and_then(|text| text.split_once(' '));
        let in_effect = match kept {
            Some((kept, setting)) if setting == takes_crawls.to_string() => kept == "true",
            _ => takes_crawls,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                takes_crawls: AtomicBool::new(in_effect),
                setting_takes_crawls: takes_crawls,
            }),
        })
    }

    /// Whether requestCrawl from outside is taken.
    pub fn takes_crawls(&self) -> bool {
        self.inner.takes_crawls.load(Ordering::Relaxed)
    }
}

pub(super) async fn take_crawls(actions: &Actions, takes: bool) -> Result<Done, Refused> {
    let rules = &actions.parts().rules.inner;
    let before = rules.takes_crawls.load(Ordering::Relaxed);
    let kept = format!("{takes} {}", rules.setting_takes_crawls);
    actions.parts().store.set_rule(TAKES_CRAWLS, &kept).await?;
    rules.takes_crawls.store(takes, Ordering::Relaxed);
    let state = |enabled: bool| json!({ "enabled": enabled });
    Ok(Done { before: state(before), after: state(takes), ..Done::default() })
}

pub(super) fn trust(actions: &Actions, domains: &[String]) -> Result<Done, Refused> {
    let hosts = &actions.parts().hosts;
    let before = hosts.trusted_domains();
    hosts.set_trusted_domains(domains)?;
    Ok(Done { before: json!(before), after: json!(hosts.trusted_domains()), ..Done::default() })
}

pub(super) async fn allow(
    actions: &Actions,
    allowed: Option<Vec<String>>,
) -> Result<Done, Refused> {
    let hosts = &actions.parts().hosts;
    let before = hosts.allowed();
    hosts.set_allowed(allowed).await?;
    Ok(Done { before: json!(before), after: json!(hosts.allowed()), ..Done::default() })
}

pub(super) fn set_siblings(actions: &Actions, names: &[String]) -> Done {
    let siblings = actions.siblings();
    let before = siblings.names();
    siblings.set(names);
    Done { before: json!(before), after: json!(siblings.names()), ..Done::default() }
}

pub(super) async fn new_hosts_per_day(actions: &Actions, limit: u64) -> Result<Done, Refused> {
    let hosts = &actions.parts().hosts;
    let (before, _) = hosts.new_hosts_per_day();
    hosts.set_new_hosts_per_day(limit).await?;
    let state = |limit: u64| json!({ "limit": limit });
    Ok(Done { before: state(before), after: state(limit), ..Done::default() })
}

pub(super) fn disconnect(actions: &Actions, id: u64) -> Result<Done, Refused> {
    let unknown = || Refused::Unknown {
        name: "ConsumerNotFound",
        what: format!("no consumer has the id {id}; it may have gone by itself"),
    };
    let consumer = actions.parts().firehose.disconnect(id).ok_or_else(unknown)?;
    let before = json!({
        "address": consumer.address.to_string(),
        "userAgent": consumer.user_agent,
        "seq": consumer.seq,
    });
    Ok(Done { before, after: json!({ "connected": false }), ..Done::default() })
}
