//! Counts of each kind of event, so that a comparison shows what it compared.

use crate::wire::Kind;
use std::{collections::BTreeMap, fmt};

/// What became of the events of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KindCounts {
    /// Events that a relay was given, repetitions not counted.
    pub sent: u64,
    /// Those that came out as they had to.
    pub received: u64,
    /// Those that must pass and did not come.
    pub lost: u64,
    /// Those that came twice.
    pub duplicated: u64,
    /// Those that did not come and need not have, by the reasons that fit.
    pub dropped: BTreeMap<String, u64>,
}

impl KindCounts {
    /// An event that need not pass did not come.
    pub(crate) fn drop_for(&mut self, reasons: &[&'static str]) {
        let reason = if reasons.is_empty() { "undecided".to_owned() } else { reasons.join(" or ") };
        *self.dropped.entry(reason).or_default() += 1;
    }
}

impl fmt::Display for KindCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, lost, duplicated, dropped } = self;
        let all: u64 = dropped.values().sum();
        write!(
            out,
            "{sent} sent, {received} received, {lost} lost, {duplicated} duplicated, {all} dropped"
        )?;
        for (at, (reason, count)) in dropped.iter().enumerate() {
            write!(out, "{} {count} {reason}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// Counts by kind.
pub type Kinds = BTreeMap<Kind, KindCounts>;
