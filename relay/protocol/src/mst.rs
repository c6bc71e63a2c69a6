//! The Merkle search tree: node decoding and the walk (MST-1…9).
use crate::DataCid;

/// Root of the tree without keys, `bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm`.
pub const EMPTY_TREE: DataCid = DataCid([0; 32]);
/// Layer of a key (MST-1).
pub fn key_layer(key: &[u8]) -> u32 {
    todo!()
}
