//! Adding, steering and banning hosts (HOST-*).

use std::sync::Arc;

use relay_protocol::Hostname;
use serde_json::{Value, json};

use super::{Actions, By, Done, Refused};
use crate::{
    domain::{DomainBan, Strictness},
    hosts::{CommandError, Host, HostView, LimitsEdit, Refusal},
    telemetry::escape,
};

/// Most names in one batch.
const BATCH_MAX: usize = 1_000;

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        let name = error.name();
        match error {
            CommandError::UnknownHost(_) => Self::Unknown { name, what: error.to_string() },
            CommandError::BadDomain(why) | CommandError::BadValue(why) => Self::Invalid(why),
            CommandError::Banned(why) => Self::Conflict { name, what: why },
            CommandError::Store(why) => Self::Store(crate::store::StoreError::Unavailable(why)),
        }
    }
}

/// What is changed about one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steer {
    /// It is not read any more.
    Ban,
    /// It is read again, at once.
    Unban,
    /// Its connection ends, and none is made until somebody asks for it.
    Disconnect,
    /// It is connected at once.
    Reconnect,
    /// Its cursor is forgotten.
    ResetCursor,
    /// Limits of its own.
    Limits(LimitsEdit),
    /// How it is validated.
    Strictness(Strictness),
    /// Until when nobody is alerted about it, ms since 1970; 0 = alerts go out.
    Silence(u64),
}

impl Steer {
    /// The name in the audit log and in metrics.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Ban => "host.ban",
            Self::Unban => "host.unban",
            Self::Disconnect => "host.disconnect",
            Self::Reconnect => "host.reconnect",
            Self::ResetCursor => "host.resetCursor",
            Self::Limits(_) => "host.limits",
            Self::Strictness(_) => "host.strictness",
            Self::Silence(_) => "host.silence",
        }
    }
}

pub(super) async fn add(actions: &Actions, name: &str) -> Result<Done, Refused> {
    let host = actions.parts().hosts.admit(name, true).await?;
    let after = json!({ "id": host.id().0, "hostname": host.hostname().to_string() });
    Ok(Done { after: after.clone(), answer: after, ..Done::default() })
}

/// * `hosts` – names, and the accounts that each is to have room for at least
pub(super) async fn add_many(actions: &Actions, hosts: &[(String, u64)]) -> Result<Done, Refused> {
    if hosts.len() > BATCH_MAX {
        let count = hosts.len();
        return Err(Refused::Invalid(format!(
            "at most {BATCH_MAX} hostnames at once, not {count}"
        )));
    }
    let named: Vec<(&str, u64)> = hosts.iter().map(|(name, room)| (name.as_str(), *room)).collect();
    let admitted = actions.parts().hosts.add_many_for(&named).await;
    let added = admitted.iter().filter(|result| result.is_ok()).count();
    let results: Vec<_> =
        named.iter().zip(admitted).map(|((name, _), admitted)| result(name, admitted)).collect();
    let after = json!({ "asked": hosts.len(), "added": added });
    Ok(Done { after, answer: Value::Array(results), ..Done::default() })
}

fn result(name: &str, admitted: Result<Arc<Host>, Refusal>) -> Value {
    match admitted {
        Ok(host) => json!({ "hostname": host.hostname().to_string(), "id": host.id().0 }),
        Err(refusal) => {
            let message = match &refusal {
                Refusal::Store(why) => {
                    tracing::warn!(error = why, "a host could not be added");
                    "the database does not answer".to_owned()
                }
                other => other.to_string(),
            };
            json!({ "hostname": escape(name, 300), "error": refusal.name(), "message": message })
        }
    }
}

pub(super) async fn steer(
    actions: &Actions,
    by: &By,
    name: &str,
    steer: Steer,
) -> Result<Done, Refused> {
    let hosts = &actions.parts().hosts;
    let before = view(actions, name).as_ref().map(state).unwrap_or_default();
    let (actor, why) = (&by.actor, by.reason());
    let view = match steer {
        Steer::Ban => hosts.ban(name, actor, why).await,
        Steer::Unban => hosts.unban(name, actor, why).await,
        Steer::Disconnect => hosts.disconnect(name, actor, why).await,
        Steer::Reconnect => hosts.reconnect(name, actor, why).await,
        Steer::ResetCursor => hosts.reset_cursor_by_name(name, actor, why).await,
        Steer::Limits(edit) => hosts.set_limits(name, edit, actor, why).await,
        Steer::Strictness(strictness) => hosts.set_strictness(name, strictness, actor, why).await,
        Steer::Silence(until_ms) => hosts.silence_alerts(name, until_ms, actor, why).await,
    }?;
    let answer = json!({ "hostname": view.hostname });
    Ok(Done { before, after: state(&view), answer })
}

pub(super) async fn ban_domain(actions: &Actions, by: &By, domain: &str) -> Result<Done, Refused> {
    let hosts = &actions.parts().hosts;
    let before = hosts.domain_bans();
    let ban = hosts.ban_domain(domain, &by.actor, by.reason()).await?;
    let before = before.iter().find(|known| known.domain == ban.domain).map(domain_state);
    Ok(Done {
        before: before.unwrap_or_else(|| json!({ "banned": false })),
        after: domain_state(&ban),
        answer: json!({ "domain": ban.domain }),
    })
}

pub(super) async fn unban_domain(
    actions: &Actions,
    by: &By,
    domain: &str,
) -> Result<Done, Refused> {
    let was = actions.parts().hosts.unban_domain(domain, &by.actor, by.reason()).await?;
    let state = |banned: bool| json!({ "banned": banned });
    Ok(Done { before: state(was), after: state(false), answer: json!({ "was": was }) })
}

/// The view of a host by its name in any form that requestCrawl takes.
fn view(actions: &Actions, name: &str) -> Option<HostView> {
    let hostname = Hostname::parse(name.trim(), true).ok()?;
    actions.parts().hosts.view(hostname.as_str())
}

/// What can be decided about a host, as the audit log keeps it.
fn state(view: &HostView) -> Value {
    json!({
        "status": view.status.as_text(),
        "reason": view.status_reason,
        "cursor": view.seq.map(|seq| seq.0),
        "limits": {
            "accounts": view.own_limits.accounts,
            "perSecond": view.own_limits.per_second,
            "perHour": view.own_limits.per_hour,
            "perDay": view.own_limits.per_day,
        },
        "strictness": view.strictness.as_text(),
        "lenientUntilMs": (view.strictness.until_ms() > 0).then_some(view.strictness.until_ms()),
        "silencedUntilMs": (view.silenced_until_ms > 0).then_some(view.silenced_until_ms),
    })
}

fn domain_state(ban: &DomainBan) -> Value {
    json!({ "banned": true, "actor": ban.actor.to_string(), "reason": ban.note })
}
