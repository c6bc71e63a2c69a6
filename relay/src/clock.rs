//! The wall clock, in one place, so that tests can hold and move it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Gives the wall-clock time; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds since 1970 when set by a test, `None` for the machine's clock.
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now_us` until [`Self::advance_us`] moves it.
    pub fn manual(now_us: u64) -> Self {
        Self { manual: Some(Arc::new(AtomicU64::new(now_us))) }
    }

    /// Moves a manual clock forward; the machine's clock ignores it.
    pub fn advance_us(&self, by_us: u64) {
        if let Some(manual) = &self.manual {
            manual.fetch_add(by_us, Ordering::Relaxed);
        }
    }

    /// Microseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now_us(&self) -> u64 {
        self.manual.as_ref().map_or_else(
            || {
                let since = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default();
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            },
            |manual| manual.load(Ordering::Relaxed),
        )
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// The time as the wire writes it, `2026-01-01T00:00:00.000Z` (SYN-9).
    pub fn now_text(&self) -> String {
        humantime::format_rfc3339_millis(
            std::time::UNIX_EPOCH + std::time::Duration::from_micros(self.now_us()),
        )
        .to_string()
    }
}
