//! The judging itself, of numbers that were collected. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Promise;
use crate::{
    compare::report::Report,
    told::harmless,
    words::{count, counted},
};

/// Hosts that are told by name for each reason.
const EXAMPLES_MAX: usize = 5;
/// Characters of a reason that a host gave; longer ones differ only in what is no reason.
const REASON_CHARS_MAX: usize = 60;
/// Statuses under which another relay hears something of a host.
const HEARD: [&str; 2] = ["active", "idle"];

/// How a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Kept,
    /// It is not; the reasons are told.
    Broken,
    /// Nothing came, so nothing can be said.
    Unknown,
}

impl Verdict {
    fn of(kept: Option<bool>) -> Self {
        kept.map_or(Self::Unknown, |kept| if kept { Self::Kept } else { Self::Broken })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "not kept",
            Self::Unknown => "not known",
        }
    }
}

/// Why hosts, or events, are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How many.
    pub count: u64,
    /// The same in more words, or some of them by name.
    pub examples: Vec<String>,
}

/// Hosts of both relays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hosts {
    /// How the promise is kept.
    pub verdict: Verdict,
    /// Hosts that are connected.
    pub connected: u64,
    /// Hosts that the relay knows.
    pub known: u64,
    /// How many have to be connected at least.
    pub needed: u64,
    /// Hosts of which the other one hears; `None` when it does not say.
    pub theirs: Option<u64>,
    /// Those of them that are not connected here, by the reason why.
    pub missing: BTreeMap<String, Reason>,
    /// Why the other one does not say which hosts it has.
    pub trouble: Option<String>,
}

impl Hosts {
    /// * `ours` – what the relay says of each host
    /// * `theirs` – names and statuses of the other one; nothing when it does not say
    pub(super) fn of(
        ours: &[Value],
        theirs: &BTreeMap<String, String>,
        trouble: Option<String>,
        promise: &Promise,
    ) -> Self {
        let text = |host: &Value, name: &str| host[name].as_str().unwrap_or_default().to_owned();
        let own: BTreeMap<String, &Value> =
            ours.iter().map(|host| (text(host, "hostname"), host)).collect();
        let connected: BTreeSet<&String> = own
            .iter()
            .filter(|(_, host)| host["connected"] == true)
            .map(|(name, _)| name)
            .collect();
        let mut missing: BTreeMap<String, Reason> = BTreeMap::new();
        let heard: Vec<&String> = theirs
            .iter()
            .filter(|(_, status)| HEARD.contains(&status.as_str()))
            .map(|(name, _)| name)
            .collect();
        for name in heard.iter().filter(|name| !connected.contains(*name)) {
            let reason = missing.entry(why(own.get(*name).copied())).or_default();
            reason.count += 1;
            if reason.examples.len() < EXAMPLES_MAX {
                reason.examples.push(harmless(name, 100));
            }
        }
        let (needed, number) = (needed(promise), as_count(connected.len()));
        Self {
            verdict: Verdict::of(Some(number >= needed)),
            connected: number,
            known: as_count(own.len()),
            needed,
            theirs: trouble.is_none().then(|| as_count(heard.len())),
            missing,
            trouble: trouble.map(|why| harmless(&why, 300)),
        }
    }
}

/// Why a host is not connected, in words that many hosts share.
fn why(host: Option<&Value>) -> String {
    let Some(host) = host else { return "not known here".to_owned() };
    let text = |name: &str| host[name].as_str().unwrap_or_default();
    match (text("status"), text("lastError"), text("doing")) {
        (status @ ("banned" | "throttled"), ..) => status.to_owned(),
        (_, error, _) if !error.is_empty() => {
            // What follows is of this host alone: its name, its address.
            let common = error.split([':', '(']).next().unwrap_or(error).trim();
            harmless(common, REASON_CHARS_MAX)
        }
        (status, _, doing) => {
            // Times follow, which are of this host alone.
            let doing = doing.split(|letter: char| letter.is_ascii_digit()).next();
            let doing = doing.unwrap_or_default().trim().trim_end_matches(',');
            harmless(&format!("{status}, {doing}"), REASON_CHARS_MAX)
        }
    }
}

/// Events of both relays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// How the promise is kept.
    pub verdict: Verdict,
    /// Commits and syncs that the other one gave.
    pub theirs: u64,
    /// Those of them that did not come here.
    pub missing: u64,
    /// The same in percent.
    pub missing_percent: Option<f64>,
    /// Those that came only here.
    pub only_here: u64,
    /// Why, as far as the relay was asked.
    pub reasons: BTreeMap<String, Reason>,
    /// Why one of them gives no stream.
    pub trouble: Option<String>,
}

impl Events {
    /// * `report` – a comparison of two, the judged one first
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let [ours, theirs] = [0, 1].map(|place| report.relays.get(place));
        let given = theirs.map_or(0, |theirs| theirs.matched);
        let missing = ours.map_or(given, |ours| ours.missing);
        let trouble = [ours, theirs].into_iter().flatten().find_map(|relay| {
            let why = relay.trouble.as_ref()?;
            Some(format!("{}: {}", relay.name, harmless(why, 300)))
        });
        let reasons = ours.into_iter().flat_map(|ours| &ours.reasons).map(|(label, count)| {
            let mut words =
                report.missing.iter().filter(|miss| miss.reason.as_ref() == Some(label));
            let words = words.find_map(|miss| miss.words.clone());
            let examples = words.into_iter().map(|words| harmless(&words, 200)).collect();
            (label.clone(), Reason { count: *count, examples })
        });
        Self {
            verdict: Verdict::Unknown,
            theirs: given,
            missing,
            missing_percent: percent(missing, given),
            only_here: ours.map_or(0, |ours| ours.only_here),
            reasons: reasons.collect(),
            trouble,
        }
    }

    fn judged(mut self, promise: &Promise) -> Self {
        let kept = self.missing_percent.map(|percent| percent <= promise.missing_percent);
        self.verdict = Verdict::of(kept.filter(|_| self.trouble.is_none()));
        self
    }
}

