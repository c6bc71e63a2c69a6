//! On whose behalf an action is done.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Done;
use crate::domain::Actor;

/// The one name under which operators log in is `admin`; the reference relay has the same.
const ADMIN: &str = "admin";
/// Longest note that is kept, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// Who does it, from where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Address of the client, `None` when it is no request.
    pub client: Option<IpAddr>,
    /// A sibling relay passed it on: it is not passed on again.
    pub relayed: bool,
    /// Why, in the operator's words; kept in the audit log.
    pub note: Option<String>,
}

impl By {
    /// An operator with a password.
    pub fn client(client: IpAddr) -> Self {
        Self { actor: Actor::admin(ADMIN), client: Some(client), relayed: false, note: None }
    }

    /// A sibling relay, for an operator of its own.
    pub fn sibling(client: IpAddr) -> Self {
        let actor = Actor::sibling(&client.to_string());
        Self { actor, relayed: true, ..Self::client(client) }
    }

    /// The policy file, which each relay has for itself.
    pub fn policy() -> Self {
        Self { actor: Actor::Policy, client: None, relayed: true, note: None }
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, note: Option<&str>) -> Self {
        self.note = note
            .map(|note| note.trim().chars().take(NOTE_CHARS_MAX).collect::<String>())
            .filter(|note| !note.is_empty());
        self
    }

    /// The reason, or nothing.
    pub(super) fn reason(&self) -> &str {
        self.note.as_deref().unwrap_or_default()
    }

    /// What was done, with the reason beside the state after it.
    pub(super) fn noted(&self, mut done: Done) -> Done {
        if let Some(note) = &self.note {
            match &mut done.after {
                Value::Object(fields) => {
                    fields.insert("note".to_owned(), json!(note));
                }
                after => *after = json!({ "state": after.take(), "note": note }),
            }
        }
        done
    }
}
