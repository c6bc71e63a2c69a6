//! Why something is not on the network, in sentences. Pure.

use crate::{
    domain::{Account, DropReason, HostStatus, LocalStatus},
    drops::Dropped,
    hosts::HostView,
};

use super::words::{several, span};

/// Drops that do not say that something is wrong: they repeat what was passed before.
const HARMLESS: [DropReason; 3] =
    [DropReason::Stale, DropReason::SyncUnchanged, DropReason::Redundant];

/// A host that sends in bursts is behind for a moment again and again.
const BEHIND_TOLD_MS: u64 = 60_000;

/// One sentence or two, and how bad it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// `ok`, `warn`, `bad` or `dim`, as the style knows them.
    pub(super) tone: &'static str,
    pub(super) words: String,
    /// Numbers and names of this case, for those who know the protocol; may be empty.
    pub(super) detail: String,
}

fn finding(tone: &'static str, words: impl Into<String>) -> Finding {
    Finding { tone, words: words.into(), detail: String::new() }
}

/// What an operator would say of a host.
pub(super) fn of_host(view: &HostView, totals: &[(DropReason, u64)], now_ms: u64) -> Vec<Finding> {
    let mut found = vec![reading(view, now_ms)];
    let worst = totals
        .iter()
        .filter(|(reason, count)| *count > 0 && !HARMLESS.contains(reason))
        .max_by_key(|(_, count)| *count);
    if let Some((reason, count)) = worst {
        let words = format!(
            "{} of it dropped, most of them for one reason: {}",
            several(*count, "event"),
            reason.words()
        );
        found.push(finding("warn", words));
    }
    found.extend(limited(view));
    found
}

/// What its limits do to a host.
fn limited(view: &HostView) -> Vec<Finding> {
    let mut found = Vec::new();
    if view.account_count > view.account_limit {
        found.push(finding("bad", over_limit(view)));
    } else if view.held_accounts > 0 {
        let held = several(view.held_accounts, "account");
        found.push(finding("warn", format!("{held} of it wait for room below its limit.")));
    }
    let usage = view.usage;
    let behind = || span(usage.behind_ms);
    if usage.losing {
        let words = format!(
            "Its limits keep it from being read to its newest event for {}: soon it deletes what was not \
             read. Raise its limits.",
            behind()
        );
        found.push(finding("bad", words));
    } else if usage.behind_ms >= BEHIND_TOLD_MS {
        let words =
            format!("Its limits keep it from being read to its newest event for {}.", behind());
        found.push(finding("warn", words));
    } else if usage.near && view.account_count <= view.account_limit {
        found.push(finding("dim", "It uses more than four fifths of one of its limits."));
    }
    found
}

fn over_limit(view: &HostView) -> String {
    format!(
        "It has {} and may have {}: events of those above the limit are not passed. Raise the limit \
         if they are real.",
        several(view.account_count, "account"),
        view.account_limit
    )
}

/// Whether the host is read now, and if not, why.
fn reading(view: &HostView, now_ms: u64) -> Finding {
    let name = &view.hostname;
    let error = view.last_error.as_deref().unwrap_or("no error was noted");
    match view.status {
        HostStatus::Banned if view.domain_ban.is_some() => finding(
            "bad",
            format!(
                "{name} is not read because its domain {} is banned on this relay. End that ban to \
                 change it.",
                view.domain_ban.as_deref().unwrap_or_default()
            ),
        ),
        HostStatus::Banned => finding(
            "bad",
            format!(
                "{name} is banned on this relay: nothing of it is read. Unban it to change that."
            ),
        ),
        HostStatus::Throttled => finding(
            "warn",
            format!(
                "{name} is throttled: it sends more than its limits allow, and is read with pauses."
            ),
        ),
        _ if view.connected && view.unsettled > 1_000 => finding(
            "warn",
            format!(
                "{name} is read, but {} of it still wait to be judged: posts appear late.",
                several(u64::try_from(view.unsettled).unwrap_or(u64::MAX), "event")
            ),
        ),
        _ if view.connected => finding("ok", format!("{name} is read: {}.", view.doing)),
        HostStatus::Idle => finding(
            "dim",
            format!(
                "{name} is not read because nothing happened there; it is read again when it asks."
            ),
        ),
        HostStatus::Offline => finding(
            "bad",
            format!(
                "{name} cannot be reached{}: {error}. It is tried for ever; {}.",
                since(view, now_ms),
                view.doing
            ),
        ),
        HostStatus::Active => finding(
            "warn",
            format!("{name} is not connected at the moment ({}); last error: {error}.", view.doing),
        ),
    }
}