/// What is so, beside what was promised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// When it was begun, RFC 3339.
    pub at: String,
    /// What was promised.
    pub promise: Promise,
    /// Hosts.
    pub hosts: Hosts,
    /// Events.
    pub events: Events,
}

impl Judged {
    pub(super) fn new(at: String, promise: Promise, hosts: Hosts, events: Events) -> Self {
        Self { at, promise, hosts, events: events.judged(&promise) }
    }

    /// Whether all that was promised is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.hosts.verdict == Verdict::Kept && self.events.verdict == Verdict::Kept
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let (hosts, events) = (&self.hosts, &self.events);
        let mut out = format!(
            "hosts, {}: {} connected of {} known; {} or more are promised\n",
            hosts.verdict.word(),
            count(hosts.connected),
            count(hosts.known),
            count(hosts.needed)
        );
        if let Some(theirs) = hosts.theirs {
            let missing = hosts.missing.values().map(|reason| reason.count).sum();
            let (theirs, missing) = (counted(theirs, "host", "hosts"), count(missing));
            out.extend([format!(
                "  the other relay hears of {theirs}; {missing} of them are not connected here\n"
            )]);
        }
        if let Some(trouble) = &hosts.trouble {
            out.extend([format!("  the other relay does not say which it has: {trouble}\n")]);
        }
        reasons(&mut out, &hosts.missing);
        let share = events.missing_percent.map_or("-".to_owned(), |share| format!("{share:.2}"));
        out.extend([format!(
            "events, {}: {} of the {} of the other relay are missing, {share} %; at most {} % are promised\n",
            events.verdict.word(),
            count(events.missing),
            count(events.theirs),
            self.promise.missing_percent
        )]);
        if let Some(trouble) = &events.trouble {
            out.extend([format!("  {trouble}\n")]);
        }
        reasons(&mut out, &events.reasons);
        out
    }
}

/// The most frequent first.
fn reasons(out: &mut String, all: &BTreeMap<String, Reason>) {
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by_key(|(_, reason)| u64::MAX - reason.count);
    for (label, reason) in sorted {
        let (number, examples) = (count(reason.count), reason.examples.join(", "));
        // Writing to a string does not fail.
        if writeln!(out, "  {number:>8}  {label}: {examples}").is_err() {}
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares for a person")]
fn percent(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64 * 100.0)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of hosts, and a share of it"
)]
fn needed(promise: &Promise) -> u64 {
    let share = (100.0 - promise.tolerance_percent).clamp(0.0, 100.0) / 100.0;
    (promise.hosts as f64 * share).ceil() as u64
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(name: &str, connected: bool, error: &str) -> Value {
        let status = if name.starts_with("banned") { "banned" } else { "offline" };
        json!({ "hostname": name, "connected": connected, "status": status, "lastError": error })
    }

    /// Each host of the other relay that is missing here is counted under one reason, whatever the host's
    /// name is in the words; those that nobody hears of are not missed.
    #[test]
    fn missing_hosts_are_counted_by_their_reasons() {
        let ours = [
            host("a", true, "an old error"),
            host("b", false, "connection refused: b:443"),
            host("c", false, "connection refused: c:443"),
            host("banned.d", false, "x"),
            host("f", false, "whatever"),
        ];
        let theirs = [("a", "active"), ("b", "active"), ("c", "idle"), ("banned.d", "active")];
        let more = [("e", "active"), ("f", "offline"), ("g", "banned")];
        let theirs =
            theirs.iter().chain(&more).map(|(name, status)| ((*name).into(), (*status).into()));
        let hosts =
            Hosts::of(&ours, &theirs.collect(), None, &Promise { hosts: 1, ..Promise::NETWORK });
        let counts: Vec<_> =
            hosts.missing.iter().map(|(why, reason)| (why.as_str(), reason.count)).collect();
        assert_eq!(counts, [("banned", 1), ("connection refused", 2), ("not known here", 1)]);
        assert_eq!((hosts.connected, hosts.known, hosts.theirs), (1, 5, Some(5)));
        assert_eq!(hosts.verdict, Verdict::Kept);
    }

    /// 2,800 hosts with a twentieth less are enough, one less is not; 2 % of the events may be missing.
    #[test]
    fn the_thresholds_are_where_they_are_said_to_be() {
        let ours = |connected: u64| -> Vec<Value> {
            (0..connected).map(|index| host(&index.to_string(), true, "")).collect()
        };
        let of = |connected| {
            Hosts::of(&ours(connected), &BTreeMap::new(), None, &Promise::NETWORK).verdict
        };
        assert_eq!((of(2_660), of(2_659)), (Verdict::Kept, Verdict::Broken));
        let events = |missing, theirs, trouble: Option<&str>| {
            let events = Events {
                verdict: Verdict::Unknown,
                theirs,
                missing,
                missing_percent: percent(missing, theirs),
                only_here: 0,
                reasons: BTreeMap::new(),
                trouble: trouble.map(str::to_owned),
            };
            events.judged(&Promise::NETWORK).verdict
        };
        assert_eq!((events(2, 100, None), events(3, 100, None)), (Verdict::Kept, Verdict::Broken));
        assert_eq!(events(0, 0, None), Verdict::Unknown, "silence is no proof");
        assert_eq!(events(0, 5, Some("gone")), Verdict::Unknown);
    }
}
