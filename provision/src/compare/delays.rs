//! How long things took, in bounded memory.

/// Exact below this many ms; above, buckets of a sixteenth of a doubling, so an answer is off by at
/// most 6 %.
const EXACT: u64 = 64;
const PARTS: u64 = 16;
/// Doublings above [`EXACT`] that are told apart: up to 18 hours.
const DOUBLINGS: u64 = 20;

/// A count of durations in ms.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Delays {
    /// Takes in one.
    pub fn note(&mut self, ms: u64) {
        let bucket = usize::try_from(bucket(ms)).unwrap_or(usize::MAX);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(ms);
    }

    /// The duration that this share of all does not exceed, in ms; `None` when there is none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count, rounded up"
    )]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(top(u64::try_from(place).unwrap_or(u64::MAX)).min(self.max));
            }
        }
        Some(self.max)
    }
}

fn bucket(ms: u64) -> u64 {
    if ms < EXACT {
        return ms;
    }
    let doubling = u64::from(ms.ilog2() - EXACT.ilog2()).min(DOUBLINGS - 1);
    let start = EXACT << doubling;
    let part = ((ms - start) / (start / PARTS)).min(PARTS - 1);
    EXACT + doubling * PARTS + part
}

/// The largest duration of a bucket.
fn top(bucket: u64) -> u64 {
    if bucket < EXACT {
        return bucket;
    }
    let start = EXACT << ((bucket - EXACT) / PARTS);
    start + ((bucket - EXACT) % PARTS + 1) * (start / PARTS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer is the truth, or above it by at most one part of a doubling.
    #[test]
    fn quantiles_are_near_the_truth() {
        let mut delays = Delays::default();
        assert_eq!(delays.quantile(0.5), None);
        for ms in 0..10_000 {
            delays.note(ms);
        }
        for (share, truth) in [(0.001, 9), (0.5, 4_999), (0.9, 8_999), (1.0, 9_999)] {
            let told = delays.quantile(share).unwrap();
            assert!((truth..=truth + truth / 16).contains(&told), "{share}: {told}, not {truth}");
        }
        delays.note(u64::MAX);
        assert_eq!(delays.quantile(1.0), Some(u64::MAX).map(|_| top(EXACT + 20 * 16 - 1)));
    }
}
