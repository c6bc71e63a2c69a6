//! What a comparison says: numbers, verdicts, and their forms for people and programs.

use std::{collections::BTreeMap, fmt::Write as _, fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{Found, explain::Explained, tally::OfRelay};
use crate::{feed::Address, told::harmless};

/// A relay that gives at least this share of all events does its work.
pub const GOOD: f64 = 0.90;
/// One that gives less than this share is no use to who relies on it.
pub const CRITICAL: f64 = 0.70;
/// Hosts that a person is shown.
const HOSTS_SHOWN_MAX: usize = 20;

/// One relay, and how its stream was.
#[derive(Debug, Clone)]
pub struct Source {
    /// Host and port.
    pub name: String,
    /// What it calls itself.
    pub server: Option<String>,
    /// How often its connection was lost.
    pub reconnections: u64,
    /// Why it gives no stream.
    pub trouble: Option<String>,
}

impl Source {
    pub(super) fn new(address: &Address) -> Self {
        let name = address.name().to_owned();
        Self { name, server: None, reconnections: 0, trouble: None }
    }

    pub(super) fn opened(&mut self, server: &str) {
        self.server = Some(server.to_owned());
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.server.is_none() && self.trouble.is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        self.server.is_some() && self.trouble.is_none()
    }
}

/// What a share of all events is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// At least [`GOOD`].
    Good,
    /// In between.
    Degraded,
    /// Less than [`CRITICAL`].
    Critical,
    /// Nobody gave an event: nothing can be said.
    Unknown,
}

impl Verdict {
    /// Of what a relay gave, and what all gave together.
    #[must_use]
    pub fn of(matched: u64, union: u64) -> Self {
        match coverage(matched, union) {
            None => Self::Unknown,
            Some(share) if share >= GOOD => Self::Good,
            Some(share) if share < CRITICAL => Self::Critical,
            Some(_) => Self::Degraded,
        }
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// The share; `None` of nothing.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share is for a person")]
pub fn coverage(matched: u64, union: u64) -> Option<f64> {
    (union > 0).then(|| matched as f64 / union as f64)
}

/// What is said of one relay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayRow {
    /// Host and port.
    pub name: String,
    /// What it calls itself.
    pub server: Option<String>,
    /// Why it gives no stream.
    pub trouble: Option<String>,
    /// All events that it gave.
    pub events: u64,
    /// Accounts that they are of.
    pub accounts: u64,
    /// Commits and syncs that it gave, of those that anybody gave.
    pub matched: u64,
    /// Those that it did not give.
    pub missing: u64,
    /// Those that nobody else gave.
    pub only_here: u64,
    /// Those that came too late to count.
    pub late: u64,
    /// `matched` of all.
    pub coverage: Option<f64>,
    /// What that is worth.
    pub verdict: Verdict,
    /// How much later than at the first relay half of them came, in ms.
    pub delay_p50_ms: Option<u64>,
    /// The same of 90 %.
    pub delay_p90_ms: Option<u64>,
    /// The same of 99 %.
    pub delay_p99_ms: Option<u64>,
    /// How often its connection was lost.
    pub reconnections: u64,
    /// Why events are missing here, for the relay that was asked.
    pub reasons: BTreeMap<String, u64>,
}

impl RelayRow {
    fn new(source: &Source, counted: &OfRelay, union: u64) -> Self {
        Self {
            name: source.name.clone(),
            server: source.server.clone(),
            trouble: source.trouble.clone(),
            events: counted.events,
            accounts: counted.accounts,
            matched: counted.matched,
            missing: counted.missing,
            only_here: counted.only_here,
            late: counted.late,
            coverage: coverage(counted.matched, union),
            verdict: Verdict::of(counted.matched, union),
            delay_p50_ms: counted.delays.quantile(0.5),
            delay_p90_ms: counted.delays.quantile(0.9),
            delay_p99_ms: counted.delays.quantile(0.99),
            reconnections: source.reconnections,
            reasons: BTreeMap::new(),
        }
    }
}

/// What is said of one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRow {
    /// Its name.
    pub host: String,
    /// Events of its accounts that anybody gave.
    pub events: u64,
    /// Those that each relay gave, in the order of the relays.
    pub matched: Vec<u64>,
}

/// An event that a relay did not give.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissRow {
    /// The relay.
    pub relay: String,
    /// The account.
    pub did: String,
    /// Its host, if it is known.
    pub host: Option<String>,
    /// `commit` or `sync`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its revision.
    pub rev: String,
    /// Why, if the relay was asked.
    pub reason: Option<String>,
    /// The same in words.
    pub words: Option<String>,
}

