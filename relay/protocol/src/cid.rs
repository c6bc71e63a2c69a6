//! CIDs (ENC-11…13): `CIDv1`, sha2-256, as 32-byte digests.

use std::{fmt, fmt::Write as _};

use crate::{Invalid, sha256::sha256};

/// RFC 4648 base32, lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// `b` and 58 characters for 36 bytes.
const TEXT_BYTES: usize = 59;

/// Codec of a CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 0x71
    DagCbor,
    /// 0x55
    Raw,
}

/// A `CIDv1` with sha2-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cid {
    /// Codec.
    pub codec: Codec,
    /// Digest of the block.
    pub digest: [u8; 32],
}

impl Cid {
    /// Reads the 36 binary bytes, nothing before or after.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        let bytes = bytes.try_into().or(Err(Invalid::new("a CID is not 36 bytes long")))?;
        let (codec, digest) = Self::split(bytes)?;
        Ok(Self { codec, digest: *digest })
    }

    /// Takes the 36 binary bytes apart without copying.
    #[inline]
    pub(crate) fn split(bytes: &[u8; 36]) -> Result<(Codec, &[u8; 32]), Invalid> {
        const REFUSAL: Invalid =
            Invalid::new("a CID is not of version 1, dag-cbor or raw, sha2-256");
        let (prefix, digest) = bytes.split_first_chunk::<4>().ok_or(REFUSAL)?;
        let codec = match *prefix {
            [0x01, 0x71, 0x12, 0x20] => Codec::DagCbor,
            [0x01, 0x55, 0x12, 0x20] => Codec::Raw,
            _ => return Err(REFUSAL),
        };
        Ok((codec, digest.try_into().or(Err(REFUSAL))?))
    }

    /// Reads `b…` (59 characters).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const REFUSAL: Invalid = Invalid::new("a CID is not 59 characters of lower-case base32");
        let digits = text.strip_prefix('b').filter(|_| text.len() == TEXT_BYTES).ok_or(REFUSAL)?;
        let mut bytes = [0; 36];
        let mut slots = bytes.iter_mut();
        let (mut buffer, mut bits) = (0_u32, 0_u32);
        for digit in digits.bytes() {
            let value = match digit {
                b'a'..=b'z' => digit.wrapping_sub(b'a'),
                b'2'..=b'7' => digit.wrapping_sub(b'2').wrapping_add(26),
                _ => return Err(REFUSAL),
            };
            buffer = (buffer << 5) | u32::from(value);
            bits = bits.wrapping_add(5);
            if bits >= 8
                && let Some(slot) = slots.next()
            {
                bits = bits.wrapping_sub(8);
                [*slot, ..] = buffer.wrapping_shr(bits).to_le_bytes();
                buffer &= 0xff;
            }
        }
        // 58 digits hold two bits more than 36 bytes; they must be zero.
        if buffer & 0b11 != 0 {
            return Err(REFUSAL);
        }
        Self::from_bytes(&bytes)
    }

    /// The 36 binary bytes.
    pub fn to_bytes(self) -> [u8; 36] {
        let codec = match self.codec {
            Codec::DagCbor => 0x71,
            Codec::Raw => 0x55,
        };
        let mut bytes = [0; 36];
        if let Some((prefix, digest)) = bytes.split_first_chunk_mut::<4>() {
            *prefix = [0x01, codec, 0x12, 0x20];
            digest.copy_from_slice(&self.digest);
        }
        bytes
    }

    /// dag-cbor CID of a block.
    pub fn of(block: &[u8]) -> Self {
        Self { codec: Codec::DagCbor, digest: sha256(block) }
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('b')?;
        for chunk in self.to_bytes().chunks(5) {
            let mut group = [0; 8];
            for (slot, byte) in group.iter_mut().skip(3).zip(chunk) {
                *slot = *byte;
            }
            let group = u64::from_be_bytes(group);
            // 5 bytes make 8 digits; the last chunk has 1 byte, which makes 2.
            let digits = if chunk.len() == 5 { 8 } else { 2 };
            for shift in [35_u32, 30, 25, 20, 15, 10, 5, 0].into_iter().take(digits) {
                let [digit, ..] = group.wrapping_shr(shift).to_le_bytes();
                let digit = ALPHABET.get(usize::from(digit & 0x1f)).copied().unwrap_or_default();
                out.write_char(char::from(digit))?;
            }
        }
        Ok(())
    }
}

/// CID of the root of a repo's tree (dag-cbor), as its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataCid(pub [u8; 32]);

/// CID of a signed commit block (dag-cbor), as its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitCid(pub [u8; 32]);

impl From<DataCid> for Cid {
    fn from(DataCid(digest): DataCid) -> Self {
        Self { codec: Codec::DagCbor, digest }
    }
}

impl From<CommitCid> for Cid {
    fn from(CommitCid(digest): CommitCid) -> Self {
        Self { codec: Codec::DagCbor, digest }
    }
}

impl fmt::Display for DataCid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cid::from(*self).fmt(out)
    }
}

impl fmt::Display for CommitCid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cid::from(*self).fmt(out)
    }
}
