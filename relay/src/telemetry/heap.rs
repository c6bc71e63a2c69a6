//! What the allocator holds, so that a leak and fragmentation can be told apart.
//!
//! A leak shows in `allocated`. Fragmentation shows in `active` over `allocated`: pages that hold little
//! cannot be given back. Pages that wait to be given back show in `resident` over `active`.

use tikv_jemalloc_ctl::{Error, background_thread, epoch, stats};

/// Bytes of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// In use by the program.
    pub allocated: u64,
    /// Of the pages that hold anything in use.
    pub active: u64,
    /// Of all pages that the allocator keeps in memory.
    pub resident: u64,
}

impl Heap {
    /// The state now; `None` in a program with another allocator.
    pub fn read() -> Option<Self> {
        Self::measure().ok().filter(|heap| heap.allocated > 0)
    }

    fn measure() -> Result<Self, Error> {
        // The figures are those of the last epoch.
        epoch::advance()?;
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Self {
            allocated: bytes(stats::allocated::read()?),
            active: bytes(stats::active::read()?),
            resident: bytes(stats::resident::read()?),
        })
    }

    /// How many times what is in use the pages in memory are, in percent.
    pub fn fragmentation_percent(self) -> u64 {
        self.resident.saturating_mul(100).checked_div(self.allocated).unwrap_or(0)
    }
}

/// Lets a thread of the allocator give back what is unused, also while nothing is allocated.
pub fn give_back_in_background() {
    if let Err(error) = background_thread::write(true) {
        tracing::debug!(%error, "memory is given back by the threads that use it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I5: the figure that an operator watches.
    #[test]
    fn fragmentation_is_what_is_kept_over_what_is_used() {
        let heap = Heap { allocated: 200, active: 250, resident: 300 };
        assert_eq!(heap.fragmentation_percent(), 150);
        assert_eq!(Heap { allocated: 0, ..heap }.fragmentation_percent(), 0);
    }
}
