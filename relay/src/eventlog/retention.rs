//! What may go: by age, by bytes, and before the disk is full. Pure.

/// A sealed segment, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) last: u64,
    pub(super) last_us: u64,
    pub(super) bytes: u64,
}

/// What must hold after retention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Events older than this may go (OUT-2).
    pub(super) keep_since_us: u64,
    /// Bytes of the log now, everything included.
    pub(super) bytes: u64,
    pub(super) bytes_max: u64,
    /// Free space now.
    pub(super) free: u64,
    /// Below this the log shrinks whatever its age.
    pub(super) free_wanted: u64,
    /// Below this it must not wait for the next checkpoint to do so; less than `free_wanted`.
    pub(super) free_needed: u64,
    /// The daemon's state is replayed from here: nothing behind it may go (DESIGN 10.5).
    pub(super) checkpoint: u64,
}

/// How many of the oldest segments go, and whether more should but must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) remove: usize,
    /// The log is a tenth over its limit, or the disk nearly full, because the last checkpoint is
    /// too old.
    pub(super) is_held: bool,
}

/// Decides by whole segments, oldest first.
pub(super) fn judge(sealed: &[Sealed], limits: &Limits) -> Verdict {
    let (mut bytes, mut free) = (limits.bytes, limits.free);
    let mut remove = 0;
    for segment in sealed {
        let is_unwanted = segment.last_us < limits.keep_since_us
            || bytes > limits.bytes_max
            || free < limits.free_wanted;
        if !is_unwanted {
            break;
        }
        if segment.last > limits.checkpoint {
            let is_held = bytes > limits.bytes_max.saturating_add(limits.bytes_max / 10)
                || free < limits.free_needed;
            return Verdict { remove, is_held };
        }
        remove += 1;
        bytes = bytes.saturating_sub(segment.bytes);
        free = free.saturating_add(segment.bytes);
    }
    Verdict { remove, is_held: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: [Sealed; 3] = [
        Sealed { last: 10, last_us: 100, bytes: 1_000 },
        Sealed { last: 20, last_us: 200, bytes: 1_000 },
        Sealed { last: 30, last_us: 300, bytes: 1_000 },
    ];

    const ROOMY: Limits = Limits {
        keep_since_us: 0,
        bytes: 3_500,
        bytes_max: 10_000,
        free: 10_000,
        free_wanted: 1_000,
        free_needed: 500,
        checkpoint: u64::MAX,
    };

    fn removed(limits: Limits) -> usize {
        judge(&SEALED, &limits).remove
    }

    /// OUT-2: a segment goes when its newest event is too old.
    #[test]
    fn age_removes_segments_whose_newest_event_is_too_old() {
        assert_eq!(removed(ROOMY), 0);
        assert_eq!(removed(Limits { keep_since_us: 100, ..ROOMY }), 0);
        assert_eq!(removed(Limits { keep_since_us: 101, ..ROOMY }), 1);
        assert_eq!(removed(Limits { keep_since_us: 1_000, ..ROOMY }), 3);
    }

    /// OUT-2: as many segments go as it takes to get below the limit, no more.
    #[test]
    fn bytes_remove_the_oldest_segments_until_the_limit_holds() {
        assert_eq!(removed(Limits { bytes_max: 3_500, ..ROOMY }), 0);
        assert_eq!(removed(Limits { bytes_max: 3_499, ..ROOMY }), 1);
        assert_eq!(removed(Limits { bytes_max: 1_500, ..ROOMY }), 2);
        assert_eq!(removed(Limits { bytes_max: 0, ..ROOMY }), 3);
    }

    /// OUT-5: the log shrinks before the disk is full.
    #[test]
    fn a_disk_that_fills_up_removes_segments_early() {
        assert_eq!(removed(Limits { free: 999, ..ROOMY }), 1);
        assert_eq!(removed(Limits { free: 0, free_wanted: 1_500, ..ROOMY }), 2);
    }

    /// DESIGN 10.5: whatever the reason, retention never passes the last checkpoint.
    #[test]
    fn retention_stops_at_the_checkpoint_and_says_when_that_costs_too_much() {
        let old = Limits { keep_since_us: 1_000, checkpoint: 20, ..ROOMY };
        assert_eq!(judge(&SEALED, &old), Verdict { remove: 2, is_held: false });
        let none = Limits { checkpoint: 9, ..old };
        assert_eq!(judge(&SEALED, &none), Verdict { remove: 0, is_held: false });
        let held = Limits { bytes_max: 3_000, checkpoint: 9, ..ROOMY };
        assert_eq!(judge(&SEALED, &held), Verdict { remove: 0, is_held: true });
        let slightly = Limits { bytes_max: 3_400, checkpoint: 9, ..ROOMY };
        assert_eq!(judge(&SEALED, &slightly), Verdict { remove: 0, is_held: false });
        let filling = Limits { free: 500, checkpoint: 9, ..ROOMY };
        assert_eq!(judge(&SEALED, &filling), Verdict { remove: 0, is_held: false });
        let nearly_full = Limits { free: 499, checkpoint: 9, ..ROOMY };
        assert_eq!(judge(&SEALED, &nearly_full), Verdict { remove: 0, is_held: true });
        let helped = Limits { free: 499, checkpoint: 10, ..ROOMY };
        assert_eq!(judge(&SEALED, &helped), Verdict { remove: 1, is_held: false });
    }
}