fn since(view: &HostView, now_ms: u64) -> String {
    view.last_error_ms.map_or_else(String::new, |at_ms| {
        format!(" (last tried {} ago)", span(now_ms.saturating_sub(at_ms)))
    })
}

/// What the relay knows of an account, and of the host that its DID document names.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The row, if any event of it was ever accepted.
    pub(super) account: Option<&'a Account>,
    /// The host that is responsible for it, if this relay knows that one.
    pub(super) host: Option<&'a HostView>,
    /// Name of that host as the DID document has it; an error says why there is none.
    pub(super) named: Result<String, String>,
    /// What was decided here, also about an account without a row.
    pub(super) local: LocalStatus,
    /// Its last dropped events, newest first.
    pub(super) drops: &'a [Dropped],
}

/// The answer to "why is my post not on the network?", what matters most first.
pub(super) fn of_account(known: &Known<'_>, now_ms: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(decided(known.local));
    found.extend(upstream(known.account));
    found.extend(place(known, now_ms));
    found.extend(dropped(known, now_ms));
    if found.iter().all(|one| one.tone == "ok") {
        found.push(finding(
            "ok",
            "Nothing stands in the way here. If a post is missing, its PDS has not sent it yet: \
             compare the rev below with the one that the PDS gives.",
        ));
    }
    found.sort_by_key(|one| match one.tone {
        "bad" => 0,
        "warn" => 1,
        _ => 2,
    });
    found
}

fn decided(local: LocalStatus) -> Option<Finding> {
    match local {
        LocalStatus::None => None,
        LocalStatus::Takendown => Some(finding(
            "bad",
            "It was taken down on this relay: none of its events are passed. Restore it to change that.",
        )),
        LocalStatus::Suspended => {
            Some(finding("bad", "It is suspended on this relay: none of its events are passed."))
        }
        LocalStatus::Throttled => Some(finding(
            "warn",
            "It is throttled here, because its host has more accounts than its limit allows, or it \
             sent too much.",
        )),
    }
}

fn upstream(account: Option<&Account>) -> Option<Finding> {
    let account = account?;
    if account.upstream.is_active() {
        return None;
    }
    let words = format!(
        "Its host says that it is {}: events pass again when the host says that it is active.",
        account.upstream.as_text()
    );
    Some(finding("bad", words))
}

/// Whether its host is the right one, known, and read.
fn place(known: &Known<'_>, now_ms: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    match (&known.named, known.host) {
        (Err(why), _) => found.push(finding(
            "bad",
            format!("Its identity could not be found, so nothing of it can be verified: {why}."),
        )),
        (Ok(name), None) => found.push(finding(
            "bad",
            format!(
                "Its DID document names {name}, which this relay does not read. Add that host, or let \
                 it ask to be crawled."
            ),
        )),
        (Ok(_), Some(host)) => found.push(reading(host, now_ms)),
    }
    if known.account.is_none() && known.drops.is_empty() {
        found.push(finding(
            "warn",
            "No event of it has come since this relay knows its host: it has not posted since, or \
             its PDS does not send.",
        ));
    }
    found
}

fn dropped(known: &Known<'_>, now_ms: u64) -> Option<Finding> {
    let last = known.drops.iter().find(|one| !HARMLESS.contains(&one.reason))?;
    let ago = span(now_ms.saturating_sub(last.at_ms));
    let words = format!("Its last dropped event came {ago} ago. {}", last.reason.words());
    Some(Finding { detail: last.detail.clone(), ..finding("bad", words) })
}
