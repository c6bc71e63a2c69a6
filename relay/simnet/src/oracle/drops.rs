//! How many events a relay has to count as dropped, and under which reasons.

use super::Verdict;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

/// At least and at most.
type Bounds = (u64, u64);

/// Expected counts by reason and in all.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    by_reason: BTreeMap<&'static str, Bounds>,
    total: Bounds,
}

impl Drops {
    /// An event was judged; it is dropped under one of these reasons, if it is.
    pub(crate) fn judged(&mut self, verdict: Verdict, reasons: &[&'static str]) {
        let exact = reasons.len() == 1 && verdict == Verdict::Never;
        // One event is dropped once, however often it could have been under the same reason.
        for reason in reasons.iter().collect::<BTreeSet<_>>() {
            let bounds = self.by_reason.entry(reason).or_default();
            bounds.0 += u64::from(exact);
            bounds.1 += 1;
        }
        self.total.0 += u64::from(verdict == Verdict::Never);
        self.total.1 += u64::from(verdict != Verdict::Must);
    }

    /// One more event may be dropped under each of these reasons.
    pub(crate) fn possible(&mut self, reasons: &[&'static str]) {
        for reason in reasons {
            self.by_reason.entry(reason).or_default().1 += 1;
        }
        self.total.1 += 1;
    }

    /// At least and at most, by reason.
    pub(crate) fn expected(&self) -> BTreeMap<&'static str, RangeInclusive<u64>> {
        self.by_reason.iter().map(|(reason, (min, max))| (*reason, *min..=*max)).collect()
    }

    /// One sentence per difference to what a relay counted.
    pub(crate) fn compare<R: AsRef<str>>(
        &self,
        counted: impl IntoIterator<Item = (R, u64)>,
    ) -> Vec<String> {
        let expected = self.expected();
        let counted: BTreeMap<String, u64> = counted
            .into_iter()
            .map(|(reason, count)| (reason.as_ref().to_owned(), count))
            .collect();
        let mut differences = Vec::new();
        let names: BTreeSet<&str> =
            expected.keys().copied().chain(counted.keys().map(String::as_str)).collect();
        for name in names {
            let range = expected.get(name).cloned().unwrap_or(0..=0);
            let count = counted.get(name).copied().unwrap_or(0);
            if !range.contains(&count) {
                differences.push(format!(
                    "{count} events were dropped as {name}, expected {} to {}",
                    range.start(),
                    range.end()
                ));
            }
        }
        let sum: u64 = counted.values().sum();
        if !(self.total.0..=self.total.1).contains(&sum) {
            differences.push(format!(
                "{sum} events were dropped in all, expected {} to {}",
                self.total.0, self.total.1
            ));
        }
        differences
    }
}