/// The whole comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it was made, RFC 3339.
    pub at: String,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Commits and syncs that anybody gave.
    pub union: u64,
    /// Events that were decided early because there were too many.
    pub early: u64,
    /// The relays; the first one is judged.
    pub relays: Vec<RelayRow>,
    /// Hosts whose accounts were looked up, the one with most missing events first.
    pub hosts: Vec<HostRow>,
    /// Accounts whose host is known, and accounts in all.
    pub looked_up: (u64, u64),
    /// The first missing events.
    pub missing: Vec<MissRow>,
}

impl Report {
    /// Of what was found and explained.
    #[must_use]
    pub fn new(found: &Found, explained: &Explained, at: String) -> Self {
        let union = found.tally.union();
        let mut relays: Vec<_> = found
            .sources
            .iter()
            .zip(found.tally.relays())
            .map(|(source, counted)| RelayRow::new(source, counted, union))
            .collect();
        let mut missing = Vec::new();
        for miss in found.tally.misses() {
            let Some(relay) = relays.get_mut(miss.relay) else { continue };
            let reason = (miss.relay == 0).then(|| explained.reason(miss)).flatten();
            if let Some((label, _)) = &reason {
                *relay.reasons.entry(label.clone()).or_default() += 1;
            }
            let (reason, words) = reason.unzip();
            missing.push(MissRow {
                relay: relay.name.clone(),
                did: miss.did.clone(),
                host: explained.host(&miss.did).map(str::to_owned),
                kind: miss.revision.kind.to_owned(),
                rev: miss.revision.rev.clone(),
                reason,
                words,
            });
        }
        let accounts = u64::try_from(found.tally.accounts().len()).unwrap_or(u64::MAX);
        Self {
            at,
            seconds: found.span.as_secs_f64(),
            union,
            early: found.tally.early(),
            hosts: hosts(found, explained, relays.len()),
            looked_up: (explained.hosts_known(), accounts),
            relays,
            missing,
        }
    }

    /// The verdict on the first relay.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.relays.first().map_or(Verdict::Unknown, |relay| relay.verdict)
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} relays, {:.0} s: {} commits and syncs that any of them gave\n\n",
            self.relays.len(),
            self.seconds,
            self.union
        );
        let name_width = self.relays.iter().map(|relay| relay.name.len()).max().unwrap_or(5).max(5);
        let head = ["events", "accounts", "coverage", "missing", "only here", "behind p50/p99"];
        line(&mut out, &format!("{:<name_width$}", "relay"), &head, "verdict");
        for relay in &self.relays {
            let behind = match (relay.delay_p50_ms, relay.delay_p99_ms) {
                (Some(half), Some(most)) => format!("{half}/{most} ms"),
                _ => "-".to_owned(),
            };
            let cells = [
                relay.events.to_string(),
                relay.accounts.to_string(),
                percent(relay.coverage),
                relay.missing.to_string(),
                relay.only_here.to_string(),
                behind,
            ];
            let cells: Vec<_> = cells.iter().map(String::as_str).collect();
            let name = format!("{:<name_width$}", relay.name);
            line(&mut out, &name, &cells, relay.verdict.word());
        }
        for relay in &self.relays {
            if let Some(trouble) = &relay.trouble {
                out.extend([format!("\n{}: {}", relay.name, harmless(trouble, 300))]);
            }
        }
        self.explanations(&mut out);
        out.trim_end().to_owned()
    }

    fn explanations(&self, out: &mut String) {
        let Some(first) = self.relays.first() else { return };
        if !first.reasons.is_empty() {
            out.extend([format!("\nmissing at {}, as it says itself:\n", first.name)]);
            for (label, count) in &first.reasons {
                let words = self.missing.iter().find(|miss| miss.reason.as_ref() == Some(label));
                let words = words.and_then(|miss| miss.words.as_deref()).unwrap_or_default();
                out.extend([format!("  {count:>8}  {label}: {}\n", harmless(words, 200))]);
            }
        }
        if self.hosts.is_empty() {
            return;
        }
        let (known, all) = self.looked_up;
        out.extend([format!("\nhosts of {known} of {all} accounts:\n")]);
        for host in self.hosts.iter().take(HOSTS_SHOWN_MAX) {
            let shares =
                host.matched.iter().map(|matched| percent(coverage(*matched, host.events)));
            let shares = shares.collect::<Vec<_>>().join(" ");
            out.extend([format!("  {:>8}  {shares}  {}\n", host.events, harmless(&host.host, 80))]);
        }
    }

    /// For the textfile collector of Prometheus.
    #[must_use]
    pub fn prometheus(&self, unix_seconds: u64) -> String {
        let mut out = String::new();
        let rows: [(&str, &str, ValueOf); 6] = [
            ("coverage_ratio", "Share of the events that any relay gave.", |row| row.coverage),
            ("coverage_events", "Events that the relay gave.", |row| Some(count(row.events))),
            ("coverage_accounts", "Accounts of these events.", |row| Some(count(row.accounts))),
            ("coverage_missing", "Events that others gave and it did not.", |row| {
                Some(count(row.missing))
            }),
            ("coverage_delay_p99_seconds", "How far behind the first relay 99 % were.", |row| {
                row.delay_p99_ms.map(|ms| count(ms) / 1e3)
            }),
            ("coverage_up", "Whether it gave a stream.", |row| {
                Some(if row.trouble.is_none() { 1.0 } else { 0.0 })
            }),
        ];
        for (name, help, value) in rows {
            out.extend([format!("# HELP relay_{name} {help}\n# TYPE relay_{name} gauge\n")]);
            for row in &self.relays {
                if let Some(value) = value(row) {
                    out.extend([format!("relay_{name}{{relay=\"{}\"}} {value}\n", row.name)]);
                }
            }
        }
        out.push_str("# HELP relay_coverage_judged Whether it is the one that is judged.\n");
        out.push_str("# TYPE relay_coverage_judged gauge\n");
        for (place, row) in self.relays.iter().enumerate() {
            let judged = u8::from(place == 0);
            out.extend([format!("relay_coverage_judged{{relay=\"{}\"}} {judged}\n", row.name)]);
        }
        out.push_str("# HELP relay_coverage_time_seconds When it was measured.\n");
        out.push_str("# TYPE relay_coverage_time_seconds gauge\n");
        out.extend([format!("relay_coverage_time_seconds {unix_seconds}\n")]);
        out
    }

    /// The line that is kept of it.
    #[must_use]
    pub fn past(&self) -> Past {
        let shares = self.relays.iter().map(|relay| (relay.name.clone(), relay.coverage));
        Past { at: self.at.clone(), union: self.union, coverage: shares.collect() }
    }
}

