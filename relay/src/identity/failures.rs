//! What failed lately, so that a DID without document does not cost a request per event (RES-2).
//! Pure: the caller brings the time.

use std::{num::NonZeroUsize, time::Duration};

use lru::LruCache;
use relay_protocol::Did;

use super::IdentityError;

/// Failures kept, the least recently used go first: about 20 MB at most.
const FAILURES_MAX: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();

/// A source that says "there is none" is believed for 5 minutes, then 10, then 15.
const CONCLUSIVE_STEP: Duration = Duration::from_mins(5);
const CONCLUSIVE_MAX: Duration = Duration::from_mins(15);

/// After trouble that may pass, the next try is 10 s away, then 20 s, up to 2 minutes.
const PASSING_FIRST: Duration = Duration::from_secs(10);
const PASSING_MAX: Duration = Duration::from_mins(2);

#[derive(Debug)]
struct Kept {
    error: IdentityError,
    /// By the steady clock.
    until_ms: u64,
    /// Failures of this kind in a row, from 1.
    times: u32,
}

/// The failures; bounded.
#[derive(Debug)]
pub(super) struct Failures {
    kept: LruCache<Did, Kept>,
}

impl Default for Failures {
    fn default() -> Self {
        Self { kept: LruCache::new(FAILURES_MAX) }
    }
}

impl Failures {
    /// The failure that still holds.
    pub(super) fn get(&mut self, did: &Did, now_ms: u64) -> Option<IdentityError> {
        self.kept.get(did).filter(|kept| now_ms < kept.until_ms).map(|kept| kept.error.clone())
    }

    /// Notes a failure; the more in a row, the longer it holds.
    pub(super) fn keep(&mut self, did: &Did, error: &IdentityError, now_ms: u64) {
        let before = self.kept.peek(did);
        let same_kind = |kept: &&Kept| conclusive(&kept.error) == conclusive(error);
        let times = before.filter(same_kind).map_or(1, |kept| kept.times.saturating_add(1));
        let span_ms = u64::try_from(span(error, times).as_millis()).unwrap_or(u64::MAX);
        let until_ms = now_ms.saturating_add(span_ms);
        self.kept.put(did.clone(), Kept { error: error.clone(), until_ms, times });
    }

    /// The DID was resolved.
    pub(super) fn forget(&mut self, did: &Did) {
        self.kept.pop(did);
    }
}

fn conclusive(error: &IdentityError) -> bool {
    !matches!(error, IdentityError::Unavailable(_))
}

fn span(error: &IdentityError, times: u32) -> Duration {
    if matches!(error, IdentityError::Tombstoned) {
        CONCLUSIVE_MAX
    } else if conclusive(error) {
        CONCLUSIVE_STEP.saturating_mul(times).min(CONCLUSIVE_MAX)
    } else {
        let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
        PASSING_FIRST.saturating_mul(doubled).min(PASSING_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn did(n: usize) -> Did {
        Did::parse(&format!("did:web:host{n}.example.com")).unwrap()
    }

    /// RES-2: how long each kind of failure holds, first, second and later times in a row.
    #[test]
    fn failures_hold_by_their_kind() {
        let not_found = || IdentityError::NotFound(String::new());
        let invalid = || IdentityError::Invalid(String::new());
        let passing = || IdentityError::Unavailable(String::new());
        let rows: [(&[IdentityError], u64); 9] = [
            (&[not_found()], 300),
            (&[not_found(), not_found()], 600),
            (&[not_found(), invalid(), not_found(), not_found()], 900),
            (&[IdentityError::Tombstoned], 900),
            (&[passing()], 10),
            (&[passing(), passing()], 20),
            (&[passing(), passing(), passing(), passing(), passing(), passing()], 120),
            (&[passing(), passing(), not_found()], 300),
            (&[not_found(), not_found(), passing()], 10),
        ];
        for (in_a_row, seconds) in rows {
            let mut failures = Failures::default();
            for error in in_a_row {
                failures.keep(&did(1), error, NOW);
            }
            let end = NOW + seconds * 1_000;
            assert_eq!(failures.get(&did(1), end - 1), in_a_row.last().cloned());
            assert_eq!(failures.get(&did(1), end), None, "{in_a_row:?}");
            assert_eq!(failures.get(&did(2), NOW), None, "another DID is not concerned");
        }
    }

    /// RES-2: after a success the count begins anew.
    #[test]
    fn a_success_clears_the_record() {
        let mut failures = Failures::default();
        let passing = IdentityError::Unavailable(String::new());
        failures.keep(&did(1), &passing, NOW);
        failures.keep(&did(1), &passing, NOW);

        failures.forget(&did(1));

        assert_eq!(failures.get(&did(1), NOW), None);
        failures.keep(&did(1), &passing, NOW);
        assert_eq!(failures.get(&did(1), NOW + 10_000), None);
    }

    /// I5: a flood of unknown DIDs pushes out old failures instead of growing.
    #[test]
    fn the_record_is_bounded() {
        let mut failures = Failures::default();
        let error = IdentityError::NotFound(String::new());
        for n in 0..=FAILURES_MAX.get() {
            failures.keep(&did(n), &error, NOW);
        }
        assert_eq!(failures.kept.len(), FAILURES_MAX.get());
        assert_eq!(failures.get(&did(0), NOW), None);
        assert!(failures.get(&did(1), NOW).is_some());
    }
}
