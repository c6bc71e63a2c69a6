//! Lines for `relay dev`: what came, what was checked, why it was dropped.
//!
//! Frames are decoded once more for it: only authors of PDS software pay for their lines.

use relay_protocol::{DataCid, EMPTY_TREE, Message, OpAction, Rev};

use super::{Room, passing::Passed};
use crate::{
    domain::{DropReason, EventKind, RepoState},
    drops::Dropped,
    hosts::Host,
    ingest::{Arrival, VerdictLine, verdict::Continuity},
    net::printable,
};

/// Operations that are named; the others are counted.
const OPS_SHOWN: usize = 3;
/// Kept part of a text from outside.
const TEXT_CHARS_MAX: usize = 100;
/// Kept part of a detail: a sentence with a few CIDs and a path.
const DETAIL_CHARS_MAX: usize = 1_000;

impl Room {
    /// A line for `relay dev`; none waits for it.
    pub(super) fn tell(&self, arrival: &Arrival, dropped: Option<DropReason>, detail: String) {
        let (rev, came) = came(&arrival.frame);
        self.send(VerdictLine {
            host: arrival.host.hostname().to_string(),
            host_seq: Some(arrival.host_seq),
            kind: Some(arrival.kind),
            did: Some(arrival.did.to_string()),
            rev: rev.map(|rev| rev.to_string()),
            came,
            dropped,
            detail,
        });
    }

    /// The same for a frame that no shard ever saw.
    pub(in crate::ingest) fn tell_refused(&self, host: &Host, dropped: &Dropped) {
        self.send(VerdictLine {
            host: host.hostname().to_string(),
            host_seq: dropped.host_seq,
            kind: dropped.kind,
            did: dropped.did.clone(),
            rev: None,
            came: String::new(),
            dropped: Some(dropped.reason),
            detail: dropped.detail.clone(),
        });
    }

    fn send(&self, mut line: VerdictLine) {
        let Some(verdicts) = &self.verdicts else { return };
        line.detail = printable(&line.detail, DETAIL_CHARS_MAX);
        if verdicts.try_send(line).is_err() {
            tracing::warn!("a verdict line was lost: nobody reads them fast enough");
        }
    }
}

/// Rev of a message and what it says, in words; nothing of one that cannot be decoded.
fn came(frame: &[u8]) -> (Option<Rev>, String) {
    match Message::decode(frame) {
        Ok(Message::Commit(commit)) => {
            let ops = commit.ops.iter().take(OPS_SHOWN);
            let mut words: Vec<String> =
                ops.map(|op| format!("{} {}", verb(op.action), op.path)).collect();
            match commit.ops.len() {
                0 => words.push("no operations".to_owned()),
                all if all > OPS_SHOWN => words.push(format!("{} more", all - OPS_SHOWN)),
                _ => {}
            }
            (Some(commit.rev), words.join(", "))
        }
        Ok(Message::Sync(sync)) => (Some(sync.rev), String::new()),
        Ok(Message::Identity(identity)) => {
            let handle = identity.handle.map(|handle| printable(handle, TEXT_CHARS_MAX));
            (None, handle.map_or("no handle".to_owned(), |handle| format!("handle {handle}")))
        }
        Ok(Message::Account(account)) => {
            let active = if account.active { "active" } else { "not active" };
            let status = account.status.map(|status| printable(status, TEXT_CHARS_MAX));
            (None, status.map_or(active.to_owned(), |status| format!("{active}, {status}")))
        }
        Ok(Message::Info(..) | Message::Error(..) | Message::Ignored) | Err(_) => {
            (None, String::new())
        }
    }
}

const fn verb(action: OpAction) -> &'static str {
    match action {
        OpAction::Create => "create",
        OpAction::Update => "update",
        OpAction::Delete => "delete",
    }
}

/// What was checked of an event that passes.
///
/// * `before` – state of the repo before this event
pub(super) fn praise(arrival: &Arrival, passed: &Passed, before: Option<RepoState>) -> String {
    match arrival.kind {
        EventKind::Commit => {
            let follows = follows(&arrival.frame, passed.continuity, before);
            match &passed.spared {
                None => format!(
                    "checked host, status, rev, commit object, signature, records, operations; {follows}"
                ),
                Some((reason, detail)) => format!(
                    "checked host, status, rev, commit object, signature, records; strict validation would drop it as {}: {detail}; {follows}",
                    reason.label(),
                ),
            }
        }
        EventKind::Sync => "checked host, status, rev, commit object, signature".to_owned(),
        EventKind::Identity if passed.unconfirmed => {
            "passed as a hint: the DID document does not show a change yet".to_owned()
        }
        EventKind::Identity => "agrees with the DID document".to_owned(),
        EventKind::Account => "sent by the account's host".to_owned(),
    }
}

/// How a commit follows the one before, with what differs (VAL-13, VAL-18).
fn follows(frame: &[u8], continuity: Option<Continuity>, before: Option<RepoState>) -> String {
    let (Some(state), Ok(Message::Commit(commit))) = (before, Message::decode(frame)) else {
        return "the first commit that this relay sees of the account".to_owned();
    };
    match continuity {
        None | Some(Continuity::First) => {
            "the first commit that this relay sees of the account".to_owned()
        }
        Some(Continuity::Continuous) => format!("follows rev {}", state.rev),
        Some(Continuity::SinceMismatch) => format!(
            "follows by prevData, but since is {} and the last accepted rev is {}",
            commit.since.map_or_else(|| "null".to_owned(), |since| since.to_string()),
            state.rev
        ),
        Some(Continuity::Discontinuous) => {
            let prev_data: DataCid = commit.prev_data.unwrap_or(EMPTY_TREE);
            format!(
                "does not follow: prevData is {prev_data}, the data of the last accepted commit is {}; passed, because it is proved in itself, but consumers will fetch the repo again",
                state.data
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use relay_protocol::account_frame;

    use super::*;

    /// SEC-10: what a host says cannot break a line; what cannot be decoded gives no words.
    #[test]
    fn what_came_is_said_in_words_and_escaped() {
        let frame = account_frame("did:plc:abc", "2026-01-01T00:00:00Z", false, Some("a\nb"));
        let (rev, words) = came(&frame.with_seq(1));
        assert_eq!((rev, words.as_str()), (None, "not active, a\\nb"));
        assert_eq!(came(b"\xa0"), (None, String::new()));
    }
}