/// A number of a relay.
type ValueOf = fn(&RelayRow) -> Option<f64>;

/// What is kept of an earlier comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// When it was made.
    pub at: String,
    /// Events that anybody gave.
    pub union: u64,
    /// Coverage by relay.
    pub coverage: BTreeMap<String, Option<f64>>,
}

/// Adds one to the history.
///
/// # Errors
/// When the file cannot be written.
pub fn remember(path: &Path, past: &Past) -> Result<()> {
    let shown = path.display();
    let line = serde_json::to_string(past).context("write the history as JSON")?;
    let file = fs::File::options().create(true).append(true).open(path);
    let mut file = file.with_context(|| format!("open the history {shown}"))?;
    writeln!(file, "{line}").with_context(|| format!("write the history {shown}"))
}

/// Writes a file that others read, so that they never see half of it.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let shown = path.display();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text).with_context(|| format!("write {shown}"))?;
    fs::rename(&beside, path).with_context(|| format!("put {shown} into its place"))
}

/// Sums up hosts whose accounts are known.
fn hosts(found: &Found, explained: &Explained, relays: usize) -> Vec<HostRow> {
    let mut rows: BTreeMap<&str, HostRow> = BTreeMap::new();
    for (did, host) in explained.hosts() {
        let Some(account) = found.tally.accounts().get(did) else { continue };
        let row = rows.entry(host).or_insert_with(|| HostRow {
            host: host.to_owned(),
            events: 0,
            matched: vec![0; relays],
        });
        row.events += u64::from(account.events);
        for (sum, matched) in row.matched.iter_mut().zip(&account.matched) {
            *sum += u64::from(*matched);
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    let missing = |row: &HostRow| -> u64 {
        row.matched.iter().map(|matched| row.events.saturating_sub(*matched)).sum()
    };
    rows.sort_by_key(|row| (u64::MAX - missing(row), u64::MAX - row.events));
    rows
}

/// A row of the table, its cells to the right.
fn line(out: &mut String, name: &str, cells: &[&str], verdict: &str) {
    let widths = [9, 9, 9, 9, 10, 15];
    out.push_str(name);
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a string cannot fail.
        if write!(out, " {cell:>width$}").is_err() {}
    }
    out.extend([format!("  {verdict}\n")]);
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits that alerts are made for, on both sides.
    #[test]
    fn verdicts_change_at_their_limits() {
        for (matched, verdict) in [
            (1_000, Verdict::Good),
            (900, Verdict::Good),
            (899, Verdict::Degraded),
            (700, Verdict::Degraded),
            (699, Verdict::Critical),
            (0, Verdict::Critical),
        ] {
            assert_eq!(Verdict::of(matched, 1_000), verdict, "{matched}");
        }
        assert_eq!(Verdict::of(0, 0), Verdict::Unknown);
    }
}
