//! On whose behalf an action is done.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Done;

/// The one name under which operators log in is `admin`; the reference relay has the same.
const ADMIN: &str = "admin:admin";
/// Longest note that is kept, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// Who does it, from where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// `admin:NAME`, `sibling:ADDRESS`, `policy`.
    pub actor: String,
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
        Self { actor: ADMIN.to_owned(), client: Some(client), relayed: false, note: None }
    }

    /// A sibling relay, for an operator of its own.
    pub fn sibling(client: IpAddr) -> Self {
        Self { actor: format!("sibling:{client}"), relayed: true, ..Self::client(client) }
    }

    /// The policy file, which each relay has for itself.
    pub fn policy() -> Self {
        Self { actor: "policy".to_owned(), client: None, relayed: true, note: None }
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, note: Option<&str>) -> Self {
        self.note = note
            .map(|note| note.trim().chars().take(NOTE_CHARS_MAX).collect::<String>())
            .filter(|note| !note.is_empty());
        self
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
