//! The shallow check of record blocks (INV-4).

use super::{DEPTH_MAX, Kind, Reader, Rules};
use crate::Invalid;

/// Size of one record block (MSG-1).
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// Checks that a record block is one canonical DAG-CBOR map of at most 1,000,000 bytes (INV-4).
///
/// Not checked, because a relay does not judge content (ROLE-5): `$type`, lexicons, floats as long
/// as they are finite and 64 bits wide, and kinds of CIDs.
///
/// # Errors
/// [`Invalid::what`] starts with `too large: ` when the size is the reason.
pub fn check_record(block: &[u8]) -> Result<(), Invalid> {
    if block.len() > RECORD_BYTES_MAX {
        return Err(Invalid::new("too large: a record block exceeds 1,000,000 bytes"));
    }
    let mut reader = Reader::new(block);
    if reader.kind() != Some(Kind::Map) {
        return Err(Invalid::new("a record is not a map"));
    }
    reader.skip(DEPTH_MAX, Rules::Record)?;
    reader.expect_end()
}
