//! What people were told about limits of accounts, so that several relays do not tell them twice.

use std::collections::BTreeMap;

use relay_protocol::Hostname;
use serde_json::{Value, json};

use super::{Actions, Done, Refused};
use crate::store::StoreError;

/// Prefix of the rules in the store that hold it, one per host.
const PREFIX: &str = "alert.";

/// The last thing that people were told about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// It nears its limit; otherwise it no longer does.
    pub warned: bool,
    /// When, ms since 1970.
    pub sent_ms: u64,
}

impl Actions {
    /// What people were told, by host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn alerts(&self) -> Result<BTreeMap<String, Alert>, StoreError> {
        let rules = self.parts().store.rules(PREFIX).await?;
        let read = |(name, value): (String, String)| {
            Some((name.strip_prefix(PREFIX)?.to_owned(), from_text(&value)?))
        };
        Ok(rules.into_iter().filter_map(read).collect())
    }
}

/// Of two the later counts, and one about a host that is silenced does not.
pub(super) async fn note(actions: &Actions, name: &str, alert: Alert) -> Result<Done, Refused> {
    let unknown = || Refused::Unknown {
        name: "HostNotFound",
        what: "this relay does not know the host".to_owned(),
    };
    let hostname = Hostname::parse(name, true).map_err(|_invalid| unknown())?;
    let parts = actions.parts();
    let host = parts.hosts.view(hostname.as_str()).ok_or_else(unknown)?;
    let rule = format!("{PREFIX}{}", hostname.as_str());
    let before = parts.store.rule(&rule).await?.as_deref().and_then(from_text);
    let silenced = host.silenced_until_ms > parts.clock.now_ms();
    let is_later = before.is_none_or(|before| before.sent_ms < alert.sent_ms);
    if !silenced && is_later {
        parts.store.set_rule(&rule, &to_text(alert)).await?;
    }
    let after = if !silenced && is_later { Some(alert) } else { before };
    Ok(Done { before: state(before), after: state(after), ..Done::default() })
}

fn to_text(alert: Alert) -> String {
    format!("{} {}", if alert.warned { "warning" } else { "ok" }, alert.sent_ms)
}

fn from_text(text: &str) -> Option<Alert> {
    let (kind, sent) = text.split_once(' ')?;
    Some(Alert { warned: kind == "warning", sent_ms: sent.parse().ok()? })
}

fn state(alert: Option<Alert>) -> Value {
    alert.map_or(Value::Null, |alert| {
        json!({ "alert": if alert.warned { "warning" } else { "ok" }, "sentMs": alert.sent_ms })
    })
}
