//! Signing keys of both curves (KEY-1…5): text and stored form, and signature checks.
//!
//! A key is parsed once and kept parsed, because that costs 3 µs (K-256) or 11 µs (P-256) beside a
//! check of 25 to 40 µs. K-256 is checked by libsecp256k1 and P-256 by AWS-LC, the fastest of those
//! measured; the rules in which libraries differ (length, range, low S) are checked here, before
//! either is asked.

mod text;

use std::{fmt, hash, sync::Arc};

use aws_lc_rs::{
    digest::{Digest, SHA256},
    signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey},
};
use secp256k1::{Message, PublicKey, ecdsa::Signature};
use sha2::{Digest as _, Sha256};

use crate::Invalid;

/// The two curves of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, `zDn…`
    P256,
    /// secp256k1, `zQ3s…`
    K256,
}

impl Curve {
    /// First byte of the stored form.
    const fn tag(self) -> u8 {
        match self {
            Self::P256 => 1,
            Self::K256 => 2,
        }
    }

    /// Order of the group and its half, rounded down, big endian.
    const fn order(self) -> (&'static [u8; 32], &'static [u8; 32]) {
        match self {
            Self::P256 => (&P256_ORDER, &P256_HALF_ORDER),
            Self::K256 => (&K256_ORDER, &K256_HALF_ORDER),
        }
    }
}

/// SEC 2, section 2.4.2 (`secp256r1`).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P256_HALF_ORDER: [u8; 32] = half(&P256_ORDER);
/// SEC 2, section 2.4.1 (`secp256k1`).
const K256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
const K256_HALF_ORDER: [u8; 32] = half(&K256_ORDER);

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, on constants"
)]
const fn half(number: &[u8; 32]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut carry = 0;
    let mut i = 0;
    while i < 32 {
        out[i] = (number[i] >> 1) | (carry << 7);
        carry = number[i] & 1;
        i += 1;
    }
    out
}

/// A parsed public key, ready to verify; cheap to clone.
///
/// Equal when curve and point are.
#[derive(Clone)]
pub struct VerifyingKey {
    bytes: [u8; 34],
    point: Point,
}

#[derive(Clone)]
enum Point {
    K256(PublicKey),
    P256(Arc<ParsedPublicKey>),
}

impl VerifyingKey {
    /// Parses a Multikey, or the part after `did:key:` (KEY-3).
    pub fn from_multikey(text: &str) -> Result<Self, Invalid> {
        let (curve, point) = text::decode_multikey(text)?;
        Self::from_compressed(curve, &point)
    }

    /// Parses the `publicKeyMultibase` of a legacy verification method (KEY-4): `z` and base58btc of
    /// a raw point, 33 bytes compressed or 65 bytes uncompressed.
    pub fn from_legacy(text: &str, curve: Curve) -> Result<Self, Invalid> {
        match text::decode_point(text)? {
            text::RawPoint::Compressed(point) => Self::from_compressed(curve, &point),
            text::RawPoint::Uncompressed(point) => Self::from_uncompressed(curve, &point),
        }
    }

