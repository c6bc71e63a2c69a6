//! Who is spared by validation, and until when (DESIGN 10.14). Pure.

use std::collections::HashMap;

use crate::domain::Strictness;

/// For how long nobody is.
const NEVER: u64 = 0;

/// Hosts that are first seen from 2027-07-01 on are strict at once unless the settings say otherwise:
/// what is set up two years after Sync v1.1 has no reason to send commits that cannot be proved.
pub(super) const STRICT_SINCE_MS: u64 = 1_814_400_000_000;

/// What the settings say about leniency; `Default` is strict everywhere.
///
/// It spares only hosts that have not ratcheted, and of those none that was first seen since
/// `strict_since_ms`.
#[derive(Debug, Clone)]
pub struct Leniency {
    /// Every host is spared, without an end.
    pub everywhere: bool,
    /// Hosts that are spared until a time, ms since 1970, by normalised name.
    pub until_ms: HashMap<String, u64>,
    /// Hosts first seen at this time or later are strict at once and for good, ms since 1970.
    pub strict_since_ms: Option<u64>,
}

impl Default for Leniency {
    fn default() -> Self {
        let strict_since_ms = Some(STRICT_SINCE_MS);
        Self { everywhere: false, until_ms: HashMap::new(), strict_since_ms }
    }
}

impl Leniency {
    /// Whether a host has ratcheted by the time when it was first seen.
    pub(super) fn is_late_comer(&self, first_seen_ms: u64) -> bool {
        self.strict_since_ms.is_some_and(|since| first_seen_ms >= since)
    }

    /// Until when a host is spared by what was decided about it and by the settings, ms since 1970.
    pub(super) fn spared_until(&self, name: &str, decided: Strictness) -> u64 {
        match decided {
            Strictness::Default => self.spares_until(name),
            Strictness::Strict => NEVER,
            Strictness::LenientUntil(until_ms) => until_ms,
        }
    }

    /// Until when the settings spare a host, ms since 1970.
    fn spares_until(&self, name: &str) -> u64 {
        if self.everywhere {
            return u64::MAX;
        }
        self.until_ms.get(name).copied().unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN 10.14: nobody by default, everybody, or some until their day.
    #[test]
    fn leniency_is_for_nobody_everybody_or_some_until_their_day() {
        let nobody = Leniency::default();
        let everybody = Leniency { everywhere: true, ..Leniency::default() };
        let until_ms = HashMap::from([("a.example".to_owned(), 5)]);
        let one = Leniency { until_ms, ..Leniency::default() };
        assert_eq!(["a.example", "b.example"].map(|name| nobody.spares_until(name)), [0, 0]);
        assert_eq!(everybody.spares_until("b.example"), u64::MAX);
        assert_eq!(["a.example", "b.example"].map(|name| one.spares_until(name)), [5, 0]);
        assert_eq!(everybody.spared_until("a.example", Strictness::Strict), 0);
        assert_eq!(nobody.spared_until("a.example", Strictness::LenientUntil(7)), 7);
        assert_eq!(one.spared_until("a.example", Strictness::Default), 5);
    }

    /// DESIGN 10.14: the day itself counts; without a day nobody comes too late.
    #[test]
    fn late_comers_are_those_of_the_day_and_after() {
        let some = Leniency { strict_since_ms: Some(100), ..Leniency::default() };
        assert_eq!([99, 100, 101].map(|seen| some.is_late_comer(seen)), [false, true, true]);
        let none = Leniency { strict_since_ms: None, ..Leniency::default() };
        assert!(!none.is_late_comer(u64::MAX));
        assert!(Leniency::default().is_late_comer(STRICT_SINCE_MS));
    }
}
