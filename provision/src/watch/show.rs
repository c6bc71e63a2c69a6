//! An event as a line: for a person, or as JSON for a program.

use relay_protocol::{Message, Op, OpAction};
use serde::Serialize;

use super::Checked;
use crate::told::harmless;

/// Characters of one text of an event that a person is shown.
const TEXT_CHARS_MAX: usize = 120;
/// Operations of a commit that a person is shown.
const OPS_SHOWN_MAX: usize = 8;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text,
    /// One JSON object.
    Json,
}

/// One operation of a commit.
#[derive(Debug, Clone, Serialize)]
pub struct ShownOp {
    /// `create`, `update` or `delete`.
    pub action: &'static str,
    /// `collection/key`.
    pub path: String,
    /// The new record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
}

/// An event as it is shown; fields that its type does not have are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Shown {
    /// Seq of the stream.
    pub seq: u64,
    /// `commit`, `sync`, `identity` or `account`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The account.
    pub did: String,
    /// When the host sent it, as it says.
    pub time: String,
    /// Revision of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// Revision that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What a commit changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<ShownOp>,
    /// Handle of an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Whether an account is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Bytes of the frame.
    pub bytes: usize,
    /// What checking it found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Checked>,
}

impl Shown {
    /// The event in a message; `None` for what is none.
    #[must_use]
    pub fn of(message: &Message<'_>, bytes: usize) -> Option<Self> {
        let blank = Self { bytes, ..Self::default() };
        Some(match message {
            Message::Commit(commit) => Self {
                seq: commit.host_seq,
                kind: "commit",
                did: commit.repo.to_owned(),
                time: commit.time.to_owned(),
                rev: Some(commit.rev.to_string()),
                since: commit.since.map(|rev| rev.to_string()),
                ops: commit.ops.iter().map(shown_op).collect(),
                ..blank
            },
            Message::Sync(sync) => Self {
                seq: sync.host_seq,
                kind: "sync",
                did: sync.did.to_owned(),
                time: sync.time.to_owned(),
                rev: Some(sync.rev.to_string()),
                ..blank
            },
            Message::Identity(identity) => Self {
                seq: identity.host_seq,
                kind: "identity",
                did: identity.did.to_owned(),
                time: identity.time.to_owned(),
                handle: identity.handle.map(str::to_owned),
                ..blank
            },
            Message::Account(account) => Self {
                seq: account.host_seq,
                kind: "account",
                did: account.did.to_owned(),
                time: account.time.to_owned(),
                active: Some(account.active),
                status: account.status.map(str::to_owned),
                ..blank
            },
            Message::Info(..) | Message::Error(..) | Message::Ignored => return None,
        })
    }

    /// The line.
    #[must_use]
    pub fn line(&self, form: Form) -> String {
        match form {
            // Only strings, numbers and booleans: there is nothing that JSON could not hold.
            Form::Json => serde_json::to_string(self).unwrap_or_default(),
            Form::Text => self.text(),
        }
    }

    fn text(&self) -> String {
        let clean = |text: &str| harmless(text, TEXT_CHARS_MAX);
        let mut words = vec![
            self.seq.to_string(),
            clean(self.time.split('.').next().unwrap_or_default()),
            format!("{:<8}", self.kind),
            clean(&self.did),
        ];
        words.extend(self.rev.clone());
        words.extend(self.handle.as_deref().map(clean));
        words.extend(
            self.active.map(|active| if active { "active" } else { "inactive" }.to_owned()),
        );
        words.extend(self.status.as_deref().map(clean));
        for op in self.ops.iter().take(OPS_SHOWN_MAX) {
            let sign = match op.action {
                "create" => '+',
                "update" => '~',
                _ => '-',
            };
            words.push(format!("{sign}{}", clean(&op.path)));
        }
        if self.ops.len() > OPS_SHOWN_MAX {
            words.push(format!("and {} more", self.ops.len() - OPS_SHOWN_MAX));
        }
        match &self.verified {
            Some(Checked::Right) => words.push("verified".to_owned()),
            Some(Checked::Wrong(why)) => words.push(format!("WRONG: {}", clean(why))),
            Some(Checked::Unknown(why)) => words.push(format!("unknown: {}", clean(why))),
            None => {}
        }
        words.join(" ")
    }
}

fn shown_op(op: &Op<'_>) -> ShownOp {
    let action = match op.action {
        OpAction::Create => "create",
        OpAction::Update => "update",
        OpAction::Delete => "delete",
    };
    ShownOp { action, path: op.path.to_owned(), cid: op.cid.map(|cid| cid.to_string()) }
}