    /// Parses what [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8; 34]) -> Result<Self, Invalid> {
        let [tag, point @ ..] = bytes;
        let curve = [Curve::P256, Curve::K256]
            .into_iter()
            .find(|curve| curve.tag() == *tag)
            .ok_or(Invalid::new("the key has an unknown curve"))?;
        Self::from_compressed(curve, point)
    }

    fn from_compressed(curve: Curve, compressed: &[u8; 33]) -> Result<Self, Invalid> {
        // AWS-LC also takes other encodings; here a point starts with the parity of y.
        if !matches!(compressed, [2 | 3, ..]) {
            return Err(NOT_A_POINT);
        }
        let point = match curve {
            Curve::K256 => Point::K256(
                PublicKey::from_byte_array_compressed(*compressed).map_err(|_bad| NOT_A_POINT)?,
            ),
            Curve::P256 => parse_p256(compressed)?,
        };
        Ok(Self::new(curve, compressed, point))
    }

    fn from_uncompressed(curve: Curve, uncompressed: &[u8; 65]) -> Result<Self, Invalid> {
        let [4, coordinates @ ..] = uncompressed else { return Err(NOT_A_POINT) };
        let point = match curve {
            Curve::K256 => Point::K256(
                PublicKey::from_byte_array_uncompressed(*uncompressed)
                    .map_err(|_bad| NOT_A_POINT)?,
            ),
            Curve::P256 => parse_p256(uncompressed)?,
        };
        let y_is_odd = coordinates.last().is_some_and(|last| last & 1 == 1);
        let mut compressed = [if y_is_odd { 3 } else { 2 }; 33];
        for (to, from) in compressed.iter_mut().skip(1).zip(coordinates) {
            *to = *from;
        }
        Ok(Self::new(curve, &compressed, point))
    }

    fn new(curve: Curve, compressed: &[u8; 33], point: Point) -> Self {
        let mut bytes = [curve.tag(); 34];
        let (_tag, rest) = bytes.split_at_mut(1);
        rest.copy_from_slice(compressed);
        Self { bytes, point }
    }

    /// One byte for the curve (1 = P-256, 2 = K-256) and the 33-byte compressed point.
    pub fn to_bytes(&self) -> [u8; 34] {
        self.bytes
    }

    /// The `z…` text of KEY-3.
    pub fn to_multikey(&self) -> String {
        let [_tag, point @ ..] = &self.bytes;
        text::encode_multikey(self.curve(), point)
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        match self.point {
            Point::K256(_) => Curve::K256,
            Point::P256(_) => Curve::P256,
        }
    }

    /// Checks a signature over SHA-256 of `message`: 64 bytes r‖s, low S on both curves (KEY-1,
    /// KEY-2).
    ///
    /// Cost: about 25 µs (K-256) or 40 µs (P-256).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Invalid> {
        self.verify_digest(&Sha256::digest(message).into(), signature)
    }

    /// Like [`Self::verify`], for a message that was hashed already.
    pub fn verify_digest(&self, digest: &[u8; 32], signature: &[u8]) -> Result<(), Invalid> {
        check_signature_form(self.curve(), signature)?;
        match &self.point {
            Point::K256(point) => Signature::from_compact(signature)
                .and_then(|signature| signature.verify(Message::from_digest(*digest), point))
                .map_err(|_bad| WRONG_SIGNATURE),
            Point::P256(point) => Digest::import_less_safe(digest, &SHA256)
                .and_then(|digest| point.verify_digest_sig(&digest, signature))
                .map_err(|_bad| WRONG_SIGNATURE),
        }
    }
}

const NOT_A_POINT: Invalid = Invalid::new("the key is not a point of its curve");
const WRONG_SIGNATURE: Invalid = Invalid::new("the signature is not of this key and message");

/// AWS-LC refuses what is not on the curve (SP 800-56A, 5.6.2.3.3).
fn parse_p256(point: &[u8]) -> Result<Point, Invalid> {
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .map(|parsed| Point::P256(Arc::new(parsed)))
        .map_err(|_bad| NOT_A_POINT)
}

/// KEY-1, KEY-2. Most libraries accept a high S on P-256.
fn check_signature_form(curve: Curve, signature: &[u8]) -> Result<(), Invalid> {
    let Some((r, s)) = signature
        .split_first_chunk::<32>()
        .and_then(|(r, s)| Some((r, <&[u8; 32]>::try_from(s).ok()?)))
    else {
        return Err(Invalid::new("the signature is not 64 bytes"));
    };
    let (order, half_order) = curve.order();
    if *r == [0; 32] || *s == [0; 32] || r >= order {
        return Err(Invalid::new("the signature's numbers are out of range"));
    }
    if s > half_order {
        return Err(Invalid::new("the signature has a high S"));
    }
    Ok(())
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VerifyingKey({})", self.to_multikey())
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

impl hash::Hash for VerifyingKey {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

#[cfg(test)]
mod tests;
