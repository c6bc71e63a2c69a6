//! The Merkle search tree: layers, nodes, the walk over a partial tree, and rebuilding (MST-1…9).
//!
//! A commit carries only the nodes that its change touches; [`Walk`] reads those in key order and
//! checks them, [`Rebuild`] takes leaves and untouched subtrees in key order and gives the root that
//! they make. Between the two stands the undoing of operations (`inversion`). Nothing is kept but
//! one path through the tree on either side.

pub(crate) mod node;
mod rebuild;
mod steps;
mod walk;

pub(crate) use rebuild::Rebuild;
pub(crate) use steps::Steps;
pub(crate) use walk::{Item, Walk};

use crate::{DataCid, sha256::sha256_words};

/// Root of the tree without keys, `bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm`.
pub const EMPTY_TREE: DataCid = DataCid([
    0x9d, 0xfe, 0xfe, 0x61, 0xdd, 0x76, 0xea, 0x3d, 0xca, 0xe5, 0x02, 0x38, 0x80, 0xb0, 0x83, 0x79,
    0xd5, 0x7a, 0xdf, 0x20, 0x48, 0x2d, 0x6f, 0xdb, 0xe2, 0x75, 0x92, 0x89, 0xf6, 0x47, 0x67, 0x7b,
]);

/// Entries of one node (MST-6). From the spec: an honest node of 128 has a chance of 10^-16.
pub(crate) const NODE_ENTRIES_MAX: usize = 1_024;
/// Bytes of one key (MST-6).
pub(crate) const KEY_BYTES_MAX: usize = 1_024;
/// Highest layer of a key (MST-6). As a child lies exactly one layer below its parent, this bounds
/// the depth of every walk too.
pub(crate) const LAYER_MAX: u32 = 32;

/// Layer of a key: pairs of leading zero bits of its SHA-256 (MST-1).
///
/// Defined for every byte string; the empty key is illegal in a tree all the same.
#[inline]
pub fn key_layer(key: &[u8]) -> u32 {
    digest_layer(&sha256_words(key))
}

#[inline]
fn digest_layer(digest: &[u32; 8]) -> u32 {
    let mut zero_bits = 0_u32;
    for word in digest {
        zero_bits = zero_bits.saturating_add(word.leading_zeros());
        if *word != 0 {
            break;
        }
    }
    zero_bits / 2
}

#[cfg(test)]
mod tests;
