//! Decides about `#identity` (IDE-1…7) and `#account` (ACC-1…5).

use std::hash::{DefaultHasher, Hash, Hasher};

use relay_protocol::{Account as AccountMessage, Edit, Handle, Identity, is_datetime};

use crate::{
    accounts::{levels::AccountTurn, limits::Doubt},
    domain::{DropReason, UpstreamStatus, effective},
};

use super::{Facts, Fresh, Sender, authority, in_turn, unless_its_host_tells};
use crate::ingest::verdict::{Ask, Pass, Stop, Verdict};

/// The placeholder that may always be passed (SYN-5, IDE-3).
const NO_HANDLE: &str = "handle.invalid";

/// Judges one `#identity`: a hint, never trusted, followed by a lookup (IDE-1, SEC-9).
///
/// Not gated by status or rev (IDE-4). The handle passes only from the account's host and only if
/// the DID document says the same (IDE-3).
pub(super) fn identity<'m>(facts: &Facts<'_>, message: &Identity<'m>) -> Verdict<'m> {
    let account = facts.account.ok_or(Stop::Ask(Ask::FirstSight))?;
    let now_ms = facts.steady_ms;
    let from_its_host = account.host == facts.host || facts.sender == Sender::Relay;
    if facts.asked.identity.is_none() {
        let may_ask = if from_its_host {
            facts.recent.may_follow_announcement(now_ms)
        } else {
            facts.host_may_ask && facts.recent.may_refresh(Doubt::Host, now_ms)
        };
        if may_ask {
            return Err(Stop::Ask(Ask::Announced));
        }
    }
    let (changed, handle) = match facts.asked.identity {
        Some(Fresh::Document { changed, handle }) => (changed, handle),
        Some(Fresh::Nothing(_)) | None => (false, None),
    };
    if !from_its_host && !changed {
        return Err(Stop::drop(
            DropReason::Redundant,
            format!(
                "sent by {}, which is not the account's host, and nothing is known to have changed; {}",
                (facts.name_of)(facts.host),
                facts.after_asking()
            ),
        ));
    }
    if !facts.recent.may_pass_identity(now_ms) {
        return Err(Stop::drop(DropReason::RateLimited, "more than 10 #identity an hour"));
    }
    let passed = message.handle.filter(|said| {
        *said == NO_HANDLE
            || (from_its_host
                && handle.is_some_and(|true_one| {
                    Handle::parse(said, facts.dev).is_ok_and(|said| said.as_str() == true_one)
                }))
    });
    // Where the document could not be asked, the handle is left out; what a host says is the same or
    // another all the same, and with the handle it may have been passed a moment ago.
    let says = hash(&(facts.speaker(), message.handle, passed.is_some()));
    let repeats = [says, hash(&(facts.speaker(), message.handle, true))]
        .into_iter()
        .any(|says| facts.recent.repeats_identity(says, now_ms));
    if !changed && repeats {
        return Err(Stop::drop(
            DropReason::Redundant,
            "the same #identity was passed less than 60 s ago",
        ));
    }
    // Removed also when there seems to be none: it may be null, which 5.2 does not permit.
    let edits = if passed.is_some() { Vec::new() } else { vec![Edit::Remove("handle")] };
    // A handle that the document has too shows that the document is not an old one.
    let confirmed = changed || passed.is_some_and(|handle| handle != NO_HANDLE);
    Ok(Pass {
        edits,
        bad_time: !is_datetime(message.time),
        says,
        unconfirmed: !confirmed,
        ..Pass::default()
    })
}

/// Judges one `#account`: only the account's host is heard (ACC-1), and consumers are told the
/// effective status, not the host's word (ACC-2).
pub(super) fn account<'m>(facts: &Facts<'_>, message: &AccountMessage<'m>) -> Verdict<'m> {
    let account = authority(facts)?;
    unless_its_host_tells(facts)?;
    let upstream = UpstreamStatus::from_wire(message.active, message.status);
    let told = effective(&upstream, account.local);
    let says = hash(&(facts.speaker(), told.active, told.status, upstream.as_text()));
    if facts.recent.repeats_account(says, facts.steady_ms) {
        return Err(Stop::drop(
            DropReason::Redundant,
            "the same #account was passed less than 60 s ago",
        ));
    }
    // A flood is slowed down. More is not done: a status that is lost may never come again.
    if matches!(facts.turn, AccountTurn::After(_)) {
        in_turn(facts)?;
    }
    let mut edits = Vec::new();
    if told.active != message.active {
        edits.push(Edit::Bool("active", told.active));
    }
    if told.status.is_none() || told.status != message.status {
        // A status that differs from the host's is ours, and so a name that we know.
        edits.push(match told.status {
            // Also when there seems to be none: it may be null, which 5.2 does not permit.
            None => Edit::Remove("status"),
            Some(_) if upstream == UpstreamStatus::Deleted => Edit::Text("status", "deleted"),
            Some(_) => Edit::Text("status", account.local.as_text()),
        });
    }
    Ok(Pass {
        edits,
        bad_time: !is_datetime(message.time),
        upstream: Some(upstream),
        says,
        ..Pass::default()
    })
}

/// Recognises repetitions; a collision would only drop one announcement as a repetition.
fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
