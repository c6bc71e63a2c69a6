//! SHA-256 of whole messages.
//!
//! A commit makes some 35 digests of a key of 35 bytes and 16 of a block of 400. The general
//! interface of the library gathers parts of a message in a buffer; here all of it lies in one piece.

use sha2::block_api::compress256;

/// Words of the state before the first block (FIPS 180-4).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// Bytes of the message that fit its last block, which holds a mark and the length too.
const LAST_MAX: usize = 55;

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (place, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(sha256_words(bytes)) {
        *place = word.to_be_bytes();
    }
    digest
}

/// SHA-256 as eight numbers; the first has the first bits.
#[inline]
pub(crate) fn sha256_words(bytes: &[u8]) -> [u32; 8] {
    let mut state = START;
    let (blocks, rest) = bytes.as_chunks::<64>();
    if !blocks.is_empty() {
        compress256(&mut state, blocks);
    }
    let mut last = marked(rest);
    if rest.len() > LAST_MAX {
        compress256(&mut state, &[last]);
        last = [0; 64];
    }
    write_length(&mut last, bytes.len());
    compress256(&mut state, &[last]);
    state
}

/// A message of one block, ready to be hashed.
///
/// For rows of short messages: the processor begins with one while it is still busy with the last, but
/// only if the block lies in memory by then. Padding a few first, then hashing them, takes half the
/// time of doing both for one after the other (measured: 23 in place of 43 ns a key).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShortMessage([u8; 64]);

impl ShortMessage {
    /// `None` when it takes more than one block.
    #[inline]
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LAST_MAX {
            return None;
        }
        let mut block = marked(bytes);
        write_length(&mut block, bytes.len());
        Some(Self(block))
    }

    /// As [`sha256_words`].
    #[inline]
    pub(crate) fn sha256_words(&self) -> [u32; 8] {
        let mut state = START;
        compress256(&mut state, std::slice::from_ref(&self.0));
        state
    }
}

/// The end of a message, less than a block, and the mark behind it.
#[inline]
fn marked(rest: &[u8]) -> [u8; 64] {
    let mut block = [0; 64];
    if let Some((place, after)) = block.split_at_mut_checked(rest.len()) {
        place.copy_from_slice(rest);
        if let Some(mark) = after.first_mut() {
            *mark = 0x80;
        }
    }
    block
}

#[inline]
fn write_length(last: &mut [u8; 64], bytes: usize) {
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).wrapping_mul(8);
    if let Some(length) = last.last_chunk_mut() {
        *length = bits.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// ENC-13: a digest is that of the library whatever the length, above all around the ends of blocks.
    #[test]
    fn digests_are_those_of_the_library() {
        let bytes: Vec<u8> = (0..=255).cycle().take(400).collect();
        for length in 0..bytes.len() {
            let message = &bytes[..length];
            let digest = <[u8; 32]>::from(Sha256::digest(message));
            assert_eq!(sha256(message), digest, "{length} bytes");
            let short = ShortMessage::new(message).map(|short| short.sha256_words());
            assert_eq!(short, (length <= 55).then(|| sha256_words(message)), "{length} bytes");
        }
    }
}
