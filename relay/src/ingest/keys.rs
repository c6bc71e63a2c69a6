//! Parsed keys of the accounts that sent something lately.
//!
//! Apart from the rows, because few accounts are active at a time, and a parsed key is a quarter of
//! what a row may take (DESIGN 10.4). Found by the bytes of the key, so that none can be outdated.

use std::num::NonZeroUsize;

use lru::LruCache;
use relay_protocol::VerifyingKey;

/// Rows in memory for each key that is kept parsed.
pub(super) const ACCOUNTS_PER_KEY: usize = 5;

/// A bounded memory of parsed keys.
#[derive(Debug)]
pub(super) struct Keys {
    parsed: LruCache<[u8; 34], VerifyingKey>,
}

impl Keys {
    /// Keeps at most this many.
    pub(super) fn new(keys_max: usize) -> Self {
        let keys_max = NonZeroUsize::new(keys_max).unwrap_or(NonZeroUsize::MIN);
        // Grows with what is kept instead of taking all its memory at once.
        let mut parsed = LruCache::unbounded();
        parsed.resize(keys_max);
        Self { parsed }
    }

    /// The key of these bytes, `None` when they are none. Cost: 3 µs (K-256) or 11 µs (P-256) when
    /// it was not used lately.
    pub(super) fn parsed(&mut self, bytes: &[u8; 34]) -> Option<&VerifyingKey> {
        self.parsed.try_get_or_insert(*bytes, || VerifyingKey::from_bytes(bytes)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiples of the generator of secp256k1: their x coordinates and the parity of y.
    fn key(last: u8) -> [u8; 34] {
        let mut bytes = [0; 34];
        (bytes[0], bytes[1], bytes[33]) = (2, 2, last);
        bytes
    }

    /// I5, DESIGN 10.4: the least recently used key is forgotten, and parsed again when it is back.
    #[test]
    fn keys_are_kept_up_to_a_limit_and_found_by_their_bytes() {
        let valid: Vec<_> =
            (1..=u8::MAX).map(key).filter(|key| VerifyingKey::from_bytes(key).is_ok()).collect();
        assert!(valid.len() > 20, "about half of all x are on the curve");
        let mut keys = Keys::new(10);
        for bytes in valid.iter().chain(&valid) {
            assert_eq!(keys.parsed(bytes).map(VerifyingKey::to_bytes), Some(*bytes));
            assert!(keys.parsed.len() <= 10);
        }
    }

    /// DOC-6: what is no point of a curve is no key, and takes no place.
    #[test]
    fn bytes_that_are_no_key_give_none() {
        let mut keys = Keys::new(10);
        assert_eq!(keys.parsed(&[0xff; 34]), None);
        assert_eq!(keys.parsed.len(), 0);
    }
}
