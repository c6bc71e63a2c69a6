//! A count of the work done on one tree.

use crate::Invalid;

/// Steps for one commit. A message of 2,000,000 bytes filled with nodes of 128-byte keys takes
/// 270,000 (measured); what takes more has keys of about the permitted length that share nearly all of it,
/// which no collection has. A step is at most one compression of SHA-256 with the copying that goes
/// with it, so this is some 15 ms.
const STEPS_MAX: u64 = 400_000;

/// Work done so far. One step is one node, entry or wrapping node, or 64 bytes hashed, copied or
/// compared: a measure that is the same on every machine.
#[derive(Debug, Default)]
pub(crate) struct Steps(u64);

impl Steps {
    /// Counts one thing and its bytes.
    pub(crate) fn spend(&mut self, bytes: usize) {
        let blocks = u64::try_from(bytes / 64).unwrap_or(u64::MAX);
        self.0 = self.0.saturating_add(1).saturating_add(blocks);
    }

    /// Fails when the tree has cost too much; called once per node and key.
    pub(crate) const fn check(&self) -> Result<(), Invalid> {
        if self.0 > STEPS_MAX {
            Err(Invalid::new("the tree takes too many steps to check"))
        } else {
            Ok(())
        }
    }

    /// Steps so far.
    pub(crate) const fn count(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step per thing, one for each whole 64 bytes of it; the limit itself may be reached.
    #[test]
    fn steps_are_counted_up_to_the_limit() {
        let mut steps = Steps::default();
        steps.spend(63);
        steps.spend(64);
        steps.spend(200);
        assert_eq!(steps.count(), 1 + 2 + 4);

        let mut most = Steps(STEPS_MAX - 1);
        most.spend(0);
        assert!(most.check().is_ok());
        most.spend(0);
        assert!(most.check().is_err());
    }
}
